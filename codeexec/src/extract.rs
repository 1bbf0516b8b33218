//! Extracts the program from a model's chat answer.

mod quoted;
mod tests_of;
mod text;

use std::collections::BTreeSet;

use self::quoted::{Block, fenced, inline, tagged};
use self::text::{bare, defines, definitions, is_start, is_word, looks_like_code, only_defines, words};
use crate::languages::{self, Language};

pub use tests_of::{Parts, program_and_tests};

/// The program in a chat answer.
///
/// 1. The reasoning before the answer is removed.
/// 2. The fenced code blocks are collected: three or more backticks or tildes, indented or not, closed, truncated, or
///    opened by the prompt. Blocks marked with the language or an alias are preferred to blocks without a mark.
/// 3. The last block that defines `entry_point` is chosen; without an entry point, or if no block defines it, the
///    longest.
/// 4. If the chosen block uses names that it does not define, the blocks that define them are put before it.
///
/// An answer without a fence may have its program between other marks, such as `[PYTHON]`, or in inline code. Otherwise
/// the whole answer is used, without the prose before and after the lines that look like code.
pub fn program(answer: &str, language: &str, entry_point: Option<&str>) -> String {
    let language = languages::find(language).map_or(language, |known| known.name());
    let answer = after_thinking(answer);
    let name = entry_point.map(defined_name);
    let opened;
    let answer = if continues_a_fence(answer, language) {
        opened = format!("```\n{answer}");
        &opened
    } else {
        answer
    };
    let blocks = marked(answer);
    if blocks.is_empty() {
        let found = inline(answer, |text| looks_like_code(text, language), |text| defines(text, name, language));
        return found.unwrap_or_else(|| bare(answer, language));
    }
    chosen(&blocks, language, name)
}

/// The name that a program must define for an entry point: `Solution` for `Solution().twoSum`.
fn defined_name(entry_point: &str) -> &str {
    let name = entry_point.trim_start_matches("new ");
    name.split(|c| !is_word(c)).next().unwrap_or(name)
}

/// The code blocks of an answer: fenced, or else between tags; empty if the answer has neither.
fn marked(answer: &str) -> Vec<Block> {
    let blocks = fenced(answer);
    if blocks.is_empty() { tagged(answer) } else { blocks }
}

/// Two lists of blocks that may hold code of the language: blocks marked with it, and blocks without a mark.
fn of_language<'a>(blocks: &'a [Block], language: &str) -> [Vec<&'a Block>; 2] {
    let with = |wanted: &dyn Fn(&Block) -> bool| blocks.iter().filter(|block| wanted(block)).collect();
    [with(&|block| is_language(&block.mark, language)), with(&|block| block.mark.is_empty())]
}

/// The program among the blocks of an answer, with its helpers.
fn chosen(blocks: &[Block], language: &str, name: Option<&str>) -> String {
    // Blocks without a mark are used only if no marked block defines the wanted name, or if no block is marked.
    let lists = of_language(blocks, language);
    let wanted = lists.iter().find(|list| list.iter().any(|block| defines(&block.text, name, language)));
    let candidates = wanted.or_else(|| lists.iter().find(|list| !list.is_empty())).cloned();
    let candidates = candidates.unwrap_or_else(|| blocks.iter().collect());
    let defining = candidates.iter().rposition(|block| defines(&block.text, name, language));
    let longest = || (0..candidates.len()).max_by_key(|i| candidates[*i].text.len());
    defining.or_else(longest).map(|at| with_helpers(&candidates, at, language)).unwrap_or_default()
}

/// The text after a model's reasoning: the final channel, the last turn, or the text after the closing tag of the
/// reasoning. Special tokens that end a turn are removed.
fn after_thinking(answer: &str) -> &str {
    const STARTS: [&str; 3] =
        ["<|channel|>final<|message|>", "<|start_header_id|>assistant<|end_header_id|>", "<|im_start|>assistant\n"];
    const THOUGHT: [&str; 8] = [
        "</think>",
        "</thinking>",
        "[/THINK]",
        "</thought>",
        "</reasoning>",
        "</seed:think>",
        "</reflection>",
        "◁/think▷",
    ];
    const ENDS: [&str; 8] = [
        "<|return|>",
        "<|end|>",
        "<|eot_id|>",
        "<|im_end|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<end_of_turn>",
        "<|end_of_turn|>",
    ];
    let mut rest = answer;
    for start in STARTS {
        if let Some(at) = rest.rfind(start) {
            rest = &rest[at + start.len()..];
        }
    }
    for end in THOUGHT {
        // A tag between quotes or parentheses is part of a program, not the end of the reasoning.
        let is_mark = |at: usize| {
            let after = rest[at + end.len()..].chars().next();
            !rest[..at].ends_with(['"', '\'', '(']) && !after.is_some_and(|c| ['"', '\'', ')'].contains(&c))
        };
        let found = rest.rmatch_indices(end).map(|(at, _)| at).find(|at| is_mark(*at));
        if let Some(at) = found.filter(|at| !rest[at + end.len()..].trim().is_empty()) {
            rest = &rest[at + end.len()..];
        }
    }
    loop {
        let trimmed = rest.trim_end();
        match ENDS.iter().find_map(|end| trimmed.strip_suffix(end)) {
            Some(shorter) => rest = shorter,
            None => return rest,
        }
    }
}

/// Whether an answer continues a code fence that the prompt has opened: it starts with code, and its first fence has no
/// language, so it is a closing fence.
fn continues_a_fence(answer: &str, language: &str) -> bool {
    let Some(first) = answer.lines().find(|line| !line.trim().is_empty()) else { return false };
    let is_fence = |line: &&str| line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
    let is_bare = answer.lines().find(is_fence).is_some_and(|line| ["```", "~~~"].contains(&line.trim()));
    is_bare && !is_fence(&first) && (is_start(first, language) || first.starts_with("    ") || first.starts_with('\t'))
}

/// The block at `at`, preceded by its helpers: blocks that define names which it uses and does not define, and the
/// helpers of these blocks.
fn with_helpers(blocks: &[&Block], at: usize, language: &str) -> String {
    let own: Vec<BTreeSet<&str>> = blocks.iter().map(|block| definitions(&block.text, language)).collect();
    let mut taken = BTreeSet::from([at]);
    let (mut defined, mut open) = (own[at].clone(), vec![at]);
    while let Some(next) = open.pop() {
        for word in words(&blocks[next].text) {
            if defined.contains(word) {
                continue;
            }
            // The last block before it that defines the word, else a later block with definitions only.
            let has = |i: &usize| own[*i].contains(word) && !taken.contains(i) && own[*i].is_disjoint(&own[at]);
            let before = (0..at).rev().find(has);
            let after = || (at + 1..blocks.len()).find(|i| has(i) && only_defines(&blocks[*i].text, language));
            if let Some(found) = before.or_else(after) {
                taken.insert(found);
                defined.extend(&own[found]);
                open.push(found);
            }
        }
    }
    if taken.len() == 1 {
        return blocks[at].text.clone();
    }
    let mut texts: Vec<&str> = taken.iter().filter(|i| **i != at).map(|i| blocks[*i].text.as_str()).collect();
    texts.push(&blocks[at].text);
    texts.join("\n")
}

/// Whether the mark of a block is the language's name or an alias.
fn is_language(mark: &str, language: &str) -> bool {
    let same = |known: &dyn Language| known.name() == mark || known.aliases().contains(&mark);
    mark == language || languages::find(language).is_some_and(same)
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

    #[test]
    fn answers_of_other_shapes() {
        const TWICE: &str = "def g(x):\n    return 2 * x\n";
        let show = |text: &str| text.replace("@", TWICE);
        for (answer, program_is) in [
            // A later block with a call or an assertion defines nothing, so it is not the program.
            ("```python\n@```\nTry it:\n```python\nassert g(2) == 4\nprint(g(3), g(4), g(5), g(6))\n```", "@"),
            ("```python\n@```\n```python\nvalue = g(2)\n```", "@"),
            // The prompt opened the fence, so the answer has only the closing one.
            ("@```\n", "@"),
            ("@```\nIt doubles its argument.", "@"),
            ("@```\nFor example:\n```python\ng(1)\n```", "@"),
            ("    return 2 * x\n```\nThat is all.", "    return 2 * x\n"),
            // Helpers in other blocks.
            (
                "```python\nimport math\n```\n```python\ndef h(x):\n    return math.sqrt(x)\n```\n```python\ndef g(x):\n    return h(x)\n```",
                "import math\n\ndef h(x):\n    return math.sqrt(x)\n\ndef g(x):\n    return h(x)\n",
            ),
            (
                "```python\ndef g(x):\n    return h(x)\n```\nwith\n```python\ndef h(x):\n    return x\n```",
                "def h(x):\n    return x\n\ndef g(x):\n    return h(x)\n",
            ),
            (
                "```python\ndef h(x):\n    return 1\n```\nor\n```python\ndef h(x):\n    return 2\n```\n```python\ndef g(x):\n    return h(x)\n```",
                "def h(x):\n    return 2\n\ndef g(x):\n    return h(x)\n",
            ),
            // Drafts in the reasoning, and answers of several turns.
            ("<think>\ndef g(x):\n    return x\n</think>\n@", "@"),
            ("```python\ndef g(x):\n    return 0\n```\n</think>\n\n```python\n@```", "@"),
            (
                "<|channel|>analysis<|message|>```python\ndef g(x): 0\n```<|end|><|start|>assistant<|channel|>final<|message|>```python\n@```<|return|>",
                "@",
            ),
            ("<|start_header_id|>assistant<|end_header_id|>\n\n```python\n@```<|eot_id|>", "@"),
            (
                "```python\ndef g(x):\n    return x.replace(\"</think>\", \"\")\n```",
                "def g(x):\n    return x.replace(\"</think>\", \"\")\n",
            ),
            // Code without a Markdown fence.
            ("`def g(x): return 2 * x`", "def g(x): return 2 * x\n"),
            ("Call `g` so: use `def g(x): return 2 * x`, which doubles.", "def g(x): return 2 * x\n"),
            ("```python def g(x): return 2 * x```", "def g(x): return 2 * x\n"),
            ("[PYTHON]\n@[/PYTHON]\n[TESTS]\nassert g(1) == 2\n[/TESTS]", "@"),
            ("[BEGIN]\n@[DONE]", "@"),
            ("<code>\n@</code>", "@"),
            ("'''python\n@'''\nDone.", "@"),
            ("```python\ndef g(x):\n    return 2 * x```\nDone.", "@"),
        ] {
            let (answer, program_is) = (show(answer), show(program_is));
            assert_eq!(program(&answer, "python", Some("g")), program_is, "{answer:?}");
        }
        let answer = "```python\nclass Solution:\n    def two(self): 2\n```\n```python\nprint(Solution().two())\n```";
        assert_eq!(program(answer, "python", Some("Solution().two")), "class Solution:\n    def two(self): 2\n");
        let answer = "```js\nconst h = x => x;\n```\nthen\n```js\nfunction g(x) { return h(x) }\n```\n```js\nconst r = g(1)\n```";
        assert_eq!(program(answer, "js", Some("g")), "const h = x => x;\n\nfunction g(x) { return h(x) }\n");
        let answer =
            "```cpp\nint g(int x) { return x; }\n```\nUse:\n```cpp\nint main() { int y = g(1); return g(2); }\n```";
        assert_eq!(program(answer, "cpp", Some("g")), "int g(int x) { return x; }\n");
    }
}
