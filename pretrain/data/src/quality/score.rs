//! `herd data score`: writes a classifier's score into documents, and keeps the best share.

use std::path::PathBuf;

use anyhow::ensure;
use dataset::jsonl::AtomicWriter;
use rayon::prelude::*;

use super::model::Classifier;
use super::select::each;
use super::{STEPS, step_of, threshold};
use crate::document::Document;

/// Number of documents scored in one batch.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 16 << 20;

/// Arguments of `herd data score`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// The classifier: the folder of `herd data classifier train`, or its file
    #[arg(long)]
    pub classifier: PathBuf,
    /// Files of documents
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The file for the documents with their scores (.jsonl, .gz, .zst)
    #[arg(long)]
    pub output: PathBuf,
    /// Keep the documents with the highest scores, at least this share of all [default: all]
    #[arg(long, value_name = "SHARE")]
    pub keep_share: Option<f64>,
}

/// Runs `herd data score`.
///
/// # Errors
/// When a file cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let classifier = Classifier::read(&args.classifier)?;
    let name = classifier.name().to_owned();
    if let Some(share) = args.keep_share {
        ensure!(share > 0.0 && share <= 1.0, "--keep-share is {share}; it must be above 0 and at most 1");
    }
    let mut counts = vec![0_u64; STEPS as usize + 1];
    let mut scores: Vec<f32> = Vec::new();
    let problems = scored(&args.input, &classifier, &mut |_, score| {
        let score = score as f32;
        counts[step_of(score.into()) as usize] += 1;
        scores.push(score);
        Ok(())
    })?;
    ensure!(!scores.is_empty(), "the files hold no document");
    let lowest = args.keep_share.map_or(0, |share| threshold(&counts, share));
    let mut out = AtomicWriter::create(&args.output)?;
    let mut at = 0;
    each(&args.input, &mut |mut document| {
        let score = scores.get(at).copied().unwrap_or_default();
        at += 1;
        if step_of(score.into()) >= lowest {
            document.meta.insert(name.clone(), rounded(score.into()).into());
            out.write(&document)?;
        }
        Ok(())
    })?;
    ensure!(at == scores.len(), "the files have changed while they were read");
    let kept = out.records();
    out.finish()?;
    println!(
        "{}: {kept} of {} documents ({:.1}%), {name} at least {:.4}; {problems} places could not be read",
        args.output.display(),
        scores.len(),
        100.0 * kept as f64 / scores.len() as f64,
        lowest as f64 / STEPS as f64,
    );
    scores.sort_by(f32::total_cmp);
    let tenth = |n: usize| format!("{:.3}", scores[n * (scores.len() - 1) / 10]);
    println!("  scores by tenths: {}", (0..=10).map(tenth).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Rounds a score as it is written.
#[must_use]
pub fn rounded(score: f64) -> f64 {
    (score * 1e6).round() / 1e6
}

/// Calls `take` with every document and its score, in order; returns the number of places that could not be read.
fn scored(
    paths: &[PathBuf],
    classifier: &Classifier,
    take: &mut dyn FnMut(&Document, f64) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut flush = |batch: &mut Vec<Document>| -> anyhow::Result<()> {
        let scores: Vec<f64> = batch.par_iter().map(|document| classifier.score(&document.text)).collect();
        batch.drain(..).zip(scores).try_for_each(|(document, score)| take(&document, score))
    };
    let problems = each(paths, &mut |document| {
        bytes += document.text.len();
        batch.push(document);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            flush(&mut batch)?;
        }
        Ok(())
    })?;
    flush(&mut batch)?;
    Ok(problems)
}
