//! `scaling`: fits and predictions, for machines without libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use scaling_laws::command::{Args, run};

#[derive(Parser)]
#[command(name = "scaling", version, about = "Scaling laws")]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let result = ::run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        run(&Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).args, None)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
