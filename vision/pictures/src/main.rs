//! `pictures`: the commands of `herd vision` that need no libtorch.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

#[derive(Parser)]
#[command(name = "pictures", version, about = "Make and check pictures in conversations")]
struct Cli {
    #[command(flatten)]
    args: pictures::command::Args,
}

fn main() -> ExitCode {
    // `pictures check ... | head` ends silently.
    sigpipe::reset();
    let result = run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        pictures::command::run(&cli.args)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
