//! The binary `codeexec`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "codeexec", version, about = "Run untrusted programs with their tests in a sandbox")]
struct Cli {
    #[command(flatten)]
    args: codeexec::cli::Args,
}

fn main() -> ExitCode {
    match codeexec::cli::run(Cli::parse().args, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
