//! `pretrain`: the command `herd pretrain` as a separate program.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "pretrain", version, about = "Train a base model on token shards")]
struct Cli {
    #[command(flatten)]
    args: pretrain::command::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    trainer::keep_memory();
    torch_ext::init();
    match torch_ext::catch(|| pretrain::command::run(&cli.args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
