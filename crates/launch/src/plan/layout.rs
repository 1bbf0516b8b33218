//! The parallel layout of a run over GPUs, and the sizes of its step.

use anyhow::ensure;
use serde::Serialize;

use super::model::Model;

/// The state that data-parallel ranks shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Sharding {
    /// Nothing: every rank has a full copy
    Plain,
    /// The optimizer's state (ZeRO-1)
    Zero1,
    /// Optimizer's state and gradients (ZeRO-2)
    Zero2,
    /// Weights too, gathered a layer at a time (ZeRO-3, FSDP)
    Layers,
}

impl Sharding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Zero1, Self::Zero2, Self::Layers];

    /// A name for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Zero1 => "ZeRO-1",
            Self::Zero2 => "ZeRO-2",
            Self::Layers => "weights by layer",
        }
    }
}

/// The degrees of parallelism; the order from the inside is tensor, context, pipeline, data (the paper's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Number of GPUs.
    pub gpus: u32,
    /// Degree of tensor parallelism.
    pub tensor: u32,
    /// Degree of context parallelism.
    pub context: u32,
    /// Degree of pipeline parallelism.
    pub pipeline: u32,
    /// The state that data-parallel ranks shard.
    pub sharding: Sharding,
    /// Whether a layer's activations are recomputed in the backward pass.
    pub recompute: bool,
}

/// The sizes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Tokens of a sequence (a document, for attention).
    pub sequence: u64,
    /// Tokens of a step on all GPUs.
    pub batch: u64,
    /// Tokens of a micro-batch of a data-parallel rank.
    pub micro_batch: u64,
    /// The rank of LoRA adapters; none: all weights are trained.
    pub lora: Option<u64>,
}

impl Layout {
    /// Number of data-parallel ranks.
    #[must_use]
    pub fn data(&self) -> u32 {
        self.gpus / (self.tensor * self.context * self.pipeline)
    }

    /// Number of ranks that shard optimizer state, gradients or weights: data times context parallel.
    #[must_use]
    pub fn sharing(&self) -> u32 {
        self.data() * self.context
    }

    /// The distance between the members of the sharding group, in ranks.
    #[must_use]
    pub fn sharing_stride(&self) -> u32 {
        if self.pipeline == 1 { self.tensor } else { self.tensor * self.context * self.pipeline }
    }

    /// Layers of the fullest pipeline stage. The first and the last stage have one layer fewer, as in the paper.
    #[must_use]
    pub fn stage_layers(&self, model: &Model) -> u64 {
        if self.pipeline == 1 { model.layers } else { (model.layers + 2).div_ceil(u64::from(self.pipeline)) }
    }

    /// Virtual stages of a GPU in the interleaved schedule: one for each of its layers, which minimises the bubble.
    #[must_use]
    pub fn virtual_stages(&self, model: &Model) -> u64 {
        if self.pipeline == 1 { 1 } else { self.stage_layers(model) }
    }

    /// Micro-batches of a data-parallel rank in a step.
    #[must_use]
    pub fn micro_batches(&self, work: &Work) -> u64 {
        work.batch.div_ceil(u64::from(self.data()) * work.micro_batch).max(1)
    }

    /// Idle time of the pipeline as a share of its working time: `(PP - 1) / (V M)`.
    #[must_use]
    pub fn bubble(&self, model: &Model, work: &Work) -> f64 {
        f64::from(self.pipeline - 1) / (self.virtual_stages(model) * self.micro_batches(work)) as f64
    }

    /// Checks that the degrees and sizes are compatible.
    ///
    /// # Errors
    /// When two values contradict each other; the error names both.
    pub fn check(&self, model: &Model, work: &Work) -> anyhow::Result<()> {
        let (tensor, context, pipeline) = (self.tensor, self.context, self.pipeline);
        ensure!(tensor > 0 && context > 0 && pipeline > 0 && self.gpus > 0, "degrees of parallelism begin at 1");
        let inner = u64::from(tensor) * u64::from(context) * u64::from(pipeline);
        ensure!(
            u64::from(self.gpus).is_multiple_of(inner),
            "{} GPUs are no multiple of tensor {tensor} x context {context} x pipeline {pipeline} = {inner}",
            self.gpus
        );
        ensure!(
            model.heads.is_multiple_of(u64::from(tensor)),
            "{} heads cannot be shared by tensor {tensor}",
            model.heads
        );
        ensure!(u64::from(pipeline) <= model.layers, "{} layers cannot be shared by pipeline {pipeline}", model.layers);
        ensure!(
            work.sequence.is_multiple_of(2 * u64::from(context)) || context == 1,
            "a sequence of {} tokens cannot be cut into 2 x {context} chunks",
            work.sequence
        );
        let step = u64::from(self.data()) * work.micro_batch;
        ensure!(
            work.batch >= step,
            "a step of {} tokens leaves some of {} data-parallel ranks without a micro-batch of {} tokens",
            work.batch,
            self.data(),
            work.micro_batch
        );
        Ok(())
    }
}
