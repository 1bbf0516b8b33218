//! Chooses the number of threads on a machine that is shared with other programs.
//!
//! A training step consists of thousands of parallel regions, and all threads wait at the end of each region. Beside other
//! programs, one of the threads is often preempted and the others wait for it. Fewer threads may then be faster. The best number
//! depends on the other programs, so this module measures it.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, sharing};

use crate::attention::{Packed, packed_positions};
use crate::config::LlamaConfig;
use crate::model::Llama;
use crate::pass::Pass;

/// Time for measuring the load of other programs.
const LOOK: Duration = Duration::from_millis(300);
/// Time for measuring one number of threads.
const TRY: Duration = Duration::from_millis(600);
/// Number of tokens of the measured step: four texts of 128 tokens.
const TOKENS: i64 = 512;

/// A number of threads and the measured time of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    threads: usize,
    seconds: f64,
}

/// Sets libtorch's number of threads: all if no other program keeps processors busy, otherwise the number with which a step of a
/// small model is fastest. Returns a line that states the choice and the reason.
///
/// # Errors
/// When the step fails.
pub(crate) fn choose() -> Result<String, OpError> {
    let all = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
    let Some(others) = sharing::others(LOOK) else {
        return Ok(format!("threads: {all}; the system does not say what else runs"));
    };
    if all == 1 || others <= sharing::SHARED {
        return Ok(format!("threads: {all}; other programs keep {others:.1} of the processors busy"));
    }
    let step = Step::new()?;
    let trials = candidates(all, others).into_iter().map(|threads| {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
        Ok(Trial { threads, seconds: step.mean(TRY)? })
    });
    let trials = trials.collect::<Result<Vec<_>, OpError>>();
    tch::set_num_threads(i32::try_from(all).unwrap_or(1));
    let trials = trials?;
    let chosen = best(&trials);
    tch::set_num_threads(i32::try_from(chosen).unwrap_or(1));
    let listed: Vec<String> =
        trials.iter().map(|trial| format!("{:.0} ms with {}", 1e3 * trial.seconds, trial.threads)).collect();
    Ok(format!(
        "threads: {chosen} of {all}; other programs keep {others:.1} of the processors busy, and a step of a small model took {}",
        listed.join(", ")
    ))
}

/// The numbers of threads to measure, descending: all, all minus the processors that other programs use, half, and one.
fn candidates(all: usize, others: f64) -> Vec<usize> {
    let left = all.saturating_sub(others.round() as usize).max(1);
    let mut numbers = vec![all, left, all.div_ceil(2), 1];
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.dedup();
    numbers
}

/// The number of threads with the shortest time. Of several within 5% of that time, the largest: the other programs may end.
fn best(trials: &[Trial]) -> usize {
    let fastest = trials.iter().map(|trial| trial.seconds).fold(f64::INFINITY, f64::min);
    let near = trials.iter().filter(|trial| trial.seconds <= 1.05 * fastest);
    near.map(|trial| trial.threads).max().unwrap_or(1)
}

/// A forward and backward pass with the operators of training, through two layers of SmolLM2-135M's size.
struct Step {
    model: Llama,
    ids: Tensor,
    documents: [Vec<i64>; 1],
}

impl Step {
    fn new() -> Result<Self, OpError> {
        let raw = serde_json::json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": 2, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 2048,
            "max_position_embeddings": TOKENS, "tie_word_embeddings": true});
        let config = LlamaConfig::from_json(raw.as_object().cloned().unwrap_or_default());
        let config = config.map_err(|error| OpError::of(error.to_string()))?;
        let weight = |_: &str, shape: &[i64]| {
            Ok::<_, OpError>(Tensor::full(shape, 0.01, (Kind::Float, Device::Cpu)).set_requires_grad(true))
        };
        let ids = Tensor::arange(TOKENS, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        Ok(Self { model: Llama::build(config, weight)?, ids, documents: [vec![TOKENS / 4; 4]] })
    }

    /// Mean seconds of a step, over at least three steps and the time `during`, after a first step that is not measured.
    fn mean(&self, during: Duration) -> Result<f64, OpError> {
        self.once()?;
        let (start, mut steps) = (Instant::now(), 0);
        while steps < 3 || start.elapsed() < during {
            self.once()?;
            steps += 1;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(steps))
    }

    fn once(&self) -> Result<(), OpError> {
        let positions = packed_positions(&self.documents, TOKENS);
        let mut attend = Packed { documents: &self.documents };
        let hidden = self.model.hidden_states(&self.ids, &positions, &mut attend, Pass::fused())?;
        let (hidden, labels) = (hidden.squeeze_dim(0), self.ids.squeeze_dim(0));
        self.model.head().cross_entropy_sum(&hidden, &labels, None)?.backward();
        for (_, parameter) in self.model.named_parameters() {
            torch_ext::take_grad(&parameter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_to_try() {
        assert_eq!(candidates(2, 1.0), [2, 1]);
        assert_eq!(candidates(16, 3.4), [16, 13, 8, 1]);
        assert_eq!(candidates(4, 9.0), [4, 2, 1]);
    }

    #[test]
    fn the_fastest_wins_and_more_threads_where_it_hardly_matters() {
        let trial = |threads, seconds| Trial { threads, seconds };
        assert_eq!(best(&[trial(4, 0.3), trial(3, 0.2), trial(1, 0.5)]), 3);
        assert_eq!(best(&[trial(2, 0.104), trial(1, 0.1)]), 2);
        assert_eq!(best(&[trial(2, 0.2), trial(1, 0.1)]), 1);
    }

    #[test]
    fn the_step_is_computed() {
        torch_ext::init();
        assert!(Step::new().unwrap().mean(Duration::ZERO).unwrap() > 0.0);
    }
}
