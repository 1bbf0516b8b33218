//! Code blocks: with their line breaks and spaces, without line numbers.

use crate::dom::Tree;
use crate::facts::Fact;
use crate::tag::Tag;
use crate::words::Labels;

/// Whether the element is a code block: `pre` and similar elements, a `code` that fills its block and has lines, or
/// an element whose name says that it is code and that has lines.
pub fn is_block(tree: &Tree, facts: &[Fact], index: usize) -> bool {
    let node = tree.node(index);
    match node.tag {
        Tag::Pre | Tag::Xmp => true,
        Tag::Textarea => facts[index].labels.any(Labels::CODE),
        Tag::Code | Tag::Samp | Tag::Tt => {
            let block = &facts[facts[index].block as usize];
            block.own_chars == facts[index].chars && has_lines(tree, index) && !holds_text(tree, index)
        }
        Tag::Div | Tag::Td | Tag::P | Tag::Table => {
            facts[index].labels.any(Labels::CODE) && has_lines(tree, index) && !holds_text(tree, index)
        }
        _ => false,
    }
}

/// Whether lines are marked inside, by `br` or by blocks.
fn has_lines(tree: &Tree, index: usize) -> bool {
    tree.subtree(index).skip(1).any(|inner| match tree.node(inner).tag {
        Tag::Br | Tag::Div | Tag::Li | Tag::Tr => true,
        Tag::Text => tree.node(tree.parent(inner)).tag == Tag::Code && tree.node(inner).text.trim().contains('\n'),
        _ => false,
    })
}

/// Whether it contains something other than code: paragraphs, headings, pictures; or a `pre`, which is rendered
/// separately.
fn holds_text(tree: &Tree, index: usize) -> bool {
    tree.subtree(index).skip(1).any(|inner| {
        let tag = tree.node(inner).tag;
        matches!(tag, Tag::P | Tag::Pre | Tag::Img | Tag::Ul | Tag::Figure | Tag::Article | Tag::Section)
            || tag.is_heading()
    })
}

/// The text of a code block.
pub fn text(tree: &Tree, facts: &[Fact], index: usize) -> String {
    let mut out = String::new();
    // In `pre`, line breaks of the source count; elsewhere, only in a `code` without other marks of lines.
    let verbatim = tree.subtree(index).any(|inner| matches!(tree.node(inner).tag, Tag::Pre | Tag::Xmp | Tag::Textarea))
        || !tree.subtree(index).any(|inner| matches!(tree.node(inner).tag, Tag::Br | Tag::Div | Tag::Li | Tag::Tr));
    let mut ends: Vec<usize> = Vec::new();
    let end = tree.node(index).end as usize;
    let mut at = index + 1;
    while at < end {
        while ends.pop_if(|end| *end <= at).is_some() {
            new_line(&mut out);
        }
        let node = tree.node(at);
        if node.tag == Tag::Text {
            push(&mut out, &node.text, verbatim);
        } else if node.tag == Tag::Br {
            out.push('\n');
        } else if facts[at].unseen || is_line_numbers(tree, at) {
            at = node.end as usize;
            continue;
        } else if matches!(node.tag, Tag::Div | Tag::P | Tag::Li | Tag::Tr) {
            // A line that a highlighter wraps into a block usually also has a line break.
            new_line(&mut out);
            ends.push(node.end as usize);
        }
        at += 1;
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(first, |last| last + 1);
    lines[first..last].join("\n")
}

fn new_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

fn push(out: &mut String, text: &str, verbatim: bool) {
    for c in text.chars() {
        match c {
            '\r' | '\u{200B}' | '\u{FEFF}' | '\u{AD}' => {}
            '\u{A0}' => out.push(' '),
            '\n' | '\t' | ' ' if !verbatim => {
                if !out.is_empty() && !out.ends_with([' ', '\n']) {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
}

/// Whether an element holds the line numbers: by its name, or as a cell of numbers beside another cell.
pub fn is_line_numbers(tree: &Tree, index: usize) -> bool {
    let node = tree.node(index);
    let named = node.attribute("class").is_some_and(|class| {
        // Nearly all classes are rejected here.
        if !["line", "Line", "ln", "num", "Num", "gutter"].iter().any(|part| class.contains(part)) {
            return false;
        }
        class.split_ascii_whitespace().any(|name| {
            let name = name.to_ascii_lowercase().replace(['_', '-'], "");
            name.starts_with("lineno")
                || name.starts_with("linenum")
                || matches!(
                    name.as_str(),
                    "gutter" | "lnum" | "blobnum" | "hljslnnumbers" | "rougegutter" | "lnt" | "ln"
                )
        })
    });
    if named {
        // A line whose class contains its number keeps its text.
        let text = tree.text(index);
        return text.split(' ').all(|word| word.trim_end_matches(['.', ':']).bytes().all(|byte| byte.is_ascii_digit()));
    }
    let alone = |index| tree.children(tree.parent(index)).filter(|&at| tree.node(at).tag == Tag::Td).nth(1).is_none();
    if node.tag != Tag::Td || tree.subtree(index).len() > 2_000 || alone(index) {
        return false;
    }
    let text = tree.text(index);
    let numbers: Vec<&str> = text.split(' ').collect();
    numbers.len() >= 2
        && numbers.iter().enumerate().all(|(place, word)| word.parse() == Ok(place + numbers[0].parse().unwrap_or(1)))
}
