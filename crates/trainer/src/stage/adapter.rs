//! Selection of the trained tensors: all weights of the model, or low-rank updates of its projections, and a stage's own
//! tensors.

use std::path::Path;

use anyhow::ensure;
use llama::{Llama, LoraConfig, TargetModules};
use tch::{Device, Tensor};
use torch_ext::Generator;

use super::training::Training;
use crate::{Extra, Named};

/// The projections of a layer that PEFT's `all-linear` selects.
const ALL_LINEAR: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// PEFT's prefix for the names of a model's modules.
const PREFIX: &str = "base_model.model.";

/// The LoRA configuration of the run; `None` for full fine-tuning.
pub(super) fn lora_config(training: &Training, base: &Path, extra: &Extra) -> Option<LoraConfig> {
    let module = |name: &String| name.strip_suffix(".weight").unwrap_or(name).to_owned();
    let modules: Vec<String> = extra.tensors.iter().map(|(name, _)| module(name)).collect();
    (training.lora_rank > 0).then(|| LoraConfig {
        peft_type: "LORA".into(),
        task_type: Some(extra.task_type.clone().unwrap_or_else(|| "CAUSAL_LM".into())),
        base_model_name_or_path: Some(base.display().to_string()),
        r: training.lora_rank,
        lora_alpha: training.lora_alpha.unwrap_or(2.0 * training.lora_rank as f64),
        lora_dropout: training.lora_dropout,
        use_rslora: false,
        target_modules: match &training.lora_targets[..] {
            names if names.iter().any(|name| name == "all-linear") => {
                TargetModules::Names(ALL_LINEAR.map(str::to_owned).to_vec())
            }
            names => TargetModules::Names(names.to_vec()),
        },
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        bias: "none".into(),
        modules_to_save: (!modules.is_empty()).then_some(modules),
        use_dora: false,
        fan_in_fan_out: false,
        inference_mode: true,
        scope: Default::default(),
    })
}

/// The tensors to train, under their names in the saved files. Attaches the adapter to the model if there is one.
pub(super) fn trained_tensors(
    model: &mut Llama,
    lora: Option<&LoraConfig>,
    extra: &Extra,
    seed: u64,
) -> anyhow::Result<Named> {
    ensure!(lora.is_none() || !extra.frozen, "this stage leaves the language model as it is: leave --lora-rank out");
    let own = |prefix: &str| {
        let named = |(name, tensor): &(String, Tensor)| (format!("{prefix}{name}"), tensor.shallow_clone());
        extra.tensors.iter().map(named).collect::<Named>()
    };
    let Some(lora) = lora else {
        if extra.frozen {
            return Ok(own(""));
        }
        let mut named = extra.without_head(model.named_parameters());
        named.extend(own(""));
        return Ok(named);
    };
    let mut generator = Generator::new(Device::Cpu, seed)?;
    let uniform = |_: &str, shape: [i64; 2], bound: f64| Ok((generator.uniform(&shape)? * 2.0 - 1.0) * bound);
    if let TargetModules::Names(names) = &lora.target_modules {
        let modules: Vec<String> = model.linears_mut().map(|(name, _)| name).collect();
        let matches = |target: &String| modules.iter().any(|module| llama::is_called(module, target));
        let unknown: Vec<&str> = names.iter().filter(|name| !matches(name)).map(String::as_str).collect();
        ensure!(
            unknown.is_empty(),
            "--lora-targets {} matches no projection; the names are {}, or all-linear alone for all of them",
            unknown.join(" "),
            ALL_LINEAR.join(", ")
        );
    }
    model.add_adapter(lora, uniform)?;
    let mut named = Vec::new();
    for (name, linear) in model.linears_mut() {
        if let Some(lora) = &linear.lora {
            named.push((format!("{PREFIX}{name}.lora_A.weight"), lora.a.shallow_clone()));
            named.push((format!("{PREFIX}{name}.lora_B.weight"), lora.b.shallow_clone()));
        }
    }
    named.extend(own(PREFIX));
    Ok(named)
}

/// Selects a stage's own tensors from the trained tensors, under their names in a model's files.
pub(super) fn extra_of(weights: &[(String, Tensor)], extra: &Extra) -> Named {
    let trained = |name: &str| weights.iter().find(|(found, _)| found.strip_prefix(PREFIX) == Some(name));
    let find = |(name, _): &(String, Tensor)| Some((name.clone(), trained(name)?.1.shallow_clone()));
    extra.tensors.iter().filter_map(find).collect()
}
