//! Averages of the weights over the steps, kept beside the current weights.
//!
//! Of low-rank updates the products `B A` are averaged, because the average of the factors would be a different update. The
//! average of the products is not of low rank, so it is saved as a merged model.

use std::collections::HashMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::persist::state::Named;

/// Suffixes of the names of a low-rank update's factors, `A` and `B`.
const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
/// Suffix of the name of an averaged low-rank update, after the name of its module.
pub const UPDATE: &str = ".update";

/// The kind of weight average.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AverageKind {
    /// No average: the last weights are the result
    None,
    /// Exponential moving average; the decay grows from 0.1 as (1 + n) / (10 + n) to `average_decay`, so that the weights before training
    /// have no influence
    Ema,
    /// Plain mean of the weights after each of the last steps (Polyak and Juditsky 1992); `decay_ratio` sets their share, as the Llama 3
    /// paper averages over annealing
    Polyak,
}

/// Settings of the weight average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AverageSettings {
    /// Kind of the average.
    pub kind: AverageKind,
    /// The largest decay of [`AverageKind::Ema`].
    pub decay: f64,
    /// Number of steps at the start that are not averaged.
    pub start: u64,
}

impl AverageSettings {
    /// No average.
    pub const NONE: Self = Self { kind: AverageKind::None, decay: 0.0, start: 0 };
}

/// The running average of named float32 tensors.
pub struct Average {
    settings: AverageSettings,
    /// Steps averaged so far.
    count: u64,
    tensors: Named,
}

impl Average {
    /// An average of the tensors `weights`; `None` for [`AverageKind::None`]. It equals `weights` until the first step is
    /// averaged.
    #[must_use]
    pub fn new(settings: AverageSettings, weights: &[(String, Tensor)]) -> Option<Self> {
        let _no_grad = tch::no_grad_guard();
        (settings.kind != AverageKind::None).then(|| {
            let mut tensors = Vec::new();
            each(weights, |name, tensor| tensors.push((name, tensor.copy())));
            Self { settings, count: 0, tensors }
        })
    }

    /// Adds the weights after `step` steps, in the order that was given to [`Average::new`].
    pub fn update(&mut self, step: u64, weights: &[(String, Tensor)]) {
        let _no_grad = tch::no_grad_guard();
        if step <= self.settings.start {
            return;
        }
        let n = self.count as f64;
        let share = match self.settings.kind {
            AverageKind::Polyak => 1.0 / (n + 1.0),
            _ => 1.0 - self.settings.decay.min((1.0 + n) / (10.0 + n)),
        };
        self.count += 1;
        let mut own = self.tensors.iter_mut();
        each(weights, |_, weight| {
            if let Some((_, average)) = own.next() {
                let _ = average.lerp_(&weight, share);
            }
        });
    }

    /// Whether at least one step has been averaged.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.count > 0
    }

    /// The averaged tensors under the names of the weights. The average of a low-rank update has its module's name and
    /// [`UPDATE`]. The tensors share memory with this object.
    #[must_use]
    pub fn tensors(&self) -> Named {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Restores an average that was saved after `step` steps.
    ///
    /// # Errors
    /// The name of a tensor that is missing.
    pub fn restore(&mut self, step: u64, saved: Named) -> Result<(), String> {
        let _no_grad = tch::no_grad_guard();
        let saved: HashMap<String, Tensor> = saved.into_iter().collect();
        for (name, tensor) in &mut self.tensors {
            let found = saved.get(name.as_str()).ok_or_else(|| name.clone())?;
            tensor.copy_(found);
        }
        self.count = step.saturating_sub(self.settings.start);
        Ok(())
    }
}

/// Calls `visit` for each averaged quantity: each tensor itself, and for each low-rank update the product of its factors, at
/// the position of its factor `A`.
fn each(weights: &[(String, Tensor)], mut visit: impl FnMut(String, Tensor)) {
    for (name, tensor) in weights {
        if let Some(module) = name.strip_suffix(FACTORS[0]) {
            let other = weights.iter().find(|(name, _)| name.strip_suffix(FACTORS[1]) == Some(module));
            if let Some((_, b)) = other {
                visit(format!("{module}{UPDATE}"), b.matmul(tensor));
            }
        } else if !name.ends_with(FACTORS[1]) {
            visit(name.clone(), tensor.shallow_clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: AverageKind, start: u64) -> AverageSettings {
        AverageSettings { kind, decay: 0.9, start }
    }

    fn run(settings: AverageSettings, values: &[f32]) -> Vec<f32> {
        torch_ext::init();
        let at = |value: f32| vec![("w".to_owned(), Tensor::from_slice(&[value, -value]))];
        let mut average = Average::new(settings, &at(100.0)).unwrap();
        for (step, value) in values.iter().enumerate() {
            average.update(step as u64 + 1, &at(*value));
        }
        Vec::try_from(&average.tensors()[0].1).unwrap()
    }

    #[test]
    fn averages_follow_their_formulas() {
        let close = |found: f32, expected: f32| assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        close(run(settings(AverageKind::Polyak, 0), &[2.0, 4.0, 6.0])[0], 4.0);
        close(run(settings(AverageKind::Polyak, 1), &[2.0, 4.0, 6.0])[0], 5.0);
        // The decays are 1/10, 2/11 and 3/12.
        let first = 0.1 * 100.0 + 0.9 * 2.0;
        let second = (2.0 * first + 9.0 * 4.0) / 11.0;
        let ema = run(settings(AverageKind::Ema, 0), &[2.0, 4.0, 6.0]);
        close(ema[0], (3.0 * second + 9.0 * 6.0) / 12.0);
        assert_eq!(ema[1], -ema[0]);
        // After many steps the initial weights have no influence, and the decay is the configured one.
        let long = run(settings(AverageKind::Ema, 0), &[1.0; 200]);
        close(long[0], 1.0);
        let jump = run(settings(AverageKind::Ema, 0), &[&[1.0; 200][..], &[2.0]].concat());
        close(jump[0], 1.1);
        assert!(Average::new(AverageSettings::NONE, &[]).is_none());
    }

    #[test]
    fn low_rank_updates_are_averaged_as_products() {
        torch_ext::init();
        let named = |a: [f32; 2], b: [f32; 2]| {
            vec![
                ("m.lora_A.weight".to_owned(), Tensor::from_slice(&a).reshape([1, 2])),
                ("m.lora_B.weight".to_owned(), Tensor::from_slice(&b).reshape([2, 1])),
                ("score.weight".to_owned(), Tensor::from_slice(&a)),
            ]
        };
        let mut average = Average::new(settings(AverageKind::Polyak, 0), &named([0.0, 0.0], [0.0, 0.0])).unwrap();
        average.update(1, &named([1.0, 0.0], [2.0, 0.0]));
        average.update(2, &named([0.0, 1.0], [0.0, 4.0]));
        let tensors = average.tensors();
        assert_eq!(tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["m.update", "score.weight"]);
        assert_eq!(Vec::<f32>::try_from(tensors[0].1.flatten(0, 1)).unwrap(), [1.0, 0.0, 0.0, 2.0]);
        assert_eq!(Vec::<f32>::try_from(&tensors[1].1).unwrap(), [0.5, 0.5]);
    }
}
