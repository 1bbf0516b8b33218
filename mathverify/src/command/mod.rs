//! The command line: `mathverify check`, `steps` and `serve`. `herd mathverify` uses the same arguments.

mod check;
mod rows;
mod serve;
mod steps;

use clap::{Parser, Subcommand, ValueEnum};

use crate::options::{self, Options};

/// Judge mathematical answers and step-by-step solutions.
#[derive(Debug, Parser)]
#[command(name = "mathverify", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare predictions with references: one {"id"?, "pred", "gold"} per line, free text or bare answers
    Check(check::Args),
    /// Check step-by-step solutions: one {"id"?, "problem"?, "solution" | "steps", "gold"?} per line
    Steps(steps::Args),
    /// Run an HTTP service for both: POST /check, POST /steps, GET /healthz, GET /metrics
    Serve(serve::Args),
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or written, a record is invalid, or the server cannot start; the message is for the user.
pub fn run(args: &Args) -> anyhow::Result<()> {
    // Resets SIGPIPE, so that `check | head` ends silently. The server keeps SIGPIPE ignored, because there a closed
    // pipe concerns only one client.
    if !matches!(args.command, Command::Serve(_)) {
        sigpipe::reset();
    }
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Steps(args) => steps::run(args),
        Command::Serve(args) => serve::run(args),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Percent {
    Either,
    Fraction,
    Sign,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Units {
    Optional,
    Required,
    Ignored,
}

/// The comparison policies as flags.
#[derive(Debug, Clone, clap::Args)]
struct Policies {
    /// The order of lists without brackets counts: "1, 2" is not "2, 1" (tuples are always ordered, sets never)
    #[arg(long)]
    ordered_lists: bool,
    /// Whether 50% equals 50 and 1/2 (either), only 1/2 (fraction), or only 50 (sign)
    #[arg(long, value_enum, default_value = "either")]
    percent: Percent,
    /// Whether a unit may be missing on one side (optional), must be the same (required), or is ignored (ignored)
    #[arg(long, value_enum, default_value = "optional")]
    units: Units,
    /// Minimum number of significant digits of a decimal that equals the exact value it is rounded from; 0 for never
    #[arg(long, default_value_t = 5)]
    decimal_digits: u32,
    /// Names count: "x = 5" is not "5"
    #[arg(long)]
    keep_names: bool,
    /// Names never count: "x = 5" equals "y = 5"
    #[arg(long)]
    ignore_names: bool,
    /// An inequality is not an interval: "1 < x < 2" is not "(1, 2)"
    #[arg(long)]
    inequalities_apart: bool,
    /// The base of a number may not be missing: "204" is not "204 in base 5"
    #[arg(long)]
    base_required: bool,
    /// Fractions have to be written in the same way: "2/4" is not "1/2"
    #[arg(long)]
    reduced_fractions: bool,
    /// A column vector is not a tuple
    #[arg(long)]
    vectors_apart: bool,
    /// Search for an answer also in reasoning that never ends ("<think>" without "</think>") or that no text follows
    #[arg(long)]
    read_unfinished_thinking: bool,
}

impl Policies {
    fn options(&self) -> Options {
        Options {
            ordered_lists: self.ordered_lists,
            percent: match self.percent {
                Percent::Either => options::Percent::Either,
                Percent::Fraction => options::Percent::Fraction,
                Percent::Sign => options::Percent::Sign,
            },
            units: match self.units {
                Units::Optional => options::Units::Optional,
                Units::Required => options::Units::Required,
                Units::Ignored => options::Units::Ignored,
            },
            decimal_digits: self.decimal_digits,
            strip_names: !self.keep_names,
            ignore_names: self.ignore_names,
            inequalities_as_sets: !self.inequalities_apart,
            base_optional: !self.base_required,
            unreduced_fractions: !self.reduced_fractions,
            vectors_as_tuples: !self.vectors_apart,
            unfinished_thinking: self.read_unfinished_thinking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_default_to_the_library_defaults() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["mathverify", "check", "--input", "x"]);
        let Command::Check(check) = args.command else { panic!("check") };
        assert_eq!(check.policies().options(), Options::default());
    }
}
