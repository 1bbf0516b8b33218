//! Programs in a Markdown text: fenced code blocks, with the language that the fence names.

use super::{Issue, Language, find};

/// A code block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The language after the opening fence; [`Language::Other`] if there is none or it is unknown.
    pub language: Language,
    /// Byte offset of the program in the text.
    pub start: usize,
    /// The text of the program.
    pub code: &'a str,
}

/// The code blocks of a text, between fences of at least three backticks or tildes (`CommonMark` 4.5). A block that is not
/// closed ends at the end of the text, as in a truncated answer.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(char, usize, Language, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let fence = |mark: char| content.chars().take_while(|&c| c == mark).count();
        let info = |length: usize| content[length..].trim();
        match open {
            Some((mark, length, language, start)) => {
                if indent < 4 && fence(mark) >= length && info(fence(mark)).is_empty() {
                    blocks.push(Block { language, start, code: &text[start..at] });
                    open = None;
                }
            }
            None => {
                let mark = if content.starts_with('~') { '~' } else { '`' };
                let length = fence(mark);
                // Fences in list items are indented further.
                if length >= 3 && !(mark == '`' && info(length).contains('`')) {
                    let name = info(length).split([' ', ',', '{', ':']).next().unwrap_or_default();
                    open = Some((mark, length, Language::named(name), next));
                }
            }
        }
        at = next;
    }
    if let Some((_, _, language, start)) = open {
        blocks.push(Block { language, start: start.min(text.len()), code: &text[start.min(text.len())..] });
    }
    blocks
}

/// All findings in the code blocks of a text, with offsets and lines in the text. Blocks without a known language are checked
/// for keys and tokens only.
#[must_use]
pub fn find_in_blocks(text: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    for block in blocks(text) {
        let lines = super::line_of(text, block.start) - 1;
        issues.extend(find(block.language, block.code).into_iter().map(|issue| Issue {
            start: issue.start + block.start,
            end: issue.end + block.start,
            line: issue.line + lines,
            ..issue
        }));
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_and_languages() {
        let text = "a\n```python title=x\nx = 1\n```\n~~~\nplain\n```\n~~~\n````js\n```\n````\n  1. \n   ```rust\n   fn\n   ```\n`` ` ``\n```c\ncut";
        let found = blocks(text);
        let all: Vec<(Language, &str)> = found.iter().map(|block| (block.language, block.code)).collect();
        assert_eq!(
            all,
            [
                (Language::Python, "x = 1\n"),
                (Language::Other, "plain\n```\n"),
                (Language::JavaScript, "```\n"),
                (Language::Rust, "   fn\n"),
                (Language::C, "cut"),
            ]
        );
        assert!(found.iter().all(|block| text[block.start..].starts_with(block.code)));
        assert_eq!(blocks("no fence\n```one line```\n"), []);
        assert_eq!(blocks("```"), [Block { language: Language::Other, start: 3, code: "" }]);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "Grüße\n```python\nx = 1\neval(x)\n```\n";
        let issues = find_in_blocks(text);
        assert_eq!((issues.len(), issues[0].line, &text[issues[0].start..issues[0].end]), (1, 4, "eval(x)"));
    }
}
