//! `report.html` of a pipeline: what it reached, how it went, what it cost and how to repeat it, on one page that loads
//! nothing from elsewhere and can be read on a phone.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use dataset::progress::duration;
use trainer::metrics;
use trainer::report::{escape, plot};

use super::recipe::{Recipe, Stage};
use super::results::{self, Evaluated};
use super::state::{LOG, Record};
use super::view;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:1.5em auto;padding:0 1em;color:#1c1c1c}\
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}h3{font-size:1em;margin-bottom:.2em}\
table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;text-align:left;border-bottom:1px solid #e5e5e5;\
vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}.wide{overflow-x:auto}pre{background:#f4f4f4;padding:.8em;\
overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px}figure{margin:0 0 1em 0}svg text{font-size:11px}\
pre.table{white-space:pre}.bad{color:#a40000}details{margin:.4em 0}\
@media(max-width:600px){table,pre{font-size:12px}td,th{padding:.2em .3em}}";

/// Writes the page; its path is returned. `evaluated`: what [`Evaluated::all`] finds.
///
/// # Errors
/// When the disk refuses.
pub fn write(recipe: &Recipe, evaluated: &[Evaluated]) -> anyhow::Result<PathBuf> {
    let path = recipe.output.join("report.html");
    let records: Vec<(&Stage, Option<Record>)> =
        recipe.stages.iter().map(|stage| (stage, Record::read(&stage.folder))).collect();
    let title = escape(&recipe.name);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{}</p>\n{}{}{}{}{}</html>\n",
        escape(recipe.about.trim()),
        results::html(evaluated),
        curves(&records),
        said(&records),
        costs(&records),
        commands(recipe),
    );
    dataset::write_file(&path, html.as_bytes())?;
    Ok(path)
}

/// Loss and learning rate of every stage that trained.
fn curves(records: &[(&Stage, Option<Record>)]) -> String {
    let mut html = String::new();
    for (stage, _) in records {
        let Ok(steps) = metrics::read(&stage.folder.join("metrics.jsonl")) else { continue };
        let loss = steps.iter().map(|m| (m.step as f64, m.loss)).collect();
        let eval = steps.iter().filter_map(|m| Some((m.step as f64, m.eval_loss?))).collect();
        let title = format!("{}: loss", stage.name);
        html += &plot(&title, &[("training", "#2a6f97", loss), ("held out", "#d1495b", eval)]);
    }
    if html.is_empty() { html } else { format!("<h2>Training</h2>\n{html}") }
}

/// The last lines that each stage printed: its own summary.
fn said(records: &[(&Stage, Option<Record>)]) -> String {
    let mut html = String::from("<h2>What each stage said last</h2>\n");
    for (stage, record) in records {
        let Some(record) = record else { continue };
        let lines = view::tail(&stage.folder.join(LOG), 14).join("\n");
        let failed: String =
            record.failures.iter().map(|what| format!("<p class=\"bad\">An attempt {}</p>", escape(what))).collect();
        write!(
            html,
            "<h3>{}</h3>\n<p>{}</p>{failed}<pre>{}</pre>\n",
            escape(&stage.name),
            escape(&stage.about),
            escape(&lines)
        )
        .ok();
    }
    html
}

/// Time and memory of each stage.
fn costs(records: &[(&Stage, Option<Record>)]) -> String {
    let time = |seconds: f64| duration(Duration::from_secs_f64(seconds));
    let mut html = String::from(
        "<h2>Costs</h2>\n<div class=\"wide\"><table><tr><th>stage<th>state<th class=\"n\">time<th class=\"n\">processor \
         time<th class=\"n\">most memory</tr>\n",
    );
    let (mut seconds, mut cpu) = (0.0, 0.0);
    for (stage, record) in records {
        let name = escape(&stage.name);
        let Some(record) = record else {
            writeln!(html, "<tr><td>{name}<td>not run<td><td><td></tr>").ok();
            continue;
        };
        seconds += record.seconds;
        cpu += record.cpu_seconds;
        let state = match (record.done, record.failures.len()) {
            (true, 0) => "done".to_owned(),
            (true, n) => format!("done after {n} failed"),
            (false, _) => "<span class=\"bad\">not done</span>".to_owned(),
        };
        writeln!(
            html,
            "<tr><td>{name}<td>{state}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{:.2} GB</tr>",
            time(record.seconds),
            time(record.cpu_seconds),
            record.peak_memory as f64 / 1e9
        )
        .ok();
    }
    writeln!(
        html,
        "<tr><th>all<th><th class=\"n\">{}<th class=\"n\">{}<th></tr></table></div>",
        time(seconds),
        time(cpu)
    )
    .ok();
    html
}

/// The exact commands, in order.
fn commands(recipe: &Recipe) -> String {
    let lines: Vec<String> = recipe.stages.iter().map(|stage| escape(&stage.shown())).collect();
    format!("<h2>Commands</h2>\n<pre>{}</pre>\n<p>herd {}</p>\n", lines.join("\n"), env!("CARGO_PKG_VERSION"))
}
