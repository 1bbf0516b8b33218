//! `herd data`: problems and benchmark sets.

use clap::Subcommand;

/// Arguments of `herd data`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make verifiable problems: word problems, arithmetic, algebra, small programs
    Make(problem_makers::command::Args),
    /// Fetch a benchmark's data from its official address
    Get(eval::data::GetArgs),
}

/// Runs `herd data`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Make(args) => problem_makers::command::run(args),
        Command::Get(args) => eval::data::get(args),
    }
}
