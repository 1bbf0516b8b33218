//! Reads the items of a benchmark from its file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use dataset::digest::Fingerprint;
use dataset::{Kind, Message, Problem};
use ifeval::Instruction;
use serde_json::{Map, Value, json};

use crate::prompts::Prompts;
use crate::score::Grading;
use crate::task::Task;

/// One item: the prompt, and how the answer is judged.
#[derive(Debug, Clone)]
pub struct Item {
    /// The benchmark.
    pub task: Task,
    /// The id of the item in the benchmark.
    pub id: String,
    /// The question itself, without instructions and examples.
    pub question: String,
    /// The messages for the model. For likelihoods, one message: the text before a choice.
    pub messages: Vec<Message>,
    /// How the answer is judged.
    pub grading: Grading,
    /// The groups for breakdowns: subject, difficulty, kind of prompt.
    pub groups: BTreeMap<String, String>,
}

/// The prompts and grading of all items as one text; it also changes when a prompt of this program changes.
///
/// # Errors
/// When serde cannot serialize a message.
pub fn identity(items: &[Item]) -> anyhow::Result<String> {
    let mut print = Fingerprint::new();
    for item in items {
        let messages = serde_json::to_string(&item.messages)?;
        print = print.text(item.task.name(), &item.id).text("messages", &messages);
        print = print.text("grading", &format!("{:?}", item.grading));
    }
    Ok(print.finish())
}

/// Reads at most `limit` items of a task, from the start.
///
/// # Errors
/// When a file cannot be read, or does not belong to the benchmark; the error names record and field.
pub fn read(task: Task, path: &Path, prompts: &Prompts, limit: Option<usize>) -> anyhow::Result<Vec<Item>> {
    let limit = limit.unwrap_or(usize::MAX);
    let items = match task {
        Task::Perplexity => vec![text(path)?],
        Task::Problems => problems(path, limit)?,
        _ if task.suite().is_some() => programs(task, path, prompts, limit)?,
        _ => {
            let mut rows = rows(path)?;
            if task == Task::Mmlu || task == Task::Math || task == Task::Xstest {
                spread(&mut rows, limit);
            }
            let read = |(i, row): (usize, &Row)| {
                let item = item(task, i, row, prompts);
                item.with_context(|| format!("{}, record {}", path.display(), i + 1))
            };
            rows.iter().enumerate().take(limit).map(read).collect::<anyhow::Result<Vec<_>>>()?
        }
    };
    ensure!(!items.is_empty(), "{}: no items for {}", path.display(), task.name());
    let mut seen = std::collections::HashSet::new();
    for item in &items {
        ensure!(seen.insert(item.id.as_str()), "{}: the id {:?} is given twice", path.display(), item.id);
    }
    Ok(items)
}

/// The fields of a record.
type Row = Map<String, Value>;

/// For a set that is ordered by kind, a limit takes records at equal distances instead of the first ones.
fn spread(rows: &mut Vec<Row>, limit: usize) {
    let n = rows.len();
    if limit >= n {
        return;
    }
    let all = std::mem::take(rows);
    let keep: std::collections::BTreeSet<usize> = (0..limit).map(|i| i * n / limit).collect();
    rows.extend(all.into_iter().enumerate().filter(|(i, _)| keep.contains(i)).map(|(i, mut row)| {
        row.entry("id").or_insert_with(|| i.into());
        row
    }));
}

/// The records of a JSONL, Parquet or CSV file (with a header), compressed or not.
fn rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    let name = path.to_string_lossy();
    if !name.trim_end_matches(".gz").ends_with(".csv") {
        return Ok(dataset::jsonl::read_all(path)?);
    }
    let bytes = unpacked(path)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let headers = reader.headers()?.clone();
    let mut rows = Vec::new();
    for record in reader.into_records() {
        let record = record.with_context(|| format!("cannot read {}", path.display()))?;
        rows.push(headers.iter().zip(&record).map(|(name, value)| (name.to_owned(), value.into())).collect());
    }
    Ok(rows)
}

/// The bytes of a file, decompressed if the name ends in `.gz`.
pub(crate) fn unpacked(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    let mut bytes = Vec::new();
    let read = if path.extension().is_some_and(|ending| ending == "gz") {
        flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut bytes)
    } else {
        { file }.read_to_end(&mut bytes)
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// A field as text; numbers become text.
fn field(row: &Row, names: &[&str]) -> anyhow::Result<String> {
    for name in names {
        match row.get(*name) {
            Some(Value::String(text)) => return Ok(text.clone()),
            Some(Value::Number(number)) => return Ok(number.to_string()),
            _ => {}
        }
    }
    bail!("{} is missing", names.join(" or "))
}

fn item(task: Task, index: usize, row: &Row, prompts: &Prompts) -> anyhow::Result<Item> {
    let id = field(row, &["id", "key", "task_id", "ID", "unique_id"]).unwrap_or_else(|_| index.to_string());
    let mut groups = BTreeMap::new();
    let mut group = |name: &str, fields: &[&str]| {
        if let Ok(value) = field(row, fields) {
            groups.insert(name.to_owned(), value);
        }
    };
    let (question, variables, grading) = match task {
        Task::Gsm8k | Task::Gsm8kZeroShot => {
            let question = field(row, &["question"])?;
            let grading = Grading::Math { reference: field(row, &["answer"])?, gsm8k: true };
            (question.clone(), json!({"question": question}), grading)
        }
        Task::Math => {
            group("subject", &["subject", "type"]);
            group("level", &["level"]);
            let question = field(row, &["problem", "question"])?;
            let grading = Grading::Math { reference: field(row, &["answer", "solution"])?, gsm8k: false };
            (question.clone(), json!({"question": question}), grading)
        }
        Task::Svamp => {
            group("type", &["Type"]);
            let body = field(row, &["Body"])?;
            let question = format!(
                "{}{} {}",
                body.trim_end(),
                if body.trim_end().ends_with('.') { "" } else { "." },
                field(row, &["Question"])?
            );
            let answer = field(row, &["Answer"])?;
            let answer = answer.strip_suffix(".0").unwrap_or(&answer).to_owned();
            (question.clone(), json!({"question": question}), Grading::Math { reference: answer, gsm8k: false })
        }
        Task::Ifeval => {
            let prompt = field(row, &["prompt"])?;
            let ids: Vec<String> = serde_json::from_value(row.get("instruction_id_list").cloned().unwrap_or_default())
                .context("instruction_id_list")?;
            let kwargs = row.get("kwargs").and_then(Value::as_array).context("kwargs is missing")?;
            ensure!(ids.len() == kwargs.len(), "{} instructions and {} kwargs", ids.len(), kwargs.len());
            let instruction = |(id, kwargs): (&String, &Value)| Ok((id.clone(), Instruction::new(id, kwargs)?));
            let list: Result<Vec<_>, String> = ids.iter().zip(kwargs).map(instruction).collect();
            let grading = Grading::Instructions(list.map_err(anyhow::Error::msg)?);
            (prompt.clone(), json!({"prompt": prompt}), grading)
        }
        Task::Xstest => {
            group("type", &["type"]);
            let prompt = field(row, &["prompt"])?;
            let label = field(row, &["label"]).or_else(|_| field(row, &["type"]))?;
            let safe = label == "safe" || label != "unsafe" && !label.starts_with("contrast");
            (prompt.clone(), json!({"prompt": prompt}), Grading::Refusal { safe })
        }
        Task::Arc | Task::Mmlu => return multiple_choice(task, id, row, prompts),
        _ => bail!("{} has no records of this kind", task.name()),
    };
    let messages = prompts.messages(task.name(), &variables)?;
    Ok(Item { task, id, question, messages, grading, groups })
}

/// ARC (AI2's JSONL or Hugging Face's columns) and MMLU (Hugging Face's columns).
fn multiple_choice(task: Task, id: String, row: &Row, prompts: &Prompts) -> anyhow::Result<Item> {
    let inner = row.get("question").and_then(Value::as_object);
    let (question, choices) = match inner {
        Some(inner) => (field(inner, &["stem"])?, inner.get("choices").cloned()),
        None => (field(row, &["question"])?, row.get("choices").cloned()),
    };
    let choices = choices.context("choices is missing")?;
    let texts = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    };
    // A list of texts, a list of {text, label}, or {text: [...], label: [...]}.
    let (texts, labels) = if let Some(list) = texts(&choices) {
        let labels = (0..list.len()).map(|i| i.to_string()).collect();
        (list, labels)
    } else if let Some(list) = choices.as_array() {
        let of = |name: &str| -> Option<Vec<String>> {
            list.iter().map(|choice| choice.get(name).and_then(Value::as_str).map(str::to_owned)).collect()
        };
        (of("text").context("choices: text is missing")?, of("label").context("choices: label is missing")?)
    } else {
        let of = |name: &str| choices.get(name).and_then(texts);
        (of("text").context("choices.text is missing")?, of("label").context("choices.label is missing")?)
    };
    let answer = field(row, &["answerKey", "answer"])?;
    let letter = |i: usize| char::from(b'A' + i as u8).to_string();
    let right =
        labels.iter().position(|label| *label == answer).or_else(|| (0..texts.len()).find(|&i| letter(i) == answer));
    let right = right.with_context(|| format!("the answer {answer:?} is not a choice of {labels:?}"))?;
    let letters: Vec<String> = (0..texts.len()).map(letter).collect();
    let mut groups = BTreeMap::new();
    if let Ok(subject) = field(row, &["subject"]) {
        groups.insert("subject".to_owned(), subject);
    }
    let variables =
        json!({"question": question.trim(), "choices": texts, "letters": letters, "subject": groups.get("subject")});
    let messages = prompts.messages(task.name(), &variables)?;
    // MMLU compares the letters, ARC the texts, as the harness does.
    let compared = if task == Task::Mmlu { letters } else { texts };
    let choices = compared.iter().map(|text| format!(" {text}")).collect();
    Ok(Item { task, id, question, messages, grading: Grading::Choice { choices, right }, groups })
}

/// HumanEval(+) and MBPP(+). For MBPP, only the test split (ids 11 to 510).
fn programs(task: Task, path: &Path, prompts: &Prompts, limit: usize) -> anyhow::Result<Vec<Item>> {
    let suite = task.suite().context("no benchmark of programs")?;
    let mut tasks = codeexec::suite::tasks(suite, path)?;
    if task == Task::Mbpp {
        tasks.retain(|task| task.job.id.parse::<u32>().is_ok_and(|id| (11..=510).contains(&id)));
    }
    tasks.truncate(limit);
    let item = |code: codeexec::suite::Task| {
        let question = code.question.trim().to_owned();
        let variables = json!({"question": question, "entry_point": code.job.entry_point});
        let messages = prompts.messages(task.name(), &variables)?;
        let groups = BTreeMap::new();
        Ok(Item { task, id: code.job.id.clone(), question, messages, grading: Grading::Code(Box::new(code)), groups })
    };
    tasks.into_iter().map(item).collect()
}

/// Problem records; their prompts are passed to the model unchanged.
fn problems(path: &Path, limit: usize) -> anyhow::Result<Vec<Item>> {
    let records: Vec<Problem> = dataset::jsonl::read_all(path)?;
    let mut items = Vec::new();
    for (i, problem) in records.into_iter().enumerate().take(limit) {
        let place = || format!("{}, record {}", path.display(), i + 1);
        let question = problem.prompt.last().map(|message| message.text().to_owned()).unwrap_or_default();
        let grading = match problem.kind {
            Kind::Math => {
                let reference = problem.answer.with_context(|| format!("{}: answer is missing", place()))?;
                Grading::Math { reference, gsm8k: false }
            }
            Kind::Code => {
                let mut job = json!({"id": problem.id, "code": "", "entry_point": problem.entry_point});
                let tests = problem.tests.with_context(|| format!("{}: tests is missing", place()))?;
                let form = if tests.is_array() { "tests" } else { "test" };
                job[form] = tests;
                let job = codeexec::record::Job::from_value(job).map_err(|e| anyhow::anyhow!("{}: {e}", place()))?;
                let code = codeexec::suite::Task { job, prompt: String::new(), question: question.clone() };
                Grading::Code(Box::new(code))
            }
            Kind::Chat | Kind::Safety => bail!("{}: only problems of kind math and code can be judged", place()),
        };
        let meta = problem.meta.as_ref().and_then(Value::as_object);
        let texts =
            meta.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let id = if problem.id.is_empty() { i.to_string() } else { problem.id };
        items.push(Item {
            task: Task::Problems,
            id,
            question,
            messages: problem.prompt,
            grading,
            groups: texts.collect(),
        });
    }
    Ok(items)
}

/// A text file for the task `perplexity`.
fn text(path: &Path) -> anyhow::Result<Item> {
    let text = String::from_utf8(unpacked(path)?).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let grading = Grading::Perplexity { text };
    Ok(Item {
        task: Task::Perplexity,
        id,
        question: String::new(),
        messages: Vec::new(),
        grading,
        groups: BTreeMap::new(),
    })
}
