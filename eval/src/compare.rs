//! Compares two runs on the same items: paired differences, with McNemar's exact test and a bootstrap interval.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Map, Value};
use stats::paired::{bootstrap, mcnemar};

use crate::record::Sample;

/// Number of bootstrap resamples.
const RESAMPLES: usize = 10_000;

/// A column of a benchmark in two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The benchmark.
    pub task: String,
    /// The column.
    pub column: String,
    /// Number of items that both runs have.
    pub items: usize,
    /// The first run's mean over these items.
    pub first: f64,
    /// The second run's mean over these items.
    pub second: f64,
    /// The lower end of the 95% interval of second minus first, by the bootstrap over items.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// Number of items that only the first run has right; `None` unless every item is either right or wrong.
    pub lost: Option<usize>,
    /// Number of items that only the second run has right.
    pub gained: Option<usize>,
    /// McNemar's exact p-value, two-sided.
    pub p: Option<f64>,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The columns that both runs have.
    pub differences: Vec<Difference>,
    /// Number of items that only the first run has.
    pub only_first: usize,
    /// Number of items that only the second run has.
    pub only_second: usize,
    /// Number of shared items whose prompts differ.
    pub other_prompt: usize,
}

/// The file in which a run of another command than `herd eval` says how it asked.
const PROTOCOL: &str = "protocol.json";

/// Checks that two runs used the same protocol, if one of them has a protocol file (`herd longctx eval`).
///
/// # Errors
/// When a key differs (the error names all of them), when only one run has the file, or when it cannot be read.
pub fn same_protocol(first: &Path, second: &Path) -> anyhow::Result<()> {
    let read = |run: &Path| -> anyhow::Result<Option<Map<String, Value>>> {
        let path = run.join(PROTOCOL);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?))
    };
    let (a, b) = (read(first)?, read(second)?);
    ensure!(
        a.is_some() == b.is_some(),
        "only one of {} and {} has a {PROTOCOL}: their figures do not belong beside each other",
        first.display(),
        second.display()
    );
    let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ: Vec<String> = keys
        .into_iter()
        .filter(|key| a.get(*key) != b.get(*key))
        .map(|key| {
            let shown = |value: Option<&Value>| value.map_or("not given".to_owned(), Value::to_string);
            format!("{key}: {} and {}", shown(a.get(key)), shown(b.get(key)))
        })
        .collect();
    ensure!(
        differ.is_empty(),
        "the two runs asked by different protocols, so that their figures do not belong beside each other:\n  {}",
        differ.join("\n  ")
    );
    Ok(())
}

/// An item's columns: sums over its samples.
type Columns = BTreeMap<String, (f64, f64)>;

/// Compares the samples of two runs, item by item.
#[must_use]
pub fn compare(first: &[Sample], second: &[Sample]) -> Comparison {
    let (a, b) = (by_item(first), by_item(second));
    let shared: BTreeSet<_> = a.keys().filter(|key| b.contains_key(*key)).collect();
    let prompts: BTreeMap<(&str, &str), &Sample> =
        second.iter().map(|s| ((s.task.as_str(), s.id.as_str()), s)).collect();
    let other_prompt = first
        .iter()
        .filter(|s| s.sample == 0)
        .filter(|s| prompts.get(&(s.task.as_str(), s.id.as_str())).is_some_and(|other| other.prompt != s.prompt))
        .count();
    // For each task and column, the item's mean in both runs.
    let mut pairs: BTreeMap<(&str, &str), Vec<(f64, f64)>> = BTreeMap::new();
    for key in &shared {
        for (column, (x, y)) in &a[*key] {
            if let Some((x2, y2)) = b[*key].get(column) {
                pairs.entry((key.0, column)).or_default().push((x / y, x2 / y2));
            }
        }
    }
    let differences = pairs.into_iter().map(|((task, column), pairs)| difference(task, column, &pairs)).collect();
    Comparison { differences, only_first: a.len() - shared.len(), only_second: b.len() - shared.len(), other_prompt }
}

fn by_item(samples: &[Sample]) -> BTreeMap<(&str, &str), Columns> {
    let mut items: BTreeMap<(&str, &str), Columns> = BTreeMap::new();
    for sample in samples {
        let item = items.entry((&sample.task, &sample.id)).or_default();
        for (column, (x, y)) in &sample.scores {
            let sum = item.entry(column.clone()).or_default();
            *sum = (sum.0 + x, sum.1 + y);
        }
    }
    items
}

fn difference(task: &str, column: &str, pairs: &[(f64, f64)]) -> Difference {
    let n = pairs.len() as f64;
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let (low, high) = bootstrap(&differences, RESAMPLES, 0);
    let simple = pairs.iter().all(|&(a, b)| [a, b].iter().all(|&x| x == 0.0 || x == 1.0));
    let count = |d: f64| simple.then(|| differences.iter().filter(|&&x| x == d).count());
    let (lost, gained) = (count(-1.0), count(1.0));
    Difference {
        task: task.to_owned(),
        column: column.to_owned(),
        items: pairs.len(),
        first: pairs.iter().map(|(a, _)| a).sum::<f64>() / n,
        second: pairs.iter().map(|(_, b)| b).sum::<f64>() / n,
        low,
        high,
        lost,
        gained,
        p: lost.zip(gained).map(|(lost, gained)| mcnemar(lost, gained)),
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<20} {:>6} {:>8} {:>8} {:>7} {:>16} {:>12} {:>9}",
            "task", "column", "items", "first", "second", "change", "95% interval", "gained/lost", "p"
        )?;
        for d in &self.differences {
            let scale = if d.column.ends_with("-nll") { 1.0 } else { 100.0 };
            let counts = d.gained.zip(d.lost).map(|(gained, lost)| format!("{gained}/{lost}")).unwrap_or_default();
            let p = d.p.map(|p| format!("{p:.4}")).unwrap_or_default();
            writeln!(
                f,
                "{:<12} {:<20} {:>6} {:>8.1} {:>8.1} {:>+7.1} {:>16} {counts:>12} {p:>9}",
                d.task,
                d.column,
                d.items,
                scale * d.first,
                scale * d.second,
                scale * (d.second - d.first),
                format!("{:+.1} to {:+.1}", scale * d.low, scale * d.high),
            )?;
        }
        if self.only_first + self.only_second > 0 {
            writeln!(
                f,
                "{} items only in the first run and {} only in the second are left out",
                self.only_first, self.only_second
            )?;
        }
        if self.other_prompt > 0 {
            writeln!(
                f,
                "{} of the shared items had another prompt: the difference is not the model's alone",
                self.other_prompt
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::sample;

    #[test]
    fn the_same_items_are_paired() {
        let a: Vec<Sample> = (0..30).map(|i| sample("t", &i.to_string(), 0, i < 10)).collect();
        let mut b: Vec<Sample> = (5..35).map(|i| sample("t", &i.to_string(), 0, i >= 8)).collect();
        b[0].prompt.clear();
        let c = compare(&a, &b);
        assert_eq!((c.only_first, c.only_second, c.other_prompt), (5, 5, 1));
        let d = &c.differences[0];
        // Shared: 5..30. First right: 5..10; second right: 8..30.
        assert_eq!((d.items, d.lost, d.gained), (25, Some(3), Some(20)));
        assert!((d.first - 0.2).abs() < 1e-12 && (d.second - 0.88).abs() < 1e-12);
        assert!((d.p.unwrap() - mcnemar(3, 20)).abs() < 1e-15 && d.low > 0.3 && d.high < 0.97, "{d:?}");
        assert!(c.to_string().contains("20/3"));
    }

    #[test]
    fn runs_of_different_protocols_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = |name: &str, protocol: Option<&str>| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if let Some(text) = protocol {
                std::fs::write(folder.join(PROTOCOL), text).unwrap();
            }
            folder
        };
        let one = run("one", Some(r#"{"lengths": [4096], "needles": "shared", "seed": 0}"#));
        let same = run("same", Some(r#"{"seed": 0, "lengths": [4096], "needles": "shared"}"#));
        let other = run("other", Some(r#"{"lengths": [8192], "needles": "shared"}"#));
        let none = run("none", None);
        same_protocol(&one, &same).unwrap();
        same_protocol(&none, &none).unwrap();
        let error = same_protocol(&one, &other).unwrap_err().to_string();
        assert!(error.contains("lengths: [4096] and [8192]") && error.contains("seed: 0 and not given"), "{error}");
        assert!(!error.contains("needles"), "{error}");
        assert!(same_protocol(&one, &none).unwrap_err().to_string().contains("only one of"));
    }

    #[test]
    fn several_samples_have_no_mcnemar() {
        let a: Vec<Sample> = (0..20).map(|i| sample("t", &(i / 2).to_string(), i % 2, i % 2 == 0)).collect();
        let d = &compare(&a, &a).differences[0];
        assert_eq!((d.first, d.second, d.low, d.high, d.p), (0.5, 0.5, 0.0, 0.0, None));
    }
}
