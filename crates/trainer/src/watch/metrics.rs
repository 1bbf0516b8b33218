//! `metrics.jsonl` (one line a step) and TensorBoard events.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::watch::pace::RankTimes;
use crate::watch::tensorboard::EventFile;

/// Metrics of one optimizer step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Number of steps completed, including this one.
    pub step: u64,
    /// Number of epochs completed, with its fraction.
    pub epoch: f64,
    /// Mean loss over the step's trained tokens.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Trained tokens of the step.
    pub trained_tokens: u64,
    /// Tokens per second of this step.
    pub tokens_per_second: f64,
    /// Model FLOP utilisation: the necessary arithmetic of the step, as a share of the matrix rate of this machine that was
    /// measured at the start.
    pub mfu: f64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Loss on held-out data after this step, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// With several processes: a comparison of their speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<RankTimes>,
    /// Metrics of the stage by name; those of an evaluation are named `eval_NAME`.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
}

/// Writes the metrics of a run.
pub struct MetricsLog {
    file: File,
    events: EventFile,
}

impl MetricsLog {
    /// Opens the log of a run that has completed `step` steps. Removes the lines of later steps, which a killed run wrote after
    /// its last checkpoint.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(run: &Path, step: u64) -> anyhow::Result<Self> {
        let path = run.join("metrics.jsonl");
        let mut kept = Vec::new();
        for metrics in read(&path)?.iter().filter(|metrics| metrics.step <= step) {
            serde_json::to_writer(&mut kept, metrics)?;
            kept.push(b'\n');
        }
        dataset::write_file(&path, &kept)?;
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let folder = run.join("tensorboard");
        let events =
            EventFile::create(&folder, step).with_context(|| format!("cannot write in {}", folder.display()))?;
        Ok(Self { file, events })
    }

    /// Appends a step.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn step(&mut self, m: &StepMetrics) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(m)?;
        line.push(b'\n');
        self.file.write_all(&line).context("cannot write metrics.jsonl")?;
        let mut scalars = vec![
            ("train/loss", m.loss),
            ("train/learning_rate", m.learning_rate),
            ("train/grad_norm", m.grad_norm),
            ("train/epoch", m.epoch),
            ("speed/tokens_per_second", m.tokens_per_second),
            ("speed/mfu", m.mfu),
        ];
        scalars.extend(m.eval_loss.map(|loss| ("eval/loss", loss)));
        if let Some(ranks) = m.ranks {
            scalars.extend([("ranks/slowest_behind_percent", ranks.behind), ("ranks/waiting", ranks.waiting)]);
        }
        let own: Vec<(String, f64)> = m
            .metrics
            .iter()
            .map(|(name, value)| match name.strip_prefix("eval_") {
                Some(name) => (format!("eval/{name}"), *value),
                None => (format!("train/{name}"), *value),
            })
            .collect();
        scalars.extend(own.iter().map(|(name, value)| (name.as_str(), *value)));
        self.events.scalars(m.step, &scalars).context("cannot write TensorBoard events")
    }
}

/// Reads the steps of a `metrics.jsonl`; none if the file does not exist. An incomplete last line is ignored.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> anyhow::Result<Vec<StepMetrics>> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 0.5,
            loss: 1.0,
            learning_rate: 1e-5,
            grad_norm: 1.0,
            tokens: 10,
            trained_tokens: 5,
            tokens_per_second: 1.0,
            mfu: 0.5,
            seconds: 1.0,
            eval_loss: None,
            ranks: Some(RankTimes { slowest: 1, behind: 3.5, waiting: 0.25 }),
            metrics: BTreeMap::from([("rewards/margins".to_owned(), step as f64)]),
        }
    }

    #[test]
    fn a_run_that_goes_on_has_each_step_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = MetricsLog::open(dir.path(), 0).unwrap();
        (1..=5).for_each(|step| log.step(&metrics(step)).unwrap());
        log.file.write_all(b"{\"step\": 6, \"ep").unwrap();
        drop(log);
        let mut log = MetricsLog::open(dir.path(), 3).unwrap();
        (4..=7).for_each(|step| log.step(&metrics(step)).unwrap());
        let read = read(&dir.path().join("metrics.jsonl")).unwrap();
        assert_eq!(read.iter().map(|m| m.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        assert!(read.iter().all(|m| m.metrics == metrics(m.step).metrics), "a stage's own numbers come back");
        assert!(read.iter().all(|m| m.ranks == metrics(m.step).ranks), "the processes' times come back");
    }
}
