//! `run.json`, which says that a run is finished and what it was, and the report for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use dataset::digest;
use dataset::progress::duration;
use serde_json::{Value, json};

use crate::checkpoint::FileDigest;
use crate::metrics::{self, StepMetrics};
use crate::{CheckpointCost, Evaluation, Report, RunFolder};

const RECORD: &str = "run.json";

/// The summary of a run that is finished and whose result is whole; an error if that run was another.
pub(super) fn finished(run: &RunFolder, fingerprint: &str) -> anyhow::Result<Option<(String, Report)>> {
    let path = run.join(RECORD);
    if !path.is_file() {
        return Ok(None);
    }
    let damaged = || format!("{} is damaged; remove it to train again", path.display());
    let record: Value = serde_json::from_slice(&fs::read(&path)?).with_context(damaged)?;
    ensure!(
        record["fingerprint"] == fingerprint,
        "{} holds a finished run with another configuration, model or data; choose another --output, or remove the folder",
        run.path().display()
    );
    let outputs: BTreeMap<String, FileDigest> =
        serde_json::from_value(record["outputs"].clone()).with_context(damaged)?;
    for (name, expected) in &outputs {
        let file = run.join(name);
        if !file.is_file() || digest::file(&file)? != expected.sha256 {
            eprintln!("warning: {} is missing or changed; it is made again", file.display());
            return Ok(None);
        }
    }
    let report = serde_json::from_value(record["report"].clone()).with_context(damaged)?;
    Ok(Some((record["summary"].as_str().unwrap_or_default().to_owned(), report)))
}

/// What a run did, in a few lines.
pub(super) fn summary(run: &RunFolder, report: &Report, steps: &[StepMetrics]) -> String {
    let start = fs::read(run.join("eval_start.json")).ok();
    let start: Option<Evaluation> = start.and_then(|text| serde_json::from_slice(&text).ok());
    let loss = |steps: &[StepMetrics]| steps.iter().map(|m| m.loss).sum::<f64>() / steps.len().max(1) as f64;
    let tenth = steps.len().div_ceil(10);
    let memory = report.peak_memory.map_or(String::new(), |bytes| format!(", {:.1} GB at most", bytes as f64 / 1e9));
    let mut text = format!(
        "{} steps in {}, {:.0} tokens/s{memory}\nmean training loss {:.4} in the first tenth, {:.4} in the last",
        report.steps,
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
    let CheckpointCost { count, bytes, seconds } = report.checkpoints;
    if count > 0 {
        let share = 100.0 * seconds / report.seconds.max(1e-9);
        let gigabytes = bytes as f64 / 1e9;
        write!(
            text,
            "\n{count} checkpoints of {gigabytes:.2} GB together took {seconds:.1} s, {share:.1}% of the training time"
        )
        .ok();
    }
    text
}

/// Writes `run.json` with the digests of all that was made; `record` is what the stage knows.
pub(super) fn write(run: &RunFolder, mut record: Value) -> anyhow::Result<()> {
    let mut outputs = BTreeMap::new();
    for folder in ["adapter", "model"].iter().filter(|name| run.join(name).is_dir()) {
        for entry in fs::read_dir(run.join(folder))? {
            let path = entry?.path();
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            let digest = FileDigest { bytes: fs::metadata(&path)?.len(), sha256: digest::file(&path)? };
            outputs.insert(name, digest);
        }
    }
    record["version"] = env!("CARGO_PKG_VERSION").into();
    record["libtorch"] = "2.11.0".into();
    record["hardware"] = hardware();
    record["outputs"] = serde_json::to_value(outputs)?;
    let text = format!("{}\n", serde_json::to_string_pretty(&record)?);
    Ok(dataset::write_file(run.join(RECORD), text.as_bytes())?)
}

/// Steps of the run so far, as logged.
pub(super) fn steps(run: &RunFolder) -> anyhow::Result<Vec<StepMetrics>> {
    metrics::read(&run.join("metrics.jsonl"))
}

fn hardware() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    };
    json!({
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().ok().map(usize::from),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
    })
}
