//! Tests that catch their own failure, judge nothing of the program, or switch their assertions off. An incorrect
//! program passes none of them; a correct one passes those that judge it.

use crate::common;

use codeexec::record::{Job, Status};
use codeexec::run::run_all;
use serde_json::{Value, json};

/// Runs records in one language and checks the status of each.
fn check(language: &str, cases: Vec<(Value, Status)>) {
    common::set_up_language(language);
    let pool = common::pool(3.0);
    let job = |value: &Value| {
        let mut value = value.clone();
        value["language"] = json!(language);
        Job::from_value(value).unwrap()
    };
    let jobs: Vec<Job> = cases.iter().map(|(value, _)| job(value)).collect();
    let faults: Vec<String> = cases
        .iter()
        .zip(run_all(&pool, 2, &jobs).unwrap())
        .filter(|((_, status), verdict)| verdict.status != *status)
        .map(|((value, status), verdict)| format!("{language}, {status:?} was expected: {value:#}\n{verdict:?}"))
        .collect();
    assert!(faults.is_empty(), "{} of {} disagree:\n{}", faults.len(), cases.len(), faults.join("\n\n"));
}

/// Records of one test, as `test` and as an entry of `tests`, with a correct program and with an incorrect one.
fn both(right: &str, wrong: &str, test: &str, of_wrong: Status) -> Vec<(Value, Status)> {
    let mut cases = Vec::new();
    for (code, status) in [(right, Status::Passed), (wrong, of_wrong)] {
        cases.push((json!({"code": code, "test": test}), status));
        cases.push((json!({"code": code, "tests": [test]}), status));
    }
    cases
}

/// Records of a test that judges nothing, as `test` and as an entry of `tests`: an error even for a correct program.
fn never(code: &str, test: &str) -> Vec<(Value, Status)> {
    vec![(json!({"code": code, "test": test}), Status::Error), (json!({"code": code, "tests": [test]}), Status::Error)]
}

#[test]
fn python() {
    let (right, wrong) = ("def up(x):\n    return x + 1", "def up(x):\n    return x - 1");
    let mut cases = Vec::new();
    for test in [
        "try:\n    assert up(1) == 2\nexcept AssertionError:\n    pass",
        "try:\n    assert up(1) == 2\nexcept AssertionError:\n    print('failed')",
        "try:\n    assert up(1) == 2\nexcept Exception as e:\n    print('FAIL', e)\nelse:\n    print('ok')",
        "try:\n    assert up(1) == 2\nexcept:\n    pass\nassert up(1) != 7",
        "for i in range(3):\n    try:\n        assert up(i) == i + 1\n    except AssertionError:\n        continue",
        "def test_a():\n    try:\n        assert up(1) == 2\n    except AssertionError as e:\n        print(e)\n",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        try:\n            self.assertEqual(up(1), 2)\n        except Exception:\n            pass\n",
        "try:\n    if up(1) != 2:\n        raise ValueError('wrong')\nexcept ValueError as e:\n    print(e)",
        "from contextlib import suppress\nwith suppress(AssertionError):\n    assert up(1) == 2",
        "import pytest\nwith pytest.raises(Exception):\n    up('a')\n    assert False\nassert up(1) == 2",
        "def assert_same(a, b):\n    if a != b:\n        raise AssertionError('not the same')\nassert_same(up(1), 2)",
        "import threading\ndef work():\n    assert up(1) == 2\nt = threading.Thread(target=work)\nt.start()\nt.join()",
    ] {
        cases.extend(both(right, wrong, test, Status::Failed));
    }
    // A failure is not swallowed if the handler, or an assertion after it, judges the program.
    for test in [
        "try:\n    assert up(1) == 9\nexcept AssertionError:\n    assert up(1) == 2",
        "try:\n    up('a')\n    assert False, 'no error'\nexcept TypeError:\n    pass\nassert up(1) == 2",
        "try:\n    up(None)\nexcept Exception:\n    pass\nassert up(1) == 2",
    ] {
        cases.extend(both(right, wrong, test, Status::Failed));
    }
    // An AssertionError that the program raises is a result, which the tests may catch.
    let strict = "def up(x):\n    assert x > 0, 'positive'\n    return x + 1";
    let test =
        "try:\n    up(-1)\n    raised = False\nexcept AssertionError:\n    raised = True\nassert raised and up(1) == 2";
    cases.extend(both(strict, right, test, Status::Failed));
    // A comparison of constants is evaluated: only a true one makes the assertion always true.
    let test = "assert up(1) == 2 or 1 == 2 or 3 in (4, 5) or 'a' > 'b' or None is not None or -1 < 3 < 2.5";
    cases.extend(both(right, wrong, test, Status::Failed));
    cases.extend(both(right, wrong, "assert up(1) == 2 or 1 < 'a'", Status::Error));
    for test in [
        "assert (up(1) == 2, 'wrong')",
        "x = up(1)\nassert not 1 == 2",
        "x = up(1)\nassert 'b' in 'abc' and -1 < 0 <= 0.5 and [1, None] != (1, None) and 1 is not None",
        "x = up(1)\nassert 2 + 2 == 4",
        "assert up(1) == 2 or 1 == 1.0",
        "def test_a():\n    assert (up(1) == 2, 'wrong')\n",
        "assert True",
        "assert 1 == 1",
        "assert not []",
        "import math\nassert math.pi > 3",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(True)\n",
        "def test_a():\n    assert 2 + 2 == 4\n",
        "def assert_same(a, b):\n    if a != b:\n        print('not the same')\nassert_same(up(1), 2)",
        "import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_a(self):\n        self.assertEqual(up(1), 2)\n",
    ] {
        cases.extend(never(wrong, test));
    }
    cases.extend([
        (
            json!({"code": right, "test": "import pytest\nwith pytest.raises(Exception):\n    assert up(1) == 3"}),
            Status::Failed,
        ),
        (
            json!({"code": wrong, "test": "import pytest\nwith pytest.raises(Exception):\n    assert up(1) == 2"}),
            Status::Failed,
        ),
    ]);
    // A reference solution without inputs compares nothing, which is an error.
    for (inputs, status) in [("[]", Status::Error), ("[[1]]", Status::Failed)] {
        let reference = json!({"code": right, "inputs": inputs});
        cases.push((json!({"code": wrong, "reference": reference, "entry_point": "up"}), status));
    }
    check("python", cases);
}

#[test]
fn javascript() {
    let (right, wrong) = ("function up(x) { return x + 1; }", "function up(x) { return x - 1; }");
    let mut cases = Vec::new();
    for test in [
        "try { if (up(1) !== 2) throw new Error('wrong'); } catch (e) { console.log(e.message); }",
        "try { if (up(1) !== 2) throw new Error('wrong'); } catch { }",
        "try { if (up(1) !== 2) throw 'wrong'; } catch (e) { console.log(e); }",
        "try { require('assert').strictEqual(up(1), 2); } catch (e) { }",
        "test('a', () => { try { if (up(1) !== 2) { throw new Error('wrong'); } } catch (e) { } });",
    ] {
        cases.extend(both(right, wrong, test, Status::Failed));
    }
    // Exceptions that the program throws are results, which tests may catch; a handler may rethrow.
    let strict = "function up(x) { if (x < 0) throw new RangeError('negative'); return x + 1; }";
    for test in [
        "let threw = false; try { up(-1); } catch (e) { threw = true; } console.assert(threw && up(1) === 2);",
        "try { up(-1); throw new Error('nothing was thrown'); } catch (e) { if (e.message !== 'negative') throw e; } console.assert(up(1) === 2);",
    ] {
        cases.extend(both(strict, right, test, Status::Failed));
    }
    for test in [
        "console.assert(true);",
        "require('assert').ok(1);",
        "expect(2 + 2).toBe(4);",
        "test('a', () => { expect(true).toBe(true); });",
    ] {
        cases.extend(never(wrong, test));
    }
    check("javascript", cases);
}

#[test]
fn php() {
    let (right, wrong) = ("function up($x) { return $x + 1; }", "function up($x) { return $x - 1; }");
    let mut cases = Vec::new();
    for test in [
        "try { if (up(1) !== 2) throw new Exception('wrong'); } catch (Exception $e) { echo $e->getMessage(); }",
        "try { if (up(1) !== 2) { throw new Exception('wrong'); } } catch (Exception) { }",
        "try { assert(up(1) === 2); } catch (Throwable $e) { }\nassert(up(1) !== 7);",
        "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { try { $this->assertSame(2, up(1)); } catch (Throwable $e) { } } }",
    ] {
        cases.extend(both(right, wrong, test, Status::Failed));
    }
    let strict = "function up($x) { if ($x < 0) throw new RangeException('negative'); return $x + 1; }";
    let test = "try { up(-1); throw new Exception('nothing was thrown'); } catch (RangeException $e) { }\nassert(up(1) === 2);";
    cases.extend(both(strict, right, test, Status::Failed));
    for test in [
        "assert(true);",
        "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { $this->assertTrue(true); } }",
        "ini_set('zend.assertions', 0); assert(up(1) === 2);",
        "ini_set('assert.exception', 0); assert(up(1) !== 2);",
    ] {
        cases.extend(never(wrong, test));
    }
    check("php", cases);
}

#[test]
fn ruby() {
    let (right, wrong) = ("def up(x) = x + 1", "def up(x) = x - 1");
    let mut cases = Vec::new();
    for test in [
        "begin\n  raise 'wrong' unless up(1) == 2\nrescue => e\n  puts e\nend",
        "assert_equal(2, up(1)) rescue nil",
        "begin\n  assert_equal(2, up(1))\nrescue StandardError\nend\nassert up(1) != 7",
        "class T < Minitest::Test\n  def test_one\n    assert_equal 2, up(1)\n  rescue StandardError\n    nil\n  end\nend",
    ] {
        cases.extend(both(right, wrong, test, Status::Failed));
    }
    let strict = "def up(x)\n  raise ArgumentError, 'negative' if x < 0\n  x + 1\nend";
    let test = "begin\n  up(-1)\n  raise 'nothing was raised'\nrescue ArgumentError => e\n  assert_equal 'negative', e.message\nend\nassert_equal 2, up(1)";
    cases.extend(both(strict, right, test, Status::Failed));
    for test in [
        "assert true",
        "assert_equal 4, 2 + 2",
        "class T < Minitest::Test\n  def test_one\n    assert true\n  end\nend",
    ] {
        cases.extend(never(wrong, test));
    }
    check("ruby", cases);
}

#[test]
fn c_and_cpp() {
    let (right, wrong) = ("int up(int x) { return x + 1; }", "int up(int x) { return x - 1; }");
    let whole = |code: &str, test: &str, status: Status| (json!({"code": code, "test": test}), status);
    for language in ["c", "cpp"] {
        let mut cases = Vec::new();
        // A comparison whose result `main` ignores judges nothing.
        let ignored = "int ok(void) { return up(1) == 2; }\nint main(void) { ok(); return 0; }";
        cases.extend([whole(right, ignored, Status::Error), whole(wrong, ignored, Status::Error)]);
        let used = "int ok(void) { return up(1) == 2; }\nint main(void) { return ok() ? 0 : 1; }";
        cases.extend([whole(right, used, Status::Passed), whole(wrong, used, Status::Failed)]);
        cases.push(whole(wrong, "#include <assert.h>\nint main(void) { assert(1); return 0; }", Status::Error));
        cases.push((json!({"code": wrong, "tests": ["assert(2 + 2 == 4);"]}), Status::Error));
        check(language, cases);
    }
}
