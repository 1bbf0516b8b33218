//! A projection and the low-rank update that may sit on it.

use tch::Tensor;

/// A low-rank update `scale · B A` (LoRA, Hu et al. 2021, section 4.1).
pub struct Lora {
    /// `[rank, in]`
    pub a: Tensor,
    /// `[out, rank]`
    pub b: Tensor,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised LoRA.
    pub scale: f64,
}

/// `x Wᵀ + bias`, plus the low-rank update if there is one.
pub struct Linear {
    /// `[out, in]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// The low-rank update.
    pub lora: Option<Lora>,
}

impl Linear {
    /// `[..., in]` to `[..., out]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = product(x, &self.weight, self.bias.as_ref());
        match &self.lora {
            None => y,
            Some(Lora { a, b, scale }) => y + product(&product(x, a, None), b, None) * *scale,
        }
    }

    /// Adds the low-rank update to the weight and drops it. Done in float32, rounded once to the weight's type.
    pub fn merge(&mut self) {
        if let Some(Lora { a, b, scale }) = self.lora.take() {
            let _no_grad = tch::no_grad_guard();
            let update = b.to_kind(tch::Kind::Float).matmul(&a.to_kind(tch::Kind::Float)) * scale;
            let merged = self.weight.to_kind(tch::Kind::Float) + update;
            self.weight = merged.to_kind(self.weight.kind());
        }
    }
}

/// `x wᵀ + b` on the fastest route.
///
/// # Panics
/// As tch's own operators do when shapes, types or devices do not fit; the model checks these when it is built.
pub(crate) fn product(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
    match torch_ext::linear(x, w, b) {
        Ok(y) => y,
        Err(e) => panic!("linear of x {:?} {:?} and w {:?} {:?}: {e}", x.size(), x.kind(), w.size(), w.kind()),
    }
}
