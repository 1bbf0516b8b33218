//! What a forward pass is computed with. It is an argument of the pass: two models, or two passes of one model, may run
//! beside each other with different settings, and each gives the bits that it gives alone.

use tch::Device;
use torch_ext::{Generator, OpError};

/// The operators between the matrix products, and those of training around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operators {
    /// transformers' own chain of operators, which agrees with it to the last bit in bfloat16.
    #[default]
    Plain,
    /// Kernels of one pass over memory, several times faster on a processor, which round sums otherwise; attention and
    /// projections that keep less for the backward pass. All passes of training take them.
    Fused,
}

/// The settings of a forward pass. The default is that of sampling: plain operators, no dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Which operators compute it.
    pub operators: Operators,
    /// The seed of dropout on the inputs of low-rank updates (Hu et al. 2021, as PEFT has it); without one nothing is
    /// dropped. The masks of a layer depend on the seed and the layer's number alone: activation checkpointing, which runs
    /// a layer again, draws the same ones again.
    pub dropout: Option<u64>,
}

impl Pass {
    /// The operators of training, without dropout: for evaluation and for a reference model, which have to round as
    /// training does.
    #[must_use]
    pub fn fused() -> Self {
        Self { operators: Operators::Fused, dropout: None }
    }

    /// The generator of a layer's masks, if inputs are dropped.
    pub(crate) fn masks(self, layer: usize, device: Device) -> Result<Option<Generator>, OpError> {
        self.dropout.map(|seed| Generator::new(device, mixed(seed, layer as u64))).transpose()
    }
}

/// A seed for each layer (splitmix64), so that the streams of neighbouring seeds and layers do not meet.
fn mixed(seed: u64, layer: u64) -> u64 {
    let mut z = seed.wrapping_add((layer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
