//! The commands of `herd vision` that need no libtorch.

pub mod check;
pub mod make;

/// Arguments of `herd vision`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What needs no libtorch.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Decode every picture of conversations: is it there, sound, and does it have its mark?
    ///
    /// Pictures are found relative to the file that names them; nothing is fetched. The first picture that cannot be used
    /// stops the command with its file and line, unless --rejected names a file for such conversations.
    Check(check::Args),
    /// Make pictures of scenes with conversations about them, whose answers are computed and balanced
    Make(make::Args),
}

/// Runs `herd vision`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    run_command(&args.command)
}

/// Runs one of the commands.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run_command(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Make(args) => make::run(args),
    }
}
