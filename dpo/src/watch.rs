//! Detects a collapse of the chosen log-probs: DPO can widen the margin by making both responses unlikely, which the
//! loss does not show.

use trainer::Metric;

use crate::measure::{CHANGE, FELL};

/// Approximate number of pairs in the running averages.
const MEMORY: f64 = 64.0;

/// Nats per token below the reference: each token is 18% less likely.
const TOO_LOW: f64 = -0.2;

/// Share of the pairs whose chosen log-prob fell.
const TOO_MANY: f64 = 0.75;

/// Running averages of a run's training batches.
#[derive(Debug, Default)]
pub struct Watch {
    pairs: f64,
    change: f64,
    fell: f64,
    warned: bool,
}

impl Watch {
    /// Adds the metrics of a training batch. Returns a warning, once per run, when most chosen responses have become
    /// much less likely than under the reference.
    pub fn see(&mut self, metrics: &[Metric]) -> Option<String> {
        let of = |name: &str| metrics.iter().find(|metric| metric.name == name);
        let (change, fell) = (of(CHANGE)?, of(FELL)?);
        self.pairs += change.weight;
        let share = change.weight / self.pairs.min(MEMORY).max(change.weight);
        self.change += share * (change.sum.number() / change.weight - self.change);
        self.fell += share * (fell.sum.number() / fell.weight - self.fell);
        let collapsed = self.pairs >= MEMORY / 2.0 && self.change < TOO_LOW && self.fell > TOO_MANY;
        if !collapsed || std::mem::replace(&mut self.warned, true) {
            return None;
        }
        Some(format!(
            "chosen log-probs collapse: over the last pairs they are {:.2} nats per token below the reference, and {:.0}% of \
             the chosen responses became less likely; a larger --nll-weight or --beta, or a smaller --learning-rate, holds \
             them",
            -self.change,
            100.0 * self.fell
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(change: f64, fell: f64) -> [Metric; 2] {
        [(CHANGE, change), (FELL, fell)].map(|(name, mean)| Metric { name, sum: (mean * 8.0).into(), weight: 8.0 })
    }

    #[test]
    fn warns_once_when_most_chosen_log_probs_are_far_down() {
        let mut watch = Watch::default();
        let healthy = (0..50).filter_map(|_| watch.see(&batch(-0.05, 0.6))).count();
        assert_eq!(healthy, 0);
        // A few bad batches move an average of 64 pairs only a little.
        assert!(watch.see(&batch(-0.5, 1.0)).is_none());
        let warnings: Vec<String> = (0..50).filter_map(|_| watch.see(&batch(-0.5, 1.0))).collect();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("nats per token below the reference"), "{}", warnings[0]);
    }

    #[test]
    fn few_pairs_and_no_reference_are_no_reason() {
        let mut watch = Watch::default();
        assert!((0..3).all(|_| watch.see(&batch(-5.0, 1.0)).is_none()));
        assert!((0..50).all(|_| watch.see(&[]).is_none()));
    }
}
