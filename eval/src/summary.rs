//! Computes figures from judged samples: means with intervals, pass@k, and breakdowns by group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use stats::{Estimate, pass_at_k, ratio, share};

use crate::record::Sample;

/// The figures of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Number of items.
    pub items: usize,
    /// Number of answers, over all items.
    pub answers: usize,
    /// Number of answers that were truncated at the maximum length.
    pub cut: usize,
    /// Number of answers without any text (truncated during reasoning, a tool call, a refusal), by finish reason;
    /// they are judged as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub empty: BTreeMap<String, usize>,
    /// Number of items that could not be asked; they count as wrong.
    pub failed: usize,
    /// Number of generated tokens.
    pub tokens: u64,
    /// The columns.
    pub metrics: BTreeMap<String, Estimate>,
    /// The main column for each group of each breakdown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, BTreeMap<String, Estimate>>,
}

/// The figures of a run, by benchmark.
pub type Summary = BTreeMap<String, TaskSummary>;

/// Summarises judged samples. `ks` are the values of k for pass@k, for items with several samples.
#[must_use]
pub fn summarise(samples: &[Sample], ks: &[u64]) -> Summary {
    let tasks: BTreeSet<&str> = samples.iter().map(|sample| sample.task.as_str()).collect();
    tasks
        .into_iter()
        .map(|task| {
            let of: Vec<&Sample> = samples.iter().filter(|sample| sample.task == task).collect();
            (task.to_owned(), one_task(&of, ks))
        })
        .collect()
}

fn one_task(samples: &[&Sample], ks: &[u64]) -> TaskSummary {
    let columns: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.scores.keys()).collect();
    let mut metrics: BTreeMap<String, Estimate> =
        columns.into_iter().map(|column| (column.clone(), estimate(column, &column_items(samples, column)))).collect();
    let counts = right_of_each(samples);
    if counts.values().any(|(n, _)| *n > 1) {
        for &k in ks {
            let each: Option<Vec<(f64, f64)>> =
                counts.values().map(|(n, c)| pass_at_k(*n, *c, k).map(|p| (p, 1.0))).collect();
            if let Some(each) = each {
                metrics.insert(format!("pass@{k}"), share(&each));
            }
        }
    }
    let mut groups: BTreeMap<String, BTreeMap<String, Estimate>> = BTreeMap::new();
    let names: BTreeSet<(&String, &String)> = samples.iter().flat_map(|sample| &sample.groups).collect();
    for (name, value) in names {
        let of: Vec<&Sample> = samples.iter().filter(|s| s.groups.get(name) == Some(value)).copied().collect();
        groups.entry(name.clone()).or_default().insert(value.clone(), share(&passed_items(&of)));
    }
    groups.retain(|_, values| values.len() > 1);
    TaskSummary {
        items: counts.len(),
        answers: samples.len(),
        cut: samples.iter().filter(|sample| sample.finish_reason == "length").count(),
        empty: empty_answers(samples),
        failed: samples.iter().filter(|sample| sample.finish_reason == "error").count(),
        tokens: samples.iter().map(|sample| sample.tokens).sum(),
        metrics,
        groups,
    }
}

/// Number of answers without text, by finish reason. Items that require no text are not counted.
fn empty_answers(samples: &[&Sample]) -> BTreeMap<String, usize> {
    let mut empty = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.response.trim().is_empty()) {
        if !matches!(sample.finish_reason.as_str(), "error" | "likelihood") {
            *empty.entry(sample.finish_reason.clone()).or_default() += 1;
        }
    }
    empty
}

/// Log-likelihoods are unbounded; every other column is a share.
fn estimate(column: &str, items: &[(f64, f64)]) -> Estimate {
    if column.ends_with("-nll") { ratio(items) } else { share(items) }
}

/// A column's numerators and denominators, averaged over each item's samples.
fn column_items(samples: &[&Sample], column: &str) -> Vec<(f64, f64)> {
    let mut items: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for sample in samples {
        if let Some((x, y)) = sample.scores.get(column) {
            let item = items.entry(&sample.id).or_default();
            *item = (item.0 + x, item.1 + y, item.2 + 1.0);
        }
    }
    items.into_values().map(|(x, y, n)| (x / n, y / n)).collect()
}

fn passed_items(samples: &[&Sample]) -> Vec<(f64, f64)> {
    right_of_each(samples).into_values().map(|(n, c)| (c as f64 / n as f64, 1.0)).collect()
}

/// For each item, the number of samples and the number of right ones.
fn right_of_each<'a>(samples: &[&'a Sample]) -> BTreeMap<&'a str, (u64, u64)> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for sample in samples {
        let count = counts.entry(&sample.id).or_default();
        *count = (count.0 + 1, count.1 + u64::from(sample.passed));
    }
    counts
}

/// A figure as printed: percent with its interval, or the perplexity for mean negative log-likelihoods.
#[must_use]
pub fn shown(column: &str, estimate: &Estimate) -> (String, String) {
    if let Some(unit) = column.strip_suffix("-nll") {
        if unit == "byte" {
            return (format!("{:.4} bits per byte", estimate.value / std::f64::consts::LN_2), String::new());
        }
        return (format!("perplexity {:.3} per {unit}", estimate.value.exp()), String::new());
    }
    let percent = |x: f64| format!("{:.1}", 100.0 * x);
    (format!("{}%", percent(estimate.value)), format!("{} to {}", percent(estimate.low), percent(estimate.high)))
}

/// A sentence about the answers without text.
#[must_use]
pub fn empty_line(figures: &TaskSummary) -> String {
    let reasons: Vec<String> = figures.empty.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!(
        "{} of {} answers were empty (finish reasons: {})",
        figures.empty.values().sum::<usize>(),
        figures.answers,
        reasons.join(", ")
    )
}

/// The table for the terminal.
#[must_use]
pub fn table(summary: &Summary) -> String {
    let mut text = format!("{:<12} {:>6} {:<20} {:>26} {:>16}\n", "task", "items", "column", "figure", "95% interval");
    for (task, figures) in summary {
        for (i, (column, estimate)) in figures.metrics.iter().enumerate() {
            let (value, interval) = shown(column, estimate);
            let name = if i == 0 { task.as_str() } else { "" };
            let _ = writeln!(text, "{name:<12} {:>6} {column:<20} {value:>26} {interval:>16}", estimate.items);
        }
        for (group, values) in &figures.groups {
            if values.len() > 12 {
                let _ = writeln!(text, "{:<12} {:>6} by {group}: {} groups, see summary.json", "", "", values.len());
                continue;
            }
            for (value, estimate) in values {
                let (figure, interval) = shown("", estimate);
                let _ = writeln!(
                    text,
                    "{:<12} {:>6} {:<20} {figure:>26} {interval:>16}",
                    "",
                    estimate.items,
                    format!("{group}={value}")
                );
            }
        }
        if !figures.empty.is_empty() {
            let _ = writeln!(text, "{:<12} {}", "", empty_line(figures));
        }
        if figures.cut + figures.failed > 0 {
            let _ = writeln!(
                text,
                "{:<12} {} of {} answers were cut at the maximum length; {} items could not be asked and count as wrong",
                "", figures.cut, figures.answers, figures.failed
            );
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use dataset::Message;

    pub(crate) fn sample(task: &str, id: &str, n: usize, passed: bool) -> Sample {
        Sample {
            task: task.into(),
            id: id.into(),
            sample: n,
            passed,
            status: String::new(),
            scores: [("accuracy".to_owned(), (f64::from(u8::from(passed)), 1.0))].into(),
            extracted: None,
            detail: None,
            groups: [("half".to_owned(), if id < "5" { "first" } else { "second" }.to_owned())].into(),
            question: String::new(),
            prompt: vec![Message::user("?")],
            response: String::new(),
            finish_reason: "stop".into(),
            tokens: 3,
            extra: serde_json::Map::new(),
        }
    }

    #[test]
    fn several_samples_average_within_items() {
        // Item 0: 2 of 4 right, item 1: none. pass@2 of item 0: 1 - C(2,2)/C(4,2) = 5/6.
        let samples: Vec<Sample> = (0..8).map(|i| sample("t", if i < 4 { "0" } else { "1" }, i % 4, i < 2)).collect();
        let summary = summarise(&samples, &[1, 2, 5]);
        let metrics = &summary["t"].metrics;
        assert!((metrics["accuracy"].value - 0.25).abs() < 1e-12);
        assert!((metrics["pass@1"].value - 0.25).abs() < 1e-12);
        assert!((metrics["pass@2"].value - 5.0 / 12.0).abs() < 1e-12);
        assert!(!metrics.contains_key("pass@5"));
        assert_eq!((summary["t"].items, summary["t"].answers, summary["t"].tokens), (2, 8, 24));
    }

    #[test]
    fn empty_answers_are_counted_and_told() {
        let mut samples: Vec<Sample> = (0..6).map(|i| sample("t", &i.to_string(), 0, false)).collect();
        for (sample, (reason, response)) in samples.iter_mut().zip([
            ("stop", " \n"),
            ("tool_calls", ""),
            ("stop", ""),
            ("stop", "4"),
            ("likelihood", ""),
            ("error", ""),
        ]) {
            (sample.finish_reason, sample.response) = (reason.into(), response.into());
        }
        let summary = summarise(&samples, &[1]);
        assert_eq!(summary["t"].empty, [("stop".to_owned(), 2), ("tool_calls".to_owned(), 1)].into());
        let table = table(&summary);
        assert!(table.contains("3 of 6 answers were empty (finish reasons: 2 stop, 1 tool_calls)"), "{table}");
    }

    #[test]
    fn groups_break_down() {
        let samples: Vec<Sample> = (0..8).map(|i| sample("t", &i.to_string(), 0, i < 5)).collect();
        let groups = &summarise(&samples, &[1])["t"].groups["half"];
        assert_eq!((groups["first"].value, groups["second"].value), (1.0, 0.0));
        assert!(table(&summarise(&samples, &[1])).contains("half=second"));
    }
}
