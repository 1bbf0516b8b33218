//! The server as a separate program: `cargo run -p openai-server --example serve -- --model smollm2-135m-instruct`.

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: openai_server::Args,
}

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    openai_server::run(&Cli::parse().args)
}
