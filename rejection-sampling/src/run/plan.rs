//! The plan of a run's samples: for each problem, k samples, each with a checkpoint, a style, a temperature and a
//! seed.

use std::path::Path;

use anyhow::{Context, ensure};
use dataset::{Kind, Problem};
use sampler::sequence_seed;
use serde::{Deserialize, Serialize};

/// A system prompt that steers the style of answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Style {
    /// The capability of its problems; `*` for all.
    pub capability: String,
    /// Its name in the records.
    pub name: String,
    /// The system prompt; empty for none.
    pub system: String,
}

/// A model to sample from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The capability of its problems; `*` for all.
    pub capability: String,
    /// Its name or folder, or the model's name on an endpoint.
    pub model: String,
}

impl Checkpoint {
    /// Reads `MODEL` or `CAPABILITY=MODEL`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((capability, model)) if !capability.contains('/') => {
                Self { capability: capability.into(), model: model.into() }
            }
            _ => Self { capability: "*".into(), model: text.into() },
        }
    }
}

/// One planned sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// The index of the problem.
    pub problem: usize,
    /// The number of the sample among those of the problem, from 0.
    pub sample: u64,
    /// The index of the checkpoint.
    pub checkpoint: usize,
    /// The index of the style, if the problem has one.
    pub style: Option<usize>,
    /// The temperature.
    pub temperature: f64,
    /// The seed of the first answer.
    pub seed: u64,
}

/// The capability of a problem: `meta.capability` or a field `capability`, else the name of its kind.
#[must_use]
pub fn capability(problem: &Problem) -> &str {
    let named = problem.meta.as_ref().and_then(|meta| meta["capability"].as_str());
    let named = named.or_else(|| problem.extra.get("capability").and_then(serde_json::Value::as_str));
    named.unwrap_or(match problem.kind {
        Kind::Math => "math",
        Kind::Code => "code",
        Kind::Chat => "chat",
        Kind::Safety => "safety",
    })
}

/// Reads a file of styles, one JSON object per line.
///
/// # Errors
/// When a line is faulty, with `file:line`.
pub fn styles(path: &Path) -> anyhow::Result<Vec<Style>> {
    dataset::jsonl::read_all(path).context("--styles takes lines {\"capability\", \"name\", \"system\"}")
}

/// Plans `k` samples for each problem. Temperatures change fastest, then styles, then checkpoints, so that every
/// combination gets its share. A seed depends only on the run's seed, the sample's number, and the problem's position
/// in its file (the first one is at `skip`).
///
/// # Errors
/// When a problem's capability has no checkpoint.
pub fn lay_out(
    problems: &[Problem],
    k: u64,
    checkpoints: &[Checkpoint],
    styles: &[Style],
    temperatures: &[f64],
    (seed, skip): (u64, usize),
) -> anyhow::Result<Vec<Slot>> {
    let mut slots = Vec::with_capacity(problems.len() * k as usize);
    for (index, problem) in problems.iter().enumerate() {
        let capability = capability(problem);
        let fits = |of: &str| of == "*" || of == capability;
        let models = |of: &dyn Fn(&str) -> bool| {
            (0..checkpoints.len()).filter(|&i| of(&checkpoints[i].capability)).collect::<Vec<_>>()
        };
        // The checkpoints of a capability replace those for all.
        let own = models(&|of| of == capability);
        let models = if own.is_empty() { models(&|of| of == "*") } else { own };
        let steering: Vec<usize> = (0..styles.len()).filter(|&i| fits(&styles[i].capability)).collect();
        ensure!(
            !models.is_empty(),
            "problem {}: no --checkpoint is for its capability {capability}; add --checkpoint {capability}=MODEL",
            problem.id
        );
        for sample in 0..k {
            let turn = sample as usize;
            let (temperature, rest) = (turn % temperatures.len(), turn / temperatures.len());
            let (style, rest) = match steering.len() {
                0 => (None, rest),
                count => (Some(steering[rest % count]), rest / count),
            };
            slots.push(Slot {
                problem: index,
                sample,
                checkpoint: models[rest % models.len()],
                style,
                temperature: temperatures[temperature],
                seed: sequence_seed(seed, skip + index, turn),
            });
        }
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_gets_its_share() {
        let mut code = Problem::new("c", Kind::Code, vec![]);
        code.meta = Some(serde_json::json!({"capability": "rust"}));
        let problems = [Problem::new("m", Kind::Math, vec![]), code];
        let checkpoints = [Checkpoint::parse("a"), Checkpoint::parse("math=b/c"), Checkpoint::parse("math=d")];
        assert_eq!(checkpoints[1], Checkpoint { capability: "math".into(), model: "b/c".into() });
        let style = |capability: &str| Style { capability: capability.into(), name: "s".into(), system: "x".into() };
        let slots = lay_out(&problems, 8, &checkpoints, &[style("math"), style("*")], &[0.6, 1.0], (0, 0)).unwrap();
        let combinations = |problem: usize| {
            let of = slots.iter().filter(|slot| slot.problem == problem);
            let mut all: Vec<_> =
                of.map(|slot| (slot.checkpoint, slot.style, (slot.temperature * 10.0) as u64)).collect();
            all.sort_unstable();
            all
        };
        let eight = |models: [usize; 2]| {
            let mut all = Vec::new();
            for model in models {
                for style in [Some(0), Some(1)] {
                    all.extend([(model, style, 6), (model, style, 10)]);
                }
            }
            all
        };
        assert_eq!(combinations(0), eight([1, 2]), "two checkpoints of its own");
        // The second problem has one checkpoint and one style: two combinations, four times each.
        let mut expected = vec![(0, Some(1), 6); 4];
        expected.extend([(0, Some(1), 10); 4]);
        assert_eq!(combinations(1), expected);
        let error = lay_out(&problems, 1, &checkpoints[1..], &[], &[1.0], (0, 0)).unwrap_err().to_string();
        assert!(error.contains("problem c: no --checkpoint is for its capability rust"), "{error}");
    }
}
