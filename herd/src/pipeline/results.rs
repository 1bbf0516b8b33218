//! The evaluations of a pipeline side by side: a table of figures with intervals, the paired difference between the first
//! and the last, and answers of each to the same questions.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use eval::compare::compare;
use eval::interval::Estimate;
use eval::record::{self, Sample};
use eval::summary::{Summary, shown};
use serde_json::Value;
use trainer::report::escape;

use super::recipe::Recipe;

/// Questions whose answers are shown.
const SHOWN: usize = 12;
/// A breakdown into more groups is in `summary.json` only.
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

    /// The evaluation in a stage's folder; none where there is none.
    pub fn read(stage: &str, folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join("summary.json")).ok()?;
        let mut value: Value = serde_json::from_slice(&text).ok()?;
        let summary = serde_json::from_value(value["tasks"].take()).ok()?;
        Some(Self { stage: stage.to_owned(), summary, samples: record::read(folder).ok()? })
    }
}

/// The sections of the report; an empty text where nothing was evaluated.
pub fn html(evaluated: &[Evaluated]) -> String {
    if evaluated.is_empty() {
        return String::new();
    }
    let change = change(evaluated).map_or(String::new(), |(title, comparison)| {
        format!("<h3>{}</h3>\n<pre class=\"table\">{}</pre>\n", escape(&title), escape(&comparison))
    });
    format!("<h2>Results</h2>\n{}{change}<h2>Answers</h2>\n{}", figures(evaluated), answers(evaluated))
}

/// What the terminal shows at the end; an empty text where nothing was evaluated.
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

/// A row a figure, a column a stage.
fn figures(evaluated: &[Evaluated]) -> String {
    let mut html = String::from("<div class=\"wide\"><table><tr><th>benchmark<th class=\"n\">items");
    for one in evaluated {
        write!(html, "<th>{}", escape(&one.stage)).ok();
    }
    html.push_str("</tr>\n");
    for row in rows(evaluated) {
        write!(html, "<tr><td>{}<td class=\"n\">{}", escape(&row.label), row.items()).ok();
        for cell in &row.cells {
            let text = cell.map_or(String::new(), |estimate| {
                let (value, interval) = shown(row.column, estimate);
                let interval = if interval.is_empty() { interval } else { format!("<br><small>{interval}</small>") };
                format!("<b>{value}</b>{interval}")
            });
            write!(html, "<td>{text}").ok();
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n<p>Small figures: 95% interval.</p>\n");
    html
}

/// The last evaluation against the first, item by item: a title and the comparison.
fn change(evaluated: &[Evaluated]) -> Option<(String, String)> {
    let [first, .., last] = evaluated else { return None };
    let comparison = compare(&first.samples, &last.samples).to_string();
    Some((format!("{} against {}, paired by item", last.stage, first.stage), comparison))
}

/// Questions that all stages were asked; those whose verdict changed between the first and the last come first.
fn answers(evaluated: &[Evaluated]) -> String {
    let [first, rest @ ..] = evaluated else { return String::new() };
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
    let mut html = String::new();
    for (_, row) in shared.iter().take(SHOWN) {
        write!(html, "<details><summary>{} {}: ", escape(&row[0].task), escape(&row[0].id)).ok();
        html.extend(row.iter().map(mark));
        write!(html, "</summary><pre>{}</pre>", escape(&row[0].question)).ok();
        for (one, sample) in evaluated.iter().zip(row) {
            write!(html, "<h3>{} {}</h3><pre>{}</pre>", mark(sample), escape(&one.stage), escape(&sample.response))
                .ok();
        }
        html.push_str("</details>\n");
    }
    html
}

fn mark(sample: &Sample) -> &'static str {
    if sample.passed { "&#10003;" } else { "&#10007;" }
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
        let page = html(&[stage("before", [true, false]), stage("after", [true, true])]);
        assert!(
            page.contains("<tr><td>sums accuracy<td class=\"n\">2<td><b>50.0%</b><br><small>10.0 to 90.0</small>"),
            "{page}"
        );
        assert!(page.contains("after against before") && page.contains("1/0"), "{page}");
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(place("sums 1: &#10007;&#10003;") < place("sums 0: &#10003;&#10003;"));
        assert!(page.contains("&lt;1+1&gt;?") && page.contains("said by after"));
        assert!(page.contains("<tr><td>  topic b<td class=\"n\">2<td><b>75.0%</b>"), "{page}");
        assert_eq!((html(&[]), text(&[])), (String::new(), String::new()));
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
