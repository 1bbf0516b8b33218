//! `herd average`.

use std::path::PathBuf;

use ::run::{Class, Facts, Frame, Session, fill_folder, from_flags};
use anyhow::ensure;
use llama::device::{Dtype, LIBTORCH};
use llama::locate;
use serde::Serialize;
use serde_json::{Value, json};

use crate::adapters::{self, Way};
use crate::folder::{copy_texts, names, refuse_foreign, safetensors_dtype};
use crate::inputs::{self, Input, Kind};
use crate::{agree, full};

/// Arguments of `herd average`.
#[derive(clap::Args, Debug, Clone, Serialize)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// Models, or LoRA adapters, to average: names in the cache or folders
    #[arg(long, num_args = 1.., value_name = "MODEL", required_unless_present = "run", conflicts_with = "run")]
    models: Vec<String>,
    /// The run whose checkpoints are averaged (Polyak averaging)
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
    /// With --adapters merge: the base model of the adapters [default: the one they name]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Type of a model's averaged weights [default: as in the first model's files]
    #[arg(long)]
    save_dtype: Option<Dtype>,
}

/// Averages, writes the result and prints a summary.
///
/// # Errors
/// When the inputs do not match, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let folders = match &args.run {
        Some(run) => inputs::checkpoints(run, args.last)?,
        None => inputs::named(&args.models)?,
    };
    let inputs = inputs::weighted(folders, &args.weights)?;
    let kind = Kind::of(&inputs)?;
    let dtype = args.save_dtype.map(safetensors_dtype);
    ensure!(
        kind == Kind::Adapter || (args.adapters.is_none() && args.base.is_none()),
        "--adapters and --base are for LoRA adapters, but {} is a model",
        inputs[0].folder.display()
    );
    let way = args.adapters.unwrap_or(if args.run.is_some() { Way::Factors } else { Way::Concat });
    if args.frame.shows(&resolved)? {
        inputs.iter().for_each(|input| println!("{}", share(input, &inputs)));
        return Ok(());
    }
    refuse_foreign(&args.output)?;
    if kind == Kind::Model {
        inputs[1..].iter().try_for_each(|other| agree::models(&inputs[0].folder, &other.folder))?;
    }
    let facts = Facts { inputs: read(args, &inputs)?, libtorch: Some(LIBTORCH), ..Facts::new("average", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let (mut done, mut files) = (String::new(), Vec::new());
    // The configuration is written last: without it, the folder is not a model or adapter yet.
    fill_folder(&args.output, &["config.json", "adapter_config.json"], |target| {
        done = match kind {
            Kind::Model => {
                let tensors = full::average(&inputs, target, dtype)?;
                copy_texts(&inputs[0].folder, target, dtype)?;
                format!("{tensors} tensors")
            }
            Kind::Adapter => {
                let written = adapters::average(&inputs, way, args.base.as_deref(), dtype, target)?;
                describe(way, &written)
            }
        };
        files = names(target)?;
        // The inputs are checked by now, so nothing is recorded of a command that cannot succeed.
        session.start(Value::Null)
    })?;
    let mut lines: Vec<String> = inputs.iter().map(|input| share(input, &inputs)).collect();
    lines.push(format!("{}: {done}", args.output.display()));
    let summary = lines.join("\n");
    let figures = json!({"adapters": (kind == Kind::Adapter).then_some(way), "result": done});
    session.finish(&files.iter().map(String::as_str).collect::<Vec<_>>(), &summary, figures)?;
    println!("{summary}");
    Ok(())
}

/// The class of each key: the effect of a changed value on the result.
fn class(key: &str) -> Class {
    match key {
        // Compared by content: the averaged folders with their shares.
        "output" | "models" | "run" | "last" | "weights" | "base" => Class::Free,
        "save_dtype" => Class::Output,
        _ => Class::Course,
    }
}

/// A line about an input and its share of the average.
fn share(input: &Input, all: &[Input]) -> String {
    format!("  {:.4} {}", input.weight / inputs::total(all), input.folder.display())
}

/// The inputs of the average with their shares, and the base model.
fn read(args: &Args, inputs: &[Input]) -> anyhow::Result<Vec<::run::Input>> {
    let total = inputs::total(inputs);
    let one = |input: &Input| Ok(::run::Input::model("models", &input.folder)?.weighted(input.weight / total));
    let mut all = inputs.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(base) = &args.base {
        all.push(::run::Input::model("base", &locate::locate(base)?)?);
    }
    Ok(all)
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
