//! All tests in one program: each further one would take seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod guard_train;
mod measured;
mod memorised;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: safety::command::Args,
}

fn herd_safety(words: &[&str]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::try_parse_from([&["safety"], words].concat())?;
    safety::command::run(&cli.args)
}
