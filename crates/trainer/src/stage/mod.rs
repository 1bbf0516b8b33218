//! The frame of training stages around the loop: flags and configuration file, LoRA, the output before the first step, the
//! checks of a resume, the result and its record.
//!
//! A stage provides its own keys beside [`Training`] ([`StageConfig`]), and a function from [`Setup`] to [`Prepared`] that
//! reads its data; [`run`] does the rest. Each key is declared once: the struct field defines the flag, the TOML key and the
//! help text, and `Default` defines the value.
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
//! #     fn loss(&self, _: &tch::Tensor, _: llama::Head, _: &()) -> anyhow::Result<trainer::Loss> { unimplemented!() }
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
use run::{Begun, Facts, Input, Session, counted};
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

/// A stage's configuration: the common keys, flattened (`#[serde(flatten)] training: Training`), and the stage's own keys, all
/// on one level. Its [`Default`] holds the stage's defaults. Keys without a value are `Option`s that serialize as null and are
/// never skipped, because the serialized default is the list of valid keys.
pub trait StageConfig: Serialize + DeserializeOwned + Default {
    /// The keys that every stage has.
    fn training(&self) -> &Training;

    /// Checks the stage's own keys. The common keys are checked before.
    ///
    /// # Errors
    /// A sentence that names the flag and what to write instead.
    fn check(&self) -> anyhow::Result<()>;

    /// Effect of a change of one of the stage's own keys on a resumed run. For the common keys see [`Training::class`].
    #[must_use]
    fn class(_key: &str) -> Class {
        Class::Course
    }

    /// Effect of a change of a common key in this stage, if it differs from [`Training::class`].
    #[must_use]
    fn common_class(_key: &str) -> Option<Class> {
        None
    }

    /// Changes settings of the loop according to the stage's own keys. The common keys are already applied.
    fn adjust(&self, _settings: &mut TrainSettings) {}

    /// Files that the stage reads beside the model and the data.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        Ok(Vec::new())
    }
}

/// Input of a stage's preparation function.
pub struct Setup<'a> {
    /// The model that training starts from, without an adapter.
    pub model: &'a ModelFolder,
    /// The run's folder.
    pub run: &'a RunFolder,
    /// Device of the model.
    pub device: Device,
    /// Data type of the computation.
    pub kind: Kind,
    /// Maximal length of a sequence in tokens.
    pub max_length: usize,
    /// All processes of the run. Each process prepares all of the data.
    pub world: &'a World,
    /// Whether nothing is trained. The run's folder then gets no file except the records that `--skip-bad` sets aside.
    pub dry_run: bool,
}

impl<'a> Setup<'a> {
    /// The chat template that formats the examples.
    ///
    /// # Errors
    /// When the model has no chat template.
    pub fn template(&self) -> anyhow::Result<&'a ChatTemplate> {
        self.model.template.as_ref().with_context(|| {
            format!("{} has no chat template; give the folder a chat_template.jinja", self.model.path.display())
        })
    }
}

/// A stage's prepared data.
pub struct Prepared<O> {
    /// Micro-batches and loss.
    pub objective: O,
    /// Table of what happened to the records of each file, as text.
    pub ledger: String,
    /// The same table for `run.json`.
    pub data: Value,
    /// One example to print: a heading and a text.
    pub example: Option<(String, String)>,
    /// The batch arithmetic as text, see [`batch_arithmetic`].
    pub batch: String,
}

/// Result of running a stage.
#[derive(Debug)]
pub enum Ending {
    /// Training finished: the report, and the folder of the result.
    Trained(Report, PathBuf),
    /// The run had already finished before: its report, and the folder of the result.
    Already(Report, PathBuf),
    /// Dry run: the plan was printed, nothing was trained.
    DryRun,
    /// This process trained together with others; the first process has the result.
    Helped,
}

/// Runs a stage according to its configuration, or resumes it. If a launcher has started several processes, they train
/// together; see [`distributed::Place`].
///
/// # Errors
/// A sentence that names the fault in the configuration, data, model, folder or training. Also when a signal stopped the run
/// (its state is then saved), and when another process has ended.
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
    let is_partial = lora.is_some() || extra.frozen;
    let trained = if is_partial { Trained::Adapter { weights: count } } else { Trained::Everything };
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
    settings.memory = (!device.is_cuda()).then(|| needs.estimate.total());
    if training.check_weights.is_none() && !world.is_alone() {
        settings.check_weights = Some(training::CHECK_WEIGHTS);
    }
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
    match extra.frozen {
        true => save::save_folder(&run.join("model"), |target| prepared.objective.save(target, &weights))?,
        false => result.save(&weights)?,
    }
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

/// Device, data type and thread count. A resumed run keeps the thread count that it chose at its start, because the count
/// affects the rounding of sums.
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

/// The input files: the model, the training and held-out data, and the stage's other files.
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
    model.model.set_gpu_kernels(compute(training)?.gpu_kernels()?);
    if let Some(template) = &mut model.template {
        template.set_plain_special_tokens(training.plain_special_tokens);
        template::fix(template, run, &training.template_var, dry_run, world)?;
    }
    let max_length = training.max_length_in(model.model.config().max_position_embeddings as usize)?;
    let prepared = prepare(&Setup { model: &model, run, device, kind, max_length, world, dry_run })?;
    Ok((model, prepared))
}

/// Prints the output of a dry run (data, batches, configuration, memory estimate) and trains nothing.
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
    let is_partial = lora.is_some() || extra.frozen;
    let trained = if is_partial { Trained::Adapter { weights } } else { Trained::Everything };
    let needs = Needs::new(training, prepared.objective.extent(), model.model.config(), compute, trained);
    show(resolved, &prepared, &model, &needs, weights, compute)?;
    Ok(Ending::DryRun)
}

/// Checks that the last checkpoint exists: a finished run that is saved again takes its weights from there.
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

/// Prints the summary before the first step.
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

/// The batch arithmetic in two lines: steps, examples, tokens, and how full the micro-batches are. `sources` are the sources of
/// `plan`; `micro_batches` is the number of micro-batches in the whole run.
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
        "  {}, {}, {}: {} of about {} in {:.1} examples\n  {} of at most {}, {:.1}% full; {}",
        counted(plan.epoch_ends.len(), "epoch"),
        counted(examples, "example"),
        counted(tokens, "token"),
        counted(plan.steps.len(), "step"),
        counted(tokens / steps, "token"),
        examples as f64 / steps as f64,
        counted(micro_batches, "micro-batch"),
        counted(training.micro_batch_tokens, "token"),
        100.0 * tokens as f64 / (micro_batches * training.micro_batch_tokens).max(1) as f64,
        counted(held_out, "held-out example"),
    )
}
