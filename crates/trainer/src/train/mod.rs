//! The training loop.

mod compute;
mod save;
mod step;
mod verify;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use distributed::World;
use llama::{Llama, LoraConfig};
use run::{RunFolder, Signals};
use serde::{Deserialize, Serialize};
use torch_ext::catch;

use crate::ahead::Ahead;
use crate::objective::{Evaluation, Objective};
use crate::optim::average::{Average, AverageSettings};
use crate::optim::optimizer::{Optimizer, OptimizerSettings};
use crate::optim::schedule::Schedule;
use crate::optim::spike::{SpikeGuard, Spikes};
use crate::persist::checkpoint::{Checkpoints, Manifest};
use crate::persist::interval::Interval;
use crate::persist::state::{Named, WeightsFile};
use crate::persist::writer::{Writer, side_files};
use crate::share::To;
use crate::watch::console::Console;
use crate::watch::cost::{Trained, matrix_rate};
use crate::watch::drift::Drift;
use crate::watch::heart::Heart;
use crate::watch::memory::Allowance;
use crate::watch::metrics::{self, MetricsLog, StepMetrics};
use crate::watch::pace::{Paces, SlowRank};
pub use compute::ComputedAgain;
use compute::Norms;
use save::Saved;
pub use verify::Corrupt;
use verify::Verifier;

/// How the gradients of several processes are summed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// Micro-batch by micro-batch, in the order of one process: the bytes do not depend on the number of processes
    #[default]
    Exact,
    /// Each process sums its own, then the communication library sums over processes: less traffic, other rounding
    Fast,
}

/// Settings of the training loop.
#[derive(Debug, Clone)]
pub struct TrainSettings {
    /// Hyper-parameters of AdamW.
    pub optimizer: OptimizerSettings,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// Seed of every random choice.
    pub seed: u64,
    /// Number of layers, counted from the first, whose activations are recomputed in the backward pass instead of kept.
    pub recompute: usize,
    /// Estimated peak memory of this process in bytes; above it, freed memory is returned to the system between steps ([`Allowance`]).
    pub memory: Option<u64>,
    /// The kind of trained weights.
    pub trained: Trained,
    /// Names of the files of the trained weights in a checkpoint.
    pub weights_file: WeightsFile,
    /// Optimizer steps between checkpoints; `None` for no checkpoints by steps.
    pub checkpoint_steps: Option<u64>,
    /// Time between checkpoints.
    pub checkpoint_interval: Interval,
    /// Number of newest checkpoints to keep.
    pub keep_last: usize,
    /// Number of checkpoints with the lowest evaluation loss to keep.
    pub keep_best: usize,
    /// Steps between evaluations; the weights are also evaluated before the first step and after the last.
    pub eval_steps: Option<u64>,
    /// Average of the weights, which is evaluated and returned instead of the last weights.
    pub average: AverageSettings,
    /// Criterion for skipping steps; `None` skips no step.
    pub spike_guard: Option<SpikeGuard>,
    /// Factors of the learning rate for weights whose names contain these texts; the first match applies.
    pub rates: Vec<(String, f64)>,
    /// Configuration of the trained low-rank updates; `None` in full fine-tuning.
    pub lora: Option<LoraConfig>,
    /// How the gradients of several processes are summed.
    pub reduce: Reduce,
    /// Whether several processes divide the tokens of each row instead of the micro-batches.
    pub context_parallel: bool,
    /// Steps between comparisons of the weights' bits across processes; `None` for no comparisons.
    pub check_weights: Option<u64>,
    /// Steps between recomputations of a neighbour's micro-batch; `None` for none.
    pub check_gradients: Option<u64>,
    /// Digest of everything that determines the course of the run.
    pub fingerprint: String,
}

/// Figures of a finished run.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Number of optimizer steps.
    pub steps: u64,
    /// Number of tokens seen.
    pub tokens: u64,
    /// Number of trained tokens seen.
    pub trained_tokens: u64,
    /// Seconds of training, over all parts of an interrupted run.
    pub seconds: f64,
    /// Tokens per second over all steps.
    pub tokens_per_second: f64,
    /// Evaluation of the saved weights.
    pub evaluation: Option<Evaluation>,
    /// If the saved weights are an average: the evaluation of the last weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation: Option<Evaluation>,
    /// Cost of the checkpoints since the run was last started.
    #[serde(default)]
    pub checkpoints: CheckpointCost,
    /// Peak memory of this process in bytes.
    pub peak_memory: Option<u64>,
    /// Estimate of the peak memory before the first step, in bytes.
    #[serde(default)]
    pub memory_estimate: Option<u64>,
    /// Number of processes that trained together.
    #[serde(default = "one")]
    pub processes: usize,
    /// Steps that looked wrong and were computed a second time.
    #[serde(default)]
    pub computed_again: ComputedAgain,
    /// Processes that were slower than the others since the run was last started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_ranks: Vec<SlowRank>,
    /// The change of the run's speed since it was last started.
    #[serde(default)]
    pub drift: Option<Drift>,
}

fn one() -> usize {
    1
}

/// Cost of saving checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CheckpointCost {
    /// Number of checkpoints saved.
    pub count: u64,
    /// Total size in bytes.
    pub bytes: u64,
    /// Seconds for which training was paused.
    pub seconds: f64,
    /// Seconds that the background writer took.
    #[serde(default)]
    pub writing_seconds: f64,
}

/// How training ended.
// There is one value in a run, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Outcome {
    /// All steps are done: the trained weights in float32, or their average with the names of [`Average::tensors`], and the
    /// report. With several processes, the first one has the weights.
    Finished(Named, Report),
    /// A signal stopped the run after this many steps, and a checkpoint is saved.
    Interrupted(u64),
}

/// Writes the files that a checkpoint needs beside the trained weights and the optimizer state to be a model folder:
/// configuration and tokenizer.
pub type WriteSideFiles<'a> = &'a dyn Fn(&Path) -> anyhow::Result<()>;

/// Name of the metric that marks a step skipped as a spike.
pub(crate) const SKIPPED: &str = "skipped";

struct Run<'a, O: Objective> {
    objective: &'a O,
    model: &'a Llama,
    settings: &'a TrainSettings,
    world: &'a World,
    pulse: Heart,
    optimizer: Optimizer,
    /// The micro-batches of the next step.
    ahead: Option<Ahead<O::Batch>>,
    average: Option<Average>,
    spikes: Option<Spikes>,
    tokens: u64,
    trained_tokens: u64,
    seconds: f64,
    /// Last evaluation of the weights that would be saved.
    evaluation: Option<Evaluation>,
    /// Evaluation of the last weights at the same step, if the weights that would be saved are an average.
    last_evaluation: Option<Evaluation>,
    /// Step of these evaluations.
    evaluated_at: u64,
    checkpoint_cost: CheckpointCost,
    /// Seconds that training was paused for the last checkpoint; before the first checkpoint, an estimate.
    pause: f64,
    /// The pause of the checkpoint that is being written, and whether a user or a signal requested it.
    pending: (f64, bool),
    /// The step of the newest checkpoint, complete or being written.
    saved: u64,
    verifier: Verifier,
    norms: Norms,
    again: ComputedAgain,
    /// The machine and process of each rank.
    places: Vec<String>,
    paces: Paces,
    slow: Vec<SlowRank>,
    begin: Instant,
    /// For each step its time, and its time per unit of work.
    series: Vec<(f64, f64)>,
    drifts: bool,
    /// Lines to print after the step.
    notes: Vec<String>,
}

/// The tensors that a run trains.
pub struct TrainedWeights<'a> {
    /// The tensors that the model computes with, under their names in the saved files.
    pub named: Named,
    /// Returns the values of a weight as the model's files have them, see [`Optimizer::new`].
    pub exact: &'a dyn Fn(&str) -> anyhow::Result<Option<tch::Tensor>>,
}

/// Trains tensors of `model` from the newest complete checkpoint in `run`, or from the start. All processes of `world` call it
/// together; the first process writes the files and the output.
///
/// # Errors
/// When a value is not finite (the message names the examples and the first such tensor), when a step has nothing to train on,
/// when a checkpoint belongs to another run, when the disk reports an error, or when another process has ended.
pub fn train<O: Objective>(
    run: &RunFolder,
    model: &Llama,
    weights: TrainedWeights,
    objective: &O,
    settings: &TrainSettings,
    decorate: WriteSideFiles,
    world: &World,
) -> anyhow::Result<Outcome> {
    ensure!(
        settings.check_gradients.is_none() || !model.device().is_cuda(),
        "--check-gradients compares all bits of a gradient, which the kernels of a GPU do not promise: leave it out"
    );
    if settings.context_parallel && !world.is_alone() {
        ensure!(
            settings.check_gradients.is_none(),
            "--check-gradients repeats micro-batches, of which no process has a whole one with --context-parallel: leave one out"
        );
        ensure!(!model.device().is_cuda(), "--context-parallel runs on processors only: leave it out on a GPU");
    }
    let TrainedWeights { named, exact } = weights;
    let mut optimizer = Optimizer::spread(named, exact, settings.optimizer, settings.schedule.clone(), world)?;
    optimizer.set_rates(&settings.rates);
    let average = catch(|| anyhow::Ok(Average::new(settings.average, &optimizer.masters())));
    let average = average.context("the average of the weights")?;
    let folder = run.join("checkpoints");
    let open = || Checkpoints::open(folder, settings.keep_last, settings.keep_best);
    let checkpoints = world.is_first().then(open).transpose()?;
    // Estimate: a copy at 1 GB/s.
    let pause = 12.0 * optimizer.weights() as f64 / 1e9;
    let mut this = Run {
        objective,
        model,
        settings,
        world,
        pulse: Heart::new()?,
        optimizer,
        ahead: None,
        average,
        spikes: None,
        tokens: 0,
        trained_tokens: 0,
        seconds: 0.0,
        evaluation: None,
        last_evaluation: None,
        evaluated_at: 0,
        checkpoint_cost: CheckpointCost::default(),
        pause,
        pending: (0.0, false),
        saved: 0,
        verifier: Verifier::default(),
        norms: Norms::default(),
        again: ComputedAgain::default(),
        places: world.places()?,
        paces: Paces::new(world.size()),
        slow: Vec::new(),
        begin: Instant::now(),
        series: Vec::new(),
        drifts: false,
        notes: Vec::new(),
    };
    if let Some((path, manifest)) = newest(checkpoints.as_ref(), world)? {
        this.resume(&path, &manifest)?;
        if world.is_first() {
            eprintln!("going on after step {} from {}", manifest.step, path.display());
        }
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut output = world.is_first().then(|| Output::open(run, &mut this)).transpose()?;
    let total = objective.steps();
    if this.optimizer.steps() == 0 {
        let evaluation = catch(|| objective.evaluate(model, world)).context("the evaluation before the first step")?;
        if let (Some(evaluation), Some(output)) = (&evaluation, &output) {
            output.console.line(&format!("step 0: evaluation loss {:.4}", evaluation.loss));
            dataset::write_file(run.join("eval_start.json"), &serde_json::to_vec(evaluation)?)?;
        }
        this.evaluation = evaluation;
    }
    let mut saved = (this.optimizer.steps(), Instant::now());
    let start = std::fs::read(run.join("eval_start.json")).ok();
    let start: Option<Evaluation> = start.and_then(|text| serde_json::from_slice(&text).ok());
    let best = checkpoints.as_ref().and_then(Checkpoints::best);
    let mut best = best.into_iter().chain(start.map(|start| start.loss)).fold(f64::INFINITY, f64::min);
    let start = |checkpoints| Writer::start(checkpoints, side_files(decorate)?);
    let mut writer = checkpoints.map(start).transpose()?;
    this.keep_digests()?;
    let mut allowance = Allowance::new(settings.memory);
    this.ahead = objective.ahead(this.optimizer.steps())?;
    while this.optimizer.steps() < total {
        let stepped = this.step(output.as_ref().map_or(f64::INFINITY, |output| output.rate));
        for note in this.notes.drain(..) {
            output.iter().for_each(|output| output.console.line(&note));
        }
        let mut metrics = stepped?;
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
        if let Some(output) = &mut output {
            output.step(&metrics, Duration::from_secs_f64(this.seconds / step as f64 * (total - step) as f64))?;
        }
        if let Some(written) = writer.as_mut().map(Writer::finished).transpose()?.flatten() {
            show(&[this.account(written)], output.as_ref());
        }
        let interval = settings.checkpoint_interval.seconds(this.pause, world.size());
        let due = interval.is_some_and(|every| saved.1.elapsed().as_secs_f64() >= every);
        // A signal to one process counts for all. The first process's clock decides about checkpoints by time.
        let asked = [signals.stop(), signals.take_save(), world.is_first() && (due || better)];
        let asked = world.any("signals", (0..3).fold(0, |flags, bit| flags | u32::from(asked[bit]) << bit))?;
        let (stop, save) = (asked & 1 != 0, asked & 2 != 0);
        if step == total || asked != 0 || settings.checkpoint_steps.is_some_and(|every| step - saved.0 >= every) {
            if let (true, Some(output)) = (stop || save, &output) {
                output.console.line("saving a checkpoint");
            }
            show(&this.save(writer.as_mut(), stop || save)?, output.as_ref());
            saved = (step, Instant::now());
        }
        if stop || step == total {
            // The state must be on disk before this process ends.
            let last = Instant::now();
            if let Some(written) = writer.as_mut().map(Writer::wait).transpose()?.flatten() {
                this.checkpoint_cost.seconds += last.elapsed().as_secs_f64();
                show(&[this.account(written)], output.as_ref());
            }
        }
        allowance.keep();
        if stop && step < total {
            output.iter().for_each(|output| output.console.finish());
            return Ok(Outcome::Interrupted(step));
        }
    }
    output.iter().for_each(|output| output.console.finish());
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
        processes: world.size(),
        computed_again: this.again,
        slow_ranks: this.slow.clone(),
        drift: Drift::of(&this.series),
    };
    let weights = match &this.average {
        Some(average) => this.whole(average.tensors(), To::First)?,
        None => this.optimizer.whole_masters(world)?,
    };
    // Wait here, because the first process may take long to save the result.
    world.done()?;
    Ok(Outcome::Finished(weights, report))
}

fn show(saved: &[Saved], output: Option<&Output>) {
    if let Some(output) = output {
        saved.iter().filter_map(Saved::line).for_each(|line| output.console.line(&line));
    }
}

/// The newest complete checkpoint, as found by the first process. Checkpoints that the supervisor knows to be wrong are excluded.
fn newest(checkpoints: Option<&Checkpoints>, world: &World) -> anyhow::Result<Option<(PathBuf, Manifest)>> {
    let at_most = match std::env::var(launch::heartbeat::AT_MOST) {
        Ok(step) => step.parse().with_context(|| format!("{} is {step:?}", launch::heartbeat::AT_MOST))?,
        Err(_) => u64::MAX,
    };
    let found = match checkpoints {
        Some(checkpoints) => checkpoints.newest(at_most, |report| eprintln!("warning: {report}"))?,
        None => None,
    };
    // The path is absolute, because other processes may have another working directory.
    let absolute = |(path, manifest): &(PathBuf, Manifest)| anyhow::Ok((std::path::absolute(path)?, manifest.clone()));
    let shared = serde_json::to_vec(&found.as_ref().map(absolute).transpose()?)?;
    let shared = world.share_bytes("checkpoint", &shared)?;
    Ok(if world.is_first() { found } else { serde_json::from_slice(&shared)? })
}

impl<O: Objective> Run<'_, O> {
    /// Adds a line to print after the step.
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

/// Output of the first process: terminal and logs.
struct Output {
    log: MetricsLog,
    console: Console,
    /// Measured peak rate of a matrix product on this device, in FLOP/s.
    rate: f64,
}

impl Output {
    /// Opens the logs, and gives the spike guard the metrics of earlier steps.
    fn open<O: Objective>(folder: &RunFolder, run: &mut Run<O>) -> anyhow::Result<Self> {
        let log = MetricsLog::open(folder.path(), run.optimizer.steps())?;
        if let Some(guard) = run.settings.spike_guard {
            // The log contains all steps of the checkpoint, with numbers that round-trip exactly.
            let past = metrics::read(&folder.join("metrics.jsonl"))?;
            run.spikes = Some(Spikes::new(guard, past.iter().map(|step| [step.loss, step.grad_norm])));
        }
        let rate = matrix_rate(run.model.kind(), run.model.device());
        let console = Console::new(run.optimizer.steps(), run.objective.steps());
        Ok(Self { log, console, rate })
    }

    /// Logs and prints a step. `left` is the expected time to the end.
    fn step(&mut self, metrics: &StepMetrics, left: Duration) -> anyhow::Result<()> {
        if metrics.metrics.contains_key(SKIPPED) {
            let StepMetrics { step, loss, grad_norm, .. } = metrics;
            let text = format!("step {step} is skipped as a spike: loss {loss:.4}, gradient norm {grad_norm:.4}");
            self.console.line(&text);
        }
        self.log.step(metrics)?;
        self.console.step(metrics, left);
        Ok(())
    }
}

/// Configures the allocator of this process to keep freed memory. Every step requests about the same memory again; returning gigabytes to
/// the system and faulting them in page by page takes a tenth of the time. Tensors have an allocator that holds no more than their peak
/// ([`torch_ext::keep_tensors`]); what else the process keeps beyond the estimate of a run is returned ([`Allowance`]). Call it at the
/// start of a program that trains.
pub fn keep_memory() {
    torch_ext::keep_tensors();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets parameters of the allocator; existing allocations are unaffected.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
