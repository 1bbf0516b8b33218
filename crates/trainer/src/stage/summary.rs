//! Text summary of a finished training run.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use run::progress::duration;
use run::{RunFolder, counted};

use crate::train::SKIPPED;
use crate::watch::metrics::{self, StepMetrics};
use crate::watch::pace::SlowRank;
use crate::{CheckpointCost, ComputedAgain, Evaluation, Report};

/// The summary of a run in a few lines.
pub(super) fn text(run: &RunFolder, report: &Report, steps: &[StepMetrics]) -> String {
    let start = fs::read(run.join("eval_start.json")).ok();
    let start: Option<Evaluation> = start.and_then(|text| serde_json::from_slice(&text).ok());
    let loss = |steps: &[StepMetrics]| steps.iter().map(|m| m.loss).sum::<f64>() / steps.len().max(1) as f64;
    let tenth = steps.len().div_ceil(10);
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let estimated = report.memory_estimate.map_or(String::new(), |bytes| format!(" ({:.2} estimated)", gb(bytes)));
    let memory = report.peak_memory.map_or(String::new(), |bytes| format!(", {:.2} GB at most{estimated}", gb(bytes)));
    let mut text = format!(
        "{} in {}, {:.0} tokens/s{memory}\nmean training loss {:.4} in the first tenth, {:.4} in the last",
        counted(report.steps, "step"),
        duration(Duration::from_secs_f64(report.seconds)),
        report.tokens_per_second,
        loss(&steps[..tenth]),
        loss(&steps[steps.len() - tenth..])
    );
    if let (Some(end), Some(start)) = (&report.evaluation, start) {
        write!(text, "\nheld-out loss {:.4} before, {:.4} after, on {} tokens", start.loss, end.loss, end.tokens).ok();
        if let Some(last) = &report.last_evaluation {
            write!(text, " (of the average of the weights, which is saved; the last weights have {:.4})", last.loss)
                .ok();
        }
        for (name, after) in &end.metrics {
            if let Some(before) = start.metrics.get(name) {
                write!(text, "\nheld-out {name} {before:.4} before, {after:.4} after").ok();
            }
        }
    }
    let skipped = steps.iter().filter(|step| step.metrics.contains_key(SKIPPED)).count();
    if skipped > 0 {
        write!(text, "\n{} skipped as spikes", counted(skipped, "step")).ok();
    }
    let again = report.computed_again;
    if again.steps > 0 {
        let ComputedAgain { steps, different } = again;
        write!(
            text,
            "\nlooked wrong and computed again: {}, of which {different} had other numbers then",
            counted(steps, "step")
        )
        .ok();
    }
    for SlowRank { rank, place, step, percent } in &report.slow_ranks {
        write!(text, "\nrank {rank} ({place}) was slow from step {step} on: its own work took {percent:.0}% longer")
            .ok();
    }
    if let Some(drift) = report.drift.as_ref().filter(|drift| drift.is_seen() || drift.swings()) {
        write!(text, "\ntime for a unit of work: {}", drift.text()).ok();
    }
    let CheckpointCost { count, bytes, seconds, writing_seconds } = report.checkpoints;
    if count > 0 {
        let share = 100.0 * seconds / report.seconds.max(1e-9);
        let gigabytes = bytes as f64 / 1e9;
        write!(
            text,
            "\n{} of {gigabytes:.2} GB together: training stood still for {seconds:.1} s, {share:.1}% of its \
             time, while writing took {writing_seconds:.1} s",
            counted(count, "checkpoint")
        )
        .ok();
    }
    text
}

/// The metrics of all steps so far, from `metrics.jsonl`.
pub(super) fn steps(run: &RunFolder) -> anyhow::Result<Vec<StepMetrics>> {
    metrics::read(&run.join("metrics.jsonl"))
}
