//! `herd data`: problems, benchmark sets, pretraining data, tokenizers and token shards.

use clap::Subcommand;

/// Arguments of `herd data`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make verifiable problems: word problems, arithmetic, algebra, small programs
    Make(problem_makers::command::Args),
    /// Fetch a benchmark's data from its official address
    Get(eval::data::GetArgs),
    /// Train, extend and measure tokenizers
    Tokenizer(bpe::command::TokenizerArgs),
    /// Turn documents into token shards for pretraining
    Tokenise(bpe::command::TokeniseArgs),
    /// Check token shards; export to and import from Megatron's format
    Shards(bpe::command::ShardsArgs),
    /// Make pretraining data from pages and texts: filter, deduplicate, mix, with a ledger of every document
    Run(pretrain_data::command::RunArgs),
    /// Render the documentation of the Rust packages in cargo's cache as web pages
    CrateDocs(pretrain_data::crate_docs::Args),
    /// Ask a model for its judgements of documents
    Judge(Box<pretrain_data::quality::judge::Args>),
    /// Train quality classifiers
    Classifier(pretrain_data::quality::train::ClassifierArgs),
    /// Write a classifier's score into documents, and keep the best share
    Score(pretrain_data::quality::score::Args),
    /// Run a single heuristic filter
    Filter(pretrain_data::command::FilterArgs),
    /// Count the words of a corpus, for the filter by token distribution
    Unigrams(pretrain_data::command::UnigramArgs),
    /// Print what happened to a document in a run of `data run`
    Why(pretrain_data::command::WhyArgs),
    /// Print the steps over the whole corpus as SQL, for other engines
    Sql(pretrain_data::command::SqlArgs),
}

/// Runs `herd data`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Make(args) => problem_makers::command::run(args),
        Command::Get(args) => eval::data::get(args),
        Command::Tokenizer(args) => bpe::command::tokenizer(args),
        Command::Tokenise(args) => bpe::command::tokenise(args),
        Command::Shards(args) => bpe::command::shards(args),
        Command::Run(args) => pretrain_data::command::run(args),
        Command::CrateDocs(args) => pretrain_data::crate_docs::run(args),
        Command::Judge(args) => pretrain_data::quality::judge::run(args),
        Command::Classifier(args) => pretrain_data::quality::train::classifier(args),
        Command::Score(args) => pretrain_data::quality::score::run(args),
        Command::Filter(args) => pretrain_data::command::filter(args),
        Command::Unigrams(args) => pretrain_data::command::unigrams(args),
        Command::Why(args) => pretrain_data::command::why(args),
        Command::Sql(args) => pretrain_data::command::sql(args),
    }
}
