//! The commands of this crate that need no libtorch.

use clap::Subcommand;
use guard::command::OpenModel;

use crate::make::command::{ManyShotArgs, PairArgs, RefusalArgs};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Measure violations and false refusals of answers from files
    Eval(Box<crate::eval::Args>),
    /// Stop a pipeline at a model that became less safe or refuses too much: exit status 4
    Gate(crate::gate::Args),
    /// Make data for safety tuning
    Make(Make),
    /// Find out whether a model repeats its training data
    Memorisation(Memorisation),
    /// Find the share of safety data, and of harmless look-alikes among them
    Sweep(Sweep),
}

/// Arguments of `sweep`.
#[derive(clap::Args, Debug, Clone)]
pub struct Sweep {
    #[command(subcommand)]
    command: SweepCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum SweepCommand {
    /// Write a recipe for `herd run`: tune and measure each mix
    Plan(Box<crate::sweep::plan::Args>),
    /// Put runs side by side: VR against FRR, helpfulness beside them
    Report(crate::sweep::report::Args),
}

/// Runs a command of a sweep.
///
/// # Errors
/// Those of the command.
pub fn sweep(args: &Sweep) -> anyhow::Result<()> {
    match &args.command {
        SweepCommand::Plan(args) => crate::sweep::plan::run(args),
        SweepCommand::Report(args) => crate::sweep::report::run(args),
    }
}

/// Arguments of `memorisation`.
#[derive(clap::Args, Debug, Clone)]
pub struct Memorisation {
    #[command(subcommand)]
    command: MemorisationCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum MemorisationCommand {
    /// Index the runs of tokens of a corpus
    Index(crate::memorisation::command::Args),
}

/// Arguments of `make`.
#[derive(clap::Args, Debug, Clone)]
pub struct Make {
    #[command(subcommand)]
    command: MakeCommand,
}

/// The makers; a command line with further ones takes them in by `#[command(flatten)]`.
#[derive(Subcommand, Debug, Clone)]
pub enum MakeCommand {
    /// Conversations that refuse what should be refused and answer what should be answered; prompts for `herd generate`
    Refusals(RefusalArgs),
    /// Preferences of refusals over compliance, and of answers over refusals
    Pairs(PairArgs),
    /// Long conversations of requests that seem answered, with a refusal at the end
    ManyShot(ManyShotArgs),
}

/// Runs a maker.
///
/// # Errors
/// Those of the command.
pub fn make(command: &MakeCommand) -> anyhow::Result<()> {
    match command {
        MakeCommand::Refusals(args) => crate::make::command::refusals(args),
        MakeCommand::Pairs(args) => crate::make::command::pairs(args),
        MakeCommand::ManyShot(args) => crate::make::command::many_shot(args),
    }
}

/// Runs a command. `open` opens the language models of guards.
///
/// # Errors
/// Those of the command.
pub fn run(command: &Command, open: OpenModel) -> anyhow::Result<()> {
    match command {
        Command::Eval(args) => crate::eval::run(args, open),
        Command::Gate(args) => crate::gate::run(args),
        Command::Make(args) => make(&args.command),
        Command::Sweep(args) => sweep(args),
        Command::Memorisation(args) => match &args.command {
            MemorisationCommand::Index(args) => crate::memorisation::command::run(args),
        },
    }
}
