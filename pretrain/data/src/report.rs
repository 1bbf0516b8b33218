//! The ledger as a page, and as a table for the terminal.

use std::collections::BTreeMap;
use std::path::Path;

use ::run::{Blocks, Cell, Column, Page};

use crate::engine::run::Shard;
use crate::ledger::{BARS, Count, Examples, Ledger, Rule, StepLedger};

/// Writes `report.html`.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    path: &Path,
    ledger: &Ledger,
    shards: &[Shard],
    warnings: &[String],
    notes: &[String],
    problems: &[String],
) -> anyhow::Result<()> {
    let mut page = Page::new("Pretraining data");
    let read = total(ledger.read.values());
    let documents: u64 = shards.iter().map(|shard| shard.documents).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    page.paragraph(format!(
        "{} documents ({} MB) were read, {documents} documents ({} MB of text in {} files) are the result.",
        read.documents,
        megabytes(read.bytes),
        megabytes(bytes),
        shards.len()
    ));
    warnings.iter().for_each(|warning| _ = page.failure(warning));
    notes.iter().for_each(|note| _ = page.paragraph(note));
    page.heading(2, "Steps");
    page.table(
        columns("step"),
        ledger.steps.iter().map(|step| row(&step.kind, &step.total().read, &step.total().kept)).collect(),
    );
    for step in &ledger.steps {
        self::step(&mut page, step);
    }
    if !problems.is_empty() {
        page.heading(2, "What could not be read");
        page.pre(problems.join("\n"));
    }
    page.write(path)
}

fn columns(first: &str) -> Vec<Column> {
    let numbers = ["documents in", "documents out", "kept", "MB in", "MB out", "kept"];
    std::iter::once(Column::text(first)).chain(numbers.map(Column::number)).collect()
}

fn row(name: &str, read: &Count, kept: &Count) -> Vec<Cell> {
    let percent = |part: u64, whole: u64| {
        if whole == 0 { String::new() } else { format!("{:.2}%", 100.0 * part as f64 / whole as f64) }
    };
    vec![
        name.into(),
        read.documents.to_string().into(),
        kept.documents.to_string().into(),
        percent(kept.documents, read.documents).into(),
        megabytes(read.bytes).into(),
        megabytes(kept.bytes).into(),
        percent(kept.bytes, read.bytes).into(),
    ]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

fn total<'a>(counts: impl Iterator<Item = &'a Count>) -> Count {
    counts.fold(Count::default(), |sum, count| Count {
        documents: sum.documents + count.documents,
        bytes: sum.bytes + count.bytes,
    })
}

fn step(page: &mut Page, step: &StepLedger) {
    page.heading(2, &step.kind);
    if step.removed > 0 {
        page.paragraph(format!("Lines were taken out: {}.", step.removed));
    }
    let mut by_source = Vec::new();
    let mut by_language: BTreeMap<&str, (Count, Count)> = BTreeMap::new();
    for (source, languages) in &step.flows {
        by_source.push(row(
            source,
            &total(languages.values().map(|f| &f.read)),
            &total(languages.values().map(|f| &f.kept)),
        ));
        for (language, flow) in languages {
            let entry = by_language.entry(language).or_default();
            *entry = (total([&entry.0, &flow.read].into_iter()), total([&entry.1, &flow.kept].into_iter()));
        }
    }
    page.table(columns("source"), by_source);
    if by_language.len() > 1 {
        let name = |language: &str| if language.is_empty() { "unknown".to_owned() } else { language.to_owned() };
        let rows = by_language.iter().map(|(language, (read, kept))| row(&name(language), read, kept));
        page.table(columns("language"), rows.collect());
    }
    for (name, rule) in &step.rules {
        let mut inner = Blocks::default();
        inner.columns(histogram(rule));
        examples(&mut inner, "Dropped", &rule.dropped_examples);
        examples(&mut inner, "Kept", &rule.kept_examples);
        page.details(format!("{name}: {} of {} dropped (limit {})", rule.dropped, rule.evaluated, rule.limit), inner);
    }
}

/// A histogram with bars of asterisks.
fn histogram(rule: &Rule) -> String {
    let most = rule.histogram.iter().copied().max().unwrap_or(0).max(1);
    let mut out = String::from("documents by value / limit\n");
    for (at, count) in rule.histogram.iter().enumerate().filter(|(_, count)| **count > 0) {
        let low = at as f64 / 10.0;
        let range = if at + 1 == BARS { format!("{low:.1} and more") } else { format!("{low:.1} to {:.1}", low + 0.1) };
        let stars = (count * 50).div_ceil(most) as usize;
        out += &format!("{range:>12} {count:>10} {}\n", "*".repeat(stars));
    }
    out
}

fn examples(blocks: &mut Blocks, heading: &str, examples: &Examples) {
    if examples.all().is_empty() {
        return;
    }
    blocks.heading(3, heading);
    for example in examples.all() {
        let note = if example.note.is_empty() { String::new() } else { format!(", {}", example.note) };
        blocks.paragraph(format!("{} ({}), value {:.4}{note}", example.id, example.source, example.value));
        blocks.pre(&example.text);
    }
}

/// The steps as lines for a terminal.
#[must_use]
pub fn table(ledger: &Ledger) -> String {
    let mut out = format!("{:<20} {:>12} {:>12} {:>8} {:>10} {:>10}\n", "step", "in", "out", "kept", "MB in", "MB out");
    for step in &ledger.steps {
        let total = step.total();
        let share = if total.read.documents == 0 {
            0.0
        } else {
            100.0 * total.kept.documents as f64 / total.read.documents as f64
        };
        out += &format!(
            "{:<20} {:>12} {:>12} {share:>7.2}% {:>10} {:>10}\n",
            step.kind,
            total.read.documents,
            total.kept.documents,
            megabytes(total.read.bytes),
            megabytes(total.kept.bytes)
        );
        for (rule, count) in &total.dropped {
            out += &format!("  - {rule:<32} {:>12}\n", count.documents);
        }
    }
    out
}
