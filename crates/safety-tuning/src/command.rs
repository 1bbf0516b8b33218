//! The commands of this crate that need no libtorch.

use clap::Subcommand;
use guard::command::OpenModel;

use crate::make::command::{ManyShotArgs, PairArgs, RefusalArgs};

/// The commands.
#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Measure violations and false refusals of answers from files
    Eval(Box<crate::eval::Args>),
    /// Stop a pipeline if a model became less safe or refuses too much: exit status 4
    Gate(crate::gate::Args),
    /// Make data for safety tuning
    Make(Make),
    /// Measure whether a model repeats its training data
    Memorisation(Memorisation),
    /// Find the best share of safety data, and of harmless look-alikes among them
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
    /// Compare runs: VR against FRR, with their helpfulness
    Report(crate::sweep::report::Args),
}

/// Runs a command of a sweep.
///
/// # Errors
/// The errors of the command.
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

/// The makers. A command line with more of them includes these with `#[command(flatten)]`.
#[derive(Subcommand, Debug, Clone)]
pub enum MakeCommand {
    /// Conversations that refuse harmful requests and answer harmless ones; prompts for `herd generate`
    Refusals(RefusalArgs),
    /// Preference pairs: a refusal over compliance, and an answer over a refusal
    Pairs(PairArgs),
    /// Long conversations in which requests seem to be answered, with a refusal at the end
    ManyShot(ManyShotArgs),
}

/// Runs a maker.
///
/// # Errors
/// The errors of the command.
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
/// The errors of the command.
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
