//! A gated cross-attention layer (Llama 3 paper, section 7.2; gates as in Flamingo, Alayrac et al. 2022, section 3.1.2).
//!
//! Only tokens that see a picture are computed. In Meta's code the attention's and the feed-forward block's outputs of the other tokens
//! are multiplied by 0, which is equivalent. (transformers 5.24 multiplies only the second, so there the layer changes tokens before a
//! picture and rows without one: its issue 39379.)

use llama::attention::Attend;
use llama::{Linear, Llama, LlamaConfig, Operators, Pass, RmsNorm};
use tch::{Kind, Tensor};
use torch_ext::{GpuKernels, OpError, catch};

use crate::sight::Sight;

/// The layer; its fields have the names on disk.
pub struct CrossLayer {
    input_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    /// The gate of the attention's output, `[1]`; the factor is its tanh.
    pub attention_gate: Tensor,
    feed_forward_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    /// The gate of the feed-forward block's output, `[1]`; the factor is its tanh.
    pub feed_forward_gate: Tensor,
    head_dim: i64,
    number: usize,
    names: Vec<(String, Tensor)>,
}

impl CrossLayer {
    /// Builds a layer for the language model's sizes from parameters that `parameter(name, shape)` delivers; their names begin with
    /// `name` and a dot. `number` is the layer's number in messages.
    ///
    /// # Errors
    /// The errors of `parameter`.
    pub fn build<E>(
        c: &LlamaConfig,
        (name, number): (&str, usize),
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let prefix = name;
        let (hidden, inner, eps) = (c.hidden_size, c.intermediate_size, c.rms_norm_eps);
        let (q_width, kv_width) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        let mut names = Vec::new();
        let mut get = |name: &str, shape: &[i64]| -> Result<Tensor, E> {
            let name = format!("{prefix}.{name}");
            let tensor = parameter(&name, shape)?;
            names.push((name, tensor.shallow_clone()));
            Ok(tensor)
        };
        let attention_gate = get("cross_attn_attn_gate", &[1])?;
        let feed_forward_gate = get("cross_attn_mlp_gate", &[1])?;
        let mut norm = |name: &str, width: i64| -> Result<RmsNorm, E> {
            Ok(RmsNorm::new(get(&format!("{name}.weight"), &[width])?, eps))
        };
        let (input_norm, feed_forward_norm) =
            (norm("input_layernorm", hidden)?, norm("post_attention_layernorm", hidden)?);
        let (q_norm, k_norm) = (norm("cross_attn.q_norm", c.head_dim)?, norm("cross_attn.k_norm", c.head_dim)?);
        let mut linear = |name: &str, out: i64, input: i64| -> Result<Linear, E> {
            Ok(Linear { weight: get(&format!("{name}.weight"), &[out, input])?, bias: None, lora: None })
        };
        Ok(Self {
            q: linear("cross_attn.q_proj", q_width, hidden)?,
            k: linear("cross_attn.k_proj", kv_width, hidden)?,
            v: linear("cross_attn.v_proj", kv_width, hidden)?,
            o: linear("cross_attn.o_proj", hidden, q_width)?,
            gate: linear("mlp.gate_proj", inner, hidden)?,
            up: linear("mlp.up_proj", inner, hidden)?,
            down: linear("mlp.down_proj", hidden, inner)?,
            input_norm,
            q_norm,
            k_norm,
            attention_gate,
            feed_forward_norm,
            feed_forward_gate,
            head_dim: c.head_dim,
            number,
            names,
        })
    }

    /// All parameters by their names on disk; the tensors are shared with the layer.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.names.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// The residual stream `[rows, seq, hidden]` after this layer. Tokens that see nothing keep theirs, bit for bit.
    ///
    /// # Errors
    /// When shapes do not match, or memory is not sufficient.
    pub fn forward(&self, x: &Tensor, sight: &Sight, how: (Operators, GpuKernels)) -> Result<Tensor, OpError> {
        if sight.segments.is_empty() {
            return Ok(x.shallow_clone());
        }
        let computed = catch(|| self.compute(x, sight, how));
        computed.map_err(|error: OpError| error.context(format!("cross-attention layer {}", self.number)))
    }

    fn compute(&self, x: &Tensor, sight: &Sight, how: (Operators, GpuKernels)) -> Result<Tensor, OpError> {
        let flat = x.flatten(0, 1);
        let tokens: Vec<i64> = sight.segments.iter().flat_map(|s| s.start..s.start + s.length).collect();
        let tokens = Tensor::from_slice(&tokens).to_device(x.device());
        let seeing = flat.index_select(0, &tokens);
        let attended = self.attention(&seeing, sight, how)?;
        let seeing = seeing + self.attention_gate.tanh() * attended;
        let normal = self.feed_forward_norm.forward(how, &seeing)?;
        let (gate, up) = (self.gate.forward(&normal, None)?, self.up.forward(&normal, None)?);
        let inner = match how {
            (Operators::Plain, _) => gate.silu() * up,
            (Operators::Fused, on_gpu) => torch_ext::silu_gate(&gate, &up, on_gpu)?,
        };
        let seeing = &seeing + self.feed_forward_gate.tanh() * self.down.forward(&inner, None)?;
        Ok(flat.index_copy(0, &tokens, &seeing).view_as(x))
    }

    /// The attention's output for the tokens that see a picture, `[tokens, hidden]`.
    fn attention(&self, seeing: &Tensor, sight: &Sight, how: (Operators, GpuKernels)) -> Result<Tensor, OpError> {
        let heads = |x: Tensor| x.view([x.size()[0], -1, self.head_dim]);
        let states = &sight.states.values;
        let normal = self.input_norm.forward(how, seeing)?;
        let q = self.q_norm.forward(how, &heads(self.q.forward(&normal, None)?))?;
        let k = self.k_norm.forward(how, &heads(self.k.forward(states, None)?))?;
        let v = heads(self.v.forward(states, None)?);
        let grouped = q.size()[1] != k.size()[1];
        let mut start = 0;
        let mut seen = Vec::with_capacity(sight.segments.len());
        for segment in &sight.segments {
            let (from, count) = sight.states.span(&segment.pictures);
            let part = |x: &Tensor, from: i64, count: i64| x.narrow(0, from, count).transpose(0, 1).unsqueeze(0);
            let out = Tensor::scaled_dot_product_attention(
                &part(&q, start, segment.length),
                &part(&k, from, count),
                &part(&v, from, count),
                None::<Tensor>,
                0.0,
                false,
                None::<f64>,
                grouped,
            );
            seen.push(out.squeeze_dim(0).transpose(0, 1).reshape([segment.length, -1]));
            start += segment.length;
        }
        self.o.forward(&Tensor::cat(&seen, 0), None)
    }

    /// The `tanh` of both gates, which tells how far the layer is open.
    pub fn openness(&self) -> (Tensor, Tensor) {
        let open = |gate: &Tensor| gate.detach().to_kind(Kind::Double).tanh().sum(Kind::Double);
        (open(&self.attention_gate), open(&self.feed_forward_gate))
    }
}

/// Final hidden states `[rows, seq, hidden]` of embeddings at `position_ids`, `[rows, seq]` int64, through a language model's layers and
/// the cross-attention layers between them. Each cross-attention layer has the number of preceding layers of the model, ascending.
///
/// # Errors
/// The same as [`Llama::hidden_states`].
pub(crate) fn through(
    text: &Llama,
    cross: &[(usize, CrossLayer)],
    embedded: Tensor,
    position_ids: &Tensor,
    (attend, pass): (&mut dyn Attend, Pass),
    sight: &Sight,
) -> Result<Tensor, OpError> {
    let (rotation, how) = (text.rotation(position_ids)?, (pass.operators, text.gpu_kernels()));
    let mut cross = cross.iter().peekable();
    let mut stream = embedded;
    for (index, layer) in text.layers().iter().enumerate() {
        while let Some((_, cross)) = cross.next_if(|(before, _)| *before == index) {
            stream = cross.forward(&stream, sight, how)?;
        }
        stream = layer.forward(&stream, &rotation, attend, pass)?;
    }
    for (_, cross) in cross {
        stream = cross.forward(&stream, sight, how)?;
    }
    text.final_norm().forward(how, &stream)
}
