//! `herd merge`: merges an adapter into its base model.

use std::path::PathBuf;

use ::run::{Class, Facts, Frame, Session, fill_folder, from_flags};
use anyhow::ensure;
use llama::device::{Dtype, LIBTORCH};
use llama::locate;
use serde::Serialize;
use serde_json::{Value, json};

use crate::adapters::{self, Way};
use crate::folder::{names, refuse_foreign, safetensors_dtype};
use crate::inputs::{Input, Kind};

/// Arguments of `herd merge`.
#[derive(clap::Args, Debug, Clone, Serialize)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// The LoRA adapter: a folder, such as the adapter/ of a run
    adapter: PathBuf,
    /// The folder for the merged model
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// The base model of the adapter [default: the one it names]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Type of the merged weights [default: as in the base model's files]
    #[arg(long)]
    save_dtype: Option<Dtype>,
}

/// Adds the adapter's updates to its base model's weights and writes a model folder.
///
/// # Errors
/// When the adapter does not match the model, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let folder = locate::locate(&args.adapter.to_string_lossy())?;
    let inputs = [Input { folder, weight: 1.0 }];
    let shown = inputs[0].folder.display();
    ensure!(Kind::of(&inputs)? == Kind::Adapter, "{shown} is a model; there is nothing to merge into it");
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    refuse_foreign(&args.output)?;
    let mut read = vec![::run::Input::model("adapter", &inputs[0].folder)?];
    if let Some(base) = &args.base {
        read.push(::run::Input::model("base", &locate::locate(base)?)?);
    }
    let facts = Facts {
        inputs: read,
        libtorch: Some(LIBTORCH),
        ..Facts::new("merge", |key| match key {
            // Compared by content.
            "adapter" | "base" | "output" => Class::Free,
            _ => Class::Output,
        })
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let (mut tensors, mut files) = (0, Vec::new());
    fill_folder(&args.output, &["config.json"], |target| {
        let dtype = args.save_dtype.map(safetensors_dtype);
        tensors = adapters::average(&inputs, Way::Merge, args.base.as_deref(), dtype, target)?.tensors;
        files = names(target)?;
        session.start(Value::Null)
    })?;
    let summary = format!("{}: {tensors} tensors, {shown} added to its base model", args.output.display());
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    session.finish(&files, &summary, json!({"tensors": tensors}))?;
    println!("{summary}");
    Ok(())
}
