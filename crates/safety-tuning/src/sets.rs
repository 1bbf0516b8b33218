//! Sets of probes in their published forms. This project contains no row of them: the files are the user's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dataset::Message;
use serde_json::Value;

use crate::probe::{Expect, Probe};
use crate::rows::{self, Row, needed, text};

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// XSTest (Röttger et al. 2024): `id, prompt, type, label`; without `label`, types that begin with `contrast_` are unsafe.
    Xstest,
    /// HarmBench (Mazeika et al. 2024): `Behavior, SemanticCategory, ContextString, BehaviorID`.
    Harmbench,
    /// AdvBench (Zou et al. 2023): `goal`, or HarmBench's columns.
    Advbench,
    /// StrongREJECT (Souly et al. 2024): `category, source, forbidden_prompt`.
    Strongreject,
    /// CyberSecEval's prompt injections: `test_case_prompt` (the system's), `user_input`, `injection_variant`, `risk_category`.
    Injections,
    /// CyberSecEval's false refusals: `mutated_prompt`, `speaking_language`; harmless requests that sound like attacks.
    FalseRefusals,
    /// OR-Bench (Cui et al. 2024): `prompt, category`; harmless but for the toxic part.
    Orbench(Expect),
    /// Labelled records of guards: `messages, label, categories, language, source`.
    Labelled,
    /// Problems of kind `safety`: `prompt, meta: {expect, category, language, attack, source}`.
    Probes,
}

/// A set by name.
struct Known {
    name: &'static str,
    form: Form,
    /// Possible paths of its file in the folder of sets, with or without `.gz`.
    paths: &'static [&'static str],
}

const KNOWN: [Known; 12] = [
    Known { name: "xstest", form: Form::Xstest, paths: &["xstest/xstest_prompts.csv"] },
    Known { name: "harmbench", form: Form::Harmbench, paths: &["harmbench/harmbench_behaviors_text_all.csv"] },
    Known {
        name: "advbench",
        form: Form::Advbench,
        paths: &["advbench/harmful_behaviors.csv", "advbench/advbench_behaviors.csv"],
    },
    Known { name: "strongreject", form: Form::Strongreject, paths: &["strongreject/strongreject_dataset.csv"] },
    Known { name: "injections", form: Form::Injections, paths: &["purplellama/prompt_injection.json"] },
    Known {
        name: "injections-multilingual",
        form: Form::Injections,
        paths: &["purplellama/prompt_injection_multilingual_machine_translated.json"],
    },
    Known { name: "mitre-frr", form: Form::FalseRefusals, paths: &["purplellama/mitre_frr.json"] },
    Known {
        name: "mitre-frr-multilingual",
        form: Form::FalseRefusals,
        paths: &["purplellama/frr_multilingual_machine_translated.json"],
    },
    Known { name: "orbench", form: Form::Orbench(Expect::Answer), paths: &["orbench/or-bench-hard-1k.csv"] },
    Known { name: "orbench-toxic", form: Form::Orbench(Expect::Refuse), paths: &["orbench/or-bench-toxic.csv"] },
    Known { name: "labelled", form: Form::Labelled, paths: &[] },
    Known { name: "probes", form: Form::Probes, paths: &[] },
];

/// An entry of `--sets`: a name and the path of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The set's name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
}

/// Finds the file for `NAME` or `NAME=FILE`. `folder` contains the sets that are given by name alone.
///
/// # Errors
/// When there is no such set, or no such file.
pub fn locate(given: &str, folder: impl FnOnce() -> anyhow::Result<PathBuf>) -> anyhow::Result<Named> {
    let (name, file) = given.split_once('=').map_or((given, None), |(name, file)| (name, Some(Path::new(file))));
    let known = find(name)?;
    if let Some(file) = file {
        ensure!(file.is_file(), "--sets {given}: {} is no file", file.display());
        return Ok(Named { name: name.into(), path: file.to_owned() });
    }
    ensure!(!known.paths.is_empty(), "--sets {name} needs its file: {name}=FILE");
    let folder = folder()?;
    for path in known.paths {
        for ending in ["", ".gz"] {
            let path = folder.join(format!("{path}{ending}"));
            if path.is_file() {
                return Ok(Named { name: name.into(), path });
            }
        }
    }
    bail!(
        "{}: the set {name} is not there (looked for {}, .gz too); give its folder by --sets-dir, or {name}=FILE",
        folder.display(),
        known.paths.join(" and ")
    )
}

fn find(name: &str) -> anyhow::Result<&'static Known> {
    let names = || KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
    KNOWN.iter().find(|known| known.name == name).with_context(|| format!("no set {name:?}; there are {}", names()))
}

/// The probes of a set. With a limit, rows are taken at equal distances, because many sets are ordered by category.
///
/// # Errors
/// When the file cannot be read or belongs to another set. The error names the record and the field, never a text.
pub fn read(set: &Named, limit: Option<usize>) -> anyhow::Result<Vec<Probe>> {
    let form = find(&set.name)?.form;
    let rows = rows::read(&set.path)?;
    ensure!(!rows.is_empty(), "{} has no rows", set.path.display());
    let stem = set.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default().to_owned();
    let taken = limit.unwrap_or(rows.len()).min(rows.len());
    let mut probes = Vec::with_capacity(taken);
    for at in (0..taken).map(|place| place * rows.len() / taken) {
        let mut probe = probe(form, &rows[at], at, &stem)
            .with_context(|| format!("{}, record {}, read as a row of {}", set.path.display(), at + 1, set.name))?;
        if !matches!(form, Form::Labelled | Form::Probes) {
            probe.set.clone_from(&set.name);
        }
        probe.id = format!("{}/{}", probe.set, probe.id);
        probes.push(probe);
    }
    Ok(probes)
}

/// Checks that no id is used twice.
///
/// # Errors
/// When an id is used twice; the error names the first one.
pub fn unique(probes: &[Probe]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let twice = probes.iter().find(|probe| !seen.insert(probe.id.as_str()));
    twice.map_or(Ok(()), |probe| bail!("two probes have the id {}; give each set once, with unique ids", probe.id))
}

fn probe(form: Form, row: &Row, at: usize, stem: &str) -> anyhow::Result<Probe> {
    let mut probe = Probe {
        id: text(row, &["id", "BehaviorID", "prompt_id"]).unwrap_or_else(|| at.to_string()),
        set: stem.to_owned(),
        expect: Expect::Refuse,
        messages: Vec::new(),
        category: String::new(),
        language: "en".into(),
        attack: "none".into(),
    };
    let mut category = |names: &[&str]| probe.category = text(row, names).unwrap_or_default();
    let user = |text: String| vec![Message::user(text)];
    match form {
        Form::Xstest => {
            category(&["type"]);
            let label = text(row, &["label"]);
            probe.expect = match label.as_deref() {
                Some("safe") => Expect::Answer,
                Some("unsafe") => Expect::Refuse,
                None if needed(row, &["type"])?.starts_with("contrast_") => Expect::Refuse,
                None => Expect::Answer,
                Some(_) => bail!("label is neither safe nor unsafe"),
            };
            probe.messages = user(needed(row, &["prompt"])?);
        }
        Form::Harmbench | Form::Advbench => {
            category(&["SemanticCategory", "Category"]);
            let behaviour = needed(row, &["Behavior", "goal"])?;
            // HarmBench's own format of a behaviour with a context.
            probe.messages = user(match text(row, &["ContextString"]).filter(|context| !context.is_empty()) {
                Some(context) => format!("{context}\n\n---\n\n{behaviour}"),
                None => behaviour,
            });
        }
        Form::Strongreject => {
            category(&["category"]);
            probe.messages = user(needed(row, &["forbidden_prompt"])?);
        }
        Form::Injections => {
            category(&["risk_category"]);
            probe.attack = needed(row, &["injection_variant"])?;
            probe.messages = vec![
                Message::system(needed(row, &["test_case_prompt"])?),
                Message::user(needed(row, &["user_input"])?),
            ];
        }
        Form::FalseRefusals => {
            let is_malicious = rows::flag(row, "is_malicious")?;
            probe.expect = if is_malicious == Some(true) { Expect::Refuse } else { Expect::Answer };
            probe.messages = user(needed(row, &["mutated_prompt"])?);
            // A prompt has the same number in all languages.
            if let Some(language) = text(row, &["speaking_language"]) {
                probe.id = format!("{}-{}", probe.id, code(&language));
            }
        }
        Form::Orbench(expect) => {
            probe.expect = expect;
            category(&["category"]);
            probe.messages = user(needed(row, &["prompt"])?);
        }
        Form::Labelled => labelled(row, &mut probe)?,
        Form::Probes => problem(row, &mut probe)?,
    }
    if let Some(language) = text(row, &["speaking_language", "language"]).filter(|language| !language.is_empty()) {
        probe.language = code(&language);
    }
    ensure!(probe.messages.iter().any(|message| !message.text().trim().is_empty()), "the request has no text");
    Ok(probe)
}

fn labelled(row: &Row, probe: &mut Probe) -> anyhow::Result<()> {
    probe.expect = match row.get("label").and_then(Value::as_str) {
        Some("safe") => Expect::Answer,
        Some("unsafe") => Expect::Refuse,
        _ => bail!("label is neither \"safe\" nor \"unsafe\""),
    };
    let judge = row.get("judge").and_then(Value::as_str);
    ensure!(judge != Some("response"), "the record labels an answer (judge is response), not a request");
    probe.set = needed(row, &["source"])?;
    let categories = row.get("categories").and_then(Value::as_array);
    let first = categories.and_then(|categories| categories.first()).and_then(Value::as_str);
    let kind = row.get("meta").and_then(|meta| meta["kind"].as_str());
    probe.category = first.or(kind).unwrap_or_default().to_owned();
    probe.messages = messages(row, "messages")?;
    Ok(())
}

fn problem(row: &Row, probe: &mut Probe) -> anyhow::Result<()> {
    let kind = row.get("kind").and_then(Value::as_str);
    ensure!(kind.is_none_or(|kind| kind == "safety"), "kind is not safety");
    let meta = row.get("meta").and_then(Value::as_object).context("meta is missing: {\"expect\", ...}")?;
    probe.expect = match meta.get("expect").and_then(Value::as_str) {
        Some("refuse") => Expect::Refuse,
        Some("answer") => Expect::Answer,
        _ => bail!("meta.expect is neither \"refuse\" nor \"answer\""),
    };
    if let Some(source) = text(meta, &["source"]) {
        probe.set = source;
    }
    probe.category = text(meta, &["category"]).unwrap_or_default();
    probe.attack = text(meta, &["attack"]).unwrap_or_else(|| "none".into());
    if let Some(language) = text(meta, &["language"]) {
        probe.language = code(&language);
    }
    probe.messages = messages(row, "prompt")?;
    Ok(())
}

/// The messages of a row, or its text as a user message.
pub(crate) fn messages(row: &Row, name: &str) -> anyhow::Result<Vec<Message>> {
    match row.get(name) {
        Some(Value::String(text)) => Ok(vec![Message::user(text.clone())]),
        // serde's error for a message may quote its text.
        Some(list @ Value::Array(_)) => serde_json::from_value(list.clone())
            .map_err(|_| anyhow::anyhow!("{name} holds something that is no message with a role and a content")),
        _ => bail!("{name} is neither a text nor a list of messages"),
    }
}

/// Codes of languages whose names sets write out.
const LANGUAGES: [(&str, &str); 22] = [
    ("english", "en"),
    ("french", "fr"),
    ("german", "de"),
    ("hindi", "hi"),
    ("italian", "it"),
    ("portuguese", "pt"),
    ("spanish", "es"),
    ("thai", "th"),
    ("arabic", "ar"),
    ("bengali", "bn"),
    ("chinese", "zh"),
    ("dutch", "nl"),
    ("filipino/tagalog", "tl"),
    ("indonesian", "id"),
    ("japanese", "ja"),
    ("korean", "ko"),
    ("polish", "pl"),
    ("russian", "ru"),
    ("swedish", "sv"),
    ("turkish", "tr"),
    ("ukrainian", "uk"),
    ("vietnamese", "vi"),
];

fn code(language: &str) -> String {
    let lower = language.trim().to_lowercase();
    LANGUAGES.iter().find(|(name, _)| *name == lower).map_or(lower, |(_, code)| (*code).to_owned())
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;
