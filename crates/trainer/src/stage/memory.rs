//! Estimates a run's memory before its first step, and chooses how many layers are recomputed so that it fits.

use llama::LlamaConfig;
use llama::device::Count;
use tch::{Device, Kind};

use super::training::Training;
use crate::AverageKind;
use crate::objective::Extent;
use crate::watch::cost::Trained;
use crate::watch::memory::{self, MemoryEstimate, MemoryInputs, Moment};

/// Share of the available memory that `--recompute-layers auto` uses at most.
const FILLED: f64 = 0.9;

/// Estimated memory of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// Number of recomputed layers.
    pub recompute: usize,
    /// Number of layers of the model.
    layers: usize,
    /// Upper bounds on the size of micro-batches.
    extent: Extent,
    /// The estimate by parts.
    pub estimate: MemoryEstimate,
    /// Bytes that the process can hold at most: those that it holds now plus those that are free. `None` if unknown.
    most: Option<u64>,
}

impl Needs {
    /// Estimates training `config` with the settings `training`.
    pub fn new(
        training: &Training,
        extent: Option<Extent>,
        config: &LlamaConfig,
        (kind, device): (Kind, Device),
        trained: Trained,
    ) -> Self {
        let tokens = training.micro_batch_tokens as u64;
        let several = training.batch_size.is_some() || training.batch_tokens > training.micro_batch_tokens;
        let assumed = Extent { tokens, targets: tokens, several, heads: 1, ..Extent::default() };
        let extent = extent.unwrap_or(assumed);
        // The process's host memory is unrelated to the memory of a GPU.
        let held = memory::held().filter(|_| !device.is_cuda());
        let of = |recompute: usize| {
            let estimate = MemoryEstimate::new(&MemoryInputs {
                config,
                kind,
                device,
                trained,
                dropout: training.lora_dropout > 0.0,
                average: training.average != AverageKind::None,
                extent,
                recompute,
            });
            let program = |held: u64| held.saturating_sub(estimate.weights) + memory::FIRST_STEP;
            estimate.with_program(held.map_or(0, program))
        };
        let layers = config.num_hidden_layers;
        let most = held.zip(memory::available()).map(|(held, free)| held + free);
        let recompute = match (training.recompute_layers, most) {
            (Some(Count::Auto), Some(most)) => fewest(layers, most, |layers| of(layers).total()),
            _ => training.recompute_layers().min(layers),
        };
        Self { recompute, layers, extent, estimate: of(recompute), most }
    }

    /// The estimate as text, one line for each part.
    pub fn text(&self) -> String {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let estimate = &self.estimate;
        let when = match estimate.when {
            Moment::Loss => "at the loss".to_owned(),
            Moment::Backward(layer) => format!("in the backward pass of layer {} of {}", layer + 1, self.layers),
            Moment::Embedding => "at the gradient of the embeddings".into(),
            Moment::Optimizer => "in the optimizer's step".into(),
        };
        let kept = match self.recompute {
            0 => "all layers kept".to_owned(),
            layers if layers == self.layers => "all layers computed again".into(),
            layers => format!("{layers} of {} layers computed again", self.layers),
        };
        let mut text = format!("memory estimate {:.2} GB, {when}:", gb(estimate.total()));
        for (name, bytes) in estimate.parts().into_iter().filter(|(_, bytes)| *bytes > 0) {
            let more = match name {
                "program and data" => {
                    format!(", held now, and {:.2} that libraries take in the first step", gb(memory::FIRST_STEP))
                }
                "activations" => format!(", {} tokens, {kept}", self.extent.tokens),
                _ => String::new(),
            };
            text += &format!("\n    {:<18}{:>8.2}{more}", name, gb(bytes));
        }
        text
    }

    /// A warning if the estimate exceeds the memory.
    pub fn warning(&self) -> Option<String> {
        let (most, needed) = (self.most?, self.estimate.total());
        let advice = match self.recompute {
            layers if layers < self.layers => " or add --recompute",
            _ => "",
        };
        (most < needed).then(|| {
            format!(
                "the estimate is more memory than this machine has free ({:.1} of {:.1} GB): make --micro-batch-tokens \
                 smaller{advice}",
                most as f64 / 1e9,
                needed as f64 / 1e9
            )
        })
    }
}

/// The smallest number of recomputed layers for which `needed` bytes fit into a share of `most` bytes; all layers if none fits.
fn fewest(layers: usize, most: u64, needed: impl Fn(usize) -> u64) -> usize {
    (0..layers).find(|&some| needed(some) as f64 <= FILLED * most as f64).unwrap_or(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_layers_as_fit() {
        let needed = |layers: usize| 1000 - 100 * layers as u64;
        assert_eq!(fewest(8, 10_000, needed), 0);
        assert_eq!(fewest(8, 800, needed), 3);
        assert_eq!(fewest(8, 100, needed), 8);
    }
}
