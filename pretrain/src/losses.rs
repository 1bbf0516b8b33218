//! Losses of models on the rows of a held-out text, and their differences, paired by row.

use std::path::{Path, PathBuf};

use anyhow::Context;
use llama::Llama;
use llama::device::Compute;
use pretrain_stream::corpus::Expected;
use run::{Cell, Column, Page};
use serde::Serialize;
use stats::Estimate;
use trainer::{World, evaluate};

use crate::held_out::HeldOut;
use crate::objective::PretrainObjective;

/// A held-out text, cut into rows.
pub(crate) struct HeldOutText<'a> {
    pub shards: &'a [PathBuf],
    /// Tokens of a row.
    pub length: u64,
    /// Approximate maximum number of tokens in total.
    pub tokens: u64,
    pub cross_documents: bool,
}

/// The loss on a row of held-out text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    source: usize,
    /// `Σ nll`, in nats.
    nll: f64,
    tokens: u64,
}

/// The losses of a model on the rows of the text, in order.
///
/// # Errors
/// When the model cannot be loaded, or the shards are of another tokenizer.
pub(crate) fn rows(text: &HeldOutText, model: &Path, compute: &Compute) -> anyhow::Result<Vec<Row>> {
    let tokenizer = dataset::digest::file(model.join("tokenizer.json"))?;
    let (device, kind) = compute.resolve()?;
    let mut model = Llama::load(model, Some(kind), device)?;
    model.set_gpu_kernels(compute.gpu_kernels()?);
    let vocabulary = u64::try_from(model.config().vocab_size)?;
    let expected = Expected { tokenizer: Some(&tokenizer), vocabulary, digests: false };
    let held_out = HeldOut::open(text.shards, text.length, text.tokens, expected)?;
    let of: Vec<usize> = held_out.sources().collect();
    let objective = PretrainObjective { windows: None, names: Vec::new(), held_out: Some(held_out), z_loss: 0.0 };
    let mut rows = Vec::with_capacity(of.len());
    let world = World::single();
    let held_out = objective.held_out.as_ref().context("held-out text")?;
    for (source, batch) in of.into_iter().zip(held_out.batches(1, text.cross_documents, device)) {
        // A row of one token predicts nothing.
        if let Some(found) = evaluate(&objective, &model, &world, [batch?])? {
            rows.push(Row { source, nll: found.loss * found.tokens as f64, tokens: found.tokens });
        }
    }
    Ok(rows)
}

/// The difference of a model to the first one on a held-out source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub name: String,
    /// The held-out source; empty for all together.
    pub source: String,
    /// Held-out loss of the first model, in nats per token.
    pub base: f64,
    /// Held-out loss of this model, in nats per token.
    pub loss: f64,
    /// The difference of the losses; negative if this model is better.
    pub difference: Estimate,
}

impl Difference {
    fn verdict(&self) -> &'static str {
        match () {
            () if self.difference.high < 0.0 => "better",
            () if self.difference.low > 0.0 => "worse",
            () => "no difference shown",
        }
    }
}

/// The differences between each model and the first one, on all sources together and on each.
pub(crate) fn differences<N: AsRef<str>>(measured: &[(N, Vec<Row>)], sources: &[String]) -> Vec<Difference> {
    let Some(((_, first), others)) = measured.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    let each = (0..sources.len()).filter(|_| sources.len() > 1).map(Some);
    let groups: Vec<Option<usize>> = std::iter::once(None).chain(each).collect();
    for (name, rows) in others {
        for group in &groups {
            let pairs = || first.iter().zip(rows).filter(|(row, _)| group.is_none_or(|group| row.source == group));
            let mean = |of: fn(&(&Row, &Row)) -> f64| {
                let (nll, tokens) = pairs().fold((0.0, 0), |sum, pair| (sum.0 + of(&pair), sum.1 + pair.0.tokens));
                nll / tokens.max(1) as f64
            };
            let items: Vec<(f64, f64)> = pairs().map(|(first, row)| (row.nll - first.nll, row.tokens as f64)).collect();
            all.push(Difference {
                name: name.as_ref().to_owned(),
                source: group.map_or(String::new(), |group| sources[group].clone()),
                base: mean(|(first, _)| first.nll),
                loss: mean(|(_, row)| row.nll),
                difference: stats::ratio(&items),
            });
        }
    }
    all
}

/// The terms of a table.
pub(crate) struct Words {
    pub title: &'static str,
    /// The term for a compared model.
    pub name: &'static str,
    /// The term for the model of comparison.
    pub base: &'static str,
    pub loss: &'static str,
}

impl Words {
    fn headings(&self) -> [&'static str; 6] {
        [self.name, "held out", self.base, self.loss, "difference", "verdict"]
    }
}

/// A note about the interval.
const NOTE: &str =
    "In brackets: 95% interval over rows of held-out text. It does not cover another seed of the training.";

fn cells(found: &Difference) -> [String; 6] {
    let source = if found.source.is_empty() { "all" } else { &found.source };
    let Estimate { value, low, high, .. } = found.difference;
    [
        found.name.clone(),
        source.to_owned(),
        format!("{:.4}", found.base),
        format!("{:.4}", found.loss),
        format!("{value:+.4} [{low:+.4}, {high:+.4}]"),
        found.verdict().to_owned(),
    ]
}

/// The differences as a table for the terminal.
pub(crate) fn table(words: &Words, found: &[Difference]) -> String {
    let headings = words.headings();
    let mut rows = vec![headings.map(str::to_owned)];
    rows.extend(found.iter().map(cells));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    format!("{}\n{NOTE}", rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// The differences as an HTML page.
pub(crate) fn page(words: &Words, found: &[Difference]) -> Page {
    let mut page = Page::new(words.title);
    let columns = words.headings().map(Column::text).to_vec();
    page.table(columns, found.iter().map(|one| cells(one).map(Cell::from).to_vec()).collect()).paragraph(NOTE);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_paired_by_row() {
        let row = |source: usize, nll: f64| Row { source, nll, tokens: 10 };
        // The rows differ much more than the models do.
        let first: Vec<Row> = (0..40).map(|at| row(at % 2, 10.0 + f64::from(at as u32))).collect();
        let better: Vec<Row> = first
            .iter()
            .enumerate()
            .map(|(at, row)| Row { nll: row.nll - 1.0 - (at % 3) as f64 / 10.0, ..*row })
            .collect();
        let sources = ["a".to_owned(), "b".to_owned()];
        let found = differences(&[("default", first.clone()), ("good", better), ("same", first)], &sources);
        assert_eq!(found.len(), 6);
        assert_eq!((found[0].name.as_str(), found[0].source.as_str(), found[2].source.as_str()), ("good", "", "b"));
        assert!((found[0].difference.value + 0.1098).abs() < 1e-3 && found[0].difference.high < -0.1, "{:?}", found[0]);
        assert!((found[0].loss - found[0].base - found[0].difference.value).abs() < 1e-12);
        let verdicts: Vec<&str> = found.iter().map(Difference::verdict).collect();
        assert_eq!(
            verdicts,
            ["better", "better", "better", "no difference shown", "no difference shown", "no difference shown"]
        );
        let words = Words { title: "", name: "candidate", base: "default", loss: "with it" };
        let text = table(&words, &found);
        assert!(text.contains("candidate  held out  default") && text.contains("good       all"), "{text}");
    }
}
