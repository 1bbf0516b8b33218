//! The training loop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use llama::{Llama, LoraConfig, Operators};
use run::{RunFolder, Signals};
use tch::Kind;
use torch_ext::{OpError, catch};

use crate::diagnose::{first_non_finite, names};
use crate::objective::{Computation, Evaluation, MetricSums, Objective, RngPosition, forward_backward};
use crate::optim::average::{Average, AverageSettings};
use crate::optim::optimizer::{Optimizer, OptimizerError, OptimizerSettings};
use crate::optim::schedule::Schedule;
use crate::optim::spike::{SpikeGuard, Spikes};
use crate::persist::checkpoint::{Checkpoints, Manifest};
use crate::persist::state::{self, Named, WeightsFile};
use crate::watch::console::Console;
use crate::watch::cost::{Trained, matrix_rate, step_flops};
use crate::watch::metrics::{self, MetricsLog, StepMetrics};

/// How to train.
#[derive(Debug, Clone)]
pub struct TrainSettings {
    /// AdamW.
    pub optimizer: OptimizerSettings,
    /// The learning rate.
    pub schedule: Schedule,
    /// Seeds every random choice.
    pub seed: u64,
    /// Of how many layers, from the first, activations are computed again in the backward pass instead of kept.
    pub recompute: usize,
    /// What is trained.
    pub trained: Trained,
    /// Where the trained weights stand in a checkpoint.
    pub weights_file: WeightsFile,
    /// Steps between checkpoints.
    pub checkpoint_steps: Option<u64>,
    /// Minutes between checkpoints.
    pub checkpoint_minutes: Option<f64>,
    /// Checkpoints to keep: the newest.
    pub keep_last: usize,
    /// Checkpoints to keep: those of lowest evaluation loss.
    pub keep_best: usize,
    /// Steps between evaluations; the weights are also evaluated before the first step and after the last.
    pub eval_steps: Option<u64>,
    /// An average of the weights to keep beside them, to evaluate and to return.
    pub average: AverageSettings,
    /// Which steps are skipped, if any.
    pub spike_guard: Option<SpikeGuard>,
    /// The low-rank updates that are trained; none in full fine-tuning.
    pub lora: Option<LoraConfig>,
    /// Digest of everything that decides the run's course.
    pub fingerprint: String,
}

/// What a run did.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Trained tokens seen.
    pub trained_tokens: u64,
    /// Seconds of training, over all parts of an interrupted run.
    pub seconds: f64,
    /// Tokens per second over all steps.
    pub tokens_per_second: f64,
    /// The evaluation of the weights that are saved.
    pub evaluation: Option<Evaluation>,
    /// With an average of the weights, which is what is saved: the evaluation of the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation: Option<Evaluation>,
    /// What checkpoints cost since the run was last started.
    #[serde(default)]
    pub checkpoints: CheckpointCost,
    /// The most memory that this process held, in bytes.
    pub peak_memory: Option<u64>,
    /// What was estimated for it before the first step.
    #[serde(default)]
    pub memory_estimate: Option<u64>,
}

/// What it took to save checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CheckpointCost {
    /// How many were saved.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The time that training stood still for them.
    pub seconds: f64,
}

/// How training ended.
// There is one in a run: its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Outcome {
    /// All steps are done: the trained weights in float32, or their average as [`Average::tensors`] names it.
    Finished(Named, Report),
    /// A signal stopped it after so many steps, and a checkpoint is saved.
    Interrupted(u64),
}

/// What a checkpoint adds to the trained weights and the optimizer's state, so that it is a model folder: configuration and
/// tokenizer.
pub type WriteSideFiles<'a> = &'a dyn Fn(&Path) -> anyhow::Result<()>;

/// The last weights, where the weights of a checkpoint are an average.
const LAST: &str = "last.safetensors";
/// The average of low-rank updates.
const AVERAGE: &str = "average.safetensors";
const MOMENTS: &str = "moments.safetensors";
/// The metric of a step that was skipped as a spike.
pub(crate) const SKIPPED: &str = "skipped";

struct Run<'a, O: Objective> {
    objective: &'a O,
    model: &'a Llama,
    settings: &'a TrainSettings,
    optimizer: Optimizer,
    average: Option<Average>,
    spikes: Option<Spikes>,
    tokens: u64,
    trained_tokens: u64,
    seconds: f64,
    /// The last evaluation of the weights that would be saved.
    evaluation: Option<Evaluation>,
    /// That of the last weights at the same time, where these are others.
    last_evaluation: Option<Evaluation>,
    /// After how many steps that was.
    evaluated_at: u64,
    checkpoint_cost: CheckpointCost,
}

/// The tensors that a run trains.
pub struct TrainedWeights<'a> {
    /// What the model computes with, under the names in the saved files.
    pub named: Named,
    /// The numbers of a weight as the model's files have them, see [`Optimizer::new`].
    pub exact: &'a dyn Fn(&str) -> anyhow::Result<Option<tch::Tensor>>,
}

/// Trains tensors of `model` from the newest whole checkpoint in `run`, or from the start.
///
/// # Errors
/// When a number is not finite (with the examples and the first place), when a step has nothing to train on, when a
/// checkpoint is of another run, or when the disk refuses.
pub fn train<O: Objective>(
    run: &RunFolder,
    model: &Llama,
    weights: TrainedWeights,
    objective: &O,
    settings: &TrainSettings,
    decorate: WriteSideFiles,
) -> anyhow::Result<Outcome> {
    let TrainedWeights { named, exact } = weights;
    let optimizer = Optimizer::new(named, exact, settings.optimizer, settings.schedule.clone())?;
    let average = catch(|| anyhow::Ok(Average::new(settings.average, &optimizer.masters())));
    let average = average.context("the average of the weights")?;
    let checkpoints = Checkpoints::open(run.join("checkpoints"), settings.keep_last, settings.keep_best)?;
    let mut this = Run {
        objective,
        model,
        settings,
        optimizer,
        average,
        spikes: None,
        tokens: 0,
        trained_tokens: 0,
        seconds: 0.0,
        evaluation: None,
        last_evaluation: None,
        evaluated_at: 0,
        checkpoint_cost: CheckpointCost::default(),
    };
    if let Some((path, manifest)) = checkpoints.newest(|report| eprintln!("warning: {report}"))? {
        this.resume(&path, &manifest)?;
        eprintln!("going on after step {} from {}", manifest.step, path.display());
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut log = MetricsLog::open(run.path(), this.optimizer.steps())?;
    if let Some(guard) = settings.spike_guard {
        // The log has all steps of the checkpoint, with every bit of their numbers.
        let past = metrics::read(&run.join("metrics.jsonl"))?;
        this.spikes = Some(Spikes::new(guard, past.iter().map(|step| [step.loss, step.grad_norm])));
    }
    let total = objective.steps();
    let rate = matrix_rate(model.kind(), model.device());
    let mut console = Console::new(this.optimizer.steps(), total);
    if this.optimizer.steps() == 0
        && let Some(evaluation) = catch(|| objective.evaluate(model)).context("the evaluation before the first step")?
    {
        console.line(&format!("step 0: evaluation loss {:.4}", evaluation.loss));
        dataset::write_file(run.join("eval_start.json"), &serde_json::to_vec(&evaluation)?)?;
        this.evaluation = Some(evaluation);
    }
    let mut saved = (this.optimizer.steps(), Instant::now());
    let start = std::fs::read(run.join("eval_start.json")).ok();
    let start: Option<Evaluation> = start.and_then(|text| serde_json::from_slice(&text).ok());
    let mut best = checkpoints.best().into_iter().chain(start.map(|start| start.loss)).fold(f64::INFINITY, f64::min);
    while this.optimizer.steps() < total {
        let mut metrics = this.step(rate)?;
        let step = metrics.step;
        if step == total || settings.eval_steps.is_some_and(|every| step % every == 0) {
            this.evaluate()?;
            if let Some(evaluation) = &this.evaluation {
                metrics.eval_loss = Some(evaluation.loss);
                metrics.metrics.extend(evaluation.metrics.iter().map(|(name, mean)| (format!("eval_{name}"), *mean)));
            }
            if let Some(last) = &this.last_evaluation {
                metrics.metrics.insert("eval_loss_of_last_weights".into(), last.loss);
            }
        }
        let better = settings.keep_best > 0 && metrics.eval_loss.is_some_and(|loss| loss < best);
        best = best.min(metrics.eval_loss.unwrap_or(best));
        if metrics.metrics.contains_key(SKIPPED) {
            let StepMetrics { loss, grad_norm, .. } = metrics;
            console.line(&format!("step {step} is skipped as a spike: loss {loss:.4}, gradient norm {grad_norm:.4}"));
        }
        log.step(&metrics)?;
        console.step(&metrics, Duration::from_secs_f64(this.seconds / step as f64 * (total - step) as f64));
        let (stop, save) = (signals.stop(), signals.take_save());
        let minutes = saved.1.elapsed().as_secs_f64() / 60.0;
        if step == total
            || stop
            || save
            || better
            || settings.checkpoint_steps.is_some_and(|every| step - saved.0 >= every)
            || settings.checkpoint_minutes.is_some_and(|every| minutes >= every)
        {
            if stop || save {
                console.line("saving a checkpoint");
            }
            let (path, cost) = this.save(&checkpoints, decorate)?;
            saved = (step, Instant::now());
            if stop || save || cost.seconds > 1.0 {
                let gigabytes = cost.bytes as f64 / 1e9;
                console.line(&format!(
                    "checkpoint {} saved: {gigabytes:.2} GB in {:.1} s",
                    path.display(),
                    cost.seconds
                ));
            }
        }
        if stop && step < total {
            console.finish();
            return Ok(Outcome::Interrupted(step));
        }
    }
    console.finish();
    let report = Report {
        steps: total,
        tokens: this.tokens,
        trained_tokens: this.trained_tokens,
        seconds: this.seconds,
        tokens_per_second: this.tokens as f64 / this.seconds.max(1e-9),
        evaluation: this.evaluation.clone(),
        last_evaluation: this.last_evaluation.clone(),
        checkpoints: this.checkpoint_cost,
        peak_memory: crate::watch::memory::peak(),
        memory_estimate: None,
    };
    let weights = this.average.as_ref().map_or_else(|| this.optimizer.masters(), Average::tensors);
    Ok(Outcome::Finished(weights, report))
}

impl<O: Objective> Run<'_, O> {
    /// One optimizer step.
    fn step(&mut self, rate: f64) -> anyhow::Result<StepMetrics> {
        let start = Instant::now();
        let (objective, model) = (self.objective, self.model);
        let step = self.optimizer.steps();
        let batches = objective.load(step).with_context(|| format!("the data of step {}", step + 1))?;
        let normaliser: f64 = batches.iter().map(|batch| objective.normaliser(batch)).sum();
        let all_ids = || batches.iter().flat_map(|batch| objective.example_ids(batch).to_vec()).collect::<Vec<_>>();
        ensure!(
            normaliser > 0.0,
            "step {} has no trainable token; its examples are {}: check their weights and masks",
            step + 1,
            names(&all_ids())
        );
        let (mut loss, mut flops, mut tokens, mut trained_tokens) = (0.0, 0.0, 0, 0);
        let mut own = MetricSums::default();
        for (index, batch) in batches.iter().enumerate() {
            let moment = RngPosition { seed: self.settings.seed, step, micro_batch: index as u64 };
            let (all, trained) = objective.tokens(batch);
            let how = Computation { operators: Operators::Fused, recompute: self.settings.recompute };
            let (sum, more) = forward_backward(objective, model, batch, moment, normaliser, how)
                .map_err(advised)
                .with_context(|| format!("step {}, a micro-batch of {all} tokens", step + 1))?;
            if !sum.is_finite() {
                bail!(
                    "the loss of step {} is not finite; the examples are {}; the first non-finite value is {}",
                    step + 1,
                    names(objective.example_ids(batch)),
                    first_non_finite(objective, model, batch)
                );
            }
            self.optimizer.gather()?;
            loss += sum;
            own.add(&more);
            tokens += all;
            trained_tokens += trained;
            flops += step_flops(model.config(), objective.input(batch).layout, trained, self.settings.trained);
        }
        let refused = |error: OptimizerError| match error {
            OptimizerError::NonFinite(name) => anyhow::anyhow!(
                "the gradient of {name} is not finite at step {}; the examples are {}; the weights are as before the step",
                step + 1,
                names(&all_ids())
            ),
            other => other.into(),
        };
        let mut metrics = own.means();
        let spike = match &mut self.spikes {
            Some(spikes) => {
                let grad_norm = self.optimizer.grad_norm().map_err(refused)?;
                spikes.is_spike(loss / normaliser, grad_norm).then_some(grad_norm)
            }
            None => None,
        };
        let report = match spike {
            Some(grad_norm) => {
                metrics.insert(SKIPPED.into(), 1.0);
                self.optimizer.skip(grad_norm)
            }
            None => self.optimizer.step().map_err(refused)?,
        };
        if let Some(average) = &mut self.average {
            catch(|| {
                average.update(step + 1, &self.optimizer.masters());
                anyhow::Ok(())
            })?;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.tokens += tokens;
        self.trained_tokens += trained_tokens;
        self.seconds += seconds;
        Ok(StepMetrics {
            step: step + 1,
            epoch: objective.epoch(step + 1),
            loss: loss / normaliser,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            tokens,
            trained_tokens,
            tokens_per_second: tokens as f64 / seconds,
            mfu: flops / seconds / rate,
            seconds: self.seconds,
            eval_loss: None,
            metrics,
        })
    }

    /// Evaluates the weights that would be saved now, and the last ones where these are others.
    fn evaluate(&mut self) -> anyhow::Result<()> {
        let (objective, model) = (self.objective, self.model);
        let step = self.optimizer.steps();
        let evaluated = |model: &Llama| {
            catch(|| objective.evaluate(model))
                .map_err(advised)
                .with_context(|| format!("the evaluation at step {step}"))
        };
        let last = evaluated(model)?;
        (self.evaluation, self.last_evaluation) = match &self.average {
            Some(average) if average.has_begun() && last.is_some() => {
                let tensors = average.tensors();
                let merged = match &self.settings.lora {
                    Some(lora) => {
                        let mut merged = model.without_adapter();
                        merged.merge_updates(lora, &tensors.iter().map(|(n, t)| (n.as_str(), t)).collect())?;
                        Some(merged)
                    }
                    None => None,
                };
                let saved = self.optimizer.with_weights(tensors, || evaluated(merged.as_ref().unwrap_or(model)))?;
                (saved, last)
            }
            _ => (last, None),
        };
        self.evaluated_at = step;
        Ok(())
    }

    fn save(
        &mut self,
        checkpoints: &Checkpoints,
        decorate: WriteSideFiles,
    ) -> anyhow::Result<(PathBuf, CheckpointCost)> {
        let start = Instant::now();
        let now = |evaluation: &Option<Evaluation>| {
            evaluation.clone().filter(|_| self.evaluated_at == self.optimizer.steps())
        };
        let manifest = Manifest {
            step: self.optimizer.steps(),
            tokens: self.tokens,
            trained_tokens: self.trained_tokens,
            seconds: self.seconds,
            evaluation: now(&self.evaluation),
            last_evaluation: now(&self.last_evaluation),
            fingerprint: self.settings.fingerprint.clone(),
            files: Default::default(),
        };
        let (path, bytes) = checkpoints.write(manifest, |folder| {
            decorate(folder)?;
            let state = folder.join("state");
            std::fs::create_dir_all(&state)?;
            let masters = self.optimizer.masters();
            let saved = self.average.as_ref().filter(|average| average.has_begun()).map(Average::tensors);
            let mut digests = match (&saved, self.settings.lora.is_some()) {
                // The weights of a checkpoint are those that its evaluation is of; the last ones go on from there.
                (Some(saved), false) => {
                    let mut digests = self.settings.weights_file.write(folder, saved, Kind::Float)?;
                    digests.extend(state::write(&state.join(LAST), &masters)?);
                    digests
                }
                (saved, _) => {
                    let mut digests = self.settings.weights_file.write(folder, &masters, Kind::Float)?;
                    if let Some(saved) = saved {
                        digests.extend(state::write(&state.join(AVERAGE), saved)?);
                    }
                    digests
                }
            };
            digests.extend(state::write(&state.join(MOMENTS), &self.optimizer.moments())?);
            Ok(digests)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let CheckpointCost { count, bytes: all, seconds: spent } = self.checkpoint_cost;
        self.checkpoint_cost = CheckpointCost { count: count + 1, bytes: all + bytes, seconds: spent + seconds };
        Ok((path, CheckpointCost { count: 1, bytes, seconds }))
    }

    fn resume(&mut self, path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
        ensure!(
            manifest.fingerprint == self.settings.fingerprint,
            "{} is of a run with another configuration, model or data; choose another --output, or remove the folder to \
             start over",
            path.display()
        );
        let state = path.join("state");
        let mut weights = self.settings.weights_file.read(path)?;
        let mut averaged = None;
        if state.join(LAST).is_file() {
            averaged = Some(std::mem::replace(&mut weights, state::read(&state.join(LAST))?));
        } else if state.join(AVERAGE).is_file() {
            averaged = Some(state::read(&state.join(AVERAGE))?);
        }
        let moments = state::read(&state.join(MOMENTS))?;
        self.optimizer.restore(manifest.step, weights, moments).with_context(|| path.display().to_string())?;
        if let (Some(average), Some(saved)) = (&mut self.average, averaged) {
            average
                .restore(manifest.step, saved)
                .map_err(|name| anyhow::anyhow!("{} has no average of {name}", path.display()))?;
        }
        self.tokens = manifest.tokens;
        self.trained_tokens = manifest.trained_tokens;
        self.seconds = manifest.seconds;
        self.evaluation = manifest.evaluation.clone();
        self.last_evaluation = manifest.last_evaluation.clone();
        self.evaluated_at = manifest.step;
        Ok(())
    }
}

/// Has the allocator of this process keep what is freed: every step asks for the same again, and giving gigabytes back to
/// the system and taking them page by page costs a tenth of the time. For the start of a program that trains.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers in the allocator; what was given out stays as it is.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// Where memory was lacking in a step, says what to change.
fn advised(error: anyhow::Error) -> anyhow::Error {
    let lacking = error.downcast_ref::<OpError>().is_some_and(OpError::is_out_of_memory);
    if lacking { error.context("make --micro-batch-tokens smaller or add --recompute") } else { error }
}
