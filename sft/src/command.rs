//! `herd sft`: load, prepare, train, save.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chat::Encoded;
use dataset::digest::{self, Fingerprint};
use llama::{Llama, LoraConfig, ModelFolder, TargetModules, locate};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use trainer::checkpoint::FileDigest;
use trainer::cost::{MemoryEstimate, Trained, available_memory};
use trainer::device::{self, Compute};
use trainer::{
    Named, Objective, OptimizerSettings, Outcome, Plan, Report, RunFolder, Schedule, Source, StepSize, TrainSettings,
    WeightsFile, duration, metrics, train,
};

pub use crate::args::Args;
use crate::config::{Config, Origin, Resolved, resolve};
use crate::data::{self, Encoder, Ledger, Loaded};
use crate::objective::{SftObjective, hold_out};

/// The data of a run, ready to train on.
struct Data {
    objective: SftObjective,
    ledgers: Vec<Ledger>,
    shown: Option<(String, Encoded)>,
}

/// Runs the stage as its flags and configuration file say, or goes on where it was stopped.
///
/// # Errors
/// A sentence on what is wrong with flags, data, model, folder or training; also when a signal stopped the run, whose state
/// is then saved.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = resolve(args.config.as_deref(), args.given()?)?;
    let config = &resolved.config;
    let folder = locate::locate(&config.model.to_string_lossy())?;
    let compute = Compute { dtype: config.dtype, device: config.device, threads: config.threads };
    let (device, kind) = compute.resolve()?;
    let run = RunFolder::open(&config.output)?;
    let mut model = ModelFolder::load(&folder, Some(kind), device)?;
    let data = load_data(config, &model, &run, device)?;
    let fingerprint = fingerprint(config, &data.ledgers, &folder, kind)?;
    if let Some(done) = finished(&run, &fingerprint)? {
        println!("{} is finished already:\n{done}", run.path().display());
        return Ok(());
    }
    let lora = lora_config(config, &folder);
    let named = trained_tensors(&mut model.model, lora.as_ref(), config.seed)?;
    let weights: u64 = named.iter().map(|(_, tensor)| tensor.numel() as u64).sum();
    let trained = if lora.is_some() { Trained::Adapter { weights } } else { Trained::Everything };
    let memory =
        MemoryEstimate::new(model.model.config(), kind, trained, config.micro_batch_tokens as u64, config.recompute);
    show(&resolved, &data, &model, (weights, kind, device), &memory)?;
    if args.dry_run {
        return Ok(());
    }
    dataset::write_file(run.join("config.toml"), config.to_toml()?.as_bytes())?;
    let settings = settings(config, data.objective.steps(), trained, lora.is_some(), fingerprint.clone());
    let decorate = |target: &Path| -> anyhow::Result<()> {
        match &lora {
            None => write_model_texts(&model, target, Kind::Float),
            Some(lora) => write_adapter_config(lora, target),
        }
    };
    match train(&run, &model.model, named, &data.objective, &settings, &decorate)? {
        Outcome::Interrupted(step) => {
            bail!("stopped by a signal after step {step}; a checkpoint is saved: the same command goes on from there")
        }
        Outcome::Finished(weights, report) => {
            save(&run, &resolved, &folder, &model, lora.as_ref(), &weights)?;
            finish(&run, &resolved, &data, &report, &fingerprint, (kind, device))
        }
    }
}

/// Reads all files, holds out what is to be held out, and plans the steps.
fn load_data(config: &Config, model: &ModelFolder, run: &RunFolder, device: Device) -> anyhow::Result<Data> {
    let template = model.template.as_ref().with_context(|| {
        format!("{} has no chat template; give the folder a chat_template.jinja", model.path.display())
    })?;
    let encoder = Encoder { tokenizer: &model.tokenizer, template, config };
    let mut files = 0;
    let mut load = |path: &Path, weight: f64| -> anyhow::Result<Loaded> {
        files += 1;
        encoder.load(path, weight, run.join(&format!("rejected-{files}.jsonl")))
    };
    let (mut sources, mut ledgers, mut shown) = (Vec::new(), Vec::new(), None);
    for (path, weight) in config.sources()? {
        let loaded = load(&path, weight)?;
        shown = shown.or(loaded.shown);
        sources.push(loaded.examples);
        ledgers.push(loaded.ledger);
    }
    let mut held_out = Vec::new();
    if config.eval_fraction > 0.0 {
        let held = hold_out(&mut sources, config.eval_fraction, config.seed);
        for (examples, ledger) in held.iter().zip(&mut ledgers) {
            ledger.held_out = examples.len() as u64;
        }
        held_out.extend(held.into_iter().flatten());
    }
    for path in &config.eval_data {
        let loaded = load(Path::new(path), 0.0)?;
        ledgers.push(Ledger { held_out: loaded.examples.len() as u64, ..loaded.ledger });
        held_out.extend(loaded.examples);
    }
    let lengths = sources.iter().zip(&ledgers).map(|(examples, ledger)| Source {
        lengths: examples.iter().map(|example| example.ids.len()).collect(),
        weight: ledger.weight,
    });
    let size = config.batch_size.map_or(StepSize::Tokens(config.batch_tokens), StepSize::Examples);
    let plan = Plan::new(&lengths.collect::<Vec<_>>(), config.epochs, config.max_steps, size, config.seed);
    ensure!(
        !plan.steps.is_empty(),
        "nothing to train on: no example is left of {}\n{}",
        config.data.join(", "),
        data::table(&ledgers)
    );
    let objective = SftObjective {
        sources,
        held_out,
        plan,
        micro_batch_tokens: config.micro_batch_tokens,
        neftune_alpha: config.neftune_alpha,
        device,
    };
    Ok(Data { objective, ledgers, shown })
}

/// Everything that decides the bytes of the result. Where the run stands, how often it is saved and shown, and how many
/// threads tokenise has no part in it.
fn fingerprint(config: &Config, ledgers: &[Ledger], folder: &Path, kind: Kind) -> anyhow::Result<String> {
    let aside = Config::default();
    let deciding = Config {
        output: PathBuf::new(),
        model: PathBuf::new(),
        data: Vec::new(),
        eval_data: Vec::new(),
        checkpoint_steps: aside.checkpoint_steps,
        checkpoint_minutes: aside.checkpoint_minutes,
        keep_last: aside.keep_last,
        keep_best: aside.keep_best,
        eval_steps: aside.eval_steps,
        ..config.clone()
    };
    let mut print = Fingerprint::new()
        .text("config", &serde_json::to_string(&deciding)?)
        .text("data", &data::identity(ledgers).to_string())
        .text("compute", device::name(kind));
    let mut names: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let text = name.to_string_lossy().into_owned();
        if text.ends_with(".json") || text.ends_with(".jinja") {
            print = print.file(&text, &path)?;
        } else if text.ends_with(".safetensors") {
            // Gigabytes: the header, with all names and offsets, the size and the date stand for the content.
            let meta = fs::metadata(&path)?;
            let modified = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            print = print.text(&text, &format!("{} bytes, {} ns", meta.len(), modified.as_nanos()));
        }
    }
    Ok(print.finish())
}

/// The summary of a run that is finished and whose result is whole; an error if that run was another.
fn finished(run: &RunFolder, fingerprint: &str) -> anyhow::Result<Option<String>> {
    let path = run.join("run.json");
    if !path.is_file() {
        return Ok(None);
    }
    let record: Value = serde_json::from_slice(&fs::read(&path)?)
        .with_context(|| format!("{} is damaged; remove it to train again", path.display()))?;
    ensure!(
        record["fingerprint"] == fingerprint,
        "{} holds a finished run with another configuration, model or data; choose another --output, or remove the folder",
        run.path().display()
    );
    let outputs: std::collections::BTreeMap<String, FileDigest> = serde_json::from_value(record["outputs"].clone())?;
    for (name, expected) in &outputs {
        let file = run.join(name);
        if !file.is_file() || digest::file(&file)? != expected.sha256 {
            eprintln!("warning: {} is missing or changed; it is made again", file.display());
            return Ok(None);
        }
    }
    Ok(Some(record["summary"].as_str().unwrap_or_default().to_owned()))
}

fn lora_config(config: &Config, base: &Path) -> Option<LoraConfig> {
    (config.lora_rank > 0).then(|| LoraConfig {
        peft_type: "LORA".into(),
        task_type: Some("CAUSAL_LM".into()),
        base_model_name_or_path: Some(base.display().to_string()),
        r: config.lora_rank,
        lora_alpha: config.lora_alpha.unwrap_or(2.0 * config.lora_rank as f64),
        lora_dropout: 0.0,
        use_rslora: false,
        target_modules: match &config.lora_targets[..] {
            [one] if one == "all-linear" => TargetModules::Names(ALL_LINEAR.map(str::to_owned).to_vec()),
            names => TargetModules::Names(names.to_vec()),
        },
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        bias: "none".into(),
        modules_to_save: None,
        use_dora: false,
        fan_in_fan_out: false,
        inference_mode: true,
    })
}

/// The projections of a layer, as PEFT's `all-linear` resolves them.
const ALL_LINEAR: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The tensors to train, under the names that they have in the saved files.
fn trained_tensors(model: &mut Llama, lora: Option<&LoraConfig>, seed: u64) -> anyhow::Result<Named> {
    let Some(lora) = lora else { return Ok(model.named_parameters()) };
    tch::manual_seed(seed as i64);
    let uniform =
        |_: &str, shape: [i64; 2], bound: f64| (Tensor::rand(shape, (Kind::Float, Device::Cpu)) * 2.0 - 1.0) * bound;
    if model.add_adapter(lora, uniform)? == 0 {
        bail!("--lora-targets matches no projection; the names are {}", ALL_LINEAR.join(", "));
    }
    let mut named = Vec::new();
    for (name, linear) in model.linears_mut() {
        if let Some(lora) = &linear.lora {
            named.push((format!("base_model.model.{name}.lora_A.weight"), lora.a.shallow_clone()));
            named.push((format!("base_model.model.{name}.lora_B.weight"), lora.b.shallow_clone()));
        }
    }
    Ok(named)
}

fn settings(config: &Config, steps: u64, trained: Trained, lora: bool, fingerprint: String) -> TrainSettings {
    let share = |ratio: f64| (ratio * steps as f64).ceil() as u64;
    let above = |value: u64| (value > 0).then_some(value);
    TrainSettings {
        optimizer: OptimizerSettings {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            weight_decay: config.weight_decay,
            decay_norms_and_biases: false,
            max_grad_norm: (config.max_grad_norm > 0.0).then_some(config.max_grad_norm),
        },
        schedule: Schedule {
            kind: config.schedule,
            peak: config.learning_rate,
            warmup_steps: share(config.warmup_ratio),
            total_steps: steps,
            final_ratio: config.final_lr_ratio,
            decay_steps: share(config.decay_ratio),
        },
        seed: config.seed,
        recompute: config.recompute,
        trained,
        weights_file: if lora { WeightsFile::Adapter } else { WeightsFile::Model },
        checkpoint_steps: above(config.checkpoint_steps),
        checkpoint_minutes: (config.checkpoint_minutes > 0.0).then_some(config.checkpoint_minutes),
        keep_last: config.keep_last,
        keep_best: config.keep_best,
        eval_steps: above(config.eval_steps),
        average: config.average,
        average_decay: config.average_decay,
        fingerprint,
    }
}

/// What stands on the terminal before the first step.
fn show(
    resolved: &Resolved,
    data: &Data,
    model: &ModelFolder,
    (weights, kind, device): (u64, Kind, Device),
    memory: &MemoryEstimate,
) -> anyhow::Result<()> {
    let (config, objective) = (&resolved.config, &data.objective);
    println!("Data\n{}", data::table(&data.ledgers));
    if let Some((id, encoded)) = &data.shown {
        let colour = std::io::stdout().is_terminal();
        let legend = if colour { "trained tokens are coloured" } else { "trained tokens stand in ⟦ ⟧" };
        println!("Example {id} ({legend})\n{}\n", chat::show::tokens(&model.tokenizer, encoded, colour)?);
    }
    println!("Batch\n{}\n", batch_arithmetic(config, objective));
    println!("Configuration\n{}", settings_table(resolved)?);
    let gb = |bytes: u64| bytes as f64 / 1e9;
    println!(
        "Model\n  {weights} weights trained of {}, computing in {} on {device:?}\n  memory estimate {:.1} GB: weights \
         {:.1}, optimizer {:.1}, activations {:.1}, logits {:.1}\n",
        model.model.parameter_count(),
        device::name(kind),
        gb(memory.total()),
        gb(memory.weights),
        gb(memory.optimizer),
        gb(memory.activations),
        gb(memory.logits)
    );
    if !device.is_cuda() && available_memory().is_some_and(|available| available < memory.total()) {
        eprintln!(
            "warning: the estimate is more memory than this machine has free; make --micro-batch-tokens smaller or add \
             --recompute"
        );
    }
    Ok(())
}

fn batch_arithmetic(config: &Config, objective: &SftObjective) -> String {
    let plan = &objective.plan;
    let lengths =
        |step: &Vec<(usize, usize)>| step.iter().map(|&(s, e)| objective.sources[s][e].ids.len()).sum::<usize>();
    let tokens: usize = plan.steps.iter().map(lengths).sum();
    let examples: usize = plan.steps.iter().map(Vec::len).sum();
    let (steps, micro) = (plan.steps.len(), objective.micro_batches());
    format!(
        "  {} epochs, {examples} examples, {tokens} tokens: {steps} steps of about {} tokens in {:.1} examples\n  {micro} \
         micro-batches of at most {} tokens, {:.1}% full; {} held-out examples",
        plan.epoch_ends.len(),
        tokens / steps,
        examples as f64 / steps as f64,
        config.micro_batch_tokens,
        100.0 * tokens as f64 / (micro * config.micro_batch_tokens) as f64,
        objective.held_out.len()
    )
}

fn settings_table(resolved: &Resolved) -> anyhow::Result<String> {
    let Value::Object(values) = serde_json::to_value(&resolved.config)? else { return Ok(String::new()) };
    let line = |(key, value): (&String, &Value)| {
        let origin = resolved.origins.get(key).copied().unwrap_or(Origin::Default);
        format!("  {key:<20} {:<30} {}\n", value.to_string(), origin.as_str())
    };
    Ok(values.iter().map(line).collect())
}

/// Configuration and tokenizer of a model folder, everything but the weights.
fn write_model_texts(model: &ModelFolder, target: &Path, kind: Kind) -> anyhow::Result<()> {
    let config = model.model.config().to_json(kind)?;
    dataset::write_file(
        target.join("config.json"),
        format!("{}\n", serde_json::to_string_pretty(&config)?).as_bytes(),
    )?;
    model.tokenizer.save(target)?;
    let generation = model.path.join("generation_config.json");
    if generation.is_file() {
        fs::copy(&generation, target.join("generation_config.json"))?;
    }
    Ok(())
}

fn write_adapter_config(lora: &LoraConfig, target: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(lora)?;
    Ok(dataset::write_file(target.join("adapter_config.json"), format!("{text}\n").as_bytes())?)
}

/// Writes the result: `model/`, or `adapter/` and with `merge` also `model/`.
fn save(
    run: &RunFolder,
    resolved: &Resolved,
    base: &Path,
    model: &ModelFolder,
    lora: Option<&LoraConfig>,
    weights: &[(String, Tensor)],
) -> anyhow::Result<()> {
    let kind = resolved.config.save_dtype.map(device::Dtype::kind);
    match lora {
        None => {
            let kind = match kind {
                Some(kind) => kind,
                None => Llama::load(base, None, Device::Cpu)?.kind(),
            };
            into_place(&run.join("model"), |target| {
                write_model_texts(model, target, kind)?;
                WeightsFile::Model.write(target, weights, kind)
            })
        }
        Some(lora) => {
            into_place(&run.join("adapter"), |target| {
                write_adapter_config(lora, target)?;
                WeightsFile::Adapter.write(target, weights, Kind::Float)
            })?;
            if !resolved.config.merge {
                return Ok(());
            }
            // From the base model's own files: merging into weights rounded to the compute type would round twice.
            let mut merged = Llama::load(base, None, Device::Cpu)?;
            merged.load_adapter(&run.join("adapter"))?;
            merged.merge_adapter();
            let kind = kind.unwrap_or(merged.kind());
            into_place(&run.join("model"), |target| {
                write_model_texts(model, target, kind)?;
                Ok(merged.save(target, Some(kind))?)
            })
        }
    }
}

/// Fills a folder beside `target` and gives it that name once it is complete.
fn into_place(target: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let staging = target.with_extension("partial");
    let written = (|| {
        if staging.exists() {
            fs::remove_dir_all(&staging)?;
        }
        fs::create_dir(&staging)?;
        fill(&staging)?;
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        anyhow::Ok(fs::rename(&staging, target)?)
    })();
    written.with_context(|| {
        format!("cannot save {}; the checkpoints are whole: run the same command again", target.display())
    })
}

/// Summary, report and `run.json`, which says that the run is finished.
fn finish(
    run: &RunFolder,
    resolved: &Resolved,
    data: &Data,
    report: &Report,
    fingerprint: &str,
    (kind, device): (Kind, Device),
) -> anyhow::Result<()> {
    let steps = metrics::read(&run.join("metrics.jsonl"))?;
    let start = fs::read(run.join("eval_start.json")).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let held_out = match (report.evaluation, start.as_ref().and_then(|value| value["loss"].as_f64())) {
        (Some(end), Some(start)) => {
            format!("\nheld-out loss {start:.4} before, {:.4} after, on {} tokens", end.loss, end.tokens)
        }
        _ => String::new(),
    };
    let loss = |steps: &[metrics::StepMetrics]| steps.iter().map(|m| m.loss).sum::<f64>() / steps.len().max(1) as f64;
    let tenth = steps.len().div_ceil(10);
    let memory = report.peak_memory.map_or(String::new(), |bytes| format!(", {:.1} GB at most", bytes as f64 / 1e9));
    let summary = format!(
        "{} steps in {}, {:.0} tokens/s{memory}\nmean training loss {:.4} in the first tenth, {:.4} in the last{held_out}",
        report.steps,
        duration(Duration::from_secs_f64(report.seconds)),
        report.tokens_per_second,
        loss(&steps[..tenth]),
        loss(&steps[steps.len() - tenth..])
    );
    trainer::report::write(
        &run.join("report.html"),
        &format!("herd sft: {}", run.path().display()),
        &steps,
        &[
            ("Summary", summary.clone()),
            ("Data", data::table(&data.ledgers)),
            ("Batch", batch_arithmetic(&resolved.config, &data.objective)),
            ("Configuration", settings_table(resolved)?),
        ],
    )?;
    let mut outputs = std::collections::BTreeMap::new();
    for folder in ["adapter", "model"].iter().filter(|name| run.join(name).is_dir()) {
        for entry in fs::read_dir(run.join(folder))? {
            let path = entry?.path();
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            let digest = FileDigest { bytes: fs::metadata(&path)?.len(), sha256: digest::file(&path)? };
            outputs.insert(name, digest);
        }
    }
    let record = json!({
        "stage": "sft",
        "version": env!("CARGO_PKG_VERSION"),
        "libtorch": "2.11.0",
        "fingerprint": fingerprint,
        "seed": resolved.config.seed,
        "compute": {"device": format!("{device:?}"), "dtype": device::name(kind), "threads": tch::get_num_threads()},
        "model": resolved.config.model,
        "data": data.ledgers,
        "report": report,
        "summary": summary,
        "outputs": outputs,
    });
    dataset::write_file(run.join("run.json"), format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes())?;
    let result = if run.join("model").is_dir() { "model" } else { "adapter" };
    println!("{summary}\nwritten: {}; plots: {}", run.join(result).display(), run.join("report.html").display());
    Ok(())
}
