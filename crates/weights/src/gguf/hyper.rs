//! The hyper-parameters of a GGUF file, checked, under the names of `config.json`.

use serde_json::{Map, Value, json};

use super::rope::{self, Rope};
use super::{Fields, Gguf};
use crate::error::shown;
use crate::{DType, Result, WeightsError};

/// The model families that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Llama,
    /// llama.cpp also calls these files "llama"; the sliding window identifies them.
    Mistral,
    Qwen2,
    Qwen3,
}

impl Family {
    /// The values of `architectures` and `model_type` in `config.json`.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Llama => ("LlamaForCausalLM", "llama"),
            Self::Mistral => ("MistralForCausalLM", "mistral"),
            Self::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
            Self::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        }
    }

    /// Whether llama.cpp's converter permutes the rows of the query and key projections.
    pub fn is_permuted(self) -> bool {
        matches!(self, Self::Llama | Self::Mistral)
    }
}

/// The hyper-parameters of a model.
#[derive(Debug, Clone)]
pub(crate) struct Hyper {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub context: usize,
    rms_norm_eps: f64,
    rope: Rope,
    sliding_window: Option<usize>,
    pub tied: bool,
    /// Biases on the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub output_bias: bool,
    pub mlp_bias: bool,
}

/// Reads and checks the hyper-parameters.
pub(crate) fn read(gguf: &Gguf) -> Result<Hyper> {
    const ARCHITECTURE: &str = "general.architecture";
    let fields = gguf.fields();
    let architecture = fields.required(ARCHITECTURE, fields.str(ARCHITECTURE)?)?;
    let mut family = match architecture {
        "llama" => Family::Llama,
        "mistral" => Family::Mistral,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        other => {
            let problem = format!("{} is not supported; llama, mistral, qwen2 and qwen3 are", shown(other));
            return Err(fields.error(ARCHITECTURE, problem));
        }
    };
    let own = Own { fields, architecture };
    own.refuse("expert_count", "mixtures of experts are not supported")?;

    let sliding_window = own.size("attention.sliding_window")?.filter(|window| *window > 0);
    match (family, sliding_window) {
        (Family::Llama, Some(_)) => family = Family::Mistral,
        (Family::Qwen2 | Family::Qwen3, Some(_)) => {
            let key = own.key("attention.sliding_window");
            return Err(fields.error(&key, "sliding windows are supported for Mistral only"));
        }
        _ => {}
    }
    let embedding = gguf.tensor("token_embd.weight")?;
    let &[vocab_size, hidden_size] = &embedding.shape[..] else {
        let problem = format!("it has shape {:?}, two dimensions are expected", embedding.shape);
        return Err(WeightsError::tensor(gguf.path(), "token_embd.weight", problem));
    };
    let declared = own.positive("embedding_length")?;
    if declared != hidden_size {
        let problem = format!("it is {declared}, but the rows of token_embd.weight have {hidden_size} elements");
        return Err(fields.error(&own.key("embedding_length"), problem));
    }
    let heads = own.positive("attention.head_count")?;
    let kv_heads = match own.size("attention.head_count_kv")? {
        Some(0) | None => heads,
        Some(count) => count,
    };
    if heads % kv_heads != 0 {
        let problem = format!("{heads} query heads are not a multiple of {kv_heads} key/value heads");
        return Err(fields.error(&own.key("attention.head_count_kv"), problem));
    }
    let head_dim = head_dim(&own, hidden_size, heads)?;
    // Each layer has tensors in the file, so this check limits the allocation per layer.
    let layers = own.positive("block_count")?;
    if layers > gguf.tensors().count() {
        let problem = format!("{layers} layers need more than the file's {} tensors", gguf.tensors().count());
        return Err(fields.error(&own.key("block_count"), problem));
    }
    let context = own.positive("context_length")?;
    Ok(Hyper {
        family,
        vocab_size,
        hidden_size,
        intermediate_size: own.positive("feed_forward_length")?,
        layers,
        heads,
        kv_heads,
        head_dim,
        context,
        rms_norm_eps: own.above_zero("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        rope: rope::read(gguf, &own, head_dim, context)?,
        sliding_window,
        tied: !gguf.has("output.weight"),
        // transformers' `attention_bias` means all four projections; Qwen2 always has three biases and Mistral none.
        qkv_bias: match family {
            Family::Llama | Family::Qwen3 => gguf.has("blk.0.attn_q.bias"),
            Family::Mistral => false,
            Family::Qwen2 => true,
        },
        output_bias: matches!(family, Family::Llama | Family::Qwen3) && gguf.has("blk.0.attn_q.bias"),
        mlp_bias: family == Family::Llama && gguf.has("blk.0.ffn_up.bias"),
    })
}

/// The width of a head; the rotary embedding must cover all of it.
fn head_dim(own: &Own, hidden_size: usize, heads: usize) -> Result<usize> {
    let head_dim = match own.size("attention.key_length")? {
        Some(0) | None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        Some(0) | None => {
            let problem = format!("{heads} heads do not divide the hidden size {hidden_size}");
            return Err(own.fields.error(&own.key("attention.head_count"), problem));
        }
        Some(given) => given,
    };
    if head_dim % 2 != 0 || head_dim.checked_mul(heads).is_none() {
        let problem = format!("heads of width {head_dim} are impossible; an even width is expected");
        return Err(own.fields.error(&own.key("attention.key_length"), problem));
    }
    for name in ["attention.value_length", "rope.dimension_count"] {
        if let Some(other) = own.size(name)?
            && other != head_dim
        {
            let problem = format!("it is {other}, only the width of a head, {head_dim}, is supported");
            return Err(own.fields.error(&own.key(name), problem));
        }
    }
    Ok(head_dim)
}

impl Hyper {
    /// `config.json`, in the style of transformers 5.
    pub fn config(&self, dtype: DType, bos: Option<usize>, eos: Option<usize>, pad: Option<usize>) -> Value {
        let (architecture, model_type) = self.family.names();
        let mut config = Map::new();
        let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
        set("architectures", json!([architecture]));
        set("model_type", json!(model_type));
        set("attention_dropout", json!(0.0));
        if self.family == Family::Llama || self.family == Family::Qwen3 {
            set("attention_bias", json!(self.qkv_bias));
        }
        if self.family == Family::Llama {
            set("mlp_bias", json!(self.mlp_bias));
        }
        set("bos_token_id", json!(bos));
        set("eos_token_id", json!(eos));
        set("pad_token_id", json!(pad));
        set("dtype", json!(dtype_name(dtype)));
        set("head_dim", json!(self.head_dim));
        set("hidden_act", json!("silu"));
        set("hidden_size", json!(self.hidden_size));
        set("initializer_range", json!(0.02));
        set("intermediate_size", json!(self.intermediate_size));
        set("max_position_embeddings", json!(self.context));
        set("num_attention_heads", json!(self.heads));
        set("num_hidden_layers", json!(self.layers));
        set("num_key_value_heads", json!(self.kv_heads));
        set("rms_norm_eps", json!(self.rms_norm_eps));
        set("rope_parameters", self.rope.to_json());
        if self.family == Family::Mistral {
            set("sliding_window", json!(self.sliding_window));
        } else if matches!(self.family, Family::Qwen2 | Family::Qwen3) {
            set("sliding_window", Value::Null);
            set("use_sliding_window", json!(false));
        }
        set("tie_word_embeddings", json!(self.tied));
        set("use_cache", json!(true));
        set("vocab_size", json!(self.vocab_size));
        Value::Object(config)
    }
}

/// The name of a floating type in `config.json`.
fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        _ => "float32",
    }
}

/// The metadata under the prefix of the architecture.
pub(crate) struct Own<'a> {
    pub fields: Fields<'a>,
    architecture: &'a str,
}

impl Own<'_> {
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub fn str(&self, name: &str) -> Result<Option<&str>> {
        self.fields.str(&self.key(name))
    }

    /// A number greater than zero.
    pub fn above_zero(&self, name: &str) -> Result<Option<f64>> {
        let key = self.key(name);
        match self.fields.number(&key)? {
            Some(number) if number <= 0.0 => {
                Err(self.fields.error(&key, format!("it is {number}, a number above zero is expected")))
            }
            number => Ok(number),
        }
    }

    /// An integer, or an array of equal integers (one per layer).
    pub fn size(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        if !self.fields.is_array(&key) {
            return self.fields.size(&key);
        }
        let sizes = self.fields.sizes(&key)?.unwrap_or_default();
        match sizes.iter().find(|size| **size != sizes[0]) {
            Some(other) => {
                let problem = format!("layers differ ({} and {other}), which is not supported", sizes[0]);
                Err(self.fields.error(&key, problem))
            }
            None => Ok(sizes.first().copied()),
        }
    }

    fn positive(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        let size = self.fields.required(&key, self.size(name)?)?;
        if size == 0 || size > 1 << 32 {
            return Err(self.fields.error(&key, format!("it is {size}, a number from 1 to 2^32 is expected")));
        }
        Ok(size)
    }

    fn refuse(&self, name: &str, problem: &str) -> Result<()> {
        match self.size(name)? {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.fields.error(&self.key(name), problem)),
        }
    }
}
