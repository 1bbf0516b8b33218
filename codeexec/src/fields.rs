//! Handles the fields of a record that `codeexec` does not read. A field that may hold tests is refused with an error
//! that names it: if its tests were ignored, any program could pass. The other fields are kept as `meta`.

use serde_json::{Map, Value};

/// The fields of a record: name to value.
pub type Fields = Map<String, Value>;

/// Names of the fields that codeexec reads.
pub const READ: [&str; 18] = [
    "id",
    "language",
    "code",
    "tests",
    "test",
    "setup",
    "entry_point",
    "reference",
    "stdin",
    "expected_stdout",
    "compare",
    "checker",
    "atol",
    "rtol",
    "lint",
    "timeout",
    "no_tests",
    "meta",
];

/// Fields of public data sets that hold no tests, whatever their value. Solutions are among them, since their code
/// could look like tests.
const HARMLESS: [&str; 40] = [
    "task_id",
    "problem_id",
    "question_id",
    "canonical_solution",
    "solution",
    "solutions",
    "solution_code",
    "reference_solution",
    "gold_standard_solution",
    "buggy_solution",
    "completion",
    "completions",
    "response",
    "generation",
    "prompt",
    "code_prompt",
    "complete_prompt",
    "instruct_prompt",
    "text",
    "question",
    "question_content",
    "question_title",
    "problem",
    "instruction",
    "description",
    "docstring",
    "declaration",
    "signature",
    "skeleton",
    "starter_code",
    "import",
    "import_statement",
    "imports",
    "messages",
    "conversations",
    "source",
    "style",
    "subset",
    "split",
    "doc_struct",
];

/// Fields of public data sets that hold tests or their imports, with the advice to the user on where that content
/// belongs.
const TESTS: [(&str, &str); 32] = [
    ("test_list", "put its statements into \"tests\""),
    ("challenge_test_list", "add its statements to \"tests\""),
    ("test_setup_code", "put its text into \"setup\""),
    ("test_imports", "put its lines into \"setup\""),
    ("test_code", "put its text into \"test\""),
    ("tests_code", "put its text into \"test\""),
    ("test_cases", "make them entries of \"tests\""),
    ("testcases", "make them entries of \"tests\""),
    ("unit_tests", "make them entries of \"tests\""),
    ("unittest", "put its text into \"test\""),
    ("unit_test", "put its text into \"test\""),
    ("asserts", "put its statements into \"tests\""),
    ("assertions", "put its statements into \"tests\""),
    (
        "public_test_cases",
        "make them entries {\"stdin\", \"expected_stdout\"} or {\"args\", \"expected\"} of \"tests\"",
    ),
    (
        "private_test_cases",
        "make them entries {\"stdin\", \"expected_stdout\"} or {\"args\", \"expected\"} of \"tests\"",
    ),
    ("public_tests", "make them entries {\"stdin\", \"expected_stdout\"} of \"tests\""),
    ("private_tests", "make them entries {\"stdin\", \"expected_stdout\"} of \"tests\""),
    ("hidden_tests", "make them entries of \"tests\""),
    ("generated_tests", "make them entries of \"tests\""),
    ("example_test", "put its text into \"test\""),
    ("examples", "make them entries of \"tests\""),
    (
        "input_output",
        "make its pairs entries {\"stdin\", \"expected_stdout\"} or {\"args\", \"expected\"} of \"tests\"",
    ),
    ("inputs", "make each an entry of \"tests\", or use \"reference\""),
    ("outputs", "make each the \"expected\" of an entry of \"tests\""),
    ("base_input", "use \"reference\", or `codeexec bench-suite`"),
    ("plus_input", "use \"reference\", or `codeexec bench-suite`"),
    ("contract", "put its assertions into \"setup\" or \"test\""),
    ("verification_info", "make its cases entries of \"tests\""),
    ("test_classes", "put their text into \"test\""),
    ("methods_info", "put its tests into \"test\""),
    ("reward_model", "make its cases entries of \"tests\""),
    ("ground_truth", "make its cases entries of \"tests\""),
];

/// Splits a record into the fields that codeexec reads and the rest (`meta`). A null field counts as absent.
///
/// # Errors
/// When a field that codeexec does not read may hold tests; the error names the first such field.
pub fn split(record: Fields) -> Result<(Fields, Fields), String> {
    let (mut read, mut meta) = (Map::new(), Map::new());
    for (name, value) in record {
        if value.is_null() {
            continue;
        }
        if name == "meta" {
            match value {
                Value::Object(fields) => meta.extend(fields),
                other => return Err(format!("meta: must be an object, not {other}")),
            }
        } else if READ.contains(&name.as_str()) {
            read.insert(name, value);
        } else if let Some(reason) = refused(&name, &value) {
            return Err(format!("{name}: this field is not read{reason}, or what is not a test into \"meta\""));
        } else {
            meta.insert(name, value);
        }
    }
    Ok((read, meta))
}

/// Why an unread field is refused, as a part of the error message; `None` if the field may be ignored.
fn refused(name: &str, value: &Value) -> Option<String> {
    let lower = name.to_lowercase().replace('-', "_");
    if is_empty(value) && !lower.contains("test") {
        return None;
    }
    if let Some((_, advice)) = TESTS.iter().find(|(known, _)| *known == lower) {
        return Some(format!("; {advice}"));
    }
    if HARMLESS.contains(&lower.as_str()) {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    if let Some(meant) = READ.iter().find(|known| is_slip(&plain(name), &plain(known))) {
        return Some(format!("; if \"{meant}\" is meant, call it so"));
    }
    let stems = ["test", "assert", "expect", "check", "verif", "unittest", "cases", "oracle", "spec"];
    let is_label = match value {
        Value::Bool(_) | Value::Number(_) | Value::Null => true,
        Value::String(text) => text.chars().all(|c| c.is_alphanumeric() || " _-./:".contains(c)) && text.len() < 60,
        Value::Array(_) | Value::Object(_) => false,
    };
    if stems.iter().any(|stem| lower.contains(stem)) && !is_label {
        return Some(", and by its name it may hold tests; put tests into \"tests\" or \"test\"".into());
    }
    holds_tests(value).then(|| ", and its value looks like tests; put tests into \"tests\" or \"test\"".into())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether `name` is a misspelling of `known`. Both come in lower case without separators. A misspelling is an added or
/// missing plural `s`, or one letter added, missing or changed, or two adjacent letters swapped. If `known` has fewer
/// than five letters, only the plural counts, since many other words differ from it by one letter.
fn is_slip(name: &str, known: &str) -> bool {
    if name == known || name.strip_suffix('s') == Some(known) || known.strip_suffix('s') == Some(name) {
        return true;
    }
    if known.len() < 5 || name.len().abs_diff(known.len()) > 1 {
        return false;
    }
    let (a, b): (Vec<char>, Vec<char>) = (name.chars().collect(), known.chars().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    match (a.len(), b.len()) {
        (n, m) if n == m => a[1..] == b[1..] || n > 1 && a[0] == b[1] && a[1] == b[0] && a[2..] == b[2..],
        (n, m) if n > m => a[1..] == *b,
        _ => *a == b[1..],
    }
}

/// Whether a value contains, at any depth, code or pairs of inputs and outputs.
fn holds_tests(value: &Value) -> bool {
    match value {
        Value::String(text) => is_code(text),
        Value::Array(items) => items.iter().any(holds_tests),
        Value::Object(fields) => {
            let has = |names: &[&str]| fields.keys().any(|key| names.contains(&key.to_lowercase().as_str()));
            let is_pair = has(&["input", "inputs", "stdin", "args"])
                && has(&["output", "outputs", "stdout", "expected", "expected_output", "expected_stdout"]);
            is_pair || fields.values().any(holds_tests)
        }
        _ => false,
    }
}

fn is_code(text: &str) -> bool {
    let trimmed = text.trim_start();
    let opening = ['{', '['];
    if trimmed.starts_with(opening)
        && let Ok(value) = serde_json::from_str::<Value>(trimmed)
        && holds_tests(&value)
    {
        return true;
    }
    let calls = [
        "assert(",
        "assert ",
        "expect(",
        "assertEqual",
        "assert_equal",
        "assertEquals",
        "self.assert",
        "EXPECT_",
        "ASSERT_",
    ];
    let begins = [
        "def ",
        "async def ",
        "class ",
        "import ",
        "from ",
        "function ",
        "const ",
        "#include",
        "<?php",
        "require ",
        "int main",
    ];
    text.lines().map(str::trim_start).any(|line| {
        calls
            .iter()
            .any(|call| line.starts_with(call) || line.contains(&format!(".{call}")) || line.contains("self.assert"))
            || begins.iter().any(|word| {
                // `from` and `class` can also start a sentence.
                line.starts_with(word) && line.contains([':', ';', '(', '{', '<']) | line.contains(" import ")
            })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_may_hold_tests_are_refused_by_name() {
        for (name, value) in [
            ("test_list", json!(["assert f(1) == 2"])),
            ("test_list", json!([])),
            ("input_output", json!("{\"inputs\": [\"1\"], \"outputs\": [\"2\"]}")),
            ("Tests", json!(["assert f(1) == 2"])),
            ("tets", json!(["assert f(1) == 2"])),
            ("expected_sdtout", json!("3")),
            ("entrypoint", json!("f")),
            ("asserts_for_f", json!(["f(1) == 2"])),
            ("hidden", json!("def test_f():\n    assert f(1) == 2\n")),
            ("data", json!([{"input": "1", "output": "2"}])),
            ("blob", json!("[{\"input\": \"1\", \"output\": \"2\"}]")),
            ("extra", json!({"more": ["expect(f(1)).toBe(2)"]})),
        ] {
            let record = json!({"code": "x", name: value});
            let error = split(record.as_object().cloned().unwrap()).unwrap_err();
            assert!(error.starts_with(&format!("{name}: this field is not read")), "{error}");
        }
    }

    #[test]
    fn other_fields_are_kept_as_meta() {
        let record = json!({"code": "x", "task_id": "a/1", "canonical_solution": "def f(x):\n    assert x\n",
            "prompt": "def f(x):\n", "difficulty": 3, "testtype": "stdin", "tags": ["math", "strings"], "test": null,
            "note": "From the class of 2020: a test.", "url": "https://example.org/x", "meta": {"a": 1}});
        let (read, meta) = split(record.as_object().cloned().unwrap()).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["code"]);
        assert_eq!(meta.len(), 9, "{meta:?}");
    }

    #[test]
    fn slips_of_the_pen() {
        for (name, known, expected) in [
            ("test", "tests", true),
            ("tsets", "tests", true),
            ("testss", "tests", true),
            ("entrypoint", "entrypoint", true),
            ("text", "test", false),
            ("mode", "code", false),
            ("rest", "test", false),
            ("timout", "timeout", true),
            ("note", "notests", false),
        ] {
            assert_eq!(is_slip(name, known), expected, "{name} {known}");
        }
    }
}
