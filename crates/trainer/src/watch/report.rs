//! `report.html` of a training run: plots over the steps, and the terminal output.

use std::collections::BTreeSet;
use std::path::Path;

use run::Page;

use crate::watch::metrics::StepMetrics;
use crate::watch::pace::RankTimes;

/// A heading and a preformatted text under it.
pub(crate) type Section = (&'static str, String);

/// Writes the report of a run.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(path: &Path, title: &str, metrics: &[StepMetrics], sections: &[Section]) -> anyhow::Result<()> {
    let over = |y: fn(&StepMetrics) -> f64| metrics.iter().map(|m| (m.step as f64, y(m))).collect::<Vec<_>>();
    let eval = metrics.iter().filter_map(|m| Some((m.step as f64, m.eval_loss?))).collect();
    let mut page = Page::new(title);
    page.plot("Loss", &[("training", "#2a6f97", over(|m| m.loss)), ("held out", "#d1495b", eval)])
        .plot("Learning rate", &[("learning rate", "#2a6f97", over(|m| m.learning_rate))])
        .plot("Gradient norm, before clipping", &[("gradient norm", "#2a6f97", over(|m| m.grad_norm))])
        .plot("Tokens per second", &[("tokens per second", "#2a6f97", over(|m| m.tokens_per_second))]);
    let ranks = |y: fn(&RankTimes) -> f64| -> Vec<(f64, f64)> {
        metrics.iter().filter_map(|m| Some((m.step as f64, y(m.ranks.as_ref()?)))).collect()
    };
    if metrics.iter().any(|m| m.ranks.is_some()) {
        page.plot("Own work of the slowest process, % above the others", &[("behind", "#2a6f97", ranks(|r| r.behind))])
            .plot("Share of the time in which processes wait", &[("waiting", "#2a6f97", ranks(|r| r.waiting))]);
    }
    let own = |name: &str| -> Vec<(f64, f64)> {
        metrics.iter().filter_map(|m| Some((m.step as f64, *m.metrics.get(name)?))).collect()
    };
    let names: BTreeSet<&str> =
        metrics.iter().flat_map(|m| m.metrics.keys()).map(|name| name.strip_prefix("eval_").unwrap_or(name)).collect();
    for name in names {
        let held_out = own(&format!("eval_{name}"));
        page.plot(name, &[("training", "#2a6f97", own(name)), ("held out", "#d1495b", held_out)]);
    }
    for (heading, text) in sections {
        page.heading(2, *heading).pre(text);
    }
    page.write(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        write(&path, "a <b>", &[], &[("Configuration", "x = \"<script>\"".into())]).unwrap();
        let html = std::fs::read_to_string(path).unwrap();
        assert!(html.contains("a &lt;b&gt;") && !html.contains("<script>"));
    }
}
