//! Insecure code: finds insecure constructs, according to established rules, in a program of a known language.
//!
//! There are two kinds of rules. Regular expressions (`patterns.toml`, after CodeShield) cover a dozen languages. For Python
//! and JavaScript, queries on syntax trees (`python.toml`, `javascript.toml`) check what a regular expression cannot: whether
//! an argument is a constant, which keyword an argument has, and what is a comment.
//!
//! ```
//! use safety_text::code::{Language, find};
//!
//! let issues = find(Language::Python, "import os\nos.system('rm -r ' + path)\nos.system('ls')\n");
//! assert_eq!((issues.len(), issues[0].rule.id.as_str(), issues[0].line), (1, "py-os-command", 2));
//! ```
//!
//! A rule examines one program and no data flow between functions. A finding is a reason to look at the code, and a program
//! without findings may still be insecure. [`Level::Advice`] marks code that is often right, such as `unsafe` in Rust.

pub mod command;
pub mod markdown;
mod patterns;
mod syntax;

use serde::{Deserialize, Serialize};

/// Programming languages with rules. For [`Language::Other`] only the rules for keys and tokens hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// C
    C,
    /// C++
    Cpp,
    /// C#
    Csharp,
    /// Java
    Java,
    /// JavaScript and TypeScript
    #[value(name = "javascript")]
    #[serde(rename = "javascript")]
    JavaScript,
    /// Kotlin
    Kotlin,
    /// Objective-C
    ObjectiveC,
    /// PHP
    Php,
    /// Python
    Python,
    /// Ruby
    Ruby,
    /// Rust
    Rust,
    /// Swift
    Swift,
    /// XML: manifests and configuration of applications
    Xml,
    /// Any other
    Other,
}

impl Language {
    /// The number of languages.
    const COUNT: usize = Self::Other as usize + 1;

    /// The language for a name after the fence of a code block, in a record, or at the end of a file name: `py`, `Python3`,
    /// `c++`. An unknown name gives [`Language::Other`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "c" | "h" => Self::C,
            "cpp" | "c++" | "cc" | "cxx" | "hpp" => Self::Cpp,
            "csharp" | "c#" | "cs" | "aspx" => Self::Csharp,
            "java" => Self::Java,
            "javascript" | "js" | "jsx" | "mjs" | "cjs" | "node" | "typescript" | "ts" | "tsx" => Self::JavaScript,
            "kotlin" | "kt" | "kts" => Self::Kotlin,
            "objective-c" | "objectivec" | "objc" | "m" | "mm" => Self::ObjectiveC,
            "php" => Self::Php,
            "python" | "py" | "python2" | "python3" | "py3" | "ipython" => Self::Python,
            "ruby" | "rb" => Self::Ruby,
            "rust" | "rs" => Self::Rust,
            "swift" => Self::Swift,
            "xml" => Self::Xml,
            _ => Self::Other,
        }
    }
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Often right as it is; worth a look
    Advice,
    /// Usually a weakness
    Warning,
    /// Never right
    Error,
}

impl Level {
    /// The name of the level.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["advice", "warning", "error"][self as usize]
    }
}

/// A rule: the insecure construct that it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Id, such as `py-os-command`.
    pub id: String,
    /// Number of the weakness in the Common Weakness Enumeration (CWE).
    pub cwe: u32,
    /// Severity outside of comments.
    pub level: Level,
    /// Description of the weakness in one sentence.
    pub message: String,
}

/// One finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Byte offset of the start.
    pub start: usize,
    /// Byte offset of the end (exclusive).
    pub end: usize,
    /// Line number, from 1.
    pub line: usize,
    /// The rule that reported it.
    pub rule: &'static Rule,
    /// Severity at this place: inside a comment it is advice.
    pub level: Level,
}

/// Programs longer than this many bytes are checked by regular expressions only, because the time of a syntax tree is not
/// bounded.
pub const TREE_BYTES: usize = 1 << 20;

/// All findings in a program, in order; at most one for each rule and line.
#[must_use]
pub fn find(language: Language, code: &str) -> Vec<Issue> {
    let mut issues = patterns::find(language, code);
    if code.len() <= TREE_BYTES {
        syntax::find(language, code, &mut issues);
    }
    issues.sort_by(|one, other| (one.line, &one.rule.id, one.start).cmp(&(other.line, &other.rule.id, other.start)));
    issues.dedup_by(|one, other| (one.line, &one.rule.id) == (other.line, &other.rule.id));
    issues.sort_by_key(|issue| issue.start);
    issues
}

/// All rules with their languages; the list is empty for a rule that applies to all languages.
#[must_use]
pub fn rules() -> Vec<(&'static Rule, Vec<Language>)> {
    let mut all = patterns::rules();
    all.extend(syntax::rules());
    all
}

/// The line number of a byte offset, from 1.
fn line_of(code: &str, at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &code.as_bytes()[..at]).count()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
