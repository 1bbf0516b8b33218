//! `longctx verify`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use chat::locate_tokenizer;
use dataset::Conversation;
use dataset::jsonl::{self, OnBadLine};
use rayon::prelude::*;
use run::grouped;

use crate::counter::Counter;
use crate::verify::check;

/// Arguments of `longctx verify`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Files that `longctx make` wrote
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Count the tokens again, encoding every record whole, with this tokenizer: a model's folder or name
    #[arg(long)]
    pub tokenizer: Option<String>,
    /// Number of wrong records to show
    #[arg(long, default_value_t = 20)]
    pub show: usize,
}

/// Number of records checked in one batch.
const BATCH: usize = 64;

/// Runs `longctx verify`: prints a line for every wrong record, and counts by task.
///
/// # Errors
/// When a file cannot be read, or when a record is wrong.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let counter = args.tokenizer.as_deref().map(|name| Counter::open(&locate_tokenizer(name)?)).transpose()?;
    let mut right: BTreeMap<String, u64> = BTreeMap::new();
    let (mut wrong, mut questions, mut tokens) = (0_u64, 0_u64, 0_u64);
    for path in &args.files {
        let mut reader = jsonl::read::<Conversation>(path, OnBadLine::Error)?;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(record) = reader.next()
            {
                batch.push((reader.place(), record?));
            }
            if batch.is_empty() {
                break;
            }
            let checked: Vec<_> = batch.par_iter().map(|(_, record)| check(record, counter.as_ref())).collect();
            for ((place, record), outcome) in batch.iter().zip(checked) {
                match outcome {
                    Ok(meta) => {
                        questions += meta.forms.len() as u64;
                        tokens += meta.length_tokens as u64;
                        *right.entry(meta.task).or_default() += 1;
                    }
                    Err(what) => {
                        wrong += 1;
                        if wrong <= args.show as u64 {
                            println!("{place}: {}: {}", record.id, what.0);
                        }
                    }
                }
            }
        }
    }
    let total: u64 = right.values().sum::<u64>() + wrong;
    for (task, count) in &right {
        println!("  {task}: {} right", grouped(*count));
    }
    let counted = if counter.is_some() { ", tokens counted again" } else { "" };
    let summary = format!(
        "{} records, {} right with {} questions and {} tokens{counted}, {wrong} wrong",
        grouped(total),
        grouped(total - wrong),
        grouped(questions),
        grouped(tokens)
    );
    if wrong > 0 {
        bail!("{summary}");
    }
    println!("{summary}");
    Ok(())
}
