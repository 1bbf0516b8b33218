//! The policy file: content categories with their definitions, whether they are enabled, and their thresholds. Training,
//! serving, evaluation and reports use the same file.
//!
//! ```
//! use safety_text::policy::Policy;
//!
//! let policy = Policy::builtin("herd-14").unwrap();
//! assert_eq!(policy.categories.len(), 14);
//! assert_eq!(policy.category("S10").unwrap().key, "hate");
//! // Sub-codes of AILuminate belong to their hazard.
//! assert_eq!(policy.by_ailuminate("spc_lgl").unwrap().id, "S6");
//! let error = policy.category("S41").unwrap_err().to_string();
//! assert!(error.starts_with("\"S41\" is no category of the policy herd-14; did you mean S4"), "{error}");
//! ```

pub mod command;
mod parse;

use std::collections::BTreeSet;
use std::path::Path;

use run::nearest;
use serde::Serialize;

/// Names of the built-in policies.
pub const BUILTIN: [&str; 2] = ["herd-14", "ailuminate-12"];

/// Category names of OpenAI's moderation interface.
pub const OPENAI: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// Hazard codes of MLCommons AILuminate 1.0.
pub const AILUMINATE: [&str; 12] = ["vcr", "ncr", "src", "cse", "ssh", "iwp", "dfm", "spc", "prv", "ipv", "hte", "sxc"];

/// The role whose text a category applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// Texts of the user.
    Prompt,
    /// Texts of the model.
    Response,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Category {
    /// Code in a guard's answer, such as `S1`.
    pub id: String,
    /// Stable name for files and metrics, such as `violent-crimes`.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Hazard codes of AILuminate. A code belongs to at most one category.
    pub ailuminate: Vec<String>,
    /// Names of OpenAI's moderation interface. Several categories may share a name; its score is then the largest of their
    /// scores.
    pub openai: Vec<String>,
    /// The roles whose texts are judged.
    pub applies: Vec<Applies>,
    /// Whether the category is judged at all.
    pub enabled: bool,
    /// Score from which a text violates the category, between 0 and 1. `None`: the threshold of the policy, else of the guard.
    pub threshold: Option<f64>,
    /// Definition in a few sentences.
    pub definition: String,
}

/// A policy: its categories, and the reaction to a violation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Name of the policy.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// Threshold of categories without their own. `None`: the threshold of the guard.
    pub threshold: Option<f64>,
    /// Number of answer tokens that a server holds back until they are judged.
    pub hold_back_tokens: u32,
    /// Text that a server returns instead of a violating text.
    pub refusal: String,
    /// The categories in the order of the file.
    pub categories: Vec<Category>,
}

/// A policy file that cannot be used; the message is `file:line: fault and remedy`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub(crate) String);

/// An id or key that the policy does not contain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{id:?} is no category of the policy {policy}{hint}")]
pub struct UnknownCategory {
    /// The requested id or key.
    pub id: String,
    /// Name of the policy.
    pub policy: String,
    hint: String,
}

impl Policy {
    /// A built-in policy: `herd-14` (Llama Guard 3's numbering) or `ailuminate-12`.
    #[must_use]
    pub fn builtin(name: &str) -> Option<Self> {
        let text = match name {
            "herd-14" => include_str!("herd-14.toml"),
            "ailuminate-12" => include_str!("ailuminate-12.toml"),
            _ => return None,
        };
        Some(Self::parse(text, name).expect("the built-in policies are constants, and a test reads them"))
    }

    /// Parses a policy file. `origin` is the file name for error messages.
    ///
    /// # Errors
    /// `file:line: ...` for invalid TOML, an unknown or missing key, a duplicate or malformed id or key, an empty definition,
    /// an unknown name of a mapping, a hazard code in two categories, or a threshold outside 0 to 1.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PolicyError> {
        parse::parse(text, origin)
    }

    /// Loads a built-in policy by its name, or a policy file.
    ///
    /// # Errors
    /// The same as [`Policy::parse`], and when the file cannot be read.
    pub fn load(name_or_file: &str) -> Result<Self, PolicyError> {
        if let Some(policy) = Self::builtin(name_or_file) {
            return Ok(policy);
        }
        let path = Path::new(name_or_file);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let built_in = BUILTIN.join(" and ");
            PolicyError(format!("{name_or_file}: cannot read the policy: {error}; {built_in} are built in"))
        })?;
        Self::parse(&text, name_or_file)
    }

    /// The category with this id or key.
    ///
    /// # Errors
    /// [`UnknownCategory`]; its message suggests the nearest id or key.
    pub fn category(&self, id_or_key: &str) -> Result<&Category, UnknownCategory> {
        let found = self.categories.iter().find(|category| category.id == id_or_key || category.key == id_or_key);
        found.ok_or_else(|| {
            let known = self.categories.iter().flat_map(|category| [category.id.as_str(), category.key.as_str()]);
            UnknownCategory { id: id_or_key.to_owned(), policy: self.name.clone(), hint: nearest(id_or_key, known) }
        })
    }

    /// The categories that are judged in texts of this role, in the order of the file.
    pub fn enabled(&self, role: Applies) -> impl Iterator<Item = &Category> {
        self.categories.iter().filter(move |category| category.enabled && category.applies.contains(&role))
    }

    /// The policy with only these categories enabled.
    ///
    /// # Errors
    /// [`UnknownCategory`] for an id or key that the policy does not contain.
    pub fn only<S: AsRef<str>>(mut self, ids: &[S]) -> Result<Self, UnknownCategory> {
        let mut chosen = BTreeSet::new();
        for id in ids {
            chosen.insert(self.category(id.as_ref())?.id.clone());
        }
        for category in &mut self.categories {
            category.enabled = chosen.contains(&category.id);
        }
        Ok(self)
    }

    /// The category of a hazard code of AILuminate. A sub-code (`spc_lgl`) belongs to its hazard (`spc`).
    #[must_use]
    pub fn by_ailuminate(&self, code: &str) -> Option<&Category> {
        let hazard = code.split('_').next().unwrap_or(code);
        self.categories.iter().find(|category| category.ailuminate.iter().any(|known| known == hazard))
    }

    /// The categories of a name of OpenAI's moderation interface; the score of the name is the largest of their scores.
    pub fn by_openai<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Category> {
        self.categories.iter().filter(move |category| category.openai.iter().any(|known| known == name))
    }

    /// The threshold of a category: its own, else the policy's, else `guard`.
    #[must_use]
    pub fn threshold(&self, category: &Category, guard: f64) -> f64 {
        category.threshold.or(self.threshold).unwrap_or(guard)
    }

    /// SHA-256 of the resolved policy, in hexadecimal. Comments and layout of the file do not change it.
    #[must_use]
    pub fn digest(&self) -> String {
        dataset::digest::bytes(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
