//! Spike guard: skips optimizer steps whose loss or gradient norm is an outlier, so that they do not change the weights.

use std::collections::VecDeque;

/// Definition of a spike (as in OLMo-core's `SkipStepOptimizer`): the loss or the gradient norm is more than `sigma` standard
/// deviations above the mean of the last `window` steps. No step is a spike until half of the window is filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpikeGuard {
    /// Threshold in standard deviations.
    pub sigma: f64,
    /// Number of past steps that are compared with.
    pub window: usize,
}

/// Losses and gradient norms of the last steps.
pub(crate) struct Spikes {
    guard: SpikeGuard,
    last: VecDeque<[f64; 2]>,
}

impl Spikes {
    /// Starts from the losses and gradient norms of past steps, oldest first.
    pub fn new(guard: SpikeGuard, past: impl IntoIterator<Item = [f64; 2]>) -> Self {
        let mut this = Self { guard, last: VecDeque::new() };
        past.into_iter().for_each(|values| this.push(values));
        this
    }

    /// Whether a step is a spike. The step is added to the window in both cases, so that a lasting change is accepted after
    /// some steps.
    pub fn is_spike(&mut self, loss: f64, grad_norm: f64) -> bool {
        let values = [loss, grad_norm];
        let count = self.last.len();
        let spike = count >= 2.max(self.guard.window / 2)
            && (0..2).any(|which| {
                let mean = self.last.iter().map(|step| step[which]).sum::<f64>() / count as f64;
                let squares: f64 = self.last.iter().map(|step| (step[which] - mean).powi(2)).sum();
                values[which] - mean > self.guard.sigma * (squares / (count - 1) as f64).sqrt()
            });
        self.push(values);
        spike
    }

    fn push(&mut self, values: [f64; 2]) {
        self.last.push_back(values);
        if self.last.len() > self.guard.window {
            self.last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> impl Iterator<Item = [f64; 2]> {
        // Losses with mean 2 and standard deviation about 0.1; norms with mean 1 and standard deviation about 0.05.
        (0..40).map(|step| if step % 2 == 0 { [2.1, 1.05] } else { [1.9, 0.95] })
    }

    #[test]
    fn only_what_is_far_above_is_a_spike() {
        let guard = SpikeGuard { sigma: 6.0, window: 32 };
        let judge = |loss, norm| Spikes::new(guard, steps()).is_spike(loss, norm);
        assert!(!judge(2.5, 1.2) && !judge(-9.0, 0.0), "below is no spike");
        assert!(judge(2.7, 1.0) && judge(2.0, 1.4));
        // Too few steps for a decision.
        assert!(!Spikes::new(guard, steps().take(15)).is_spike(100.0, 1.0));
        assert!(Spikes::new(guard, steps().take(16)).is_spike(100.0, 1.0));
    }

    #[test]
    fn a_new_level_is_accepted() {
        let mut spikes = Spikes::new(SpikeGuard { sigma: 3.0, window: 16 }, steps());
        let skipped = (0..16).filter(|_| spikes.is_spike(5.0, 1.0)).count();
        assert!((1..6).contains(&skipped), "{skipped}");
    }
}
