//! `herd safety memorisation probe`: prompts a model with n-grams of a corpus, and compares its continuations with the corpus.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use llama::device::{self, Compute};
use llama::{Engine, ModelFolder, Next, Request, SamplingParams, locate};
use run::progress::Progress;
use run::{Class, Facts, Frame, Input, Session, from_flags};
use safety_tuning::memorisation::Index;
use safety_tuning::memorisation::command::tokenizer_digest;
use safety_tuning::memorisation::figures::{Figures, Window, draw};
use serde::Serialize;
use serde_json::{Value, json};

const FIGURES: &str = "memorisation.json";
const REPORT: &str = "report.html";

/// Arguments of `herd safety memorisation probe`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The model's folder, or its name in the cache
    #[arg(long, required = true)]
    model: Option<String>,
    /// The folder of a LoRA adapter to apply to the model
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// A folder of `herd safety memorisation index`, made with this model's tokenizer
    #[arg(long, required = true, value_name = "FOLDER")]
    index: Option<PathBuf>,
    /// Number of prompts, drawn from the index's distinct runs of tokens
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// Number of tokens of a continuation [default: as many as a prompt has]
    #[arg(long)]
    max_new_tokens: Option<usize>,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of sequences decoded together
    #[arg(long, default_value_t = 16)]
    max_num_seqs: usize,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
    /// The folder for memorisation.json, report.html and run.json
    #[arg(long, required = true)]
    output: Option<PathBuf>,
}

fn class(key: &str) -> Class {
    match key {
        "output" | "model" | "adapter" | "index" => Class::Free,
        "max_num_seqs" | "dtype" | "device" | "threads" => Class::Bits,
        _ => Class::Course,
    }
}

/// Runs `herd safety memorisation probe`. No text is printed.
///
/// # Errors
/// When the model or the index cannot be read, or their tokenizers differ.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = args.output.as_deref().context("--output is missing")?;
    let name = args.model.as_deref().context("--model is missing")?;
    let index = Index::open(args.index.as_deref().context("--index is missing")?)?;
    let length = args.max_new_tokens.unwrap_or(index.head().n);
    ensure!(args.count > 0 && length > 0, "--count and --max-new-tokens must be at least 1");
    ensure!(args.max_num_seqs > 0, "--max-num-seqs must be at least 1");
    let folder = locate::locate(name)?;
    ensure!(
        tokenizer_digest(&folder)? == index.head().tokenizer,
        "{} was made with another tokenizer than {name}'s: make an index with --tokenizer {name}",
        index.folder().display()
    );
    let windows = draw(&index, args.count, length, args.seed)?;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        println!("{} prompts of {} tokens, {length} tokens each", windows.len(), index.head().n);
        return Ok(());
    }
    let mut inputs = vec![Input::model("model", &folder)?];
    for name in ["index.json", "tokens.bin", "grams.bin"] {
        inputs.push(Input::file("index", &index.folder().join(name))?);
    }
    if let Some(adapter) = &args.adapter {
        inputs.push(Input::model("adapter", adapter)?);
    }
    let (device, kind) = args.compute.resolve()?;
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        hardware: device::hardware(device, kind),
        libtorch: Some(device::LIBTORCH),
        ..Facts::new("safety memorisation probe", class)
    };
    let Some(mut session) = Session::open(output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    // An adapter is merged in float32, and the sum is rounded once.
    let loaded = if args.adapter.is_some() { tch::Kind::Float } else { kind };
    let mut model = ModelFolder::load(&folder, Some(loaded), device)?;
    if let Some(adapter) = &args.adapter {
        model.model.load_adapter(adapter)?;
        model.model.merge_adapter();
        model.model = model.model.to_kind(kind);
    }
    model.model.set_gpu_kernels(args.compute.gpu_kernels()?);
    let continuations = continuations(&model, &windows, args.max_num_seqs)?;
    let figures = Figures::of(&index, &windows, &continuations)?;
    let cut = windows.len() < args.count;
    let mut summary = figures.text();
    if cut {
        summary += &format!("\nonly {} distinct runs have {length} tokens behind them", windows.len());
    }
    figures.page(name, &output.join(REPORT))?;
    let record = json!({"model": name, "figures": figures});
    dataset::write_file(output.join(FIGURES), format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes())?;
    session.finish(&[FIGURES, REPORT], &summary, record)?;
    println!("{summary}");
    Ok(())
}

/// The greedy continuation of each window's prompt, as long as the window's own; it does not stop at an end of text.
///
/// # Errors
/// When a prompt with its continuation is longer than the context, or libtorch fails.
pub fn continuations(model: &ModelFolder, windows: &[Window], slots: usize) -> anyhow::Result<Vec<Vec<u32>>> {
    let mut engine = Engine::new(&model.model, slots)?;
    let request = |window: &Window| Request {
        prompt: window.prompt.iter().map(|&token| i64::from(token)).collect(),
        sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
        seed: 0,
        max_new_tokens: window.expected.len(),
        top_logprobs: 0,
    };
    let requests: Vec<Request> = windows.iter().map(request).collect();
    if let Some(first) = requests.first() {
        let needed = first.prompt.len() + first.max_new_tokens;
        ensure!(
            needed <= engine.context(),
            "prompts and continuations have {needed} tokens, the model's context is {}: index shorter runs, or lower --max-new-tokens",
            engine.context()
        );
    }
    let progress = Progress::new("continuations", Some(requests.len()), 0);
    let mut all: Vec<Vec<u32>> = requests.iter().map(|_| Vec::new()).collect();
    engine.generate(&requests, |index, choice| {
        all[index].push(u32::try_from(choice.id).unwrap_or(u32::MAX));
        if all[index].len() == requests[index].max_new_tokens {
            progress.add(1);
        }
        Next::Continue
    })?;
    Ok(all)
}
