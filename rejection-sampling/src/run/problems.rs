//! Problems from files: as records of `dataset`, or as the rows of GSM8K and MBPP.

use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;
use dataset::jsonl::{self, OnBadLine};
use dataset::{Invalid, Kind, Message, Problem, check};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How the rows of a problem file are read.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Problem records: {"id", "kind", "prompt", "answer" or "tests", ...}
    Problem,
    /// GSM8K and sets like it: a question and a worked answer (--prompt-column, --answer-column)
    Gsm8k,
    /// MBPP: only the training tasks, ids 601 to 974; others are left out and counted
    Mbpp,
}

/// MBPP's training tasks (Austin et al. 2021, section 2.1); 11-510 are its test split.
const MBPP_TRAIN: std::ops::RangeInclusive<u64> = 601..=974;

/// The field of a problem with the code to run before its tests.
pub const SETUP: &str = "test_setup";

/// Problems, and the counts of the other rows.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The problems, each with a unique id.
    pub problems: Vec<Problem>,
    /// Rows read.
    pub rows: u64,
    /// Number of rows that are not for training.
    pub not_for_training: u64,
    /// Number of rows whose worked answer has too many steps.
    pub too_long: u64,
}

/// The format of rows.
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    /// The format.
    pub format: Format,
    /// The field of a question.
    pub prompt: &'a str,
    /// The field of the answer.
    pub answer: &'a str,
    /// Maximum number of steps of a worked answer of GSM8K (lines above `####`); `None` for no limit.
    pub max_solution_steps: Option<usize>,
}

/// The kind of a row.
enum Row {
    Problem(Box<Problem>),
    NotForTraining,
    TooLong,
}

/// Reads the problems of a file: rows `skip` to `skip + limit` of those that are for training and short enough.
///
/// # Errors
/// When a row is not a problem, a problem lacks data for its verifier, or an id occurs twice (with `file:line` and
/// what to change).
pub fn load(path: &Path, columns: &Columns, skip: usize, limit: Option<usize>) -> anyhow::Result<Loaded> {
    let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
    let mut loaded = Loaded::default();
    let mut ids = check::Ids::default();
    while let Some(row) = reader.next() {
        let row = row?;
        loaded.rows += 1;
        let mut problem = match problem(row.clone(), columns) {
            Ok(Row::Problem(problem)) => *problem,
            Ok(Row::NotForTraining) => {
                loaded.not_for_training += 1;
                continue;
            }
            Ok(Row::TooLong) => {
                loaded.too_long += 1;
                continue;
            }
            Err(why) => {
                reader.reject(why, &row)?;
                continue;
            }
        };
        let place = reader.place();
        check::fill_id(&mut problem.id, &place);
        if let Err(why) = checked(&problem).and_then(|()| ids.add(&problem.id, &place)) {
            reader.reject(why, &row)?;
        }
        loaded.problems.push(problem);
    }
    let end = limit.map_or(loaded.problems.len(), |limit| skip.saturating_add(limit)).min(loaded.problems.len());
    loaded.problems = loaded.problems.drain(skip.min(end)..end).collect();
    ensure!(
        !loaded.problems.is_empty(),
        "{}: no problem is left of {} rows ({} are not for training, {} have more steps than --max-solution-steps); look at \
         --format, --skip, --limit and --max-solution-steps",
        path.display(),
        loaded.rows,
        loaded.not_for_training,
        loaded.too_long
    );
    Ok(loaded)
}

/// Checks the properties that every problem needs.
fn checked(problem: &Problem) -> Result<(), Invalid> {
    check::is_prompt(&problem.prompt)?;
    if problem.kind == Kind::Math && problem.answer.as_ref().is_none_or(|answer| answer.trim().is_empty()) {
        return Err(Invalid("answer: is missing; a mathematical problem needs its right answer".into()));
    }
    Ok(())
}

fn problem(row: Value, columns: &Columns) -> Result<Row, Invalid> {
    match columns.format {
        Format::Problem => Problem::try_from(row).map(|problem| Row::Problem(Box::new(problem))),
        Format::Gsm8k => gsm8k(&row, columns),
        Format::Mbpp => mbpp(&row),
    }
}

fn text<'a>(row: &'a Value, name: &str) -> Result<&'a str, Invalid> {
    row[name].as_str().ok_or_else(|| {
        let there: Vec<&str> = row.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        Invalid(format!("{name}: is missing or not a text; the record has {}", there.join(", ")))
    })
}

fn gsm8k(row: &Value, columns: &Columns) -> Result<Row, Invalid> {
    let id = match &row["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => String::new(),
    };
    let mut problem = Problem::new(id, Kind::Math, vec![Message::user(text(row, columns.prompt)?)]);
    let answer = match &row[columns.answer] {
        Value::Number(number) => number.to_string(),
        _ => text(row, columns.answer)?.to_owned(),
    };
    if let Some(most) = columns.max_solution_steps {
        let Some((work, _)) = answer.rsplit_once("####") else {
            return Err(Invalid(format!(
                "{}: has no `####`, so that --max-solution-steps cannot count its steps",
                columns.answer
            )));
        };
        if work.lines().filter(|line| !line.trim().is_empty()).count() > most {
            return Ok(Row::TooLong);
        }
    }
    problem.answer = Some(answer);
    Ok(Row::Problem(Box::new(problem)))
}

/// The prompt is that of the MBPP paper (section 3), with the tests that the function must pass.
fn mbpp(row: &Value) -> Result<Row, Invalid> {
    let id = row["task_id"].as_u64().ok_or_else(|| Invalid("task_id: must be a number".into()))?;
    if !MBPP_TRAIN.contains(&id) {
        return Ok(Row::NotForTraining);
    }
    let description = text(row, if row["text"].is_string() { "text" } else { "prompt" })?;
    let tests: Vec<&str> = row["test_list"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if tests.is_empty() {
        return Err(Invalid("test_list: must be a list of assert statements".into()));
    }
    let prompt = format!(
        "You are an expert Python programmer, and here is your task: {} Your code should pass these tests:\n\n{}",
        description.trim(),
        tests.join("\n")
    );
    let mut problem = Problem::new(format!("mbpp-{id}"), Kind::Code, vec![Message::user(prompt)]);
    problem.tests = Some(row["test_list"].clone());
    problem.language = Some("python".into());
    let setup = row["test_setup_code"].as_str().unwrap_or_default();
    if !setup.trim().is_empty() {
        problem.extra.insert(SETUP.into(), setup.into());
    }
    Ok(Row::Problem(Box::new(problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: Format) -> anyhow::Result<Loaded> {
        read_up_to(text, format, None)
    }

    fn read_up_to(text: &str, format: Format, max_solution_steps: Option<usize>) -> anyhow::Result<Loaded> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("p.jsonl");
        std::fs::write(&path, text)?;
        load(&path, &Columns { format, prompt: "question", answer: "answer", max_solution_steps }, 0, None)
    }

    #[test]
    fn long_worked_answers_are_left_out_and_counted() {
        let rows = concat!(
            "{\"question\": \"a\", \"answer\": \"1+1=2\\n2+2=4\\n\\n#### 4\"}\n",
            "{\"question\": \"b\", \"answer\": \"1+1=2\\n2+2=4\\n4-1=3\\n#### 3\"}\n",
        );
        let loaded = read_up_to(rows, Format::Gsm8k, Some(2)).unwrap();
        assert_eq!((loaded.problems.len(), loaded.rows, loaded.too_long), (1, 2, 1));
        assert_eq!(loaded.problems[0].prompt[0].text(), "a");
        assert_eq!(read_up_to(rows, Format::Gsm8k, Some(3)).unwrap().problems.len(), 2);
        let error = read_up_to("{\"question\": \"a\", \"answer\": 4}\n", Format::Gsm8k, Some(2)).unwrap_err();
        assert!(error.to_string().contains("p.jsonl:1: answer: has no `####`"), "{error}");
    }

    #[test]
    fn mbpps_test_tasks_never_come_in() {
        let row = |id: u64| {
            format!(
                "{{\"task_id\": {id}, \"text\": \"Add.\", \"test_list\": [\"assert f(1) == 2\"], \"test_setup_code\": \
                 \"import math\"}}\n"
            )
        };
        let rows: String = [10, 11, 510, 511, 600, 601, 974, 975].into_iter().map(row).collect();
        let loaded = read(&rows, Format::Mbpp).unwrap();
        let ids: Vec<&str> = loaded.problems.iter().map(|problem| problem.id.as_str()).collect();
        assert_eq!((ids, loaded.rows, loaded.not_for_training), (vec!["mbpp-601", "mbpp-974"], 8, 6));
        assert!(loaded.problems[0].prompt[0].text().ends_with("pass these tests:\n\nassert f(1) == 2"));
        assert_eq!(loaded.problems[0].extra[SETUP], "import math");
    }

    #[test]
    fn gsm8k_rows_and_mistakes() {
        let loaded = read("{\"question\": \"1+1?\", \"answer\": \"It is 2.\\n#### 2\"}\n", Format::Gsm8k).unwrap();
        assert_eq!(loaded.problems[0].id, "p.jsonl:1");
        assert_eq!(loaded.problems[0].answer.as_deref(), Some("It is 2.\n#### 2"));
        for (line, format, why) in [
            (
                "{\"query\": \"1\"}",
                Format::Gsm8k,
                "p.jsonl:1: question: is missing or not a text; the record has query",
            ),
            ("{\"id\": 1, \"kind\": \"math\", \"prompt\": \"q\"}", Format::Problem, "p.jsonl:1: answer: is missing"),
            ("{\"task_id\": 1, \"text\": \"x\"}", Format::Mbpp, "no problem is left of 1 rows (1 are not for training"),
        ] {
            let error = read(&format!("{line}\n"), format).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
