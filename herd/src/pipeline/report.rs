//! `report.html` of a pipeline: results, progress, costs, and how to repeat it.

use std::path::PathBuf;
use std::time::Duration;

use run::progress::duration;
use run::{Blocks, Cell, Column, Page};
use trainer::metrics;

use super::recipe::{Recipe, Stage};
use super::results::{self, Evaluated};
use super::state::{LOG, Record};
use super::view;

/// The name of a report, in the folder of the pipeline and in those of its stages.
const REPORT: &str = "report.html";

/// Writes the page and returns its path. `evaluated` is the result of [`Evaluated::all`].
///
/// # Errors
/// When a file cannot be written.
pub fn write(recipe: &Recipe, evaluated: &[Evaluated]) -> anyhow::Result<PathBuf> {
    let path = recipe.output.join(REPORT);
    let records: Vec<(&Stage, Option<Record>)> =
        recipe.stages.iter().map(|stage| (stage, Record::read(&stage.folder))).collect();
    let mut page = Page::new(&recipe.name);
    page.paragraph(recipe.about.trim())
        .extend(results::blocks(evaluated))
        .extend(curves(&records))
        .extend(printed(&records))
        .extend(costs(&records))
        .extend(commands(recipe));
    page.write(&path)?;
    Ok(path)
}

/// Loss of every stage that trained.
fn curves(records: &[(&Stage, Option<Record>)]) -> Blocks {
    let mut plots = Blocks::default();
    for (stage, _) in records {
        let Ok(steps) = metrics::read(&stage.folder.join("metrics.jsonl")) else { continue };
        let loss = steps.iter().map(|m| (m.step as f64, m.loss)).collect();
        let eval = steps.iter().filter_map(|m| Some((m.step as f64, m.eval_loss?))).collect();
        let title = format!("{}: loss", stage.name);
        plots.plot(&title, &[("training", "#2a6f97", loss), ("held out", "#d1495b", eval)]);
    }
    let mut blocks = Blocks::default();
    if !plots.is_empty() {
        blocks.heading(2, "Training").extend(plots);
    }
    blocks
}

/// The last lines that each stage printed, which are its summary.
fn printed(records: &[(&Stage, Option<Record>)]) -> Blocks {
    let mut blocks = Blocks::default();
    blocks.heading(2, "The last lines of each stage");
    for (stage, record) in records {
        let Some(record) = record else { continue };
        blocks.heading(3, &stage.name).paragraph(&stage.about);
        for what in &record.failures {
            blocks.failure(format!("An attempt {what}"));
        }
        blocks.pre(view::tail(&stage.folder.join(LOG), 14).join("\n"));
    }
    blocks
}

/// Time and memory of each stage, with links to the reports of the stages.
fn costs(records: &[(&Stage, Option<Record>)]) -> Blocks {
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let (mut rows, mut seconds, mut cpu) = (Vec::new(), 0.0, 0.0);
    for (stage, record) in records {
        let folder = stage.folder.file_name().unwrap_or_default().to_string_lossy();
        let name = match stage.folder.join(REPORT).is_file() {
            true => Cell::from(&stage.name).link(format!("{folder}/{REPORT}")),
            false => Cell::from(&stage.name),
        };
        let Some(record) = record else {
            rows.push(vec![name, "not run".into(), "".into(), "".into(), "".into()]);
            continue;
        };
        seconds += record.seconds;
        cpu += record.cpu_seconds;
        let state = match (record.done, record.failures.len()) {
            (true, 0) => "done".into(),
            (true, n) => format!("done after {n} failed").into(),
            (false, _) => Cell::from("not done").bad(),
        };
        let memory = format!("{:.2} GB", record.peak_memory as f64 / 1e9);
        rows.push(vec![name, state, time(record.seconds).into(), time(record.cpu_seconds).into(), memory.into()]);
    }
    let total = |text: String| Cell::from(text).strong();
    rows.push(vec![total("all".into()), "".into(), total(time(seconds)), total(time(cpu)), "".into()]);
    let columns = vec![
        Column::text("stage"),
        Column::text("state"),
        Column::number("time"),
        Column::number("processor time"),
        Column::number("most memory"),
    ];
    let mut blocks = Blocks::default();
    blocks
        .heading(2, "Costs")
        .paragraph("The name of a stage links to its own report, if it has one.")
        .table(columns, rows);
    blocks
}

/// The exact commands, in order.
fn commands(recipe: &Recipe) -> Blocks {
    let lines: Vec<String> = recipe.stages.iter().map(Stage::shown).collect();
    let mut blocks = Blocks::default();
    blocks.heading(2, "Commands").pre(lines.join("\n")).paragraph(format!("herd {}", env!("CARGO_PKG_VERSION")));
    blocks
}
