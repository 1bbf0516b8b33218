//! Memory of a GPU, in bytes.
//!
//! | what | bytes | sharded by |
//! |---|---|---|
//! | weights, bfloat16 | 2 P | weights by layer; tensor, pipeline |
//! | sums of gradients, float32 | 4 T | ZeRO-2 and up |
//! | master weights and two moments, float32 | 12 T | ZeRO-1 and up |
//! | activations | by layer, below | context, tensor |
//! | logits of a piece of the loss | 6 V for each token of the piece | |
//! | gathered layers and ends | two layers, embedding and head, a layer's gradients | |
//!
//! P is the number of parameters, T that of trained ones. A layer keeps for each token, in bfloat16: its input, both norms' outputs and
//! the input of the second half (4 h), queries and the attention output (2 q), keys and values (2 k), and three times the feed-forward
//! width (3 f). With recompute it keeps only its input, and one layer's whole set at a time.

use serde::Serialize;

use super::layout::{Layout, Sharding, Work};
use super::model::Model;

/// Number of tokens whose logits are in memory at once.
pub const LOSS_PIECE: u64 = 1024;

/// Memory of one GPU, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Weights in the compute type.
    pub weights: f64,
    /// Gradient accumulators.
    pub gradients: f64,
    /// Master weights and moments.
    pub optimizer: f64,
    /// Activations kept for the backward pass.
    pub activations: f64,
    /// Logits of a piece of the loss.
    pub logits: f64,
    /// Gathered layers.
    pub gathered: f64,
    /// Driver, kernels, communication buffers, fragmentation.
    pub reserve: f64,
}

impl Memory {
    /// The total.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.state() + self.activations + self.logits + self.gathered + self.reserve
    }

    /// The part that does not depend on the number of tokens.
    #[must_use]
    pub fn state(&self) -> f64 {
        self.weights + self.gradients + self.optimizer
    }
}

/// The bytes that one GPU needs.
#[must_use]
pub fn memory(model: &Model, layout: &Layout, work: &Work, reserve: f64) -> Memory {
    let tensor = f64::from(layout.tensor);
    let layers = layout.stage_layers(model) as f64;
    // With a pipeline, one stage has the embedding and another the head; without one, a GPU has both.
    let ends = if layout.pipeline == 1 { model.ends() + model.hidden } else { model.embedding() } as f64;
    let ends_here = if layout.pipeline == 1 { ends } else { 0.0 };
    // The fullest stage has neither embedding nor head: that is why the first and the last stage have a layer fewer.
    let parameters = (layers * model.layer() as f64 + ends_here) / tensor;
    let trained =
        work.lora.map_or(parameters, |rank| model.adapters(rank) as f64 * layers / model.layers as f64 / tensor);
    let frozen = work.lora.map_or(0.0, |_| parameters);
    let by = |sharding: Sharding| -> f64 {
        if (layout.sharding as u8) >= (sharding as u8) { f64::from(layout.sharing()) } else { 1.0 }
    };
    let tokens = work.micro_batch as f64 / f64::from(layout.context);
    let (h, q, k, f) = (model.hidden as f64, model.queries() as f64, model.keys() as f64, model.intermediate as f64);
    let whole_layer = 2.0 * tokens * (4.0 * h + 2.0 * q + 2.0 * k + 3.0 * f) / tensor;
    let input = 2.0 * tokens * h / tensor;
    // The number of micro-batches in flight at the first stage of the interleaved schedule.
    let pipeline = f64::from(layout.pipeline);
    let under_way = (pipeline + (pipeline - 1.0) / layout.virtual_stages(model) as f64)
        .min(layout.micro_batches(work) as f64)
        .max(1.0);
    let activations =
        if layout.recompute { under_way * layers * input + whole_layer } else { under_way * layers * whole_layer };
    let gathered = if layout.sharding == Sharding::Layers && layout.sharing() > 1 {
        let layer = model.layer() as f64 / tensor;
        let gradients = if work.lora.is_some() { 0.0 } else { 4.0 * (layer + ends_here / tensor) };
        2.0 * 2.0 * layer + 2.0 * ends_here / tensor + gradients
    } else {
        0.0
    };
    let piece = LOSS_PIECE.min(work.micro_batch) as f64;
    Memory {
        weights: 2.0 * (frozen + trained) / by(Sharding::Layers),
        gradients: 4.0 * trained / by(Sharding::Zero2),
        optimizer: 12.0 * trained / by(Sharding::Zero1),
        activations,
        logits: 6.0 * piece * model.vocabulary as f64 / tensor,
        gathered,
        reserve,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, gpus: u32, sharding: Sharding, lora: Option<u64>) -> f64 {
        let model = Model::find(name).unwrap();
        let layout = Layout { gpus, tensor: 1, context: 1, pipeline: 1, sharding, recompute: true };
        let work = Work { sequence: 8192, batch: 1 << 20, micro_batch: 8192, lora };
        memory(&model, &layout, &work, 0.0).state() / 1e9
    }

    /// 18 bytes per parameter, of which 12, 16 or all are sharded; calculated by hand in `notes/scale.md`.
    #[test]
    fn state_by_form_of_sharding() {
        for (name, gpus, expected) in [
            ("llama-3.2-1b", 8, [22.0, 9.3, 5.0, 2.8]),
            ("llama-3-8b", 8, [145.0, 60.0, 32.0, 18.0]),
            ("llama-3-70b", 8, [1271.0, 530.0, 282.0, 159.0]),
            ("llama-3-70b", 32, [1271.0, 450.0, 177.0, 40.0]),
        ] {
            for (sharding, expected) in Sharding::ALL.into_iter().zip(expected) {
                let got = state(name, gpus, sharding, None);
                assert!((got / expected - 1.0).abs() < 0.02, "{name} on {gpus}, {sharding:?}: {got} {expected}");
            }
        }
        // LoRA: frozen weights, and adapters with half a percent of the parameters.
        for (name, gpus, sharding, expected) in [
            ("llama-3-8b", 8, Sharding::Plain, 16.06 + 0.042 * 18.0),
            ("llama-3-70b", 8, Sharding::Layers, 17.6 + 0.207 * 18.0 / 8.0),
        ] {
            let got = state(name, gpus, sharding, Some(16));
            assert!((got / expected - 1.0).abs() < 0.01, "{name} on {gpus}, {sharding:?}: {got} {expected}");
        }
    }

    /// Each further kind of sharding needs less memory.
    #[test]
    fn sharing_never_needs_more() {
        let model = Model::find("llama-3-8b").unwrap();
        let work = Work { sequence: 65_536, batch: 1 << 20, micro_batch: 65_536, lora: None };
        let need = |context, recompute, sharding| {
            let layout = Layout { gpus: 16, tensor: 1, context, pipeline: 1, sharding, recompute };
            memory(&model, &layout, &work, 1e9)
        };
        for sharding in Sharding::ALL {
            assert!(need(1, true, sharding).total() < need(1, false, sharding).total());
            assert!(need(8, true, sharding).activations < need(2, true, sharding).activations / 3.9);
            assert!((need(8, true, sharding).state() - need(1, true, sharding).state()).abs() < 1.0);
        }
    }
}
