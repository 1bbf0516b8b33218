//! `--config FILE` for commands whose flags are their configuration: one declaration of an option defines its flag,
//! its key, its default and its help text.
//!
//! [`expand`] adds the keys of the file to the command line, where clap parses them like flags. [`from_flags`] then
//! turns all of them into a [`Resolved`] configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgAction, Command};
use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::config::{Origin, Resolved, object, read};
use crate::text::nearest;

/// The id of the argument that [`expand`] looks for.
const FILE: &str = "config_file";

/// The flags of every command that writes a run folder, for `#[command(flatten)] #[serde(skip)]`.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
pub struct Frame {
    /// A TOML file with any of the flags below, `_` for `-` (`top_p = 0.9`); flags override it
    #[arg(long = "config", id = "config_file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the configuration and the plan, and stop
    #[arg(long)]
    pub dry_run: bool,
}

impl Frame {
    /// Prints the resolved configuration if the run is a dry one. Returns whether it is: the command then prints its
    /// plan, if it has one, and stops.
    ///
    /// # Errors
    /// When serde cannot serialize the configuration.
    pub fn shows<C: Serialize>(&self, resolved: &Resolved<C>) -> anyhow::Result<bool> {
        if self.dry_run {
            print!("Configuration\n{}", resolved.table()?);
        }
        Ok(self.dry_run)
    }
}

/// Returns the command line `words` with the keys of the file that `--config` names, if the subcommand has a
/// [`Frame`]. Flags of the command line override keys of the file.
///
/// # Errors
/// When the file cannot be read, or a key is not a flag of the command.
pub fn expand(command: &Command, mut words: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    // Most command lines have no file and do not need the second parse.
    if !words.iter().any(|word| word.to_string_lossy().starts_with("--config")) {
        return Ok(words);
    }
    // Flags that are missing on the command line may be in the file. The setting only applies to subcommands that are built after it.
    let mut top = command.clone().ignore_errors(true);
    top.build();
    let Ok(matches) = top.clone().try_get_matches_from(&words) else { return Ok(words) };
    let (mut command, mut matches) = (&top, &matches);
    while let Some((name, inner)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else { return Ok(words) };
        (command, matches) = (found, inner);
    }
    let Ok(Some(path)) = matches.try_get_one::<PathBuf>(FILE) else { return Ok(words) };
    let known: Vec<String> = command
        .get_arguments()
        .filter(|arg| ![FILE, "dry_run", "help", "version"].contains(&arg.get_id().as_str()))
        .map(|arg| arg.get_long().unwrap_or(arg.get_id().as_str()).replace('-', "_"))
        .collect();
    for (key, value) in read(path)? {
        let flag = key.replace('_', "-");
        let named =
            |arg: &&clap::Arg| arg.get_long() == Some(&flag) || arg.is_positional() && arg.get_id() == key.as_str();
        let arg = command.get_arguments().find(|arg| known.contains(&key) && named(arg));
        let Some(arg) = arg else {
            let name = command.get_name();
            bail!(
                "{}: {key} is not a key of {name}{}",
                path.display(),
                nearest(&key, known.iter().map(|known| &**known))
            );
        };
        if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let items = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        for item in items {
            match (is_switch, &item) {
                (true, Value::Bool(true)) => words.push(format!("--{flag}").into()),
                (true, Value::Bool(false)) => {}
                (true, _) => bail!("{}: {key} is true or false, not {item}", path.display()),
                (false, Value::String(text)) if arg.is_positional() => words.push(text.into()),
                (false, Value::String(text)) => words.push(format!("--{flag}={text}").into()),
                (false, _) => words.push(format!("--{flag}={item}").into()),
            }
        }
    }
    Ok(words)
}

/// Converts parsed flags into a configuration. `file` is the file from which [`expand`] took keys.
///
/// # Errors
/// When the file can no longer be read.
pub fn from_flags<A: clap::Args + Serialize + Clone>(args: &A, file: Option<&Path>) -> anyhow::Result<Resolved<A>> {
    let values = object(args)?;
    let from_file = file.map(read).transpose().context("--config")?.unwrap_or_default();
    let command = A::augment_args(Command::new(""));
    let mut defaults = Map::new();
    let mut origins = BTreeMap::new();
    for (key, value) in &values {
        let arg = command.get_arguments().find(|arg| arg.get_id().as_str() == key);
        let mut texts: Vec<String> = Vec::new();
        for text in arg.map(|arg| arg.get_default_values()).unwrap_or_default() {
            let text = text.to_string_lossy().into_owned();
            match arg.and_then(clap::Arg::get_value_delimiter) {
                Some(delimiter) => texts.extend(text.split(delimiter).map(str::to_owned)),
                None => texts.push(text),
            }
        }
        let default = default(value, &texts);
        let origin = match from_file.get(key) {
            _ if default == *value => Origin::Default,
            Some(given) if given == value => Origin::File,
            _ => Origin::Flag,
        };
        origins.insert(key.clone(), origin);
        defaults.insert(key.clone(), default);
    }
    Ok(Resolved { config: args.clone(), origins, defaults })
}

/// Clap's default, converted to the type of the value.
fn default(value: &Value, texts: &[String]) -> Value {
    let one = |like: Option<&Value>, text: &String| match like {
        Some(Value::Number(number)) if number.is_f64() => text.parse().ok().and_then(Number::from_f64).into(),
        Some(Value::Number(_)) => serde_json::from_str(text).unwrap_or(Value::Null),
        _ => Value::from(text.as_str()),
    };
    match value {
        Value::Array(items) => texts.iter().map(|text| one(items.first(), text)).collect(),
        Value::Bool(_) => (texts.first().map(String::as_str) == Some("true")).into(),
        _ => texts.first().map_or(Value::Null, |text| one(Some(value), text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser, Subcommand};
    use serde_json::json;

    #[derive(clap::Args, Serialize, Debug, Clone)]
    struct Inner {
        /// Model
        #[arg(long, required_unless_present = "endpoint")]
        model: Option<String>,
        /// Endpoint
        #[arg(long)]
        endpoint: Option<String>,
    }

    #[derive(clap::Args, Serialize, Debug, Clone)]
    struct Stage {
        #[command(flatten)]
        #[serde(skip)]
        frame: Frame,
        #[command(flatten)]
        #[serde(flatten)]
        inner: Inner,
        /// Output
        #[arg(long, required = true)]
        output: Option<PathBuf>,
        /// Nucleus
        #[arg(long, default_value_t = 1.0)]
        top_p: f64,
        /// Values
        #[arg(long, value_delimiter = ',', default_value = "1,10")]
        k: Vec<u64>,
        /// Files
        #[arg(long, num_args = 1..)]
        input: Vec<PathBuf>,
        /// Keep
        #[arg(long)]
        keep: bool,
        /// What to begin with
        first: Option<String>,
    }

    #[derive(Parser, Debug)]
    enum Sub {
        Stage(Box<Stage>),
        Other {
            #[arg(long)]
            config: Option<PathBuf>,
        },
        Group {
            #[command(subcommand)]
            inside: Inside,
        },
    }

    #[derive(Subcommand, Debug)]
    enum Inside {
        Stage(Box<Stage>),
    }

    #[derive(Parser, Debug)]
    struct Cli {
        #[command(subcommand)]
        sub: Sub,
    }

    fn parse(file: &Path, words: &str) -> anyhow::Result<Stage> {
        let mut all = vec!["herd", "stage", "--config", file.to_str().unwrap()];
        all.extend(words.split_whitespace());
        let words = expand(&Cli::command(), all.into_iter().map(OsString::from).collect())?;
        match Cli::try_parse_from(words)?.sub {
            Sub::Stage(stage) => Ok(*stage),
            Sub::Other { .. } | Sub::Group { .. } => panic!("another command"),
        }
    }

    #[test]
    fn keys_are_flags_that_flags_win_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        let text = "model = \"m\"\noutput = \"o\"\ntop_p = 0.5\nk = [2, 3]\ninput = [\"a\", \"b c\"]\nkeep = true\nfirst = \"f\"\n";
        std::fs::write(&file, text).unwrap();
        let stage = parse(&file, "--top-p 0.25 --output here").unwrap();
        assert_eq!((stage.top_p, stage.output.as_deref()), (0.25, Some(Path::new("here"))));
        assert_eq!((&stage.k[..], stage.keep, stage.inner.model.as_deref()), (&[2, 3][..], true, Some("m")));
        assert_eq!(stage.first.as_deref(), Some("f"));
        assert_eq!(stage.input, [PathBuf::from("a"), PathBuf::from("b c")]);
        let resolved = from_flags(&stage, stage.frame.config.as_deref()).unwrap();
        let origin = |key: &str| resolved.origins[key].as_str();
        assert_eq!(["top_p", "k", "keep", "endpoint"].map(origin), ["flag", "file", "file", "default"]);
        assert_eq!((&resolved.defaults["k"], &resolved.defaults["top_p"]), (&json!([1, 10]), &json!(1.0)));
        // A nested command does not need the flags that are in the file either.
        let words = ["herd", "group", "stage", "--config", file.to_str().unwrap()].map(OsString::from);
        let words = expand(&Cli::command(), words.into()).unwrap();
        let Sub::Group { inside: Inside::Stage(inside) } = Cli::try_parse_from(words).unwrap().sub else { panic!() };
        assert_eq!(inside.output.as_deref(), Some(Path::new("o")));
        // The written configuration is a valid configuration file.
        let again = dir.path().join("again.toml");
        std::fs::write(&again, resolved.to_toml().unwrap()).unwrap();
        let back = parse(&again, "").unwrap();
        assert_eq!(object(&back).unwrap(), object(&stage).unwrap());
    }

    #[test]
    fn mistakes_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        for (text, sentence) in [
            ("top_pp = 1", "c.toml: top_pp is not a key of stage; did you mean top_p?"),
            ("dry_run = true", "c.toml: dry_run is not a key of stage"),
            ("keep = 3", "c.toml: keep is true or false, not 3"),
            ("top_p = \"x\"\nmodel = \"m\"", "invalid value 'x' for '--top-p <TOP_P>'"),
            ("[a]\nb = 1", "c.toml: a: the file must not have tables"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", parse(&file, "--output o").unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
        let error = format!("{:#}", parse(&dir.path().join("none"), "").unwrap_err());
        assert!(error.contains("cannot read"), "{error}");
        // A command that reads its file itself is not changed.
        let words: Vec<OsString> = ["herd", "other", "--config", "none"].map(OsString::from).into();
        assert_eq!(expand(&Cli::command(), words.clone()).unwrap(), words);
    }
}
