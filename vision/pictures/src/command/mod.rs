//! The commands of `herd vision` that need no libtorch.

pub mod check;
pub mod make;

/// Arguments of `herd vision`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The commands that need no libtorch.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Decode every picture of conversations: check that it exists, is intact, and has its mark
    ///
    /// Pictures are found relative to the file that names them; nothing is fetched. The command stops at the first unusable picture, with
    /// its file and line, unless --rejected names a file for such conversations.
    Check(check::Args),
    /// Make pictures of scenes, and conversations about them with computed and balanced answers
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
