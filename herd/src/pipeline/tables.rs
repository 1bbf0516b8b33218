//! Stages that are written as tables: `sft = { model = "{model}", learning_rate = 1e-4 }` is the command line
//! `herd sft --model {model} --learning-rate 1e-4`.

use anyhow::{Context, bail, ensure};
use clap::{Arg, ArgAction, Command};
use run::nearest;
use toml::{Table, Value};

/// The words of a table `name = { ... }`, checked against the commands of `herd`. Commands with subcommands are
/// nested tables: `rejection-sampling.run = { ... }`.
///
/// # Errors
/// When the command or key does not exist; the error names the most similar one.
pub fn words(herd: &Command, name: &str, value: &Value) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let (mut command, mut name, mut value) = (herd, name, value);
    loop {
        let below = || command.get_subcommands().map(Command::get_name).filter(|name| *name != "help");
        let Some(found) = command.find_subcommand(name) else {
            bail!("{name:?} is not a command of {}{}", title(&words), nearest(name, below()));
        };
        words.push(name.to_owned());
        let Value::Table(table) = value else {
            bail!("{} is a table of flags, such as {{ output = \"{{out}}\" }}", title(&words));
        };
        command = found;
        let mut entries = table.iter();
        let only = entries.next().filter(|_| entries.next().is_none());
        let inner =
            only.filter(|(inner, _)| command.find_subcommand(inner).is_some() || command.is_subcommand_required_set());
        let Some((inner, rest)) = inner else {
            if command.is_subcommand_required_set() {
                let known: Vec<&str> =
                    command.get_subcommands().map(Command::get_name).filter(|n| *n != "help").collect();
                bail!("{} needs one of its commands: {}", title(&words), known.join(", "));
            }
            return flags(command, table, words);
        };
        (name, value) = (inner, rest);
    }
}

fn flags(command: &Command, table: &Table, mut words: Vec<String>) -> anyhow::Result<Vec<String>> {
    let command_line = title(&words);
    let mut positional = Vec::new();
    for (key, value) in table {
        let Some(arg) = command.get_arguments().find(|arg| name(arg) == *key) else {
            let names: Vec<String> = command.get_arguments().map(name).collect();
            bail!("{key} is not a key of {command_line}{}", nearest(key, names.iter().map(String::as_str)));
        };
        let flag = match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => Some(format!("--{long}")),
            (None, Some(short)) => Some(format!("-{short}")),
            (None, None) => None,
        };
        if !arg.get_action().takes_values() {
            let Value::Boolean(on) = value else {
                bail!("{key} of {command_line} is true or false, not of type {}", value.type_str())
            };
            words.extend(flag.filter(|_| *on));
            continue;
        }
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let many = matches!(arg.get_action(), ArgAction::Append);
        ensure!(many || items.len() == 1, "{key} of {command_line} takes one value, not a list of {}", items.len());
        for item in items {
            let text = text(item).with_context(|| format!("{key} of {command_line}"))?;
            match &flag {
                None => positional.push(text),
                // A value that starts with a dash would be parsed as a flag.
                Some(flag) if text.starts_with('-') && flag.starts_with("--") => words.push(format!("{flag}={text}")),
                Some(flag) => words.extend([flag.clone(), text]),
            }
        }
    }
    words.extend(positional);
    Ok(words)
}

/// The key of an argument: its long flag with `_` for `-`; its letter, or a positional's name, if it has no long
/// flag.
pub(super) fn name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => long.replace('-', "_"),
        (None, Some(short)) => short.to_string(),
        (None, None) => arg.get_id().to_string(),
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => bail!("must be a text, a number, true or false, or a list of these, not of type {}", other.type_str()),
    }
}

fn title(words: &[String]) -> String {
    std::iter::once("herd").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> anyhow::Result<String> {
        let table: Table = toml::from_str(text).unwrap();
        let (name, value) = table.iter().next().unwrap();
        words(&crate::command(), name, value).map(|words| words.join(" "))
    }

    #[test]
    fn tables_are_command_lines() {
        let sft = "sft = { model = \"{model}\", data = [\"a\", \"b:2\"], learning_rate = 1e-4, merge = true, skip_bad = false }";
        assert_eq!(of(sft).unwrap(), "sft --data a --data b:2 --learning-rate 0.0001 --merge --model {model}");
        let run = "rejection-sampling.run = { problems = \"p\", samples = 4, temperature = 0.8 }";
        let words = of(run).unwrap();
        assert!(words.starts_with("rejection-sampling run ") && words.contains(" --samples 4 "), "{words}");
        assert_eq!(of("data.make = { train = 5, output = \"{out}\" }").unwrap(), "data make --output {out} --train 5");
        // A command that has flags of its own beside its subcommands.
        assert_eq!(of("eval = { output = \"{out}\" }").unwrap(), "eval --output {out}");
        assert_eq!(of("model.get = { name = \"x\" }").unwrap(), "model get x");
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, sentence) in [
            ("sft = { learning_rat = 1 }", "learning_rat is not a key of herd sft; did you mean learning_rate?"),
            ("sft = { lora-rank = 1 }", "lora-rank is not a key of herd sft; did you mean lora_rank?"),
            ("sft = { merge = 1 }", "merge of herd sft is true or false, not of type integer"),
            ("sft = { learning_rate = [1, 2] }", "takes one value, not a list of 2"),
            ("sft = { data = [{ a = 1 }] }", "data of herd sft: must be a text"),
            ("sft = 1", "herd sft is a table of flags"),
            ("sftt = {}", "\"sftt\" is not a command of herd; did you mean sft?"),
            ("data = {}", "herd data needs one of its commands: "),
            ("data.mak = {}", "\"mak\" is not a command of herd data; did you mean make?"),
        ] {
            let error = format!("{:#}", of(text).unwrap_err());
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }
}
