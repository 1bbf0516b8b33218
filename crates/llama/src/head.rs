//! The output head and its cross-entropy.

use tch::Tensor;
use torch_ext::{GpuKernels, OpError, linear_cross_entropy, linear_cross_entropy_sum};

/// A model's output head: what a loss is computed with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `[vocab, width]`
    pub weight: &'a Tensor,
    /// What computes the cross-entropy on a GPU: [`crate::Llama::gpu_kernels`].
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

    /// Their sum, weighted by `token_weights` if there are any; its gradients are taken once.
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
