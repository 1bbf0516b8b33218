//! Reads published benchmarks. Each record becomes a job with the canonical solution as its program.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Suite;
use crate::extract;
use crate::languages;
use crate::record::{Job, Reference};

/// A task of a benchmark.
#[derive(Debug, Clone)]
pub struct Task {
    /// The job with the canonical solution; its program is only the prompt if the benchmark has no solution.
    pub job: Job,
    /// The code to which a completion is appended; empty if solutions are whole programs.
    pub prompt: String,
    /// The question to a model: the prompt, or for MBPP the task's text with its tests.
    pub question: String,
}

impl Task {
    /// Whether the benchmark has a canonical solution for this task.
    #[must_use]
    pub fn is_solved(&self) -> bool {
        self.prompt.is_empty() || self.job.code != self.prompt
    }

    /// The job for a model's chat answer. The program in the answer may be complete or may continue the prompt.
    #[must_use]
    pub fn answered(&self, answer: &str) -> Job {
        let mut job = self.job.clone();
        let program = extract::program(answer, &job.language, job.entry_point.as_deref());
        // A program that starts with an indented line is a function body, so the prompt goes before it.
        let is_body = program.starts_with([' ', '\t']);
        job.code = if is_body { self.prompt.clone() + &program } else { program };
        job
    }
}

/// Entry points of MBPP+ whose results EvalPlus compares as sets (`MBPP_OUTPUT_SET_EQ_TASKS`).
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
/// Entry points of MBPP+ for which EvalPlus compares only whether the result is None (`MBPP_OUTPUT_NOT_NONE_TASKS`).
const NOT_NONE: [&str; 3] = ["check_str", "text_match_three", "text_starta_endb"];
/// Time limit in seconds for a task of HumanEval+ or MBPP+. Program and reference solution both run on thousands
/// of inputs. The slowest task, MBPP/599, takes 240 s on an idle machine: it adds 1.6 billion numbers twice, in sums
/// beyond wasm32's machine integer.
const PLUS_SECONDS: f64 = 600.0;

/// Reads the tasks of a benchmark.
///
/// # Errors
/// When the file cannot be read or is not a file of this benchmark; the message names the record and the field.
pub fn tasks(suite: Suite, path: &Path) -> anyhow::Result<Vec<Task>> {
    let records = records(path)?;
    records.iter().enumerate().map(|(i, record)| task(suite, record).with_context(|| place(path, i))).collect()
}

fn place(path: &Path, index: usize) -> String {
    format!("{}, record {}", path.display(), index + 1)
}

/// The records of a JSONL file or of a JSON list. In JSONL, the inputs of HumanEval+ and MBPP+ are kept as text
/// ([`quote_inputs`]).
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

/// Turns the lists of inputs in a JSON line into strings, since only Python can parse their large integers and
/// infinities.
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

/// The length in bytes of the JSON list at the start of a text; `None` if the list does not end.
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
            _ => bail!("{name}: is missing or not a text; is this file {suite:?}'s?"),
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
    let solution = record["canonical_solution"].as_str();
    // The solutions of MBPP+ are whole programs; those of the other benchmarks continue their prompts.
    let code = match suite {
        Suite::MbppPlus => text("canonical_solution")?,
        _ => prompt.clone() + solution.unwrap_or(""),
    };
    let mut job = Job::python(id.clone(), code.clone());
    job.language = language(suite, record, &id)?;
    job.entry_point = record["entry_point"].as_str().map(str::to_owned);
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

/// The language of a record: a field in mxeval, the start of the id in HumanEval-X, and Python in the other benchmarks.
fn language(suite: Suite, record: &Value, id: &str) -> anyhow::Result<String> {
    let name = match suite {
        Suite::Mxeval => record["language"].as_str().unwrap_or("python").to_lowercase(),
        Suite::HumanevalX => id.split('/').next().unwrap_or("").to_lowercase(),
        _ => return Ok("python".into()),
    };
    if languages::find(&name).is_none() {
        bail!("{}", languages::unknown(&name));
    }
    Ok(name)
}

/// The inputs of a HumanEval+ or MBPP+ task, with the canonical solution, which gives the expected results.
fn reference(suite: Suite, record: &Value, mut code: String, entry_point: &str) -> anyhow::Result<Reference> {
    let mut all = Vec::new();
    for name in ["base_input", "plus_input"] {
        match &record[name] {
            Value::String(list) => all.push(format!("__import__('json').loads({})", json!(list))),
            // The task has no plus inputs.
            Value::Object(empty) if empty.is_empty() => {}
            _ => bail!("{name}: is missing or not a list"),
        }
    }
    let mut inputs = all.join(" + ");
    let mut rule = None;
    if suite == Suite::MbppPlus {
        let number = record["task_id"].as_str().and_then(|id| id.rsplit('/').next()).unwrap_or("0").to_owned();
        code = format!("{}\n{code}", include_str!("../languages/python/mbpp_inputs.py"));
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
