//! Figures by task and length: scores with intervals, truncated answers apart from wrong ones, effective length.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::eval::record::Sample;
use run::grouped;
use serde::{Deserialize, Serialize};
use stats::Estimate;

use super::ask::{CUT, NO_ANSWER};

/// The figures of a task at a length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The mean score with its interval; for ppl-by-position, the loss per token in nats.
    pub score: Estimate,
    /// Number of answers that are completely right.
    pub right: usize,
    /// Number of answers that used up their tokens without being right.
    pub cut: usize,
    /// Number of other answers that are not completely right.
    pub wrong: usize,
    /// Number of items that could not be asked; their score is 0.
    pub unasked: usize,
}

/// Figures of a run: by task, by length.
pub type Figures = BTreeMap<String, BTreeMap<usize, Cell>>;

/// One cell of the grid: the number of needles found, and the number asked for.
pub type Found = (usize, usize);

/// The grid: by depth in tenths of a percent, by length.
pub type GridCells = BTreeMap<u32, BTreeMap<usize, Found>>;

/// The name of the loss column.
const LOSS: &str = "token-nll";

/// The figures of samples. RULER's tasks are also pooled as `ruler`: the mean over its tasks.
#[must_use]
pub fn figures(samples: &[Sample]) -> Figures {
    let mut by: BTreeMap<(String, usize), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let Some(length) = length_of(sample) else { continue };
        by.entry((sample.task.clone(), length)).or_default().push(sample);
        if sample.task.starts_with("ruler:") {
            by.entry(("ruler".to_owned(), length)).or_default().push(sample);
        }
    }
    let mut all = Figures::new();
    for ((task, length), samples) in by {
        all.entry(task).or_default().insert(length, cell(&samples));
    }
    all
}

fn length_of(sample: &Sample) -> Option<usize> {
    sample.groups.get("length")?.parse().ok()
}

fn cell(samples: &[&Sample]) -> Cell {
    let column = |name: &str| samples.iter().filter_map(|s| s.scores.get(name).copied()).collect::<Vec<_>>();
    let losses = column(LOSS);
    let score = if losses.is_empty() { stats::share(&column("recall")) } else { stats::ratio(&losses) };
    let count = |status: &str| samples.iter().filter(|sample| sample.status == status).count();
    let right = samples.iter().filter(|sample| sample.passed).count();
    let (cut, unasked) = (count(CUT), count(NO_ANSWER));
    Cell { score, right, cut, wrong: samples.len() - right - cut - unasked, unasked }
}

/// The grid of needles found, by depth and length.
#[must_use]
pub fn grid(samples: &[Sample]) -> GridCells {
    let mut cells = GridCells::new();
    for sample in samples.iter().filter(|sample| sample.task == "niah") {
        let depth = sample.groups.get("depth").and_then(|depth| depth.strip_suffix('%')?.parse::<f64>().ok());
        let Some((depth, length)) = depth.zip(length_of(sample)) else { continue };
        let cell = cells.entry((10.0 * depth).round() as u32).or_default().entry(length).or_default();
        *cell = (cell.0 + usize::from(sample.passed), cell.1 + 1);
    }
    cells
}

/// RULER's effective length (Hsieh et al. 2024): the longest length such that the score reaches the threshold there and at all shorter
/// lengths. `None` when the shortest length is below the threshold. It has no meaning for a loss.
#[must_use]
pub fn effective(cells: &BTreeMap<usize, Cell>, threshold: f64) -> Option<usize> {
    let reached = cells.iter().take_while(|(_, cell)| cell.score.value >= threshold);
    reached.last().map(|(length, _)| *length)
}

/// Whether a task's figure is a loss.
#[must_use]
pub fn is_loss(task: &str) -> bool {
    task == "ppl-by-position"
}

/// The figures as a table, to print.
#[must_use]
pub fn table(figures: &Figures, threshold: f64) -> String {
    let mut text =
        format!("{:<22} {:>9} {:>9} {:>16}   right   cut wrong unasked\n", "task", "length", "figure", "95% interval");
    for (task, cells) in figures {
        for (at, (length, cell)) in cells.iter().enumerate() {
            let name = if at == 0 { task.as_str() } else { "" };
            let (figure, interval) = shown(task, cell);
            let Cell { right, cut, wrong, unasked, .. } = cell;
            let length = grouped(*length as u64);
            let _ = if is_loss(task) {
                writeln!(text, "{name:<22} {length:>9} {figure:>9} {interval:>16}")
            } else {
                writeln!(
                    text,
                    "{name:<22} {length:>9} {figure:>9} {interval:>16} {right:>7} {cut:>5} {wrong:>5} {unasked:>7}"
                )
            };
        }
    }
    for (task, cells) in figures.iter().filter(|(task, _)| !is_loss(task) && !task.starts_with("ruler:")) {
        let _ = writeln!(text, "{}", effective_text(task, cells, threshold));
    }
    text
}

/// A figure and its interval, formatted.
#[must_use]
pub fn shown(task: &str, cell: &Cell) -> (String, String) {
    let Estimate { value, low, high, .. } = cell.score;
    if is_loss(task) {
        return (format!("{value:.4}"), format!("{low:.4} to {high:.4}"));
    }
    (format!("{:.1}%", 100.0 * value), format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high))
}

/// The effective length as a sentence.
#[must_use]
pub fn effective_text(task: &str, cells: &BTreeMap<usize, Cell>, threshold: f64) -> String {
    let of = format!("at least {:.1}% at it and at all shorter lengths", 100.0 * threshold);
    match effective(cells, threshold) {
        Some(length) => format!("{task}: effective length {} ({of})", grouped(length as u64)),
        None => format!("{task}: no effective length ({of}): the shortest is below it"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(task: &str, length: usize, depth: f64, status: &str, score: f64) -> Sample {
        Sample {
            task: task.into(),
            id: format!("{length}-{depth}"),
            sample: 0,
            passed: status == "right",
            status: status.into(),
            scores: [("recall".to_owned(), (score, 1.0))].into(),
            extracted: None,
            detail: None,
            groups: [("length".into(), length.to_string()), ("depth".into(), format!("{depth}%"))].into(),
            question: String::new(),
            prompt: Vec::new(),
            response: String::new(),
            finish_reason: "stop".into(),
            tokens: 1,
            extra: serde_json::Map::new(),
        }
    }

    #[test]
    fn cut_wrong_and_unasked_are_apart() {
        let samples = [
            sample("niah", 4096, 0.0, "right", 1.0),
            sample("niah", 4096, 50.0, "cut", 0.0),
            sample("niah", 4096, 100.0, "wrong", 0.0),
            sample("niah", 4096, 100.0, "right", 1.0),
            sample("niah", 8192, 0.0, NO_ANSWER, 0.0),
        ];
        let figures = figures(&samples);
        let cell = &figures["niah"][&4096];
        assert_eq!((cell.right, cell.cut, cell.wrong, cell.unasked, cell.score.value), (2, 1, 1, 0, 0.5));
        assert_eq!(figures["niah"][&8192].unasked, 1);
        let grid = grid(&samples);
        assert_eq!((grid[&1000][&4096], grid[&0][&8192]), ((1, 2), (0, 1)));
        assert!(table(&figures, 0.856).contains("niah: no effective length"), "{}", table(&figures, 0.856));
    }

    #[test]
    fn the_effective_length_has_no_gap() {
        let at = |length, status, score| sample("ruler:vt", length, 0.0, status, score);
        let good = [at(4096, "right", 1.0), at(8192, "right", 0.9), at(16_384, "wrong", 0.2), at(32_768, "right", 1.0)];
        let figures = figures(&good);
        // Four items of one task: the mean over RULER's tasks equals that task's mean.
        assert_eq!(effective(&figures["ruler"], 0.856), Some(8192));
        assert_eq!(effective(&figures["ruler:vt"], 0.95), Some(4096));
        assert!(effective_text("ruler", &figures["ruler"], 0.856).contains("effective length 8,192 (at least 85.6%"));
    }
}
