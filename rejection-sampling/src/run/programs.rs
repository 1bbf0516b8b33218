//! The verdict on a program: the job for `codeexec`, and the recorded part of its verdict.

use anyhow::Context;
use codeexec::extract;
use codeexec::record::Job;
use dataset::{Problem, Verdict};
use serde_json::{Value, json};

use super::dialog::Turn;
use super::problems::SETUP;

/// Maximum number of recorded characters of each output.
const KEPT: usize = 2_000;

/// The job for the last answer: the newest program of the dialog with the problem's tests, or with the newest tests
/// that the model wrote.
///
/// # Errors
/// When the tests are not in a form that `codeexec` accepts.
pub fn job(problem: &Problem, turns: &[&Turn]) -> anyhow::Result<Job> {
    let entry_point = problem.entry_point.as_deref();
    let texts: Vec<&str> = turns
        .iter()
        .filter_map(|turn| match turn {
            Turn::Answer(answer) => Some(answer.text.as_str()),
            Turn::Failed(_) => None,
        })
        .collect();
    let language = language(problem);
    let mut fields = json!({"id": problem.id, "language": language});
    let code;
    match &problem.tests {
        Some(tests) => {
            code = extract::program(texts.last().copied().unwrap_or_default(), language, entry_point);
            let name = if tests.is_string() { "test" } else { "tests" };
            fields[name] = tests.clone();
        }
        None => {
            let parts = extract::program_and_tests(&texts, language, entry_point);
            code = parts.program;
            fields["test"] = parts.tests.into();
        }
    }
    fields["code"] = code.into();
    if let Some(entry_point) = entry_point {
        fields["entry_point"] = entry_point.into();
    }
    if let Some(setup) = problem.extra.get(SETUP).and_then(Value::as_str) {
        fields["setup"] = setup.into();
    }
    Job::from_value(fields).map_err(anyhow::Error::msg).with_context(|| format!("problem {}", problem.id))
}

/// The language of a problem's programs; Python if it names none.
pub fn language(problem: &Problem) -> &str {
    problem.language.as_deref().unwrap_or("python")
}

/// The recorded part of `codeexec`'s verdict, with outputs truncated to a length that fits into a prompt.
///
/// # Errors
/// When it is not a verdict.
pub fn verdict(mut from: Value) -> anyhow::Result<Verdict> {
    if let Some(fields) = from.as_object_mut() {
        fields.remove("id");
        for name in ["stdout", "stderr"] {
            if let Some(text) = fields.get(name).and_then(Value::as_str)
                && text.chars().count() > KEPT
            {
                let end: String = text.chars().skip(text.chars().count() - KEPT).collect();
                fields.insert(name.into(), format!("[...]{end}").into());
            }
        }
        // Times and memory differ from run to run, so a record with them would differ after a kill.
        for name in ["wall_ms", "cpu_ms", "peak_memory_bytes"] {
            fields.remove(name);
        }
        let correct = fields.get("passed").cloned().unwrap_or_default();
        fields.insert("correct".into(), correct);
    }
    Verdict::try_from(from).map_err(|e| anyhow::anyhow!("the verdict of codeexec: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::dialog::Answer;
    use dataset::Kind;

    fn said(text: &str) -> Turn {
        Turn::Answer(Answer { text: text.into(), finish_reason: "stop".into(), logprob: None, tokens: 1 })
    }

    #[test]
    fn the_last_answer_with_the_problems_tests() {
        let mut problem = Problem::new("p", Kind::Code, vec![]);
        problem.tests = Some(json!(["assert f(1) == 2"]));
        problem.extra.insert(SETUP.into(), "import math".into());
        let (first, last) =
            (said("```python\ndef f(x): return x\n```"), said("```python\ndef f(x): return x + 1\n```"));
        let job = job(&problem, &[&first, &last]).unwrap();
        assert_eq!(job.code, "def f(x): return x + 1\n");
        assert_eq!((job.tests.len(), job.setup.as_deref()), (1, Some("import math")));
    }

    #[test]
    fn the_newest_program_and_the_newest_tests() {
        let problem = Problem::new("p", Kind::Code, vec![]);
        let turns = [
            said("```python\ndef f(x):\n    assert x\n    return x\n```"),
            said("```python\nassert f(1) == 2\n```"),
            said(
                "The program was wrong.\n```python\ndef f(x):\n    return x + 1\n```\nand\n```\ndef test_f():\n    assert f(1) == 2\n```",
            ),
            said("Better tests:\n```python\nassert f(2) == 3\n```"),
        ];
        let refs: Vec<&Turn> = turns.iter().collect();
        let with = |n: usize| job(&problem, &refs[..n]).unwrap();
        assert_eq!(with(2).test.as_deref(), Some("assert f(1) == 2\n"));
        assert!(with(2).code.contains("assert x"));
        assert!(with(3).test.is_some_and(|test| test.starts_with("def test_f")));
        assert_eq!(with(4).code, "def f(x):\n    return x + 1\n");
        assert_eq!(with(4).test.as_deref(), Some("assert f(2) == 3\n"));
    }

    #[test]
    fn written_tests_in_the_language_of_the_problem() {
        for (language, program, tests) in [
            ("javascript", "const f = x => x + 1;\n", "assert.strictEqual(f(1), 2);\n"),
            ("PHP", "<?php\nfunction f($x) { return $x + 1; }\n", "assert(f(1) === 2);\n"),
            ("ruby", "def f(x)\n  x + 1\nend\n", "assert_equal 2, f(1)\n"),
            ("c", "int f(int x) { return x + 1; }\n", "assert(f(1) == 2);\n"),
            ("c++", "int f(int x) { return x + 1; }\n", "assert(f(1) == 2);\n"),
        ] {
            let mut problem = Problem::new("p", Kind::Code, vec![]);
            problem.language = Some(language.into());
            let fence = |text: &str| said(&format!("```{}\n{text}```", language.to_lowercase()));
            let (first, second) = (fence(program), fence(tests));
            let job = job(&problem, &[&first, &second]).unwrap();
            assert_eq!((job.language.as_str(), job.code.as_str()), (language, program));
            assert_eq!(job.test.as_deref(), Some(tests), "{language}");
        }
    }

    #[test]
    fn what_is_kept_of_a_verdict() {
        let from = json!({"id": "p", "passed": true, "status": "passed", "tests": [], "stdout": "x".repeat(3000),
            "stderr": "", "wall_ms": 1.5, "cpu_ms": 1.2, "peak_memory_bytes": 5});
        let verdict = verdict(from).unwrap();
        assert!(verdict.passed && verdict.extra["correct"] == true);
        assert_eq!(verdict.extra["stdout"].as_str().map(str::len), Some(2005));
        assert!(!verdict.extra.contains_key("wall_ms") && !verdict.extra.contains_key("id"));
        assert!(super::verdict(json!({"error": "busy"})).is_err());
    }
}
