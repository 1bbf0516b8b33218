//! What the training stages have in common around the loop: flags and configuration file, LoRA, what is shown before the
//! first step, what guards a resume, the result and its record.
//!
//! A stage brings its own keys beside [`Training`] ([`StageConfig`]), and a function from [`Setup`] to [`Prepared`] that reads
//! its data; [`run`] does the rest. Each key is declared once: the field is the flag, the TOML key and the help, `Default`
//! has the value.
//!
//! ```no_run
//! # use serde::{Deserialize, Serialize};
//! # use trainer::stage::{self, Flags, Prepared, Setup, StageConfig, Training};
//! # fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<Never>> { unimplemented!() }
//! # enum Never {}
//! # impl trainer::Objective for Never {
//! #     type Batch = ();
//! #     fn steps(&self) -> u64 { 0 }
//! #     fn epoch(&self, _: u64) -> f64 { 0.0 }
//! #     fn batches(&self, _: u64) -> Vec<()> { Vec::new() }
//! #     fn normaliser(&self, _: &()) -> f64 { 0.0 }
//! #     fn tokens(&self, _: &()) -> (u64, u64) { (0, 0) }
//! #     fn example_ids<'a>(&self, _: &'a ()) -> &'a [String] { &[] }
//! #     fn input<'a>(&self, _: &'a ()) -> trainer::Input<'a> { unimplemented!() }
//! #     fn loss(&self, _: &tch::Tensor, _: &tch::Tensor, _: &()) -> anyhow::Result<trainer::Loss> { unimplemented!() }
//! # }
//! #[derive(clap::Args, Serialize, Deserialize)]
//! pub struct Config {
//!     #[command(flatten)]
//!     #[serde(flatten)]
//!     training: Training,
//!     /// Strength of the pull to the reference model
//!     #[arg(long)]
//!     beta: f64,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { training: Training { learning_rate: 5e-7, ..Training::default() }, beta: 0.1 }
//!     }
//! }
//!
//! impl StageConfig for Config {
//!     fn training(&self) -> &Training {
//!         &self.training
//!     }
//!     fn check(&self) -> anyhow::Result<()> {
//!         anyhow::ensure!(self.beta > 0.0, "--beta is {}; it must be more than 0", self.beta);
//!         Ok(())
//!     }
//! }
//!
//! pub fn run(flags: &Flags<Config>) -> anyhow::Result<()> {
//!     let resolved = flags.resolve()?;
//!     stage::run("dpo", &resolved, flags.dry_run, |setup| prepare(&resolved.config, setup))?;
//!     Ok(())
//! }
//! ```

mod adapter;
mod excerpt;
mod memory;
mod save;
pub mod sources;
mod summary;
mod template;
mod together;
mod training;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chat::ChatTemplate;
use distributed::{Place, World};
use llama::device::{Compute, Count};
use llama::{ModelFolder, device, locate};
use run::{Begun, Facts, Input, Session};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tch::{Device, Kind};

use memory::Needs;
pub use run::{Class, Flags, Resolved, resolve};
pub use sources::{Account, Encoded, Encoder, OverLong, RecordError, Row, Sources};
pub use training::Training;

use together::{Part, Start};

use crate::watch::cost::Trained;
use crate::{Objective, Outcome, Plan, Report, RunFolder, Source, TrainSettings, TrainedWeights, train};

/// A stage's configuration: the common keys, flattened (`#[serde(flatten)] training: Training`), and the stage's own, all
/// on one level. Its [`Default`] holds the stage's defaults. Keys without a value are `Option`s that write themselves as
/// null, never skipped: what a default writes is the list of keys that exist.
pub trait StageConfig: Serialize + DeserializeOwned + Default {
    /// The keys that every stage has.
    fn training(&self) -> &Training;

    /// Checks the stage's own keys; the common ones are checked before.
    ///
    /// # Errors
    /// A sentence that names the flag and what to write instead.
    fn check(&self) -> anyhow::Result<()>;

    /// What a change of one of the stage's own keys changes in the result; the common ones have [`Training::class`].
    #[must_use]
    fn class(_key: &str) -> Class {
        Class::Course
    }

    /// What a change of a key that all stages have changes in this one, where that is something else than
    /// [`Training::class`] says.
    #[must_use]
    fn common_class(_key: &str) -> Option<Class> {
        None
    }

    /// Settings of the loop that follow from the stage's own keys; those of the common ones are there.
    fn adjust(&self, _settings: &mut TrainSettings) {}

    /// What the stage reads beside the model and the data.
    ///
    /// # Errors
    /// When it cannot be read.
    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        Ok(Vec::new())
    }
}

/// What a stage prepares its data with.
pub struct Setup<'a> {
    /// The model to start from, without an adapter.
    pub model: &'a ModelFolder,
    /// The run's folder.
    pub run: &'a RunFolder,
    /// Where to compute.
    pub device: Device,
    /// The type to compute in.
    pub kind: Kind,
    /// The most tokens of a sequence.
    pub max_length: usize,
    /// All processes of the run. Each prepares all of the data.
    pub world: &'a World,
}

impl<'a> Setup<'a> {
    /// The chat template that examples are written in.
    ///
    /// # Errors
    /// When the model has none.
    pub fn template(&self) -> anyhow::Result<&'a ChatTemplate> {
        self.model.template.as_ref().with_context(|| {
            format!("{} has no chat template; give the folder a chat_template.jinja", self.model.path.display())
        })
    }
}

/// A stage's data, ready to train on.
pub struct Prepared<O> {
    /// Micro-batches and loss.
    pub objective: O,
    /// What happened to the records of each file, for people.
    pub ledger: String,
    /// The same for `run.json`.
    pub data: Value,
    /// One example for people: a heading and a text.
    pub example: Option<(String, String)>,
    /// The batch arithmetic for people, see [`batch_arithmetic`].
    pub batch: String,
}

/// How a stage ended.
#[derive(Debug)]
pub enum Ending {
    /// It was trained: what the run did, and the folder of the result.
    Trained(Report, PathBuf),
    /// It had been finished before.
    Already(Report, PathBuf),
    /// Everything was shown, nothing was trained.
    DryRun,
    /// This process trained with others, and the first of them has the result.
    Helped,
}

/// Runs a stage as its configuration says, or goes on where it was stopped. Where a launcher has started several processes,
/// they train together: [`distributed::Place`].
///
/// # Errors
/// A sentence on what is wrong with configuration, data, model, folder or training; also when a signal stopped the run,
/// whose state is then saved, and when another process is gone.
pub fn run<C: StageConfig, O: Objective>(
    stage: &str,
    resolved: &Resolved<C>,
    dry_run: bool,
    prepare: impl FnOnce(&Setup) -> anyhow::Result<Prepared<O>>,
) -> anyhow::Result<Ending> {
    let training = resolved.config.training();
    training.check()?;
    resolved.config.check()?;
    let mut world = match Place::from_env()? {
        Some(place) if dry_run && place.rank > 0 => return Ok(Ending::DryRun),
        Some(place) if !dry_run => World::join(place, training.rank_limit())?,
        _ => World::single(),
    };
    let ended = together::compute(training, &mut world)
        .and_then(|compute| run_in(&world, stage, resolved, dry_run, compute, prepare));
    match ended {
        Ok(ending) => {
            world.finish()?;
            Ok(ending)
        }
        Err(error) => {
            world.fail(&format!("{error:#}"));
            Err(error)
        }
    }
}

fn run_in<C: StageConfig, O: Objective>(
    world: &World,
    stage: &str,
    resolved: &Resolved<C>,
    dry_run: bool,
    (device, kind): (Device, Kind),
    prepare: impl FnOnce(&Setup) -> anyhow::Result<Prepared<O>>,
) -> anyhow::Result<Ending> {
    let training = resolved.config.training();
    let base = locate::locate(&training.model.to_string_lossy())?;
    let facts = Facts {
        seed: Some(training.seed),
        inputs: inputs(&resolved.config, &base)?,
        hardware: device::hardware(device, kind),
        libtorch: Some(device::LIBTORCH),
        ..Facts::new(stage, |key| {
            C::common_class(key).or_else(|| Training::class(key)).unwrap_or_else(|| C::class(key))
        })
    };
    together::agree(world, &resolved.config, &facts)?;
    let (folder, _scratch) = together::folder(world, &training.output)?;
    if dry_run {
        let (model, prepared) = prepared(world, &folder, (training, dry_run), &base, (device, kind), prepare)?;
        return tried(resolved, model, prepared, &base, (kind, device));
    }
    let mut part = if !world.is_first() {
        Part::Other(folder)
    } else {
        match Session::begin(folder, resolved, facts)? {
            Begun::Finished(record) => {
                Start { finished: true, ..Start::default() }.tell(world)?;
                world.done()?;
                println!("{} is finished already:\n{}", training.output.display(), record.summary);
                let report = serde_json::from_value(record.stage.figures["report"].clone())
                    .with_context(|| format!("{} has no report", training.output.display()))?;
                return Ok(Ending::Already(report, result_folder(&training.output)));
            }
            Begun::Going(session) => Part::First(Box::new(session)),
        }
    };
    let start = part.start().tell(world)?;
    if start.finished {
        world.done()?;
        return Ok(Ending::Helped);
    }
    let (mut model, mut prepared) =
        prepared(world, part.folder(), (training, dry_run), &base, (device, kind), prepare)?;
    if let Part::First(session) = &mut part {
        session.start(json!({"data": prepared.data}))?;
    }
    let extra = prepared.objective.extra();
    let lora = adapter::lora_config(training, &base, &extra);
    let named = adapter::trained_tensors(&mut model.model, lora.as_ref(), &extra, training.seed)?;
    let count: u64 = named.iter().map(|(_, tensor)| tensor.numel() as u64).sum();
    let trained = if lora.is_some() { Trained::Adapter { weights: count } } else { Trained::Everything };
    let needs = Needs::new(training, prepared.objective.extent(), model.model.config(), (kind, device), trained);
    let run = part.folder();
    if world.is_first() && start.only_output {
        has_last_checkpoint(run, prepared.objective.steps())?;
    } else if world.is_first() {
        show(resolved, &prepared, &model, &needs, count, (kind, device))?;
    }
    torch_ext::catch(|| prepared.objective.begin(&model.model, run, world))
        .context("what is computed before the first step")?;
    let mut settings = training.settings(prepared.objective.steps(), trained, start.fingerprint);
    settings.lora = lora.clone();
    settings.recompute = needs.recompute;
    resolved.config.adjust(&mut settings);
    let checkpoint = weights::Checkpoint::open(&base)?;
    let exact = |name: &str| -> anyhow::Result<_> { Ok(llama::float32_weight(&checkpoint, &base, name)?) };
    let weights = TrainedWeights { named, exact: &exact };
    let result = save::Result { run, training, base: &base, model: &model, lora: lora.as_ref(), extra: &extra };
    let decorate = |target: &Path| result.decorate(target);
    let (weights, report) = match train(run, &model.model, weights, &prepared.objective, &settings, &decorate, world)? {
        Outcome::Interrupted(step) => {
            bail!("stopped by a signal after step {step}; a checkpoint is saved: the same command goes on from there")
        }
        Outcome::Finished(weights, report) => {
            (weights, Report { memory_estimate: Some(needs.estimate.total()), ..report })
        }
    };
    if !world.is_first() {
        return Ok(Ending::Helped);
    }
    result.save(&weights)?;
    let steps = summary::steps(run)?;
    let summary = summary::text(run, &report, &steps);
    let page = run.join("report.html");
    crate::watch::report::write(
        &page,
        &format!("herd {stage}: {}", run.path().display()),
        &steps,
        &[
            ("Summary", summary.clone()),
            ("Data", prepared.ledger),
            ("Batch", prepared.batch),
            ("Configuration", resolved.table()?),
        ],
    )?;
    let folder = result_folder(run.path());
    if let Part::First(session) = part {
        session.finish(&["adapter", "model"], &summary, json!({"data": prepared.data, "report": report}))?;
    }
    println!("{summary}\nwritten: {}; plots: {}", folder.display(), page.display());
    Ok(Ending::Trained(report, folder))
}

/// Where to compute, in which type and with how many threads: a run that goes on keeps the number that it chose, since that
/// decides the last bits of sums.
fn compute(training: &Training) -> anyhow::Result<Compute> {
    let mut compute = training.compute();
    if compute.threads == Some(Count::Auto)
        && let Some(threads) = run::Record::read(&training.output)?.and_then(|record| record.hardware.threads)
    {
        compute.threads = Some(Count::Of(threads));
        eprintln!("threads: {threads}, as when the run was started");
    }
    Ok(compute)
}

/// The model to start from, the files of training and held-out data, and what else the stage reads.
fn inputs<C: StageConfig>(config: &C, base: &Path) -> anyhow::Result<Vec<Input>> {
    let training = config.training();
    let mut inputs = vec![Input::model("model", base)?];
    for (path, weight) in training.sources()? {
        inputs.push(Input::file("data", &path)?.weighted(weight));
    }
    for path in &training.eval_data {
        inputs.push(Input::file("eval_data", Path::new(path))?);
    }
    inputs.extend(config.inputs()?);
    Ok(inputs)
}

fn prepared<O>(
    world: &World,
    run: &RunFolder,
    (training, dry_run): (&Training, bool),
    base: &Path,
    (device, kind): (Device, Kind),
    prepare: impl FnOnce(&Setup) -> anyhow::Result<Prepared<O>>,
) -> anyhow::Result<(ModelFolder, Prepared<O>)> {
    let mut model = ModelFolder::load(base, Some(kind), device)?;
    if let Some(template) = &mut model.template {
        template.set_plain_special_tokens(training.plain_special_tokens);
        template::fix(template, run, &training.template_var, dry_run, world)?;
    }
    let max_length = training.max_length_in(model.model.config().max_position_embeddings as usize)?;
    let prepared = prepare(&Setup { model: &model, run, device, kind, max_length, world })?;
    Ok((model, prepared))
}

/// What a dry run shows.
fn tried<C: StageConfig, O: Objective>(
    resolved: &Resolved<C>,
    mut model: ModelFolder,
    prepared: Prepared<O>,
    base: &Path,
    compute: (Kind, Device),
) -> anyhow::Result<Ending> {
    let training = resolved.config.training();
    let extra = prepared.objective.extra();
    let lora = adapter::lora_config(training, base, &extra);
    let named = adapter::trained_tensors(&mut model.model, lora.as_ref(), &extra, training.seed)?;
    let weights: u64 = named.iter().map(|(_, tensor)| tensor.numel() as u64).sum();
    let trained = if lora.is_some() { Trained::Adapter { weights } } else { Trained::Everything };
    let needs = Needs::new(training, prepared.objective.extent(), model.model.config(), compute, trained);
    show(resolved, &prepared, &model, &needs, weights, compute)?;
    Ok(Ending::DryRun)
}

/// Saving a finished run again takes the weights from its last checkpoint.
fn has_last_checkpoint(run: &RunFolder, steps: u64) -> anyhow::Result<()> {
    let folder = run.join("checkpoints");
    let all = if folder.is_dir() {
        crate::persist::checkpoint::whole(&folder, |report| eprintln!("warning: {report}"))?
    } else {
        vec![]
    };
    ensure!(
        all.last().is_some_and(|(step, _)| *step == steps),
        "{} is finished, but its last checkpoint (step {steps}), from which the result would be saved again, is not there; \
         choose another --output to train again",
        run.path().display()
    );
    Ok(())
}

fn result_folder(run: &Path) -> PathBuf {
    run.join(if run.join("model").is_dir() { "model" } else { "adapter" })
}

/// What stands on the terminal before the first step.
fn show<C: StageConfig, O>(
    resolved: &Resolved<C>,
    prepared: &Prepared<O>,
    model: &ModelFolder,
    needs: &Needs,
    weights: u64,
    (kind, device): (Kind, Device),
) -> anyhow::Result<()> {
    println!("Data\n{}", prepared.ledger);
    if let Some((heading, text)) = &prepared.example {
        println!("{heading}\n{text}\n");
    }
    println!("Batch\n{}\n", prepared.batch);
    println!("Configuration\n{}", resolved.table()?);
    println!(
        "Model\n  {weights} weights trained, {} of the model, computing in {} on {device:?}\n  {}\n",
        model.model.parameter_count(),
        device::name(kind),
        needs.text()
    );
    if let Some(warning) = needs.warning() {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// Steps, examples, tokens and how full the micro-batches are, in two lines. `sources` is what `plan` was made from,
/// `micro_batches` their number in the whole run.
#[must_use]
pub fn batch_arithmetic(
    training: &Training,
    plan: &Plan,
    sources: &[Source],
    micro_batches: usize,
    held_out: usize,
) -> String {
    let lengths = |step: &Vec<(usize, usize)>| step.iter().map(|&(s, e)| sources[s].lengths[e]).sum::<usize>();
    let tokens: usize = plan.steps.iter().map(lengths).sum();
    let examples: usize = plan.steps.iter().map(Vec::len).sum();
    let steps = plan.steps.len().max(1);
    format!(
        "  {} epochs, {examples} examples, {tokens} tokens: {} steps of about {} tokens in {:.1} examples\n  \
         {micro_batches} micro-batches of at most {} tokens, {:.1}% full; {held_out} held-out examples",
        plan.epoch_ends.len(),
        plan.steps.len(),
        tokens / steps,
        examples as f64 / steps as f64,
        training.micro_batch_tokens,
        100.0 * tokens as f64 / (micro_batches * training.micro_batch_tokens).max(1) as f64,
    )
}
