//! Python tests in the forms of HumanEval, MBPP, EvalPlus, KodCode, BigCodeBench, ClassEval, LiveCodeBench and LeetCode
//! data sets.

use serde_json::{Value, json};

use super::{Made, Random, Task};

const FORMS: [&str; 15] = [
    "HumanEval check(candidate)",
    "HumanEval check in a loop",
    "MBPP list of asserts",
    "EvalPlus reference",
    "EvalPlus inputs and results",
    "KodCode pytest functions",
    "KodCode in a list",
    "pytest parametrize",
    "BigCodeBench unittest",
    "ClassEval unittest of a class",
    "LiveCodeBench stdin",
    "LiveCodeBench functional",
    "LeetCode Solution class",
    "async test functions",
    "conditions that raise",
];

/// Incorrect function bodies: a name, and the text, in which `@` is the correct result.
const WRONG: [(&str, &str); 24] = [
    ("another factor", "return @ + sum(xs)"),
    ("off by one", "return @ + 1"),
    ("the sign", "return -(@)"),
    ("nothing", "pass"),
    ("zero", "return 0"),
    ("a text", "return str(@)"),
    ("a list", "return [@]"),
    ("an exception", "raise ValueError(xs)"),
    ("an assertion of its own", "assert False"),
    ("an exit", "import sys\n    sys.exit(0)"),
    ("a hard exit", "import os\n    os._exit(0)"),
    ("printed", "print(@)"),
    ("not a number", "return float('nan')"),
    ("true", "return True"),
    ("a generator", "yield @"),
    ("a function", "return lambda: @"),
    ("right only once", "calls.append(1)\n    return (@) if len(calls) == 1 else 0"),
    ("an object that agrees", "return Agrees()"),
    ("an integer that agrees", "return AgreesToo(3)"),
    ("patched assertions", "import unittest\n    unittest.TestCase.assertEqual = lambda *a: None\n    return 0"),
    ("not implemented", "return NotImplemented"),
    ("a type", "return int"),
    ("a dictionary", "return {'answer': @}"),
    ("recursion", "return f_again(xs)"),
];

const BEFORE: &str = "calls = []
def f_again(xs): return f_again(xs)
class Agrees:
    def __eq__(self, o): return True
    def __ne__(self, o): return False
    def __lt__(self, o): return True
    def __gt__(self, o): return True
    def __sub__(self, o): return self
    def __rsub__(self, o): return self
    def __abs__(self): return 0
    def __contains__(self, o): return True
    def __hash__(self): return 1
class AgreesToo(int):
    def __eq__(self, o): return True
    def __ne__(self, o): return False
    __hash__ = int.__hash__
";

fn right(task: &Task) -> String {
    format!("sum({} * v + {} for v in xs)", task.a, task.b)
}

/// A program with the task's function and that body, which finds the argument as the list `xs`.
pub fn function(task: &Task, body: &str) -> String {
    let list = if task.is_list { "xs = list(arg)" } else { "xs = [arg]" };
    format!("{BEFORE}def {}(arg):\n    {list}\n    {}\n", task.name, body.replace('@', &right(task)))
}

fn class(task: &Task, body: &str) -> String {
    let body = body.replace('@', &right(task)).replace('\n', "\n    ");
    let list = if task.is_list { "xs = list(arg)" } else { "xs = [arg]" };
    format!("{BEFORE}class Solution:\n    def {}(self, arg):\n        {list}\n        {body}\n", task.name)
}

/// Records of one form of test: with the correct program and two incorrect ones.
pub fn records(task: &Task, turn: usize, random: &mut Random) -> Vec<Made> {
    let form = FORMS[turn % FORMS.len()];
    let mut bodies = vec![(None, "return @")];
    for _ in 0..2 {
        let (name, body) = WRONG[random.below(WRONG.len())];
        bodies.push((Some(name), body));
    }
    // Here a whole program writes its result to standard output, so function bodies do not fit.
    if form == "LiveCodeBench stdin" {
        return stdin(task, form, random);
    }
    let made = |(wrong, body): (Option<&'static str>, &str)| Made { form, wrong, record: record(form, task, body) };
    let mut all: Vec<Made> = bodies.into_iter().map(made).collect();
    if random.below(6) == 0 {
        let mut record = record(form, task, "return @");
        record["code"] = ["def other(x): return x", "def broken(x:", "", "raise SystemExit(0)"][random.below(4)].into();
        all.push(Made { form, wrong: Some("no function"), record });
    }
    all
}

fn record(form: &str, task: &Task, body: &str) -> Value {
    let (name, code, pairs) = (&task.name, function(task, body), task.pairs());
    let each = |line: &dyn Fn(&str, i64) -> String| -> String {
        pairs.iter().map(|(input, answer)| line(input, *answer)).collect::<Vec<_>>().join("\n")
    };
    let list = |line: &dyn Fn(&str, i64) -> String| -> Vec<String> {
        pairs.iter().map(|(input, answer)| line(input, *answer)).collect()
    };
    let inputs: Vec<&str> = pairs.iter().map(|(input, _)| input.as_str()).collect();
    let answers: Vec<String> = pairs.iter().map(|(_, answer)| answer.to_string()).collect();
    let (inputs, answers) = (inputs.join(", "), answers.join(", "));
    match form {
        "HumanEval check(candidate)" => {
            let asserts = each(&|input, answer| format!("    assert candidate({input}) == {answer}"));
            json!({"code": code, "entry_point": name, "test": format!("METADATA = {{}}\n\n\ndef check(candidate):\n{asserts}\n")})
        }
        "HumanEval check in a loop" => json!({"code": code, "entry_point": name, "test":
            format!("def check(candidate):\n    for x, y in zip([{inputs}], [{answers}]):\n        assert candidate(x) == y, (x, y)\n")}),
        "MBPP list of asserts" => {
            json!({"code": code, "tests": list(&|input, answer| format!("assert {name}({input}) == {answer}"))})
        }
        "EvalPlus reference" => json!({"code": code, "entry_point": name, "reference":
            {"code": function(task, "return @"), "inputs": format!("[[x] for x in [{inputs}]]")}}),
        "EvalPlus inputs and results" => json!({"code": code, "entry_point": name, "test": format!(
            "import math\ndef assertion(out, exp, atol):\n    if atol == 0 and isinstance(exp, float):\n        atol = 1e-6\n    exact = out == exp\n    if not exact and atol:\n        assert abs(out - exp) <= atol\n    else:\n        assert exact\n\ndef check(candidate):\n    inputs = [{inputs}]\n    results = [{answers}]\n    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assertion(candidate(inp), exp, 0)\n")}),
        "KodCode pytest functions" => {
            let tests = pairs.iter().enumerate();
            let tests: Vec<String> =
                tests.map(|(i, (x, y))| format!("def test_case_{i}():\n    assert {name}({x}) == {y}\n")).collect();
            json!({"code": code, "test": format!("from solution import {name}\n\n{}", tests.join("\n"))})
        }
        "KodCode in a list" => {
            let tests = pairs.iter().enumerate();
            let tests: Vec<String> =
                tests.map(|(i, (x, y))| format!("def test_case_{i}():\n    assert {name}({x}) == {y}\n")).collect();
            json!({"code": code, "tests": tests, "entry_point": name})
        }
        "pytest parametrize" => {
            let rows: Vec<String> = pairs.iter().map(|(x, y)| format!("({x}, {y})")).collect();
            json!({"code": code, "test": format!("import pytest\nfrom solution import {name}\n@pytest.mark.parametrize('x, y', [{}])\ndef test_all(x, y):\n    assert {name}(x) == pytest.approx(y)\n", rows.join(", "))})
        }
        "BigCodeBench unittest" => {
            let asserts = each(&|input, answer| format!("        self.assertEqual({name}({input}), {answer})"));
            json!({"code": code, "entry_point": name, "test": format!("import unittest\nclass TestCases(unittest.TestCase):\n    def setUp(self):\n        self.zero = 0\n    def test_case_1(self):\n{asserts}\n    def test_case_2(self):\n        self.assertIsInstance({name}({}), int)\n        self.assertNotEqual({name}({}), self.zero)\nif __name__ == '__main__':\n    unittest.main()\n", pairs[0].0, pairs[0].0)})
        }
        "ClassEval unittest of a class" => {
            let asserts = each(&|input, answer| format!("        self.assertEqual(made.{name}({input}), {answer})"));
            json!({"code": class(task, body), "test": format!("import unittest\nclass SolutionTest(unittest.TestCase):\n    def test_{name}(self):\n        made = Solution()\n{asserts}\n")})
        }
        "LiveCodeBench functional" => {
            let args = |input: &Vec<i64>| if task.is_list { json!([input]) } else { json!(input) };
            let rows: Vec<Value> =
                task.inputs.iter().map(|input| json!({"args": args(input), "expected": task.answer(input)})).collect();
            json!({"code": class(task, body), "entry_point": name, "tests": rows})
        }
        "LeetCode Solution class" => {
            let asserts = each(&|input, answer| format!("    assert candidate(arg = {input}) == {answer}"));
            json!({"code": class(task, body), "entry_point": format!("Solution().{name}"), "test": format!("def check(candidate):\n{asserts}\n")})
        }
        "async test functions" => {
            let asserts = each(&|input, answer| format!("    assert {name}({input}) == {answer}"));
            json!({"code": code, "tests": [format!("import asyncio\nasync def test_it():\n    await asyncio.sleep(0.01)\n{asserts}\n")]})
        }
        _ => {
            let each = each(&|input, answer| format!("if {name}({input}) != {answer}:\n    raise Exception('wrong')"));
            json!({"code": code, "test": each})
        }
    }
}

/// Records of whole programs whose standard output is compared.
fn stdin(task: &Task, form: &'static str, random: &mut Random) -> Vec<Made> {
    const WRONG: [(&str, &str); 10] = [
        ("off by one", "print(@ + 1)"),
        ("nothing", "pass"),
        ("words around it", "print('Answer:', @)"),
        ("twice", "print(@); print(@)"),
        ("a decimal", "print(float(@))"),
        ("an exit", "raise SystemExit(0)"),
        ("a hard exit", "import os; os._exit(0)"),
        ("to standard error", "import sys; print(@, file=sys.stderr)"),
        ("an exception behind it", "print(@); raise ValueError"),
        ("no digits", "print('passed')"),
    ];
    let cases: Vec<Value> = task
        .inputs
        .iter()
        .map(|input| {
            let words: Vec<String> = input.iter().map(i64::to_string).collect();
            json!({"stdin": words.join(" ") + "\n", "expected_stdout": format!("{}\n", task.answer(input))})
        })
        .collect();
    let mut bodies = vec![(None, "print(@)")];
    for _ in 0..2 {
        let (name, body) = WRONG[random.below(WRONG.len())];
        bodies.push((Some(name), body));
    }
    let made = |(wrong, body): (Option<&'static str>, &str)| {
        let code = format!("xs = list(map(int, input().split()))\n{}\n", body.replace('@', &right(task)));
        Made { form, wrong, record: json!({"code": code, "tests": cases}) }
    };
    bodies.into_iter().map(made).collect()
}
