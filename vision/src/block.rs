//! A layer of an image encoder: attention and a GELU feed-forward block, each after a LayerNorm.

use llama::Linear;
use tch::Tensor;
use torch_ext::OpError;

/// A LayerNorm.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Builds the norm `name` of this width from parameters that `get(name, shape)` delivers.
    pub fn build<E>(
        name: &str,
        width: i64,
        eps: f64,
        get: &mut impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let weight = get(&format!("{name}.weight"), &[width])?;
        Ok(Self { weight, bias: get(&format!("{name}.bias"), &[width])?, eps })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }

    /// Normalises without weight and bias.
    pub fn normal(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), None::<Tensor>, None::<Tensor>, self.eps, true)
    }

    /// Replaces weight and bias in place.
    pub fn set(&mut self, weight: &Tensor, bias: &Tensor) {
        self.weight.copy_(weight);
        self.bias.copy_(bias);
    }
}

/// Builds the projection `name`, `[out, in]`.
pub(crate) fn linear<E>(
    name: &str,
    [out, input]: [i64; 2],
    biased: bool,
    get: &mut impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
) -> Result<Linear, E> {
    let weight = get(&format!("{name}.weight"), &[out, input])?;
    let bias = if biased { Some(get(&format!("{name}.bias"), &[out])?) } else { None };
    Ok(Linear { weight, bias, lora: None })
}

/// Factors on the outputs of attention and feed-forward block.
pub(crate) enum After {
    Nothing,
    /// One gate each, `[1]`; the factor is its tanh.
    Gates([Tensor; 2]),
    /// One factor for each feature, `[width]` (LayerScale).
    Scales([Tensor; 2]),
}

impl After {
    fn apply(&self, y: Tensor, half: usize) -> Tensor {
        match self {
            Self::Nothing => y,
            Self::Gates(gates) => gates[half].tanh() * y,
            Self::Scales(scales) => y * &scales[half],
        }
    }
}

/// A layer.
pub(crate) struct Block {
    /// The norms before the attention and before the feed-forward block.
    pub norms: [LayerNorm; 2],
    /// The projections of queries, keys, values and output.
    pub attention: [Linear; 4],
    /// The projections into the wide layer and out of it.
    pub feed_forward: [Linear; 2],
    pub after: After,
    pub heads: i64,
}

impl Block {
    /// Applies the layer to `[pictures, places, width]`. The mask is added to the attention's scores.
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, OpError> {
        let normal = self.norms[0].forward(x);
        let (pictures, places, width) = x.size3()?;
        let [q, k, v, o] = &self.attention;
        let split = |linear: &Linear| {
            let projected = linear.forward(&normal, None)?;
            Ok::<_, OpError>(projected.view([pictures, places, self.heads, width / self.heads]).transpose(1, 2))
        };
        let (q, k, v) = (split(q)?, split(k)?, split(v)?);
        let seen = Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, None::<f64>, false);
        let seen = seen.transpose(1, 2).reshape([pictures, places, width]);
        let x = x + self.after.apply(o.forward(&seen, None)?, 0);
        let [wide, narrow] = &self.feed_forward;
        let inner = wide.forward(&self.norms[1].forward(&x), None)?.gelu("none");
        Ok(&x + self.after.apply(narrow.forward(&inner, None)?, 1))
    }
}
