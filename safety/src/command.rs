//! `herd safety`: the commands of the text layer and those of guards.

use clap::Subcommand;
use guard::command::{CheckArgs, EvalArgs, ServeArgs};
use run::Flags;

use crate::config::Config;
use crate::{measured, memorised};

/// Arguments of `herd safety`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug, Clone)]
enum Command {
    /// Check a policy file and show it
    Policy(safety_text::policy::command::Args),
    /// Filter records: hosts, personal data, words, toxicity
    Filter(Box<safety_text::filter::command::Args>),
    /// Find insecure code in files of programs
    Code(safety_text::code::command::Args),
    /// Judge whether answers refuse; train and calibrate the model that judges
    Refusals(safety_text::refusal::command::Args),
    /// Make data for guards and safety tuning
    Make(MakeArgs),
    /// Train, measure, use and serve guards
    Guard(GuardArgs),
    /// Measure violations and false refusals of a model, or of answers in files
    Eval(Box<measured::Args>),
    /// Stop a pipeline if a model became less safe or refuses too much: exit status 4
    Gate(safety_tuning::gate::Args),
    /// Find the best share of safety data, and of harmless look-alikes among them
    Sweep(safety_tuning::command::Sweep),
    /// Measure whether a model repeats its training data
    Memorisation(MemorisationArgs),
}

#[derive(clap::Args, Debug, Clone)]
struct MakeArgs {
    #[command(subcommand)]
    command: MakeCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum MakeCommand {
    /// Pairs of a harmless and a harmful request with a common verb or noun, split by it
    Contrast(safety_text::contrast::command::Args),
    #[command(flatten)]
    Tuning(safety_tuning::command::MakeCommand),
}

#[derive(clap::Args, Debug, Clone)]
struct MemorisationArgs {
    #[command(subcommand)]
    command: MemorisationCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum MemorisationCommand {
    /// Index the runs of tokens of a corpus
    Index(safety_tuning::memorisation::command::Args),
    /// Prompt a model with n-grams from an index, and count the continuations that equal the corpus
    Probe(Box<memorised::Args>),
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
    /// Whether the command trains a language model.
    #[must_use]
    pub fn trains(&self) -> bool {
        matches!(&self.command, Command::Guard(GuardArgs { command: GuardCommand::Train(_) }))
    }

    /// Whether the command serves requests.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(&self.command, Command::Guard(GuardArgs { command: GuardCommand::Serve(_) }))
    }
}

/// Runs `herd safety`.
///
/// # Errors
/// The errors of the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Policy(args) => safety_text::policy::command::run(args),
        Command::Filter(args) => safety_text::filter::command::run(args),
        Command::Code(args) => safety_text::code::command::run(args),
        Command::Refusals(args) => safety_text::refusal::command::run(args),
        Command::Make(args) => match &args.command {
            MakeCommand::Contrast(args) => safety_text::contrast::command::run(args),
            MakeCommand::Tuning(command) => safety_tuning::command::make(command),
        },
        Command::Eval(args) => measured::run(args),
        Command::Gate(args) => safety_tuning::gate::run(args),
        Command::Sweep(args) => safety_tuning::command::sweep(args),
        Command::Memorisation(args) => match &args.command {
            MemorisationCommand::Index(args) => safety_tuning::memorisation::command::run(args),
            MemorisationCommand::Probe(args) => memorised::run(args),
        },
        Command::Guard(guard) => match &guard.command {
            GuardCommand::Train(flags) => crate::train::run(flags),
            GuardCommand::Eval(args) => guard::command::eval(args, guard_model::open),
            GuardCommand::Check(args) => guard::command::check(args, guard_model::open),
            GuardCommand::Serve(args) => guard::command::serve(args, guard_model::open),
        },
    }
}
