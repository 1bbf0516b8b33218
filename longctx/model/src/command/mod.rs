//! The commands.

pub mod eval;
pub mod extend;
pub mod make;

/// Arguments of `herd longctx`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make records whose answers are computed from their text, or questions and summaries that a model writes
    Make(Box<make::Args>),
    /// Check a file: derive every answer again from the text alone
    Verify(longctx::command::verify::Args),
    /// Choose long examples for a mix with conversations, by share; refuse those that share text or keys with evaluation data
    Mix(longctx::command::mix::Args),
    /// Measure a model by context length: needles, RULER, repositories, loss
    Eval(Box<eval::Args>),
    /// Extend a model's context in stages, each with a gate that must be passed
    Extend(Box<extend::Args>),
}

/// Runs `herd longctx`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Make(args) => make::run(args),
        Command::Verify(args) => longctx::command::verify::run(args),
        Command::Mix(args) => longctx::command::mix::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Extend(args) => extend::run(args),
    }
}

impl Args {
    /// Whether the command needs neither a model nor a server.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.command {
            Command::Make(args) => !args.asks(),
            Command::Verify(_) | Command::Mix(_) => true,
            Command::Eval(_) | Command::Extend(_) => false,
        }
    }

    /// Whether the command trains.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(self.command, Command::Extend(_))
    }
}
