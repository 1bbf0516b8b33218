//! Verdicts on small Python programs with every form of test.

use crate::common;

use codeexec::record::{Job, Status, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

fn job(value: Value) -> Job {
    Job::from_value(value).unwrap()
}

/// Runs records and checks each verdict's status and number of passed tests.
fn check(cases: Vec<(Value, Status, usize)>) -> Vec<Verdict> {
    let pool = common::pool(2.0);
    let jobs: Vec<Job> = cases.iter().map(|(value, ..)| job(value.clone())).collect();
    let verdicts = run_all(&pool, 2, &jobs).unwrap();
    for ((value, status, passed), verdict) in cases.iter().zip(&verdicts) {
        assert_eq!((verdict.status, verdict.passed), (*status, *status == Status::Passed), "{value}\n{verdict:?}");
        assert_eq!(verdict.tests.iter().filter(|test| test.passed).count(), *passed, "{value}\n{verdict:?}");
    }
    verdicts
}

#[test]
fn forms_of_tests() {
    let f = "def f(x):\n    return x + 1";
    check(vec![
        (json!({"code": f, "tests": ["assert f(1) == 2", "assert f(2) == 4"]}), Status::Failed, 1),
        (json!({"code": f, "setup": "y = 5", "tests": ["assert f(y) == 6"]}), Status::Passed, 1),
        (
            json!({"code": f, "entry_point": "f", "test": "def check(c):\n    assert c(1) == 2\n    assert c(2) == 3\n"}),
            Status::Passed,
            2,
        ),
        (
            json!({"code": f, "entry_point": "f", "test": "def check(g):\n    assert g(1) == 2\ncheck(f)"}),
            Status::Passed,
            1,
        ),
        (
            json!({"code": f, "entry_point": "f", "test": "def check(c):\n    for i in range(9): assert c(i) == i + 1\n"}),
            Status::Passed,
            1,
        ),
        (json!({"code": f, "test": "assert f(1) == 2\nx = f(2)\nassert x == 0"}), Status::Failed, 1),
        (
            json!({"code": f, "test": "def test_a():\n    assert f(1) == 2\ndef test_b():\n    assert f(1) == 3\n"}),
            Status::Failed,
            1,
        ),
        (
            json!({"code": f, "entry_point": "f", "tests": [{"args": [1], "expected": 2}, {"args": [0.1], "expected": 1.1000001, "atol": 1e-3}]}),
            Status::Passed,
            2,
        ),
        (
            json!({"code": "def f(x): return (x, {1: 2})", "entry_point": "f", "tests": [{"args": [1], "expected": [1, {"1": 2}]}]}),
            Status::Passed,
            1,
        ),
        (
            json!({"code": "print(int(input()) * 2)", "tests": [{"stdin": "4\n", "expected_stdout": "8"}, {"stdin": "5", "expected_stdout": "10 \n\n"}]}),
            Status::Passed,
            2,
        ),
        (
            json!({"code": "print(int(input()) * 2)\nimport sys\nsys.exit(0)", "stdin": "4", "expected_stdout": "8"}),
            Status::Passed,
            0,
        ),
        (json!({"code": "print(1)", "expected_stdout": "2"}), Status::Failed, 0),
        (
            json!({"code": f, "entry_point": "f", "reference": {"code": "def f(x): return x + 1", "inputs": "[[1], [10**30]]"}}),
            Status::Passed,
            1,
        ),
        (
            json!({"code": f, "entry_point": "f", "reference": {"code": "def f(x): return x + (x > 3)", "inputs": "[[5], [1]]"}}),
            Status::Failed,
            0,
        ),
        (
            json!({"code": "def f(x): return {1: x}.values()", "entry_point": "f", "tests": [{"args": [5], "expected": [5]}]}),
            Status::Passed,
            1,
        ),
        (json!({"code": "print(1)", "no_tests": true}), Status::Passed, 0),
    ]);
}

#[test]
fn tests_that_are_never_reached_do_not_pass() {
    let f = "def f(x):\n    return 0";
    check(vec![
        (
            json!({"code": f, "entry_point": "f", "test": "def check(c):\n    return\n    assert c(1) == 2\n"}),
            Status::Error,
            0,
        ),
        (json!({"code": f, "test": "def check(c):\n    assert c(1) == 2\n"}), Status::Error, 0),
        (json!({"code": f, "test": "def helper():\n    assert f(1) == 2\n"}), Status::Error, 0),
        (json!({"code": f, "test": ""}), Status::Error, 0),
        (json!({"code": "import sys\nsys.exit(0)", "tests": ["assert True"]}), Status::Error, 0),
        (
            json!({"code": "import os\ndef f(x): os._exit(0)", "tests": ["try:\n    f(1)\nexcept BaseException:\n    pass"]}),
            Status::Error,
            0,
        ),
    ]);
}

#[test]
fn statuses() {
    let tests = json!(["assert f(1) == 2"]);
    let verdicts = check(vec![
        (json!({"code": "def f(x:", "tests": tests}), Status::Error, 0),
        (json!({"code": "def f(x): return 1 // 0", "tests": tests}), Status::Error, 0),
        (json!({"code": "def f(x):\n    while True: pass", "tests": tests}), Status::Timeout, 0),
        (json!({"code": "import time\ntime.sleep(100)", "tests": tests}), Status::Timeout, 0),
        (json!({"code": "def f(x): return bytearray(10**9)", "tests": tests}), Status::Memory, 0),
        (json!({"code": "while True: print('x' * 1000)", "tests": tests}), Status::OutputLimit, 0),
        (json!({"code": "import os\nos.abort()", "tests": tests}), Status::Crashed, 0),
        (json!({"code": "def f(x): return f(x)", "tests": tests}), Status::Error, 0),
        (json!({"code": "def f(x): return 2", "tests": tests, "language": "cobol"}), Status::Error, 0),
    ]);
    assert_eq!(verdicts[0].parses, Some(false));
    assert!(verdicts[1].stderr.contains("program.py\", line 1, in f"), "{}", verdicts[1].stderr);
    let slept = &verdicts[3];
    assert!(slept.slept_ms >= 2000.0 && slept.wall_ms < 2000.0, "sleeping counts, and nobody waits: {slept:?}");
    assert!(verdicts[5].stdout.len() == 1 << 20 && verdicts[8].detail.as_deref().unwrap().contains("cobol"));
}

/// Values are transferred between program and judge: many types, changed arguments, objects, exceptions and functions.
#[test]
fn values_cross_between_the_interpreters() {
    let code = "
import collections, dataclasses, datetime, decimal, enum, fractions, typing
class Point(typing.NamedTuple):
    x: int
    y: int
    def sum(self): return self.x + self.y
@dataclasses.dataclass
class Box:
    v: int
    def grow(self): self.v += 1; return self
class Oops(ValueError): pass
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
def echo(x): return x
def sort(x): x.sort()
def oops(x): raise Oops('bad', x)
def gen(n): yield from range(n)
def apply(g, x): return g(x)
def box(v): return Box(v)
def length(p): return p.x ** 2 + p.y ** 2
def values(d): return d.values()
LIMIT = 7
";
    let good = [
        "assert echo((1, [2.5, {'a': {3}}], frozenset([b'x']), None, 10**30, 1j)) == (1, [2.5, {'a': {3}}], frozenset([b'x']), None, 10**30, 1j)",
        "import collections\nassert echo(collections.Counter('aab')) == collections.Counter('aab')\nassert type(echo(collections.deque([1]))).__name__ == 'deque'",
        "import datetime, decimal, fractions\nfor v in (datetime.date(2020, 1, 2), decimal.Decimal('1.5'), fractions.Fraction(1, 3), range(3), bytearray(b'a')):\n    assert echo(v) == v and type(echo(v)) is type(v)",
        "a = [3, 1, 2]\nsort(a)\nassert a == [1, 2, 3]",
        "try:\n    oops(1)\n    assert False\nexcept ValueError as e:\n    assert e.args == ('bad', 1)",
        "try:\n    oops(1)\n    assert False\nexcept Oops:\n    pass",
        "assert list(gen(3)) == [0, 1, 2]",
        "assert apply(lambda v: v * 3, 4) == 12\nassert apply(len, [1, 2]) == 2",
        "b = box(3)\nassert b.v == 3 and b.grow().v == 4 and b == Box(4) and b != Box(5)\nassert isinstance(b, Box)",
        "s = Stack()\ns.push(1)\ns.push('b')\nassert len(s) == 2 and list(s) == [1, 'b'] and 'b' in s",
        "assert Point(1, 2) == (1, 2)",
        "p = echo([Point(1, y=[2])])[0]\nassert p.x == 1 and p.y == [2] and repr(p) == 'Point(x=1, y=[2])' and isinstance(p, Point)",
        "p = Point(1, 2)\nassert p.sum() == 3 and length(p) == 5 and length(p._replace(x=3)) == 13 and echo(p) == p",
        "import copy\np = copy.deepcopy(Point(1, 2))\nassert p.x == 1 and p._asdict() == {'x': 1, 'y': 2} and length(p) == 5",
        "import collections\nPair = collections.namedtuple('Pair', 'x y')\nassert length(Pair(1, 2)) == 5 and echo(Pair(1, 2)).y == 2",
        "v = values({'a': 1, 'b': 2})\nassert list(v) == [1, 2] and len(v) == 2 and v != [1, 2] and list(echo(v)) == [1, 2]",
        "import numpy as np\nassert (echo(np.arange(3)) == np.arange(3)).all() and echo(np.float64(2.5)) == 2.5",
        "assert LIMIT == 7",
    ];
    let count = good.len();
    check(vec![(json!({"code": code, "tests": good}), Status::Passed, count)]);
}

#[test]
fn a_linter_says_what_it_finds() {
    let verdicts = check(vec![
        (
            json!({"code": "import os\ndef f(x):\n    y = 1\n    return z", "lint": true, "no_tests": true}),
            Status::Passed,
            0,
        ),
        (json!({"code": "def f(x:", "lint": true, "no_tests": true}), Status::Error, 0),
        (json!({"code": "def f(x):\n    return x", "lint": true, "tests": ["assert f(1) == 1"]}), Status::Passed, 1),
        (json!({"code": "import os", "no_tests": true}), Status::Passed, 0),
    ]);
    let found = |i: usize| -> Vec<(u32, u32, String)> {
        verdicts[i].lint.iter().flatten().map(|f| (f.line, f.column, f.code.clone())).collect()
    };
    let expected = [(1, 1, "UnusedImport"), (3, 5, "UnusedVariable"), (4, 12, "UndefinedName")];
    assert_eq!(found(0), expected.map(|(line, column, code)| (line, column, code.to_owned())));
    assert!(matches!(&found(1)[..], [(1, _, code)] if code == "SyntaxError"), "{:?}", found(1));
    assert_eq!((&verdicts[2].lint, &verdicts[3].lint), (&Some(Vec::new()), &None));
}

#[test]
fn records_that_are_wrong_say_what_to_change() {
    for (value, sentence) in [
        (json!({"id": "a"}), "code: is missing; the record has id; a record needs code"),
        (json!({"code": "", "tests": [1]}), "tests: 1 is not a test"),
        (json!({"code": "", "tests": ["assert 1", {"args": [], "expected": 1}]}), "tests: all of one kind"),
        (json!({"code": "", "tests": [{"args": [], "expected": 1}]}), "entry_point: is missing"),
        (json!({"code": "", "tests": ["x"], "test": "y"}), "tests and test cannot both be given"),
        (json!({"code": "", "timeout": -1, "no_tests": true}), "timeout: must be"),
        (json!({"code": ""}), "\"no_tests\": true"),
        (json!({"code": "", "tests": []}), "tests: the list is empty"),
        (json!({"code": "", "tests": ["x"], "no_tests": true}), "tests and no_tests cannot both"),
        (json!({"code": "", "test_list": ["assert f(1) == 1"]}), "test_list: this field is not read"),
        (
            json!({"code": "", "tests": [{"stdin": "", "expected_stdout": "", "tolerance": 1}]}),
            "tests: tolerance is not",
        ),
        (json!({"code": "", "tests": ["assert 1"], "atol": 0.1}), "atol: is for expected_stdout"),
    ] {
        let error = Job::from_value(value).unwrap_err();
        assert!(error.contains(sentence), "{error}");
    }
}
