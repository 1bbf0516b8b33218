//! One declaration of an option: a configuration whose fields are clap's flags and serde's keys, and whose `Default`
//! holds the default values.
//!
//! ```
//! use run::Flags;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(clap::Args, Serialize, Deserialize)]
//! struct Config {
//!     /// Strength of the pull to the reference model
//!     #[arg(long)]
//!     beta: f64,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { beta: 0.1 }
//!     }
//! }
//!
//! #[derive(clap::Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     flags: Flags<Config>,
//! }
//!
//! # use clap::Parser;
//! let cli = Cli::parse_from(["stage", "--beta", "0.5"]);
//! assert_eq!(cli.flags.resolve().unwrap().config.beta, 0.5);
//! ```

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::{Resolved, object, resolve, show_defaults};

/// The flags of a stage: `--config`, `--dry-run`, and one flag for each key of `C`. No flag is required: a missing
/// flag takes its value from the file or from `C::default()`, which the help text shows.
#[derive(Debug, Clone)]
pub struct Flags<C> {
    /// A TOML file with any of the keys.
    pub config: Option<PathBuf>,
    /// Whether to stop before the first step.
    pub dry_run: bool,
    /// The keys that were given as flags.
    given: Map<String, Value>,
    of: PhantomData<C>,
}

#[derive(clap::Args)]
#[group(skip)]
struct Head {
    /// A TOML file with any of the keys below (`learning_rate = 2e-5`); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the data, the plan and the memory estimate, and stop before the first step
    #[arg(long)]
    dry_run: bool,
}

impl<C: Serialize + DeserializeOwned + Default> Flags<C> {
    /// The configuration: flags over the file over the defaults.
    ///
    /// # Errors
    /// See [`resolve`].
    pub fn resolve(&self) -> anyhow::Result<Resolved<C>> {
        resolve(self.config.as_deref(), self.given.clone())
    }
}

impl<C: Serialize + DeserializeOwned + Default + clap::Args> clap::Args for Flags<C> {
    fn augment_args(command: Command) -> Command {
        // The description of a program is that of its command line. The derived code of flattened structures would put
        // the documentation of the structures in its place.
        let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
        // The variant "for update" makes no flag required, because a missing flag keeps its default.
        let command = C::augment_args_for_update(Head::augment_args(command));
        show_defaults::<C>(command).about(Resettable::from(about)).long_about(Resettable::from(long_about))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Serialize + Default + clap::Args> FromArgMatches for Flags<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Head { config, dry_run } = Head::from_arg_matches(matches)?;
        let mut values = C::default();
        values.update_from_arg_matches(matches)?;
        let mut given = object(&values).map_err(|error| clap::Error::raw(clap::error::ErrorKind::Io, error))?;
        let on_the_line: Vec<&str> = matches
            .ids()
            .map(clap::Id::as_str)
            .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
            .collect();
        given.retain(|key, _| on_the_line.contains(&key.as_str()));
        Ok(Self { config, dry_run, given, of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser, ValueEnum};
    use serde::Deserialize;
    use serde_json::json;

    #[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        HalfRound,
        Flat,
    }

    /// Keys of every stage.
    #[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Common {
        /// Model
        #[arg(long)]
        model: PathBuf,
        /// Files
        #[arg(long, num_args = 1..)]
        data: Vec<String>,
        /// Epochs
        #[arg(long, help_heading = "Steps")]
        epochs: u64,
        /// Examples
        #[arg(long)]
        batch_size: Option<usize>,
        /// Keep
        #[arg(long)]
        keep: bool,
    }

    #[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Config {
        #[command(flatten)]
        #[serde(flatten)]
        common: Common,
        /// Rate
        #[arg(long, visible_alias = "lr")]
        rate: f64,
        /// Shape
        #[arg(long)]
        shape: Shape,
    }

    impl Default for Config {
        fn default() -> Self {
            let common =
                Common { model: PathBuf::new(), data: vec!["all".into()], epochs: 3, batch_size: Some(8), keep: false };
            Self { common, rate: 1e-5, shape: Shape::HalfRound }
        }
    }

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags<Config>,
    }

    fn parse(words: &str) -> Flags<Config> {
        Cli::try_parse_from(std::iter::once("stage").chain(words.split_whitespace())).unwrap().flags
    }

    #[test]
    fn only_what_is_given_is_a_flag() {
        assert_eq!(parse("").given, Map::new());
        assert_eq!(parse("").resolve().unwrap().config, Config::default());
        let given = parse("--lr 2e-5 --data a b --data c --keep --shape flat --batch-size 4 --model m").given;
        let expected = json!({"model": "m", "data": ["a", "b", "c"], "batch_size": 4, "keep": true, "rate": 2e-5,
            "shape": "flat"});
        assert_eq!(Value::Object(given), expected);
        // A flag with the default value counts as given.
        assert_eq!(Value::Object(parse("--epochs 3").given), json!({"epochs": 3}));
        assert!(parse("--dry-run").dry_run && !parse("").dry_run);
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "rate = 1e-4\nepochs = 5\nkeep = true\n").unwrap();
        let resolved = parse(&format!("--config {} --epochs 3", file.display())).resolve().unwrap();
        let Config { common, rate, .. } = &resolved.config;
        assert_eq!((common.epochs, common.keep, *rate, common.batch_size), (3, true, 1e-4, Some(8)));
        assert_eq!([resolved.origins["epochs"].as_str(), resolved.origins["rate"].as_str()], ["flag", "file"]);
    }

    #[test]
    fn the_help_starts_with_the_description_of_the_program() {
        /// Trains on shapes
        #[derive(Parser)]
        struct Described {
            #[command(flatten)]
            _flags: Flags<Config>,
        }
        let help = |mut command: Command| command.render_long_help().to_string();
        assert!(help(Described::command()).starts_with("Trains on shapes\n"), "{}", help(Described::command()));
        assert!(help(Cli::command()).starts_with("Usage:"), "{}", help(Cli::command()));
        let told = Command::new("x").about("Told").long_about("Told at length");
        assert!(help(<Flags<Config> as clap::Args>::augment_args(told)).starts_with("Told at length\n"));
    }

    #[test]
    fn the_help_states_the_defaults() {
        let help = Cli::command().render_long_help().to_string();
        for part in ["[default: 3]", "[default: half-round]", "[default: 0.00001]", "[default: 8]", "[default: all]"] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
    }
}
