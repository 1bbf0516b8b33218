//! Separates programs from tests in the answers of a model that writes both.

use std::collections::BTreeSet;

use super::quoted::Block;
use super::text::{defines, words};
use super::{after_thinking, chosen, defined_name, marked, of_language, program};
use crate::languages;

/// A program and its tests; either is empty if the answers have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The program.
    pub program: String,
    /// The tests, as one source text.
    pub tests: String,
}

/// The newest program and the newest tests in a model's answers, which are given oldest first.
///
/// A code block is a block of tests if it asserts something and defines only test functions, test classes, or helpers
/// that the program does not have. A block with program and tests is split at its top-level statements. A block that
/// only demonstrates the program does not replace a program that defines something. Several blocks of tests in one
/// answer form one text; in C and C++, if more than one has a `main`, only the last one counts.
pub fn program_and_tests(answers: &[&str], language: &str, entry_point: Option<&str>) -> Parts {
    let language = languages::find(language).map_or(language, |known| known.name());
    let mut parts = Parts::default();
    for answer in answers {
        let newer = of_answer(answer, language, entry_point, &parts.program);
        if !newer.program.trim().is_empty()
            && worth(&newer.program, language, entry_point) >= worth(&parts.program, language, entry_point)
        {
            parts.program = newer.program;
        }
        if !newer.tests.trim().is_empty() {
            parts.tests = newer.tests;
        }
    }
    parts
}

/// Score of a text as the program, from 0 to 2: one point if it defines the entry point, and one if it defines anything
/// besides `main`.
fn worth(text: &str, language: &str, entry_point: Option<&str>) -> u32 {
    let names = defined(text, language);
    let (wanted, something) =
        (defines(text, entry_point.map(defined_name), language), names.iter().any(|name| *name != "main"));
    u32::from(wanted) + u32::from(something)
}

/// The program and the tests in one answer. `before` is the newest program of the earlier answers.
fn of_answer(answer: &str, language: &str, entry_point: Option<&str>, before: &str) -> Parts {
    let name = entry_point.map(defined_name);
    let mut blocks = marked(after_thinking(answer));
    if blocks.is_empty() {
        blocks.push(Block { mark: String::new(), text: program(answer, language, entry_point) });
    }
    let [of_mark, without] = of_language(&blocks, language);
    let (mut programs, mut whole, mut divided) = (Vec::new(), Vec::new(), Vec::new());
    let others: Vec<&Block> = if of_mark.is_empty() && without.is_empty() { blocks.iter().collect() } else { vec![] };
    for block in of_mark.into_iter().chain(without).chain(others) {
        let Parts { program, tests } = divide(&block.text, language, name, before);
        match (program.is_empty(), tests.is_empty()) {
            (true, false) => whole.push(tests),
            (false, false) => divided.push(tests),
            _ => {}
        }
        if !program.is_empty() {
            programs.push(Block { mark: block.mark.clone(), text: program });
        }
    }
    let all = if whole.is_empty() { divided } else { whole };
    // A C or C++ program cannot have two `main` functions: the last one is taken as the corrected one.
    let mains = all.iter().filter(|tests| words(tests).any(|word| word == "main")).count();
    let is_compiled = ["c", "cpp"].contains(&language);
    let tests = if is_compiled && mains > 1 { all.last().cloned().unwrap_or_default() } else { all.join("\n") };
    Parts { program: chosen(&programs, language, name), tests }
}

/// The kind of a top-level part of a code block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// An assertion, or a function or class of tests.
    Test,
    /// An import that only tests use.
    TestImport,
    /// An import that program and tests may both use.
    Import,
    /// A definition that is not a test.
    Definition,
    /// Anything else.
    Statement,
}

/// The program and the tests of one code block. `before` is the newest program of the earlier answers.
fn divide(text: &str, language: &str, name: Option<&str>, before: &str) -> Parts {
    let parts: Vec<(Part, String)> = parts(text, language)
        .into_iter()
        .map(|text| {
            let is_wanted = defines(&text, name, language);
            (if is_wanted { Part::Definition } else { part(&text, language) }, text)
        })
        .collect();
    let with = |kinds: &[Part]| {
        parts.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, text)| text.as_str()).collect::<String>()
    };
    if !parts.iter().any(|(kind, _)| *kind == Part::Test) {
        return Parts { program: text.to_owned(), tests: String::new() };
    }
    let definitions = with(&[Part::Definition]);
    let own = defined(&definitions, language);
    let has_no_program = own.is_empty() || !before.is_empty() && own.is_disjoint(&defined(before, language));
    if has_no_program && name.is_none_or(|name| !own.contains(name)) {
        return Parts { program: String::new(), tests: text.to_owned() };
    }
    // Statements before the last definition belong to the program; later ones prepare the tests.
    let last = parts.iter().rposition(|(kind, _)| *kind == Part::Definition).unwrap_or(0);
    let mut divided = Parts::default();
    for (at, (kind, text)) in parts.iter().enumerate() {
        let (to_program, to_tests) = match kind {
            Part::Test | Part::TestImport => (false, true),
            Part::Import => (true, true),
            Part::Definition => (true, false),
            Part::Statement => (at < last, at > last),
        };
        if to_program {
            divided.program += text;
        }
        if to_tests {
            divided.tests += text;
        }
    }
    divided
}

/// Splits a text into top-level parts. A part is a top-level line with the decorators and comments before it, and the
/// indented, closing and blank lines after it.
fn parts(text: &str, language: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let (mut is_open, mut is_pending) = (false, false);
    for line in text.lines() {
        let is_prefix = ["@", "#[", "//", "/*", " *"].iter().any(|mark| line.starts_with(mark))
            || line.starts_with('#') && ["python", "ruby"].contains(&language);
        let is_inner = is_open
            || line.trim().is_empty()
            || line.starts_with([' ', '\t', '}', ')', ']'])
            || is_closing(line, language);
        if parts.is_empty() || !is_inner && !is_pending {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            *last += line;
            last.push('\n');
        }
        is_pending = is_prefix && !is_open || is_pending && line.trim().is_empty();
        // A string over several lines may have unindented lines, which stay in its part.
        let marks: &[&str] = match language {
            "python" => &["\"\"\"", "'''"],
            "javascript" => &["`"],
            _ => &[],
        };
        if marks.iter().any(|mark| line.matches(mark).count() % 2 == 1) {
            is_open = !is_open;
        }
    }
    parts
}

/// Whether a top-level line continues the part before it.
fn is_closing(line: &str, language: &str) -> bool {
    let first = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    match language {
        "python" => ["else", "elif", "except", "finally"].contains(&first),
        "ruby" => ["end", "else", "elsif", "rescue", "ensure", "when"].contains(&first),
        "php" | "c" | "cpp" => line.starts_with('{') || first == "else",
        "javascript" => line.starts_with('{') || ["else", "catch", "finally"].contains(&first),
        _ => false,
    }
}

/// The kind of a part, from its first line of code and from words anywhere in it.
fn part(text: &str, language: &str) -> Part {
    let is_comment = |line: &&str| {
        let line = line.trim_start();
        ["//", "/*", "*", "@"].iter().any(|mark| line.starts_with(mark))
            || line.starts_with('#') && ["python", "ruby"].contains(&language)
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !is_comment(line));
    let first = lines.next().unwrap_or_default();
    let any = |marks: &[&str]| text.lines().any(|line| marks.iter().any(|mark| line.contains(mark)));
    let starts = |marks: &[&str]| marks.iter().any(|mark| first.starts_with(mark));
    let (is_import, is_of_tests) = match language {
        "python" => (starts(&["import ", "from "]), any(&["unittest", "pytest", "solution", "__main__"])),
        "javascript" => (
            starts(&["import ", "'use strict'", "\"use strict\""]) || first.contains("require("),
            any(&["assert", "node:test", "solution", "jest", "chai", "vitest"]),
        ),
        "php" => (
            starts(&["<?php", "?>", "use ", "require", "include", "declare", "namespace "]),
            any(&["PHPUnit", "solution", "autoload"]),
        ),
        "ruby" => (starts(&["require", "include "]), any(&["minitest", "test/unit", "solution"])),
        _ => (starts(&["#", "using "]), any(&["<assert.h>", "<cassert>"])),
    };
    if is_import {
        return if is_of_tests { Part::TestImport } else { Part::Import };
    }
    let asserts = match language {
        "python" => any(&["assert ", "assert(", "self.assert", "pytest.raises", "self.fail"]),
        "javascript" => any(&["assert(", "assert.", "expect(", "throw "]),
        "php" => any(&["assert", "throw "]),
        "ruby" => any(&["assert", "refute", "raise ", "raise("]),
        _ => any(&["assert(", "abort()"]),
    };
    if !defined(text, language).is_empty() {
        let is_test = match language {
            "python" => {
                starts(&["def test", "async def test", "def check("])
                    || starts(&["class "]) && (first.contains("TestCase") || first.starts_with("class Test"))
            }
            "javascript" => starts(&["function test", "async function test"]),
            "php" => starts(&["function test"]) || first.contains("extends TestCase") || first.contains("PHPUnit"),
            "ruby" => starts(&["def test"]) || first.contains("Minitest::") || first.contains("Test::Unit"),
            _ => {
                let name = words(first.split('(').next().unwrap_or_default()).last().unwrap_or_default();
                // A `main` that only calls test functions asserts nothing itself, so the word `test` counts too.
                name.starts_with("test") || name == "main" && (asserts || any(&["test", "return 1;", "exit(1)"]))
            }
        };
        return if is_test { Part::Test } else { Part::Definition };
    }
    let runs_tests = match language {
        "python" => any(&["unittest.main", "pytest.main"]) || starts(&["test", "check("]),
        "javascript" => starts(&["test(", "it(", "describe(", "test."]),
        _ => starts(&["test"]) && first.contains('('),
    };
    if asserts || runs_tests { Part::Test } else { Part::Statement }
}

/// Names of the functions and classes that a text defines at top level; variables and imports do not count.
fn defined<'a>(text: &'a str, language: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_alphabetic() || c == '_')) {
        let line = ["export ", "default ", "async ", "final ", "abstract ", "readonly ", "static ", "inline "]
            .iter()
            .fold(line, |line, word| line.trim_start_matches(word));
        let keywords: &[&str] = match language {
            "python" => &["def ", "class "],
            "ruby" => &["def self.", "def ", "class ", "module "],
            "php" => &["function ", "class ", "interface ", "trait ", "enum "],
            "javascript" => &["function ", "function* ", "class "],
            _ => &["struct ", "class ", "union ", "enum "],
        };
        let is_function = || ["=>", "function", "class "].iter().any(|mark| line.contains(mark));
        if let Some(rest) = keywords.iter().find_map(|word| line.strip_prefix(word)) {
            names.extend(words(rest).next());
        } else if language == "javascript" && is_function() {
            let value = ["const ", "let ", "var "].iter().find_map(|word| line.strip_prefix(word));
            names.extend(value.and_then(|rest| words(rest).next()));
        }
        if ["c", "cpp"].contains(&language)
            && let Some((before, _)) = line.split_once('(')
            && before.trim_end().contains([' ', '*', '&'])
            && !before.contains(['=', '"', ';'])
            && !before.starts_with("return ")
        {
            names.extend(words(before).last());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each language: a program, tests for it, and a demonstration of it.
    const TEXTS: [(&str, &str, &str, &str); 6] = [
        (
            "python",
            "import math\n\ndef up(x):\n    assert x < 99\n    return x + 1\n",
            "def test_up():\n    assert up(1) == 2\n",
            "for x in range(3):\n    print(up(x))\n",
        ),
        (
            "javascript",
            "const up = x => {\n  if (x > 99) throw new Error('large');\n  return x + 1;\n};\n",
            "const assert = require('assert');\nassert.strictEqual(up(1), 2);\n",
            "console.log(up(1));\n",
        ),
        (
            "php",
            "<?php\nfunction up($x) {\n  if ($x > 99) { throw new Exception('large'); }\n  return $x + 1;\n}\n",
            "<?php\nassert(up(1) === 2);\n",
            "<?php\necho up(1);\n",
        ),
        (
            "ruby",
            "require 'set'\n\ndef up(x)\n  raise 'large' if x > 99\n  x + 1\nend\n",
            "class UpTest < Minitest::Test\n  def test_up\n    assert_equal 2, up(1)\n  end\nend\n",
            "puts up(1)\n",
        ),
        (
            "c",
            "#include <stdlib.h>\n\nstatic int up(int x)\n{\n  if (x > 99) abort();\n  return x + 1;\n}\n",
            "#include <assert.h>\nint main(void) {\n  assert(up(1) == 2);\n  return 0;\n}\n",
            "#include <stdio.h>\nint main(void) { printf(\"%d\", up(1)); }\n",
        ),
        (
            "cpp",
            "#include <vector>\nstruct Up {\n  int by;\n};\nint up(int x) { return x + Up{1}.by; }\n",
            "#include <cassert>\nvoid test_up() { assert(up(1) == 2); }\nint main() { test_up(); }\n",
            "#include <iostream>\nint main() { std::cout << up(1); }\n",
        ),
    ];

    fn fenced(language: &str, text: &str) -> String {
        format!("Here it is:\n```{language}\n{text}```\n")
    }

    #[test]
    fn the_newest_program_and_the_newest_tests_in_every_language() {
        for (language, program, tests, use_of_it) in TEXTS {
            let first = fenced(language, program) + &fenced(language, use_of_it);
            let (second, third) = (fenced(language, tests), fenced("", use_of_it));
            let both = Parts { program: program.into(), tests: tests.into() };
            let found = |answers: &[&str]| program_and_tests(answers, language, Some("up"));
            assert_eq!(found(&[&first]), Parts { tests: String::new(), ..both.clone() }, "{language}");
            assert_eq!(found(&[&first, &second]), both, "{language}");
            assert_eq!(found(&[&first, &second, &third]), both, "a demonstration is not a program: {language}");
            // Without an entry point.
            let found = program_and_tests(&[&fenced(language, program), &second, &third], language, None);
            assert_eq!(found, both, "{language}");
            // Both in one answer, in separate blocks.
            let newer = (program.replace("+ 1", "+ 2").replace("{1}", "{2}"), tests.replace("up(1)", "up(0)"));
            let answer = fenced(language, &newer.0) + &fenced("", &newer.1);
            let found = program_and_tests(&[&first, &second, &answer], language, Some("up"));
            assert_eq!((found.program, found.tests), newer, "{language}");
        }
    }

    #[test]
    fn a_block_with_both_is_divided() {
        for (language, program, tests, _) in TEXTS {
            let tests = tests.trim_start_matches("<?php\n");
            let found = program_and_tests(&[&fenced(language, &format!("{program}\n{tests}"))], language, None);
            assert_eq!(found.program.trim_end(), program.trim_end(), "{language}");
            assert!(found.tests.ends_with(tests), "{language}: {}", found.tests);
            assert!(!found.tests.contains("99"), "{language}: {}", found.tests);
        }
    }

    #[test]
    fn helpers_of_tests_are_theirs() {
        let helper = "def near(a, b):\n    return abs(a - b) < 1e-6\n\nassert near(up(1), 2)\n";
        let answers = [fenced("python", TEXTS[0].1), fenced("python", helper)];
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let found = program_and_tests(&answers, "py", None);
        assert_eq!((found.program.as_str(), found.tests.as_str()), (TEXTS[0].1, helper));
        // A function with the entry point's name is never a test.
        let program = "def test_prime(n):\n    return all(n % k for k in range(2, n))\n";
        let found = program_and_tests(&[&fenced("python", program)], "python", Some("test_prime"));
        assert_eq!((found.program.as_str(), found.tests.as_str()), (program, ""));
        // Without a fence, and an empty answer.
        assert_eq!(program_and_tests(&[program, "assert test_prime(3)"], "python", None).tests, "assert test_prime(3)");
        assert_eq!(program_and_tests(&[""], "python", None), Parts::default());
    }

    #[test]
    fn several_blocks_of_tests_are_one_text() {
        let answer = fenced("python", "assert up(1) == 2\n") + &fenced("python", "assert up(2) == 3\n");
        let found = program_and_tests(&[&fenced("python", TEXTS[0].1), &answer], "python", None);
        assert_eq!(found.tests, "assert up(1) == 2\n\nassert up(2) == 3\n");
        let main = |n: u32| format!("int main() {{ assert(up({n}) == {}); }}\n", n + 1);
        let answer = fenced("c", &main(1)) + &fenced("c", &main(2));
        assert_eq!(program_and_tests(&[&fenced("c", TEXTS[4].1), &answer], "c", None).tests, main(2));
    }
}
