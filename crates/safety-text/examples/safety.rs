//! `herd safety` as a program without the rest of `herd`, and therefore without libtorch:
//!
//!     cargo run -p safety-text --example safety -- filter --help

use clap::Parser;

#[derive(Parser)]
#[command(name = "safety")]
struct Cli {
    #[command(flatten)]
    args: safety_text::command::Args,
}

fn main() -> anyhow::Result<()> {
    safety_text::command::run(&Cli::parse().args)
}
