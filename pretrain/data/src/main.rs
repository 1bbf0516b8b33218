//! `pretrain-data`: the commands of `herd data` that make pretraining data, for machines without libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use pretrain_data::command::{FilterArgs, RunArgs, SqlArgs, UnigramArgs, WhyArgs, filter, run, sql, unigrams, why};
use pretrain_data::crate_docs;
use pretrain_data::quality::{judge, score, train};

#[derive(Parser)]
#[command(name = "pretrain-data", version, about = "Pretraining data from pages and texts")]
enum Cli {
    /// Make pretraining data: filter, deduplicate, mix, with a ledger of every document
    Run(RunArgs),
    /// Render the documentation of the Rust packages in cargo's cache as web pages
    CrateDocs(crate_docs::Args),
    /// Ask a model for its judgements of documents
    Judge(judge::Args),
    /// Train quality classifiers
    Classifier(train::ClassifierArgs),
    /// Write a classifier's score into documents, and keep the best share
    Score(score::Args),
    /// Run a single heuristic filter
    Filter(FilterArgs),
    /// Count the words of a corpus, for the filter by token distribution
    Unigrams(UnigramArgs),
    /// Print what happened to a document
    Why(WhyArgs),
    /// Print the steps over the whole corpus as SQL, for other engines
    Sql(SqlArgs),
}

fn main() -> ExitCode {
    let result = ::run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()) {
            Cli::Run(args) => run(&args),
            Cli::CrateDocs(args) => crate_docs::run(&args),
            Cli::Judge(args) => judge::run(&args),
            Cli::Classifier(args) => train::classifier(&args),
            Cli::Score(args) => score::run(&args),
            Cli::Filter(args) => filter(&args),
            Cli::Unigrams(args) => unigrams(&args),
            Cli::Why(args) => why(&args),
            Cli::Sql(args) => sql(&args),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
