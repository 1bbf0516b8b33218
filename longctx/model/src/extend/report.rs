//! `report.html` of an extension.

use std::path::Path;

use run::{Cell, Column, Page, grouped};

use super::machine::{Event, Rules, failures};

/// The gates as text, a line for each.
pub(super) fn table(rules: &Rules, events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Event::Trained { stage, round, tokens } => {
                text += &format!("stage {}, round {}: {} tokens\n", stage + 1, round + 1, grouped(*tokens));
            }
            Event::Gated { findings, .. } => {
                let (found, of) = findings.needles.iter().fold((0, 0), |sum, d| (sum.0 + d.found, sum.1 + d.of));
                text += &format!("  needles at {} tokens: {found} of {of}", grouped(findings.length as u64));
                for short in &findings.short {
                    text += &format!(
                        "; {} {:.4}, before the first stage {:.4} (worse by at least {:.4})",
                        short.name, short.now, short.before, short.worse_at_least
                    );
                }
                let failures = failures(rules, findings);
                text += if failures.is_empty() { ": passed\n" } else { ": not passed\n" };
            }
        }
    }
    text.trim_end().to_owned()
}

/// Writes the page: the stages' positions and every gate, depth by depth.
pub(super) fn write(
    path: &Path,
    positions: &[String],
    rules: &Rules,
    events: &[Event],
    end: &str,
) -> anyhow::Result<()> {
    let mut page = Page::new("Context extension");
    page.heading(2, "Stages").columns(positions.join("\n")).paragraph(end);
    page.heading(2, "Gates").columns(table(rules, events));
    for event in events {
        let Event::Gated { stage, round, findings } = event else { continue };
        page.heading(3, format!("Stage {}, round {}", stage + 1, round + 1));
        for failure in failures(rules, findings) {
            page.failure(failure);
        }
        let columns = vec![Column::number("depth"), Column::number("needles found"), Column::number("of")];
        let row = |depth: &super::machine::Depth| {
            let found = Cell::from(depth.found.to_string());
            let found = if depth.found < depth.of { found.bad() } else { found };
            vec![format!("{}%", depth.depth).into(), found, depth.of.to_string().into()]
        };
        page.table(columns, findings.needles.iter().map(row).collect());
    }
    page.write(path)
}
