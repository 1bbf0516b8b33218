//! A guard: its tiers, its policy, and its verdicts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use safety_text::policy::{Applies, Policy};
use serde::Serialize;

use crate::card::{Card, LINEAR};
use crate::fusion::{Tiers, log_odds, probability};
use crate::linear::Linear;
use crate::record::Asked;

/// Minimum share of the probability on the two answers at the first answer token; with less, a language model is not a guard.
pub const LEAST_MASS: f64 = 0.5;

/// A language model's score of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelScore {
    /// ln p(unsafe) / p(safe) at the first token of the answer.
    pub log_odds: f64,
    /// p(unsafe) + p(safe) at the same token.
    pub mass: f64,
    /// Number of judged windows; the other fields are those of the worst one.
    pub windows: usize,
    /// Number of leading turns that were left out to fit the context.
    pub dropped_turns: usize,
}

/// Counts of tokens that a language model has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ModelCounts {
    /// Number of prompt tokens that were computed.
    pub computed: u64,
    /// Number of prompt tokens that were found in the cache: the policy's, after the first text.
    pub cached: u64,
}

/// A tier that is a language model.
pub trait Scorer {
    /// Scores the last turn of each conversation under the categories of `policy` that are enabled for it.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn score(&mut self, policy: &Policy, asked: &[&Asked]) -> anyhow::Result<Vec<ModelScore>>;

    /// The distribution over enabled categories if the text is unsafe; the probabilities add up to 1.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn categories(&mut self, policy: &Policy, asked: &Asked) -> anyhow::Result<Vec<(String, f64)>>;

    /// The tokens read so far.
    fn counts(&self) -> ModelCounts {
        ModelCounts::default()
    }
}

/// A verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the text is unsafe.
    #[serde(serialize_with = "label", rename = "label")]
    pub is_unsafe: bool,
    /// The probability that the text is unsafe.
    pub score: f64,
    /// The probability that the language model gave to its two answers together, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass: Option<f64>,
    /// The score of every enabled category: the text's score for the likeliest one; for another, the same times its probability relative
    /// to the likeliest.
    pub categories: BTreeMap<String, f64>,
    /// The violated categories.
    pub violated: Vec<String>,
    /// The guard's threshold.
    pub threshold: f64,
    /// Number of windows of the text.
    pub windows: usize,
    /// Number of leading turns that were left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_turns: usize,
    /// Number of invisible characters that were removed before judging.
    #[serde(skip_serializing_if = "is_zero")]
    pub removed_characters: usize,
    /// Whether the text was empty.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn label<S: serde::Serializer>(is_unsafe: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *is_unsafe { "unsafe" } else { "safe" })
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Judges conversations. One thread at a time uses it ([`crate::worker`]).
pub trait Judge {
    /// Judges the last turn of each conversation.
    ///
    /// # Errors
    /// When a text cannot be judged; then no verdict is given.
    fn judge(&mut self, asked: &[Asked]) -> anyhow::Result<Vec<Verdict>>;

    /// The policy that it judges by.
    fn policy(&self) -> &Policy;

    /// The name that records and metrics show.
    fn name(&self) -> &str;

    /// The tokens that its language model has read.
    fn counts(&self) -> ModelCounts {
        ModelCounts::default()
    }
}

/// A guard loaded from its folder.
pub struct Guard {
    name: String,
    policy: Policy,
    threshold: f64,
    fusion: crate::fusion::Fusion,
    linear: Option<Linear>,
    model: Option<Box<dyn Scorer>>,
}

impl Guard {
    /// Opens a guard's folder. `model` opens its language model.
    ///
    /// # Errors
    /// See [`Card::open`]; also when the linear tier or the language model cannot be opened.
    pub fn open(
        folder: &Path,
        model: impl FnOnce(&Path, &Card) -> anyhow::Result<Box<dyn Scorer>>,
    ) -> anyhow::Result<(Self, Card)> {
        let (card, policy) = Card::open(folder)?;
        let path = folder.join(LINEAR);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let linear = Linear::from_bytes(&bytes).with_context(|| path.display().to_string())?;
        let model = if card.has_model { Some(model(folder, &card)?) } else { None };
        let name =
            folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into());
        let guard = Self::new(name, policy, card.threshold, card.fusion, Some(linear), model);
        Ok((guard, card))
    }

    /// Makes a guard from its parts.
    #[must_use]
    pub fn new(
        name: String,
        policy: Policy,
        threshold: f64,
        fusion: crate::fusion::Fusion,
        linear: Option<Linear>,
        model: Option<Box<dyn Scorer>>,
    ) -> Self {
        Self { name, policy, threshold, fusion, linear, model }
    }

    /// Uses another policy; the guard must know its categories ([`Card::adopt`]).
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Uses another threshold.
    pub fn set_threshold(&mut self, threshold: f64) {
        self.threshold = threshold;
    }

    /// The log-odds of the tiers before they are combined.
    ///
    /// # Errors
    /// When the language model cannot be computed, or when it is not a guard.
    pub fn tiers(&mut self, asked: &[&Asked]) -> anyhow::Result<Vec<(Tiers, Option<ModelScore>)>> {
        let models: Vec<Option<ModelScore>> = match &mut self.model {
            None => vec![None; asked.len()],
            Some(model) => {
                let scores = model.score(&self.policy, asked)?;
                ensure!(
                    scores.len() == asked.len(),
                    "the language model scored {} of {} texts",
                    scores.len(),
                    asked.len()
                );
                for score in &scores {
                    ensure!(
                        score.mass >= LEAST_MASS && score.log_odds.is_finite(),
                        "safe and unsafe hold {:.4} of the probability of the first answer token: this model is not a guard",
                        score.mass
                    );
                }
                scores.into_iter().map(Some).collect()
            }
        };
        let linear = |asked: &Asked| match &self.linear {
            None => 0.0,
            Some(linear) => {
                let score = linear.score(asked);
                switched(score.log_odds, &score.categories, &self.policy, asked.side())
            }
        };
        let tiers = asked
            .iter()
            .zip(models)
            .map(|(asked, model)| (Tiers { linear: linear(asked), model: model.map(|score| score.log_odds) }, model));
        Ok(tiers.collect())
    }

    fn verdict(&mut self, asked: &Asked, tiers: Tiers, model: Option<ModelScore>) -> anyhow::Result<Verdict> {
        let side = asked.side();
        let score = probability(self.fusion.log_odds(tiers));
        let linear = self.linear.as_ref().map(|linear| linear.score(asked));
        // The language model is asked for categories only if they matter.
        let shares = match &mut self.model {
            Some(model) if score >= self.threshold => model.categories(&self.policy, asked)?,
            _ => linear.as_ref().map(|linear| linear.categories.clone()).unwrap_or_default(),
        };
        let enabled: BTreeMap<&str, f64> =
            self.policy.enabled(side).map(|category| (category.id.as_str(), 0.0)).collect();
        let share = |id: &str| shares.iter().find(|(known, _)| known == id).map_or(0.0, |(_, share)| *share);
        let most = enabled.keys().map(|id| share(id)).fold(0.0, f64::max);
        let categories: BTreeMap<String, f64> = enabled
            .keys()
            .map(|&id| (id.to_owned(), if most > 0.0 { score * share(id) / most } else { 0.0 }))
            .collect();
        let mut violated: Vec<String> = self
            .policy
            .enabled(side)
            .filter(|category| categories[&category.id] >= self.policy.threshold(category, self.threshold))
            .map(|category| category.id.clone())
            .collect();
        let threshold = self.policy.threshold.unwrap_or(self.threshold);
        // If no category is known, the text is judged as a whole.
        let is_unsafe = if most > 0.0 { !violated.is_empty() } else { score >= threshold && !enabled.is_empty() };
        violated.sort_by(|a, b| categories[b].total_cmp(&categories[a]).then(a.cmp(b)));
        Ok(Verdict {
            is_unsafe,
            score,
            mass: model.map(|model| model.mass),
            categories,
            violated,
            threshold,
            windows: model.map_or(0, |model| model.windows).max(linear.map_or(0, |linear| linear.windows)),
            dropped_turns: model.map_or(0, |model| model.dropped_turns),
            removed_characters: asked.removed(),
            empty: false,
        })
    }

    fn nothing(&self, asked: &Asked) -> Verdict {
        Verdict {
            is_unsafe: false,
            score: 0.0,
            mass: None,
            categories: BTreeMap::new(),
            violated: Vec::new(),
            threshold: self.threshold,
            windows: 0,
            dropped_turns: 0,
            removed_characters: asked.removed(),
            empty: asked.is_empty(),
        }
    }
}

/// The log-odds of being unsafe under the enabled categories: p(unsafe) times the share of those categories.
fn switched(all: f64, shares: &[(String, f64)], policy: &Policy, side: Applies) -> f64 {
    if shares.is_empty() {
        return all;
    }
    let is_on = |id: &str| policy.enabled(side).any(|category| category.id == id);
    let on: f64 = shares.iter().filter(|(id, _)| is_on(id)).map(|(_, share)| share).sum();
    if on > 1.0 - 1e-9 { all } else { log_odds(probability(all) * on) }
}

impl Judge for Guard {
    fn judge(&mut self, asked: &[Asked]) -> anyhow::Result<Vec<Verdict>> {
        let is_judged =
            |asked: &Asked, policy: &Policy| !asked.is_empty() && policy.enabled(asked.side()).next().is_some();
        let judged: Vec<&Asked> = asked.iter().filter(|asked| is_judged(asked, &self.policy)).collect();
        let mut tiers = self.tiers(&judged)?.into_iter();
        let mut verdicts = Vec::with_capacity(asked.len());
        for one in asked {
            verdicts.push(match is_judged(one, &self.policy).then(|| tiers.next()).flatten() {
                None => self.nothing(one),
                Some((tiers, model)) => self.verdict(one, tiers, model)?,
            });
        }
        Ok(verdicts)
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn counts(&self) -> ModelCounts {
        self.model.as_ref().map(|model| model.counts()).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
