//! `longctx`: the commands of `herd longctx` that need no libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

#[derive(Parser)]
#[command(name = "longctx", version, about = "Verified synthetic long-context data")]
struct Cli {
    #[command(flatten)]
    args: longctx::command::Args,
}

fn main() -> ExitCode {
    let result = run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        longctx::command::run(&cli.args)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
