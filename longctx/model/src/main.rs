//! `longctx-model`: the commands of `herd longctx`, for tests and for machines without the other stages.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

#[derive(Parser)]
#[command(name = "longctx-model", version, about = "Long context: data, evaluation, extension")]
struct Cli {
    #[command(flatten)]
    args: longctx_model::command::Args,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == "extend") {
        trainer::keep_memory();
    }
    torch_ext::init();
    let result = run::expand(&Cli::command(), std::env::args_os().collect()).and_then(|words| {
        let matches = Cli::command().get_matches_from(words);
        let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        torch_ext::catch(|| longctx_model::command::run(&cli.args))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<longctx_model::extend::Stopped>() { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}
