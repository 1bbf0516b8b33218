//! An average of the weights over the steps, kept beside the weights.

use std::collections::HashMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Which average.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AverageKind {
    /// None: the last weights are the result
    None,
    /// Exponential moving average with `average_decay`
    Ema,
    /// The plain mean of the weights after each step (Polyak and Juditsky 1992)
    Polyak,
}

/// The running average of named float32 tensors.
pub struct Average {
    kind: AverageKind,
    decay: f64,
    /// Steps averaged so far.
    count: u64,
    tensors: Vec<(String, Tensor)>,
}

impl Average {
    /// An average that begins with `weights`; `None` for [`AverageKind::None`].
    #[must_use]
    pub fn new(kind: AverageKind, decay: f64, weights: &[(String, Tensor)]) -> Option<Self> {
        let _no_grad = tch::no_grad_guard();
        let tensors = || weights.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        (kind != AverageKind::None).then(|| Self { kind, decay, count: 0, tensors: tensors() })
    }

    /// Takes in the weights after a step, in the order of [`Average::new`].
    pub fn update(&mut self, weights: &[(String, Tensor)]) {
        let _no_grad = tch::no_grad_guard();
        self.count += 1;
        let share = match self.kind {
            AverageKind::Polyak => 1.0 / self.count as f64,
            _ => 1.0 - self.decay,
        };
        for ((_, average), (_, weight)) in self.tensors.iter_mut().zip(weights) {
            let _ = average.lerp_(weight, share);
        }
    }

    /// The average under the weights' names; the tensors are its own.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Takes over a saved average after `count` steps.
    ///
    /// # Errors
    /// The name of a tensor that is missing.
    pub fn restore(&mut self, count: u64, saved: Vec<(String, Tensor)>) -> Result<(), String> {
        let _no_grad = tch::no_grad_guard();
        let saved: HashMap<String, Tensor> = saved.into_iter().collect();
        for (name, tensor) in &mut self.tensors {
            let found = saved.get(name.as_str()).ok_or_else(|| name.clone())?;
            tensor.copy_(found);
        }
        self.count = count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: AverageKind) -> Vec<f32> {
        torch_ext::init();
        let at = |value: f32| vec![("w".to_owned(), Tensor::from_slice(&[value, -value]))];
        let mut average = Average::new(kind, 0.9, &at(1.0)).unwrap();
        for value in [2.0, 4.0, 6.0] {
            average.update(&at(value));
        }
        Vec::try_from(&average.tensors()[0].1).unwrap()
    }

    #[test]
    fn averages_follow_their_formulas() {
        assert!((run(AverageKind::Polyak)[0] - 4.0).abs() < 1e-6);
        // 1 -> 1.1 -> 1.39 -> 1.851
        let ema = run(AverageKind::Ema);
        assert!((ema[0] - 1.851).abs() < 1e-6 && (ema[1] + 1.851).abs() < 1e-6, "{ema:?}");
        assert!(Average::new(AverageKind::None, 0.9, &[]).is_none());
    }
}
