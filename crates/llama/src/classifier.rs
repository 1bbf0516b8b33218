//! A decoder with a classification head instead of the language model head, as in Hugging Face's
//! `LlamaForSequenceClassification`: `score.weight` is applied to the last hidden state of a text's last token. A reward model
//! has one label.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use torch_ext::OpError;
use weights::{Checkpoint, SafetensorsWriter};

use crate::config::LlamaConfig;
use crate::linear::product;
use crate::load::{ModelError, dtype, float32_weight, read, stored_kind, to_bytes, weights_kind};
use crate::lora::LoraConfig;
use crate::model::Llama;

/// Name of the head in a checkpoint.
const SCORE: &str = "score.weight";
/// Module name of the head.
const MODULE: &str = "score";

/// A decoder and its classification head. The decoder may be any [`Llama`]; [`SequenceClassifier::score`] is the head.
pub struct SequenceClassifier {
    /// The decoder; its output head, if it has one, is not used.
    pub model: Llama,
    /// The head, `[labels, hidden]`, always in float32.
    pub score: Tensor,
}

impl SequenceClassifier {
    /// Loads a sequence-classification folder, with the weights in `kind` or as stored. If `folder` is a LoRA adapter that was
    /// trained with a head (PEFT's `modules_to_save`), loads the base model that it names and merges the adapter into it.
    pub fn load(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self, ModelError> {
        if folder.join("adapter_config.json").is_file() {
            return Self::load_adapter(folder, kind, device);
        }
        let checkpoint = Checkpoint::open(folder)?;
        let kind = match kind {
            Some(kind) => kind,
            None => stored_kind(&checkpoint, folder)?,
        };
        let model = body(folder, &checkpoint, kind, device)?;
        let labels = checkpoint.tensor(SCORE)?.shape.first().copied().unwrap_or_default() as i64;
        let score = read(&checkpoint, folder, SCORE, &[labels, model.config().hidden_size], Kind::Float, device)?;
        Ok(Self { model, score })
    }

    fn load_adapter(folder: &Path, kind: Option<Kind>, device: Device) -> Result<Self, ModelError> {
        let config = LoraConfig::with_modules(folder, &[MODULE])?;
        let base = config.base()?;
        let kind = match kind {
            Some(kind) => kind,
            None => weights_kind(&base)?,
        };
        let file = folder.join("adapter_model.safetensors");
        let adapter = Checkpoint::open(&file)?;
        let name = format!("base_model.model.{SCORE}");
        let labels = adapter.tensor(&name)?.shape.first().copied().unwrap_or_default() as i64;
        // Merge in float32 and round once.
        let mut model = Llama::load(&base, Some(Kind::Float), device)?;
        let score = read(&adapter, &file, &name, &[labels, model.config().hidden_size], Kind::Float, device)?;
        let mut tensors = HashMap::from([(name, score.shallow_clone())]);
        for name in adapter.names() {
            if let Some(tensor) = float32_weight(&adapter, &file, name)? {
                tensors.insert(name.to_owned(), tensor);
            }
        }
        model.set_adapter(&config, &tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect())?;
        model.merge_adapter();
        Ok(Self { model: model.to_kind(kind), score })
    }

    /// The folder that holds the tokenizer and the chat template of a classifier. For an adapter, it is the base model's folder.
    ///
    /// # Errors
    /// When an adapter's base model is missing.
    pub fn texts(folder: &Path) -> Result<PathBuf, ModelError> {
        if folder.join("adapter_config.json").is_file() {
            return LoraConfig::with_modules(folder, &[MODULE])?.base();
        }
        Ok(folder.to_owned())
    }

    /// The logits of the labels `[..., labels]`, from the final hidden states `[..., hidden]` of each text's last token. The
    /// product is in float32: in bfloat16, most of the scores of a hundred answers to one question would be equal.
    ///
    /// # Errors
    /// When shapes do not match.
    pub fn logits(&self, hidden_states: &Tensor) -> Result<Tensor, OpError> {
        product(&hidden_states.f_to_kind(Kind::Float)?, &self.score.f_to_kind(Kind::Float)?, None)
    }

    /// All parameters under their names in a checkpoint, the head last. The tensors share memory with the model.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let mut all = self.model.named_parameters();
        all.retain(|(name, _)| name != "lm_head.weight");
        all.push((SCORE.to_owned(), self.score.shallow_clone()));
        all
    }

    /// The `config.json` of this model with weights of type `kind`. `pad` is the id of the padding token. It must not end any
    /// text, because transformers treats the last id that is not `pad` as the last token.
    pub fn to_json(&self, kind: Kind, pad: u32) -> Result<Value, ModelError> {
        let mut config = self.model.config().to_json(kind)?;
        let labels = self.score.size()[0];
        let names = (0..labels).map(|label| (label.to_string(), json!(format!("LABEL_{label}"))));
        let numbers = (0..labels).map(|label| (format!("LABEL_{label}"), json!(label)));
        config["architectures"] = json!([self.model.config().family.classifier()]);
        config["id2label"] = Value::Object(names.collect());
        config["label2id"] = Value::Object(numbers.collect());
        config["pad_token_id"] = json!(pad);
        Ok(config)
    }

    /// Writes `config.json` and the weights into `folder`, in `kind`; see [`SequenceClassifier::to_json`] for `pad`.
    pub fn save(&self, folder: &Path, kind: Kind, pad: u32) -> Result<(), ModelError> {
        let parameters = self.named_parameters();
        let dtype = dtype(kind).ok_or_else(|| ModelError::Adapter(format!("weights of type {kind:?}")))?;
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        let declared = parameters.iter().map(|(name, tensor)| (name.clone(), dtype, shape(tensor)));
        let mut writer = SafetensorsWriter::create(folder, declared.collect())?;
        let _no_grad = tch::no_grad_guard();
        for (name, tensor) in &parameters {
            writer.write(name, &to_bytes(tensor, kind)?)?;
        }
        writer.finish()?;
        let path = folder.join("config.json");
        let text = format!("{:#}\n", self.to_json(kind, pad)?);
        std::fs::write(&path, text).map_err(|cause| ModelError::Io { path: path.display().to_string(), cause })
    }
}

/// Loads the decoder without an output head.
fn body(folder: &Path, checkpoint: &Checkpoint, kind: Kind, device: Device) -> Result<Llama, ModelError> {
    let mut config = LlamaConfig::from_dir(folder)?;
    // A tied head needs no tensor of its own.
    config.tie_word_embeddings = true;
    let mut used = HashSet::from([SCORE.to_owned()]);
    let model = Llama::build(config, |name, shape| {
        used.insert(name.to_owned());
        read(checkpoint, folder, name, shape, kind, device)
    })?;
    crate::load::check_rest(checkpoint, folder, &used, false)?;
    Ok(model)
}
