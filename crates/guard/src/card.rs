//! A guard's folder: `guard.toml` (its training data and thresholds), `policy.toml`, `linear.bin` and, if it has a language model,
//! `model/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use safety_text::policy::{Applies, Policy};
use serde::{Deserialize, Serialize};

use crate::fusion::Fusion;
use crate::prompt::Format;

/// The card's file.
pub const CARD: &str = "guard.toml";
/// The policy's file.
pub const POLICY: &str = "policy.toml";
/// The linear tier's file.
pub const LINEAR: &str = "linear.bin";
/// The language model's folder.
pub const MODEL: &str = "model";

/// The properties of a guard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The version of this file's format: 1.
    pub version: u32,
    /// The policy's name.
    pub policy: String,
    /// SHA-256 of the resolved policy that it was trained with.
    pub policy_sha256: String,
    /// The wording of the language model's prompt.
    pub format: Format,
    /// Whether there is a language model in the folder.
    pub has_model: bool,
    /// The probability from which a text counts as unsafe.
    pub threshold: f64,
    /// The false-positive rates for which the threshold was set, and the measured rates on held-out records.
    pub rates: Rates,
    /// The weights of the tiers.
    pub fusion: Fusion,
    /// Counts of the training records.
    pub trained: Trained,
}

/// Rates at the threshold, on records that no tier was trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// The share of plain safe texts that may be flagged.
    pub fpr: f64,
    /// The share of borderline safe texts that may be flagged.
    pub borderline_fpr: f64,
    /// The sources that are borderline.
    pub borderline: Vec<String>,
    /// Number of held-out plain safe texts, and of those flagged.
    pub plain: (usize, usize),
    /// Number of held-out borderline safe texts, and of those flagged.
    pub borderline_safe: (usize, usize),
    /// Number of held-out unsafe texts, and of those flagged.
    pub unsafe_: (usize, usize),
}

/// Counts of a guard's training records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// Number of prompts, and of unsafe ones.
    pub prompts: (usize, usize),
    /// Number of responses, and of unsafe ones.
    pub responses: (usize, usize),
    /// Number of unsafe records by category; those without one count as `unknown`.
    pub categories: BTreeMap<String, usize>,
    /// Number of records by source, and of unsafe ones.
    pub sources: BTreeMap<String, (usize, usize)>,
}

impl Card {
    /// Reads a guard's card and policy.
    ///
    /// # Errors
    /// When the folder is not a guard's, a file was changed, or the policy differs from the card's.
    pub fn open(folder: &Path) -> anyhow::Result<(Self, Policy)> {
        let path = folder.join(CARD);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "{} is not a guard: it has no {CARD}. `herd safety guard train` makes one; a folder of Llama Guard 3 is used with \
                 --guard-format llama-guard-3",
                folder.display()
            )
        })?;
        let card: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(card.version == 1, "{}: version {} is not known to this herd", path.display(), card.version);
        ensure!(
            (0.0..=1.0).contains(&card.threshold),
            "{}: threshold is {}; it must lie between 0 and 1",
            path.display(),
            card.threshold
        );
        let policy = Policy::load(&folder.join(POLICY).to_string_lossy())?;
        ensure!(
            policy.digest() == card.policy_sha256,
            "{}: the policy is not the one that the guard was trained with ({CARD} has another SHA-256); give changes in a file \
             of their own, by --policy",
            folder.join(POLICY).display()
        );
        Ok((card, policy))
    }

    /// Writes the card, the last file of a guard's folder: a folder without it is not a guard.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("the card cannot be written as TOML")?;
        dataset::write_file(folder.join(CARD), text.as_bytes())?;
        Ok(())
    }

    /// The policy to use: the guard's own, or a file with categories that the guard was trained on.
    ///
    /// # Errors
    /// When the file names a category that the guard does not have.
    pub fn adopt(&self, own: &Policy, file: &str) -> anyhow::Result<Policy> {
        let policy = Policy::load(file)?;
        let unknown: Vec<&str> = policy
            .categories
            .iter()
            .filter(|category| category.enabled && own.category(&category.id).is_err())
            .map(|category| category.id.as_str())
            .collect();
        ensure!(
            unknown.is_empty(),
            "the policy {} has categories that the guard was not trained with: {}; its policy {} has {}",
            policy.name,
            unknown.join(", "),
            own.name,
            own.categories.iter().map(|category| category.id.as_str()).collect::<Vec<_>>().join(", ")
        );
        Ok(policy)
    }

    /// Warnings for a user of this guard on `side`.
    #[must_use]
    pub fn warnings(&self, policy: &Policy, side: Applies) -> Vec<String> {
        let (all, what) = match side {
            Applies::Prompt => (self.trained.prompts.0, "prompts"),
            Applies::Response => (self.trained.responses.0, "responses"),
        };
        let mut warnings = Vec::new();
        if all == 0 {
            warnings.push(format!("the guard was not trained on {what}; it judges them as it judges other texts"));
        }
        let untrained: Vec<&str> = policy
            .enabled(side)
            .filter(|category| !self.trained.categories.contains_key(&category.id))
            .map(|category| category.id.as_str())
            .collect();
        if !untrained.is_empty() {
            warnings.push(format!("categories without a training record: {}", untrained.join(", ")));
        }
        warnings
    }
}

/// Formats a policy as a policy file.
#[must_use]
pub fn policy_toml(policy: &Policy) -> String {
    let mut value = serde_json::to_value(policy).unwrap_or_default();
    without_nulls(&mut value);
    if let Some(map) = value.as_object_mut()
        && let Some(categories) = map.remove("categories")
    {
        map.insert("category".into(), categories);
    }
    toml::to_string(&value).unwrap_or_default()
}

fn without_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The path of the language model of a guard's folder.
#[must_use]
pub fn model_folder(folder: &Path) -> PathBuf {
    folder.join(MODEL)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn card(policy: &Policy) -> Card {
        Card {
            version: 1,
            policy: policy.name.clone(),
            policy_sha256: policy.digest(),
            format: Format::Herd,
            has_model: false,
            threshold: 0.5,
            rates: Rates::default(),
            fusion: Fusion { bias: 0.0, linear: 1.0, model: 0.0 },
            trained: Trained::default(),
        }
    }

    #[test]
    fn a_policy_survives_its_file() {
        for name in safety_text::policy::BUILTIN {
            let policy = Policy::builtin(name).unwrap();
            assert_eq!(Policy::parse(&policy_toml(&policy), "x").unwrap(), policy);
        }
    }

    #[test]
    fn a_folder_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let error = Card::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is not a guard: it has no guard.toml. `herd safety guard train` makes one"), "{error}");
        let policy = Policy::builtin("herd-14").unwrap();
        let own = card(&policy);
        own.write(dir.path()).unwrap();
        std::fs::write(dir.path().join(POLICY), policy_toml(&policy)).unwrap();
        assert_eq!(Card::open(dir.path()).unwrap(), (own.clone(), policy.clone()));
        // A policy with a category switched off differs from the guard's own.
        let changed = policy.clone().only(&["S1"]).unwrap();
        std::fs::write(dir.path().join(POLICY), policy_toml(&changed)).unwrap();
        assert!(
            Card::open(dir.path()).unwrap_err().to_string().contains("is not the one that the guard was trained with")
        );
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, policy_toml(&changed)).unwrap();
        assert_eq!(own.adopt(&policy, &file.to_string_lossy()).unwrap(), changed);
        let error = own.adopt(&policy, "ailuminate-12").unwrap_err().to_string();
        assert!(error.contains("not trained with: vcr, ncr"), "{error}");
        let warnings = own.warnings(&policy, Applies::Response);
        assert!(
            warnings[0].starts_with("the guard was not trained on responses") && warnings.len() == 2,
            "{warnings:?}"
        );
    }
}
