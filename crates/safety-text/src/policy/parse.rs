//! Parses TOML into a checked policy. Every error states the line.

use std::collections::BTreeMap;

use run::nearest;
use serde::Deserialize;
use toml::Spanned;

use super::{AILUMINATE, Applies, Category, OPENAI, Policy, PolicyError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    version: Spanned<u32>,
    threshold: Option<Spanned<f64>>,
    #[serde(default = "hold_back")]
    hold_back_tokens: u32,
    refusal: Spanned<String>,
    #[serde(default)]
    category: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    key: Spanned<String>,
    name: Spanned<String>,
    #[serde(default)]
    ailuminate: Vec<Spanned<String>>,
    #[serde(default)]
    openai: Vec<Spanned<String>>,
    #[serde(default = "both")]
    applies: Vec<Applies>,
    #[serde(default = "on")]
    enabled: bool,
    threshold: Option<Spanned<f64>>,
    definition: Spanned<String>,
}

fn hold_back() -> u32 {
    32
}

fn both() -> Vec<Applies> {
    vec![Applies::Prompt, Applies::Response]
}

fn on() -> bool {
    true
}

/// Makes errors that state the line of a span.
struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Source<'_> {
    fn at<T>(&self, value: &Spanned<T>, what: impl std::fmt::Display) -> PolicyError {
        self.at_byte(value.span().start, what)
    }

    fn at_byte(&self, byte: usize, what: impl std::fmt::Display) -> PolicyError {
        PolicyError(format!("{}:{}: {what}", self.origin, self.line(byte)))
    }

    fn line(&self, byte: usize) -> usize {
        let before = self.text.get(..byte).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }
}

pub(super) fn parse(text: &str, origin: &str) -> Result<Policy, PolicyError> {
    let source = Source { text, origin };
    let file: File = toml::from_str(text).map_err(|error| {
        let what = hint(error.message());
        match error.span() {
            Some(span) => source.at_byte(span.start, what),
            None => PolicyError(format!("{origin}: {what}")),
        }
    })?;
    for (value, key) in [(&file.name, "name"), (&file.refusal, "refusal")] {
        if value.get_ref().trim().is_empty() {
            return Err(source.at(value, format!("{key} is empty")));
        }
    }
    if *file.version.get_ref() == 0 {
        return Err(source.at(&file.version, "version is 0; versions begin with 1"));
    }
    if file.category.is_empty() {
        return Err(PolicyError(format!("{origin}: there is no [[category]]; a policy has at least one")));
    }
    // For each name, the line of its first use.
    let mut names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &file.category {
        check(&source, entry, &mut names)?;
    }
    let threshold = threshold(&source, &file.threshold)?;
    let mut categories = Vec::with_capacity(file.category.len());
    for entry in file.category {
        let entry = entry.into_inner();
        categories.push(Category {
            threshold: self::threshold(&source, &entry.threshold)?,
            id: entry.id.into_inner(),
            key: entry.key.into_inner(),
            name: entry.name.into_inner().trim().to_owned(),
            ailuminate: entry.ailuminate.into_iter().map(Spanned::into_inner).collect(),
            openai: entry.openai.into_iter().map(Spanned::into_inner).collect(),
            applies: entry.applies,
            enabled: entry.enabled,
            definition: entry.definition.into_inner().trim().to_owned(),
        });
    }
    Ok(Policy {
        name: file.name.into_inner(),
        version: file.version.into_inner(),
        threshold,
        hold_back_tokens: file.hold_back_tokens,
        refusal: file.refusal.into_inner(),
        categories,
    })
}

fn check<'a>(
    source: &Source,
    spanned: &'a Spanned<Entry>,
    names: &mut BTreeMap<(&'a str, &'a str), usize>,
) -> Result<(), PolicyError> {
    let entry = spanned.get_ref();
    for (what, value) in [("id", &entry.id), ("key", &entry.key)] {
        let text = value.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || !text.chars().all(fits) {
            return Err(source.at(value, format!("the {what} {text:?} may hold letters, digits, `-` and `_` only")));
        }
    }
    for (what, value) in [("name", &entry.name), ("definition", &entry.definition)] {
        if value.get_ref().trim().is_empty() {
            return Err(source.at(value, format!("the {what} of {} is empty", entry.id.get_ref())));
        }
    }
    if entry.applies.is_empty() {
        let what = format!("applies of {} is empty; write \"prompt\", \"response\" or both", entry.id.get_ref());
        return Err(source.at(&entry.id, what));
    }
    let mut once = |kind: &'static str, value: &'a Spanned<String>| {
        let line = source.line(value.span().start);
        match names.insert((kind, value.get_ref()), line) {
            None => Ok(()),
            Some(first) => {
                Err(source.at(value, format!("the {kind} {} is used twice, first in line {first}", value.get_ref())))
            }
        }
    };
    once("id", &entry.id)?;
    once("key", &entry.key)?;
    for code in &entry.ailuminate {
        known(source, code, "hazard code of AILuminate", &AILUMINATE)?;
        once("hazard code", code)?;
    }
    for (at, name) in entry.openai.iter().enumerate() {
        known(source, name, "category name of OpenAI", &OPENAI)?;
        if entry.openai[..at].iter().any(|earlier| earlier.get_ref() == name.get_ref()) {
            return Err(source.at(name, format!("openai names {} twice", name.get_ref())));
        }
    }
    Ok(())
}

fn known(source: &Source, value: &Spanned<String>, what: &str, all: &[&str]) -> Result<(), PolicyError> {
    let text = value.get_ref();
    if all.contains(&text.as_str()) {
        return Ok(());
    }
    let near = nearest(text, all.iter().copied());
    Err(source.at(value, format!("{text:?} is no {what}{near} (known: {})", all.join(", "))))
}

fn threshold(source: &Source, value: &Option<Spanned<f64>>) -> Result<Option<f64>, PolicyError> {
    let Some(value) = value else { return Ok(None) };
    let number = *value.get_ref();
    if (0.0..=1.0).contains(&number) {
        return Ok(Some(number));
    }
    Err(source.at(value, format!("threshold is {number}; it must lie between 0 and 1")))
}

/// serde's message about a key, with the nearest known key.
fn hint(message: &str) -> String {
    let message = message.split('\n').next().unwrap_or(message);
    let parts: Vec<&str> = message.split('`').collect();
    match parts.as_slice() {
        [start, key, ..] if start.starts_with("unknown field") => {
            let known = parts.iter().skip(3).step_by(2).copied();
            let all: Vec<&str> = parts.iter().skip(3).step_by(2).copied().collect();
            format!("{key} is not a key here{} (known: {})", nearest(key, known), all.join(", "))
        }
        [start, key, ..] if start.starts_with("missing field") => format!("the key {key} is missing"),
        _ => message.to_owned(),
    }
}
