//! Flags over a configuration file over a stage's defaults, and where each value came from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::training::Training;

/// A stage's configuration: the common keys, flattened (`#[serde(flatten)] training: Training`), and the stage's own, all
/// on one level. Its [`Default`] holds the stage's defaults. Keys without a value are `Option`s that write themselves as
/// null, never skipped: what a default writes is the list of keys that exist.
pub trait StageConfig: Serialize + DeserializeOwned + Default {
    /// The keys that every stage has.
    fn training(&self) -> &Training;

    /// Checks the stage's own keys; the common ones are checked before.
    ///
    /// # Errors
    /// A sentence that names the flag and what to write instead.
    fn check(&self) -> anyhow::Result<()>;
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The configuration file.
    File,
    /// The command line.
    Flag,
}

impl Origin {
    /// A word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
        }
    }
}

/// A configuration, and for every key where it came from.
#[derive(Debug, Clone)]
pub struct Resolved<C> {
    /// The values.
    pub config: C,
    /// The origin of each key.
    pub origins: BTreeMap<String, Origin>,
}

/// The flags that were given, under their keys: what `args` (a `clap::Args` that is `Serialize`) writes, without what was
/// left out, which is null, false or empty there.
///
/// # Errors
/// Never in practice.
pub fn given(args: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    let mut flags = object(args)?;
    flags.retain(|_, value| {
        !value.is_null() && *value != Value::Bool(false) && value.as_array().is_none_or(|items| !items.is_empty())
    });
    Ok(flags)
}

/// Puts the keys of the TOML file over the defaults, and the flags over both, and checks the whole.
///
/// # Errors
/// A sentence on the file, the key or the combination that is wrong. Keys that do not exist are errors.
pub fn resolve<C: StageConfig>(file: Option<&Path>, flags: Map<String, Value>) -> anyhow::Result<Resolved<C>> {
    let defaults = object(&C::default())?;
    let mut origins: BTreeMap<String, Origin> = defaults.keys().map(|key| (key.clone(), Origin::Default)).collect();
    let mut values = defaults.clone();
    let from_file = file.map(read).transpose()?.unwrap_or_default();
    for (keys, origin) in [(from_file, Origin::File), (flags, Origin::Flag)] {
        for (key, value) in keys {
            let place = || match (origin, file) {
                (Origin::File, Some(path)) => format!("{}: {key}", path.display()),
                _ => format!("--{}", key.replace('_', "-")),
            };
            if !defaults.contains_key(&key) {
                bail!("{} is no key of this stage{}", place(), nearest(&key, defaults.keys()));
            }
            let mut alone = defaults.clone();
            alone.insert(key.clone(), value.clone());
            serde_json::from_value::<C>(Value::Object(alone)).with_context(place)?;
            values.insert(key.clone(), value);
            origins.insert(key, origin);
        }
    }
    let config: C = serde_json::from_value(Value::Object(values))?;
    config.training().check()?;
    config.check()?;
    Ok(Resolved { config, origins })
}

impl<C: StageConfig> Resolved<C> {
    /// Every key with its value and origin, a line each.
    ///
    /// # Errors
    /// Never in practice.
    pub fn table(&self) -> anyhow::Result<String> {
        let line = |(key, value): (&String, &Value)| {
            let origin = self.origins.get(key).copied().unwrap_or(Origin::Default);
            format!("  {key:<20} {:<30} {}\n", value.to_string(), origin.as_str())
        };
        Ok(object(&self.config)?.iter().map(line).collect())
    }

    /// As TOML, every key that has a value: as a file, it resolves to the same configuration.
    ///
    /// # Errors
    /// Never in practice: a configuration can always be written.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        // JSON's strings, numbers, booleans and lists of them are TOML's too.
        let line = |(key, value): (&String, &Value)| (!value.is_null()).then(|| format!("{key} = {value}\n"));
        Ok(object(&self.config)?.iter().filter_map(line).collect())
    }
}

/// Adds `[default: ...]` to the help of every flag whose key has a default in `C`. For
/// `#[command(defer(show_defaults::<Config>))]` on the arguments of a stage, so that the help cannot drift from the code.
#[must_use]
pub fn show_defaults<C: StageConfig>(command: clap::Command) -> clap::Command {
    let Ok(defaults) = object(&C::default()) else { return command };
    let shown = |value: &Value| match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (!items.is_empty()).then(|| items.join(" "))
        }
        other => Some(other.to_string()),
    };
    let mut command = command;
    for (key, text) in defaults.iter().filter_map(|(key, value)| Some((key, shown(value)?))) {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id().as_str() == key.as_str()) else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        if !text.is_empty() && !help.contains("[default: ") {
            command = command.mut_arg(key, |arg| arg.help(format!("{help} [default: {text}]")));
        }
    }
    command
}

/// What serde writes of a structure, as its keys and values.
pub(super) fn object(value: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(value)? {
        Value::Object(keys) => Ok(keys),
        _ => bail!("a configuration is an object"),
    }
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table = DeTable::parse(&text).with_context(|| format!("{} is not TOML", path.display()))?;
    let mut keys = Map::new();
    for (key, value) in table.get_ref() {
        let key = key.get_ref();
        let value = json(value.get_ref()).with_context(|| format!("{}: {key}", path.display()))?;
        keys.insert(key.clone().into_owned(), value);
    }
    Ok(keys)
}

/// A value of the file as JSON, which serde then reads like the flags.
fn json(value: &DeValue) -> anyhow::Result<Value> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())?.into(),
        DeValue::Float(number) => number.as_str().parse::<f64>()?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<anyhow::Result<_>>()?,
        DeValue::Table(_) => bail!("the file has no tables: every key stands by itself, as learning_rate = 2e-5"),
    })
}

/// `; did you mean ...?`, where a known key is near.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let best = known.map(|known| (strsim::jaro_winkler(key, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, known)) if likeness > 0.8 => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleKind;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Config {
        #[serde(flatten)]
        training: Training,
        beta: f64,
        extra: Option<String>,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { training: Training { epochs: 3, ..Training::default() }, beta: 0.1, extra: None }
        }
    }

    impl StageConfig for Config {
        fn training(&self) -> &Training {
            &self.training
        }

        fn check(&self) -> anyhow::Result<()> {
            anyhow::ensure!(self.beta > 0.0, "--beta is {}; it must be more than 0", self.beta);
            Ok(())
        }
    }

    #[derive(clap::Parser, Serialize)]
    #[command(defer(show_defaults::<Config>))]
    struct Args {
        #[command(flatten)]
        #[serde(flatten)]
        training: crate::stage::TrainingArgs,
        /// Strength of the pull to the reference model
        #[arg(long)]
        beta: Option<f64>,
    }

    fn flags(extra: Value) -> Map<String, Value> {
        let mut all = json!({"model": "m", "data": ["a.jsonl:2", "b/c.jsonl"], "output": "o"});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all.as_object().unwrap().clone()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_stage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "seed = 7\nlearning_rate = 2e-5\nschedule = \"wsd\"\nbeta = 1\n").unwrap();
        let resolved = resolve::<Config>(Some(&path), flags(json!({"learning_rate": 3e-5}))).unwrap();
        let Config { training, beta, .. } = &resolved.config;
        assert_eq!((training.learning_rate, training.seed, training.schedule), (3e-5, 7, ScheduleKind::Wsd));
        assert_eq!((*beta, training.epochs, training.batch_tokens), (1.0, 3, Training::default().batch_tokens));
        let origin = |key: &str| resolved.origins[key].as_str();
        assert_eq!([origin("learning_rate"), origin("seed"), origin("epochs")], ["flag", "file", "default"]);
        assert_eq!(training.sources().unwrap(), [("a.jsonl".into(), 2.0), ("b/c.jsonl".into(), 1.0)]);
        // What is written down reads back the same.
        std::fs::write(&path, resolved.to_toml().unwrap()).unwrap();
        assert_eq!(resolve::<Config>(Some(&path), Map::new()).unwrap().config, resolved.config);
    }

    #[test]
    fn mistakes_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, sentence) in [
            ("learning_rat = 1\n", "c.toml: learning_rat is no key of this stage; did you mean learning_rate?"),
            ("max_lenght = 1\nbeta = 2\n", "did you mean max_length?"),
            ("xyz = 1\n", "c.toml: xyz is no key of this stage"),
            ("seed = \"a\"\n", "c.toml: seed: invalid type: string \"a\", expected u64"),
            ("[lora]\nrank = 1\n", "c.toml: lora: the file has no tables"),
            ("seed = 1\nseed = 2\n", "c.toml is not TOML: "),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", resolve::<Config>(Some(&path), flags(json!({}))).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
        for (extra, sentence) in [
            (json!({"data": ["a:x"]}), "\"x\" is no number"),
            (json!({"data": []}), "--data is missing"),
            (json!({"max_length": 5000}), "--micro-batch-tokens is 4096, but --max-length allows examples of 5000"),
            (json!({"merge": true}), "--merge without --lora-rank"),
            (json!({"warmup_ratio": 1.5}), "--warmup-ratio is 1.5"),
            (json!({"beta": 0}), "--beta is 0"),
        ] {
            let error = format!("{:#}", resolve::<Config>(None, flags(extra)).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn the_help_states_the_stages_defaults() {
        use clap::{CommandFactory, Parser};
        let help = Args::command().render_long_help().to_string();
        for part in ["[default: 3]", "[default: 0.1]", "[default: all-linear]", "[default: cosine]"] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
        let args = Args::parse_from(["x", "--beta", "0.5", "--data", "a", "b", "--lr", "1e-4"]);
        let given = given(&args).unwrap();
        assert_eq!(Value::Object(given), json!({"data": ["a", "b"], "learning_rate": 1e-4, "beta": 0.5}));
    }
}
