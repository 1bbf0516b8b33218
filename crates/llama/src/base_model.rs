//! New base models: a configuration, a tokenizer, and random weights with Llama 3's initialisation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chat::Tokenizer;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use weights::side_files;

use crate::{Llama, LlamaConfig, ModelError};

/// If a configuration has no vocabulary size, the size is rounded up to a multiple of this.
const VOCABULARY_STEP: usize = 64;
/// Truncation of the normal distribution, in standard deviations: values beyond it are drawn again.
const CUTOFF: f64 = 3.0;

/// Inputs of a model to train from scratch.
#[derive(Debug, Clone)]
pub struct BaseModel {
    /// A Hugging Face `config.json`. Without `vocab_size` the vocabulary is the tokenizer's size, rounded up to a multiple of
    /// 64. Without `bos_token_id` and `eos_token_id` the tokenizer's ids are used.
    pub config: PathBuf,
    /// The folder with `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Seed of the weights.
    pub seed: u64,
}

impl BaseModel {
    /// Writes a model folder in float32, with the tokenizer's files.
    ///
    /// The weights are initialised as torchtitan initialises Llama 3. Norms are 1 and biases are 0. Matrices are normal with
    /// standard deviation 0.02 (or the configuration's `initializer_range`). In layer `l`, counted from 1, `o_proj`, `up_proj`
    /// and `down_proj` have this times `1/√(2l)`. The output head has `1/√hidden_size`, an untied embedding 1. All but the untied
    /// embedding are truncated at three standard deviations.
    ///
    /// An embedding that is tied to the head has `0.5/√hidden_size` (measured; torchtitan's Llamas are untied). With
    /// `1/√hidden_size` the logit of the current input token is about `√hidden_size` in a new model, and training first has to
    /// unlearn this.
    ///
    /// # Errors
    /// When the configuration or the tokenizer cannot be read, the tokenizer has more tokens than the configuration's
    /// vocabulary, or the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text =
            fs::read_to_string(&self.config).with_context(|| format!("cannot read {}", self.config.display()))?;
        let mut config: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", self.config.display()))?;
        ensure!(config.is_object(), "{} must hold an object", self.config.display());
        let tokenizer = Tokenizer::from_dir(&self.tokenizer)?;
        let size = tokenizer.vocab_size();
        let stated = config.get("vocab_size").cloned().unwrap_or(Value::Null);
        if stated.is_null() {
            config["vocab_size"] = json!(size.next_multiple_of(VOCABULARY_STEP));
        } else if let Some(stated) = stated.as_u64() {
            ensure!(
                size as u64 <= stated,
                "vocab_size {stated} of {} is less than the {size} tokens of {}",
                self.config.display(),
                self.tokenizer.display()
            );
        }
        for (key, token) in [("bos_token_id", "bos_token"), ("eos_token_id", "eos_token")] {
            let id = tokenizer.named_tokens().get(token).and_then(|token| tokenizer.id_of(token));
            if config.get(key).is_none_or(Value::is_null)
                && let Some(id) = id
            {
                config[key] = json!(id);
            }
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("config.json");
        fs::write(&path, format!("{config:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        let read = LlamaConfig::from_dir(folder).with_context(|| format!("in {}", self.config.display()))?;
        torch_ext::init();
        let range = config.get("initializer_range").and_then(Value::as_f64).unwrap_or(0.02);
        let tied = read.tie_word_embeddings;
        let law = Law { range, head: if tied { 0.5 } else { 1.0 } / (read.hidden_size as f64).sqrt(), tied };
        // Not libtorch's generator: the whole process shares its state.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let model = Llama::build::<ModelError>(read, |name, shape| Ok(law.draw(name, shape, &mut rng)))?;
        model.save(folder, None)?;
        side_files::copy(&self.tokenizer, folder)?;
        Ok(())
    }
}

/// Standard deviations of the parameters, by name.
struct Law {
    range: f64,
    head: f64,
    tied: bool,
}

impl Law {
    /// The standard deviation of a matrix, and its truncation in standard deviations.
    fn of(&self, name: &str) -> (f64, f64) {
        if name == "model.embed_tokens.weight" && !self.tied {
            return (1.0, f64::INFINITY);
        }
        if name == "model.embed_tokens.weight" || name == "lm_head.weight" {
            return (self.head, CUTOFF);
        }
        let layer = name.split('.').find_map(|part| part.parse::<u32>().ok());
        let depth = layer.map_or(1.0, |layer| 1.0 / (2.0 * f64::from(layer + 1)).sqrt());
        let deep = ["o_proj", "up_proj", "down_proj"].iter().any(|part| name.contains(part));
        (self.range * if deep { depth } else { 1.0 }, CUTOFF)
    }

    /// Draws a parameter in float32.
    fn draw(&self, name: &str, shape: &[i64], rng: &mut ChaCha8Rng) -> Tensor {
        if name.contains("norm") {
            return Tensor::ones(shape, (Kind::Float, Device::Cpu));
        }
        if name.ends_with(".bias") {
            return Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        }
        let (deviation, cutoff) = self.of(name);
        let values: Vec<f32> = Normal { rng, second: None }
            .filter(|number| number.abs() <= cutoff)
            .map(|number| (number * deviation) as f32)
            .take(shape.iter().product::<i64>() as usize)
            .collect();
        Tensor::from_slice(&values).reshape(shape)
    }
}

/// Standard normal numbers by the Box-Muller transform.
struct Normal<'a> {
    rng: &'a mut ChaCha8Rng,
    second: Option<f64>,
}

impl Iterator for Normal<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if let Some(second) = self.second.take() {
            return Some(second);
        }
        // 1 - u is never 0.
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.rng.random::<f64>()).sin_cos();
        self.second = Some(radius * sin);
        Some(radius * cos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFolder, NewModel};

    fn config(more: &Value) -> Value {
        let mut config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
            "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0, "hidden_act": "silu"});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    /// Writes a model with this configuration and the byte tokenizer; returns its folder.
    fn fresh(more: &Value, seed: u64) -> anyhow::Result<tempfile::TempDir> {
        let place = tempfile::tempdir()?;
        NewModel { hidden: 8, layers: 1, context: 16, seed: 0 }.write(&place.path().join("bytes"))?;
        fs::write(place.path().join("config.json"), config(more).to_string())?;
        let base = BaseModel { config: place.path().join("config.json"), tokenizer: place.path().join("bytes"), seed };
        base.write(&place.path().join("base"))?;
        Ok(place)
    }

    /// Mean, standard deviation and largest absolute value.
    fn moments(tensor: &Tensor) -> (f64, f64, f64) {
        (tensor.mean(None).double_value(&[]), tensor.std(true).double_value(&[]), tensor.abs().max().double_value(&[]))
    }

    #[test]
    fn weights_are_drawn_as_llama_3_are() {
        let place = fresh(&json!({"tie_word_embeddings": false}), 1).unwrap();
        let model = ModelFolder::load(&place.path().join("base"), None, Device::Cpu).unwrap();
        // 258 tokens are rounded up.
        assert_eq!(model.model.config().vocab_size, 320);
        assert_eq!(model.stop_ids, [257]);
        // A normal distribution truncated at three standard deviations has 0.9867 of the standard deviation.
        let cut = 0.9867;
        let mut seen = 0;
        for (name, tensor) in model.model.named_parameters() {
            let depth = |layer: f64| 0.02 / (2.0 * layer).sqrt();
            let expected = match name.as_str() {
                "model.embed_tokens.weight" => 1.0,
                "lm_head.weight" => cut / 8.0,
                "model.layers.0.self_attn.q_proj.weight" | "model.layers.2.mlp.gate_proj.weight" => cut * 0.02,
                "model.layers.0.self_attn.o_proj.weight" => cut * depth(1.0),
                "model.layers.2.mlp.down_proj.weight" | "model.layers.2.mlp.up_proj.weight" => cut * depth(3.0),
                "model.norm.weight" => {
                    assert_eq!(moments(&tensor), (1.0, 0.0, 1.0));
                    continue;
                }
                _ => continue,
            };
            let (mean, deviation, most) = moments(&tensor);
            let count = tensor.numel() as f64;
            assert!((deviation / expected - 1.0).abs() < 4.0 / (2.0 * count).sqrt(), "{name}: {deviation} {expected}");
            assert!(mean.abs() < 4.0 * expected / count.sqrt(), "{name}: {mean}");
            assert!(expected > 0.9 || most <= 3.0001 * expected / cut, "{name}: {most}");
            seen += 1;
        }
        assert_eq!(seen, 7);
    }

    #[test]
    fn a_seed_repeats_and_what_does_not_fit_is_said() {
        let weights = |place: &tempfile::TempDir| fs::read(place.path().join("base/model.safetensors")).unwrap();
        let tied = json!({"tie_word_embeddings": true, "initializer_range": 0.01, "vocab_size": 258});
        let (a, b, c) = (fresh(&tied, 1).unwrap(), fresh(&tied, 1).unwrap(), fresh(&tied, 2).unwrap());
        assert_eq!(weights(&a), weights(&b));
        assert_ne!(weights(&a), weights(&c));
        let model = Llama::load(&a.path().join("base"), None, Device::Cpu).unwrap();
        for (name, tensor) in model.named_parameters() {
            let (_, deviation, _) = moments(&tensor);
            match name.as_str() {
                "model.embed_tokens.weight" => assert!((deviation * 16.0 - 0.9867).abs() < 0.02, "{deviation}"),
                "model.layers.1.self_attn.q_proj.weight" => {
                    assert!((deviation * 100.0 - 0.9867).abs() < 0.05, "{deviation}");
                }
                _ => {}
            }
        }
        let small = fresh(&json!({"vocab_size": 100}), 1).unwrap_err().to_string();
        assert!(small.starts_with("vocab_size 100 of ") && small.contains("is less than the 258 tokens of"), "{small}");
    }
}
