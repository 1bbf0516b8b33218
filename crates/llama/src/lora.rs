//! LoRA adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};
use weights::{Checkpoint, SafetensorsWriter};

use crate::linear::Lora;
use crate::load::{ModelError, dtype, read, to_bytes};
use crate::locate;
use crate::model::Llama;

const PREFIX: &str = "base_model.model.";

/// The fields of `adapter_config.json` that affect the computation of the adapter. A field with an unsupported value is refused
/// when the file is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// PEFT's task type: `CAUSAL_LM`, or another task for training stages with a head of their own.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Path or name of the base model.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank of the updates.
    pub r: i64,
    /// Scaling: the update is multiplied by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Dropout rate of the update's input in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Whether the update is multiplied by `lora_alpha / sqrt(r)` instead (rank-stabilised LoRA).
    #[serde(default)]
    pub use_rslora: bool,
    /// Names of the projections (`q_proj`, ...), or `all-linear`.
    pub target_modules: TargetModules,
    /// Ranks of single modules, by regular expression for the end of the module's name.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, i64>,
    /// Alphas of single modules, with keys as in `rank_pattern`.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Which biases are trained; only `none` is supported.
    #[serde(default = "none")]
    pub bias: String,
    /// Modules trained fully; none, or those that [`LoraConfig::with_modules`] allows.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// DoRA; not supported.
    #[serde(default)]
    pub use_dora: bool,
    /// Weights stored transposed; not supported.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// PEFT sets this in saved adapters.
    #[serde(default)]
    pub inference_mode: bool,
    /// Further conditions on the targeted modules.
    #[serde(flatten)]
    pub scope: Scope,
}

/// Restricts the targets of an adapter; the default restricts nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Modules that are excluded although `target_modules` names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
    /// The layers that have an update; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_to_transform: Option<Layers>,
    /// The name before a layer's number in a module's name (`layers`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_pattern: Option<TargetModules>,
    /// All other fields of the file. Those that affect the computation of the adapter are refused.
    #[serde(flatten, skip_serializing)]
    pub other: BTreeMap<String, Value>,
}

/// `layers_to_transform`: one layer or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Layers {
    /// One layer.
    One(usize),
    /// Several layers.
    Several(Vec<usize>),
}

/// Fields of PEFT that describe the origin or the initialisation of an adapter and do not affect its computation.
const OF_NO_EFFECT: [&str; 12] = [
    "auto_mapping",
    "revision",
    "peft_version",
    "base_model_class",
    "parent_library",
    "megatron_core",
    "megatron_config",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
];
/// Values of `init_lora_weights` that leave the weights of the base model unchanged.
const BASE_STAYS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

fn none() -> String {
    "none".into()
}

/// `target_modules`: a list of names, or one string.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Names. Each matches modules with this name and modules whose name ends in `.name`.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression over the whole module name.
    Pattern(String),
}

impl LoraConfig {
    /// Reads `adapter_config.json` of an adapter's folder. Unsupported fields are refused.
    pub fn from_dir(folder: &Path) -> Result<Self, ModelError> {
        Self::with_modules(folder, &[])
    }

    /// As [`LoraConfig::from_dir`]. The modules in `saved` may be trained fully beside the updates, for example `score`, the head
    /// of a reward model.
    pub fn with_modules(folder: &Path, saved: &[&str]) -> Result<Self, ModelError> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| ModelError::Io { path: path.display().to_string(), cause })?;
        let config: Self =
            serde_json::from_str(&text).map_err(|e| ModelError::Adapter(format!("{}: {e}", path.display())))?;
        config.check(&path, saved)?;
        Ok(config)
    }

    fn check(&self, path: &Path, saved: &[&str]) -> Result<(), ModelError> {
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
        for (name, value) in &self.scope.other {
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if name == "init_lora_weights" {
                let changes = value.as_str().filter(|how| !BASE_STAYS.contains(how));
                if let Some(how) = changes {
                    return refuse(format!(
                        "init_lora_weights is {how:?}, which changes the base model's weights when the adapter is made: \
                         convert it to a plain adapter first (PEFT: save_pretrained with \
                         path_initial_model_for_weight_conversion), or merge it with PEFT"
                    ));
                }
            } else if !empty && !OF_NO_EFFECT.contains(&name.as_str()) {
                return refuse(format!("{name} is not supported (it is {value}); merge the adapter with PEFT first"));
            }
        }
        match &self.modules_to_save {
            Some(modules) if modules.iter().any(|module| !saved.contains(&module.as_str())) => {
                refuse(format!("modules_to_save ({}) is not supported", modules.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The folder of the base model of the adapter.
    ///
    /// # Errors
    /// When the configuration does not name a base model, or the base model does not exist.
    pub fn base(&self) -> Result<PathBuf, ModelError> {
        let named = self.base_model_name_or_path.as_deref();
        let named = named.ok_or_else(|| ModelError::Adapter("the adapter does not name its base model".into()))?;
        locate::locate(named).map_err(|error| {
            ModelError::Adapter(format!("the adapter's base model, base_model_name_or_path: {error:#}"))
        })
    }

    /// The factor of the update `B A` of rank `rank` in module `name`.
    pub fn scale(&self, name: &str, rank: i64) -> f64 {
        let alpha = pattern_value(&self.alpha_pattern, name).unwrap_or(self.lora_alpha);
        if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }

    fn rank(&self, name: &str) -> i64 {
        pattern_value(&self.rank_pattern, name).unwrap_or(self.r)
    }

    fn targets(&self, name: &str) -> Result<bool, ModelError> {
        let all = matches!(&self.target_modules, TargetModules::Pattern(pattern) if pattern == "all-linear");
        if !all && !self.target_modules.matches("target_modules", name)? {
            return Ok(false);
        }
        if let Some(excluded) = &self.scope.exclude_modules
            && excluded.matches("exclude_modules", name)?
        {
            return Ok(false);
        }
        let Some(layers) = &self.scope.layers_to_transform else { return Ok(true) };
        let wanted = match layers {
            Layers::One(layer) => std::slice::from_ref(layer),
            Layers::Several(layers) => layers,
        };
        Ok(wanted.is_empty() || self.layer(name).is_some_and(|layer| wanted.contains(&layer)))
    }

    /// The index of the layer that a module belongs to, as PEFT finds it: the number after `layers_pattern`, or after any name.
    fn layer(&self, name: &str) -> Option<usize> {
        let patterns = match &self.scope.layers_pattern {
            Some(TargetModules::Names(names)) => names.clone(),
            Some(TargetModules::Pattern(one)) if !one.is_empty() => vec![one.clone()],
            _ => Vec::new(),
        };
        let parts: Vec<&str> = name.split('.').collect();
        parts.windows(2).find_map(|pair| {
            let named = patterns.is_empty() || patterns.iter().any(|pattern| pattern == pair[0]);
            pair[1].parse().ok().filter(|_| named)
        })
    }
}

impl TargetModules {
    /// Whether a module name matches. Names of a list match its end; a regular expression matches the whole name.
    fn matches(&self, field: &str, name: &str) -> Result<bool, ModelError> {
        match self {
            Self::Names(names) => Ok(names.iter().any(|target| is_called(name, target))),
            Self::Pattern(pattern) => {
                let regex = regex::Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|e| ModelError::Adapter(format!("{field} {pattern:?} is no regular expression: {e}")))?;
                Ok(regex.is_match(name))
            }
        }
    }
}

/// Whether the module `name` is `target`, or its name ends in `.target`.
pub fn is_called(name: &str, target: &str) -> bool {
    name.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The value of the first matching key. Keys are regular expressions that match the end of a module's name, from a dot on.
fn pattern_value<T: Copy>(patterns: &BTreeMap<String, T>, name: &str) -> Option<T> {
    let matches = |pattern: &String| {
        // PEFT: re.match(rf"(.*\.)?({key})$", name).
        let regex = regex::Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
        regex.map_or_else(|_| is_called(name, pattern), |regex| regex.is_match(name))
    };
    patterns.iter().find(|(pattern, _)| matches(pattern)).map(|(_, &value)| value)
}

impl Llama {
    /// Loads the adapter in `folder` onto this model and returns its configuration. Every tensor of the adapter must belong to
    /// a projection, and every targeted projection must have its two tensors.
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
            Some(first) if ["lm_head.lora", "embed_tokens.lora"].iter().any(|part| first.contains(part)) => {
                Err(ModelError::Adapter(format!(
                    "{}: an update of the embeddings or of the output head is not supported (the tensor {first}); merge the \
                     adapter with PEFT first",
                    file.display()
                )))
            }
            Some(first) => Err(ModelError::Adapter(format!(
                "{}: {} tensors have no place in this model, the first is {first}; was it trained on another base model?",
                file.display(),
                unused.len()
            ))),
        }
    }

    /// Sets an adapter on this model from tensors under PEFT's names. Other tensors are ignored.
    pub fn set_adapter(&mut self, config: &LoraConfig, tensors: &HashMap<&str, &Tensor>) -> Result<(), ModelError> {
        let (kind, device) = (self.kind(), self.device());
        self.put_adapter(config, |key, shape| match tensors.get(key) {
            Some(tensor) if tensor.size() == shape => Ok(tensor.to_device(device).to_kind(kind)),
            _ => Err(ModelError::Adapter(format!("there is no {key} of shape {shape:?} among its tensors"))),
        })?;
        Ok(())
    }

    /// Sets the tensors that `get(name, shape)` returns on the projections that `config` targets. Returns the names of the
    /// tensors.
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

    /// Adds new updates to the projections that `config` targets: A is uniform as in PEFT (Kaiming, a = sqrt 5) and B is zero,
    /// so the output of the model does not change. `uniform(name, shape, bound)` draws from ±bound. Returns the number of updates.
    pub fn add_adapter(
        &mut self,
        config: &LoraConfig,
        mut uniform: impl FnMut(&str, [i64; 2], f64) -> Result<Tensor, ModelError>,
    ) -> Result<usize, ModelError> {
        let mut count = 0;
        for (name, linear) in self.linears_mut() {
            if !config.targets(&name)? {
                continue;
            }
            let rank = config.rank(&name);
            let (out, input) = linear.weight.size2()?;
            let options = (linear.weight.kind(), linear.weight.device());
            let a = uniform(&name, [rank, input], 1.0 / (input as f64).sqrt())?;
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

    /// Writes this model's adapter into `folder`, in PEFT's format.
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
        std::fs::write(&path, text + "\n").map_err(|cause| ModelError::Io { path: path.display().to_string(), cause })
    }

    /// Adds `scale · update` to the weights of the projections that `config` targets. `updates` holds `B A` of each under
    /// PEFT's module name and `.update`. Computed in float32 and rounded once to the weight's type.
    ///
    /// # Errors
    /// When an update is missing or has another shape.
    pub fn merge_updates(&mut self, config: &LoraConfig, updates: &HashMap<&str, &Tensor>) -> Result<(), ModelError> {
        let _no_grad = tch::no_grad_guard();
        for (name, linear) in self.linears_mut() {
            if !config.targets(&name)? {
                continue;
            }
            let key = format!("{PREFIX}{name}.update");
            let update = updates.get(key.as_str()).filter(|update| update.size() == linear.weight.size());
            let update = update
                .ok_or_else(|| ModelError::Adapter(format!("there is no {key} of shape {:?}", linear.weight.size())))?;
            let scaled = update.f_to_kind(Kind::Float)? * config.scale(&name, config.rank(&name));
            let kind = linear.weight.kind();
            linear.weight = (linear.weight.f_to_kind(Kind::Float)? + scaled).f_to_kind(kind)?;
        }
        Ok(())
    }

    /// Adds every low-rank update to its weight, so that the model needs no adapter.
    pub fn merge_adapter(&mut self) {
        for (_, linear) in self.linears_mut() {
            linear.merge();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(more: Value) -> Result<LoraConfig, String> {
        let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        LoraConfig::from_dir(folder.path()).map_err(|e| e.to_string())
    }

    const NAME: &str = "model.layers.1.self_attn.q_proj";

    #[test]
    fn what_changes_the_base_or_the_update_is_refused_by_name() {
        for (more, part) in [
            (json!({"init_lora_weights": "pissa"}), "init_lora_weights is \"pissa\""),
            (json!({"init_lora_weights": "pissa_niter_16"}), "init_lora_weights is \"pissa_niter_16\""),
            (json!({"init_lora_weights": "olora"}), "changes the base model's weights"),
            (json!({"lora_bias": true}), "lora_bias is not supported"),
            (json!({"trainable_token_indices": [1]}), "trainable_token_indices is not supported"),
            (json!({"target_parameters": ["x"]}), "target_parameters is not supported"),
            (json!({"layer_replication": [[0, 2]]}), "layer_replication is not supported"),
            (json!({"use_something_new": true}), "use_something_new is not supported"),
        ] {
            let error = read(more.clone()).unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
        for more in [
            json!({"init_lora_weights": true, "lora_bias": false, "peft_version": "0.21.2", "revision": null, "eva_config": null}),
            json!({"init_lora_weights": "gaussian", "loftq_config": {}, "target_parameters": null, "use_qalora": false}),
        ] {
            read(more).unwrap();
        }
    }

    #[test]
    fn keys_of_rank_pattern_are_regular_expressions() {
        for (key, matches) in [
            (r"layers\.[01]\.self_attn\.q_proj", true),
            (r"^model.layers.1.self_attn.q_proj", true),
            ("q_proj", true),
            ("_proj", false),
            (r".*\.1\..*q_proj", true),
            (r"layers\.0\..*", false),
            ("(q|k)_proj", true),
        ] {
            let config = read(json!({"rank_pattern": {key: 8}, "alpha_pattern": {key: 32}})).unwrap();
            let expected = if matches { (8, 4.0) } else { (4, 2.0) };
            assert_eq!((config.rank(NAME), config.scale(NAME, config.rank(NAME))), expected, "{key}");
        }
    }

    #[test]
    fn layers_and_exclusions_narrow_the_targets() {
        let targets = |more: Value, layer: usize, module: &str| {
            read(more).unwrap().targets(&format!("model.layers.{layer}.self_attn.{module}")).unwrap()
        };
        for (more, expected) in [
            (json!({"layers_to_transform": [0, 2]}), [true, false, true]),
            (json!({"layers_to_transform": 1}), [false, true, false]),
            (json!({"layers_to_transform": [1], "layers_pattern": "layers"}), [false, true, false]),
            (json!({"layers_to_transform": [1], "layers_pattern": ["blocks"]}), [false, false, false]),
            (json!({"layers_to_transform": null}), [true, true, true]),
            (json!({"exclude_modules": r".*\.2\..*"}), [true, true, false]),
            (json!({"exclude_modules": ["q_proj"]}), [false, false, false]),
        ] {
            assert_eq!([0, 1, 2].map(|layer| targets(more.clone(), layer, "q_proj")), expected, "{more}");
        }
        assert!(targets(json!({"exclude_modules": ["q_proj"]}), 0, "v_proj"));
    }
}
