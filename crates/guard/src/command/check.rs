//! `herd safety guard check`: one verdict a line.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::ensure;
use dataset::Message;
use dataset::jsonl::{self, OnBadLine};
use serde_json::{Value, json};

use super::{OpenModel, Which};
use crate::guard::Judge as _;
use crate::record::Asked;

/// Arguments of `herd safety guard check`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Texts to judge, as a user's prompts
    text: Vec<String>,
    /// Records with messages, or with a text in `prompt` or `text`
    #[arg(long, num_args = 1.., value_name = "FILE")]
    input: Vec<PathBuf>,
}

/// Number of texts judged in one batch.
const BATCH: usize = 64;

/// Prints a verdict for each text, as JSON, with the record's id. The text is not printed.
///
/// # Errors
/// When the guard cannot be opened; `file:line` and the fault of a record.
pub fn run(args: &Args, open: OpenModel) -> anyhow::Result<()> {
    ensure!(!args.text.is_empty() || !args.input.is_empty(), "nothing to judge; give a text, or records by --input");
    let (mut guard, _) = args.which.open(open)?;
    let mut all: Vec<(Value, Asked)> =
        args.text.iter().enumerate().map(|(at, text)| (json!(at), Asked::prompt(text))).collect();
    for path in &args.input {
        let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let record = record?;
            let place = reader.place().to_string();
            let asked = asked(&record).map_err(|what| anyhow::anyhow!("{place}: {what}"))?;
            let id = record.get("id").cloned().unwrap_or_else(|| place.into());
            all.push((id, asked));
        }
    }
    let mut out = std::io::stdout().lock();
    for batch in all.chunks(BATCH) {
        let asked: Vec<Asked> = batch.iter().map(|(_, asked)| asked.clone()).collect();
        for ((id, _), verdict) in batch.iter().zip(guard.judge(&asked)?) {
            let mut record = json!({"id": id});
            if let (Value::Object(record), Value::Object(verdict)) = (&mut record, serde_json::to_value(&verdict)?) {
                record.extend(verdict);
            }
            writeln!(out, "{record}")?;
        }
    }
    Ok(())
}

fn asked(record: &Value) -> Result<Asked, String> {
    if let Some(messages) = record.get("messages") {
        let messages: Vec<Message> =
            serde_json::from_value(messages.clone()).map_err(|error| format!("messages: {error}"))?;
        return Asked::from_messages(&messages);
    }
    let text = ["prompt", "text"].iter().find_map(|name| record.get(*name).and_then(Value::as_str));
    text.map(Asked::prompt).ok_or_else(|| "the record has neither messages nor a text in prompt or text".into())
}
