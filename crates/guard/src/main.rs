//! The commands of this crate as a separate program, for tests and for machines without libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use guard::command::{Args, no_model, run};

#[derive(Parser)]
#[command(name = "herd-guard", version, about = "herd safety guard without language models")]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let result = ::run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        run(&cli.args, no_model)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
