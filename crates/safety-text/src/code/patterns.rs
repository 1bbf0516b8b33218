//! Rules that are regular expressions.

use std::sync::{LazyLock, OnceLock};

use regex::{Regex, RegexSet};
use serde::Deserialize;

use super::{Issue, Language, Level, Rule, line_of};

/// A rule in the format of `patterns.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default)]
    languages: Vec<Language>,
    cwe: u32,
    level: Level,
    message: String,
    pattern: String,
    unless: Option<Unless>,
}

/// An exception, with which a rule does not apply to a program.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unless {
    /// The program defines a function that is named after a weak digest.
    DigestFunction,
}

struct Pattern {
    rule: Rule,
    languages: Vec<Language>,
    pattern: String,
    unless: Option<Unless>,
}

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        rule: Vec<Entry>,
    }
    let file: File =
        toml::from_str(include_str!("patterns.toml")).expect("the file is part of the crate, and a test reads it");
    let pattern = |entry: Entry| {
        let Entry { id, languages, cwe, level, message, pattern, unless } = entry;
        Pattern { rule: Rule { id, cwe, level, message }, languages, pattern, unless }
    };
    file.rule.into_iter().map(pattern).collect()
});

/// A function whose name ends in "to md5" or the like: computing that digest is its purpose.
static DIGEST_FUNCTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\b(?:def|fn|func|function|str|string|void)|[>\]])\s+\w*to_?(?:md[245]|sha_?1)\s*\(")
        .expect("the expression is a constant, and a test uses it")
});

/// The compiled rules of a language.
struct Compiled {
    set: RegexSet,
    each: Vec<(&'static Pattern, Regex)>,
}

static COMPILED: [OnceLock<Compiled>; Language::COUNT] = [const { OnceLock::new() }; Language::COUNT];

fn compiled(language: Language) -> &'static Compiled {
    COMPILED[language as usize].get_or_init(|| {
        let of: Vec<&Pattern> = PATTERNS
            .iter()
            .filter(|pattern| pattern.languages.is_empty() || pattern.languages.contains(&language))
            .collect();
        let set = RegexSet::new(of.iter().map(|pattern| &pattern.pattern));
        let each = of.into_iter().map(|pattern| Regex::new(&pattern.pattern).map(|regex| (pattern, regex)));
        Compiled {
            set: set.expect("the expressions are constants, and a test compiles them"),
            each: each.collect::<Result<_, _>>().expect("the expressions are constants, and a test compiles them"),
        }
    })
}

/// All rules with their languages.
pub(super) fn rules() -> Vec<(&'static Rule, Vec<Language>)> {
    PATTERNS.iter().map(|pattern| (&pattern.rule, pattern.languages.clone())).collect()
}

/// All findings in a program.
pub(super) fn find(language: Language, code: &str) -> Vec<Issue> {
    let compiled = compiled(language);
    let mut issues = Vec::new();
    for which in compiled.set.matches(code) {
        let (pattern, regex) = &compiled.each[which];
        if pattern.unless == Some(Unless::DigestFunction) && DIGEST_FUNCTION.is_match(code) {
            continue;
        }
        for found in regex.find_iter(code) {
            issues.push(Issue {
                start: found.start(),
                end: found.end(),
                line: line_of(code, found.start()),
                rule: &pattern.rule,
                level: pattern.rule.level,
            });
        }
    }
    issues
}
