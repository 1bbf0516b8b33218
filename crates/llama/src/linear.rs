//! A projection and the low-rank update that may sit on it.

use tch::Tensor;
use torch_ext::{Before, Projection, projections};

use crate::{dropout, kernels};

/// A low-rank update `scale · B A` (LoRA, Hu et al. 2021, section 4.1).
pub struct Lora {
    /// `[rank, in]`
    pub a: Tensor,
    /// `[out, rank]`
    pub b: Tensor,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised LoRA.
    pub scale: f64,
    /// Share of the update's inputs that are dropped in training, see [`crate::Dropout`].
    pub dropout: f64,
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
            Some(Lora { a, b, scale, dropout }) => {
                let drops = *dropout > 0.0 && dropout::is_on();
                let x = if drops { dropout::drop_inputs(x, *dropout) } else { x.shallow_clone() };
                y + product(&product(&x, a, None), b, None) * *scale
            }
        }
    }

    /// Another handle on the same parameters.
    pub fn shallow_clone(&self) -> Self {
        let lora = |lora: &Lora| Lora {
            a: lora.a.shallow_clone(),
            b: lora.b.shallow_clone(),
            scale: lora.scale,
            dropout: lora.dropout,
        };
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.as_ref().map(Tensor::shallow_clone),
            lora: self.lora.as_ref().map(lora),
        }
    }

    /// Adds the low-rank update to the weight and drops it. Done in float32, rounded once to the weight's type.
    pub fn merge(&mut self) {
        if let Some(Lora { a, b, scale, .. }) = self.lora.take() {
            let _no_grad = tch::no_grad_guard();
            let update = b.to_kind(tch::Kind::Float).matmul(&a.to_kind(tch::Kind::Float)) * scale;
            let merged = self.weight.to_kind(tch::Kind::Float) + update;
            self.weight = merged.to_kind(self.weight.kind());
        }
    }
}

/// Several projections of one input, after what stands before them. The plain chain of operators, or in training on a
/// processor one operator that keeps less and sums less.
pub(crate) fn project<const N: usize>(before: Before, x: &Tensor, linears: [&Linear; N]) -> [Tensor; N] {
    let drops = dropout::is_on() && linears.iter().any(|l| l.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0));
    if drops || !kernels::trains_fused(x) {
        let input = match before {
            Before::Nothing => x.shallow_clone(),
            Before::Norm(gain, eps) => kernels::rms_norm(x, gain, eps),
            Before::Gate(up) => kernels::silu_gate(x, up),
        };
        return linears.map(|linear| linear.forward(&input));
    }
    let list = linears.map(|linear| Projection {
        weight: &linear.weight,
        update: linear.lora.as_ref().map(|lora| (&lora.a, &lora.b, lora.scale)),
    });
    let mut outputs = match projections(before, x, &list) {
        Ok(outputs) => outputs.into_iter(),
        Err(e) => panic!("projections of {:?} {:?}: {e}", x.size(), x.kind()),
    };
    linears.map(|linear| match (outputs.next(), &linear.bias) {
        (Some(y), Some(bias)) => y + bias,
        (Some(y), None) => y,
        (None, _) => panic!("one result for each projection"),
    })
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
