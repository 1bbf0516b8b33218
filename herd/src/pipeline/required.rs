//! Inputs that must be there before a pipeline starts: the files and folders that its `herd` stages name in flags, and
//! that no earlier stage makes.

use std::ops::RangeInclusive;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use llama::locate;
use run::config;
use serde_json::Value;

use super::inputs::{candidates, input, unweighted};
use super::recipe::{Recipe, Stage};
use super::tables;

/// Flags that name files or folders to read, by name with `_`.
const FILES: [&str; 47] = [
    "adapter",
    "against",
    "allow",
    "answers",
    "baseline",
    "benchmark",
    "borderline",
    "calibrate",
    "chat_template",
    "classifier",
    "config",
    "data",
    "decontaminate",
    "eval_config",
    "eval_data",
    "files",
    "fit",
    "gate_texts",
    "general",
    "guard",
    "guard_policy",
    "helpfulness",
    "input",
    "judge_code_prompt",
    "judge_prompt",
    "labels",
    "lock",
    "losses",
    "mixtures",
    "model_config",
    "problems",
    "prompts",
    "recipe",
    "refusal_calibration",
    "refusal_model",
    "refusals",
    "requirements",
    "sft_config",
    "short_problems",
    "styles",
    "test_data",
    "test_losses",
    "test_mixtures",
    "texts",
    "toxicity",
    "vr",
    "wording",
];

/// Flags that name a model: a folder, or a name in the cache.
const MODELS: [&str; 9] = [
    "base",
    "checkpoint",
    "embed_model",
    "judge_model",
    "language_model",
    "model",
    "models",
    "reference",
    "reward_model",
];

/// An input of a stage that is not there.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// A message with stage, flag, name, and what is missing.
    pub sentence: String,
    /// An earlier stage that runs a program other than `herd`, which may make the input.
    pub maker: Option<String>,
}

/// A value of a flag.
struct Given {
    /// The place of the value: `--data`, or `data in sft.toml`.
    place: String,
    /// The name of the flag, with `_`.
    name: String,
    value: String,
}

impl Given {
    fn is_model(&self) -> bool {
        MODELS.contains(&&*self.name)
    }

    fn is_input(&self) -> bool {
        self.is_model() || FILES.contains(&&*self.name)
    }
}

/// The inputs of the stages `range` that are not there. A stage of another program may make any file, so that an input
/// behind one is not missing for certain.
pub fn missing(recipe: &Recipe, range: RangeInclusive<usize>) -> Vec<Missing> {
    let herd = crate::command();
    let given: Vec<Vec<Given>> = recipe.stages.iter().map(|stage| given(&herd, stage)).collect();
    let mut missing = Vec::new();
    for index in range {
        let (stage, earlier) = (&recipe.stages[index], &recipe.stages[..index]);
        for one in given[index].iter().filter(|one| one.is_input() && !is_there(&one.value)) {
            let mut names = candidates(&one.value);
            names.extend(unweighted(&one.value));
            let below = |folder: &Path| names.iter().any(|name| Path::new(name).starts_with(folder));
            let makes = |other: &Given| {
                let is_result = !other.is_input() && !other.value.is_empty();
                is_result && (below(Path::new(&other.value)) || Path::new(&other.value).starts_with(&one.value))
            };
            let of_stage = below(&stage.folder) || earlier.iter().any(|other| below(&other.folder));
            if of_stage || given[..index].iter().flatten().any(makes) {
                continue;
            }
            let why = match locate::locate(&one.value) {
                Err(error) if one.is_model() => format!("{error:#}"),
                _ => format!("{} does not exist", one.value),
            };
            let maker = earlier.iter().rfind(|other| !other.herd).map(|other| other.name.clone());
            let sentence = format!("stage {}: {}: {why}, and no earlier stage of herd makes it", stage.name, one.place);
            missing.push(Missing { sentence, maker });
        }
    }
    missing
}

/// The values of the flags of a `herd` stage, and of the keys of its configuration file. None for other programs.
fn given(herd: &Command, stage: &Stage) -> Vec<Given> {
    let mut found = Vec::new();
    let words = std::iter::once("herd").chain(stage.words.iter().map(String::as_str)).map(Into::into).collect();
    let Some(matches) = stage
        .herd
        .then(|| run::expand(herd, words).ok().and_then(|words| herd.clone().try_get_matches_from(words).ok()))
        .flatten()
    else {
        return found;
    };
    let (mut command, mut matches): (&Command, &ArgMatches) = (herd, &matches);
    while let Some((name, inner)) = matches.subcommand() {
        let Some(below) = command.find_subcommand(name) else { break };
        (command, matches) = (below, inner);
    }
    for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
        let id = arg.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let name = tables::name(arg);
        let place = arg.get_long().map_or_else(|| name.clone(), |long| format!("--{long}"));
        let values = matches.get_raw(id).into_iter().flatten();
        found.extend(values.map(|value| Given {
            place: place.clone(),
            name: name.clone(),
            value: value.to_string_lossy().into_owned(),
        }));
    }
    // `run::expand` has added the keys of the files that it knows; the others are the flags' own matter.
    let file = found.iter().find(|one| one.name == "config").map(|one| one.value.clone());
    let keys = file.as_ref().and_then(|file| config::read(Path::new(file)).ok());
    for (key, value) in keys.into_iter().flatten() {
        if found.iter().any(|one| one.name == key) {
            continue;
        }
        let items = if let Value::Array(items) = value { items } else { vec![value] };
        let place = format!("{key} in {}", file.as_deref().unwrap_or_default());
        found.extend(items.iter().filter_map(Value::as_str).map(|value| Given {
            place: place.clone(),
            name: key.clone(),
            value: value.to_owned(),
        }));
    }
    found
}

/// Whether a value names something that exists, or is not a path: standard input, an address, a pattern.
fn is_there(value: &str) -> bool {
    let other = value.is_empty() || value == "-" || value.contains("://") || value.contains('*');
    // Token shards may be named by the beginning of their files' names.
    let begins = |name: &str| {
        let path = Path::new(unweighted(name).unwrap_or(name));
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let (Some(folder), Some(start)) = (folder, path.file_name()) else { return false };
        let start = format!("{}.", start.to_string_lossy());
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(&start))
    };
    other || candidates(value).iter().any(|name| input(name).is_some() || begins(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags with a path that need not exist before: results, caches, names that are no paths in some command.
    const OTHERS: [&str; 40] = [
        "benchmarks",
        "blind",
        "drawings",
        "encoder",
        "engine_program",
        "explain",
        "features",
        "first",
        "folder",
        "fonts",
        "from",
        "index",
        "judge",
        "keep",
        "lists",
        "logs",
        "long",
        "mix",
        "output",
        "path",
        "picture",
        "prefix",
        "prompt_dir",
        "random",
        "reference_cache",
        "rejected",
        "removed",
        "repositories",
        "run",
        "runs",
        "second",
        "sets_dir",
        "shards",
        "short",
        "text",
        "tokenizer",
        "verdicts",
        "with",
        "words",
        "write_prompts",
    ];

    fn leaves<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
        let mut below = command.get_subcommands().filter(|one| one.get_name() != "help").peekable();
        if below.peek().is_none() {
            found.push(command);
        }
        below.for_each(|one| leaves(one, found));
    }

    #[test]
    fn every_flag_with_a_path_is_an_input_or_is_listed() {
        let herd = crate::command();
        let mut commands = Vec::new();
        leaves(&herd, &mut commands);
        let mut unknown = Vec::new();
        for command in commands {
            for arg in command.get_arguments() {
                let name = tables::name(arg);
                let is_path = arg.get_value_parser().type_id() == std::any::TypeId::of::<std::path::PathBuf>();
                let says =
                    |part: &str| arg.get_value_names().is_some_and(|names| names.iter().any(|n| n.contains(part)));
                let known = [&FILES[..], &MODELS, &OTHERS].concat().contains(&&*name);
                if (is_path || says("FILE") || says("FOLDER")) && !known {
                    unknown.push(format!("{}: {name}", command.get_name()));
                }
            }
        }
        assert!(unknown.is_empty(), "add to FILES, MODELS or OTHERS: {unknown:#?}");
    }
}
