//! `herd pretrain compare`: the held-out losses of several base models on the same rows.

use std::path::PathBuf;

use anyhow::ensure;
use llama::device::{Compute, LIBTORCH};
use llama::locate;
use pretrain_stream::corpus;
use run::{Class, Facts, Frame, Input, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use crate::losses::{HeldOutText, Words, differences, page, rows, table};

const TABLE: &str = "compare.json";
const WORDS: Words = Words { title: "Held-out losses", name: "model", base: "first", loss: "loss" };

/// Arguments of `herd pretrain compare`.
#[derive(clap::Args, Debug, Clone, Serialize)]
#[group(skip)]
pub struct Compare {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// Models with one tokenizer: names in the cache or folders. Each is compared with the first
    #[arg(long, num_args = 1.., required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Token shards of held-out text
    #[arg(long, num_args = 1.., required = true, value_name = "SHARDS")]
    eval_data: Vec<PathBuf>,
    /// Tokens of held-out text, spread evenly over it
    #[arg(long, default_value_t = 1_000_000)]
    eval_tokens: u64,
    /// Tokens of a row
    #[arg(long, default_value_t = 1024)]
    sequence_length: u64,
    /// Let tokens attend to earlier documents of the same row
    #[arg(long)]
    cross_documents: bool,
    #[command(flatten)]
    #[serde(flatten)]
    compute: Compute,
    /// The folder for compare.json and report.html
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Measures and prints the table.
///
/// # Errors
/// When a model cannot be loaded, or has another tokenizer than the shards.
pub fn run(args: &Compare) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    ensure!(args.models.len() > 1, "--models names one model: a comparison needs at least two");
    ensure!(
        args.sequence_length > 1 && args.eval_tokens > 0,
        "--sequence-length and --eval-tokens must be above 1 and 0"
    );
    let folders = args.models.iter().map(|model| locate::locate(model)).collect::<Result<Vec<_>, _>>()?;
    let sources = corpus::open(&args.eval_data, args.sequence_length)?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mut inputs = Vec::new();
    for folder in &folders {
        inputs.push(Input::model("models", folder)?);
    }
    for shard in sources.iter().flat_map(|source| &source.shards) {
        inputs.push(Input::file("eval_data", format!("{}.json", shard.path.display()).as_ref())?);
    }
    let facts = Facts { inputs, libtorch: Some(LIBTORCH), ..Facts::new("pretrain compare", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let text = HeldOutText {
        shards: &args.eval_data,
        length: args.sequence_length,
        tokens: args.eval_tokens,
        cross_documents: args.cross_documents,
    };
    let mut measured = Vec::new();
    for (name, folder) in args.models.iter().zip(&folders) {
        measured.push((name, rows(&text, folder, &args.compute)?));
    }
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let found = differences(&measured, &names);
    let shown = format!("first: {}\n{}", args.models[0], table(&WORDS, &found));
    let folder = session.folder();
    dataset::write_file(folder.join(TABLE), (serde_json::to_string_pretty(&found)? + "\n").as_bytes())?;
    page(&WORDS, &found).write(&folder.join("report.html"))?;
    session.finish(&[TABLE], &shown, json!({"first": args.models[0], "differences": found}))?;
    println!("{shown}");
    Ok(())
}

/// The class of each key: the effect of a changed value on the result.
fn class(key: &str) -> Class {
    match key {
        // Compared by content.
        "output" | "models" | "eval_data" => Class::Free,
        "dtype" | "device" | "threads" => Class::Bits,
        _ => Class::Course,
    }
}
