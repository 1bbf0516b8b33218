//! `herd safety`: the commands of the text layer, and those of guards.

use clap::Subcommand;
use guard::command::{CheckArgs, EvalArgs, ServeArgs};
use run::Flags;

use crate::config::Config;

/// Arguments of `herd safety`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug, Clone)]
enum Command {
    #[command(flatten)]
    Text(safety_text::command::Command),
    /// Train, measure, use and serve guards
    Guard(GuardArgs),
}

#[derive(clap::Args, Debug, Clone)]
struct GuardArgs {
    #[command(subcommand)]
    command: GuardCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum GuardCommand {
    /// Make a guard from labelled records: a linear tier, and with --model a language model
    Train(Box<Flags<Config>>),
    /// Measure a guard on labelled records: by source, language and category
    Eval(EvalArgs),
    /// Judge texts: one verdict a line
    Check(CheckArgs),
    /// Serve /v1/moderations
    Serve(ServeArgs),
}

impl Args {
    /// Whether it trains a language model.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(&self.command, Command::Guard(GuardArgs { command: GuardCommand::Train(_) }))
    }

    /// Whether it serves.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(&self.command, Command::Guard(GuardArgs { command: GuardCommand::Serve(_) }))
    }
}

/// Runs `herd safety`.
///
/// # Errors
/// Those of the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Text(command) => safety_text::command::run_command(command),
        Command::Guard(guard) => match &guard.command {
            GuardCommand::Train(flags) => crate::train::run(flags),
            GuardCommand::Eval(args) => guard::command::eval(args, guard_model::open),
            GuardCommand::Check(args) => guard::command::check(args, guard_model::open),
            GuardCommand::Serve(args) => guard::command::serve(args, guard_model::open),
        },
    }
}
