//! `mathverify`: judge mathematical answers and step-by-step solutions.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match mathverify::command::run(&mathverify::command::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
