//! Arithmetic cost of training, computed from the model's sizes.

use std::time::Instant;

use llama::LlamaConfig;
use llama::attention::Layout;
use tch::{Device, Kind, Tensor};

/// Kind of the trained weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// All weights.
    Everything,
    /// Low-rank updates; the base model is frozen.
    Adapter {
        /// Number of trained weights.
        weights: u64,
    },
}

/// Number of weights in the layers' matrices.
pub(crate) fn layer_weights(c: &LlamaConfig) -> u64 {
    let attention = 2 * c.hidden_size * c.head_dim * (c.num_attention_heads + c.num_key_value_heads);
    (c.num_hidden_layers as i64 * (attention + 3 * c.hidden_size * c.intermediate_size)) as u64
}

/// Necessary floating-point operations of a step, counted as is usual for MFU (Chowdhery et al. 2022, appendix B): 2 per weight
/// and token in the forward pass; twice that in the backward pass (once if the weights are frozen, because only the gradients
/// of activations are computed); attention over the visible pairs of tokens; the output head at `trained_tokens` only.
/// Recomputation by activation checkpointing does not count.
#[must_use]
pub fn step_flops(config: &LlamaConfig, layout: Layout, trained_tokens: u64, trained: Trained) -> f64 {
    let (tokens, pairs) = layout.tokens_and_pairs();
    let head = 2.0 * (config.vocab_size * config.hidden_size) as f64 * trained_tokens as f64;
    let matrices = 2.0 * layer_weights(config) as f64 * tokens as f64 + head;
    let width = (config.num_attention_heads * config.head_dim) as f64;
    let attention = 4.0 * width * pairs as f64 * config.num_hidden_layers as f64;
    match trained {
        Trained::Everything => 3.0 * (matrices + attention),
        Trained::Adapter { weights } => 2.0 * matrices + 3.0 * attention + 6.0 * weights as f64 * tokens as f64,
    }
}

/// Measures the peak rate of a product of two square matrices, in FLOP/s. Sizes are doubled up to 8192; each is run up to five
/// times or for half a second, until one product takes a twentieth of a second. On a processor that emulates the type the
/// search ends at 1024. The first product of a size may include the set-up time of a library, so it does not end the search.
#[must_use]
pub fn matrix_rate(kind: Kind, device: Device) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let mut best = 0.0_f64;
    for size in (8..=13).map(|power| 1_i64 << power) {
        let a = Tensor::ones([size, size], (kind, device));
        let (mut fastest, mut spent, mut runs) = (f64::INFINITY, 0.0, 0);
        while runs < 2 || runs < 5 && spent < 0.5 {
            let start = Instant::now();
            // Reading a value waits for the device.
            let done = torch_ext::linear(&a, &a, None).is_ok_and(|out| f64::try_from(out.get(0).get(0)).is_ok());
            let seconds = start.elapsed().as_secs_f64();
            if done {
                fastest = fastest.min(seconds);
            }
            (spent, runs) = (spent + seconds, runs + 1);
        }
        best = best.max(2.0 * (size as f64).powi(3) / fastest);
        if fastest > 0.05 {
            break;
        }
    }
    best
}
