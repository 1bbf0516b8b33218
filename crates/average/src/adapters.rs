//! Three ways to average LoRA adapters.
//!
//! An adapter adds `sᵢ Bᵢ Aᵢ` to a weight. Averaging the merged models would add `Δ = Σ wᵢ sᵢ Bᵢ Aᵢ`. This sum has a
//! rank of up to `Σ rᵢ`, so an adapter of the old rank cannot represent it:
//!
//! - [`Way::Concat`] represents it exactly, as `[w₁s₁B₁ w₂s₂B₂ ...] [A₁; A₂; ...]`: an adapter whose rank is the sum
//!   of the ranks.
//! - [`Way::Merge`] adds it to the base model's weights: a model folder.
//! - [`Way::Factors`] averages each factor, `(Σ wᵢ Bᵢ) (Σ wᵢ Aᵢ)`: the rank stays the same, but the update differs
//!   from Δ. The difference is small for checkpoints of one run, which are close to each other, and large for
//!   adapters of separate runs. The distance `‖update - Δ‖ / ‖Δ‖` over all projections is reported.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use llama::{LoraConfig, ModelFolder, SequenceClassifier, locate, to_bytes, torch_kind};
use serde::Serialize;
use tch::{Device, Kind, Tensor};
use weights::{Checkpoint, DType, SafetensorsWriter};

use crate::full::{wide, write};
use crate::inputs::{Input, total};

const PREFIX: &str = "base_model.model.";
/// The head of a reward model, which is trained in full beside the LoRA updates.
const SCORE: &str = "base_model.model.score.weight";

/// How adapters are averaged.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The exact average, as an adapter whose rank is the sum of the ranks
    Concat,
    /// The average of each factor, of the same rank; not the average of the updates
    Factors,
    /// The exact average, added to the base model
    Merge,
}

/// The written result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Written {
    /// Number of tensors.
    pub tensors: usize,
    /// The largest rank of a projection; 0 for a merged model.
    pub rank: i64,
    /// For [`Way::Factors`]: the distance of the update from the exact average, relative to it.
    pub distance: Option<f64>,
}

/// The factors of one adapter.
struct Adapter<'a> {
    folder: &'a Path,
    config: LoraConfig,
    checkpoint: Checkpoint,
    weight: f64,
}

/// `A` (`[rank, in]`), `B` (`[out, rank]`), both float64, and the factor on `B A`.
struct Factors {
    a: Tensor,
    b: Tensor,
    scale: f64,
}

impl<'a> Adapter<'a> {
    fn open(input: &'a Input, total: f64) -> anyhow::Result<Self> {
        let config = LoraConfig::with_modules(&input.folder, &["score"])?;
        let file = input.folder.join("adapter_model.safetensors");
        let checkpoint = Checkpoint::open(&file)?;
        if let Some(name) = checkpoint.names().find(|name| module(name).is_none() && *name != SCORE) {
            bail!("{}: {name} is not a factor of a low-rank update, and cannot be averaged as one", file.display());
        }
        Ok(Self { folder: &input.folder, config, checkpoint, weight: input.weight / total })
    }

    /// The projections that the adapter changes.
    fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = self.checkpoint.names().filter_map(module).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    fn factors(&self, module: &str) -> anyhow::Result<Factors> {
        let get = |part: &str| wide(&self.checkpoint.tensor(&format!("{PREFIX}{module}.{part}.weight"))?, self.folder);
        let (a, b) = (get("lora_A")?, get("lora_B")?);
        let (rank, _) = a.size2()?;
        ensure!(b.size2()?.1 == rank, "{}: {module} has factors of different ranks", self.folder.display());
        Ok(Factors { scale: self.config.scale(module, rank), a, b })
    }
}

/// The module of a factor's name.
fn module(name: &str) -> Option<&str> {
    let inner = name.strip_prefix(PREFIX)?;
    inner.strip_suffix(".lora_A.weight").or_else(|| inner.strip_suffix(".lora_B.weight"))
}

/// `Σ wᵢ headᵢ` of the heads of reward models, float64 `[1, hidden]`; `None` if the adapters have none.
fn head(adapters: &[Adapter]) -> anyhow::Result<Option<Tensor>> {
    let with = adapters.iter().filter(|adapter| adapter.checkpoint.tensor(SCORE).is_ok()).count();
    if with == 0 {
        return Ok(None);
    }
    ensure!(with == adapters.len(), "{with} of {} adapters have the head of a reward model", adapters.len());
    let mut sum: Option<Tensor> = None;
    for adapter in adapters {
        let term = wide(&adapter.checkpoint.tensor(SCORE)?, adapter.folder)? * adapter.weight;
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    Ok(sum)
}

/// Averages adapters by `way` into `target`. `base` is the model to merge into, if the adapters do not name it.
/// `dtype` is the type of a merged model's weights, by default that of its files (adapters are written in float32).
///
/// # Errors
/// When the adapters are for different projections or models, when [`Way::Factors`] gets different ranks or scales,
/// and when a file cannot be written.
pub fn average(
    inputs: &[Input],
    way: Way,
    base: Option<&str>,
    dtype: Option<DType>,
    target: &Path,
) -> anyhow::Result<Written> {
    let _no_grad = tch::no_grad_guard();
    let total = total(inputs);
    let adapters: Vec<Adapter> =
        inputs.iter().map(|input| Adapter::open(input, total)).collect::<anyhow::Result<_>>()?;
    let first = adapters.first().context("there is nothing to average")?;
    for other in &adapters[1..] {
        let (a, b) = (first.folder.display(), other.folder.display());
        ensure!(first.modules() == other.modules(), "{a} and {b} change different projections");
        let models = [first, other].map(|adapter| adapter.config.base_model_name_or_path.clone().unwrap_or_default());
        ensure!(
            models[0] == models[1] || base.is_some(),
            "{a} is an adapter of {:?}, {b} of {:?}; if these are the same model, name it with --base",
            models[0],
            models[1]
        );
    }
    match way {
        Way::Concat => concat(&adapters, target),
        Way::Factors => factors(&adapters, target),
        Way::Merge => merge(&adapters, base, dtype, target),
    }
}

/// `Σ wᵢ sᵢ Bᵢ Aᵢ` of one module, float64 `[out, in]`.
fn exact(adapters: &[Adapter], module: &str) -> anyhow::Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for adapter in adapters {
        let Factors { a, b, scale } = adapter.factors(module)?;
        let term = b.matmul(&a) * (adapter.weight * scale);
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    sum.context("there is nothing to average")
}

fn concat(adapters: &[Adapter], target: &Path) -> anyhow::Result<Written> {
    let modules = adapters[0].modules();
    let mut joined = BTreeMap::new();
    let mut ranks = BTreeMap::new();
    for module in modules {
        let (mut all_a, mut all_b) = (Vec::new(), Vec::new());
        for adapter in adapters {
            let Factors { a, b, scale } = adapter.factors(module)?;
            all_a.push(a);
            all_b.push(b * (adapter.weight * scale));
        }
        let a = Tensor::f_cat(&all_a, 0).with_context(|| format!("{module}: the adapters are of different models"))?;
        let b = Tensor::f_cat(&all_b, 1).with_context(|| format!("{module}: the adapters are of different models"))?;
        ranks.insert(module.to_owned(), a.size2()?.0);
        joined.insert(module.to_owned(), (a, b));
    }
    // The scale is included in B, so alpha equals the rank.
    let rank = ranks.values().copied().max().unwrap_or_default();
    ranks.retain(|_, own| *own != rank);
    let config = LoraConfig {
        r: rank,
        lora_alpha: rank as f64,
        use_rslora: false,
        alpha_pattern: ranks.iter().map(|(module, &rank)| (module.clone(), rank as f64)).collect(),
        rank_pattern: ranks,
        ..adapters[0].config.clone()
    };
    let tensors = save(target, &config, joined, head(adapters)?)?;
    Ok(Written { tensors, rank, distance: None })
}

fn factors(adapters: &[Adapter], target: &Path) -> anyhow::Result<Written> {
    let first = &adapters[0];
    let (mut averaged, mut rank) = (BTreeMap::new(), 0);
    let (mut apart, mut size) = (0.0, 0.0);
    for module in first.modules() {
        let own = first.factors(module)?;
        let (mut a, mut b) = (own.a * first.weight, own.b * first.weight);
        for adapter in &adapters[1..] {
            let other = adapter.factors(module)?;
            ensure!(
                other.a.size() == a.size() && other.b.size() == b.size() && other.scale == own.scale,
                "{module}: {} has rank {} and scale {}, {} has rank {} and scale {}; factors can be averaged only when they \
                 agree, --adapters concat does without",
                first.folder.display(),
                a.size()[0],
                own.scale,
                adapter.folder.display(),
                other.a.size()[0],
                other.scale
            );
            a += other.a * adapter.weight;
            b += other.b * adapter.weight;
        }
        let exact = exact(adapters, module)?;
        let square = |tensor: &Tensor| tensor.square().sum(Kind::Double).double_value(&[]);
        apart += square(&(b.matmul(&a) * own.scale - &exact));
        size += square(&exact);
        rank = rank.max(a.size()[0]);
        averaged.insert(module.to_owned(), (a, b));
    }
    let tensors = save(target, &first.config, averaged, head(adapters)?)?;
    let distance = if size > 0.0 { (apart / size).sqrt() } else { 0.0 };
    Ok(Written { tensors, rank, distance: Some(distance) })
}

fn merge(adapters: &[Adapter], base: Option<&str>, dtype: Option<DType>, target: &Path) -> anyhow::Result<Written> {
    let named = adapters[0].config.base_model_name_or_path.as_deref();
    let base = base.or(named).context("the adapters do not name their base model; give it with --base")?;
    let folder = locate::locate(base)?;
    let checkpoint = Checkpoint::open(&folder)?;
    let modules = adapters[0].modules();
    if let Some(module) = modules.iter().find(|module| checkpoint.tensor(&format!("{module}.weight")).is_err()) {
        bail!("{} has no {module}.weight, which the adapters change; are they of another model?", folder.display());
    }
    if let Some(head) = head(adapters)? {
        return merge_reward_model(adapters, &folder, &head, dtype, target);
    }
    let tensors = write(target, &checkpoint, checkpoint.names(), dtype, |name| {
        let weight = wide(&checkpoint.tensor(name)?, &folder)?;
        match name.strip_suffix(".weight").filter(|module| modules.contains(module)) {
            Some(module) => {
                let update = exact(adapters, module)?;
                ensure!(
                    update.size() == weight.size(),
                    "{module} of {} has shape {:?}, the adapters' update {:?}; are they of another model?",
                    folder.display(),
                    weight.size(),
                    update.size()
                );
                Ok(weight + update)
            }
            None => Ok(weight),
        }
    })?;
    crate::folder::copy_texts(&folder, target, dtype)?;
    Ok(Written { tensors, rank: 0, distance: None })
}

/// The base model with the updates and the head of a reward model, as a sequence-classification folder.
fn merge_reward_model(
    adapters: &[Adapter],
    base: &Path,
    head: &Tensor,
    dtype: Option<DType>,
    target: &Path,
) -> anyhow::Result<Written> {
    let mut folder = ModelFolder::load(base, Some(Kind::Float), Device::Cpu)?;
    let pad = folder.padding().with_context(|| {
        format!("the tokenizer of {} has no special token to pad with that does not end a turn", base.display())
    })?;
    let modules = adapters[0].modules();
    for (name, linear) in folder.model.linears_mut() {
        if modules.contains(&name.as_str()) {
            linear.weight = (linear.weight.to_kind(Kind::Double) + exact(adapters, &name)?).to_kind(Kind::Float);
        }
    }
    let kind = match dtype.and_then(torch_kind) {
        Some(kind) => kind,
        None => llama::weights_kind(base)?,
    };
    crate::folder::copy_texts(base, target, None)?;
    let classifier = SequenceClassifier { model: folder.model, score: head.to_kind(Kind::Float) };
    classifier.save(target, kind, pad)?;
    Ok(Written { tensors: classifier.named_parameters().len(), rank: 0, distance: None })
}

/// Writes an adapter in float32.
fn save(
    target: &Path,
    config: &LoraConfig,
    factors: BTreeMap<String, (Tensor, Tensor)>,
    head: Option<Tensor>,
) -> anyhow::Result<usize> {
    let mut tensors: Vec<(String, Tensor)> = head.into_iter().map(|head| (SCORE.to_owned(), head)).collect();
    for (module, (a, b)) in factors {
        tensors.push((format!("{PREFIX}{module}.lora_A.weight"), a));
        tensors.push((format!("{PREFIX}{module}.lora_B.weight"), b));
    }
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect();
    let declared = tensors.iter().map(|(name, tensor)| (name.clone(), DType::F32, shape(tensor))).collect();
    let mut writer = SafetensorsWriter::create_file(&target.join("adapter_model.safetensors"), declared)?;
    for (name, tensor) in &tensors {
        writer.write(name, &to_bytes(tensor, Kind::Float)?)?;
    }
    writer.finish()?;
    let text = format!("{}\n", serde_json::to_string_pretty(config)?);
    dataset::write_file(target.join("adapter_config.json"), text.as_bytes())?;
    Ok(tensors.len())
}
