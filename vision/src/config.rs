//! `config.json` of an `MllamaForConditionalGeneration`: a text part (a Llama with cross-attention layers between its layers) and a
//! vision part.

use std::path::Path;

use llama::{ConfigError, LlamaConfig, dtype_name};
use serde_json::{Map, Value, json};
use tch::Kind;

/// Number of rows of the embedding table after the vocabulary; the image token is the first of them.
pub const EXTRA_ROWS: i64 = 8;

/// The sizes of the vision tower, named as in `vision_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct TowerConfig {
    /// Width of the patches' states.
    pub hidden_size: i64,
    /// Width of the feed-forward blocks.
    pub intermediate_size: i64,
    /// Number of attention heads.
    pub attention_heads: i64,
    /// Number of layers without gates.
    pub num_hidden_layers: usize,
    /// Number of gated layers after them, in which tokens again see all tiles.
    pub num_global_layers: usize,
    /// Layers whose outputs are part of the result, in addition to the last one.
    pub intermediate_layers_indices: Vec<usize>,
    /// Height and width of a tile in pixels.
    pub image_size: i64,
    /// Height and width of a patch in pixels.
    pub patch_size: i64,
    /// Maximum number of tiles of a picture.
    pub max_num_tiles: i64,
    /// Arrangements of tiles as (rows, columns); row 0 of the embeddings is for absent pictures.
    pub supported_aspect_ratios: Vec<(i64, i64)>,
    /// The epsilon of the norms.
    pub norm_eps: f64,
}

/// The JSON object of a folder's `config.json`.
pub(crate) fn config_json(folder: &Path) -> Result<Map<String, Value>, ConfigError> {
    let path = folder.join("config.json");
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|cause| ConfigError::Io { path: shown.clone(), cause })?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(raw)) => Ok(raw),
        Ok(_) => Err(ConfigError::Json { path: shown, reason: "another kind of value stands there".into() }),
        Err(error) => Err(ConfigError::Json { path: shown, reason: error.to_string() }),
    }
}

impl TowerConfig {
    /// Reads `vision_config` of the `config.json` in a model folder.
    ///
    /// # Errors
    /// When the file or the part is missing, or when a value is not supported.
    pub fn from_dir(folder: &Path) -> Result<Self, ConfigError> {
        match config_json(folder)?.get("vision_config") {
            Some(Value::Object(part)) => tower(part),
            _ => Err(ConfigError::Field(format!("{}: vision_config is missing", folder.join("config.json").display()))),
        }
    }

    /// Number of positions of a tile: its patches and the class token.
    #[must_use]
    pub fn places(&self) -> i64 {
        (self.image_size / self.patch_size).pow(2) + 1
    }

    /// Width of the result: the last state followed by those of the selected layers.
    #[must_use]
    pub fn output_width(&self) -> i64 {
        self.hidden_size * (1 + self.intermediate_layers_indices.len() as i64)
    }
}

/// The configuration of a model with vision.
#[derive(Debug, Clone)]
pub struct MllamaConfig {
    /// The language model without its cross-attention layers.
    pub text: LlamaConfig,
    /// The vision tower.
    pub tower: TowerConfig,
    /// The indices of the cross-attention layers among all text layers, ascending; there are `text.num_hidden_layers +
    /// cross_layers.len()` layers in total.
    pub cross_layers: Vec<usize>,
    /// The id of the image token: the size of the vocabulary.
    pub image_token: i64,
    /// The file as it was read.
    raw: Map<String, Value>,
}

impl MllamaConfig {
    /// Reads `config.json` in a model folder.
    ///
    /// # Errors
    /// When the file is missing, has another architecture, or a value is not supported.
    pub fn from_dir(folder: &Path) -> Result<Self, ConfigError> {
        Self::from_json(config_json(folder)?)
    }

    /// Reads the configuration from the object of a `config.json`.
    ///
    /// # Errors
    /// See [`MllamaConfig::from_dir`].
    pub fn from_json(raw: Map<String, Value>) -> Result<Self, ConfigError> {
        let architecture = raw.get("architectures").and_then(|a| a.get(0)).or_else(|| raw.get("model_type"));
        let architecture = architecture.and_then(Value::as_str).unwrap_or("(none given)");
        if !matches!(architecture, "MllamaForConditionalGeneration" | "mllama") {
            return Err(ConfigError::Field(format!(
                "architecture {architecture:?} has no vision; the one with vision that is read is \
                 MllamaForConditionalGeneration (Llama 3.2 Vision)"
            )));
        }
        let part = |name: &str| match raw.get(name) {
            Some(Value::Object(part)) => Ok(part.clone()),
            _ => Err(ConfigError::Field(format!("{name} is missing"))),
        };
        let (text, vision) = (part("text_config")?, part("vision_config")?);
        let numbers = Numbers { part: "text_config", fields: &text };
        let cross_layers = match text.get("cross_attention_layers") {
            None | Some(Value::Null) => vec![3, 8, 13, 18, 23, 28, 33, 38],
            Some(_) => numbers.list("cross_attention_layers")?,
        };
        let all = numbers.size("num_hidden_layers", 40)? as usize;
        let ascending = cross_layers.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || cross_layers.last().is_some_and(|&last| last >= all) || cross_layers.len() >= all {
            return Err(ConfigError::Field(format!(
                "text_config.cross_attention_layers is {cross_layers:?}; ascending numbers below \
                 num_hidden_layers ({all}) are expected"
            )));
        }
        let text = LlamaConfig::from_json(llama_fields(&raw, text, all - cross_layers.len()))?;
        if text.tie_word_embeddings {
            return Err(ConfigError::Field(
                "text_config.tie_word_embeddings is true, but the embedding has more rows than the head".into(),
            ));
        }
        let image_token = Numbers { part: "", fields: &raw }.size("image_token_index", text.vocab_size)?;
        if !(text.vocab_size..text.vocab_size + EXTRA_ROWS).contains(&image_token) {
            return Err(ConfigError::Field(format!(
                "image_token_index is {image_token}; it must be one of the {EXTRA_ROWS} numbers from vocab_size ({}) on",
                text.vocab_size
            )));
        }
        Ok(Self { tower: tower(&vision)?, text, cross_layers, image_token, raw })
    }

    /// The `config.json` of this model with weights of type `dtype`.
    ///
    /// # Errors
    /// When the type is not supported.
    pub fn to_json(&self, dtype: Kind) -> Result<Value, ConfigError> {
        let mut raw = self.raw.clone();
        let name = Value::from(dtype_name(dtype)?);
        for part in ["text_config", "vision_config"] {
            if let Some(Value::Object(part)) = raw.get_mut(part)
                && ["dtype", "torch_dtype"].iter().any(|field| part.contains_key(*field))
            {
                set_dtype(part, &name);
            }
        }
        set_dtype(&mut raw, &name);
        raw.insert("architectures".into(), json!(["MllamaForConditionalGeneration"]));
        Ok(Value::Object(raw))
    }
}

fn set_dtype(part: &mut Map<String, Value>, name: &Value) {
    let field = if part.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
    part.insert(field.into(), name.clone());
}

/// The text part as a Llama's `config.json`.
fn llama_fields(raw: &Map<String, Value>, mut text: Map<String, Value>, layers: usize) -> Map<String, Value> {
    let mut set = |name: &str, value: Value| _ = text.insert(name.into(), value);
    set("architectures", json!(["LlamaForCausalLM"]));
    set("model_type", json!("llama"));
    set("num_hidden_layers", json!(layers));
    // The defaults of transformers' class for missing fields.
    for (name, value) in [
        ("vocab_size", json!(128_256)),
        ("hidden_size", json!(4096)),
        ("intermediate_size", json!(14_336)),
        ("num_attention_heads", json!(32)),
        ("num_key_value_heads", json!(8)),
        ("rms_norm_eps", json!(1e-5)),
        ("max_position_embeddings", json!(131_072)),
    ] {
        text.entry(name).or_insert(value);
    }
    for name in ["dtype", "torch_dtype", "quantization_config"] {
        if let (false, Some(value)) = (text.contains_key(name), raw.get(name)) {
            text.insert(name.into(), value.clone());
        }
    }
    text
}

fn tower(fields: &Map<String, Value>) -> Result<TowerConfig, ConfigError> {
    let numbers = Numbers { part: "vision_config.", fields };
    let bad = |what: String| Err(ConfigError::Field(format!("vision_config.{what}")));
    let activation = fields.get("hidden_act").and_then(Value::as_str).unwrap_or("gelu");
    if activation != "gelu" {
        return bad(format!("hidden_act is {activation:?}, only \"gelu\" is supported"));
    }
    if numbers.size("num_channels", 3)? != 3 {
        return bad("num_channels must be 3".into());
    }
    let config = TowerConfig {
        hidden_size: numbers.size("hidden_size", 1280)?,
        intermediate_size: numbers.size("intermediate_size", 5120)?,
        attention_heads: numbers.size("attention_heads", 16)?,
        num_hidden_layers: numbers.size("num_hidden_layers", 32)? as usize,
        num_global_layers: numbers.size("num_global_layers", 8)? as usize,
        intermediate_layers_indices: match fields.get("intermediate_layers_indices") {
            None | Some(Value::Null) => vec![3, 7, 15, 23, 30],
            Some(_) => numbers.list("intermediate_layers_indices")?,
        },
        image_size: numbers.size("image_size", 448)?,
        patch_size: numbers.size("patch_size", 14)?,
        max_num_tiles: numbers.size("max_num_tiles", 4)?,
        supported_aspect_ratios: ratios(fields)?,
        norm_eps: fields.get("norm_eps").and_then(Value::as_f64).unwrap_or(1e-5),
    };
    if config.hidden_size % config.attention_heads != 0 {
        return bad(format!("hidden_size ({}) is not a multiple of attention_heads", config.hidden_size));
    }
    if let Some(layer) = config.intermediate_layers_indices.iter().find(|layer| **layer >= config.num_hidden_layers) {
        return bad(format!("intermediate_layers_indices names layer {layer} of {}", config.num_hidden_layers));
    }
    if config.patch_size > config.image_size {
        return bad(format!("patch_size ({}) is larger than image_size", config.patch_size));
    }
    let width = numbers.size("vision_output_dim", config.output_width())?;
    if width != config.output_width() {
        let expected = config.output_width();
        return bad(format!(
            "vision_output_dim is {width}; hidden_size and intermediate_layers_indices give {expected}"
        ));
    }
    Ok(config)
}

fn ratios(fields: &Map<String, Value>) -> Result<Vec<(i64, i64)>, ConfigError> {
    let list = match fields.get("supported_aspect_ratios") {
        None | Some(Value::Null) => {
            return Ok(vec![(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1)]);
        }
        Some(list) => list,
    };
    let pair = |value: &Value| Some((value.get(0)?.as_i64()?, value.get(1)?.as_i64()?));
    let pairs = list.as_array().and_then(|list| list.iter().map(pair).collect());
    pairs.ok_or_else(|| ConfigError::Field("vision_config.supported_aspect_ratios must be a list of pairs".into()))
}

/// Reads integers from a part of the file.
struct Numbers<'a> {
    part: &'a str,
    fields: &'a Map<String, Value>,
}

impl Numbers<'_> {
    fn bad(&self, name: &str, wanted: &str) -> ConfigError {
        let found = self.fields.get(name).unwrap_or(&Value::Null);
        ConfigError::Field(format!("{}{name} is {found}, {wanted} is expected", self.part))
    }

    fn size(&self, name: &str, default: i64) -> Result<i64, ConfigError> {
        match self.fields.get(name).filter(|value| !value.is_null()) {
            None => Ok(default),
            Some(value) => match value.as_i64() {
                Some(size @ 1..0x1_0000_0000) => Ok(size),
                _ => Err(self.bad(name, "a positive whole number")),
            },
        }
    }

    fn list(&self, name: &str) -> Result<Vec<usize>, ConfigError> {
        let list = self.fields.get(name).and_then(Value::as_array);
        let numbers = list.and_then(|list| list.iter().map(|v| v.as_u64().map(|n| n as usize)).collect());
        numbers.ok_or_else(|| self.bad(name, "a list of layers' numbers"))
    }
}
