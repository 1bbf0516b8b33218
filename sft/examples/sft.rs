//! The stage as a separate program, equal to `herd sft`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: sft::command::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    torch_ext::init();
    match sft::command::run(&cli.args) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
