//! Verdicts in the languages other than Python: forms of tests, transferred values, statuses, and tests that no program
//! may pass.

use crate::common;

use codeexec::record::{Job, Status, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

/// Runs records in one language and checks each verdict's status and number of passed tests.
fn check(language: &str, cases: Vec<(Value, Status, usize)>) -> Vec<Verdict> {
    common::set_up_language(language);
    let pool = common::pool(2.0);
    let job = |value: &Value| {
        let mut value = value.clone();
        value["language"] = json!(language);
        Job::from_value(value).unwrap()
    };
    let jobs: Vec<Job> = cases.iter().map(|(value, ..)| job(value)).collect();
    let verdicts = run_all(&pool, 2, &jobs).unwrap();
    for ((value, status, passed), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!((verdict.status, verdict.passed), (*status, *status == Status::Passed), "{value}\n{verdict:?}");
        assert_eq!(verdict.tests.iter().filter(|test| test.passed).count(), *passed, "{value}\n{verdict:?}");
    }
    verdicts
}

#[test]
fn javascript() {
    let f = "const f = x => x + 1;";
    let test = json!(["console.assert(f(1) === 2)"]);
    let verdicts = check(
        "javascript",
        vec![
            (
                json!({"code": f, "tests": ["console.assert(f(1) === 2)", "assert.strictEqual(f(2), 3)", "f(3) === 4"]}),
                Status::Passed,
                3,
            ),
            (
                json!({"code": "function f(x) { return x }", "tests": ["console.assert(f(1) === 1)", "f(3) === 4"]}),
                Status::Failed,
                1,
            ),
            (json!({"code": "function f(x) { throw new TypeError('bad') }", "tests": test}), Status::Error, 0),
            (json!({"code": "function f(x { }", "tests": test}), Status::Error, 0),
            (json!({"code": "function f(x) { for (;;); }", "tests": test}), Status::Timeout, 0),
            (
                json!({"code": "async function f(x) { await new Promise(r => setTimeout(r, 1e8)); return 2 }", "tests": ["console.assert(await f(1) === 2)"]}),
                Status::Timeout,
                0,
            ),
            (
                json!({"code": "function f(x) { const a = []; while (true) a.push(new Array(1e5).fill(1)) }", "tests": test, "timeout": 20}),
                Status::Memory,
                0,
            ),
            (json!({"code": "function f(x) { return f(x + 1) + 1 }", "tests": test}), Status::Error, 0),
            (json!({"code": "while (true) console.log('x'.repeat(1000))", "tests": test}), Status::OutputLimit, 0),
            (json!({"code": "process.exit(0); function f(x) { return 2 }", "tests": test}), Status::Error, 0),
            (json!({"code": "function f(x) { process.exit(0) }", "tests": test}), Status::Error, 0),
            (json!({"code": f, "test": "const g = () => { console.assert(f(1) === 2) }"}), Status::Error, 0),
            (json!({"code": f, "test": ""}), Status::Error, 0),
            (json!({"code": "const g = 1", "tests": test}), Status::Error, 0),
            (
                json!({"code": "const f = (x, y) => ({a: [x, y], s: new Set([3, 1])})", "entry_point": "f",
                "tests": [{"args": [1, "b"], "expected": {"a": [1, "b"], "s": [1, 3]}}, {"args": [1], "expected": 1}]}),
                Status::Failed,
                1,
            ),
            (
                json!({"code": "console.log(Number(require('fs').readFileSync(0, 'utf8')) * 2)",
                "tests": [{"stdin": "4\n", "expected_stdout": "8"}, {"stdin": "5", "expected_stdout": "10"}]}),
                Status::Passed,
                2,
            ),
            (
                json!({"code": "console.log([1, 'a', {b: 2}], new Map([[1, 2]])); setTimeout(() => console.log('late'), 10)",
                "expected_stdout": "[ 1, 'a', { b: 2 } ] Map(1) { 1 => 2 }\nlate"}),
                Status::Passed,
                0,
            ),
            // Node's output for an object that does not fit one line: inner lines are indented by their depth.
            (
                json!({"code": "console.log({a: {b: 'x'.repeat(40), c: ['y'.repeat(80)]}, d: 2})",
                "expected_stdout": format!("{{\n  a: {{\n    b: '{}',\n    c: [\n      '{}'\n    ]\n  }},\n  d: 2\n}}", "x".repeat(40), "y".repeat(80))}),
                Status::Passed,
                0,
            ),
            (json!({"code": "module.exports = { f: x => x + 1 }", "tests": test}), Status::Passed, 1),
            (
                json!({"code": "export function f(x) { return x + 1 }\nexport default f;", "tests": test}),
                Status::Passed,
                1,
            ),
            (
                json!({"code": "const _ = require('lodash'); const f = x => _.chunk(x, 2)",
                "test": "const _ = require('lodash'); if (!_.isEqual(f([1, 2, 3]), [[1, 2], [3]])) { throw 'Error 1' }"}),
                Status::Passed,
                1,
            ),
        ],
    );
    assert!(verdicts[2].stderr.contains("program.js:1"), "{}", verdicts[2].stderr);
    assert_eq!((verdicts[3].parses, verdicts[0].parses), (Some(false), Some(true)));
    let code = "class Stack {
  constructor() { this.items = [] }
  push(x) { this.items.push(x); return this }
  get size() { return this.items.length }
  *[Symbol.iterator]() { yield* this.items }
}
async function later(x) { await new Promise(r => setTimeout(r, 50)); return x * 2 }
const apply = (g, x) => g(g(x)), sort = a => { a.sort((x, y) => x - y) }, echo = x => x;";
    let good = [
        "const s = new Stack(); s.push(1).push('b'); assert.strictEqual(s.size, 2); assert.deepStrictEqual([...s], [1, 'b']); assert.ok(s instanceof Stack)",
        "assert.strictEqual(await later(4), 8)",
        "assert.strictEqual(apply(x => x * 3, 2), 18)",
        "const a = [3, 1, 2]; sort(a); assert.deepStrictEqual(a, [1, 2, 3])",
        "for (const v of [NaN, -0, undefined, null, 10n ** 30n, 'a', [1, [2]], {a: {b: 1}}, new Map([[1, {c: 2}]]), new Set(['x']), new Date(5), new Uint8Array([1])]) assert.deepStrictEqual(echo(v), v)",
        "assert.throws(() => echo.call.call(null), TypeError)",
    ];
    check("javascript", vec![(json!({"code": code, "tests": good}), Status::Passed, good.len())]);
}

#[test]
fn php() {
    let f = "<?php\nfunction f($x) { return $x + 1; }";
    let test = json!(["assert(f(1) === 2);"]);
    let verdicts = check(
        "php",
        vec![
            (
                json!({"code": f, "tests": ["assert(f(1) === 2);", "if (f(2) != 3) throw new Exception('no');"]}),
                Status::Passed,
                2,
            ),
            (json!({"code": "<?php function f($x) { return $x; }", "tests": test}), Status::Failed, 0),
            (
                json!({"code": "<?php function f($x) { throw new DomainException('bad'); }", "tests": test}),
                Status::Error,
                0,
            ),
            (json!({"code": "<?php function f($x{ }", "tests": test}), Status::Error, 0),
            (json!({"code": "function f($x) { return $x + 1; }", "tests": test}), Status::Passed, 1),
            (json!({"code": "<?php function f($x) { while (true); }", "tests": test}), Status::Timeout, 0),
            (json!({"code": "<?php function f($x) { sleep(1000); return 2; }", "tests": test}), Status::Timeout, 0),
            (
                json!({"code": "<?php function f($x) { $a = []; while (true) $a[] = str_repeat('x', 100000); }", "tests": test, "timeout": 20}),
                Status::Memory,
                0,
            ),
            (json!({"code": "<?php while (true) echo str_repeat('x', 1000);", "tests": test}), Status::OutputLimit, 0),
            (json!({"code": "<?php exit(0); function f($x) { return 2; }", "tests": test}), Status::Error, 0),
            (json!({"code": "<?php function f($x) { exit(0); }", "tests": test}), Status::Error, 0),
            (json!({"code": f, "test": "function g() { assert(f(1) === 2); }"}), Status::Error, 0),
            (json!({"code": "<?php function g($x) { return 2; }", "tests": test}), Status::Error, 0),
            (
                json!({"code": "<?php function f($x, $y) { return ['a' => [$x, $y], 'b' => 1.5]; }", "entry_point": "f",
                "tests": [{"args": [1, "b"], "expected": {"a": [1, "b"], "b": 1.5}}, {"args": [1, 2], "expected": 1}]}),
                Status::Failed,
                1,
            ),
            (
                json!({"code": "<?php echo trim(fgets(STDIN)) * 2, \"\\n\", stream_get_contents(STDIN);",
                "tests": [{"stdin": "4\nrest\n", "expected_stdout": "8\nrest"}]}),
                Status::Passed,
                1,
            ),
        ],
    );
    assert!(verdicts[2].stderr.contains("program.php:1"), "{}", verdicts[2].stderr);
    assert_eq!(verdicts[3].parses, Some(false));
    let code = "<?php
class Oops extends DomainException {}
class Stack implements Countable {
    private $items = [];
    public $name = 'n';
    function push($x) { $this->items[] = $x; return $this; }
    function count(): int { return count($this->items); }
    static function make() { return new static; }
}
function sorted(array &$a) { sort($a); }
function apply(callable $g, $x) { return $g($g($x)); }
function oops($x) { throw new Oops('bad'); }
function echoed($x) { return $x; }
const LIMIT = 7;";
    let good = [
        "$s = new Stack(); $s->push(1)->push('b'); assert(count($s) === 2); assert($s->name === 'n'); assert($s instanceof Stack); assert(count(Stack::make()) === 0);",
        "$a = [3, 1, 2]; sorted($a); assert($a === [1, 2, 3]);",
        "assert(apply(fn($x) => $x * 3, 2) === 18);",
        "try { oops(1); throw new Exception('none'); } catch (Oops $e) { assert($e->getMessage() === 'bad'); }",
        "foreach ([null, true, 5, 2.5, 'a', \"\\xff\", [1, [2]], ['k' => ['v' => 1]], [3 => 'x'], INF] as $v) assert(echoed($v) === $v);",
        "assert(LIMIT === 7);",
    ];
    check("php", vec![(json!({"code": code, "tests": good}), Status::Passed, good.len())]);
}

#[test]
fn ruby() {
    let f = "def f(x)\n  x + 1\nend";
    let test = json!(["f(1) == 2"]);
    let verdicts = check(
        "ruby",
        vec![
            (
                json!({"code": f, "tests": ["assert f(1) == 2", "raise 'no' unless f(2) == 3", "f(3) == 4", "assert_equal 5, f(4)"]}),
                Status::Passed,
                4,
            ),
            (json!({"code": "def f(x) = x", "tests": ["raise 'no' unless f(1) == 2", "f(3) == 3"]}), Status::Failed, 1),
            (json!({"code": "def f(x) = raise(ArgumentError, 'bad')", "tests": test}), Status::Error, 0),
            (json!({"code": "def f(x", "tests": test}), Status::Error, 0),
            (json!({"code": "def f(x)\n  loop {}\nend", "tests": test}), Status::Timeout, 0),
            (json!({"code": "def f(x)\n  sleep 1000\n  2\nend", "tests": test}), Status::Timeout, 0),
            (json!({"code": "loop { puts 'x' * 1000 }", "tests": test}), Status::OutputLimit, 0),
            (
                json!({"code": "def f(x)\n  a = []\n  loop { a << 'x' * 100_000 }\nend", "tests": test, "timeout": 20}),
                Status::Memory,
                0,
            ),
            (json!({"code": "exit(0)\ndef f(x) = 2", "tests": test}), Status::Error, 0),
            (json!({"code": "def f(x) = exit(0)", "tests": test}), Status::Error, 0),
            (json!({"code": "def f(x) = exit!(0)", "tests": test}), Status::Error, 0),
            (json!({"code": f, "test": "def g = assert(f(1) == 2)"}), Status::Error, 0),
            (json!({"code": "def g(x) = 2", "tests": test}), Status::Error, 0),
            (
                json!({"code": "def f(x, y:) = {a: [x, y], 's' => Set[3, 1], 2 => 1.5}", "entry_point": "f",
                "tests": [{"args": [1], "kwargs": {"y": "b"}, "expected": {"a": [1, "b"], "s": [1, 3], "2": 1.5}}]}),
                Status::Passed,
                1,
            ),
            (
                json!({"code": "x = gets.to_i\nputs x * 2\nputs STDIN.read", "tests": [{"stdin": "4\nrest\n", "expected_stdout": "8\nrest"}]}),
                Status::Passed,
                1,
            ),
            (
                json!({"code": f, "test": "require 'minitest/autorun'\nclass T < Minitest::Test\n  def test_a\n    assert_equal 2, f(1)\n  end\n  def test_b\n    assert_equal 9, f(1)\n  end\nend"}),
                Status::Failed,
                1,
            ),
        ],
    );
    assert!(verdicts[2].stderr.contains("program.rb:1"), "{}", verdicts[2].stderr);
    assert_eq!(verdicts[3].parses, Some(false));
    let code = "class Oops < ArgumentError; end
class Stack
  include Enumerable
  attr_reader :items
  def initialize = @items = []
  def push(x)
    @items << x
    self
  end
  def each(&block) = @items.each(&block)
  def ==(other) = true
end
def sorted(a) = a.sort!
def apply(g, x) = g.call(g.call(x))
def give(x) = yield(x)
def oops(x) = raise(Oops, 'bad')
def echo(x) = x
LIMIT = 7";
    let good = [
        "s = Stack.new\ns.push(1).push('b')\nassert_equal 2, s.items.size\nassert s.is_a?(Stack)\nassert !(s == 5)\nassert_equal [2, 2], s.map { |x| 2 }",
        "a = [3, 1, 2]\nsorted(a)\nassert_equal [1, 2, 3], a",
        "assert_equal 18, apply(->(x) { x * 3 }, 2)",
        "assert_equal 8, give(4) { |x| x * 2 }",
        "begin\n  oops(1)\n  raise 'none'\nrescue Oops => e\n  assert_equal 'bad', e.message\nend",
        "[nil, true, 5, 10**30, 2.5, 'a', :b, [1, [2]], {'k' => {1 => :v}}, 1..3, Rational(1, 3), Set[1, 2], \"\\xff\".b].each { |v| assert_equal v, echo(v) }",
        "assert_equal 7, LIMIT",
    ];
    check("ruby", vec![(json!({"code": code, "tests": good}), Status::Passed, good.len())]);
}

#[test]
fn c_and_cpp() {
    let f = "#include <vector>\nusing namespace std;\nint f(int x) { return x + 1; }";
    let test = json!(["assert(f(1) == 2);"]);
    let verdicts = check(
        "cpp",
        vec![
            (
                json!({"code": f, "test": "#undef NDEBUG\n#include<assert.h>\nint main() { assert (f(1) == 2); assert (f(2) == 4); assert (f(3) == 4); }"}),
                Status::Failed,
                2,
            ),
            (
                json!({"code": f, "tests": ["assert(f(1) == 2);", "assert(vector<int>({f(0), 2}) == vector<int>({1, 2}))"]}),
                Status::Passed,
                2,
            ),
            (json!({"code": "int f(int x) { return x }", "tests": test}), Status::Error, 0),
            (json!({"code": f, "tests": ["assert(g(1) == 2);"]}), Status::Error, 0),
            (
                json!({"code": "int f(int x) { volatile int i = 0; for (;;) i = 1; }", "tests": test}),
                Status::Timeout,
                0,
            ),
            (json!({"code": "#include <stdlib.h>\nint f(int x) { exit(0); }", "tests": test}), Status::Error, 0),
            (
                json!({"code": "#include <stdlib.h>\nstruct A { A() { exit(0); } } a;\nint f(int x) { return 2; }", "tests": test}),
                Status::Error,
                0,
            ),
            (
                json!({"code": "int f(int x) { return 1; }\nint main() { return 0; }", "test": "#include <assert.h>\nint main() { assert(f(1) == 2); }"}),
                Status::Failed,
                0,
            ),
            (
                json!({"code": "#include <assert.h>\n#undef assert\n#define assert(x) ((void)0)\nint f(int x) { return 1; }", "tests": test}),
                Status::Failed,
                0,
            ),
            (
                json!({"code": "#include <vector>\nint f(int x) { std::vector<char *> v; for (;;) { v.push_back(new char[1000000]); v.back()[9] = 1; } }", "tests": test, "timeout": 20}),
                Status::Memory,
                0,
            ),
            (
                json!({"code": "#include <cstdio>\nint main() { for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\"); }", "no_tests": true}),
                Status::OutputLimit,
                0,
            ),
            (
                json!({"code": "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x * 2 << std::endl; }",
                "tests": [{"stdin": "4", "expected_stdout": "8"}, {"stdin": "5", "expected_stdout": "11"}]}),
                Status::Failed,
                1,
            ),
            (json!({"code": f, "test": "static void g() { assert(f(1) == 2); }"}), Status::Error, 0),
            (json!({"code": "#include \"/etc/passwd\"\nint f(int x) { return 2; }", "tests": test}), Status::Error, 0),
        ],
    );
    assert!(verdicts[2].parses == Some(false) && verdicts[2].stderr.contains("program.cpp:1:"), "{:?}", verdicts[2]);
    assert_eq!(verdicts[3].parses, Some(true));
    check(
        "c",
        vec![
            (
                json!({"code": "int f(int x) { return x + 1; }", "tests": ["assert(f(1) == 2);", "assert(f(1) == 3);"]}),
                Status::Failed,
                1,
            ),
            (
                json!({"code": "int f(int x) { return x + 1; }", "test": "int main() { return f(1) == 2 ? 0 : 1; }"}),
                Status::Passed,
                1,
            ),
            (
                json!({"code": "int f(int x) { return x; }", "test": "int main() { return f(1) == 2 ? 0 : 1; }"}),
                Status::Failed,
                0,
            ),
            (
                json!({"code": "#include <stdio.h>\n#include <math.h>\nint main(void) { double d; scanf(\"%lf\", &d); printf(\"%.3f\\n\", sqrt(d)); return 0; }",
                "tests": [{"stdin": "2.0", "expected_stdout": "1.414"}]}),
                Status::Passed,
                1,
            ),
            (
                json!({"code": "int g(int);\nint f(int x) { return g(x); }", "tests": ["assert(f(1) == 2);"]}),
                Status::Error,
                0,
            ),
        ],
    );
}
