//! `herd merge`: an adapter into the model that it is on.

use std::path::PathBuf;

use anyhow::ensure;
use llama::device::Dtype;
use llama::locate;
use serde_json::json;

use crate::adapters::{self, Way};
use crate::command::{record, safetensors_dtype};
use crate::inputs::{Input, Kind};

/// Arguments of `herd merge`.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// The LoRA adapter: a folder, such as the adapter/ of a run
    adapter: PathBuf,
    /// The folder for the merged model
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// The model that the adapter is on [default: the one it names]
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Type of the merged weights [default: as in the base model's files]
    #[arg(long)]
    dtype: Option<Dtype>,
}

/// Adds the adapter's updates to its base model's weights and writes a model folder.
///
/// # Errors
/// When the adapter and the model do not fit together, or on the disk.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = locate::locate(&args.adapter.to_string_lossy())?;
    let inputs = [Input { folder, weight: 1.0 }];
    let shown = inputs[0].folder.display();
    ensure!(Kind::of(&inputs)? == Kind::Adapter, "{shown} is a model; there is nothing to merge into it");
    ensure!(!args.output.exists(), "{} is there already; choose another --output, or remove it", args.output.display());
    let dtype = args.dtype.map(safetensors_dtype);
    let mut tensors = 0;
    trainer::into_place(&args.output, |target| {
        tensors = adapters::average(&inputs, Way::Merge, args.base.as_deref(), dtype, target)?.tensors;
        let record = json!({"adapter": record(&inputs)?, "base": args.base});
        let text = format!("{}\n", serde_json::to_string_pretty(&record)?);
        Ok(dataset::write_file(target.join("merge.json"), text.as_bytes())?)
    })?;
    println!("{}: {tensors} tensors, {shown} added to its base model", args.output.display());
    Ok(())
}
