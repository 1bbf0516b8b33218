//! The server alone: `cargo run -p server --example serve -- --model smollm2-135m-instruct`.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: server::Args,
}

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    server::run(&Cli::parse().args)
}
