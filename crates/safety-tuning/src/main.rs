//! The commands of this crate as a separate program, for tests and for machines without libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use guard::command::no_model;
use safety_tuning::command::{Command, run};
use safety_tuning::gate;

#[derive(Parser)]
#[command(name = "herd-safety-tuning", version, about = "herd safety eval and gate without language models")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let result = ::run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        run(&cli.command, no_model)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<gate::Failed>() { ExitCode::from(gate::EXIT) } else { ExitCode::FAILURE }
        }
    }
}
