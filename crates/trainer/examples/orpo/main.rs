//! `cargo run -p trainer --example orpo -- --model NAME --data preferences.jsonl --output RUN`

mod loss;
mod stage;

use clap::Parser;

/// Train a model on preferences without a reference model (odds-ratio preference optimisation)
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: trainer::stage::Flags<stage::Config>,
}

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    stage::run(&Cli::parse().flags)
}
