//! The output head and its cross-entropy.

use tch::Tensor;
use torch_ext::{GpuKernels, OpError, linear_cross_entropy, linear_cross_entropy_sum};

/// A model's output head, for the computation of losses.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Weight of the head, `[vocab, width]`.
    pub weight: &'a Tensor,
    /// Kernels of the cross-entropy on a GPU: [`crate::Llama::gpu_kernels`].
    pub on_gpu: GpuKernels,
}

impl Head<'_> {
    /// The negative log-probability of each label, `[tokens]` float32, from hidden states `[tokens, width]`.
    ///
    /// # Errors
    /// As [`torch_ext::linear_cross_entropy`].
    pub fn cross_entropy(self, hidden: &Tensor, labels: &Tensor) -> Result<Tensor, OpError> {
        linear_cross_entropy(hidden, self.weight, labels, None, self.on_gpu)
    }

    /// The sum of [`Head::cross_entropy`] over all tokens, weighted by `token_weights` (`[tokens]`) if given. The forward pass
    /// also computes the gradients, so logits are computed only once.
    ///
    /// # Errors
    /// As [`torch_ext::linear_cross_entropy_sum`].
    pub fn cross_entropy_sum(
        self,
        hidden: &Tensor,
        labels: &Tensor,
        token_weights: Option<&Tensor>,
    ) -> Result<Tensor, OpError> {
        linear_cross_entropy_sum(hidden, self.weight, labels, token_weights, None, self.on_gpu)
    }
}
