//! `launch`: the commands `herd plan` and `herd launch`, for machines without libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

#[derive(Parser)]
#[command(name = "launch", version, about = "Plan and supervise runs of many processes")]
enum Cli {
    /// Plan a run on many GPUs: memory, step time, effective time
    Plan(Box<launch::plan::Args>),
    /// Start and supervise the ranks of a program on this machine
    Run(Box<launch::process::Args>),
}

fn main() -> ExitCode {
    let result = ::run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()) {
            Cli::Plan(args) => launch::plan::run(&args).map(|()| ExitCode::SUCCESS),
            Cli::Run(args) => launch::process::run(&args),
        }
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
