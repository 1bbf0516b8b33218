//! `codeexec bench-suite`: runs the canonical solutions or a model's samples of a published benchmark and computes
//! pass@k.

mod tasks;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use clap::ValueEnum;
use dataset::jsonl::{self, OnBadLine};
use serde_json::{Value, json};
use stats::pass_at_k;

use crate::pool::Pool;
use crate::record::{Job, Verdict};
use crate::run;

pub use tasks::{Task, tasks};

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// HumanEval (Chen et al. 2021): HumanEval.jsonl
    Humaneval,
    /// HumanEval+ (Liu et al. 2023): HumanEvalPlus.jsonl
    #[value(name = "humaneval+")]
    HumanevalPlus,
    /// MBPP (Austin et al. 2021): sanitized-mbpp.json or mbpp.jsonl
    Mbpp,
    /// MBPP+: MbppPlus.jsonl
    #[value(name = "mbpp+")]
    MbppPlus,
    /// mxeval (Athiwaratkun et al. 2023): HumanEval and MBPP in Python, JavaScript, PHP, Ruby, C++
    Mxeval,
    /// HumanEval-X (Zheng et al. 2023): humaneval_python, humaneval_js, humaneval_cpp
    #[value(name = "humaneval-x")]
    HumanevalX,
}

/// Options of `bench-suite`.
#[derive(Debug)]
pub struct Options {
    /// The benchmark.
    pub suite: Suite,
    /// The benchmark's file.
    pub data: PathBuf,
    /// File with a model's samples; `None` runs the canonical solutions.
    pub samples: Option<PathBuf>,
    /// The values of k in pass@k.
    pub k: Vec<u64>,
    /// File to which the verdicts are written.
    pub output: Option<PathBuf>,
    /// Run only the first `limit` tasks.
    pub limit: Option<usize>,
}

/// Results of running a benchmark. [`Display`](fmt::Display) prints failures, counts and pass@k.
pub struct Report {
    suite: Suite,
    verdicts: Vec<Verdict>,
    estimates: Vec<(u64, Option<f64>)>,
    tasks: usize,
    /// Number of tasks left out because the benchmark has no canonical solution for them.
    unsolved: usize,
    seconds: f64,
}

/// Runs a benchmark and estimates pass@k.
///
/// # Errors
/// When a file cannot be read, a sample belongs to an unknown task, or there are neither samples nor solutions.
pub fn run(pool: &Pool, workers: usize, options: &Options) -> anyhow::Result<Report> {
    let start = Instant::now();
    let mut tasks = tasks(options.suite, &options.data)?;
    tasks.truncate(options.limit.unwrap_or(usize::MAX));
    let all = tasks.len();
    if options.samples.is_none() {
        tasks.retain(Task::is_solved);
        if tasks.is_empty() && all > 0 {
            bail!("{} has no canonical solutions: give a model's with --input", options.data.display());
        }
    }
    let unsolved = all - tasks.len();
    let jobs = match &options.samples {
        None => tasks.iter().map(|task| task.job.clone()).collect(),
        Some(path) => sampled(&tasks, path)?,
    };
    let verdicts = run::run_all(pool, workers, &jobs)?;
    if let Some(path) = &options.output {
        jsonl::write_all(path, &verdicts)?;
    }
    let mut counts: BTreeMap<&str, (u64, u64)> = tasks.iter().map(|task| (task.job.id.as_str(), (0, 0))).collect();
    for verdict in &verdicts {
        if let Some((n, c)) = counts.get_mut(verdict.id.as_str()) {
            *n += 1;
            *c += u64::from(verdict.passed);
        }
    }
    // Mean of pass@k over all tasks; `None` if a task has fewer than k samples.
    let mean = |k: u64| {
        let all: Option<Vec<f64>> = counts.values().map(|(n, c)| pass_at_k(*n, *c, k)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    let estimates = options.k.iter().map(|k| (*k, mean(*k))).collect();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report { suite: options.suite, verdicts, estimates, tasks: tasks.len(), unsolved, seconds })
}

/// Reads a model's samples and makes one job for each.
fn sampled(tasks: &[Task], path: &Path) -> anyhow::Result<Vec<Job>> {
    let by_id: BTreeMap<&str, &Task> = tasks.iter().map(|task| (task.job.id.as_str(), task)).collect();
    let mut jobs = Vec::new();
    let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
    while let Some(record) = reader.next() {
        let record = record?;
        let id = record.get("id").or_else(|| record.get("task_id"));
        let id = id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let Some(task) = id.as_deref().and_then(|id| by_id.get(id)) else {
            bail!("{}: id {} is not a task of this benchmark", reader.place(), json!(id));
        };
        jobs.push(match (record["completion"].as_str(), record["response"].as_str()) {
            (Some(completion), _) => Job { code: task.prompt.clone() + completion, ..task.job.clone() },
            (None, Some(answer)) => task.answered(answer),
            _ => bail!("{}: give one of completion and response", reader.place()),
        });
    }
    Ok(jobs)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
        for verdict in &self.verdicts {
            *statuses.entry(verdict.status.word()).or_default() += 1;
            if !verdict.passed {
                let detail = verdict.detail.as_deref().unwrap_or("");
                writeln!(f, "  {} {}: {}", verdict.id, verdict.status.word(), detail.lines().next().unwrap_or(""))?;
            }
        }
        let statuses: Vec<String> = statuses.iter().map(|(status, n)| format!("{n} {status}")).collect();
        writeln!(
            f,
            "{:?}: {} tasks, {} programs in {:.1} s ({})",
            self.suite,
            self.tasks,
            self.verdicts.len(),
            self.seconds,
            statuses.join(", ")
        )?;
        if self.unsolved > 0 {
            writeln!(f, "{} more tasks have no canonical solution", self.unsolved)?;
        }
        for (k, estimate) in &self.estimates {
            match estimate {
                Some(estimate) => writeln!(f, "pass@{k} {:.2}%", 100.0 * estimate)?,
                None => writeln!(f, "pass@{k} needs {k} samples of every task")?,
            }
        }
        Ok(())
    }
}
