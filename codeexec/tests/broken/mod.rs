//! Breaks canonical solutions in four ways, which the tests must detect. For benchmarks with tests but without
//! solutions, makes programs that look up the expected answers.

use std::collections::BTreeMap;

use codeexec::record::Job;
use codeexec::suite::Task;
use serde_json::{Value, json};

/// How a program is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Returns no value.
    None,
    /// Returns a value close to the correct one, such as the number plus 1.
    OffByOne,
    /// Never returns.
    Loop,
    /// Raises an exception.
    Raise,
}

/// The task's job with a broken program; `None` if this module cannot break the program.
pub fn broken(task: &Task, how: Broken) -> Option<Job> {
    let mut job = task.job.clone();
    job.code = match job.language.as_str() {
        "python" => python(&job, how),
        "javascript" | "js" => javascript(&job, how)?,
        "php" => php(&job, how)?,
        "ruby" => ruby(&job, how)?,
        "cpp" => cpp(&task.prompt, &job, how)?,
        _ => return None,
    };
    if how == Broken::Loop {
        job.timeout = Some(0.1);
    }
    Some(job)
}

fn python(job: &Job, how: Broken) -> String {
    let body = match how {
        Broken::None => "    return None",
        Broken::Loop => "    while True: pass",
        Broken::Raise => "    raise ValueError('broken')",
        Broken::OffByOne => {
            "    r = _right(*args, **kwargs)
    if isinstance(r, bool): return not r
    if isinstance(r, (int, float, complex)): return r + 1
    if isinstance(r, str): return r + 'x'
    if isinstance(r, (list, tuple)): return r + type(r)([12345])
    if isinstance(r, set): return r | {12345}
    if isinstance(r, dict): return {**r, 12345: 12345}
    return 12345"
        }
    };
    // Without an entry point, breaks the functions that the tests call. Helpers stay intact, since faults in two
    // functions could cancel each other.
    let names = match &job.entry_point {
        Some(name) => format!("['{name}']"),
        None => format!(
            "[n for n, v in list(globals().items()) if getattr(v, '__module__', '') == '__main__' and n + '(' in {}]",
            json!(job.tests.iter().filter_map(Value::as_str).collect::<String>())
        ),
    };
    let body = body.replace("\n    ", "\n      ").replacen("    ", "      ", 1);
    format!(
        "{}\n\ndef _break(_right):\n  def _broken(*args, **kwargs):\n{body}\n  return _broken\nfor _n in {names}:\n  globals()[_n] = _break(globals()[_n])\n",
        job.code
    )
}

/// Breaks the function that the tests call: the entry point, or else the last `const` of the program.
fn javascript(job: &Job, how: Broken) -> Option<String> {
    let name = match &job.entry_point {
        Some(name) => name.clone(),
        None => {
            job.code.lines().rev().find_map(|line| line.strip_prefix("const ")?.split([' ', '=']).next())?.to_owned()
        }
    };
    let body = match how {
        Broken::None => "return undefined",
        Broken::Loop => "for (;;) {}",
        Broken::Raise => "throw new RangeError('broken')",
        Broken::OffByOne => {
            "const r = right(...args); if (typeof r === 'boolean') return !r; if (typeof r === 'number') return r + 1;
             if (typeof r === 'string') return r + 'x'; if (Array.isArray(r)) return [...r, 12345]; return 12345"
        }
    };
    let code = job.code.replace(&format!("const {name} ="), &format!("let {name} ="));
    Some(format!("{code}\n{name} = (right => (...args) => {{ {body} }})({name});\n"))
}

fn php(job: &Job, how: Broken) -> Option<String> {
    let name = job.entry_point.as_ref()?;
    let body = match how {
        Broken::None => "return null;",
        Broken::Loop => "while (true) {}",
        Broken::Raise => "throw new RangeException('broken');",
        Broken::OffByOne => {
            "$r = right_one(...$args); if (is_bool($r)) return !$r; if (is_int($r) || is_float($r)) return $r + 1;
             if (is_string($r)) return $r . 'x'; if (is_array($r)) return [...array_values($r), 12345]; return 12345;"
        }
    };
    let code = job.code.replacen(&format!("function {name}("), "function right_one(", 1);
    Some(format!("{code}\nfunction {name}(...$args) {{ {body} }}\n"))
}

fn ruby(job: &Job, how: Broken) -> Option<String> {
    let name = job.entry_point.as_ref()?;
    let body = match how {
        Broken::None => "nil",
        Broken::Loop => "loop {}",
        Broken::Raise => "raise RangeError, 'broken'",
        Broken::OffByOne => {
            "r = right_one(*args)
  case r
  when true, false then !r
  when Numeric then r + 1
  when String then r + 'x'
  when Array then r + [12345]
  else 12345
  end"
        }
    };
    Some(format!("{}\nalias right_one {name}\ndef {name}(*args)\n  {body}\nend\n", job.code))
}

/// Breaks the function whose signature is the last line of the prompt.
fn cpp(prompt: &str, job: &Job, how: Broken) -> Option<String> {
    let signature = prompt.trim_end().lines().last()?.trim_end_matches('{').trim();
    let (head, parameters) = signature.split_once('(')?;
    let (kind, name) = head.rsplit_once([' ', '>'])?;
    let kind = &head[..kind.len() + usize::from(head.as_bytes().get(kind.len()) == Some(&b'>'))];
    let body = match how {
        Broken::None => "return {};".to_owned(),
        Broken::Loop => "volatile int i = 0; for (;;) i = i + 1;".to_owned(),
        Broken::Raise => "abort();".to_owned(),
        Broken::OffByOne => {
            let mut names = Vec::new();
            let (mut depth, mut start) = (0, 0);
            let inside = parameters.rsplit_once(')')?.0;
            for (i, c) in inside.char_indices().chain([(inside.len(), ',')]) {
                match c {
                    '<' | '(' => depth += 1,
                    '>' | ')' => depth -= 1,
                    ',' if depth == 0 => {
                        let one = inside[start..i].split('=').next()?.trim();
                        names.extend(one.rsplit([' ', '&', '*', '>']).next().filter(|name| !name.is_empty()));
                        start = i + 1;
                    }
                    _ => {}
                }
            }
            format!("return codeexec_off(right_one({}));", names.join(", "))
        }
    };
    let help = "inline bool codeexec_off(bool r) { return !r; }
inline std::string codeexec_off(std::string r) { return r + \"x\"; }
template <class T> std::vector<T> codeexec_off(std::vector<T> r) { r.push_back(T()); return r; }
template <class K, class V> std::map<K, V> codeexec_off(std::map<K, V> r) { r[K()] += 1; return r; }
template <class T> T codeexec_off(T r) { return r + 1; }";
    let code = job.code.replace(&format!("{name}("), "right_one(");
    Some(format!(
        "{code}\n#include <map>\n#include <string>\n#include <vector>\n#include <stdlib.h>\n{help}\n{kind} {name}({parameters} {{ {body} }}\n"
    ))
}

/// A job with a program that looks up the answers that its tests expect, for mxeval's JavaScript, PHP and Ruby files.
/// Their tests name arguments `argIJ`, calls `xI` and expected answers `vI`.
pub fn oracle(task: &Task) -> Option<Job> {
    let mut job = task.job.clone();
    let name = job.entry_point.clone()?;
    let (sign, var) = match job.language.as_str() {
        "php" => ("$", ""),
        "javascript" => ("", "var "),
        _ => ("", ""),
    };
    let (mut args, mut answers) = (BTreeMap::<String, String>::new(), Vec::new());
    let mut calls = BTreeMap::<String, String>::new();
    for line in job.test.as_deref()?.lines() {
        let Some(rest) = line.strip_prefix(var).and_then(|line| line.strip_prefix(sign)) else { continue };
        let Some((left, right)) = rest.split_once(" = ") else { continue };
        let right = right.trim_end().trim_end_matches(';').to_owned();
        if left.starts_with("arg") {
            args.insert(left.to_owned(), right);
        } else if let Some(number) = left.strip_prefix('x') {
            let inside = right.split_once('(')?.1.strip_suffix(')')?;
            let names = inside.split(", ").filter(|name| !name.is_empty());
            let list: Option<Vec<&str>> =
                names.map(|name| args.get(name.trim_start_matches(sign)).map(String::as_str)).collect();
            calls.insert(number.to_owned(), format!("[{}]", list?.join(", ")));
        } else if let Some(number) = left.strip_prefix('v') {
            answers.push((calls.get(number)?.clone(), right));
        }
    }
    let lines = |form: &dyn Fn(&str, &str) -> String| -> String {
        answers.iter().map(|(call, answer)| form(call, answer) + "\n").collect()
    };
    // PHP and Ruby distinguish 3.0 from 3, so a call whose arguments have the same types is looked up first.
    job.code = match job.language.as_str() {
        "php" => format!(
            "<?php\nfunction {name}(...$args) {{\n{}{}}}\n",
            lines(&|call, answer| format!("if ($args === {call}) return {answer};")),
            lines(&|call, answer| format!("if ($args == {call}) return {answer};"))
        ),
        "javascript" => format!(
            "function {name}(...args) {{\n{}}}\n",
            lines(&|call, answer| format!("if (require('lodash').isEqual(args, {call})) return {answer};"))
        ),
        _ => format!(
            "def {name}(*args)\n{}{}end\n",
            lines(&|call, answer| format!("return {answer} if args.eql?({call})")),
            lines(&|call, answer| format!("return {answer} if args == {call}"))
        ),
    };
    Some(job)
}
