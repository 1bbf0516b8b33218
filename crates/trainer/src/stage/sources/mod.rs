//! Data preparation of all training stages: reads and counts the files, holds out by prompt, encodes, plans the steps, and
//! accounts for every record.
//!
//! A stage provides an [`Encoder`], which turns a record into tokenised examples. [`load`] does the rest and returns
//! [`Sources`]: the examples for the stage's objective, and an [`Account`] of the records for the terminal and for `run.json`.

mod encoder;
mod examples;
mod fit;
mod ledger;
mod read;
mod strengths;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::ensure;
use chat::Tokenizer;
use serde_json::json;

pub use encoder::{Encoded, Encoder, RecordError, Row, Sequence, prompt_digest};
pub use examples::Examples;
pub use fit::{Fit, Limits, OverLong};
pub use ledger::{Counts, Ledger, table};
pub use strengths::Strengths;

use super::excerpt::excerpt;
use super::training::Training;
use super::{Prepared, Setup, batch_arithmetic};
use crate::Source;
use crate::data::order::hold_out;
use read::{Item, read};

/// Maximal number of examples in the plan of a run; each takes 16 bytes.
const MOST_PICKS: f64 = 5e8;

/// Result of [`load`].
pub struct Sources<E> {
    /// The examples, for the stage's objective.
    pub examples: Examples<E>,
    /// Counts of what happened to the records.
    pub account: Account,
}

/// Counts of what happened to the records, as text and for `run.json`.
pub struct Account {
    /// One ledger for each file, training files first.
    pub ledgers: Vec<Ledger>,
    text: String,
    example: Option<(String, String)>,
    batch: String,
}

impl Account {
    /// Combines this account with an objective into the input of [`super::run`].
    ///
    /// # Errors
    /// When a ledger cannot be serialized, which does not happen in practice.
    pub fn prepared<O>(self, objective: O) -> anyhow::Result<Prepared<O>> {
        Ok(Prepared {
            objective,
            data: serde_json::to_value(&self.ledgers)?,
            ledger: self.text,
            example: self.example,
            batch: self.batch,
        })
    }
}

/// Reads the files of `--data` and `--eval-data`, holds out the share `--eval-fraction`, and plans the steps. A bad record
/// stops the run; with `--skip-bad` it is written to `rejected-N.jsonl` in the run's folder instead. The ids of held-out
/// examples are written to `held-out.jsonl` there, but not by a dry run.
///
/// # Errors
/// A sentence that names the faulty file, record or flag. Also when no example is left to train on.
pub fn load<C: Encoder>(training: &Training, setup: &Setup, encoder: &C) -> anyhow::Result<Sources<C::Example>> {
    let limits = Limits::new(training, setup);
    let (mut train, mut ledgers) = (Vec::new(), Vec::new());
    let mut files = 0;
    let mut next = |path: &Path, weight: f64| {
        files += 1;
        let rejects = training.skip_bad.then(|| setup.run.join(&format!("rejected-{files}.jsonl")));
        read(encoder, &limits, (path, weight), rejects)
    };
    for (path, weight) in training.sources()? {
        let (items, ledger) = next(&path, weight)?;
        train.push(items);
        ledgers.push(ledger);
    }
    let mut held_out = Vec::new();
    if training.eval_fraction > 0.0 {
        // Held out by prompt: all answers to one prompt, or all parts of a conversation, are on the same side.
        let held = hold_out(&mut train, |item| item.prompt, training.eval_fraction, training.seed);
        for (items, ledger) in held.iter().zip(&mut ledgers) {
            ledger.hold_out(items.len());
        }
        held_out.extend(held.into_iter().flatten());
        if held_out.is_empty() && setup.world.is_first() {
            eprintln!(
                "warning: --eval-fraction {} holds nothing out, since each file has fewer than two different prompts: the \
                 run has no evaluation of its own; give --eval-data, or more data",
                training.eval_fraction
            );
        }
    }
    let trained: HashSet<u64> = train.iter().flatten().map(|item| item.prompt).collect();
    for path in &training.eval_data {
        let (items, mut ledger) = next(Path::new(path), 0.0)?;
        ledger.hold_out(items.len());
        ledger.overlap = items.iter().filter(|item| trained.contains(&item.prompt)).count() as u64;
        if ledger.overlap > 0 && setup.world.is_first() {
            eprintln!(
                "warning: {} of the {} evaluation examples of {path} have a prompt that is trained on too: their loss \
                 says little about unseen prompts; take them out of one of the files, or use --eval-fraction",
                ledger.overlap,
                items.len()
            );
        }
        ledgers.push(ledger);
        held_out.extend(items);
    }
    if setup.world.is_first() {
        encoder.finish();
    }
    let names = held_out.iter().map(|item| json!({"id": encoder.id(&item.example)}));
    if !held_out.is_empty() && !setup.dry_run {
        dataset::jsonl::write_all(setup.run.join("held-out.jsonl"), names)?;
    }
    let text = table(&ledgers);
    let lengths = lengths(encoder, &train, &ledgers);
    check_size(training, &lengths)?;
    let plan = training.plan(&lengths);
    ensure!(!plan.steps.is_empty(), "nothing to train on: no example is left of {}\n{text}", training.data.join(", "));
    let shown = train.iter().flatten().chain(&held_out).next();
    let example = shown.map(|item| show(encoder, &setup.model.tokenizer, item)).transpose()?;
    let tokens = |item: &Item<C::Example>| encoder.tokens(&item.example);
    let examples = Examples::new(train, held_out, plan, tokens, training.micro_batch_tokens);
    let batch = batch_arithmetic(training, &examples.plan, &lengths, examples.micro_batches(), examples.held_out.len());
    let batch = format!("{batch}; the longest may have {} tokens", limits.described());
    Ok(Sources { examples: examples.map(|item| item.example), account: Account { ledgers, text, example, batch } })
}

fn lengths<C: Encoder>(encoder: &C, train: &[Vec<Item<C::Example>>], ledgers: &[Ledger]) -> Vec<Source> {
    train
        .iter()
        .zip(ledgers)
        .map(|(items, ledger)| Source {
            lengths: items.iter().map(|item| encoder.tokens(&item.example)).collect(),
            weight: ledger.weight,
        })
        .collect()
}

/// Refuses a plan that would exceed the memory, before its lists are built.
fn check_size(training: &Training, sources: &[Source]) -> anyhow::Result<()> {
    let epoch: f64 = sources.iter().map(|source| source.weight * source.lengths.len() as f64).sum();
    let tokens: f64 = sources.iter().map(|s| s.weight * s.lengths.iter().sum::<usize>() as f64).sum();
    let picks = match (training.max_steps, training.batch_size) {
        (None, _) => epoch * training.epochs as f64,
        (Some(steps), Some(size)) => epoch.max(steps as f64 * size as f64),
        (Some(steps), None) => epoch.max(steps as f64 * training.batch_tokens as f64 * epoch / tokens.max(1.0)),
    };
    ensure!(
        picks <= MOST_PICKS,
        "the run would see {picks:.1e} examples, more than the {MOST_PICKS:.0e} that a plan may hold: lower the weights in \
         --data, --epochs, --max-steps or the batch size"
    );
    Ok(())
}

/// One example to print. Safety records may contain harmful text; only their id, lengths and mask are printed.
fn show<C: Encoder>(encoder: &C, tokenizer: &Tokenizer, item: &Item<C::Example>) -> anyhow::Result<(String, String)> {
    let id = encoder.id(&item.example);
    let sequences = encoder.sequences(&item.example);
    if item.safety {
        let lines: Vec<String> =
            sequences.iter().map(|one| format!("  {}: {}", one.name, outline(&one.mask))).collect();
        return Ok((format!("Example {id} (a safety record: its text is not printed)"), lines.join("\n")));
    }
    if let Some(shown) = encoder.show(&item.example) {
        let (legend, text) = shown?;
        return Ok((format!("Example {id} ({legend})"), excerpt(&text)));
    }
    let colour = std::io::stdout().is_terminal();
    let legend = if colour { "tokens in the loss are coloured" } else { "tokens in the loss stand in ⟦ ⟧" };
    let mut lines = Vec::new();
    for Sequence { name, ids, mask } in sequences {
        let (turns, text, differs_from_one_shot) = (Vec::new(), String::new(), false);
        let encoded = chat::Encoded { ids, assistant_mask: mask, turns, text, differs_from_one_shot };
        lines.push(format!("{name}:\n{}", chat::show::tokens(tokenizer, &encoded, colour)?));
    }
    Ok((format!("Example {id} ({legend})"), excerpt(&lines.join("\n"))))
}

/// The mask as text: `12 tokens; in the loss: 3..5, 8..12`.
fn outline(mask: &[bool]) -> String {
    let mut stretches = Vec::new();
    let mut start = 0;
    for part in mask.chunk_by(|a, b| a == b) {
        if part[0] {
            stretches.push(format!("{start}..{}", start + part.len()));
        }
        start += part.len();
    }
    let counted = if stretches.is_empty() { "none".to_owned() } else { stretches.join(", ") };
    format!("{} tokens; in the loss: {counted}", mask.len())
}

#[cfg(test)]
mod tests;
