//! The commands.

pub mod make;
pub mod mix;
pub mod verify;

use anyhow::{Context as _, ensure};

/// Arguments of `herd longctx`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make records whose answers are computed from their text
    Make(make::Args),
    /// Check a file: derive every answer again from the text alone
    Verify(verify::Args),
    /// Choose long examples for a mix with conversations, by share; refuse those that share text or keys with evaluation data
    Mix(mix::Args),
}

/// Runs `herd longctx`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Make(args) => make::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Mix(args) => mix::run(args),
    }
}

/// Parses a number of tokens: `16k` is 16,384; plain numbers are taken as they are.
///
/// # Errors
/// When the text is neither.
pub fn tokens(text: &str) -> anyhow::Result<usize> {
    let (digits, factor) = text.strip_suffix(['k', 'K']).map_or((text, 1), |digits| (digits, 1024));
    let number: usize = digits.parse().with_context(|| format!("{text}: give tokens as 4096 or 16k"))?;
    ensure!(number > 0, "{text}: a length of no tokens");
    Ok(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!((tokens("16k").unwrap(), tokens("128K").unwrap(), tokens("700").unwrap()), (16_384, 131_072, 700));
        assert!(tokens("1.5k").unwrap_err().to_string().contains("1.5k: give tokens as 4096 or 16k"));
        assert!(tokens("0").is_err());
    }
}
