//! `herd safety`: the commands of this crate.

use clap::Subcommand;

/// Arguments of `herd safety`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The commands of this crate. A command line with more commands includes them with `#[command(flatten)]`.
#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Check a policy file and show it
    Policy(crate::policy::command::Args),
    /// Filter records: hosts, personal data, words, toxicity
    Filter(Box<crate::filter::command::Args>),
    /// Find insecure code in files of programs
    Code(crate::code::command::Args),
    /// Judge whether answers refuse; train and calibrate the model that judges
    Refusals(crate::refusal::command::Args),
    /// Make data for guards and safety tuning
    Make(Make),
}

/// Arguments of `herd safety make`.
#[derive(clap::Args, Debug, Clone)]
pub struct Make {
    #[command(subcommand)]
    command: MakeCommand,
}

#[derive(Subcommand, Debug, Clone)]
enum MakeCommand {
    /// Pairs of a harmless and a harmful request with a common verb or noun, split by it
    Contrast(crate::contrast::command::Args),
}

/// Runs `herd safety`.
///
/// # Errors
/// The errors of the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    run_command(&args.command)
}

/// Runs one command.
///
/// # Errors
/// The errors of the command.
pub fn run_command(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Policy(args) => crate::policy::command::run(args),
        Command::Filter(args) => crate::filter::command::run(args),
        Command::Code(args) => crate::code::command::run(args),
        Command::Refusals(args) => crate::refusal::command::run(args),
        Command::Make(make) => match &make.command {
            MakeCommand::Contrast(args) => crate::contrast::command::run(args),
        },
    }
}
