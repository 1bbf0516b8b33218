//! `herd config`: every key of the commands that take `--config`, with type, default and meaning, read from the flags
//! themselves. `docs/config.md` is the output of `herd config --markdown`.

use std::any::TypeId;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Arg, ArgAction, Command};
use llama::device::Count;

/// Arguments of `herd config`.
#[derive(clap::Args)]
pub struct Args {
    /// The command, such as sft, or rejection-sampling train-rm; all of them if none is named
    stage: Vec<String>,
    /// Print Markdown, as in docs/config.md
    #[arg(long)]
    markdown: bool,
}

/// One key.
struct Key {
    heading: String,
    name: String,
    kind: String,
    default: String,
    help: String,
}

/// Prints the reference.
///
/// # Errors
/// When the command does not exist, or has no configuration file.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let herd = crate::command();
    let mut all = Vec::new();
    find(&herd, String::new(), &mut all);
    let asked = args.stage.join(" ");
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    all.retain(|(name, _)| asked.is_empty() || *name == asked);
    ensure!(!all.is_empty(), "{asked:?} takes no configuration file; those that do: {}", names.join(", "));
    print!("{}", if args.markdown { markdown(&all) } else { text(&all)? });
    Ok(())
}

/// The commands with a flag `--config`, by name.
fn find<'a>(command: &'a Command, name: String, all: &mut Vec<(String, &'a Command)>) {
    if command.get_arguments().any(|arg| arg.get_long() == Some("config")) {
        all.push((name.clone(), command));
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        find(inner, format!("{name} {}", inner.get_name()).trim().to_owned(), all);
    }
}

fn keys(command: &Command) -> Vec<Key> {
    let aside = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| !["config", "dry-run", "help", "version"].contains(&long))
            && !arg.is_hide_set()
    };
    // Defaults are added to the help of flags one by one, which moves these flags to the end.
    let mut keys: Vec<Key> = command.get_arguments().filter(aside).map(key).collect();
    let headings: Vec<String> = keys.iter().map(|key| key.heading.clone()).collect();
    keys.sort_by_key(|key| headings.iter().position(|heading| *heading == key.heading));
    keys
}

fn key(arg: &Arg) -> Key {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if let Some((text, rest)) = help.clone().split_once(" [default: ") {
        default = vec![rest.trim_end_matches(']').to_owned()];
        help = text.to_owned();
    }
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && values.iter().any(|value| value.get_help().is_some()) {
        let value = |value: &clap::builder::PossibleValue| {
            let meaning = value.get_help().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}{meaning}", value.get_name())
        };
        help += &format!(": {}", values.iter().map(value).collect::<Vec<_>>().join("; "));
    }
    Key {
        heading: arg.get_help_heading().unwrap_or("Model, data, output").to_owned(),
        name: arg.get_long().unwrap_or_default().replace('-', "_"),
        kind: kind(arg),
        default: default.join(" "),
        help,
    }
}

/// The type of a key's value in TOML.
fn kind(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return "true or false".into();
    }
    let id = arg.get_value_parser().type_id();
    let values = arg.get_possible_values();
    let one = if !values.is_empty() {
        values.iter().map(|value| format!("{:?}", value.get_name())).collect::<Vec<_>>().join(" or ")
    } else if id == TypeId::of::<f64>() || id == TypeId::of::<f32>() {
        "number".into()
    } else if id == TypeId::of::<PathBuf>() {
        "path".into()
    } else if id == TypeId::of::<Count>() {
        "integer or \"auto\"".into()
    } else if [
        TypeId::of::<u64>(),
        TypeId::of::<i64>(),
        TypeId::of::<usize>(),
        TypeId::of::<u32>(),
        TypeId::of::<i32>(),
    ]
    .iter()
    .any(|integer| id == *integer)
    {
        "integer".into()
    } else if id == TypeId::of::<trainer::Interval>() {
        "number or \"auto\"".into()
    } else {
        "text".into()
    };
    if matches!(arg.get_action(), ArgAction::Append) { format!("list of {one}") } else { one }
}

fn text(all: &[(String, &Command)]) -> anyhow::Result<String> {
    let mut out = String::new();
    for (name, command) in all {
        writeln!(out, "herd {name}")?;
        let mut heading = String::new();
        for key in keys(command) {
            if key.heading != heading {
                writeln!(out, "\n{}", key.heading)?;
                heading = key.heading;
            }
            let default = if key.default.is_empty() { String::new() } else { format!(" = {}", key.default) };
            writeln!(out, "  {}{default}  ({})\n      {}", key.name, key.kind, key.help)?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

fn markdown(all: &[(String, &Command)]) -> String {
    let mut out = "# Configuration reference\n\nEvery key of every command that takes `--config FILE` (TOML). The flag of a key \
                   has `-` for `_`; flags win over the file. A key without a default has no value unless it is given. Printed by \
                   `herd config --markdown`; `herd config sft` prints one command's on a terminal. Examples: \
                   [`recipes/configs`](../recipes/configs).\n"
        .to_owned();
    for (name, command) in all {
        out += &format!("\n## herd {name}\n");
        let mut heading = String::new();
        for key in keys(command) {
            if key.heading != heading {
                out += &format!("\n### {}\n\n| key | type | default | meaning |\n|---|---|---|---|\n", key.heading);
                heading = key.heading;
            }
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            let cell = |text: &str| text.replace('|', "\\|").replace('<', "\\<").replace('\n', " ");
            out += &format!("| `{}` | {} | {default} | {} |\n", key.name, cell(&key.kind), cell(&key.help));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Commands whose `--output` is a folder, but no run folder: fetched files, models, pages of the manual, and the commands that
    /// repeat or chain other runs.
    const NO_RUN_FOLDER: [&str; 7] =
        ["again", "data get", "eval prompts", "man", "model export", "model new", "vision encoder"];

    /// A limit of a program is a text with a unit (`256MiB`), the budget of `herd data run` a number of MB.
    const SEVERAL_FORMS: [&str; 1] = ["memory"];

    fn all(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            found.push((path.clone(), sub.clone()));
            all(sub, &path, found);
        }
    }

    fn commands() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        all(&crate::command(), "", &mut found);
        assert!(found.len() > 100, "{} commands", found.len());
        found
    }

    /// The value of a flag: none, a number, or a text (a path, or a word of a list).
    fn form(arg: &Arg) -> &'static str {
        if !arg.get_action().takes_values() {
            return "nothing";
        }
        let kind = kind(arg);
        let kind = kind.trim_start_matches("list of ");
        if kind.starts_with("number") || kind.starts_with("integer") { "a number" } else { "a text" }
    }

    #[test]
    fn a_flag_has_one_form_and_a_letter_one_flag() {
        let mut forms: BTreeMap<String, (&str, String)> = BTreeMap::new();
        let mut letters: BTreeMap<char, (String, String)> = BTreeMap::new();
        for (path, command) in commands() {
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long().map(str::to_owned) else { continue };
                if let Some(letter) = arg.get_short() {
                    let (other, place) = letters.entry(letter).or_insert((long.clone(), path.clone()));
                    assert_eq!(*other, long, "-{letter} of {place} and of {path}");
                }
                let (other, place) = forms.entry(long.clone()).or_insert((form(arg), path.clone()));
                let is_same = *other == form(arg) || SEVERAL_FORMS.contains(&&*long);
                assert!(is_same, "--{long} takes {other} in {place} and {} in {path}", form(arg));
            }
        }
    }

    #[test]
    fn every_command_that_leaves_a_run_folder_takes_a_file_and_a_dry_run() {
        let mut count = 0;
        for (path, command) in commands() {
            let has = |flag: &str| command.get_arguments().any(|arg| arg.get_long() == Some(flag));
            let output = command.get_arguments().find(|arg| arg.get_long() == Some("output"));
            let help = output.and_then(Arg::get_help).map(ToString::to_string).unwrap_or_default();
            assert_eq!(has("config"), has("dry-run") && path != "run", "{path}: --config and --dry-run go together");
            if help.to_lowercase().contains("folder") && path != "run" && !path.starts_with("model import") {
                let is_run = !NO_RUN_FOLDER.contains(&&*path);
                assert_eq!(has("config"), is_run, "{path} --output: {help}");
                count += usize::from(is_run);
            }
        }
        assert!(count > 35, "{count} commands");
    }
}
