//! The stage as a separate program, equal to `herd dpo`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: dpo::command::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    torch_ext::init();
    match dpo::command::run(&cli.args) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
