//! The decoder: embedding, layers of attention and SwiGLU feed-forward with pre-norm RMSNorm, output head
//! (Llama 3 paper, section 3.2; Touvron et al. 2023, section 2.2).

use std::collections::HashMap;
use std::convert::Infallible;

use tch::{Device, Kind, Tensor};
use torch_ext::{Generator, GpuKernels, InputOp, OpError, catch};

use crate::attention::{Attend, Causal, LayerContext, Packed, packed_positions};
use crate::config::LlamaConfig;
use crate::head::Head;
use crate::kernels;
use crate::linear::{Linear, product, project};
use crate::pass::{Operators, Pass};
use crate::rope::{RopeTable, Rotation};

/// Number of tokens per piece when a feed-forward block is computed in pieces, see [`Layer::in_pieces`]. Weight gradients are
/// summed piece by piece, so this value affects their last bits.
pub const PIECE: i64 = 4096;

/// RMSNorm with statistics in float32, rounded to the model's type before the gain, as transformers does.
pub struct RmsNorm {
    /// `[width]`
    pub weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// A norm with this gain `[width]`. `eps` is added to the mean square.
    #[must_use]
    pub fn new(weight: Tensor, eps: f64) -> Self {
        Self { weight, eps }
    }

    /// Normalises the last dimension of `x`. The [`GpuKernels`] select the kernel of the fused operator on a GPU.
    ///
    /// # Errors
    /// When shapes do not match.
    pub fn forward(&self, how: (Operators, GpuKernels), x: &Tensor) -> Result<Tensor, OpError> {
        catch(|| kernels::rms_norm(how, x, &self.weight, self.eps))
    }

    fn before(&self) -> InputOp<'_> {
        InputOp::Norm(&self.weight, self.eps)
    }

    fn shallow_clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), eps: self.eps }
    }
}

/// The norms of a layer.
pub(crate) struct Norms<'a> {
    pub input: &'a Tensor,
    pub q: Option<&'a Tensor>,
    pub k: Option<&'a Tensor>,
    pub post_attention: &'a Tensor,
}

/// One decoder layer.
pub struct Layer {
    input_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    post_attention_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    index: usize,
    window: Option<i64>,
    head_dim: i64,
    on_gpu: GpuKernels,
}

impl Layer {
    /// Computes the residual stream `[rows, seq, hidden]` after this layer.
    ///
    /// # Errors
    /// When shapes do not match, or there is not enough memory.
    pub fn forward(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        attend: &mut dyn Attend,
        pass: Pass,
    ) -> Result<Tensor, OpError> {
        let computed = catch(|| self.compute(x, rotation, attend, pass));
        computed.map_err(|error: OpError| self.named(error))
    }

    /// Adds the layer's number to an error.
    pub(crate) fn named(&self, error: OpError) -> OpError {
        error.context(format!("layer {}", self.index))
    }

    fn compute(&self, x: &Tensor, rotation: &Rotation, attend: &mut dyn Attend, pass: Pass) -> Result<Tensor, OpError> {
        if self.in_pieces(x, pass)? {
            let middle = self.attention(x, rotation, attend, (pass, None))?;
            let pieces = middle.flatten(0, 1).split(PIECE, 0);
            let computed = pieces.iter().map(|piece| {
                let output = self.feed_forward(&piece.unsqueeze(0), (pass, None))?;
                Ok(output.squeeze_dim(0))
            });
            return Ok(Tensor::cat(&computed.collect::<Result<Vec<_>, OpError>>()?, 0).view_as(&middle));
        }
        let mut masks = self.masks(x, pass)?;
        let x = self.attention(x, rotation, attend, (pass, masks.as_mut()))?;
        self.feed_forward(&x, (pass, masks.as_mut()))
    }

    /// Whether the feed-forward block of rows `[rows, seq, hidden]` is computed [`PIECE`] tokens at a time, because its
    /// activations are the widest. This applies to fused operators, but not to layers with LoRA dropout, whose masks are drawn
    /// for the whole layer in order.
    pub(crate) fn in_pieces(&self, x: &Tensor, pass: Pass) -> Result<bool, OpError> {
        let (rows, seq, _) = x.size3()?;
        Ok(rows * seq > PIECE && pass.operators == Operators::Fused && !self.drops())
    }

    /// The generator of the dropout masks, shared by the attention and the feed-forward block of the layer.
    fn masks(&self, x: &Tensor, pass: Pass) -> Result<Option<Generator>, OpError> {
        if self.drops() { pass.masks(self.index, x.device()) } else { Ok(None) }
    }

    /// Whether any low-rank update of the layer has dropout in training.
    pub(crate) fn drops(&self) -> bool {
        self.linears().iter().any(|(_, linear)| linear.drops())
    }

    /// The residual stream after the layer's attention.
    pub(crate) fn attention(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        attend: &mut dyn Attend,
        (Pass { operators, .. }, mut masks): (Pass, Option<&mut Generator>),
    ) -> Result<Tensor, OpError> {
        let (rows, seq, _) = x.size3()?;
        let heads = |x: Tensor| x.view([rows, seq, -1, self.head_dim]);
        let norm = |norm: &Option<RmsNorm>, x: Tensor| match norm {
            Some(norm) => norm.forward((operators, self.on_gpu), &x),
            None => Ok(x),
        };
        let qkv = [&self.q, &self.k, &self.v];
        let [q, k, v] =
            project((operators, self.on_gpu), masks.as_deref_mut(), self.input_norm.before(), x, qkv)?.map(heads);
        let (q, k) = (norm(&self.q_norm, q)?, norm(&self.k_norm, k)?);
        let (q, k) = (rotation.apply(operators, &q)?, rotation.apply(operators, &k)?);
        let context = LayerContext { layer: self.index, window: self.window, operators };
        let seen = attend.attend(context, &q, &k, &v)?.reshape([rows, seq, -1]);
        let [o] = project((operators, self.on_gpu), masks, InputOp::Nothing, &seen, [&self.o])?;
        Ok(x + o)
    }

    /// The residual stream after the layer's feed-forward block. `x` is the residual stream after the layer's attention. Tokens do
    /// not affect each other.
    pub(crate) fn feed_forward(
        &self,
        x: &Tensor,
        (Pass { operators, .. }, mut masks): (Pass, Option<&mut Generator>),
    ) -> Result<Tensor, OpError> {
        let (before, how) = (self.post_attention_norm.before(), (operators, self.on_gpu));
        let [gate, up] = project(how, masks.as_deref_mut(), before, x, [&self.gate, &self.up])?;
        let [down] = project(how, masks, InputOp::Gate(&up), &gate, [&self.down])?;
        Ok(x + down)
    }
}

/// A decoder-only language model.
pub struct Llama {
    config: LlamaConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// `None` if the head is the embedding table.
    head: Option<Tensor>,
    rope: RopeTable,
    on_gpu: GpuKernels,
}

impl Llama {
    /// Builds the model. `parameter(name, shape)` returns each parameter by its name in a Hugging Face checkpoint. All
    /// parameters must have the same type and device.
    pub fn build<E>(
        config: LlamaConfig,
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let c = &config;
        let (hidden, ff, eps) = (c.hidden_size, c.intermediate_size, c.rms_norm_eps);
        let (q_width, kv_width) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        let embedding = parameter("model.embed_tokens.weight", &[c.vocab_size, hidden])?;
        let mut layers = Vec::with_capacity(c.num_hidden_layers);
        for index in 0..c.num_hidden_layers {
            let mut get = |name: &str, shape: &[i64]| parameter(&format!("model.layers.{index}.{name}"), shape);
            let mut linear = |name: &str, out: i64, input: i64, bias: bool| {
                Ok(Linear {
                    weight: get(&format!("{name}.weight"), &[out, input])?,
                    bias: if bias { Some(get(&format!("{name}.bias"), &[out])?) } else { None },
                    lora: None,
                })
            };
            let q = linear("self_attn.q_proj", q_width, hidden, c.qkv_bias)?;
            let k = linear("self_attn.k_proj", kv_width, hidden, c.qkv_bias)?;
            let v = linear("self_attn.v_proj", kv_width, hidden, c.qkv_bias)?;
            let o = linear("self_attn.o_proj", hidden, q_width, c.output_bias)?;
            let gate = linear("mlp.gate_proj", ff, hidden, c.mlp_bias)?;
            let up = linear("mlp.up_proj", ff, hidden, c.mlp_bias)?;
            let down = linear("mlp.down_proj", hidden, ff, c.mlp_bias)?;
            let mut norm = |name: &str, width: i64| Ok(RmsNorm { weight: get(name, &[width])?, eps });
            let mut head_norm = |name: &str| if c.qk_norm { norm(name, c.head_dim).map(Some) } else { Ok(None) };
            let (q_norm, k_norm) = (head_norm("self_attn.q_norm.weight")?, head_norm("self_attn.k_norm.weight")?);
            layers.push(Layer {
                input_norm: norm("input_layernorm.weight", hidden)?,
                post_attention_norm: norm("post_attention_layernorm.weight", hidden)?,
                window: c.sliding_window[index],
                head_dim: c.head_dim,
                on_gpu: GpuKernels::Own,
                q,
                k,
                v,
                o,
                q_norm,
                k_norm,
                gate,
                up,
                down,
                index,
            });
        }
        let norm = RmsNorm { weight: parameter("model.norm.weight", &[hidden])?, eps };
        let head =
            if c.tie_word_embeddings { None } else { Some(parameter("lm_head.weight", &[c.vocab_size, hidden])?) };
        let rope = RopeTable::new(&config, embedding.device());
        Ok(Self { config, embedding, layers, norm, head, rope, on_gpu: GpuKernels::Own })
    }

    /// A second handle on the same parameters.
    pub fn shallow_clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            embedding: self.embedding.shallow_clone(),
            layers: self.layers.iter().map(Layer::shallow_clone).collect(),
            norm: self.norm.shallow_clone(),
            head: self.head.as_ref().map(Tensor::shallow_clone),
            rope: self.rope.shallow_clone(),
            on_gpu: self.on_gpu,
        }
    }

    /// The embedding table, `[vocab, hidden]`.
    pub(crate) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// `cos` and `sin` of every position, each `[positions, head_dim]` in float32.
    pub(crate) fn rotation_tables(&self) -> (&Tensor, &Tensor) {
        self.rope.tables()
    }

    /// The configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The type of the model's weights and computation.
    pub fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// The device of the model's weights and computation.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Number of parameters; tied parameters count once.
    pub fn parameter_count(&self) -> i64 {
        self.named_parameters().iter().map(|(_, parameter)| parameter.numel() as i64).sum()
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Looks up `input_ids` (`[rows, seq]` int64) in the embedding table: `[rows, seq, hidden]`.
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub fn embed(&self, input_ids: &Tensor) -> Result<Tensor, OpError> {
        torch_ext::embedding(&self.embedding, input_ids).map_err(|error| {
            let vocab = self.config.vocab_size;
            error.context(format!("token ids, which must lie in the vocabulary of {vocab}"))
        })
    }

    /// The rotary embedding of tokens at `position_ids`, `[rows, seq]` int64.
    ///
    /// # Errors
    /// When a position exceeds the model's context.
    pub fn rotation(&self, position_ids: &Tensor) -> Result<Rotation, OpError> {
        self.rope.at(position_ids, self.kind(), self.on_gpu)
    }

    /// The norm before the output head.
    pub fn final_norm(&self) -> &RmsNorm {
        &self.norm
    }

    /// The output head; its weight is the embedding table if they are tied.
    pub fn head(&self) -> Head<'_> {
        Head { weight: self.head.as_ref().unwrap_or(&self.embedding), on_gpu: self.on_gpu }
    }

    /// Kernels of the fused operators, of the head's cross-entropy and of generation on a GPU.
    #[must_use]
    pub fn gpu_kernels(&self) -> GpuKernels {
        self.on_gpu
    }

    /// Sets [`Llama::gpu_kernels`]. The default is herd's own kernels. It has no effect on a CPU.
    pub fn set_gpu_kernels(&mut self, on_gpu: GpuKernels) {
        self.on_gpu = on_gpu;
        self.layers.iter_mut().for_each(|layer| layer.on_gpu = on_gpu);
    }

    /// Final hidden states `[rows, seq, hidden]` (after the last norm) of `input_ids` at `position_ids`, both `[rows, seq]`
    /// int64. [`Llama::logits`] multiplies them by the output head.
    ///
    /// # Errors
    /// When shapes do not match, an id or a position is too large, or there is not enough memory.
    pub fn hidden_states(
        &self,
        input_ids: &Tensor,
        position_ids: &Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
    ) -> Result<Tensor, OpError> {
        self.hidden_states_of(self.embed(input_ids)?, position_ids, attend, pass)
    }

    /// [`Llama::hidden_states`] from embeddings `[rows, seq, hidden]`: the result of [`Llama::embed`], possibly modified.
    ///
    /// # Errors
    /// As [`Llama::hidden_states`].
    pub fn hidden_states_of(
        &self,
        embedded: Tensor,
        position_ids: &Tensor,
        attend: &mut dyn Attend,
        pass: Pass,
    ) -> Result<Tensor, OpError> {
        let rotation = self.rotation(position_ids)?;
        let mut layers = self.layers.iter();
        let stream = layers.try_fold(embedded, |x, layer| layer.forward(&x, &rotation, attend, pass))?;
        self.norm.forward((pass.operators, self.on_gpu), &stream)
    }

    /// The logits `[..., vocab]` of hidden states `[..., hidden]`.
    ///
    /// # Errors
    /// When shapes do not match, or there is not enough memory.
    pub fn logits(&self, hidden_states: &Tensor) -> Result<Tensor, OpError> {
        product(hidden_states, self.head().weight, None)
    }

    /// Logits `[rows, seq, vocab]` of rows that each hold one document, possibly padded on the right. Uses the plain operators.
    ///
    /// # Errors
    /// As [`Llama::hidden_states`].
    pub fn forward(&self, input_ids: &Tensor) -> Result<Tensor, OpError> {
        let positions = catch(|| {
            let (rows, seq) = input_ids.size2()?;
            Ok::<_, OpError>(Tensor::arange(seq, (Kind::Int64, self.device())).expand([rows, seq], true))
        });
        self.logits(&self.hidden_states(input_ids, &positions?, &mut Causal, Pass::default())?)
    }

    /// Logits `[rows, seq, vocab]` of rows that hold several documents of the given lengths, one after another. Each document
    /// gets the same logits as alone. Uses the plain operators.
    ///
    /// # Errors
    /// As [`Llama::hidden_states`].
    pub fn forward_packed(&self, input_ids: &Tensor, documents: &[Vec<i64>]) -> Result<Tensor, OpError> {
        let (_, seq) = input_ids.size2()?;
        let positions = catch(|| Ok::<_, OpError>(packed_positions(documents, seq).to_device(self.device())))?;
        self.logits(&self.hidden_states(input_ids, &positions, &mut Packed { documents }, Pass::default())?)
    }

    /// All parameters under their names in a Hugging Face checkpoint, in the model's order. The tensors share memory with the
    /// model. Low-rank updates are not included.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![("model.embed_tokens.weight".to_owned(), self.embedding.shallow_clone())];
        for layer in &self.layers {
            let mut add = |name: &str, tensor: &Tensor| {
                all.push((format!("model.layers.{}.{name}", layer.index), tensor.shallow_clone()));
            };
            add("input_layernorm.weight", &layer.input_norm.weight);
            for (name, linear) in layer.linears() {
                add(&format!("{name}.weight"), &linear.weight);
                if let Some(bias) = &linear.bias {
                    add(&format!("{name}.bias"), bias);
                }
            }
            for (name, norm) in [("q_norm", &layer.q_norm), ("k_norm", &layer.k_norm)] {
                if let Some(norm) = norm {
                    add(&format!("self_attn.{name}.weight"), &norm.weight);
                }
            }
            add("post_attention_layernorm.weight", &layer.post_attention_norm.weight);
        }
        all.push(("model.norm.weight".to_owned(), self.norm.weight.shallow_clone()));
        if let Some(head) = &self.head {
            all.push(("lm_head.weight".to_owned(), head.shallow_clone()));
        }
        all
    }

    /// Whether any projection has a low-rank update.
    pub fn has_adapter(&self) -> bool {
        self.layers.iter().any(|layer| layer.linears().iter().any(|(_, linear)| linear.lora.is_some()))
    }

    /// The model without its low-rank updates. It shares the weights and requires no gradients.
    pub fn without_adapter(&self) -> Self {
        self.with_weights(Tensor::detach)
    }

    /// The model in another type, without low-rank updates. It shares the weights if they already have that type.
    pub fn to_kind(&self, kind: Kind) -> Self {
        self.with_weights(|weight| weight.detach().to_kind(kind))
    }

    /// A copy of all weights, without low-rank updates.
    ///
    /// # Errors
    /// When there is not enough memory; the message states the size.
    pub fn copy(&self) -> Result<Self, OpError> {
        catch(|| Ok(self.with_weights(|weight| weight.detach().copy()))).map_err(|error: OpError| {
            let bytes = self.parameter_count() as usize * self.kind().elt_size_in_bytes();
            error.context(format!("a copy of the model, {:.1} GB", bytes as f64 / 1e9))
        })
    }

    fn with_weights(&self, weight: impl Fn(&Tensor) -> Tensor) -> Self {
        let weights: HashMap<String, Tensor> = self.named_parameters().into_iter().collect();
        let built = Self::build(self.config.clone(), |name, _| Ok::<_, Infallible>(weight(&weights[name])));
        match built {
            Ok(mut model) => {
                model.set_gpu_kernels(self.on_gpu);
                model
            }
            Err(never) => match never {},
        }
    }

    /// Every projection with its module name (`model.layers.0.self_attn.q_proj`), for low-rank updates.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear)> {
        self.layers.iter_mut().flat_map(|layer| {
            let index = layer.index;
            layer.linears_mut().into_iter().map(move |(name, linear)| (format!("model.layers.{index}.{name}"), linear))
        })
    }
}

impl Layer {
    fn shallow_clone(&self) -> Self {
        let head_norm = |norm: &Option<RmsNorm>| norm.as_ref().map(RmsNorm::shallow_clone);
        Self {
            input_norm: self.input_norm.shallow_clone(),
            q: self.q.shallow_clone(),
            k: self.k.shallow_clone(),
            v: self.v.shallow_clone(),
            o: self.o.shallow_clone(),
            q_norm: head_norm(&self.q_norm),
            k_norm: head_norm(&self.k_norm),
            post_attention_norm: self.post_attention_norm.shallow_clone(),
            gate: self.gate.shallow_clone(),
            up: self.up.shallow_clone(),
            down: self.down.shallow_clone(),
            index: self.index,
            window: self.window,
            head_dim: self.head_dim,
            on_gpu: self.on_gpu,
        }
    }

    pub(crate) fn norms(&self) -> Norms<'_> {
        Norms {
            input: &self.input_norm.weight,
            q: self.q_norm.as_ref().map(|norm| &norm.weight),
            k: self.k_norm.as_ref().map(|norm| &norm.weight),
            post_attention: &self.post_attention_norm.weight,
        }
    }

    pub(crate) fn window(&self) -> Option<i64> {
        self.window
    }

    pub(crate) fn linears(&self) -> [(&'static str, &Linear); 7] {
        [
            ("self_attn.q_proj", &self.q),
            ("self_attn.k_proj", &self.k),
            ("self_attn.v_proj", &self.v),
            ("self_attn.o_proj", &self.o),
            ("mlp.gate_proj", &self.gate),
            ("mlp.up_proj", &self.up),
            ("mlp.down_proj", &self.down),
        ]
    }

    fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        [
            ("self_attn.q_proj", &mut self.q),
            ("self_attn.k_proj", &mut self.k),
            ("self_attn.v_proj", &mut self.v),
            ("self_attn.o_proj", &mut self.o),
            ("mlp.gate_proj", &mut self.gate),
            ("mlp.up_proj", &mut self.up),
            ("mlp.down_proj", &mut self.down),
        ]
    }
}
