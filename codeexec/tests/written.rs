//! Dialogs in which a model writes a program and then tests for it, in every language. A correct program passes these
//! tests, an incorrect one does not, and its repaired version does.

use crate::common;

use codeexec::extract::program_and_tests;
use codeexec::record::{Job, Status, Verdict};
use serde_json::json;

/// The verdict on the newest program with the newest tests of a dialog.
fn judge(answers: &[&str], language: &str) -> Verdict {
    let parts = program_and_tests(answers, language, Some("up"));
    let record = json!({"language": language, "code": parts.program, "test": parts.tests, "entry_point": "up"});
    common::pool(5.0).run(&Job::from_value(record).unwrap()).unwrap()
}

/// Checks each text of tests with a correct, an incorrect and a repaired program; `@` is the result in `program`.
fn dialog(language: &str, program: &str, tests: &[&str]) {
    common::set_up_language(language);
    let fence = |text: &str| format!("```{language}\n{text}\n```");
    let (right, wrong) = (fence(&program.replace('@', "x + 1")), fence(&program.replace('@', "x - 1")));
    for tests in tests {
        let tests = fence(tests);
        let verdict = judge(&[&right, &tests], language);
        assert!(verdict.passed, "{language}: {tests}\n{verdict:?}");
        let verdict = judge(&[&wrong, &tests], language);
        assert_ne!(verdict.status, Status::Passed, "{language}: {tests}\n{verdict:?}");
        assert_ne!(verdict.status, Status::Timeout, "{language}: {tests}\n{verdict:?}");
        let said = format!("{:?}{}", verdict.detail, verdict.stderr);
        assert!(!said.trim().is_empty(), "the model is told nothing: {verdict:?}");
        let repaired = format!("The program was wrong.\n{right}\nThe tests stay:\n{tests}");
        assert!(judge(&[&wrong, &tests, &repaired], language).passed, "{language}: {tests}");
        assert!(judge(&[&wrong, &tests, &right], language).passed, "{language}: {tests}");
    }
    // Answers without tests give an error.
    assert_eq!(judge(&[&right], language).status, Status::Error, "{language}");
}

#[test]
fn python() {
    let program = "def up(x):\n    return @";
    dialog("python", program, &["assert up(1) == 2\nassert up(2) == 3", "def test_up():\n    assert up(1) == 2"]);
}

#[test]
fn javascript() {
    let tests = [
        "assert.strictEqual(up(1), 2);\nassert.deepStrictEqual([up(2)], [3]);",
        "const assert = require('assert');\nconst { up } = require('./solution');\nassert.equal(up(1), 2);",
        "test('up', () => {\n  expect(up(1)).toBe(2);\n});",
    ];
    dialog("javascript", "function up(x) {\n  return @;\n}", &tests);
}

#[test]
fn php() {
    let tests = [
        "<?php\nassert(up(1) === 2);\nassert(up(2) === 3);",
        "assert(up(1) === 2);",
        "<?php\nuse PHPUnit\\Framework\\TestCase;\nclass UpTest extends TestCase {\n  public function testUp() { $this->assertSame(2, up(1)); }\n}",
    ];
    dialog("php", "<?php\nfunction up($x) {\n  return $@;\n}", &tests);
}

#[test]
fn ruby() {
    let tests = [
        "assert_equal 2, up(1)\nassert_equal 3, up(2)",
        "raise 'wrong' unless up(1) == 2",
        "require 'minitest/autorun'\nclass UpTest < Minitest::Test\n  def test_up\n    assert_equal 2, up(1)\n  end\nend",
    ];
    dialog("ruby", "def up(x)\n  @\nend", &tests);
}

#[test]
fn c() {
    let tests = [
        "assert(up(1) == 2);\nassert(up(2) == 3);",
        "#include <assert.h>\n#include <string.h>\nassert(up(1) == 2 && strlen(\"a\") == 1);",
        "#include <assert.h>\nvoid test_up(void) { assert(up(1) == 2); }\nint main(void) {\n  test_up();\n  return 0;\n}",
    ];
    dialog("c", "#include <stdio.h>\nint up(int x) {\n  return @;\n}", &tests);
}

#[test]
fn cpp() {
    let tests = [
        "assert(up(1) == 2);",
        "#include <cassert>\n#include <string>\nassert(std::to_string(up(1)) == \"2\");",
        "#include <cassert>\nint main() {\n  assert(up(1) == 2);\n}",
    ];
    dialog("cpp", "#include <vector>\nint up(int x) {\n  return @;\n}", &tests);
}
