//! Sampling of a token from logits: repetition penalty, temperature, top-k, top-p and min-p in the order of transformers'
//! `LogitsProcessorList`, with a separate random number generator for each sequence.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use torch_ext::Drawing;

use crate::vocabulary;
pub(crate) use crate::vocabulary::all_finite;

/// Sampling parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Temperature; 0 chooses the most likely token.
    pub temperature: f64,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest most likely tokens whose probabilities add up to at least this; 1 keeps all.
    pub top_p: f64,
    /// Drops tokens whose probability is below this times that of the most likely token; 0 keeps all.
    pub min_p: f64,
    /// Divides positive logits of tokens already seen (including the prompt) by this and multiplies negative ones; 1 has no
    /// effect (Keskar et al. 2019, section 4.1).
    pub repetition_penalty: f64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

impl SamplingParams {
    /// Always chooses the most likely token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks the values.
    pub fn check(&self) -> Result<(), String> {
        let checks = [
            (self.temperature.is_finite() && self.temperature >= 0.0, "temperature must be 0 or more"),
            (self.top_p > 0.0 && self.top_p <= 1.0, "top_p must be above 0 and at most 1"),
            (self.min_p >= 0.0 && self.min_p <= 1.0, "min_p must be between 0 and 1"),
            (
                self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
                "repetition_penalty must be above 0",
            ),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err((*sentence).to_owned()),
            None => Ok(()),
        }
    }
}

/// A chosen token.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Token id.
    pub id: i64,
    /// Log-probability (natural logarithm) under the model itself: temperature 1, no token dropped.
    pub logprob: f32,
    /// The requested number of most likely tokens with their log-probabilities, most likely first.
    pub top: Vec<(i64, f32)>,
}

/// Changes the logits of one sequence before each of its tokens is chosen: penalties, biases, a grammar. The reported
/// log-probabilities are still those of the model.
pub trait LogitsProcessor: Send {
    /// Changes `logits` (`[vocab]`) of the next token; negative infinity forbids a token.
    ///
    /// # Errors
    /// A sentence; the sequence ends with it as its error.
    fn process(&mut self, logits: &mut [f32]) -> Result<(), String>;

    /// Called with the token that was chosen.
    ///
    /// # Errors
    /// A sentence; the sequence ends with it as its error.
    fn accept(&mut self, id: i64) -> Result<(), String>;
}

/// The sampling state of one sequence. Its choices depend only on its seed and its logits.
pub struct Sampler {
    params: SamplingParams,
    rng: ChaCha8Rng,
    /// Whether each token of the vocabulary occurred; empty without a repetition penalty.
    seen: Vec<bool>,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`.
    pub fn new(params: SamplingParams, seed: u64, prompt: &[i64], vocab_size: usize) -> Self {
        let mut seen = Vec::new();
        if params.repetition_penalty != 1.0 {
            seen.resize(vocab_size, false);
            for &id in prompt {
                seen[id as usize] = true;
            }
        }
        Self { params, rng: ChaCha8Rng::seed_from_u64(seed), seen }
    }

    /// Chooses the next token from `logits` (`[vocab]`, finite), which it overwrites, and reports the `top` most likely tokens.
    pub fn choose(&mut self, logits: &mut [f32], top: usize) -> Choice {
        let report = Report::new(logits, top);
        // The report must use the logit without the penalty.
        let raw = (!self.seen.is_empty()).then(|| logits.to_vec());
        self.penalise(logits);
        self.take(logits, raw.as_deref(), report)
    }

    /// As [`Sampler::choose`], but from the logits after `processor`.
    ///
    /// # Errors
    /// The processor's error, or that it forbids every token.
    pub fn choose_processed(
        &mut self,
        logits: &mut [f32],
        top: usize,
        processor: &mut dyn LogitsProcessor,
    ) -> Result<Choice, String> {
        let report = Report::new(logits, top);
        let raw = logits.to_vec();
        processor.process(logits)?;
        self.penalise(logits);
        if vocabulary::highest(logits) == f32::NEG_INFINITY {
            return Err("the constraints of this request forbid every token".into());
        }
        let choice = self.take(logits, Some(&raw), report);
        processor.accept(choice.id)?;
        Ok(choice)
    }

    /// The input of the next choice on a GPU: the parameters, and the random number that [`Sampler::choose`] would use. With a
    /// repetition penalty, which needs the CPU sampler, draws no number and returns `None`.
    pub(crate) fn drawing(&mut self) -> Option<Drawing> {
        let SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty } = self.params;
        (repetition_penalty == 1.0).then(|| {
            let point = if temperature == 0.0 { 0.0 } else { self.rng.random() };
            Drawing { temperature, top_k, top_p, min_p, point }
        })
    }

    /// Chooses from `logits`. The reported log-probability comes from `raw` if given: the logits before penalties and processors.
    fn take(&mut self, logits: &[f32], raw: Option<&[f32]>, report: Report) -> Choice {
        let id = if self.params.temperature == 0.0 { argmax(logits) } else { self.draw(logits) };
        if let Some(seen) = self.seen.get_mut(id) {
            *seen = true;
        }
        let chosen = raw.map_or(logits[id], |raw| raw[id]);
        Choice { id: id as i64, logprob: chosen - report.log_sum, top: report.top }
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.params.repetition_penalty as f32;
        for (logit, _) in logits.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    fn draw(&mut self, logits: &[f32]) -> usize {
        let point: f64 = self.rng.random();
        let SamplingParams { temperature, top_k, top_p, min_p, .. } = self.params;
        let highest = vocabulary::highest(logits);
        if top_k == 0 && top_p >= 1.0 && min_p == 0.0 {
            return vocabulary::Weights::new(logits, highest, temperature).pick(point);
        }
        let mut kept = if top_k == 0 && top_p >= 1.0 {
            heads(logits, highest + (temperature * min_p.ln()) as f32 - 1e-3, temperature, highest)
        } else {
            candidates(logits, top_k, top_p, temperature)
        };
        if min_p > 0.0 {
            kept.retain(|&(_, weight)| weight >= min_p);
        }
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        pick(kept.into_iter(), point * total)
    }
}

/// Log-probabilities to report, from the model's logits before penalties and processors.
pub(crate) struct Report {
    /// `logsumexp` of the logits.
    pub log_sum: f32,
    /// The most likely tokens with their log-probabilities.
    pub top: Vec<(i64, f32)>,
}

impl Report {
    pub fn new(logits: &[f32], top: usize) -> Self {
        let highest = vocabulary::highest(logits);
        let log_sum = highest + vocabulary::Weights::new(logits, highest, 1.0).total.ln() as f32;
        let top = most_likely(logits, top).into_iter().map(|id| (id as i64, logits[id] - log_sum)).collect();
        Self { log_sum, top }
    }
}

/// The tokens that top-k and top-p keep, most likely first (ties by id), with their weights
/// `exp((logit - highest) / temperature)`.
fn candidates(logits: &[f32], top_k: usize, top_p: f64, temperature: f64) -> Vec<(usize, f64)> {
    let highest = vocabulary::highest(logits);
    let limit = if top_k == 0 { logits.len() } else { top_k.min(logits.len()) };
    let everything = vocabulary::Weights::new(logits, highest, temperature).total;
    // Nearly all of the probability is in a few hundred tokens, so search the tokens within a growing distance of the most
    // likely one.
    let mut distance = 4.0;
    loop {
        let least = if distance < 1e3 { highest - (temperature * distance) as f32 } else { f32::NEG_INFINITY };
        let mut head = heads(logits, least, temperature, highest);
        let all = head.len() == logits.len();
        // With both limits, top_p applies to the probability of the k most likely tokens, so all k are needed.
        let enough = match top_k {
            0 => head.iter().map(|(_, weight)| weight).sum::<f64>() >= top_p * everything,
            _ => head.len() >= limit,
        };
        if !all && !enough {
            distance *= 3.0;
            continue;
        }
        head.truncate(limit);
        let total = if top_k == 0 { everything } else { head.iter().map(|(_, weight)| weight).sum() };
        let mut mass = 0.0;
        let kept = head.into_iter().enumerate().take_while(|&(place, (_, weight))| {
            let before = mass;
            mass += weight;
            place == 0 || top_p >= 1.0 || before < top_p * total
        });
        return kept.map(|(_, entry)| entry).collect();
    }
}

/// Tokens with a logit of at least `least`, most likely first (ties by id), with their weights.
fn heads(logits: &[f32], least: f32, temperature: f64, highest: f32) -> Vec<(usize, f64)> {
    let mut ids: Vec<usize> = (0..logits.len()).filter(|&id| logits[id] >= least).collect();
    ids.sort_unstable_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    ids.into_iter().map(|id| (id, (f64::from(logits[id] - highest) / temperature).exp())).collect()
}

/// The `count` most likely tokens, most likely first (ties by id).
fn most_likely(logits: &[f32], count: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

/// The first index at which the running sum exceeds `point`, or the last one with a positive weight.
fn pick(weights: impl Iterator<Item = (usize, f64)>, point: f64) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (id, weight) in weights {
        if weight > 0.0 {
            sum += weight;
            last = id;
            if sum > point {
                break;
            }
        }
    }
    last
}

/// The index of the first maximum.
fn argmax(logits: &[f32]) -> usize {
    let highest = vocabulary::highest(logits);
    logits.iter().position(|logit| *logit == highest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(params: SamplingParams, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        let draws = 40_000;
        let mut sampler = Sampler::new(params, 7, &[], logits.len());
        for _ in 0..draws {
            counts[sampler.choose(&mut logits.to_vec(), 0).id as usize] += 1.0 / f64::from(draws);
        }
        counts
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.012 && (*expected > 0.0 || *found == 0.0), "{found} {expected}");
        }
    }

    /// ln of 0.5, 0.25, 0.15, 0.1. The expected probabilities of each rule are computed by hand.
    const LOGITS: [f32; 4] = [-std::f32::consts::LN_2, -1.386_294_4, -1.897_12, -std::f32::consts::LN_10];

    #[test]
    fn frequencies_follow_each_rule() {
        let base = SamplingParams::default();
        assert_near(&frequencies(base.clone(), &LOGITS), &[0.5, 0.25, 0.15, 0.1]);
        let squared = [0.25, 0.0625, 0.0225, 0.01].map(|p: f64| p / 0.345);
        assert_near(&frequencies(SamplingParams { temperature: 0.5, ..base.clone() }, &LOGITS), &squared);
        let two = [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0];
        assert_near(&frequencies(SamplingParams { top_k: 2, ..base.clone() }, &LOGITS), &two);
        assert_near(&frequencies(SamplingParams { top_p: 0.7, ..base.clone() }, &LOGITS), &two);
        assert_near(&frequencies(SamplingParams { top_p: 0.3, ..base.clone() }, &LOGITS), &[1.0, 0.0, 0.0, 0.0]);
        assert_near(&frequencies(SamplingParams { min_p: 0.4, ..base.clone() }, &LOGITS), &two);
        // Of three tokens, the first two have 0.75 / 0.9 = 0.83 of the probability.
        assert_near(&frequencies(SamplingParams { top_k: 3, top_p: 0.8, ..base.clone() }, &LOGITS), &two);
        let three = [0.5, 0.25, 0.15, 0.0].map(|p: f64| p / 0.9);
        assert_near(&frequencies(SamplingParams { top_k: 3, top_p: 0.9, ..base }, &LOGITS), &three);
    }

    #[test]
    fn the_head_of_a_large_vocabulary_is_the_same_as_a_full_sort() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let logits: Vec<f32> = (0..5_000).map(|_| rng.random::<f32>() * 4.0).collect();
        let weight = |logit: f32| f64::from(logit).exp();
        for top_p in [0.01, 0.2, 0.9, 0.9999, 1.0] {
            let kept = candidates(&logits, 0, top_p, 1.0);
            let mut all: Vec<usize> = (0..logits.len()).collect();
            all.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            let total: f64 = all.iter().map(|&id| weight(logits[id])).sum();
            let mut mass = 0.0;
            let full = all.iter().take_while(|&&id| {
                let before = mass;
                mass += weight(logits[id]);
                before < top_p * total
            });
            assert_eq!(kept.iter().map(|&(id, _)| id).collect::<Vec<_>>(), full.copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn log_probs_are_the_models_own() {
        let params =
            SamplingParams { temperature: 0.3, top_k: 1, repetition_penalty: 1.5, ..SamplingParams::default() };
        let choice = Sampler::new(params, 1, &[1], 4).choose(&mut LOGITS.to_vec(), 2);
        assert_eq!(choice.id, 0);
        assert!((choice.logprob - 0.5_f32.ln()).abs() < 1e-6);
        assert_eq!(choice.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
        assert!((choice.top[1].1 - 0.25_f32.ln()).abs() < 1e-5);
    }

    #[test]
    fn the_penalty_moves_seen_tokens_only() {
        let params = SamplingParams { repetition_penalty: 2.0, ..SamplingParams::greedy() };
        let mut sampler = Sampler::new(params, 1, &[0], 3);
        assert_eq!(sampler.choose(&mut [3.0, 2.0, 1.0], 0).id, 1);
        assert_eq!(sampler.choose(&mut [3.0, 2.0, 1.9], 0).id, 2);
        assert_eq!(sampler.choose(&mut [-1.0, -1.5, -2.5], 0).id, 0);
    }

    /// Forbids all tokens except some, and records the chosen tokens.
    struct Only(Vec<usize>, Vec<i64>);

    impl LogitsProcessor for Only {
        fn process(&mut self, logits: &mut [f32]) -> Result<(), String> {
            let forbidden = (0..logits.len()).filter(|id| !self.0.contains(id));
            forbidden.for_each(|id| logits[id] = f32::NEG_INFINITY);
            Ok(())
        }

        fn accept(&mut self, id: i64) -> Result<(), String> {
            self.1.push(id);
            Ok(())
        }
    }

    #[test]
    fn a_forbidden_token_is_never_chosen_and_log_probs_stay_the_models() {
        let cut = [
            SamplingParams::default(),
            SamplingParams::greedy(),
            SamplingParams { top_k: 3, ..SamplingParams::default() },
            SamplingParams { top_p: 0.99, ..SamplingParams::default() },
            SamplingParams { min_p: 0.01, repetition_penalty: 1.3, ..SamplingParams::default() },
        ];
        for params in cut {
            let mut sampler = Sampler::new(params.clone(), 3, &[0], 4);
            let mut only = Only(vec![2, 3], Vec::new());
            for _ in 0..200 {
                let choice = sampler.choose_processed(&mut LOGITS.to_vec(), 1, &mut only).unwrap();
                assert!(choice.id >= 2, "{params:?}");
                assert!((choice.logprob - LOGITS[choice.id as usize]).abs() < 1e-5, "{params:?}");
                assert_eq!(choice.top[0].0, 0);
            }
            assert_eq!(only.1.len(), 200);
            assert!(sampler.choose_processed(&mut LOGITS.to_vec(), 0, &mut Only(vec![], vec![])).is_err());
        }
    }

    #[test]
    fn values_without_sense_are_named() {
        let bad = SamplingParams { top_p: 0.0, ..SamplingParams::default() };
        assert!(bad.check().unwrap_err().contains("top_p"));
        let bad = SamplingParams { temperature: f64::NAN, ..SamplingParams::default() };
        assert!(bad.check().unwrap_err().contains("temperature"));
        assert!(SamplingParams::greedy().check().is_ok());
    }
}
