//! Settings of a forward pass. They are arguments of the pass: two models, or two passes of one model, may run at the same time
//! with different settings, and each gives the same bits as alone.

use tch::Device;
use torch_ext::{Generator, OpError};

/// Implementation of the operators between the matrix products (norms, rotary embedding, gate), and of attention and projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operators {
    /// The same chain of operators as in transformers; in bfloat16 the results are bit-equal.
    #[default]
    Plain,
    /// Fused kernels that read memory once. On a CPU they are several times faster, but sum in another order. Attention and
    /// projections keep fewer activations for the backward pass. All training passes use them.
    Fused,
}

/// Settings of a forward pass. The default is for sampling: plain operators, no dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Implementation of the operators.
    pub operators: Operators,
    /// Seed of the dropout on the inputs of low-rank updates (Hu et al. 2021, as in PEFT); `None` for no dropout. The masks of
    /// a layer depend only on the seed and the layer's index, so activation checkpointing draws the same masks when it runs a
    /// layer again.
    pub dropout: Option<u64>,
}

impl Pass {
    /// The operators of training, without dropout. For evaluation and for a reference model, which must round as training does.
    #[must_use]
    pub fn fused() -> Self {
        Self { operators: Operators::Fused, dropout: None }
    }

    /// The generator of a layer's dropout masks; `None` without dropout.
    pub(crate) fn masks(self, layer: usize, device: Device) -> Result<Option<Generator>, OpError> {
        self.dropout.map(|seed| Generator::new(device, mixed(seed, layer as u64))).transpose()
    }
}

/// A seed for each layer (splitmix64), so that the random streams of neighbouring seeds and layers do not overlap.
fn mixed(seed: u64, layer: u64) -> u64 {
    let mut z = seed.wrapping_add((layer + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
