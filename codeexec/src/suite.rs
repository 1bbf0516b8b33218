//! `codeexec bench-suite`: published benchmarks, their canonical solutions or a model's samples, and pass@k.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use dataset::jsonl::{self, OnBadLine};
use serde_json::{Value, json};

use crate::pass_at_k::pass_at_k;
use crate::pool::Pool;
use crate::record::{Job, Reference, Verdict};
use crate::{extract, run};

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
    /// The Python files of mxeval (Athiwaratkun et al. 2023)
    Mxeval,
}

/// What to break in the canonical solutions, to see that the tests notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Returns None.
    None,
    /// Returns something close to what is right.
    OffByOne,
    /// Never returns.
    Loop,
    /// Raises.
    Raise,
}

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// The benchmark.
    pub suite: Suite,
    /// Its file.
    pub data: PathBuf,
    /// A model's samples; none: the canonical solutions.
    pub samples: Option<PathBuf>,
    /// Values of k.
    pub k: Vec<u64>,
    /// Where to write verdicts.
    pub output: Option<PathBuf>,
    /// Only the first tasks.
    pub limit: Option<usize>,
}

/// A task of a benchmark: a job without its program, and the canonical program.
#[derive(Debug, Clone)]
pub struct Task {
    /// The job with the canonical program in it.
    pub job: Job,
    /// What a completion is appended to.
    pub prompt: String,
    /// What a model is asked: HumanEval's prompt; MBPP's sentence with its tests.
    pub question: String,
}

impl Task {
    /// The job for a model's chat answer: the program in it, which may be a whole one or go on where the prompt ends.
    #[must_use]
    pub fn answered(&self, answer: &str) -> Job {
        let mut job = self.job.clone();
        let program = extract::program(answer, "python", job.entry_point.as_deref());
        // An answer that only continues the function has no definition of its own.
        let is_body = program.starts_with([' ', '\t']);
        job.code = if is_body { self.prompt.clone() + &program } else { program };
        job
    }
}

/// EvalPlus compares these as sets (`MBPP_OUTPUT_SET_EQ_TASKS`).
const AS_SETS: [&str; 8] = [
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
];
/// And of these whether they are None (`MBPP_OUTPUT_NOT_NONE_TASKS`).
const NOT_NONE: [&str; 3] = ["check_str", "text_match_three", "text_starta_endb"];
/// Seconds for a task of a plus suite: thousands of inputs, each for the program and for the reference solution.
const PLUS_SECONDS: f64 = 240.0;

/// Reads the tasks of a benchmark.
///
/// # Errors
/// When the file is not that benchmark's: the sentence names the record and the field.
pub fn tasks(suite: Suite, path: &Path) -> anyhow::Result<Vec<Task>> {
    let records = records(path)?;
    records.iter().enumerate().map(|(i, record)| task(suite, record).with_context(|| place(path, i))).collect()
}

fn place(path: &Path, index: usize) -> String {
    format!("{}, record {}", path.display(), index + 1)
}

/// The records of a JSONL file or of a JSON list, the inputs of plus suites as the text that they are in the file.
fn records(path: &Path) -> anyhow::Result<Vec<Value>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut text = String::new();
    let read = match path.extension() {
        Some(ending) if ending == "gz" => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text),
        _ => BufReader::new(file).read_to_string(&mut text),
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let is_list = path.to_string_lossy().trim_end_matches(".gz").ends_with(".json");
    if is_list {
        return serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(i, line): (usize, &str)| {
        serde_json::from_str(&quote_inputs(line)).with_context(|| format!("{}:{}", path.display(), i + 1))
    };
    lines.map(parse).collect()
}

/// Makes the lists of inputs texts: they hold integers of any size and infinities, which are for Python to read.
fn quote_inputs(line: &str) -> String {
    let mut line = line.to_owned();
    for name in ["base_input", "plus_input"] {
        let Some(at) = line.find(&format!("\"{name}\": [")) else { continue };
        let start = at + name.len() + 4;
        let Some(end) = end_of_list(&line[start..]).map(|length| start + length) else { continue };
        let quoted = Value::String(line[start..end].to_owned()).to_string();
        line.replace_range(start..end, &quoted);
    }
    line
}

/// The length of the JSON list that a text begins with.
fn end_of_list(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn task(suite: Suite, record: &Value) -> anyhow::Result<Task> {
    let text = |name: &str| -> anyhow::Result<String> {
        match &record[name] {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => bail!("{name}: is missing or no text; is this file {suite:?}'s?"),
        }
    };
    let id = text("task_id")?;
    if suite == Suite::Mbpp {
        let mut job = Job::python(id, text("code")?);
        let imports: Vec<String> = serde_json::from_value(record["test_imports"].clone()).unwrap_or_default();
        job.setup = Some(imports.join("\n") + record["test_setup_code"].as_str().unwrap_or(""));
        job.tests = record["test_list"].as_array().cloned().context("test_list: is missing")?;
        let asked = text("text").or_else(|_| text("prompt"))?;
        let tests: Vec<&str> = job.tests.iter().filter_map(Value::as_str).collect();
        let question = format!("{asked}\n{}", tests.join("\n"));
        return Ok(Task { job, prompt: String::new(), question });
    }
    let prompt = text("prompt")?;
    // MBPP+'s solutions are whole; the others continue their prompts.
    let code = match suite {
        Suite::MbppPlus => text("canonical_solution")?,
        _ => prompt.clone() + &text("canonical_solution")?,
    };
    let mut job = Job::python(id, code.clone());
    job.entry_point = Some(text("entry_point")?);
    match suite {
        Suite::HumanevalPlus | Suite::MbppPlus => {
            job.reference = Some(reference(suite, record, code, &text("entry_point")?)?);
            job.timeout = Some(PLUS_SECONDS);
        }
        _ => job.test = Some(text("test")?),
    }
    let question = prompt.clone();
    let prompt = if suite == Suite::MbppPlus { String::new() } else { prompt };
    Ok(Task { job, prompt, question })
}

/// The inputs of a plus suite, with the canonical solution to say what is right.
fn reference(suite: Suite, record: &Value, mut code: String, entry_point: &str) -> anyhow::Result<Reference> {
    let mut all = Vec::new();
    for name in ["base_input", "plus_input"] {
        match &record[name] {
            Value::String(list) => all.push(format!("__import__('json').loads({})", json!(list))),
            // No more inputs than the base's.
            Value::Object(empty) if empty.is_empty() => {}
            _ => bail!("{name}: is missing or no list"),
        }
    }
    let mut inputs = all.join(" + ");
    let mut rule = None;
    if suite == Suite::MbppPlus {
        let number = record["task_id"].as_str().and_then(|id| id.rsplit('/').next()).unwrap_or("0").to_owned();
        code = format!("{}\n{code}", include_str!("python/mbpp_inputs.py"));
        inputs = format!("mbpp_inputs({number}, {inputs})");
        rule = [(&AS_SETS[..], "set"), (&NOT_NONE[..], "not_none")]
            .iter()
            .find(|(names, _)| names.contains(&entry_point))
            .map(|(_, rule)| (*rule).to_owned());
    } else if entry_point == "find_zero" {
        rule = Some("zero".into());
    }
    Ok(Reference { code, inputs, atol: record["atol"].as_f64().unwrap_or(0.0), rule })
}

/// The job with its program broken.
pub fn broken(task: &Task, how: Broken) -> Job {
    let mut job = task.job.clone();
    let body = match how {
        Broken::None => "    return None",
        Broken::Loop => "    while True: pass",
        Broken::Raise => "    raise ValueError('broken')",
        Broken::OffByOne => {
            "    r = _right(*args, **kwargs)
    if isinstance(r, bool): return not r
    if isinstance(r, (int, float, complex)): return r + 1
    if isinstance(r, str): return r + 'x'
    if isinstance(r, (list, tuple)): return r + type(r)([12345])
    if isinstance(r, set): return r | {12345}
    if isinstance(r, dict): return {**r, 12345: 12345}
    return 12345"
        }
    };
    // Benchmarks without an entry point name the function in their tests: every function of the program is broken.
    let names = match &job.entry_point {
        Some(name) => format!("['{name}']"),
        None => "[n for n, v in list(globals().items()) if getattr(v, '__module__', '') == '__main__']".into(),
    };
    job.code.push_str(&format!(
        "\n\ndef _break(_right):\n  def _broken(*args, **kwargs):\n{}\n  return _broken\nfor _n in {names}:\n  globals()[_n] = _break(globals()[_n])\n",
        body.replace("\n    ", "\n      ").replacen("    ", "      ", 1)
    ));
    if how == Broken::Loop {
        job.timeout = Some(0.3);
    }
    job
}

/// What a suite's run found.
pub struct Report {
    suite: Suite,
    verdicts: Vec<Verdict>,
    estimates: Vec<(u64, Option<f64>)>,
    tasks: usize,
    seconds: f64,
}

/// Runs a benchmark.
///
/// # Errors
/// Unreadable files, samples of unknown tasks.
pub fn run(pool: &Pool, workers: usize, options: &Options) -> anyhow::Result<Report> {
    let start = Instant::now();
    let mut tasks = tasks(options.suite, &options.data)?;
    tasks.truncate(options.limit.unwrap_or(usize::MAX));
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
    // The mean over all tasks; undefined where a task has fewer than k samples.
    let mean = |k: u64| {
        let all: Option<Vec<f64>> = counts.values().map(|(n, c)| pass_at_k(*n, *c, k)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    let estimates = options.k.iter().map(|k| (*k, mean(*k))).collect();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report { suite: options.suite, verdicts, estimates, tasks: tasks.len(), seconds })
}

/// The jobs of a model's samples.
fn sampled(tasks: &[Task], path: &Path) -> anyhow::Result<Vec<Job>> {
    let by_id: BTreeMap<&str, &Task> = tasks.iter().map(|task| (task.job.id.as_str(), task)).collect();
    let mut jobs = Vec::new();
    let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
    while let Some(record) = reader.next() {
        let record = record?;
        let id = record.get("id").or_else(|| record.get("task_id"));
        let id = id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let Some(task) = id.as_deref().and_then(|id| by_id.get(id)) else {
            bail!("{}: id {} is no task of this benchmark", reader.place(), json!(id));
        };
        jobs.push(match (record["completion"].as_str(), record["response"].as_str()) {
            (Some(completion), _) => Job { code: task.prompt.clone() + completion, ..task.job.clone() },
            (None, Some(answer)) => task.answered(answer),
            _ => bail!("{}: completion or response: one of them must be there", reader.place()),
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
        for (k, estimate) in &self.estimates {
            match estimate {
                Some(estimate) => writeln!(f, "pass@{k} {:.2}%", 100.0 * estimate)?,
                None => writeln!(f, "pass@{k} needs {k} samples of every task")?,
            }
        }
        Ok(())
    }
}
