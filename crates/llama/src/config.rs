//! Reads Hugging Face's `config.json`, in the old form (`rope_theta`, `rope_scaling`, `torch_dtype`) and in the form of
//! transformers 5 (`rope_parameters`, `dtype`). Checks the fields and fills in defaults.

use std::path::Path;

use serde_json::{Map, Value};
use tch::Kind;

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error("{path} is not a JSON object: {reason}")]
    Json {
        /// The file.
        path: String,
        /// The parser's error.
        reason: String,
    },
    /// A field is missing or has an unusable value.
    #[error("config.json: {0}")]
    Field(String),
    /// This crate does not support the architecture.
    #[error(
        "config.json: architecture {0:?} is not supported; supported are LlamaForCausalLM, MistralForCausalLM, \
         Qwen2ForCausalLM and Qwen3ForCausalLM (Llama 1-3.x, SmolLM2, Mistral, Qwen2, Qwen2.5, Qwen3)"
    )]
    Architecture(String),
}

/// The model families, which differ in biases, query/key norms and sliding windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama 1, 2, 3, 3.x, SmolLM2: no biases.
    Llama,
    /// Mistral: Llama with an optional sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on the query, key and value projections.
    Qwen2,
    /// Qwen3: an RMSNorm on each query and key head.
    Qwen3,
}

impl Family {
    fn from_architecture(name: &str) -> Option<Self> {
        match name {
            "LlamaForCausalLM" | "LlamaForSequenceClassification" | "llama" => Some(Self::Llama),
            "MistralForCausalLM" | "MistralForSequenceClassification" | "mistral" => Some(Self::Mistral),
            "Qwen2ForCausalLM" | "Qwen2ForSequenceClassification" | "qwen2" => Some(Self::Qwen2),
            "Qwen3ForCausalLM" | "Qwen3ForSequenceClassification" | "qwen3" => Some(Self::Qwen3),
            _ => None,
        }
    }

    /// The architecture name of this family with a classification head.
    #[must_use]
    pub fn classifier(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForSequenceClassification",
            Self::Mistral => "MistralForSequenceClassification",
            Self::Qwen2 => "Qwen2ForSequenceClassification",
            Self::Qwen3 => "Qwen3ForSequenceClassification",
        }
    }
}

/// Scaling of the rotary frequencies for contexts longer than in pretraining.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// No scaling.
    None,
    /// Divides all frequencies by `factor`.
    Linear {
        /// Scaling factor.
        factor: f64,
    },
    /// Llama 3.1: divides low frequencies by `factor`, keeps high ones, and interpolates smoothly in between.
    Llama3 {
        /// Scaling factor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are scaled fully.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of pretraining in tokens.
        original_context: f64,
    },
    /// `YaRN` (Peng et al. 2023, arXiv 2309.00071): keeps frequencies with many rotations within the original context, divides
    /// those with few rotations by `factor`, and interpolates linearly over the dimensions in between.
    Yarn {
        /// Scaling factor of the low frequencies.
        factor: f64,
        /// Factor of the cosines and sines.
        attention_factor: f64,
        /// Rotations within the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations within the original context below which a frequency is scaled fully.
        beta_slow: f64,
        /// Context length of pretraining in tokens.
        original_context: f64,
        /// Whether the ramp is rounded to whole dimensions.
        truncate: bool,
    },
}

/// The configuration of a model. The fields have the names of `config.json`.
#[derive(Debug, Clone)]
pub struct LlamaConfig {
    /// Model family.
    pub family: Family,
    /// Number of rows of the embedding table.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width of the feed-forward block.
    pub intermediate_size: i64,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: i64,
    /// Number of key/value heads, a divisor of the number of query heads.
    pub num_key_value_heads: i64,
    /// Width of one head.
    pub head_dim: i64,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Maximal context length in tokens.
    pub max_position_embeddings: i64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Whether the output head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward block has biases.
    pub mlp_bias: bool,
    /// Whether each query and key head has an RMSNorm.
    pub qk_norm: bool,
    /// Sliding window of each layer in tokens, including the token itself; `None` for full attention.
    pub sliding_window: Vec<Option<i64>>,
    /// Type of the stored weights.
    pub dtype: Kind,
    /// Ids that end a generation, from `eos_token_id` (a number or a list).
    pub eos_token_ids: Vec<i64>,
    /// The original file. It is written back with the model, so that no field is lost.
    raw: Map<String, Value>,
}

impl LlamaConfig {
    /// Reads `config.json` in a model folder.
    pub fn from_dir(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("config.json");
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|cause| ConfigError::Io { path: shown.clone(), cause })?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| e.to_string())
            .map_err(|e| weights::impostor(text.as_bytes()).map_or(e, str::to_owned))
            .map_err(|reason| ConfigError::Json { path: shown.clone(), reason })?;
        match value {
            Value::Object(raw) => Self::from_json(raw),
            _ => Err(ConfigError::Json { path: shown, reason: "it holds another type of JSON value".into() }),
        }
    }

    /// Reads the configuration from the object of a `config.json`.
    pub fn from_json(raw: Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields(&raw);
        let architecture = raw.get("architectures").and_then(|a| a.get(0)).or_else(|| raw.get("model_type"));
        let architecture = architecture.and_then(Value::as_str).unwrap_or("(none given)");
        let family = Family::from_architecture(architecture)
            .ok_or_else(|| ConfigError::Architecture(architecture.to_owned()))?;
        if let Some(quantised) = fields.get("quantization_config").or_else(|| fields.get("compression_config")) {
            let method = quantised.get("quant_method").and_then(Value::as_str).unwrap_or("a method that is not named");
            return Err(ConfigError::Field(format!(
                "the weights are quantised ({method}); only float32, bfloat16 and float16 weights can be read: take the \
                 model's original folder, or dequantise it with the program that made it"
            )));
        }
        let activation = raw.get("hidden_act").and_then(Value::as_str).unwrap_or("silu");
        if activation != "silu" {
            return Err(ConfigError::Field(format!("hidden_act is {activation:?}, only \"silu\" is supported")));
        }

        let hidden_size = fields.size("hidden_size")?;
        let num_attention_heads = fields.size("num_attention_heads")?;
        let num_hidden_layers = fields.size("num_hidden_layers")? as usize;
        let num_key_value_heads = fields.size_or("num_key_value_heads", num_attention_heads)?;
        if num_attention_heads % num_key_value_heads != 0 {
            return Err(ConfigError::Field(format!(
                "num_attention_heads ({num_attention_heads}) is not a multiple of num_key_value_heads ({num_key_value_heads})"
            )));
        }
        let head_dim = match fields.size_or("head_dim", 0)? {
            0 if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
            0 => {
                return Err(ConfigError::Field(format!(
                    "hidden_size ({hidden_size}) is not a multiple of num_attention_heads ({num_attention_heads}) \
                     and no head_dim is given"
                )));
            }
            given => given,
        };
        if head_dim % 2 != 0 {
            return Err(ConfigError::Field(format!("head_dim is {head_dim}; rotary embeddings need an even one")));
        }
        let attention_bias = fields.flag("attention_bias", family == Family::Qwen2)?;
        let (rope_theta, rope_scaling) = rope(&fields)?;
        Ok(Self {
            family,
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6),
            max_position_embeddings: fields.size_or("max_position_embeddings", 2048)?,
            rope_theta,
            rope_scaling,
            tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
            qkv_bias: attention_bias,
            output_bias: attention_bias && family != Family::Qwen2,
            mlp_bias: fields.flag("mlp_bias", false)?,
            qk_norm: family == Family::Qwen3,
            sliding_window: sliding_windows(&fields, family, num_hidden_layers)?,
            dtype: fields.dtype()?,
            eos_token_ids: fields.ids("eos_token_id")?,
            raw,
        })
    }

    /// The architecture's name, if the file belongs to a classifier or reward model.
    #[must_use]
    pub fn classifier(&self) -> Option<&str> {
        let name = self.raw.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str)?;
        name.ends_with("ForSequenceClassification").then_some(name)
    }

    /// The `config.json` of this model with weights of type `dtype`: the original file with the field of the type replaced.
    pub fn to_json(&self, dtype: Kind) -> Result<Value, ConfigError> {
        let mut raw = self.raw.clone();
        let field = if raw.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        raw.insert(field.into(), Value::from(dtype_name(dtype)?));
        Ok(Value::Object(raw))
    }
}

/// The name of a floating type in `config.json`.
pub fn dtype_name(kind: Kind) -> Result<&'static str, ConfigError> {
    match kind {
        Kind::Float => Ok("float32"),
        Kind::Half => Ok("float16"),
        Kind::BFloat16 => Ok("bfloat16"),
        other => Err(ConfigError::Field(format!("weights of type {other:?} are not supported"))),
    }
}

/// Typed access to the fields of a JSON object. An error names the field.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str) -> Result<i64, ConfigError> {
        match self.size_or(name, 0)? {
            0 => Err(ConfigError::Field(format!("{name} is missing"))),
            size => Ok(size),
        }
    }

    fn size_or(&self, name: &str, default: i64) -> Result<i64, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let size = value.as_i64().filter(|size| (1..=1 << 32).contains(size));
        size.ok_or_else(|| ConfigError::Field(format!("{name} is {value}, a positive whole number is expected")))
    }

    fn count_or(&self, name: &str, default: u64) -> Result<u64, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let bad = || ConfigError::Field(format!("{name} is {value}, a whole number of at least 0 is expected"));
        value.as_u64().ok_or_else(bad)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        number.map(Some).ok_or_else(|| ConfigError::Field(format!("{name} is {value}, a positive number is expected")))
    }

    fn any_number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| ConfigError::Field(format!("{name} is {value}, a number is expected")))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| ConfigError::Field(format!("{name} is {value}, true or false is expected")))
    }

    fn ids(&self, name: &str) -> Result<Vec<i64>, ConfigError> {
        let bad = |value: &Value| ConfigError::Field(format!("{name} is {value}, a token id or a list is expected"));
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(|v| v.as_i64().ok_or_else(|| bad(v))).collect(),
            Some(value) => Ok(vec![value.as_i64().ok_or_else(|| bad(value))?]),
        }
    }

    fn dtype(&self) -> Result<Kind, ConfigError> {
        match self.get("dtype").or_else(|| self.get("torch_dtype")).map(|v| v.as_str().unwrap_or("?")) {
            None | Some("float32") => Ok(Kind::Float),
            Some("bfloat16") => Ok(Kind::BFloat16),
            Some("float16") => Ok(Kind::Half),
            Some(other) => {
                Err(ConfigError::Field(format!("dtype is {other:?}; float32, bfloat16 and float16 are supported")))
            }
        }
    }
}

/// The base of the rotary frequencies and their scaling, from either form of the file.
fn rope(fields: &Fields) -> Result<(f64, RopeScaling), ConfigError> {
    let empty = Map::new();
    let (theta_fields, scaling) = match fields.get("rope_parameters") {
        Some(Value::Object(parameters)) => (Fields(parameters), parameters),
        Some(other) => return Err(ConfigError::Field(format!("rope_parameters is {other}, an object is expected"))),
        None => match fields.get("rope_scaling") {
            Some(Value::Object(scaling)) => (Fields(fields.0), scaling),
            Some(other) => return Err(ConfigError::Field(format!("rope_scaling is {other}, an object is expected"))),
            None => (Fields(fields.0), &empty),
        },
    };
    if scaling.values().any(Value::is_object) {
        return Err(ConfigError::Field("rope parameters that differ by layer type are not supported".into()));
    }
    let theta = match theta_fields.number("rope_theta")? {
        Some(theta) => theta,
        None => fields.number("rope_theta")?.unwrap_or(10_000.0),
    };
    let scaling = Fields(scaling);
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
    let needed = |name: &str| {
        let lacks = || format!("rope scaling of type {:?} lacks {name}", kind.unwrap_or_default());
        scaling.number(name)?.ok_or_else(|| ConfigError::Field(lacks()))
    };
    if let Some(part) = scaling.number("partial_rotary_factor")?.filter(|&part| part != 1.0) {
        return Err(ConfigError::Field(format!("partial_rotary_factor is {part}; only whole heads can be rotated")));
    }
    // The field of the model takes precedence over the field of the scaling, as in transformers.
    let context = fields.size_or("max_position_embeddings", 2048)? as f64;
    let original = |name: &str| Ok::<_, ConfigError>(fields.number(name)?.or(scaling.number(name)?).unwrap_or(context));
    let scaling = match kind {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: needed("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: needed("factor")?,
            low_freq_factor: needed("low_freq_factor")?,
            high_freq_factor: needed("high_freq_factor")?,
            original_context: original("original_max_position_embeddings")?,
        },
        Some("yarn") => yarn(&scaling, context, original("original_max_position_embeddings")?)?,
        Some(other) => {
            return Err(ConfigError::Field(format!(
                "rope scaling of type {other:?} is not supported; default, linear, llama3 and yarn are"
            )));
        }
    };
    if let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. } = scaling
        && low_freq_factor >= high_freq_factor
    {
        return Err(ConfigError::Field("rope scaling: low_freq_factor must be below high_freq_factor".into()));
    }
    Ok((theta, scaling))
}

/// The parameters of `YaRN`, with the defaults of `_compute_yarn_parameters` in transformers 5.
fn yarn(scaling: &Fields, context: f64, original_context: f64) -> Result<RopeScaling, ConfigError> {
    if !scaling.0.contains_key("factor") {
        return Err(ConfigError::Field("rope scaling of type \"yarn\" lacks factor".into()));
    }
    let factor = scaling.number("factor")?.unwrap_or(context / original_context);
    // 0 counts as missing, as in Python.
    let set = |name: &str| Ok::<_, ConfigError>(scaling.any_number(name)?.filter(|&number| number != 0.0));
    let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
    let attention_factor = match (scaling.any_number("attention_factor")?, set("mscale")?, set("mscale_all_dim")?) {
        (Some(given), ..) => given,
        (None, Some(mscale), Some(all)) => scale(mscale) / scale(all),
        _ => scale(1.0),
    };
    let truncate = match scaling.0.get("truncate") {
        None => true,
        // transformers treats null as false.
        Some(Value::Null) => false,
        Some(_) => scaling.flag("truncate", true)?,
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: set("beta_fast")?.unwrap_or(32.0),
        beta_slow: set("beta_slow")?.unwrap_or(1.0),
        original_context,
        truncate,
    })
}

/// The window of each layer. Mistral has the window in all layers. Qwen has it only with `use_sliding_window`, in the layers of
/// `layer_types` or else from `max_window_layers` on.
fn sliding_windows(fields: &Fields, family: Family, layers: usize) -> Result<Vec<Option<i64>>, ConfigError> {
    let used = match family {
        Family::Llama => false,
        Family::Mistral => true,
        Family::Qwen2 | Family::Qwen3 => fields.flag("use_sliding_window", false)?,
    };
    let window = fields.size_or("sliding_window", 0)?;
    if !used || window == 0 {
        return Ok(vec![None; layers]);
    }
    let kinds = fields.get("layer_types").and_then(Value::as_array);
    if let Some(kinds) = kinds
        && kinds.len() != layers
    {
        return Err(ConfigError::Field(format!("layer_types has {} entries for {layers} layers", kinds.len())));
    }
    let first = match family {
        Family::Mistral => 0,
        _ => fields.count_or("max_window_layers", 28)? as usize,
    };
    let windowed = |layer: usize| match kinds {
        Some(kinds) => kinds[layer] == "sliding_attention",
        None => layer >= first,
    };
    Ok((0..layers).map(|layer| windowed(layer).then_some(window)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn base() -> Map<String, Value> {
        let value = json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "vocab_size": 320,
            "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2,
        });
        value.as_object().unwrap().clone()
    }

    fn with(extra: Value) -> Result<LlamaConfig, ConfigError> {
        let mut raw = base();
        raw.extend(extra.as_object().unwrap().clone());
        LlamaConfig::from_json(raw)
    }

    #[test]
    fn both_styles_say_the_same() {
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let old = with(json!({"rope_theta": 5e5, "rope_scaling": llama3, "torch_dtype": "bfloat16"})).unwrap();
        let mut parameters = llama3.clone();
        parameters["rope_theta"] = json!(5e5);
        let new = with(json!({"rope_parameters": parameters, "dtype": "bfloat16"})).unwrap();
        for config in [&old, &new] {
            assert_eq!(config.rope_theta, 5e5);
            assert!(matches!(config.rope_scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
            assert_eq!(config.dtype, Kind::BFloat16);
        }
        assert_eq!(old.to_json(Kind::Float).unwrap()["torch_dtype"], "float32");
        assert_eq!(new.to_json(Kind::Half).unwrap()["dtype"], "float16");
        let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2.0}})).unwrap();
        assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            (json!({"architectures": ["GemmaForCausalLM"]}), "GemmaForCausalLM"),
            (json!({"hidden_act": "gelu"}), "hidden_act"),
            (json!({"hidden_size": -4}), "hidden_size"),
            (json!({"vocab_size": null}), "vocab_size is missing"),
            (json!({"num_key_value_heads": 3}), "not a multiple"),
            (json!({"head_dim": 7}), "head_dim"),
            (json!({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}), "longrope"),
            (json!({"rope_scaling": {"rope_type": "yarn"}}), "type \"yarn\" lacks factor"),
            (
                json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_fast": "fast"}}),
                "beta_fast is \"fast\"",
            ),
            (
                json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
                "partial_rotary_factor",
            ),
            (json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}), "low_freq_factor"),
            (json!({"rope_parameters": {"full": {"rope_theta": 1.0}}}), "layer type"),
            (json!({"dtype": "float8"}), "float8"),
            (json!({"rope_scaling": {"type": "linear"}}), "type \"linear\" lacks factor"),
            (
                json!({"quantization_config": {"quant_method": "bitsandbytes"}}),
                "the weights are quantised (bitsandbytes)",
            ),
            (json!({"tie_word_embeddings": "yes"}), "tie_word_embeddings"),
        ];
        for (extra, expected) in cases {
            let message = with(extra).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn windows_apply_where_the_family_says() {
        let mistral = json!({"architectures": ["MistralForCausalLM"], "sliding_window": 16});
        assert_eq!(with(mistral).unwrap().sliding_window, [Some(16), Some(16)]);
        let qwen = json!({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 16, "max_window_layers": 1});
        assert_eq!(with(qwen.clone()).unwrap().sliding_window, [None, None]);
        let mut used = qwen.clone();
        used["use_sliding_window"] = json!(true);
        assert_eq!(with(used.clone()).unwrap().sliding_window, [None, Some(16)]);
        let mut all = used.clone();
        all["max_window_layers"] = json!(0);
        assert_eq!(with(all).unwrap().sliding_window, [Some(16), Some(16)]);
        used["layer_types"] = json!(["sliding_attention", "full_attention"]);
        assert_eq!(with(used).unwrap().sliding_window, [Some(16), None]);
    }
}
