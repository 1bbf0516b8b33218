//! `herd data`: problems, benchmark sets, tokenizers and token shards.

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
    /// Train, extend and measure tokenizers
    Tokenizer(bpe::command::TokenizerArgs),
    /// Turn documents into token shards for pretraining
    Tokenise(bpe::command::TokeniseArgs),
    /// Check token shards; Megatron's format in and out
    Shards(bpe::command::ShardsArgs),
}

/// Runs `herd data`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Make(args) => problem_makers::command::run(args),
        Command::Get(args) => eval::data::get(args),
        Command::Tokenizer(args) => bpe::command::tokenizer(args),
        Command::Tokenise(args) => bpe::command::tokenise(args),
        Command::Shards(args) => bpe::command::shards(args),
    }
}
