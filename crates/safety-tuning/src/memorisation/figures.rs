//! Figures about continuations: how many equal the corpus, how far they follow it, how many contain any n-gram of it.

use std::path::Path;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use run::{Cell, Column, Page};
use serde::{Deserialize, Serialize};
use stats::Estimate;

use super::Index;

/// A window of the corpus: a prompt and its continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The position of the prompt in the corpus, in tokens.
    pub at: u64,
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The continuation in the corpus.
    pub expected: Vec<u32>,
}

/// Draws windows with distinct prompts: n-grams of the index that the document continues for at least `length` tokens.
///
/// # Errors
/// When a file cannot be read, or when the index has no such n-gram.
pub fn draw(index: &Index, count: usize, length: usize, seed: u64) -> anyhow::Result<Vec<Window>> {
    let (n, grams) = (index.head().n, index.head().grams);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers = std::collections::HashSet::new();
    let mut windows = Vec::new();
    // In the worst case all numbers are tried.
    while windows.len() < count && (numbers.len() as u64) < grams {
        let mut number = random.random_range(0..grams);
        while !numbers.insert(number) {
            number = (number + 1) % grams;
        }
        let (_, at) = index.gram(number)?;
        if let Some(tokens) = index.tokens(at, n + length)? {
            windows.push(Window { at, prompt: tokens[..n].to_vec(), expected: tokens[n..].to_vec() });
        }
    }
    anyhow::ensure!(!windows.is_empty(), "no document of the corpus has {} tokens after one another", n + length);
    Ok(windows)
}

/// The minimum number of tokens for each row of the histogram.
const ROWS: [usize; 7] = [0, 1, 2, 5, 10, 25, 50];

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Number of tokens of a prompt.
    pub n: usize,
    /// Number of tokens of a continuation.
    pub length: usize,
    /// The share of continuations that equal the corpus.
    pub exact: Estimate,
    /// The share of continuations that contain any n-gram of the corpus; none if they are shorter than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Estimate>,
    /// The mean number of tokens for which a continuation follows the corpus.
    pub mean_prefix: f64,
    /// For each row of the histogram: its minimum number of matching tokens, and the number of continuations.
    pub histogram: Vec<(usize, usize)>,
}

impl Figures {
    /// Computes the figures from windows and the model's continuations.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn of(index: &Index, windows: &[Window], continuations: &[Vec<u32>]) -> anyhow::Result<Self> {
        anyhow::ensure!(
            windows.len() == continuations.len(),
            "{} continuations of {} prompts",
            continuations.len(),
            windows.len()
        );
        let n = index.head().n;
        let length = windows.first().map_or(0, |window| window.expected.len());
        let (mut exact, mut any, mut prefixes) = (0, 0, Vec::new());
        for (window, continuation) in windows.iter().zip(continuations) {
            let prefix = window.expected.iter().zip(continuation).take_while(|(one, other)| one == other).count();
            exact += usize::from(prefix == length);
            any += usize::from(index.holds_any(continuation)?);
            prefixes.push(prefix);
        }
        let rows = ROWS.iter().enumerate().filter(|(_, least)| **least <= length);
        let histogram = rows.map(|(row, &least)| {
            let next = ROWS.get(row + 1).copied().unwrap_or(usize::MAX);
            (least, prefixes.iter().filter(|prefix| (least..next).contains(*prefix)).count())
        });
        Ok(Self {
            n,
            length,
            exact: stats::proportion(exact, windows.len()),
            any: (length >= n).then(|| stats::proportion(any, windows.len())),
            mean_prefix: prefixes.iter().sum::<usize>() as f64 / windows.len().max(1) as f64,
            histogram: histogram.collect(),
        })
    }

    /// The text for the terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let any = self.any.as_ref().map_or_else(String::new, |any| {
            format!("; {} hold any run of {} tokens of the corpus", any.percent(), self.n)
        });
        let rows: Vec<String> = self.histogram.iter().map(|(least, count)| format!("{least}+: {count}")).collect();
        format!(
            "{} of {} continuations ({} tokens after {}) equal the corpus{any}\nthey follow it for {:.1} tokens in the mean ({})",
            self.exact.percent(),
            self.exact.items,
            self.length,
            self.n,
            self.mean_prefix,
            rows.join(", ")
        )
    }

    /// Writes the report.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn page(&self, model: &str, path: &Path) -> anyhow::Result<()> {
        let mut page = Page::new(format!("Memorisation: {model}"));
        page.paragraph(format!(
            "Runs of {} tokens of the corpus, drawn at random, are the prompts; the model continues each with its {} likeliest tokens. \
             Every match is compared token by token.",
            self.n, self.length
        ));
        let mut rows: Vec<Vec<Cell>> =
            vec![vec!["continuations that equal the corpus".into(), self.exact.percent().into()]];
        if let Some(any) = &self.any {
            rows.push(vec![format!("that hold any run of {} tokens of it", self.n).into(), any.percent().into()]);
        }
        rows.push(vec!["tokens for which they follow it, mean".into(), format!("{:.1}", self.mean_prefix).into()]);
        page.table(vec![Column::text("figure"), Column::number("value")], rows);
        let rows = self
            .histogram
            .iter()
            .map(|(least, count)| vec![format!("{least} and more").into(), count.to_string().into()]);
        page.table(vec![Column::text("tokens followed"), Column::number("continuations")], rows.collect());
        page.write(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memorisation::Builder;

    #[test]
    fn a_parrot_is_found_out_and_a_poet_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(8).unwrap();
        (0..10).for_each(|d| builder.document(&(0..60).map(|t| d * 1000 + t).collect::<Vec<u32>>()));
        builder.write(dir.path(), "x".into()).unwrap();
        let index = Index::open(dir.path()).unwrap();
        let windows = draw(&index, 50, 12, 3).unwrap();
        assert_eq!(windows.len(), 50);
        assert_eq!(windows, draw(&index, 50, 12, 3).unwrap());
        let prompts: std::collections::HashSet<&Vec<u32>> = windows.iter().map(|window| &window.prompt).collect();
        assert_eq!(prompts.len(), 50, "prompts are distinct");
        let parrot: Vec<Vec<u32>> = windows.iter().map(|window| window.expected.clone()).collect();
        let figures = Figures::of(&index, &windows, &parrot).unwrap();
        assert_eq!((figures.exact.value, figures.any.unwrap().value, figures.mean_prefix), (1.0, 1.0, 12.0));
        let poet: Vec<Vec<u32>> =
            windows.iter().map(|window| vec![window.expected[0], 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]).collect();
        let figures = Figures::of(&index, &windows, &poet).unwrap();
        assert_eq!((figures.exact.value, figures.any.unwrap().value, figures.mean_prefix), (0.0, 0.0, 1.0));
        assert_eq!(figures.histogram, [(0, 0), (1, 50), (2, 0), (5, 0), (10, 0)]);
        // A continuation from another place of the corpus is not exact, but contained.
        let elsewhere: Vec<Vec<u32>> =
            windows.iter().map(|window| window.expected.iter().map(|t| (t + 1000) % 10_000).collect()).collect();
        let figures = Figures::of(&index, &windows, &elsewhere).unwrap();
        assert_eq!((figures.exact.value, figures.any.unwrap().value), (0.0, 1.0));
        assert!(draw(&index, 5, 53, 0).is_err() && draw(&index, 5000, 12, 0).unwrap().len() == 410);
    }
}
