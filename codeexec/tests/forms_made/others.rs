//! Tests in the other languages: node's `assert` and `node:test`, Jest, PHPUnit, Minitest, C and C++ with a `main`, and
//! plain conditions.

use serde_json::{Value, json};

use super::{Made, Random, Task};

/// Records of one form of test: with the correct program and two incorrect ones. In a body, `@` is the correct result.
pub fn records(language: &'static str, task: &Task, turn: usize, random: &mut Random) -> Vec<Made> {
    let task = &simplified(language, task);
    let forms: &[&'static str] = match language {
        "javascript" => &["list of assertions", "console.assert", "node:test", "Jest", "throw"],
        "php" => &["list of assertions", "PHPUnit", "throw", "test functions"],
        "ruby" => &["list of assertions", "Minitest", "raise", "truth"],
        _ => &["list of assertions", "main with assert", "main that returns"],
    };
    let form = forms[turn % forms.len()];
    let wrong: &[(&'static str, &'static str)] = match language {
        "javascript" => &[
            ("off by one", "return @ + 1"),
            ("nothing", ""),
            ("a text", "return String(@)"),
            ("a list", "return [@]"),
            ("an exception", "throw new Error('bad')"),
            ("an exit", "process.exit(0)"),
            ("printed", "console.log(@)"),
            ("an object that agrees", "return {valueOf() { return 1 }, toString() { return '' + (@ + 1) }}"),
            ("patched assertions", "console.assert = () => {}; return 0"),
            ("a promise", "return Promise.resolve(@)"),
            ("right only once", "return globalThis.n ? 0 : (globalThis.n = 1, @)"),
        ],
        "php" => &[
            ("off by one", "return @ + 1;"),
            ("nothing", ""),
            ("a list", "return [@];"),
            ("an exception", "throw new Exception('bad');"),
            ("an exit", "exit(0);"),
            ("printed", "echo @;"),
            ("an error", "return undefined_function(@);"),
            ("right only once", "static $n = 0; return $n++ ? 0 : @;"),
        ],
        "ruby" => &[
            ("off by one", "@ + 1"),
            ("nothing", "nil"),
            ("a text", "(@).to_s"),
            ("a list", "[@]"),
            ("an exception", "raise 'bad'"),
            ("an exit", "exit(0)"),
            ("printed", "puts @"),
            ("an object that agrees", "Class.new { def ==(o) = true\ndef !=(o) = false }.new"),
            ("right only once", "$n = $n.to_i + 1; $n == 1 ? @ : 0"),
        ],
        _ => &[
            ("off by one", "return @ + 1;"),
            ("zero", "return 0;"),
            ("an exit", "exit(0);"),
            ("a trap", "__builtin_trap();"),
            ("printed", "printf(\"%d\", (int)(@)); return 0;"),
            // "right only once" is missing: each entry of `tests` runs in a new instance, where it would be correct.
            ("half of it", "return @ / 2;"),
        ],
    };
    let good = match language {
        "ruby" => "@",
        "javascript" => "return @",
        _ => "return @;",
    };
    let mut bodies = vec![(None, good)];
    for _ in 0..2 {
        let (name, body) = wrong[random.below(wrong.len())];
        bodies.push((Some(name), body));
    }
    let made = |(wrong, body): (Option<&'static str>, &str)| Made {
        form,
        wrong,
        record: record(language, form, task, &program(language, task, body)),
    };
    bodies.into_iter().map(made).collect()
}

/// For C and C++, replaces a list argument by its first number, since C has no simple notation for a list argument.
pub fn simplified(language: &str, task: &Task) -> Task {
    let mut task = task.clone();
    if ["c", "cpp"].contains(&language) {
        task.is_list = false;
        task.inputs.iter_mut().for_each(|input| input.truncate(1));
    }
    task
}

/// A program with the task's function; `@` in `body` is replaced by the correct result.
pub fn program(language: &str, task: &Task, body: &str) -> String {
    let Task { name, a, b, is_list, .. } = task;
    let (right, head, end) = match (language, is_list) {
        ("javascript", true) => {
            (format!("arg.reduce((s, v) => s + {a} * v + {b}, 0)"), format!("function {name}(arg) {{\n  "), "\n}")
        }
        ("javascript", false) => (format!("({a} * arg + {b})"), format!("function {name}(arg) {{\n  "), "\n}"),
        ("php", true) => (
            format!("array_sum(array_map(fn($v) => {a} * $v + {b}, $arg))"),
            format!("<?php\nfunction {name}($arg) {{\n  "),
            "\n}",
        ),
        ("php", false) => (format!("({a} * $arg + {b})"), format!("<?php\nfunction {name}($arg) {{\n  "), "\n}"),
        ("ruby", true) => (format!("arg.sum {{ |v| {a} * v + {b} }}"), format!("def {name}(arg)\n  "), "\nend"),
        ("ruby", false) => (format!("({a} * arg + {b})"), format!("def {name}(arg)\n  "), "\nend"),
        _ => (
            format!("({a} * arg + {b})"),
            format!("#include <stdio.h>\n#include <stdlib.h>\nint {name}(int arg) {{\n  "),
            "\n}",
        ),
    };
    format!("{head}{}{end}\n", body.replace('@', &right))
}

fn record(language: &str, form: &str, task: &Task, code: &str) -> Value {
    let name = &task.name;
    let pairs = task.pairs();
    let list = |line: &dyn Fn(&str, i64) -> String| -> Vec<String> {
        pairs.iter().map(|(input, answer)| line(input, *answer)).collect()
    };
    let tests = |tests: Vec<String>| json!({"code": code, "tests": tests});
    let test = |head: &str, lines: Vec<String>, end: &str| json!({"code": code, "test": format!("{head}\n{}\n{end}\n", lines.join("\n"))});
    match (language, form) {
        ("javascript", "list of assertions") => tests(list(&|x, y| format!("assert.strictEqual({name}({x}), {y})"))),
        ("javascript", "console.assert") => test("", list(&|x, y| format!("console.assert({name}({x}) === {y})")), ""),
        ("javascript", "node:test") => test(
            "const test = require('node:test');\nconst assert = require('node:assert');\ntest('it', () => {",
            list(&|x, y| format!("  assert.deepStrictEqual({name}({x}), {y});")),
            "});",
        ),
        ("javascript", "Jest") => test(
            &format!("const {{ {name} }} = require('./solution');\ndescribe('it', () => {{\n  it('works', () => {{"),
            list(&|x, y| format!("    expect({name}({x})).toBe({y});")),
            "  });\n});",
        ),
        ("javascript", _) => test("", list(&|x, y| format!("if ({name}({x}) !== {y}) throw new Error('wrong');")), ""),
        ("php", "list of assertions") => tests(list(&|x, y| format!("assert({name}({x}) === {y});"))),
        ("php", "PHPUnit") => test(
            "<?php\nuse PHPUnit\\Framework\\TestCase;\nfinal class ItTest extends TestCase\n{\n  public function testIt(): void\n  {",
            list(&|x, y| format!("    $this->assertSame({y}, {name}({x}));")),
            "  }\n}",
        ),
        ("php", "test functions") => {
            test("function test_it() {", list(&|x, y| format!("  assert({name}({x}) === {y});")), "}")
        }
        ("php", _) => {
            test("", list(&|x, y| format!("if ({name}({x}) !== {y}) {{ throw new Exception('wrong'); }}")), "")
        }
        ("ruby", "list of assertions") => tests(list(&|x, y| format!("assert_equal {y}, {name}({x})"))),
        ("ruby", "Minitest") => test(
            "require 'minitest/autorun'\nclass ItTest < Minitest::Test\n  def test_it",
            list(&|x, y| format!("    assert_equal({y}, {name}({x}))")),
            "  end\nend",
        ),
        ("ruby", "truth") => tests(list(&|x, y| format!("{name}({x}) == {y}"))),
        ("ruby", _) => test("", list(&|x, y| format!("raise 'wrong' unless {name}({x}) == {y}")), ""),
        (_, "list of assertions") => tests(list(&|x, y| format!("assert({name}({x}) == {y});"))),
        (_, "main with assert") => test(
            "#include <assert.h>\nint main() {",
            list(&|x, y| format!("  assert({name}({x}) == {y});")),
            "  return 0;\n}",
        ),
        _ => test("int main() {", list(&|x, y| format!("  if ({name}({x}) != {y}) return 1;")), "  return 0;\n}"),
    }
}
