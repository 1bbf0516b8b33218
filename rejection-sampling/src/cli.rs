//! The command line: `herd rejection-sampling train-rm`, `score`, `run`, `filter`.

use clap::Subcommand;
use codeexec::pool::Launcher;

use crate::{filter, reward, run};

/// Reward models, best-of-K sampling with verified selection, quality control of conversations.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Train a reward model on preferences
    TrainRm(Box<reward::TrainArgs>),
    /// Score conversations, preferences or samples with a reward model
    Score(reward::ScoreArgs),
    /// Serve a reward model over HTTP
    ServeRm(reward::ServeArgs),
    /// Sample several answers to each problem, verify them, and keep the best with their evidence
    Run(Box<run::Args>),
    /// Filter conversations: rules, quality, difficulty, topics, duplicates, evaluation prompts
    Filter(Box<filter::Args>),
}

impl Args {
    /// Whether the command trains a model in this process.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(self.command, Command::TrainRm(_))
    }
}

/// Runs the command. `codeexec` is the part of this binary's command line before `codeexec`'s subcommands. The worker
/// processes that run programs are started with it.
///
/// # Errors
/// A message for the user, with its causes.
pub fn run(args: &Args, codeexec: &[&str]) -> anyhow::Result<()> {
    match &args.command {
        Command::TrainRm(args) => reward::train(args),
        Command::Score(args) => reward::score(args),
        Command::ServeRm(args) => reward::serve(args),
        Command::Run(args) => run::run(args, Launcher::own(codeexec)?),
        Command::Filter(args) => filter::run(args),
    }
}
