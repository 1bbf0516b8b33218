//! `herd average`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::digest;
use llama::LlamaConfig;
use llama::device::Dtype;
use serde_json::{Value, json};
use weights::DType;

use crate::adapters::{self, Way};
use crate::inputs::{self, Input, Kind};
use crate::{agree, full};

/// Arguments of `herd average`.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Models, or LoRA adapters, to average: names in the cache or folders
    #[arg(long, num_args = 1.., value_name = "MODEL", required_unless_present = "run", conflicts_with = "run")]
    models: Vec<String>,
    /// A run whose checkpoints are averaged (Polyak averaging)
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// With --run: the newest checkpoints to average [default: all that the run kept]
    #[arg(long, value_name = "N", requires = "run")]
    last: Option<usize>,
    /// The weight of each model, in the same order; they are divided by their sum [default: equal]
    #[arg(long, num_args = 1.., value_name = "WEIGHT")]
    weights: Vec<f64>,
    /// The folder for the result
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// How LoRA adapters are averaged [default: concat for --models, factors for --run]
    #[arg(long, value_enum, value_name = "WAY")]
    adapters: Option<Way>,
    /// With --adapters merge: the model that the adapters are on [default: the one they name]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Type of a model's averaged weights [default: as in the first model's files]
    #[arg(long)]
    dtype: Option<Dtype>,
}

/// Averages and writes the result; prints what was done.
///
/// # Errors
/// A sentence on what does not fit together, or on the disk.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folders = match &args.run {
        Some(run) => inputs::checkpoints(run, args.last)?,
        None => inputs::named(&args.models)?,
    };
    let inputs = inputs::weighted(folders, &args.weights)?;
    ensure!(!args.output.exists(), "{} is there already; choose another --output, or remove it", args.output.display());
    let kind = Kind::of(&inputs)?;
    let dtype = args.dtype.map(safetensors_dtype);
    ensure!(
        kind == Kind::Adapter || (args.adapters.is_none() && args.base.is_none()),
        "--adapters and --base are for LoRA adapters, but {} is a model",
        inputs[0].folder.display()
    );
    let default = if args.run.is_some() { Way::Factors } else { Way::Concat };
    let way = args.adapters.unwrap_or(default);
    let mut done = String::new();
    trainer::into_place(&args.output, |target| {
        done = match kind {
            Kind::Model => {
                inputs[1..].iter().try_for_each(|other| agree::models(&inputs[0].folder, &other.folder))?;
                let tensors = full::average(&inputs, target, dtype)?;
                copy_texts(&inputs[0].folder, target, dtype)?;
                format!("{tensors} tensors")
            }
            Kind::Adapter => {
                let written = adapters::average(&inputs, way, args.base.as_deref(), dtype, target)?;
                describe(way, &written)
            }
        };
        let record =
            json!({"inputs": record(&inputs)?, "adapters": (kind == Kind::Adapter).then(|| format!("{way:?}"))});
        let text = format!("{}\n", serde_json::to_string_pretty(&record)?);
        Ok(dataset::write_file(target.join("average.json"), text.as_bytes())?)
    })?;
    let total = inputs::total(&inputs);
    for input in &inputs {
        println!("  {:.4} {}", input.weight / total, input.folder.display());
    }
    println!("{}: {done}", args.output.display());
    Ok(())
}

fn describe(way: Way, written: &adapters::Written) -> String {
    let tensors = written.tensors;
    match (way, written.distance) {
        (Way::Merge, _) => format!("{tensors} tensors, the base model with the exact average of the updates"),
        (Way::Factors, Some(distance)) => format!(
            "{tensors} tensors of rank {}, averaged factor by factor; the update is {:.2}% off the exact average (--adapters \
             concat or merge is exact)",
            written.rank,
            100.0 * distance
        ),
        _ => format!("{tensors} tensors of rank {}, the exact average of the updates", written.rank),
    }
}

/// What was averaged, with the digests of the weights.
pub(crate) fn record(inputs: &[Input]) -> anyhow::Result<Vec<Value>> {
    let one = |input: &Input| -> anyhow::Result<Value> {
        let mut files = serde_json::Map::new();
        for (name, path) in files_of(&input.folder)? {
            if name.ends_with(".safetensors") {
                files.insert(name, digest::file(&path)?.into());
            }
        }
        Ok(json!({"folder": input.folder, "weight": input.weight / inputs::total(inputs), "sha256": files}))
    };
    inputs.iter().map(one).collect()
}

/// Copies configuration, tokenizer and chat template of a model; with `dtype` the configuration says so.
pub(crate) fn copy_texts(from: &Path, target: &Path, dtype: Option<DType>) -> anyhow::Result<()> {
    weights::side_files::copy(from, target)?;
    weights::side_files::copy_all(from, target, &weights::side_files::documents(from))?;
    let configs = ["config.json", "adapter_config.json"].map(PathBuf::from);
    let configs: Vec<PathBuf> = configs.into_iter().filter(|name| from.join(name).is_file()).collect();
    weights::side_files::copy_all(from, target, &configs)?;
    if let Some(kind) = dtype.and_then(llama::torch_kind) {
        let config = LlamaConfig::from_dir(from)?.to_json(kind)?;
        let text = format!("{}\n", serde_json::to_string_pretty(&config)?);
        dataset::write_file(target.join("config.json"), text.as_bytes())?;
    }
    Ok(())
}

fn files_of(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(_, path)| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

pub(crate) fn safetensors_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
    }
}
