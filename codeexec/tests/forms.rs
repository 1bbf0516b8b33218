//! Python tests in the forms and with the features that people use. Each passes with a correct program and fails with
//! an incorrect one.

use crate::common;

use codeexec::record::{Job, Status};
use codeexec::run::run_all;
use serde_json::{Value, json};

/// Runs records and checks the status of each.
fn check(cases: &[(Value, Status)]) {
    let pool = common::pool(3.0);
    let jobs: Vec<Job> = cases.iter().map(|(value, _)| Job::from_value(value.clone()).unwrap()).collect();
    let faults: Vec<String> = cases
        .iter()
        .zip(run_all(&pool, 2, &jobs).unwrap())
        .filter(|((_, status), verdict)| verdict.status != *status)
        .map(|((value, status), verdict)| format!("{status:?} was expected: {value:#}\n{verdict:?}"))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

const UP: &str = "def up(x):\n    return x + 1";
const DOWN: &str = "def up(x):\n    return x - 1";

/// Records of one test text with a correct and an incorrect program.
fn both(test: &str) -> [(Value, Status); 2] {
    [(json!({"code": UP, "test": test}), Status::Passed), (json!({"code": DOWN, "test": test}), Status::Failed)]
}

#[test]
fn functions_and_classes_of_tests_are_run() {
    let mut cases = Vec::new();
    for test in [
        "from solution import up\ndef test_one():\n    assert up(1) == 2\n",
        "import pytest\nfrom solution import *\n@pytest.mark.parametrize('a, b', [(1, 2), (5, 6)])\ndef test_many(a, b):\n    assert up(a) == b\n",
        "import pytest\n@pytest.fixture\ndef one():\n    yield 1\nclass TestUp:\n    def setup_method(self):\n        self.two = 2\n    def test_a(self, one):\n        assert up(one) == self.two\n",
        "import pytest\ndef test_near():\n    assert up(0.1) == pytest.approx(1.1)\n",
        "async def test_later():\n    assert up(1) == 2\n",
        "import unittest\nclass T(unittest.TestCase):\n    def setUp(self):\n        self.two = 2\n    def test_a(self):\n        self.assertEqual(up(1), self.two)\n    def test_b(self):\n        with self.assertRaises(TypeError):\n            up('a')\nif __name__ == '__main__':\n    unittest.main()\n",
        "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n    async def test_a(self):\n        self.assertEqual(up(1), 2)\nunittest.main()\n",
        "def run():\n    assert up(1) == 2\nif __name__ == '__main__':\n    run()\n",
        "from numpy.testing import assert_allclose\nassert_allclose(up(1.0), 2.0)\n",
        "def same(a, b):\n    assert a == b\nsame(up(1), 2)\n",
    ] {
        cases.extend(both(test));
        cases.push((json!({"code": UP, "tests": [test]}), Status::Passed));
        cases.push((json!({"code": DOWN, "tests": [test]}), Status::Failed));
    }
    check(&cases);
}

#[test]
fn a_test_without_a_comparison_is_an_error() {
    let mut cases = Vec::new();
    for text in [
        "",
        "# nothing",
        "import math",
        "up(1)",
        "x = up(1)",
        "print(up(1) == 2)",
        "def helper():\n    assert up(1) == 2\n",
        "def test_a():\n    up(1)\n",
        "class T:\n    def test_a(self):\n        assert up(1) == 2\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        up(1)\n",
        "import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('later')\n    def test_a(self):\n        self.assertEqual(up(1), 2)\n",
        "for x in []:\n    assert up(x) == 0\n",
        "if up(1) == 5:\n    assert False\n    x = 1\nelse:\n    pass\ndef test_b():\n    pass\n",
        "try:\n    up('a')\nexcept Exception:\n    pass\n",
    ] {
        // The last text but one reaches a condition, but its test function `test_b` judges nothing.
        cases.push((json!({"code": UP, "tests": [text]}), Status::Error));
        cases.push((json!({"code": UP, "test": text}), Status::Error));
    }
    cases.push((json!({"code": UP, "test": "def check(candidate):\n    pass\n", "entry_point": "up"}), Status::Error));
    let code = "def assert_up(x):\n    return x";
    cases.push((json!({"code": code, "tests": ["assert_up(1)"]}), Status::Error));
    check(&cases);
}

#[test]
fn entry_points_of_methods() {
    let right = "class Solution:\n    def two(self, x):\n        return x + 1";
    let wrong = "class Solution:\n    def two(self, x):\n        return x";
    let mut cases = Vec::new();
    for (code, status) in [(right, Status::Passed), (wrong, Status::Failed)] {
        for (name, test) in [
            ("Solution().two", json!({"tests": [{"args": [1], "expected": 2}]})),
            ("two", json!({"tests": [{"args": [1], "expected": 2}]})),
            ("Solution().two", json!({"test": "def check(candidate):\n    assert candidate(1) == 2\n"})),
            ("two", json!({"tests": ["assert candidate(x=1) == 2"]})),
        ] {
            let mut record = json!({"code": code, "entry_point": name});
            record.as_object_mut().unwrap().extend(test.as_object().unwrap().clone());
            cases.push((record, status));
        }
    }
    cases.push((json!({"code": UP, "entry_point": "down", "tests": [{"args": [1], "expected": 2}]}), Status::Error));
    check(&cases);
}

#[test]
fn objects_of_the_program_in_tests() {
    let code = "
class Num:
    def __init__(self, x): self.x = x
    def __add__(self, o): return Num(self.x + o.x)
    def __mul__(self, k): return Num(self.x * k)
    __rmul__ = __mul__
    def __eq__(self, o): return self.x == o.x
    def __lt__(self, o): return self.x < o.x
    def __hash__(self): return hash(self.x)
    def __repr__(self): return f'Num({self.x})'
    def __format__(self, how): return 'n' + how
    def __contains__(self, i): return i == self.x
    def __enter__(self): return self.x
    def __exit__(self, *error): return True
    def __int__(self): return self.x
    def __iadd__(self, k):
        self.x += k
        return self
    @property
    def twice(self): return 2 * self.x
    async def later(self): return self.x
def count():
    got = yield 1
    yield got * 2
async def wait(x): return x + 1
";
    let tests = json!([
        "assert Num(1) + Num(2) == Num(3) and Num(1) != Num(2)",
        "assert Num(2) * 3 == Num(6) and 3 * Num(2) == Num(6)",
        "assert repr(Num(1)) == 'Num(1)' and f'{Num(1):z}' == 'nz'",
        "assert 3 in Num(3) and 4 not in Num(3)",
        "assert type(Num(1)).__name__ == 'Num' and isinstance(Num(1), Num)",
        "assert vars(Num(1)) == {'x': 1} and Num(1).__dict__ == {'x': 1}",
        "with Num(5) as five:\n    assert five == 5\n    raise ValueError",
        "steps = count()\nassert next(steps) == 1 and steps.send(4) == 8",
        "one = Num(1)\none += 4\nassert one == Num(5) and int(Num(5)) == 5 and Num(5).twice == 10",
        "assert sorted([Num(3), Num(1)])[0].x == 1 and len({Num(1), Num(1)}) == 1",
        "import asyncio\nassert asyncio.run(wait(1)) == 2",
        "async def test_later():\n    assert await Num(4).later() == 4",
    ]);
    let mut cases = vec![(json!({"code": code, "tests": tests}), Status::Passed)];
    // An object that claims to equal everything never equals plain data.
    let agrees = "
class A:
    def __eq__(self, o): return True
    def __contains__(self, o): return True
    def __iter__(self): return iter([])
    def __sub__(self, o): return self
    def __rsub__(self, o): return 0
    def __abs__(self): return 0
    def __lt__(self, o): return True
    def __gt__(self, o): return True
    def __round__(self, n=0): return 5
def f(x): return A()
";
    for test in [
        "f(1) == 5",
        "5 == f(1)",
        "5 in f(1)",
        "abs(f(1) - 5) < 0.1",
        "abs(5 - f(1)) < 0.1",
        "f(1) > 5",
        "round(f(1) - 5) == 5",
    ] {
        let failed = if test.contains("==") && !test.contains("round") || test.contains("in") {
            Status::Failed
        } else {
            Status::Error
        };
        cases.push((json!({"code": agrees, "tests": [format!("assert {test}")]}), failed));
    }
    check(&cases);
}

#[test]
fn objects_of_the_tests_reach_the_program() {
    let lists = "def turn(head):\n    last = None\n    while head:\n        head.next, last, head = last, head, head.next\n    return last";
    let setup = "class ListNode:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\ndef items(node):\n    found = []\n    while node:\n        found.append(node.val)\n        node = node.next\n    return found\n";
    let cases = [
        (
            json!({"code": lists, "setup": setup, "tests": ["assert items(turn(ListNode(1, ListNode(2)))) == [2, 1]", "a = ListNode(1, ListNode(2))\nturn(a)\nassert a.next is None"]}),
            Status::Passed,
        ),
        (
            json!({"code": "def turn(head): return head", "setup": setup, "tests": ["assert items(turn(ListNode(1, ListNode(2)))) == [2, 1]"]}),
            Status::Failed,
        ),
        (
            json!({"code": "def total(xs): return sum(xs)", "tests": ["assert total(i for i in range(4)) == 6", "assert total(map(int, '12')) == 3"]}),
            Status::Passed,
        ),
        (
            json!({"code": "def ask(): return input('? ')", "tests": ["from unittest.mock import patch\nwith patch('builtins.input', return_value='7'):\n    assert ask() == '7'", "import io, sys\nsys.stdin = io.StringIO('8')\nassert ask() == '8'"]}),
            Status::Passed,
        ),
        (
            json!({"code": "import random\ndef roll(): return random.randint(1, 6) + random.randint(1, 6)", "test": "import unittest\nfrom unittest.mock import patch\nclass T(unittest.TestCase):\n    @patch('random.randint', side_effect=[3, 4])\n    def test_it(self, mock):\n        self.assertEqual(roll(), 7)\n        self.assertEqual(mock.call_count, 2)\n        mock.assert_called_with(1, 6)\n"}),
            Status::Passed,
        ),
        (
            json!({"code": "def plus(table):\n    table = table.copy()\n    table['c'] = table['a'] + 1\n    return table", "tests": ["import pandas as pd\nt = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})\npd.testing.assert_frame_equal(plus(t), t.assign(c=t.a + 1))"]}),
            Status::Passed,
        ),
        (
            json!({"code": "def say(): print('hello')", "test": "def test_say(capsys):\n    say()\n    assert capsys.readouterr().out == 'hello\\n'\n"}),
            Status::Passed,
        ),
    ];
    check(&cases);
}

#[test]
fn threads_and_event_loops() {
    let output = |code: &str, expected: &str| (json!({"code": code, "expected_stdout": expected}), Status::Passed);
    check(&[
        output(
            "import asyncio\nasync def g(x):\n    await asyncio.sleep(0.01)\n    return x\nasync def main():\n    print(await asyncio.gather(g(1), g(2)), await asyncio.to_thread(lambda: 3))\nasyncio.run(main())",
            "[1, 2] 3",
        ),
        output(
            "import threading\nr = []\nts = [threading.Thread(target=r.append, args=(i,)) for i in range(3)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nprint(r)",
            "[0, 1, 2]",
        ),
        output(
            "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\ndef f(n): return n and 1 + f(n - 1)\nthreading.Thread(target=lambda: print(f(20000))).start()",
            "20000",
        ),
        output(
            "import queue, threading\nq = queue.Queue()\ndef eat():\n    while True:\n        print(q.get())\n        q.task_done()\nthreading.Thread(target=eat, daemon=True).start()\nq.put(1)\nq.put(2)\nq.join()\nprint('all')",
            "1\n2\nall",
        ),
        output(
            "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n    print(list(pool.map(abs, [-1, 2])), pool.submit(max, 3, 4).result())",
            "[1, 2] 4",
        ),
        output(
            "from multiprocessing import Pool\ndef up(x): return x + 1\nif __name__ == '__main__':\n    with Pool(2) as pool:\n        print(pool.map(up, [1, 2]))",
            "[2, 3]",
        ),
        output(
            "import multiprocessing\ntry:\n    multiprocessing.Process(target=print).start()\nexcept OSError as e:\n    print('one process' in str(e))",
            "True",
        ),
        output(
            "import threading\nlock = threading.Lock()\nlock.acquire()\ntry:\n    lock.acquire()\nexcept RuntimeError as e:\n    print('deadlock' in str(e))",
            "True",
        ),
        output("from sortedcontainers import SortedList\nprint(*SortedList([3, 1, 2]))", "1 2 3"),
        output("try:\n    import no_such_package\nexcept ImportError as e:\n    print('caught')", "caught"),
        (
            json!({"code": "import sympy\nx = sympy.Symbol('x')\nprint(sympy.diff(x**2, x))", "expected_stdout": "2*x"}),
            Status::Passed,
        ),
        (
            json!({"code": "\u{feff}import io, os\nprint(int(os.read(0, os.fstat(0).st_size)) + 1)", "stdin": "41\n", "expected_stdout": "42"}),
            Status::Passed,
        ),
    ]);
    let pool = common::pool(3.0);
    let verdict = pool.run(&Job::python("a", "import no_such_package").without_tests()).unwrap();
    assert!(verdict.detail.as_deref().unwrap().ends_with("this sandbox has no package no_such_package"), "{verdict:?}");
}

#[test]
fn no_name_of_the_program_is_taken() {
    let code = "_ = 3\ndef h(x):\n    return 4 * x\ndef up(x):\n    return h(x) + _";
    check(&[
        (json!({"code": code, "tests": ["assert up(1) == 7", "assert up(2) == 11"]}), Status::Passed),
        (
            json!({"code": format!("{code}\nprint(up(int(input())))"), "stdin": "1", "expected_stdout": "7"}),
            Status::Passed,
        ),
    ]);
}

#[test]
fn figures_are_drawn_without_a_window() {
    let draw = "import matplotlib.pyplot as plt\ndef draw(xs):\n    figure, axes = plt.subplots()\n    axes.plot(xs)\n    axes.set_title('up')\n    return axes";
    let tests = json!([
        "axes = draw([1, 2])\nassert axes.get_title() == 'up'",
        "import matplotlib\nassert draw([3]).lines[0].get_ydata()[0] == 3"
    ]);
    let png = "import io\nimport matplotlib.pyplot as plt\nout = io.BytesIO()\nplt.figure().savefig(out)\nprint(out.getvalue()[1:4].decode())";
    check(&[
        (json!({"code": draw, "tests": tests}), Status::Passed),
        (json!({"code": draw.replace("'up'", "'down'"), "tests": tests}), Status::Failed),
        (json!({"code": png, "expected_stdout": "PNG"}), Status::Passed),
        (
            json!({"code": "import seaborn\nprint(len(seaborn.color_palette()))", "expected_stdout": "10"}),
            Status::Passed,
        ),
    ]);
}

#[test]
fn outputs_are_compared_by_rules_and_checkers() {
    let one = |more: Value| {
        let mut test = json!({"stdin": "3", "expected_stdout": "1\n2\n"});
        test.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"code": "print(2)\nprint(1.0001)", "tests": [test]})
    };
    let set = "def check(stdin, stdout, expected):\n    return sorted(map(round, map(float, stdout.split()))) == [1, 2], stdin";
    check(&[
        (one(json!({})), Status::Failed),
        (one(json!({"compare": "unordered_tokens", "atol": 0.001})), Status::Passed),
        (one(json!({"compare": "unordered_tokens", "atol": 0.00001})), Status::Failed),
        (one(json!({"checker": set})), Status::Passed),
        (one(json!({"checker": "def check(stdin, stdout, expected):\n    return False"})), Status::Failed),
        (one(json!({"checker": "def check(stdin, stdout, expected):\n    return 1"})), Status::Failed),
        (one(json!({"checker": "def check(stdin, stdout, expected):\n    while True: pass"})), Status::Failed),
        (json!({"code": "print(0.1 * 3)", "expected_stdout": "0.3", "atol": 1e-6}), Status::Passed),
        (json!({"code": "print('1.50', -0.0)", "expected_stdout": "1.5 0.0"}), Status::Passed),
        (json!({"code": "print('0.33')", "expected_stdout": "0.333333333333"}), Status::Failed),
    ]);
}
