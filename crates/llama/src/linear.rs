//! A linear layer with an optional low-rank update.

use tch::Tensor;
use torch_ext::{Generator, GpuKernels, InputOp, OpError, Projection, catch, projections};

use crate::kernels;
use crate::pass::Operators;

/// A low-rank update `scale · B A` (LoRA, Hu et al. 2021, section 4.1).
pub struct Lora {
    /// `[rank, in]`
    pub a: Tensor,
    /// `[out, rank]`
    pub b: Tensor,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised LoRA.
    pub scale: f64,
    /// Dropout rate of the update's input in training, see [`crate::Pass::dropout`].
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
    /// Maps `[..., in]` to `[..., out]`. `masks` generates the dropout masks of the update's input; `None` for no dropout.
    ///
    /// # Errors
    /// When shapes, types or devices do not match.
    pub fn forward(&self, x: &Tensor, masks: Option<&mut Generator>) -> Result<Tensor, OpError> {
        let y = product(x, &self.weight, self.bias.as_ref())?;
        let Some(Lora { a, b, scale, dropout }) = &self.lora else { return Ok(y) };
        let update = |x: &Tensor| product(&product(x, a, None)?, b, None);
        let update = match masks {
            Some(masks) if *dropout > 0.0 => update(&masks.dropout(x, *dropout)?)?,
            _ => update(x)?,
        };
        catch(|| Ok(y + update * *scale))
    }

    /// Whether the update's input has dropout in training.
    pub(crate) fn drops(&self) -> bool {
        self.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0)
    }

    /// A second handle on the same parameters.
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

    /// Adds the low-rank update to the weight and removes it. Computed in float32 and rounded once to the weight's type.
    pub fn merge(&mut self) {
        if let Some(Lora { a, b, scale, .. }) = self.lora.take() {
            let _no_grad = tch::no_grad_guard();
            let update = b.to_kind(tch::Kind::Float).matmul(&a.to_kind(tch::Kind::Float)) * scale;
            let merged = self.weight.to_kind(tch::Kind::Float) + update;
            self.weight = merged.to_kind(self.weight.kind());
        }
    }
}

/// Several projections of one input, including the operation before them. In training on a CPU without dropout, one fused
/// operator computes them and keeps fewer activations for the backward pass. Otherwise, separate operators compute them.
pub(crate) fn project<const N: usize>(
    (operators, on_gpu): (Operators, GpuKernels),
    mut masks: Option<&mut Generator>,
    before: InputOp,
    x: &Tensor,
    linears: [&Linear; N],
) -> Result<[Tensor; N], OpError> {
    let drops = masks.is_some() && linears.iter().any(|linear| linear.drops());
    let outputs = if drops || !kernels::trains_fused(operators, x) {
        let input = match before {
            InputOp::Nothing => x.shallow_clone(),
            InputOp::Norm(gain, eps) => kernels::rms_norm((operators, on_gpu), x, gain, eps)?,
            InputOp::Gate(up) => kernels::silu_gate((operators, on_gpu), x, up)?,
        };
        let each = linears.iter().map(|linear| linear.forward(&input, masks.as_deref_mut()));
        each.collect::<Result<Vec<_>, _>>()?
    } else {
        let list = linears.map(|linear| Projection {
            weight: &linear.weight,
            update: linear.lora.as_ref().map(|lora| (&lora.a, &lora.b, lora.scale)),
        });
        let outputs = projections(before, x, &list)
            .map_err(|error| error.context(format!("projections of {:?} {:?}", x.size(), x.kind())))?;
        let biased = |(y, linear): (Tensor, &&Linear)| match &linear.bias {
            Some(bias) => y + bias,
            None => y,
        };
        outputs.into_iter().zip(&linears).map(biased).collect()
    };
    outputs.try_into().map_err(|all: Vec<Tensor>| OpError::of(format!("{} results of {N} projections", all.len())))
}

/// `x wᵀ + b` by the fastest implementation.
pub(crate) fn product(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor, OpError> {
    torch_ext::linear(x, w, b).map_err(|error| {
        error.context(format!("linear of x {:?} {:?} and w {:?} {:?}", x.size(), x.kind(), w.size(), w.kind()))
    })
}
