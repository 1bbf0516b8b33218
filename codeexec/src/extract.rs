//! Finding the program in a model's answer.

use crate::languages::{self, Language};

/// The program in a chat answer.
///
/// Fenced blocks (three or more backticks or tildes, indented or not, closed or cut off) are looked at first: those marked
/// with the language or an alias of it, else those that are not marked as something else. Of several, the one that
/// defines `entry_point` is taken, the last such; without an entry point, or where none defines it, the longest. An answer
/// without a fence is taken whole, without the prose before and after what looks like code.
pub fn program(answer: &str, language: &str, entry_point: Option<&str>) -> String {
    let blocks = fenced(answer);
    if blocks.is_empty() {
        return bare(answer, language);
    }
    let marked: Vec<&Block> = blocks.iter().filter(|block| is_language(&block.mark, language)).collect();
    let unmarked: Vec<&Block> = blocks.iter().filter(|block| block.mark.is_empty()).collect();
    let candidates = [marked, unmarked].into_iter().find(|list| !list.is_empty());
    let candidates = candidates.unwrap_or_else(|| blocks.iter().collect());
    let defining = |block: &&&Block| entry_point.is_some_and(|name| defines(&block.text, name));
    let chosen = candidates.iter().rev().find(defining).or_else(|| candidates.iter().max_by_key(|b| b.text.len()));
    chosen.map(|block| block.text.clone()).unwrap_or_default()
}

struct Block {
    mark: String,
    text: String,
}

/// The fence that a line opens: its character, its length, its indentation and what follows it.
fn fence(line: &str) -> Option<(char, usize, usize, &str)> {
    let trimmed = line.trim_start();
    let character = trimmed.chars().next().filter(|c| *c == '`' || *c == '~')?;
    let length = trimmed.chars().take_while(|c| *c == character).count();
    let rest = trimmed[length..].trim();
    (length >= 3 && !rest.contains('`')).then_some((character, length, line.len() - trimmed.len(), rest))
}

/// The fenced blocks of a Markdown text (CommonMark, section 4.5); one that is not closed goes to the end.
fn fenced(answer: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(char, usize, usize, Block)> = None;
    for line in answer.lines() {
        match (&mut open, fence(line)) {
            (None, Some((character, length, indent, rest))) => {
                let mark = rest.split([' ', '{', ',']).next().unwrap_or("").to_lowercase();
                open = Some((character, length, indent, Block { mark, text: String::new() }));
            }
            (None, None) => {}
            (Some((character, length, ..)), Some((c, l, _, ""))) if c == *character && l >= *length => {
                blocks.extend(open.take().map(|(.., block)| block));
            }
            (Some((_, _, indent, block)), _) => {
                let blank = line.len() - line.trim_start().len();
                block.text.push_str(&line[blank.min(*indent)..]);
                block.text.push('\n');
            }
        }
    }
    blocks.extend(open.map(|(.., block)| block));
    blocks.retain(|block| !block.text.trim().is_empty());
    blocks
}

/// Whether a fence's mark names the language, or is another name of it.
fn is_language(mark: &str, language: &str) -> bool {
    let same = |known: &dyn Language| known.name() == mark || known.aliases().contains(&mark);
    mark == language || languages::find(language).is_some_and(same)
}

/// Whether a text has a definition of that name, in any of the languages' spellings.
fn defines(text: &str, name: &str) -> bool {
    let words = ["def", "class", "function", "const", "let", "var"];
    let starts = |rest: &str| rest.strip_prefix(name).is_some_and(|r| !r.starts_with(is_word));
    text.lines().any(|line| {
        // C and C++ begin with a type, at the margin.
        let typed = || {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], line[at + name.len()..].trim_start());
                line.starts_with(is_word)
                    && before.ends_with([' ', '*', '&'])
                    && after.starts_with('(')
                    && !after.contains(';')
            })
        };
        let line = line.trim_start().trim_start_matches("async ").trim_start_matches("export ");
        let after = words.iter().find_map(|word| line.strip_prefix(word)).map(str::trim_start);
        after.is_some_and(starts) || starts(line) && line[name.len()..].trim_start().starts_with('=') || typed()
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// An answer without a fence: from the first line that looks like code to the last.
fn bare(answer: &str, language: &str) -> String {
    if language != "python" {
        return answer.to_owned();
    }
    let starts = ["def ", "class ", "import ", "from ", "@", "async def ", "if __name__", "#!"];
    let lines: Vec<&str> = answer.lines().collect();
    let is_start = |line: &&str| {
        starts.iter().any(|start| line.starts_with(start)) && (!line.starts_with("from ") || line.contains(" import "))
    };
    let Some(first) = lines.iter().position(is_start) else { return answer.to_owned() };
    // Prose is a line at the margin that ends or reads like a sentence; code goes on over blank and indented lines.
    let is_prose = |line: &str| {
        let sentence = line.ends_with(['.', ':', '!', '?']) && line.split(' ').count() > 3;
        !line.starts_with([' ', '\t', '#', ')', ']', '}']) && sentence && !line.contains(['(', '=']) && !is_block(line)
    };
    let end = lines[first..].iter().position(|line| is_prose(line)).map_or(lines.len(), |n| first + n);
    lines[first..end].join("\n").trim_end().to_owned() + "\n"
}

/// Whether a line opens a block of Python.
fn is_block(line: &str) -> bool {
    let words = ["def ", "class ", "if ", "for ", "while ", "with ", "try:", "else:", "elif ", "except", "finally:"];
    line.ends_with(':') && words.iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_their_programs() {
        for (answer, entry_point, program_is) in [
            ("Sure!\n```python\nx = 1\n```\nDone.", None, "x = 1\n"),
            ("```\nx = 1\n```", None, "x = 1\n"),
            ("```py\nx = 1", None, "x = 1\n"),
            ("~~~python\nx = '```'\n~~~", None, "x = '```'\n"),
            ("````python\nx = '''\n```\n'''\n````", None, "x = '''\n```\n'''\n"),
            ("1. do\n   ```python\n   def f():\n       pass\n   ```\n", None, "def f():\n    pass\n"),
            ("```bash\npip install x\n```\n```python\nx = 1\n```", None, "x = 1\n"),
            (
                "```python\ndef g(): 1\n```\n```python\ndef f(): 2\n```\n```python\nprint(f())  # longer\n```",
                Some("f"),
                "def f(): 2\n",
            ),
            ("```python\ndef f(): bad\n```\nBetter:\n```python\ndef f(): good\n```", Some("f"), "def f(): good\n"),
            ("```text\n1 2 3\n```\n```\nx = 1\n```", None, "x = 1\n"),
            ("```python title=\"a.py\"\nx = 1\n```", None, "x = 1\n"),
            ("def f(x):\n    return x\n\nThis function returns its argument.", None, "def f(x):\n    return x\n"),
            ("Here is the code.\nimport os\ndef f():\n    return 1\n", None, "import os\ndef f():\n    return 1\n"),
            ("from what I see:\ndef f():\n    return 1\n", None, "def f():\n    return 1\n"),
            ("    return x + 1\n", None, "    return x + 1\n"),
            ("", None, ""),
        ] {
            assert_eq!(program(answer, "python", entry_point), program_is, "{answer:?}");
        }
        let answer = "```cpp\n#include <map>\n```\n```c++\nint f(int x) {\n    return g(x);\n}\n```\n```cpp\nint main() { return f(1) + f(2) + f(3); }\n```";
        assert_eq!(program(answer, "cpp", Some("f")), "int f(int x) {\n    return g(x);\n}\n");
        assert_eq!(program("```rb\nputs 1\n```\n```py\nlonger = 1\n```", "ruby", None), "puts 1\n");
        assert_eq!(program("```js\nlet a\n```\n```python\nb\n```", "javascript", None), "let a\n");
    }
}
