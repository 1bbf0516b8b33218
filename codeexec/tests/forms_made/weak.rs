//! Weak tests. Some swallow their own failure: the correct program passes them, and no incorrect program may. Others
//! judge nothing, so they would accept every program: none may pass them.
//!
//! In a test's text, `N` is the function's name, `I` and `O` are an argument and its result, `J` and `P` another pair.

use serde_json::json;

use super::{Made, Random, Task, others, python};

/// Tests that swallow their own failure, by language. A correct program passes them.
const SWALLOWING: &[(&str, &[&str])] = &[
    (
        "python",
        &[
            "try:\n    assert N(I) == O\nexcept AssertionError:\n    pass",
            "try:\n    assert N(I) == O\nexcept AssertionError:\n    print('failed')",
            "try:\n    assert N(I) == O\nexcept Exception as e:\n    print('FAIL', e)\nelse:\n    print('ok')",
            "try:\n    assert N(I) == O\nexcept:\n    pass\nassert O != 'x'",
            "for x, y in [(I, O), (J, P)]:\n    try:\n        assert N(x) == y\n    except AssertionError:\n        continue",
            "for x, y in [(I, O), (J, P)]:\n    try:\n        assert N(x) == y\n    finally:\n        continue",
            "def test_a():\n    try:\n        assert N(I) == O\n    except AssertionError as e:\n        print(e)\n",
            "def test_a():\n    try:\n        assert N(I) == O\n    finally:\n        return\n",
            "def check_all():\n    try:\n        assert N(I) == O\n    except AssertionError:\n        return False\n    return True\ncheck_all()",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        try:\n            self.assertEqual(N(I), O)\n        except Exception:\n            pass\n",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        for x, y in [(I, O), (J, P)]:\n            with self.subTest(x=x):\n                self.assertEqual(N(x), y)\n",
            "try:\n    if N(I) != O:\n        raise ValueError('wrong')\nexcept ValueError as e:\n    print(e)",
            "try:\n    if N(I) != O:\n        raise Exception('wrong')\nexcept Exception:\n    pass",
            "from contextlib import suppress\nwith suppress(AssertionError):\n    assert N(I) == O",
            "import contextlib\nwith contextlib.suppress(Exception):\n    assert N(I) == O",
            "class Quiet:\n    def __enter__(self):\n        return self\n    def __exit__(self, *error):\n        return True\nwith Quiet():\n    assert N(I) == O",
            "from contextlib import contextmanager\n@contextmanager\ndef quiet():\n    try:\n        yield\n    except Exception as e:\n        print(e)\nwith quiet():\n    assert N(I) == O",
            "def safe(f):\n    def run():\n        try:\n            f()\n        except Exception as e:\n            print(e)\n    return run\n@safe\ndef check_it():\n    assert N(I) == O\ncheck_it()",
            "import pytest\nwith pytest.raises(Exception):\n    N('a')\n    assert False\nassert N(I) == O",
            "def assert_same(a, b):\n    if a != b:\n        raise AssertionError('not the same')\nassert_same(N(I), O)",
            "import threading\ndef work():\n    assert N(I) == O\nt = threading.Thread(target=work)\nt.start()\nt.join()",
            "from concurrent.futures import ThreadPoolExecutor\ndef work():\n    assert N(I) == O\nwith ThreadPoolExecutor() as pool:\n    pool.submit(work)",
            "import asyncio\nasync def work():\n    assert N(I) == O\nasync def main():\n    await asyncio.gather(work(), return_exceptions=True)\nasyncio.run(main())",
            "results = []\ntry:\n    assert N(I) == O\n    results.append(True)\nexcept AssertionError:\n    results.append(False)\nassert len(results) == 1",
            "while True:\n    try:\n        assert N(I) == O\n        break\n    except AssertionError:\n        break",
        ],
    ),
    (
        "javascript",
        &[
            "try { if (N(I) !== O) throw new Error('wrong'); } catch (e) { console.log(e.message); }",
            "try { if (N(I) !== O) throw new Error('wrong'); } catch { }",
            "try { if (N(I) !== O) throw 'wrong'; } catch (e) { console.log(e); }",
            "try { require('assert').strictEqual(N(I), O); } catch (e) { }",
            "test('a', () => { try { if (N(I) !== O) { throw new Error('wrong'); } } catch (e) { } });",
            "test('a', () => { try { assert.strictEqual(N(I), O); } catch (e) { console.log(e.message); } });",
            "function check() {\n  try {\n    if (N(I) !== O) throw new Error('wrong');\n  } finally {\n    return;\n  }\n}\ncheck();",
            "Promise.resolve().then(() => { if (N(I) !== O) throw new Error('wrong'); }).catch(e => console.log(e.message));",
            "for (const [x, y] of [[I, O], [J, P]]) {\n  try {\n    if (N(x) !== y) throw new Error('wrong');\n  } catch (e) {\n    continue;\n  }\n}",
        ],
    ),
    (
        "php",
        &[
            "try { if (N(I) !== O) throw new Exception('wrong'); } catch (Exception $e) { echo $e->getMessage(); }",
            "try { if (N(I) !== O) { throw new Exception('wrong'); } } catch (Throwable) { }",
            "try { assert(N(I) === O); } catch (Throwable $e) { }",
            "try { assert(N(I) === O); } catch (AssertionError $e) { echo 'failed'; }",
            "function check_it() {\n  try {\n    assert(N(I) === O);\n  } finally {\n    return;\n  }\n}\ncheck_it();",
            "foreach ([[I, O], [J, P]] as [$x, $y]) {\n  try {\n    assert(N($x) === $y);\n  } catch (Throwable $e) {\n    continue;\n  }\n}",
            "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { try { $this->assertSame(O, N(I)); } catch (Throwable $e) { } } }",
        ],
    ),
    (
        "ruby",
        &[
            "begin\n  raise 'wrong' unless N(I) == O\nrescue => e\n  puts e\nend",
            "assert_equal(O, N(I)) rescue nil",
            "begin\n  assert_equal(O, N(I))\nrescue StandardError\nend",
            "[[I, O], [J, P]].each do |x, y|\n  begin\n    assert_equal y, N(x)\n  rescue StandardError => e\n    puts e.message\n  end\nend",
            "def check_it\n  assert_equal O, N(I)\nensure\n  return\nend\ncheck_it",
            "class T < Minitest::Test\n  def test_one\n    assert_equal O, N(I)\n  rescue StandardError\n    nil\n  end\nend",
        ],
    ),
    (
        "c",
        &[
            "int ok(void) { return N(I) == O; }\nint main(void) { return ok() ? 0 : 1; }",
            "#include <assert.h>\nint main(void) { assert(N(I) == O || N(I) == O); return 0; }",
        ],
    ),
];

/// Tests that judge nothing, by language. No program passes them.
const IDLE: &[(&str, &[&str])] = &[
    (
        "python",
        &[
            "r = N(I)\nassert True",
            "N(I)\nassert 1 == 1",
            "r = N(I)\nassert not []",
            "assert N(I) == N(I)",
            "assert N(I) == O or True",
            "r = N(I)\nassert r == O or 'wrong'",
            "assert (N(I) == O, 'wrong')",
            "assert [N(I) == O]",
            "assert [N(x) == y for x, y in [(I, O), (J, P)]]",
            "assert (N(x) == y for x, y in [(I, O), (J, P)])",
            "assert lambda: N(I) == O",
            "assert f'{N(I) == O}'",
            "assert 'N(I) == O'",
            "assert (N(I) == O) is not None",
            "assert isinstance(N(I) == O, bool)",
            "assert str(N(I) == O)",
            "assert (N(I) == O) in (True, False)",
            "assert N(I), O",
            "assert N",
            "assert callable(N)",
            "assert N is not None",
            "assert all(N(x) == y for x, y in [])",
            "for x, y in []:\n    assert N(x) == y",
            "print(N(I) == O)",
            "result = N(I) == O",
            "def N(x):\n    return O\nassert N(I) == O",
            "N = lambda x: O\nassert N(I) == O",
            "from unittest.mock import MagicMock\nN = MagicMock(return_value=O)\nassert N(I) == O",
            "from unittest.mock import MagicMock\nassert_equal = MagicMock()\nassert_equal(N(I), O)",
            "assert_equal = lambda a, b: a == b\nassert_equal(N(I), O)",
            "if False:\n    raise ValueError\nN(I)",
            "if N(I) == O:\n    print('ok')\nelse:\n    print('wrong')",
            "def test_a():\n    return N(I) == O\n",
            "def test_a():\n    assert (N(I) == O, 'wrong')\n",
            "async def check_it():\n    assert N(I) == O\ncheck_it()",
            "def check_it(x, y):\n    assert N(x) == y\nmap(check_it, [I], [O])",
            "try:\n    N(I)\nexcept Exception:\n    pass",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        N(I)\n        self.assertTrue(True)\n",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(N(I), N(I))\n",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(N(I), O)\n",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertIsNotNone(N(I) == O)\n",
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        N(I)\n        self.assertEqual(2, 2)\n",
            "import unittest\nclass T(unittest.TestCase):\n    @unittest.expectedFailure\n    def test_a(self):\n        self.assertEqual(N(I), O)\n",
            "import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('later')\n    def test_a(self):\n        self.assertEqual(N(I), O)\n",
            "import pytest\n@pytest.mark.skip\ndef test_a():\n    assert N(I) == O\n",
        ],
    ),
    (
        "javascript",
        &[
            "N(I); console.assert(true);",
            "N(I);\nconsole.assert(true);",
            "N(I);\nrequire('assert').ok(1);",
            "assert.strictEqual(N(I), N(I));",
            "console.assert(N(I) === O || true);",
            "assert([N(I) === O]);",
            "assert(() => N(I) === O);",
            "assert('N(I) === O');",
            "expect(N(I));",
            "console.log(N(I) === O);",
            "test('a', () => N(I) === O);",
            "test('a', () => { N(I);\nexpect(true).toBe(true); });",
            "test('a', () => {\n  expect(N(I)).toEqual(N(I));\n});",
            "test.skip('a', () => { assert.strictEqual(N(I), O); });",
            "[].forEach(x => assert.strictEqual(N(x), O));",
            "if (N(I) === O) { console.log('ok'); } else { console.log('wrong'); }",
        ],
    ),
    (
        "php",
        &[
            "N(I); assert(true);",
            "assert(N(I) === O || true);",
            "assert([N(I) === O]);",
            "echo N(I) === O;",
            "$r = N(I) === O;",
            "ini_set('zend.assertions', 0); assert(N(I) === O);",
            "foreach ([] as $x) { assert(N($x) === O); }",
            "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { N(I); $this->assertTrue(true); } }",
            "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { $this->assertSame(N(I), N(I)); } }",
            "use PHPUnit\\Framework\\TestCase;\nclass T extends TestCase { function testOne() { $this->assertEquals(N(I), N(I)); $this->assertSame(2, 2); } }",
        ],
    ),
    (
        "ruby",
        &[
            "N(I)\nassert true",
            "assert N(I) == O || true",
            "assert [N(I) == O]",
            "assert_equal N(I), N(I)",
            "N(I)\nassert_equal 4, 2 + 2",
            "puts N(I) == O",
            "[].each { |x| assert_equal O, N(x) }",
            "class T < Minitest::Test\n  def test_one\n    N(I)\n    assert true\n  end\nend",
            "class T < Minitest::Test\n  def test_one\n    N(I) == O\n  end\nend",
        ],
    ),
    (
        "c",
        &[
            "int ok(void) { return N(I) == O; }\nint main(void) { ok(); return 0; }",
            "#include <assert.h>\nint main(void) { N(I); assert(1); return 0; }",
            "#include <assert.h>\nint main(void) { assert(N(I) == O || 1); return 0; }",
            "#include <assert.h>\nint main(void) { assert(N(I) == N(I)); return 0; }",
            "#include <assert.h>\nint main(void) { assert(\"N(I) == O\"); return 0; }",
            "#include <stdio.h>\nint main(void) { if (N(I) == O) printf(\"ok\"); else printf(\"wrong\"); return 0; }",
        ],
    ),
];

/// Function bodies that are wrong for every argument: a name, and the text, in which `@` is the correct result.
fn wrong(language: &str) -> &'static [(&'static str, &'static str)] {
    match language {
        "python" => &[
            ("off by one", "return @ + 1"),
            ("nothing", "pass"),
            ("a text", "return str(@)"),
            ("a list", "return [@]"),
            ("an exception", "raise ValueError(xs)"),
            ("an assertion of its own", "assert False"),
            ("an exit", "import sys\n    sys.exit(0)"),
            ("printed", "print(@)"),
            ("an object that agrees", "return Agrees()"),
        ],
        "javascript" => &[
            ("off by one", "return @ + 1"),
            ("nothing", ""),
            ("a text", "return String(@)"),
            ("an exception", "throw new Error('bad')"),
            ("an exit", "process.exit(0)"),
            ("printed", "console.log(@)"),
        ],
        "php" => &[
            ("off by one", "return @ + 1;"),
            ("nothing", ""),
            ("an exception", "throw new Exception('bad');"),
            ("an exit", "exit(0);"),
            ("an error", "return undefined_function(@);"),
        ],
        "ruby" => &[
            ("off by one", "@ + 1"),
            ("nothing", "nil"),
            ("a text", "(@).to_s"),
            ("an exception", "raise 'bad'"),
            ("an exit", "exit(0)"),
        ],
        _ => &[("off by one", "return @ + 1;"), ("a trap", "__builtin_trap();"), ("an exit", "exit(0);")],
    }
}

/// The tests of a language in a table; C++ has those of C.
fn of<'a>(table: &'a [(&str, &'a [&'a str])], language: &str) -> &'a [&'a str] {
    let language = if language == "cpp" { "c" } else { language };
    table.iter().find(|row| row.0 == language).map_or(&[], |row| row.1)
}

/// The number of weak tests of a language.
pub fn count(language: &str) -> usize {
    of(SWALLOWING, language).len() + of(IDLE, language).len()
}

/// Records of one weak test, as `test` and as an entry of `tests`, with a correct and an incorrect program.
pub fn records(language: &'static str, task: &Task, turn: usize, random: &mut Random) -> Vec<Made> {
    let task = &others::simplified(language, task);
    let (swallowing, idle) = (of(SWALLOWING, language), of(IDLE, language));
    let at = turn % (swallowing.len() + idle.len());
    let (form, text) = match swallowing.get(at) {
        Some(text) => ("swallows its failure", *text),
        None => ("judges nothing", idle[at - swallowing.len()]),
    };
    let pairs = task.pairs();
    let ((first, answer), (second, other)) = (&pairs[0], &pairs[1]);
    let text: String = words(text)
        .map(|word| match word {
            "N" => task.name.clone(),
            "I" => first.clone(),
            "O" => answer.to_string(),
            "J" => second.clone(),
            "P" => other.to_string(),
            word => word.to_owned(),
        })
        .collect();
    let (name, body) = {
        let all = wrong(language);
        all[random.below(all.len())]
    };
    let right = match language {
        "python" | "javascript" => "return @",
        "ruby" => "@",
        _ => "return @;",
    };
    let mut all = Vec::new();
    for (body, wrong) in [(right, None), (body, Some(name))] {
        let code = match language {
            "python" => python::function(task, body),
            _ => others::program(language, task, body),
        };
        // With tests that judge nothing, even the correct program must not pass.
        let wrong = if form == "judges nothing" { Some(wrong.unwrap_or("right, and not judged")) } else { wrong };
        all.push(Made { form, wrong, record: json!({"code": code, "test": text}) });
        // In C and C++ the test is a whole program, which cannot be an entry of `tests`.
        if !["c", "cpp"].contains(&language) {
            all.push(Made { form, wrong, record: json!({"code": code, "tests": [text]}) });
        }
    }
    all
}

/// Splits a text into words and the text between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        Some(word)
    })
}
