//! `report.html`: the figures and some answers on one page that needs nothing from elsewhere.

use std::fmt::Write as _;
use std::path::Path;

use crate::record::Sample;
use crate::summary::{Summary, shown};

/// Answers shown for each benchmark.
const SHOWN: usize = 20;

/// Writes the report of a run.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write(path: &Path, title: &str, summary: &Summary, samples: &[Sample]) -> dataset::Result<()> {
    let mut body = String::from("<table><tr><th>task<th>items<th>column<th>figure<th>95% interval</tr>\n");
    for (task, figures) in summary {
        for (column, estimate) in &figures.metrics {
            let (value, interval) = shown(column, estimate);
            let row = [task, &estimate.items.to_string(), column, &value, &interval].map(|cell| escape(cell));
            let _ = writeln!(body, "<tr><td>{}</tr>", row.join("<td>"));
        }
    }
    body.push_str("</table>\n");
    for (task, figures) in summary {
        let _ = writeln!(
            body,
            "<h2>{}</h2><p>{} answers, {} cut at the maximum length, {} empty, {} items could not be asked. The first \
             {SHOWN}:</p>",
            escape(task),
            figures.answers,
            figures.cut,
            figures.empty.values().sum::<usize>(),
            figures.failed
        );
        for sample in samples.iter().filter(|sample| sample.task == *task).take(SHOWN) {
            let mark = if sample.passed { "&#10003;" } else { "&#10007;" };
            let detail = sample.detail.as_deref().unwrap_or("");
            let _ = writeln!(
                body,
                "<details><summary>{mark} {} <small>{} {}</small></summary><pre>{}</pre><pre \
                 class=answer>{}</pre></details>",
                escape(&sample.id),
                escape(&sample.status),
                escape(detail),
                escape(&sample.question),
                escape(&sample.response)
            );
        }
    }
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\">\
         <title>{title}</title>\n<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:1em auto;padding:0 1em}}\
         table{{border-collapse:collapse;display:block;overflow-x:auto}}td,th{{padding:.2em .8em;border-bottom:1px solid #ddd;\
         text-align:left}}pre{{background:#f4f4f4;padding:.8em;white-space:pre-wrap;overflow-wrap:anywhere}}\
         pre.answer{{background:#eef6ee}}</style>\n<h1>{title}</h1>\n{body}</html>\n"
    );
    dataset::write_file(path, html.as_bytes())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
