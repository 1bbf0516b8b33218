//! The time of a step, and its compute share.
//!
//! ```text
//! step  = (1 + bubble) (compute + tensor + context) + data + optimizer
//! bubble = (PP - 1) / (V M)
//! ```
//!
//! *Compute* is operations over `efficiency x peak`. The efficiency is the only fitted number; all others are from data sheets. *Tensor*
//! parallelism (with the sequence sharded between its blocks) gathers and scatters the tokens of a micro-batch twice in each layer and
//! pass. *Context* parallelism gathers keys and values in both passes and reduces their gradients in float32. *Data* parallelism reduces
//! float32 gradients and gathers bfloat16 weights. All of this communication is waited for, with one exception: weights that are gathered
//! a layer ahead cost only the time that compute does not hide. Sends between pipeline stages are hidden.

use serde::Serialize;

use super::gpu::Gpu;
use super::layout::{Layout, Sharding, Work};
use super::model::Model;

/// The time of a step in seconds, by part, and the work done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StepTime {
    /// Computation, including recompute.
    pub compute: f64,
    /// Communication of tensor parallel.
    pub tensor: f64,
    /// Communication of context parallel.
    pub context: f64,
    /// Idle time of the pipeline.
    pub bubble: f64,
    /// Communication of data parallelism that is not hidden.
    pub data: f64,
    /// The optimizer's pass over memory.
    pub optimizer: f64,
    /// Bytes that a GPU sends for data parallelism in a step.
    pub data_bytes: f64,
    /// Operations of the model in a step, on all GPUs: three times the forward pass, without recompute. With LoRA two times, because the
    /// gradients of frozen weights are not computed.
    pub operations: f64,
}

impl StepTime {
    /// Seconds of the step.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.compute + self.tensor + self.context + self.bubble + self.data + self.optimizer
    }

    /// Model operations per second and GPU.
    #[must_use]
    pub fn rate(&self, gpus: u32) -> f64 {
        self.operations / (f64::from(gpus) * self.total())
    }

    /// Model FLOPs utilisation: that rate as a share of the peak.
    #[must_use]
    pub fn mfu(&self, gpus: u32, gpu: &Gpu) -> f64 {
        self.rate(gpus) / gpu.peak
    }
}

/// Operations of a step on all GPUs: those of the model, and all that are executed, including recompute.
fn operations(model: &Model, layout: &Layout, work: &Work) -> (f64, f64) {
    let tokens = layout.micro_batches(work) as f64 * work.micro_batch as f64 * f64::from(layout.data());
    let forward = tokens * model.forward(work.sequence);
    let passes = if work.lora.is_some() { 2.0 } else { 3.0 };
    (passes * forward, (passes + f64::from(u8::from(layout.recompute))) * forward)
}

/// All parts except compute, for fitting the efficiency.
fn around(model: &Model, gpu: &Gpu, layout: &Layout, work: &Work, compute: f64) -> StepTime {
    let micro_batches = layout.micro_batches(work) as f64;
    let layers = layout.stage_layers(model) as f64;
    let tokens = work.micro_batch as f64 / f64::from(layout.context);
    let passes = micro_batches * layers;
    let tensor_degree = f64::from(layout.tensor);
    // The tokens are gathered and scattered twice in the forward pass, and twice in the backward pass.
    let hidden = 2.0 * tokens * model.hidden as f64;
    let tensor = passes * 8.0 * gpu.gather(hidden, layout.tensor, 1);
    // Keys and values of the whole sequence in both passes, and their gradients.
    let keys = 2.0 * work.micro_batch as f64 * model.keys() as f64 / tensor_degree.min(model.kv_heads as f64);
    let gather = |bytes| gpu.gather(bytes, layout.context, layout.tensor);
    let context = passes * (2.0 * gather(2.0 * keys) + gather(4.0 * keys));
    let bubble = layout.bubble(model, work) * (compute + tensor + context);

    let ends = if layout.pipeline == 1 { (model.ends() + model.hidden) as f64 } else { 0.0 };
    let parameters = (layers * model.layer() as f64 + ends) / tensor_degree;
    let trained =
        work.lora.map_or(parameters, |rank| model.adapters(rank) as f64 * layers / model.layers as f64 / tensor_degree);
    let (size, stride) = (layout.sharing(), layout.sharing_stride());
    let share = |bytes| gpu.gather(bytes, size, stride);
    // If accumulated gradients are sharded, every micro-batch reduces them. A pipeline has all its micro-batches in flight, and reduces
    // once.
    let often = if layout.pipeline == 1 { micro_batches } else { 1.0 };
    let (waited, bytes) = match layout.sharding {
        Sharding::Plain => (share(8.0 * trained), 8.0 * trained),
        Sharding::Zero1 => (share(6.0 * trained), 6.0 * trained),
        Sharding::Zero2 => (share((4.0 * often + 2.0) * trained), (4.0 * often + 2.0) * trained),
        Sharding::Layers if layout.pipeline > 1 => {
            // The paper's method: weights stay gathered after the forward pass.
            (share(6.0 * trained), 6.0 * trained)
        }
        Sharding::Layers => {
            let bytes = often * (2.0 * 2.0 * parameters + 4.0 * trained);
            let first = share(2.0 * model.layer() as f64 / tensor_degree) * often;
            ((share(bytes) - compute).max(first), bytes)
        }
    };
    let sends = if size > 1 { bytes * f64::from(size - 1) / f64::from(size) } else { 0.0 };
    let own = if layout.sharding == Sharding::Plain { trained } else { trained / f64::from(size) };
    // The gradient, the master weight and two moments are read; the last three and a bfloat16 weight are written.
    let optimizer = own * 30.0 / gpu.memory_rate;
    StepTime { compute, tensor, context, bubble, data: waited, optimizer, data_bytes: sends, operations: 0.0 }
}

/// The time of a step. `efficiency` is the share of the peak that compute reaches.
#[must_use]
pub fn step(model: &Model, gpu: &Gpu, layout: &Layout, work: &Work, efficiency: f64) -> StepTime {
    let (of_model, all) = operations(model, layout, work);
    // The fullest pipeline stage limits the speed.
    let tokens = all / model.forward(work.sequence);
    let pace = if layout.pipeline == 1 {
        all / f64::from(layout.gpus)
    } else {
        let stage = layout.stage_layers(model) as f64 * model.layer_forward(work.sequence);
        tokens * stage / f64::from(layout.gpus / layout.pipeline)
    };
    let compute = pace / (gpu.peak * efficiency);
    StepTime { operations: of_model, ..around(model, gpu, layout, work, compute) }
}

/// The efficiency at which a step has the measured rate, in operations per second and GPU.
#[must_use]
pub fn efficiency(model: &Model, gpu: &Gpu, layout: &Layout, work: &Work, rate: f64) -> f64 {
    // The rate rises with the efficiency.
    let (mut low, mut high) = (0.01, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if step(model, gpu, layout, work, middle).rate(layout.gpus) < rate {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(sharding: Sharding) -> Layout {
        Layout { gpus: 8, tensor: 1, context: 1, pipeline: 1, sharding, recompute: true }
    }

    /// 8B on eight H100s with half a million tokens a step, calculated by hand.
    #[test]
    fn communication_by_form_of_sharding() {
        let (model, gpu) = (Model::find("llama-3-8b").unwrap(), Gpu::find("h100").unwrap());
        let work = Work { sequence: 8192, batch: 524_288, micro_batch: 8192, lora: None };
        let of = |sharding| step(&model, &gpu, &layout(sharding), &work, 0.5);
        let near = |value: f64, expected: f64| assert!((value / expected - 1.0).abs() < 0.01, "{value} {expected}");
        // 7/8 of (4 + 2) x 8.03 GB at 450 GB/s.
        near(of(Sharding::Zero1).data, 0.875 * 6.0 * 8.03e9 / 450e9);
        near(of(Sharding::Plain).data, 0.875 * 8.0 * 8.03e9 / 450e9);
        // Gradients are reduced with each of the eight micro-batches.
        near(of(Sharding::Zero2).data, 0.875 * (4.0 * 8.0 + 2.0) * 8.03e9 / 450e9);
        // Hidden by compute, except for the first layer of each pass.
        let layers = of(Sharding::Layers);
        near(layers.data, 0.875 * 2.0 * 218.1e6 * 8.0 / 450e9);
        near(layers.data_bytes, 0.875 * 8.0 * 8.0 * 8.03e9);
        // 8 operations for each parameter and token, of which 6 are the model's, and attention over half of 8,192 tokens.
        let forward = 2.0 * 7.504e9 + 32.0 * 2.0 * 8192.0 * 4096.0;
        near(layers.operations, 524_288.0 * 3.0 * forward);
        near(layers.compute, 524_288.0 * 4.0 * forward / 8.0 / (989.4e12 * 0.5));
    }

    #[test]
    fn one_gpu_sends_nothing_and_adapters_send_little() {
        let (model, gpu) = (Model::find("llama-3.2-1b").unwrap(), Gpu::find("h100").unwrap());
        let work = Work { sequence: 4096, batch: 65_536, micro_batch: 4096, lora: None };
        let alone = step(&model, &gpu, &Layout { gpus: 1, ..layout(Sharding::Plain) }, &work, 0.5);
        assert!(alone.data == 0.0 && alone.data_bytes == 0.0 && alone.tensor == 0.0 && alone.context == 0.0);
        let full = step(&model, &gpu, &layout(Sharding::Zero1), &work, 0.5);
        let lora = step(&model, &gpu, &layout(Sharding::Zero1), &Work { lora: Some(16), ..work }, 0.5);
        assert!(lora.data < full.data / 50.0);
        // Two thirds of the operations, and three quarters of the compute time with recompute.
        assert!((lora.operations / full.operations - 2.0 / 3.0).abs() < 1e-9);
        assert!((lora.compute / full.compute - 0.75).abs() < 1e-9);
    }

    /// Context parallelism costs communication and does not reduce compute.
    #[test]
    fn context_parallel_gathers_keys_and_values() {
        let (model, gpu) = (Model::find("llama-3-8b").unwrap(), Gpu::find("h100").unwrap());
        let work = Work { sequence: 131_072, batch: 1 << 20, micro_batch: 131_072, lora: None };
        let of = |context| step(&model, &gpu, &Layout { context, ..layout(Sharding::Zero1) }, &work, 0.5);
        let (one, eight) = (of(1), of(8));
        assert!((one.compute / eight.compute - 1.0).abs() < 1e-9);
        // 8 micro-batches, 32 layers, keys and values twice in bfloat16 and once in float32, 7/8 at 450 GB/s.
        let keys = 131_072.0 * 2.0 * 1024.0;
        let expected = 8.0 * 32.0 * 0.875 * keys * (2.0 * 2.0 + 4.0) / 450e9;
        assert!((eight.context / expected - 1.0).abs() < 1e-9 && one.context == 0.0, "{} {expected}", eight.context);
    }
}
