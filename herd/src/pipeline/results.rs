//! The evaluations of a pipeline side by side: a table of figures with intervals, the paired difference between the
//! first and the last, and the answers of each to the same questions.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use eval::compare::compare;
use eval::record::{self, Sample};
use eval::summary::{Summary, shown};
use run::{Blocks, Cell, Column};
use serde_json::Value;
use stats::Estimate;

use super::recipe::Recipe;

/// Number of questions whose answers are shown.
const SHOWN: usize = 12;
/// A breakdown into more groups than this is only in `summary.json`.
const SHOWN_GROUPS: usize = 6;

/// A stage that evaluated a model.
pub struct Evaluated {
    /// The stage's name.
    pub stage: String,
    summary: Summary,
    samples: Vec<Sample>,
}

impl Evaluated {
    /// The evaluations of a pipeline, in the order of its stages.
    pub fn all(recipe: &Recipe) -> Vec<Self> {
        recipe.stages.iter().filter_map(|stage| Self::read(&stage.name, &stage.folder)).collect()
    }

    /// The evaluation in a stage's folder; `None` if there is none.
    pub fn read(stage: &str, folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join("summary.json")).ok()?;
        let mut value: Value = serde_json::from_slice(&text).ok()?;
        let summary = serde_json::from_value(value["tasks"].take()).ok()?;
        Some(Self { stage: stage.to_owned(), summary, samples: record::read(folder).ok()? })
    }
}

/// The sections of the report; empty if nothing was evaluated.
pub fn blocks(evaluated: &[Evaluated]) -> Blocks {
    let mut blocks = Blocks::default();
    if evaluated.is_empty() {
        return blocks;
    }
    blocks.heading(2, "Results").extend(figures(evaluated));
    if let Some((title, comparison)) = change(evaluated) {
        blocks.heading(3, title).columns(comparison);
    }
    blocks.heading(2, "Answers").extend(answers(evaluated));
    blocks
}

/// The text for the terminal at the end; empty if nothing was evaluated.
pub fn text(evaluated: &[Evaluated]) -> String {
    let rows = rows(evaluated);
    let width = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let cell = |row: &Row, at: usize| {
        row.cells[at].map_or(String::new(), |estimate| {
            let (value, interval) = shown(row.column, estimate);
            if interval.is_empty() { value } else { format!("{value} ({interval})") }
        })
    };
    let mut columns = vec![];
    for (at, one) in evaluated.iter().enumerate() {
        let cells: Vec<String> = rows.iter().map(|row| cell(row, at)).collect();
        columns.push((cells.iter().map(String::len).max().unwrap_or(0).max(one.stage.len()), cells));
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("{:width$} {:>6}", "", "items");
    for (one, (width, _)) in evaluated.iter().zip(&columns) {
        write!(text, "  {:<width$}", one.stage).ok();
    }
    for (at, row) in rows.iter().enumerate() {
        write!(text, "\n{:width$} {:>6}", row.label, row.items()).ok();
        for (width, cells) in &columns {
            write!(text, "  {:<width$}", cells[at]).ok();
        }
    }
    let mut text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.push_str("In brackets: 95% interval.\n");
    if let Some((title, comparison)) = change(evaluated) {
        write!(text, "\n{title}\n{comparison}").ok();
    }
    text
}

/// A figure in every evaluation that has it.
struct Row<'a> {
    label: String,
    column: &'a str,
    cells: Vec<Option<&'a Estimate>>,
}

impl Row<'_> {
    fn items(&self) -> usize {
        self.cells.iter().flatten().map(|estimate| estimate.items).max().unwrap_or(0)
    }
}

/// The columns of every benchmark, and under each benchmark its main column for the groups of its breakdowns.
fn rows(evaluated: &[Evaluated]) -> Vec<Row<'_>> {
    let summaries = || evaluated.iter().map(|one| &one.summary);
    let mut rows = Vec::new();
    for task in summaries().flat_map(|summary| summary.keys()).collect::<BTreeSet<_>>() {
        let of = || summaries().map(|summary| summary.get(task));
        for column in of().flatten().flat_map(|figures| figures.metrics.keys()).collect::<BTreeSet<_>>() {
            let cells = of().map(|figures| figures?.metrics.get(column)).collect();
            rows.push(Row { label: format!("{task} {column}"), column, cells });
        }
        let groups: BTreeSet<(&String, &String)> = of()
            .flatten()
            .flat_map(|figures| &figures.groups)
            .filter(|(_, values)| values.len() <= SHOWN_GROUPS)
            .flat_map(|(group, values)| values.keys().map(move |value| (group, value)))
            .collect();
        for (group, value) in groups {
            let cells = of().map(|figures| figures?.groups.get(group)?.get(value)).collect();
            rows.push(Row { label: format!("  {group} {value}"), column: "", cells });
        }
    }
    rows
}

/// One row per figure, one column per stage.
fn figures(evaluated: &[Evaluated]) -> Blocks {
    let mut columns = vec![Column::text("benchmark"), Column::number("items")];
    columns.extend(evaluated.iter().map(|one| Column::text(&one.stage)));
    let cell = |row: &Row, estimate: Option<&Estimate>| match estimate {
        None => Cell::default(),
        Some(estimate) => {
            let (value, interval) = shown(row.column, estimate);
            Cell::from(value).strong().note(interval)
        }
    };
    let rows = rows(evaluated).into_iter().map(|row| {
        let mut cells = vec![Cell::from(&row.label), row.items().to_string().into()];
        cells.extend(row.cells.iter().map(|estimate| cell(&row, *estimate)));
        cells
    });
    let mut blocks = Blocks::default();
    blocks.table(columns, rows.collect()).paragraph("Small figures: 95% interval.");
    blocks
}

/// The comparison of the last evaluation with the first, item by item, with a title.
fn change(evaluated: &[Evaluated]) -> Option<(String, String)> {
    let [first, .., last] = evaluated else { return None };
    let comparison = compare(&first.samples, &last.samples).to_string();
    Some((format!("{} against {}, paired by item", last.stage, first.stage), comparison))
}

/// Questions that all stages were asked. Those whose verdict changed between the first and the last come first.
fn answers(evaluated: &[Evaluated]) -> Blocks {
    let mut blocks = Blocks::default();
    let [first, rest @ ..] = evaluated else { return blocks };
    let same = |sample: &Sample, other: &Evaluated| {
        let is = |s: &&Sample| (&s.task, &s.id, s.sample) == (&sample.task, &sample.id, sample.sample);
        other.samples.iter().find(is).cloned()
    };
    let mut shared: Vec<(bool, Vec<Sample>)> = first
        .samples
        .iter()
        .filter_map(|sample| {
            let mut row = vec![sample.clone()];
            for other in rest {
                row.push(same(sample, other)?);
            }
            Some((row.last().map(|last| last.passed) == Some(sample.passed), row))
        })
        .collect();
    shared.sort_by_key(|(unchanged, _)| *unchanged);
    for (_, row) in shared.iter().take(SHOWN) {
        let marks: String = row.iter().map(mark).collect();
        let mut inner = Blocks::default();
        inner.pre(&row[0].question);
        for (one, sample) in evaluated.iter().zip(row) {
            inner.heading(3, format!("{} {}", mark(sample), one.stage)).answer(&sample.response);
        }
        blocks.details(format!("{} {}: {marks}", row[0].task, row[0].id), inner);
    }
    blocks
}

fn mark(sample: &Sample) -> &'static str {
    if sample.passed { "✓" } else { "✗" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stage(name: &str, passed: [bool; 2]) -> Evaluated {
        let folder = tempfile::tempdir().unwrap();
        let estimate = |value: f64| json!({"value": value, "low": 0.1, "high": 0.9, "items": 2, "interval": "wilson"});
        let right = passed.iter().filter(|passed| **passed).count();
        let task = json!({"items": 2, "answers": 2, "cut": 0, "failed": 0, "tokens": 9,
            "metrics": {"accuracy": estimate(right as f64 / 2.0)},
            "groups": {"topic": {"a": estimate(0.25), "b": estimate(0.75)}}});
        std::fs::write(folder.path().join("summary.json"), json!({"tasks": {"sums": task}}).to_string()).unwrap();
        let lines = passed.iter().enumerate().map(|(id, passed)| {
            json!({"task": "sums", "id": id.to_string(), "sample": 0, "passed": passed, "status": "",
                "scores": {"accuracy": [f64::from(u8::from(*passed)), 1.0]}, "question": format!("<{id}+1>?"), "prompt": [],
                "response": format!("said by {name}"), "finish_reason": "stop", "tokens": 4})
            .to_string()
        });
        std::fs::write(folder.path().join("samples.jsonl"), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        Evaluated::read(name, folder.path()).unwrap()
    }

    #[test]
    fn stages_stand_side_by_side_and_what_changed_comes_first() {
        let mut page = run::Page::new("test");
        page.extend(blocks(&[stage("before", [true, false]), stage("after", [true, true])]));
        let page = page.html().unwrap();
        assert!(
            page.contains("<tr><td>sums accuracy<td class=\"n\">2<td><b>50.0%</b><br><small>10.0 to 90.0</small>"),
            "{page}"
        );
        assert!(page.contains("after against before") && page.contains("1&#x2f;0"), "{page}");
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(place("sums 1: ✗✓") < place("sums 0: ✓✓"));
        assert!(page.contains("&lt;1+1&gt;?") && page.contains("said by after"));
        assert!(page.contains("<tr><td>  topic b<td class=\"n\">2<td><b>75.0%</b>"), "{page}");
        assert!(blocks(&[]).is_empty() && text(&[]).is_empty());
        assert!(Evaluated::read("x", Path::new("/nowhere")).is_none());
    }

    #[test]
    fn the_terminal_has_the_same_table() {
        let text = text(&[stage("before", [true, false]), stage("after", [true, true])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "               items  before                after");
        assert_eq!(lines[1], "sums accuracy      2  50.0% (10.0 to 90.0)  100.0% (10.0 to 90.0)");
        assert_eq!(lines[2], "  topic a          2  25.0% (10.0 to 90.0)  25.0% (10.0 to 90.0)");
        assert!(text.contains("\nafter against before, paired by item\n"), "{text}");
    }
}
