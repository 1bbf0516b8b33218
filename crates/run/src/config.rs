//! Resolves a configuration: flags over a configuration file over the defaults of a stage. Records the origin of each
//! value, and classifies the effect of a changed value.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use crate::text::nearest;

/// The effect that a changed value of a key has on the result of a run. A resume handles each class differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The course of the run: a resume with another value is refused.
    Course,
    /// Only the last bits of numbers (sums in another order). The change is accepted and recorded, since the bytes of
    /// the result may differ from those of an unchanged run.
    Bits,
    /// Only the saved files. The change is accepted; for a finished run, only the saving is repeated.
    Output,
    /// No effect: the place of the run, how often it is saved or measured, or the path of an input, which is compared
    /// by content.
    Free,
}

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The default of the stage.
    Default,
    /// The configuration file.
    File,
    /// The command line.
    Flag,
}

impl Origin {
    /// The name of the origin, for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
        }
    }
}

/// A configuration, with the origin of every key.
#[derive(Debug, Clone)]
pub struct Resolved<C> {
    /// The values.
    pub config: C,
    /// The origin of each key.
    pub origins: BTreeMap<String, Origin>,
    /// The default of each key.
    pub defaults: Map<String, Value>,
}

/// Serializes only the flags that the user set, under their keys. `args` is a `clap::Args` that implements
/// `Serialize`; keys with the value null, false or an empty list are left out.
///
/// # Errors
/// When serde cannot serialize `args`.
pub fn given(args: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    let mut flags = object(args)?;
    flags.retain(|_, value| {
        !value.is_null() && *value != Value::Bool(false) && value.as_array().is_none_or(|items| !items.is_empty())
    });
    Ok(flags)
}

/// Puts the keys of the TOML file over the defaults, and the flags over both. The defaults are the serialized
/// `C::default()`. All keys of `C` must be on one level, and a key without a value must be an `Option` that is
/// serialized as null, not skipped.
///
/// # Errors
/// When the file cannot be read or parsed, when a key does not exist, or when a value is invalid.
pub fn resolve<C: Serialize + DeserializeOwned + Default>(
    file: Option<&Path>,
    flags: Map<String, Value>,
) -> anyhow::Result<Resolved<C>> {
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
                bail!("{} is not a key of this stage{}", place(), nearest(&key, defaults.keys().map(String::as_str)));
            }
            let mut alone = defaults.clone();
            alone.insert(key.clone(), value.clone());
            serde_json::from_value::<C>(Value::Object(alone)).with_context(place)?;
            values.insert(key.clone(), value);
            origins.insert(key, origin);
        }
    }
    let config: C = serde_json::from_value(Value::Object(values))?;
    Ok(Resolved { config, origins, defaults })
}

impl<C: Serialize> Resolved<C> {
    /// A table with one line for every key: key, value and origin.
    ///
    /// # Errors
    /// When serde cannot serialize the configuration.
    pub fn table(&self) -> anyhow::Result<String> {
        let line = |(key, value): (&String, &Value)| {
            let origin = self.origins.get(key).copied().unwrap_or(Origin::Default);
            format!("  {key:<20} {:<30} {}\n", value.to_string(), origin.as_str())
        };
        Ok(object(&self.config)?.iter().map(line).collect())
    }

    /// The configuration as TOML, with every key that has a value. As a configuration file, it resolves to the same
    /// configuration.
    ///
    /// # Errors
    /// When serde cannot serialize the configuration.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(to_toml(&object(&self.config)?))
    }
}

/// The keys as TOML, one line each, without keys that have no value.
#[must_use]
pub fn to_toml(keys: &Map<String, Value>) -> String {
    // JSON strings, numbers, booleans and lists of them are also valid TOML.
    let line = |(key, value): (&String, &Value)| (!value.is_null()).then(|| format!("{key} = {value}\n"));
    keys.iter().filter_map(line).collect()
}

/// Adds `[default: ...]` to the help of every flag whose key has a default in `C`. Use it as
/// `#[command(defer(show_defaults::<Config>))]` on the arguments of a stage, so that the help always agrees with the
/// code.
#[must_use]
pub fn show_defaults<C: Serialize + Default>(command: clap::Command) -> clap::Command {
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

/// Serializes a structure to its keys and values.
pub(crate) fn object(value: &impl Serialize) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(value)? {
        Value::Object(keys) => Ok(keys),
        _ => bail!("a configuration is an object"),
    }
}

/// Reads the keys of a configuration file.
///
/// # Errors
/// When the file cannot be read or is not valid TOML.
pub fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

pub(crate) fn parse(text: &str) -> anyhow::Result<Map<String, Value>> {
    let table = DeTable::parse(text).context("the file is not TOML")?;
    let mut keys = Map::new();
    for (key, value) in table.get_ref() {
        let key = key.get_ref();
        let value = json(value.get_ref()).with_context(|| key.to_string())?;
        keys.insert(key.clone().into_owned(), value);
    }
    Ok(keys)
}

/// Converts a value of the file to JSON; serde then deserializes it like a flag.
fn json(value: &DeValue) -> anyhow::Result<Value> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => u64::from_str_radix(number.as_str(), number.radix())?.into(),
        },
        DeValue::Float(number) => number.as_str().parse::<f64>()?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<anyhow::Result<_>>()?,
        DeValue::Table(_) => {
            bail!("the file must not have tables: write each key on its own line, such as learning_rate = 2e-5")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Common {
        data: Vec<String>,
        learning_rate: f64,
        epochs: u64,
        seed: u64,
        merge: bool,
        targets: Vec<String>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Config {
        #[serde(flatten)]
        common: Common,
        beta: f64,
        extra: Option<String>,
    }

    impl Default for Config {
        fn default() -> Self {
            let targets = vec!["all-linear".into()];
            let common = Common { data: Vec::new(), learning_rate: 1e-5, epochs: 3, seed: 0, merge: false, targets };
            Self { common, beta: 0.1, extra: None }
        }
    }

    #[derive(clap::Parser, Serialize)]
    #[command(defer(show_defaults::<Config>))]
    struct Args {
        /// Training data
        #[arg(long, num_args = 1..)]
        data: Vec<String>,
        /// Peak learning rate
        #[arg(long, visible_alias = "lr")]
        learning_rate: Option<f64>,
        /// Times through the data
        #[arg(long)]
        epochs: Option<u64>,
        /// Merge
        #[arg(long)]
        merge: bool,
        /// Where
        #[arg(long, num_args = 1..)]
        targets: Vec<String>,
        /// Strength of the pull to the reference model
        #[arg(long)]
        beta: Option<f64>,
    }

    fn flags(extra: Value) -> Map<String, Value> {
        let mut all = json!({"data": ["a.jsonl:2", "b/c.jsonl"]});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all.as_object().unwrap().clone()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_stage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let text = "seed = 18446744073709551615\nlearning_rate = 2e-5\ntargets = [\"q\"]\nbeta = 1\n";
        std::fs::write(&path, text).unwrap();
        let resolved = resolve::<Config>(Some(&path), flags(json!({"learning_rate": 3e-5}))).unwrap();
        let Config { common, beta, .. } = &resolved.config;
        assert_eq!((common.learning_rate, common.seed, &common.targets[..]), (3e-5, u64::MAX, &["q".to_owned()][..]));
        assert_eq!((*beta, common.epochs), (1.0, 3));
        let origin = |key: &str| resolved.origins[key].as_str();
        assert_eq!([origin("learning_rate"), origin("seed"), origin("epochs")], ["flag", "file", "default"]);
        // The written configuration reads back the same.
        std::fs::write(&path, resolved.to_toml().unwrap()).unwrap();
        assert_eq!(resolve::<Config>(Some(&path), Map::new()).unwrap().config, resolved.config);
    }

    #[test]
    fn mistakes_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, sentence) in [
            ("learning_rat = 1\n", "c.toml: learning_rat is not a key of this stage; did you mean learning_rate?"),
            ("epoch = 1\nbeta = 2\n", "did you mean epochs?"),
            ("xyz = 1\n", "c.toml: xyz is not a key of this stage"),
            ("seed = \"a\"\n", "c.toml: seed: invalid type: string \"a\", expected u64"),
            ("[lora]\nrank = 1\n", "c.toml: lora: the file must not have tables"),
            ("seed = 1\nseed = 2\n", "c.toml: the file is not TOML: "),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", resolve::<Config>(Some(&path), flags(json!({}))).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn the_help_states_the_stages_defaults() {
        use clap::{CommandFactory, Parser};
        let help = Args::command().render_long_help().to_string();
        for part in ["[default: 3]", "[default: 0.1]", "[default: all-linear]"] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
        let args = Args::parse_from(["x", "--beta", "0.5", "--data", "a", "b", "--lr", "1e-4"]);
        let given = given(&args).unwrap();
        assert_eq!(Value::Object(given), json!({"data": ["a", "b"], "learning_rate": 1e-4, "beta": 0.5}));
    }
}
