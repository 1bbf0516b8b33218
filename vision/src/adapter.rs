//! The adapter between an encoder and a frozen language model: a norm and a projection of the encoder's states, gated cross-attention
//! layers, and the embedding of the image token.

use std::path::{Path, PathBuf};

use llama::{Linear, Llama, LlamaConfig, ModelError, read_weight};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::{Generator, OpError, catch};
use weights::Checkpoint;

use crate::block::LayerNorm;
use crate::cross::CrossLayer;
use crate::encoder::EncoderOptions;
use crate::sight::States;
use crate::{Result, VisionError};

/// The file of an adapter's settings.
pub const CONFIG: &str = "adapter.json";
/// The file of an adapter's weights.
pub const WEIGHTS: &str = "adapter.safetensors";
/// The folder of the encoder beside them.
pub const ENCODER: &str = "encoder";
/// The prefix of the encoder's parameters if they are trained.
pub const ENCODER_PREFIX: &str = "encoder.";

/// Factor on the initial weights of the projections that write to the residual stream. With it, the output of a new cross-attention layer
/// behind an open gate is about as large as the stream itself. A token's stream in SmolLM2-135M has a root mean square of 4 at layer 3, 7
/// in the middle and 22 at layer 27; with the usual weights a gate would have to open wide before a picture has an effect.
const OUTPUTS: f64 = 6.0;

/// The language model that an adapter was trained on. Its files are only read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beneath {
    /// Its folder.
    pub path: PathBuf,
    /// The digest of its folder, as in `run.json`.
    pub sha256: String,
}

/// The content of `adapter.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// The version of the folder's format: 1.
    pub format: u32,
    /// The language model.
    pub language_model: Beneath,
    /// For each cross-attention layer, the number of preceding layers of the language model; ascending.
    pub layers_before: Vec<usize>,
    /// Width of the encoder's states.
    pub feature_width: i64,
    /// The use of the encoder.
    #[serde(default)]
    pub encoder: EncoderOptions,
}

impl AdapterConfig {
    /// Reads `adapter.json` of a folder.
    ///
    /// # Errors
    /// When the file is missing or has another format.
    pub fn from_dir(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let wrong = |what: String| VisionError::Pictures(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| wrong(format!("{error}; is {} a model of `herd vision train`?", folder.display())))?;
        let config: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if config.format != 1 {
            return Err(wrong(format!("format is {}, this version reads 1", config.format)));
        }
        Ok(config)
    }

    /// A cross-attention layer before every `every`-th layer of a language model, as in Llama 3.2 Vision. The first one is before layer
    /// `every - 1`, because cross-attention before the first layers learns badly.
    #[must_use]
    pub fn layers_every(every: usize, layers: usize) -> Vec<usize> {
        (1..).map(|number| number * every.max(1) - 1).take_while(|before| *before < layers).collect()
    }
}

/// An adapter.
pub struct Adapter {
    /// `[1, hidden]`
    image_token: Tensor,
    norm: LayerNorm,
    projector: Linear,
    cross: Vec<(usize, CrossLayer)>,
    names: Vec<(String, Tensor)>,
}

impl Adapter {
    /// Builds an adapter for a language model from parameters that `parameter(name, shape)` delivers.
    ///
    /// # Errors
    /// The errors of `parameter`.
    pub fn build<E>(
        config: &AdapterConfig,
        text: &LlamaConfig,
        mut parameter: impl FnMut(&str, &[i64]) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let mut names = Vec::new();
        let mut get = |name: &str, shape: &[i64]| -> Result<Tensor, E> {
            let tensor = parameter(name, shape)?;
            names.push((name.to_owned(), tensor.shallow_clone()));
            Ok(tensor)
        };
        let (width, hidden) = (config.feature_width, text.hidden_size);
        let image_token = get("image_token", &[1, hidden])?;
        let norm = LayerNorm::build("feature_norm", width, 1e-5, &mut get)?;
        let weight = get("projector.weight", &[hidden, width])?;
        let projector = Linear { weight, bias: Some(get("projector.bias", &[hidden])?), lora: None };
        let cross = config.layers_before.iter().map(|&before| {
            Ok((before, CrossLayer::build(text, (format!("layers.{before}").as_str(), before), &mut get)?))
        });
        let cross = cross.collect::<Result<Vec<_>, E>>()?;
        Ok(Self { image_token, norm, projector, cross, names })
    }

    /// Makes a new adapter. Gates are zero, so that the language model is unchanged; the image token's embedding is the mean of all
    /// others; projections are uniform with variance `1 / inputs`, those that write to the stream [`OUTPUTS`] times as large.
    ///
    /// # Errors
    /// When the memory is not sufficient.
    pub fn new(config: &AdapterConfig, text: &Llama, seed: u64) -> Result<Self> {
        let mut generator = Generator::new(Device::Cpu, seed)?;
        let (kind, device) = (text.kind(), text.device());
        let mean = catch(|| {
            let table = text.embed(&Tensor::arange(text.config().vocab_size, (Kind::Int64, device)).unsqueeze(0))?;
            Ok::<_, OpError>(table.squeeze_dim(0).to_kind(Kind::Float).mean_dim([0_i64].as_slice(), true, Kind::Float))
        })?;
        Ok(Self::build(config, text.config(), |name, shape| {
            let values = if name == "image_token" {
                mean.copy()
            } else if name.ends_with("_gate") || name.ends_with(".bias") {
                Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?
            } else if shape.len() == 1 {
                Tensor::f_ones(shape, (Kind::Float, Device::Cpu))?
            } else {
                let is_output = [".o_proj.weight", ".down_proj.weight"].iter().any(|end| name.ends_with(end));
                let scale = if is_output { OUTPUTS } else { 1.0 };
                let bound = scale * (3.0 / shape[1] as f64).sqrt();
                let uniform = generator.uniform(shape)?;
                catch(|| Ok::<_, OpError>((uniform * 2.0 - 1.0) * bound))?
            };
            catch(|| Ok::<_, OpError>(values.to_device(device).to_kind(kind)))
        })?)
    }

    /// Standardises the encoder's states: sets the weights of the norm before the projection so that each feature has mean 0 and variance
    /// 1 over all positions of these pictures. `features` are the encoder's states `[places, width]` of some pictures. The states have a
    /// large component that all positions share; with it, all keys are almost equal, and attention is slow to learn the differences.
    ///
    /// # Errors
    /// When there are no features, shapes do not match, or memory is not sufficient.
    pub fn standardise(&mut self, features: &[Tensor]) -> Result<(), OpError> {
        let _no_grad = tch::no_grad_guard();
        catch(|| {
            let all = Tensor::cat(features, 0).to_device(self.image_token.device()).to_kind(Kind::Float);
            let normal = self.norm.normal(&all);
            let mean = normal.mean_dim([0_i64].as_slice(), false, Kind::Float);
            // A constant feature carries no information, so it is not amplified.
            let deviation = (normal - &mean).square().mean_dim([0_i64].as_slice(), false, Kind::Float).sqrt() + 1e-3;
            self.norm.set(&deviation.reciprocal(), &(-mean / &deviation));
            Ok::<_, OpError>(())
        })
        .map_err(|error: OpError| error.context("the statistics of the encoder's states"))
    }

    /// Loads the adapter of a folder in the type and on the device of the language model.
    ///
    /// # Errors
    /// When the folder is invalid, or belongs to a language model of other dimensions.
    pub fn load(folder: &Path, config: &AdapterConfig, text: &Llama) -> Result<Self> {
        let path = folder.join(WEIGHTS);
        let checkpoint = Checkpoint::open(&path)?;
        let layers = text.config().num_hidden_layers;
        if let Some(before) = config.layers_before.iter().find(|before| **before > layers) {
            return Err(VisionError::Pictures(format!(
                "{}: a cross-attention layer stands behind {before} layers, and the language model has {layers}",
                folder.join(CONFIG).display()
            )));
        }
        let mut used = 0;
        let adapter = Self::build(config, text.config(), |name, shape| {
            used += 1;
            read_weight(&checkpoint, &path, name, shape, text.kind(), text.device())
        })?;
        if used < checkpoint.len() {
            let known: Vec<String> = adapter.names.iter().map(|(name, _)| name.clone()).collect();
            let first = checkpoint.names().find(|name| !known.iter().any(|known| known == name)).unwrap_or_default();
            let (folder, first) = (path.display().to_string(), first.to_owned());
            return Err(ModelError::Unused { folder, count: checkpoint.len() - used, first }.into());
        }
        Ok(adapter)
    }

    /// All parameters by their names on disk; the tensors are shared with the adapter.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.names.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// The cross-attention layers, each with the number of preceding layers of the language model.
    #[must_use]
    pub fn cross_layers(&self) -> &[(usize, CrossLayer)] {
        &self.cross
    }

    /// The keys and values of the cross-attention layers, from the encoder's states `[places, width]` of each picture.
    ///
    /// # Errors
    /// When shapes do not match, or memory is not sufficient.
    pub fn states(&self, features: &[Tensor]) -> Result<States, OpError> {
        catch(|| {
            let places = features.iter().map(|one| Ok(one.size2()?.0)).collect::<Result<Vec<_>, OpError>>()?;
            let all = Tensor::cat(features, 0).to_device(self.image_token.device()).to_kind(self.image_token.kind());
            let values = self.projector.forward(&self.norm.forward(&all), None)?;
            Ok(States { values, places })
        })
        .map_err(|error: OpError| error.context("projector"))
    }

    /// Inserts the image token's embedding into `[rows, seq, hidden]` at `places` (int64 indices over all rows).
    ///
    /// # Errors
    /// When an index is out of range.
    pub fn with_image_tokens(&self, embedded: &Tensor, places: &Tensor) -> Result<Tensor, OpError> {
        catch(|| {
            let rows = self.image_token.expand([places.numel() as i64, -1], false);
            Ok(embedded.flatten(0, 1).index_copy(0, places, &rows).view_as(embedded))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_where_llama_has_them() {
        // Llama 3.2 Vision 11B has 8 of 40 layers at 3, 8, ..., 38, which precede its own layers 3, 7, ..., 31.
        assert_eq!(AdapterConfig::layers_every(4, 32), [3, 7, 11, 15, 19, 23, 27, 31]);
        assert_eq!(AdapterConfig::layers_every(2, 3), [1]);
        assert_eq!(AdapterConfig::layers_every(1, 2), [0, 1]);
        assert!(AdapterConfig::layers_every(4, 3).is_empty());
    }

    /// A random language model with two layers of width 16, and an adapter with a layer before each, for states of 6 features.
    fn tiny() -> (tempfile::TempDir, Llama, Adapter) {
        torch_ext::init();
        let folder = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 16, layers: 2, context: 64, seed: 0 }.write(folder.path()).unwrap();
        let text = Llama::load(folder.path(), Some(Kind::Float), Device::Cpu).unwrap();
        let config = AdapterConfig {
            format: 1,
            language_model: Beneath { path: folder.path().to_owned(), sha256: String::new() },
            layers_before: vec![0, 1],
            feature_width: 6,
            encoder: EncoderOptions::default(),
        };
        let adapter = Adapter::new(&config, &text, 1).unwrap();
        (folder, text, adapter)
    }

    #[test]
    fn states_are_standardised_over_places() {
        let (_folder, _, mut adapter) = tiny();
        let mut generator = Generator::new(Device::Cpu, 3).unwrap();
        // A large shared component, and features of different spread.
        let shared = Tensor::from_slice(&[9.0_f32, -7.0, 5.0, 0.0, 3.0, -4.0]);
        let spread = Tensor::from_slice(&[1.0_f32, 1.5, 0.5, 2.0, 0.8, 0.7]);
        let features: Vec<Tensor> =
            (0..3).map(|_| &shared + (generator.uniform(&[40, 6]).unwrap() - 0.5) * &spread).collect();
        let all = Tensor::cat(&features, 0);
        let moments = |adapter: &Adapter| {
            let normal = adapter.norm.forward(&all);
            let mean = normal.mean_dim([0_i64].as_slice(), false, Kind::Float).abs().max().double_value(&[]);
            let off = (normal.std_dim([0_i64].as_slice(), false, false) - 1.0).abs().max().double_value(&[]);
            (mean, off)
        };
        let before = moments(&adapter);
        assert!(before.0 > 1.0 && before.1 > 0.5, "{before:?}");
        adapter.standardise(&features).unwrap();
        let (mean, off) = moments(&adapter);
        // The deviations are about 0.02 or more, with a floor of 1e-3.
        assert!(mean < 1e-4 && off < 0.1, "{mean} {off}");
        let saved = adapter.named_parameters().into_iter().find(|(name, _)| name == "feature_norm.weight").unwrap().1;
        assert!(saved.min().double_value(&[]) > 1.5, "what is saved is what computes: {saved:?}");
    }

    #[test]
    fn outputs_are_larger_than_other_projections() {
        let (_folder, _, adapter) = tiny();
        for (name, tensor) in adapter.named_parameters().into_iter().filter(|(name, _)| name.contains("_proj")) {
            let scale = if name.contains("o_proj") || name.contains("down_proj") { OUTPUTS } else { 1.0 };
            let bound = scale * (3.0 / tensor.size()[1] as f64).sqrt();
            let largest = tensor.abs().max().double_value(&[]);
            assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} of {bound}");
        }
    }
}
