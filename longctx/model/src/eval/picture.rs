//! The grid of needles as a picture, and `report.html`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use ::eval::record::Sample;
use anyhow::Context as _;
use run::{Blocks, Column, Page, grouped};

use super::figures::{self, Figures, GridCells, effective_text, is_loss, shown};
use super::protocol::Protocol;

const WIDTH: usize = 72;
const HEIGHT: usize = 30;
const LEFT: usize = 84;
const TOP: usize = 40;

/// The grid as SVG: a column for each length, a row for each depth; every cell shows the needles found and asked for. The colour goes
/// from blue (all found) to orange (none found).
#[must_use]
pub fn svg(cells: &GridCells) -> String {
    let lengths: BTreeSet<usize> = cells.values().flat_map(|row| row.keys().copied()).collect();
    let (width, height) = (LEFT + WIDTH * lengths.len() + 8, TOP + HEIGHT * cells.len() + 8);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' style='max-width:100%' \
         font-family='sans-serif' font-size='12'><title>Needles found, by length and depth</title>"
    );
    for (column, length) in lengths.iter().enumerate() {
        let x = LEFT + WIDTH * column + WIDTH / 2;
        let _ = write!(svg, "<text x='{x}' y='{}' text-anchor='middle'>{}</text>", TOP - 8, grouped(*length as u64));
    }
    let _ = write!(svg, "<text x='4' y='{}'>depth</text><text x='{LEFT}' y='14'>length in tokens</text>", TOP - 8);
    for (row, (depth, of)) in cells.iter().enumerate() {
        let y = TOP + HEIGHT * row;
        let depth = f64::from(*depth) / 10.0;
        let _ = write!(svg, "<text x='{}' y='{}' text-anchor='end'>{depth}%</text>", LEFT - 8, y + HEIGHT / 2 + 4);
        for (column, length) in lengths.iter().enumerate() {
            let Some((found, all)) = of.get(length) else { continue };
            let x = LEFT + WIDTH * column;
            let _ = write!(
                svg,
                "<rect x='{x}' y='{y}' width='{}' height='{}' fill='{}'/><text x='{}' y='{}' text-anchor='middle' \
                 fill='#000'>{found}/{all}</text>",
                WIDTH - 2,
                HEIGHT - 2,
                colour(*found as f64 / (*all).max(1) as f64),
                x + WIDTH / 2 - 1,
                y + HEIGHT / 2 + 3
            );
        }
    }
    svg + "</svg>"
}

/// A colour between orange (0) and blue (1), light enough for black digits.
fn colour(share: f64) -> String {
    let (low, high) = ([253.0, 184.0, 99.0], [146.0, 197.0, 222.0]);
    let part = |at: usize| (low[at] + (high[at] - low[at]) * share.clamp(0.0, 1.0)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", part(0), part(1), part(2))
}

/// The placeholder for the picture in the page. The page escapes every text; the picture contains no text of the user.
const PLACE: &str = "PICTURE-OF-THE-GRID";

/// Answers shown for each task.
const SHOWN: usize = 12;

/// Writes the report.
///
/// # Errors
/// When the file cannot be written.
pub fn report(
    path: &Path,
    title: &str,
    (figures, threshold): (&Figures, f64),
    protocol: &Protocol,
    samples: &[Sample],
) -> anyhow::Result<()> {
    let grid = figures::grid(samples);
    let mut page = Page::new(title);
    page.heading(2, "Figures");
    let columns = vec![
        Column::text("task"),
        Column::number("length"),
        Column::number("score or loss"),
        Column::text("95% interval"),
        Column::number("right"),
        Column::number("cut"),
        Column::number("wrong"),
        Column::number("not asked"),
    ];
    let mut rows = Vec::new();
    for (task, cells) in figures {
        for (length, cell) in cells {
            let (figure, interval) = shown(task, cell);
            let count = |number: usize| if is_loss(task) { String::new() } else { number.to_string() };
            rows.push(vec![
                task.as_str().into(),
                grouped(*length as u64).into(),
                figure.into(),
                interval.into(),
                count(cell.right).into(),
                count(cell.cut).into(),
                count(cell.wrong).into(),
                count(cell.unasked).into(),
            ]);
        }
    }
    page.table(columns, rows);
    for (task, cells) in figures.iter().filter(|(task, _)| !is_loss(task) && !task.starts_with("ruler:")) {
        page.paragraph(effective_text(task, cells, threshold));
    }
    if !grid.is_empty() {
        page.heading(2, "Needles").paragraph("Needles found of those asked for, by length and depth.").paragraph(PLACE);
    }
    for (task, cells) in figures.iter().filter(|(task, cells)| is_loss(task) && cells.len() > 1) {
        let points = cells.iter().map(|(length, cell)| ((*length as f64).log2(), cell.score.value)).collect();
        page.curves("Loss of the last tokens", "log2 of the context's tokens", &[(task.as_str(), "#0571b0", points)]);
    }
    page.heading(2, "Protocol").paragraph(
        "Figures of runs whose protocols differ in any line must not be put beside each other; herd eval compare refuses them.",
    );
    page.columns(protocol.text()?);
    let tasks: BTreeSet<&str> = samples.iter().map(|sample| sample.task.as_str()).collect();
    for task in tasks.into_iter().filter(|task| !is_loss(task)) {
        page.heading(2, task).paragraph(format!("The first {SHOWN} answers that are not right:"));
        let not_right = samples.iter().filter(|sample| sample.task == task && !sample.passed);
        for sample in not_right.take(SHOWN) {
            let mut inner = Blocks::default();
            inner.pre(&sample.question).answer(&sample.response);
            if let Some(detail) = &sample.detail {
                inner.failure(detail);
            }
            page.details(format!("{} {}", sample.id, sample.status), inner);
        }
    }
    let html = page.html().with_context(|| format!("cannot make {}", path.display()))?;
    let html = html.replacen(PLACE, &svg(&grid), 1);
    Ok(dataset::write_file(path, html.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::figures::tests::sample;

    #[test]
    fn every_cell_has_its_count() {
        let samples: Vec<Sample> =
            [(4096, 0.0, "right"), (4096, 0.0, "wrong"), (8192, 0.0, "right"), (8192, 55.6, "cut")]
                .map(|(length, depth, status)| sample("niah", length, depth, status, 0.0))
                .into();
        let svg = svg(&figures::grid(&samples));
        assert_eq!(svg.matches("<rect").count(), 3);
        for part in [">1/2<", ">1/1<", ">0/1<", ">8,192<", ">55.6%<", &colour(1.0), &colour(0.5), &colour(0.0)] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!((colour(0.0), colour(1.0)), ("#fdb863".to_owned(), "#92c5de".to_owned()));
    }
}
