//! The commands `herd plan` and `herd plan faults`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use run::{Frame, from_flags, grouped};
use serde::Serialize;
use serde_json::json;

use super::gpu::Gpu;
use super::layout::{Layout, Sharding, Work};
use super::memory::{LOSS_PIECE, Memory, memory};
use super::model::Model;
use super::paper;
use super::step::{StepTime, step};
use crate::faults::{self, Mix, Practice, Setting, formula, mean, simulate_all};
use crate::figure::{Figure, Origin, columns, table, time};

/// Arguments of `herd plan`.
#[derive(clap::Args, Debug, Clone)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    faults: Option<Sub>,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(clap::Subcommand, Debug, Clone)]
enum Sub {
    /// Simulate effective training time under a failure mix, with the supervisor's state machine
    Faults(Box<faults::command::Args>),
}

/// Arguments of `herd plan` itself.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct PlanArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// A model folder, a config.json, or llama-3.2-1b, llama-3.2-3b, llama-3-8b, llama-3-70b, llama-3-405b
    #[arg(long)]
    pub model: Option<String>,
    /// The kind of GPU: h100, h200, b200, a100-80, a100-40, h100-pcie, l40s, rtx4090
    #[arg(long, default_value = "h100")]
    pub gpu: String,
    /// Number of GPUs
    #[arg(long, default_value_t = 8)]
    pub gpus: u32,
    /// Tokens of a sequence
    #[arg(long, default_value_t = 8192)]
    pub sequence_length: u64,
    /// Tokens of a step on all GPUs
    #[arg(long, default_value_t = 524_288)]
    pub batch_tokens: u64,
    /// Tokens of a micro-batch [default: one sequence]
    #[arg(long)]
    pub micro_batch_tokens: Option<u64>,
    /// Train LoRA adapters of this rank instead of all weights
    #[arg(long)]
    pub lora_rank: Option<u64>,
    /// Degree of tensor parallelism
    #[arg(long, default_value_t = 1)]
    pub tensor_degree: u32,
    /// Degree of pipeline parallelism
    #[arg(long, default_value_t = 1)]
    pub pipeline_degree: u32,
    /// Degrees of context parallelism to compare [default: 1, 2, 4, 8 within a machine]
    #[arg(long, value_delimiter = ',')]
    pub context_degrees: Vec<u32>,
    /// Share of the GPU's peak that computation reaches [default: fitted to the paper's rows]
    #[arg(long)]
    pub efficiency: Option<f64>,
    /// Network bandwidth to other machines, in GB/s for each GPU [default: usual for the kind of GPU]
    #[arg(long)]
    pub network_gb: Option<f64>,
    /// GB of each GPU reserved for driver, kernels, communication buffers and fragmentation
    #[arg(long, default_value_t = 4.0)]
    pub reserve_gb: f64,
    /// Bandwidth from a GPU to host memory, in GB/s
    #[arg(long, default_value_t = 25.0)]
    pub copy_gb: f64,
    /// Bandwidth from each machine to storage, in GB/s
    #[arg(long, default_value_t = 2.0)]
    pub storage_gb: f64,
    /// Seconds from the start of the processes to the first step
    #[arg(long, default_value_t = 300.0)]
    pub restart_seconds: f64,
    /// Failure mix, as for `plan faults` [default: the paper's 54 days]
    #[arg(long)]
    pub mix: Option<PathBuf>,
    /// Seed of the simulated failures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Calculate each of the paper's three rows from data sheets and the other two, print the comparison, and stop
    #[arg(long)]
    pub check: bool,
    /// Also write inputs and results as JSON
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A layout of a run with its memory and step time.
#[derive(Debug, Clone, Serialize)]
struct Form {
    layout: Layout,
    memory: Memory,
    fits: bool,
    step: StepTime,
    seconds: f64,
    mfu: f64,
}

/// Runs `herd plan` or `herd plan faults`.
///
/// # Errors
/// When an argument is invalid, a file cannot be read or written, or arguments contradict each other.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.faults {
        Some(Sub::Faults(args)) => faults::command::run(args),
        None => plan(&args.plan),
    }
}

fn plan(args: &PlanArgs) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    if args.check {
        return print_check();
    }
    let name = args.model.as_deref().context("--model is missing: a folder, a config.json or a name")?;
    let model = Model::find(name)?;
    let mut gpu = Gpu::find(&args.gpu)?;
    args.check()?;
    if let Some(network) = args.network_gb {
        gpu.network = network * 1e9;
    }
    let efficiency = match args.efficiency {
        Some(efficiency) => efficiency,
        None => paper::fitted()?,
    };
    let mix = args.mix.as_deref().map_or_else(|| Ok(Mix::paper()), Mix::read)?;
    let figures = inputs(args, &model, &gpu, efficiency, &resolved.origins);
    println!("Inputs\n{}", table(&figures));
    let (forms, left_out) = forms(args, &model, &gpu, efficiency)?;
    println!("GB per GPU of {}, a step of {} tokens", args.gpus, grouped(args.batch_tokens));
    println!("{}", forms_table(&forms, &args.work(), args.gpus));
    for reason in &left_out {
        println!("left out: {reason}");
    }
    let best = forms.iter().filter(|form| form.fits).min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut effective = None;
    match best {
        None => println!("{}\n", nothing_fits(args, &model, &gpu, &forms)),
        Some(form) => {
            println!("Fastest that fits: {}\n", describe(form));
            effective = Some(effective_time(args, &model, &gpu, &mix, form));
        }
    }
    println!(
        "herd trains data parallel today, with the optimizer sharded and all weights in each process; forms with sharded weights, \
         tensor or pipeline parallelism are calculated, not available. The efficiency is of the paper's software; herd's own on a \
         GPU is not measured."
    );
    if let Some(path) = &args.output {
        let value = json!({
            "inputs": figures, "model": model, "parameters": model.parameters(), "gpu": gpu, "forms": forms,
            "left_out": left_out, "best": best, "effective": effective,
        });
        dataset::write_file(path, format!("{value:#}\n").as_bytes())?;
    }
    Ok(())
}

impl PlanArgs {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=1_000_000).contains(&self.gpus), "--gpus {}: from 1 to 1000000", self.gpus);
        for (flag, value) in [
            ("sequence-length", Some(self.sequence_length)),
            ("batch-tokens", Some(self.batch_tokens)),
            ("micro-batch-tokens", self.micro_batch_tokens),
            ("lora-rank", self.lora_rank),
        ] {
            ensure!(value.is_none_or(|value| (1..=1 << 40).contains(&value)), "--{flag} has to be above 0");
        }
        for (flag, value) in [
            ("network-gb", self.network_gb.unwrap_or(1.0)),
            ("copy-gb", self.copy_gb),
            ("storage-gb", self.storage_gb),
            ("restart-seconds", self.restart_seconds),
        ] {
            ensure!(value > 0.0 && value <= 1e7, "--{flag} {value}: above 0, and at most 10 million");
        }
        ensure!(self.reserve_gb >= 0.0 && self.reserve_gb <= 1e4, "--reserve-gb {}: from 0", self.reserve_gb);
        let efficiency = self.efficiency.unwrap_or(0.5);
        ensure!(efficiency > 0.0 && efficiency <= 1.0, "--efficiency {efficiency}: above 0, and at most 1");
        let micro_batch = self.work().micro_batch;
        ensure!(
            micro_batch >= self.sequence_length,
            "--micro-batch-tokens {micro_batch} holds no sequence of --sequence-length {} tokens",
            self.sequence_length
        );
        Ok(())
    }

    fn work(&self) -> Work {
        Work {
            sequence: self.sequence_length,
            batch: self.batch_tokens,
            micro_batch: self.micro_batch_tokens.unwrap_or(self.sequence_length),
            lora: self.lora_rank,
        }
    }
}

fn gigabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e9)
}

fn inputs(
    args: &PlanArgs,
    model: &Model,
    gpu: &Gpu,
    efficiency: f64,
    origins: &BTreeMap<String, run::Origin>,
) -> Vec<Figure> {
    use Origin::{Assumed, DataSheet, Derived, Given};
    let from = |key: &str, origin: Origin| origin.unless_given(origins.get(key));
    let trained = args.lora_rank.map_or(model.parameters(), |rank| model.adapters(rank));
    let rate = |value: f64| format!("{:.4} TB/s", value / 1e12);
    let efficiency_note =
        "fitted to the paper's three rows (405B, H100): the share of the peak without bubbles and communication";
    vec![
        Figure::new("model", model.name.clone(), Given, format!("{} parameters", grouped(model.parameters()))),
        Figure::new(
            "trained",
            grouped(trained),
            Derived,
            if args.lora_rank.is_some() { "LoRA on all matrices of the layers" } else { "" },
        ),
        Figure::new("GPU", gpu.name, from("gpu", Assumed), gpu.about),
        Figure::new("peak, bfloat16", format!("{:.1} TFLOP/s", gpu.peak / 1e12), DataSheet, "without sparsity"),
        Figure::new("memory", format!("{} GB", gigabytes(gpu.memory)), DataSheet, "GB of 10^9 bytes"),
        Figure::new("memory rate", rate(gpu.memory_rate), DataSheet, ""),
        Figure::new("rate in a machine", rate(gpu.link), DataSheet, "one direction"),
        Figure::new(
            "rate between machines",
            rate(gpu.network),
            from("network_gb", Assumed),
            "one direction, each GPU; the paper's is 0.05",
        ),
        Figure::new("GPUs of a machine", gpu.per_machine.to_string(), Assumed, ""),
        Figure::new("GPUs", grouped(u64::from(args.gpus)), Given, ""),
        Figure::new(
            "sequence",
            format!("{} tokens", grouped(args.sequence_length)),
            from("sequence_length", Assumed),
            "causal attention sees half of it",
        ),
        Figure::new(
            "micro-batch",
            format!("{} tokens", grouped(args.work().micro_batch)),
            from("micro_batch_tokens", Derived),
            "of a data-parallel rank",
        ),
        Figure::new("compute efficiency", format!("{efficiency:.3}"), from("efficiency", Derived), efficiency_note),
        Figure::new("tokens of a loss chunk", grouped(LOSS_PIECE), Assumed, "logits of one chunk are held at a time"),
        Figure::new(
            "reserve of each GPU",
            format!("{} GB", args.reserve_gb),
            from("reserve_gb", Assumed),
            "driver, kernels, communication buffers, fragmentation",
        ),
        Figure::new(
            "GPU to host memory",
            format!("{} GB/s", args.copy_gb),
            from("copy_gb", Assumed),
            "a checkpoint stops training for this copy",
        ),
        Figure::new(
            "machine to storage",
            format!("{} GB/s", args.storage_gb),
            from("storage_gb", Assumed),
            "background write of a checkpoint",
        ),
        Figure::new("restart, to the first step", time(args.restart_seconds), from("restart_seconds", Assumed), ""),
        Figure::new(
            "failures",
            if args.mix.is_some() { "the given mix" } else { "419 in 54 days on 16,384 GPUs" },
            from("mix", Origin::Paper),
            "the same rate for each GPU",
        ),
    ]
}

/// The possible layouts, with recompute only where a layout does not fit without it; and the reasons why others are impossible.
fn forms(args: &PlanArgs, model: &Model, gpu: &Gpu, efficiency: f64) -> anyhow::Result<(Vec<Form>, Vec<String>)> {
    let work = args.work();
    let contexts = if args.context_degrees.is_empty() { vec![1, 2, 4, 8] } else { args.context_degrees.clone() };
    let (mut forms, mut left_out) = (Vec::new(), Vec::new());
    for context in contexts {
        // If no degree was given, an impossible one is skipped without an error.
        if args.context_degrees.is_empty()
            && context > 1
            && context * args.tensor_degree > gpu.per_machine.min(args.gpus)
        {
            continue;
        }
        for sharding in Sharding::ALL {
            let layout = Layout {
                gpus: args.gpus,
                tensor: args.tensor_degree,
                context,
                pipeline: args.pipeline_degree,
                sharding,
                recompute: false,
            };
            if let Err(reason) = layout.check(model, &work) {
                if context == 1 || !args.context_degrees.is_empty() {
                    return Err(reason);
                }
                left_out.push(format!("context {context}: {reason}"));
                break;
            }
            if sharding != Sharding::Plain && layout.sharing() == 1 {
                continue;
            }
            let form = |layout: Layout| {
                let memory = memory(model, &layout, &work, args.reserve_gb * 1e9);
                let step = step(model, gpu, &layout, &work, efficiency);
                let fits = memory.total() <= gpu.memory;
                Form { layout, memory, fits, step, seconds: step.total(), mfu: step.mfu(args.gpus, gpu) }
            };
            let whole = form(layout);
            forms.push(if whole.fits { whole } else { form(Layout { recompute: true, ..layout }) });
        }
    }
    Ok((forms, left_out))
}

fn forms_table(forms: &[Form], work: &Work, gpus: u32) -> String {
    let head = [
        "sharded",
        "context",
        "recompute",
        "weights",
        "gradients",
        "optimizer",
        "activations",
        "other",
        "total",
        "fits",
        "step",
        "compute",
        "exposed",
        "sent, GB",
        "tokens/s",
        "MFU",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for form in forms {
        let (memory, step) = (&form.memory, &form.step);
        let tokens = form.layout.micro_batches(work) * work.micro_batch * u64::from(form.layout.data());
        debug_assert_eq!(form.layout.gpus, gpus);
        rows.push(vec![
            form.layout.sharding.as_str().to_owned(),
            form.layout.context.to_string(),
            if form.layout.recompute { "yes" } else { "no" }.to_owned(),
            gigabytes(memory.weights),
            gigabytes(memory.gradients),
            gigabytes(memory.optimizer),
            gigabytes(memory.activations),
            gigabytes(memory.logits + memory.gathered + memory.reserve),
            gigabytes(memory.total()),
            if form.fits { "yes" } else { "no" }.to_owned(),
            time(form.seconds),
            time(step.compute),
            time(form.seconds - step.compute),
            gigabytes(step.data_bytes),
            grouped((tokens as f64 / form.seconds) as u64),
            format!("{:.1}%", 100.0 * form.mfu),
        ]);
    }
    columns(&rows, &[])
}

fn describe(form: &Form) -> String {
    let recompute = if form.layout.recompute { "with recompute" } else { "without recompute" };
    format!(
        "{}, context {}, {recompute}: {} GB, {} a step, MFU {:.1}%",
        form.layout.sharding.as_str(),
        form.layout.context,
        gigabytes(form.memory.total()),
        time(form.seconds),
        100.0 * form.mfu
    )
}

/// Suggests changes when no layout fits.
fn nothing_fits(args: &PlanArgs, model: &Model, gpu: &Gpu, forms: &[Form]) -> String {
    let need = forms.iter().map(|form| form.memory.total()).fold(f64::INFINITY, f64::min);
    let mut text =
        format!("Nothing fits into {} GB: the smallest form needs {} GB.", gigabytes(gpu.memory), gigabytes(need));
    let context = forms.iter().map(|form| form.layout.context).max().unwrap_or(1);
    let enough = (1..=16).map(|power| args.gpus.saturating_mul(1 << power)).find(|gpus| {
        let layout = Layout {
            gpus: *gpus,
            tensor: args.tensor_degree,
            context,
            pipeline: args.pipeline_degree,
            sharding: Sharding::Layers,
            recompute: true,
        };
        memory(model, &layout, &args.work(), args.reserve_gb * 1e9).total() <= gpu.memory
    });
    match enough {
        Some(gpus) => text += &format!(" With {gpus} GPUs, weights by layer, context {context} and recompute it fits."),
        None => {
            text += " More GPUs do not help: the activations of one micro-batch are too large; lower --sequence-length."
        }
    }
    text
}

/// The checkpoint interval and the effective share of the time.
fn effective_time(args: &PlanArgs, model: &Model, gpu: &Gpu, mix: &Mix, form: &Form) -> serde_json::Value {
    let trained = args.lora_rank.map_or(model.parameters(), |rank| model.adapters(rank)) as f64;
    let bytes = 12.0 * trained;
    let machines = f64::from(args.gpus.div_ceil(gpu.per_machine));
    let stop = bytes / f64::from(args.gpus) / (args.copy_gb * 1e9) + 0.5;
    let write = bytes / machines / (args.storage_gb * 1e9);
    let young = formula::young(stop, mix.between_failures(args.gpus));
    // The simulated step is at least 5 s: below that, the result does not depend on it.
    let setting = Setting {
        gpus: args.gpus,
        days: 54.0,
        step: form.seconds.max(5.0),
        mix: mix.clone(),
        slow_factor: 2.0,
        person: 3600.0,
        gone: 1.0,
    };
    let ours = Practice {
        name: "herd".into(),
        interval: if young.is_finite() { young.max(write).max(setting.step) } else { setting.days * 86_400.0 },
        stop,
        write,
        restart: args.restart_seconds,
        exit_seen: Some(15.0),
        fixed_limit: None,
        slow_seen: 300.0,
        corrupt_seen: 3600.0,
    };
    let peers = Practice::assumed_peers(stop + write);
    let simulated = |practice: &Practice| mean(&simulate_all(&setting, practice, args.seed, 8)).effective;
    let (herd, other) = (simulated(&ours), simulated(&peers));
    println!("Effective time, simulated over 54 days, 8 runs (`herd plan faults` prints the inputs)");
    let rows = [
        ["mean time between failures".into(), time(mix.between_failures(args.gpus)), String::new()],
        ["checkpoint".into(), format!("{} GB", gigabytes(bytes)), "float32 masters and moments".into()],
        ["checkpoint stall".into(), time(stop), "copy to host memory, plus 0.5 s".into()],
        ["background write".into(), time(write), String::new()],
        ["best interval".into(), time(ours.interval), "Young's formula, at least the write time".into()],
        ["effective".into(), format!("{:.2}%", 100.0 * herd), "with herd's policy".into()],
        ["effective".into(), format!("{:.2}%", 100.0 * other), "with the assumed peers' policy".into()],
    ];
    println!("{}", columns(&rows.map(|row| row.to_vec()), &[1, 2]));
    json!({"ours": ours, "peers": peers, "herd_effective": herd, "peers_effective": other})
}

fn print_check() -> anyhow::Result<()> {
    let mut rows = vec![
        ["GPUs", "tensor/context/pipeline/data", "efficiency", "MFU calculated", "paper", "mean of the other rows"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (row, check) in paper::ROWS.iter().zip(paper::check()?) {
        rows.push(vec![
            grouped(u64::from(row.layout().gpus)),
            row.degrees.map(|degree| degree.to_string()).join("/"),
            format!("{:.3}", check.efficiency),
            format!("{:.1}%", check.mfu),
            format!("{:.0}%", check.printed),
            format!("{:.1}%", check.other_rows),
        ]);
    }
    println!("Llama 3 405B on H100s, each row from data sheets and the efficiency that the other two rows give");
    print!("{}", columns(&rows, &[1]));
    Ok(())
}
