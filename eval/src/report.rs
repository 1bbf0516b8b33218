//! `report.html`: the figures and some answers.

use std::path::Path;

use ::run::{Blocks, Column, Page};

use crate::record::Sample;
use crate::summary::{Summary, shown};

/// Number of answers shown for each benchmark.
const SHOWN: usize = 20;

/// Writes the report of a run.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(path: &Path, title: &str, summary: &Summary, samples: &[Sample]) -> anyhow::Result<()> {
    let mut page = Page::new(title);
    let mut rows = Vec::new();
    for (task, figures) in summary {
        for (column, estimate) in &figures.metrics {
            let (value, interval) = shown(column, estimate);
            rows.push(vec![
                task.as_str().into(),
                estimate.items.to_string().into(),
                column.as_str().into(),
                value.into(),
                interval.into(),
            ]);
        }
    }
    let columns = vec![
        Column::text("task"),
        Column::number("items"),
        Column::text("column"),
        Column::number("figure"),
        Column::text("95% interval"),
    ];
    page.table(columns, rows);
    for (task, figures) in summary {
        let empty = figures.empty.values().sum::<usize>();
        page.heading(2, task).paragraph(format!(
            "{} answers, {} cut at the maximum length, {empty} empty, {} items could not be asked. The first {SHOWN}:",
            figures.answers, figures.cut, figures.failed
        ));
        for sample in samples.iter().filter(|sample| sample.task == *task).take(SHOWN) {
            let mark = if sample.passed { "✓" } else { "✗" };
            let detail = sample.detail.as_deref().unwrap_or("");
            let mut inner = Blocks::default();
            inner.pre(&sample.question).answer(&sample.response);
            page.details(format!("{mark} {} {} {detail}", sample.id, sample.status), inner);
        }
    }
    page.write(path)
}
