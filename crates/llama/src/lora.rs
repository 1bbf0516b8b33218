//! LoRA adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use weights::{Checkpoint, SafetensorsWriter};

use crate::linear::Lora;
use crate::load::{ModelError, dtype, read, to_bytes};
use crate::model::Llama;

const PREFIX: &str = "base_model.model.";

/// The fields of `adapter_config.json` that change what the adapter computes. Fields that ask for something this crate
/// does not compute are refused when the file is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// Always `CAUSAL_LM` here.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Where the base model was loaded from.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank of the update.
    pub r: i64,
    /// The update is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Dropout on the update's input in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Scale by `lora_alpha / sqrt(r)` instead (rank-stabilised LoRA).
    #[serde(default)]
    pub use_rslora: bool,
    /// Names of the projections (`q_proj`, ...), or `all-linear`.
    pub target_modules: TargetModules,
    /// Ranks that differ by module.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, i64>,
    /// Alphas that differ by module.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Which biases are trained; only `none`.
    #[serde(default = "none")]
    pub bias: String,
    /// Modules trained in full; only none.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// DoRA; not supported.
    #[serde(default)]
    pub use_dora: bool,
    /// Weights stored transposed; not supported.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// PEFT marks saved adapters so.
    #[serde(default)]
    pub inference_mode: bool,
}

fn none() -> String {
    "none".into()
}

/// `target_modules`: a list of names, or one word.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Names, each of which matches a module that is called so or ends in `.name`.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression over the whole module name.
    Pattern(String),
}

impl LoraConfig {
    /// Reads `adapter_config.json` of an adapter's folder; what this crate does not compute is refused.
    pub fn from_dir(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ModelError::Io { path: path.display().to_string(), source })?;
        let config: Self =
            serde_json::from_str(&text).map_err(|e| ModelError::Adapter(format!("{}: {e}", path.display())))?;
        config.check(&path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let refuse = |what: String| Err(ModelError::Adapter(format!("{}: {what}", path.display())));
        if self.peft_type != "LORA" {
            return refuse(format!("peft_type is {:?}, only \"LORA\" is supported", self.peft_type));
        }
        if self.r < 1 {
            return refuse(format!("r is {}, it must be at least 1", self.r));
        }
        if self.use_dora || self.fan_in_fan_out || self.bias != "none" {
            return refuse("use_dora, fan_in_fan_out and bias other than \"none\" are not supported".into());
        }
        match &self.modules_to_save {
            Some(modules) if !modules.is_empty() => {
                refuse(format!("modules_to_save ({}) is not supported", modules.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The factor on `B A` for module `name`.
    pub fn scale(&self, name: &str, rank: i64) -> f64 {
        let alpha = pattern_value(&self.alpha_pattern, name).unwrap_or(self.lora_alpha);
        if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }

    fn rank(&self, name: &str) -> i64 {
        pattern_value(&self.rank_pattern, name).unwrap_or(self.r)
    }

    fn targets(&self, name: &str) -> Result<bool, ModelError> {
        match &self.target_modules {
            TargetModules::Names(names) => Ok(names.iter().any(|target| is_called(name, target))),
            TargetModules::Pattern(pattern) if pattern == "all-linear" => Ok(true),
            TargetModules::Pattern(pattern) => {
                let regex = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|e| {
                    ModelError::Adapter(format!("target_modules {pattern:?} is no regular expression: {e}"))
                })?;
                Ok(regex.is_match(name))
            }
        }
    }
}

/// Whether the module `name` is `target` or ends in `.target`.
fn is_called(name: &str, target: &str) -> bool {
    name.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn pattern_value<T: Copy>(patterns: &BTreeMap<String, T>, name: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| is_called(name, pattern.trim_start_matches('^'))).map(|(_, &value)| value)
}

impl Llama {
    /// Puts the adapter in `folder` on this model and returns its configuration. Every tensor of the adapter must have a
    /// place, and every targeted projection its two tensors.
    pub fn load_adapter(&mut self, folder: &Path) -> Result<LoraConfig, ModelError> {
        let path = folder.join("adapter_config.json");
        let config = LoraConfig::from_dir(folder)?;
        let file = folder.join("adapter_model.safetensors");
        let checkpoint = Checkpoint::open(&file)?;
        let (kind, device) = (self.kind(), self.device());
        let used = self.put_adapter(&config, |key, shape| read(&checkpoint, &file, key, &shape, kind, device))?;
        let unused: Vec<&str> = checkpoint.names().filter(|name| !used.contains(*name)).collect();
        match unused.first() {
            None if used.is_empty() => Err(ModelError::Adapter(format!(
                "{}: target_modules matches no projection of this model",
                path.display()
            ))),
            None => Ok(config),
            Some(first) => Err(ModelError::Adapter(format!(
                "{}: {} tensors have no place in this model, the first is {first}; was it trained on another base model?",
                file.display(),
                unused.len()
            ))),
        }
    }

    /// Puts an adapter on this model whose tensors are at hand, under PEFT's names; others among them are passed over.
    pub fn set_adapter(&mut self, config: &LoraConfig, tensors: &HashMap<&str, &Tensor>) -> Result<(), ModelError> {
        let (kind, device) = (self.kind(), self.device());
        self.put_adapter(config, |key, shape| match tensors.get(key) {
            Some(tensor) if tensor.size() == shape => Ok(tensor.to_device(device).to_kind(kind)),
            _ => Err(ModelError::Adapter(format!("there is no {key} of shape {shape:?} among its tensors"))),
        })?;
        Ok(())
    }

    /// Puts the tensors that `get(name, shape)` delivers on the projections that `config` targets. Returns their names.
    fn put_adapter(
        &mut self,
        config: &LoraConfig,
        mut get: impl FnMut(&str, [i64; 2]) -> Result<Tensor, ModelError>,
    ) -> Result<HashSet<String>, ModelError> {
        let mut used = HashSet::new();
        for (name, linear) in self.linears_mut() {
            if !config.targets(&name)? {
                continue;
            }
            let rank = config.rank(&name);
            let (out, input) = linear.weight.size2()?;
            let mut get = |part: &str, shape: [i64; 2]| {
                let key = format!("{PREFIX}{name}.{part}.weight");
                let tensor = get(&key, shape)?;
                used.insert(key);
                Ok::<_, ModelError>(tensor)
            };
            let (a, b) = (get("lora_A", [rank, input])?, get("lora_B", [out, rank])?);
            linear.lora = Some(Lora { a, b, scale: config.scale(&name, rank), dropout: config.lora_dropout });
        }
        Ok(used)
    }

    /// Puts fresh updates on the projections that `config` targets: A uniform as in PEFT (Kaiming, a = sqrt 5), B zero,
    /// so that the model computes what it did. `uniform(name, shape, bound)` draws in ±bound.
    pub fn add_adapter(
        &mut self,
        config: &LoraConfig,
        mut uniform: impl FnMut(&str, [i64; 2], f64) -> Tensor,
    ) -> Result<usize, ModelError> {
        let mut count = 0;
        for (name, linear) in self.linears_mut() {
            if !config.targets(&name)? {
                continue;
            }
            let rank = config.rank(&name);
            let (out, input) = linear.weight.size2()?;
            let options = (linear.weight.kind(), linear.weight.device());
            let a = uniform(&name, [rank, input], 1.0 / (input as f64).sqrt());
            let b = Tensor::zeros([out, rank], options);
            linear.lora = Some(Lora {
                a: a.to_device(options.1).to_kind(options.0),
                b,
                scale: config.scale(&name, rank),
                dropout: config.lora_dropout,
            });
            count += 1;
        }
        Ok(count)
    }

    /// Writes the adapter that is on this model into `folder`, as PEFT does.
    pub fn save_adapter(&mut self, folder: &Path, config: &LoraConfig) -> Result<(), ModelError> {
        let mut tensors = Vec::new();
        for (name, linear) in self.linears_mut() {
            if let Some(Lora { a, b, .. }) = &linear.lora {
                tensors.push((format!("{PREFIX}{name}.lora_A.weight"), a.shallow_clone()));
                tensors.push((format!("{PREFIX}{name}.lora_B.weight"), b.shallow_clone()));
            }
        }
        let kind = tensors.first().map_or(Kind::Float, |(_, tensor)| tensor.kind());
        let dtype = dtype(kind).ok_or_else(|| ModelError::Adapter(format!("an adapter of type {kind:?}")))?;
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        let declared = tensors.iter().map(|(name, tensor)| (name.clone(), dtype, shape(tensor)));
        let mut writer = SafetensorsWriter::create_file(&folder.join("adapter_model.safetensors"), declared.collect())?;
        for (name, tensor) in &tensors {
            writer.write(name, &to_bytes(tensor, kind)?)?;
        }
        writer.finish()?;
        let path = folder.join("adapter_config.json");
        let text = serde_json::to_string_pretty(config).expect("a configuration prints");
        std::fs::write(&path, text + "\n").map_err(|source| ModelError::Io { path: path.display().to_string(), source })
    }

    /// Adds every low-rank update to its weight; the model then stands alone.
    pub fn merge_adapter(&mut self) {
        for (_, linear) in self.linears_mut() {
            linear.merge();
        }
    }
}
