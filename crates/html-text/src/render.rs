//! Renders the text of a subtree as a reader sees it: lines, code, formulas, tables; no markup.

use std::ops::Range;

use crate::code;
use crate::dom::Tree;
use crate::facts::Fact;
use crate::formula::{formula, is_drawing};
use crate::tag::Tag;
use crate::{Alt, Kind, Options, Span};

/// The space before the next word or block, from nothing to an empty line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Tab,
    Line,
    Paragraph,
}

struct Out {
    text: String,
    gap: Gap,
    spans: Vec<Span>,
}

impl Out {
    fn need(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// Writes the pending gap.
    fn begin(&mut self) {
        if !self.text.is_empty() {
            self.text.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Tab => "\t",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.gap = Gap::None;
    }

    /// Adds text with collapsed white space, without invisible characters.
    fn inline(&mut self, text: &str) {
        for piece in text.split_inclusive(|c: char| c.is_whitespace()) {
            let word = piece.trim_end();
            if !word.is_empty() {
                if word.is_ascii() || !word.contains(is_layout) {
                    self.begin();
                    self.text.push_str(word);
                } else if word.chars().any(|c| !is_layout(c)) {
                    self.begin();
                    self.text.extend(word.chars().filter(|&c| !is_layout(c)));
                }
            }
            if word.len() < piece.len() {
                self.need(Gap::Space);
            }
        }
    }

    fn span(&mut self, kind: Kind, text: &str) {
        self.begin();
        let start = self.text.len();
        self.text.push_str(text);
        self.spans.push(Span { kind, range: start..self.text.len() });
    }
}

/// Hints for line breaks, and marks of byte order and direction.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

/// An element that is open at the current position.
struct Open {
    end: usize,
    gap: Gap,
    /// The start of a table's text.
    table: Option<usize>,
}

/// The text of the subtree `root`, without the subtrees that `off` marks.
pub fn render(tree: &Tree, facts: &[Fact], root: usize, off: &[bool], options: &Options) -> (String, Vec<Span>) {
    let mut out = Out { text: String::new(), gap: Gap::None, spans: Vec::new() };
    let mut open: Vec<Open> = Vec::new();
    // Up to this index, blocks are on one line: the cell of a table.
    let (mut flat, mut data_table) = (0, 0);
    let Range { start, end } = tree.subtree(root);
    let mut index = start;
    while index < end {
        while let Some(last) = open.pop_if(|last| last.end <= index) {
            close(&mut out, &last);
        }
        let node = tree.node(index);
        let after = node.end as usize;
        if node.tag == Tag::Text {
            if !facts[index].unseen {
                out.inline(&node.text);
            }
            index = after;
            continue;
        }
        if off[index] {
            index = after;
            continue;
        }
        if let Some(found) = formula(tree, index) {
            let one_line = found.display && index >= flat;
            out.need(if one_line { Gap::Paragraph } else { Gap::None });
            let delimiter = if found.display { "$$" } else { "$" };
            out.span(Kind::Formula, &format!("{delimiter}{}{delimiter}", found.tex));
            out.need(if one_line { Gap::Paragraph } else { Gap::None });
            index = after;
            continue;
        }
        if facts[index].unseen || is_drawing(tree, index) || code::is_line_numbers(tree, index) {
            index = after;
            continue;
        }
        if code::is_block(tree, facts, index) {
            let text = code::text(tree, facts, index);
            if !text.is_empty() {
                out.need(Gap::Paragraph);
                let fenced = options.fences.then(|| format!("```\n{text}\n```"));
                out.span(Kind::Code, fenced.as_deref().unwrap_or(&text));
                out.need(Gap::Paragraph);
            }
            index = after;
            continue;
        }
        match node.tag {
            Tag::A if is_anchor_sign(tree, facts, index) => {
                index = after;
                continue;
            }
            Tag::Br if index < flat => out.need(Gap::Space),
            // Two in sequence make an empty line.
            Tag::Br => out.need(if out.gap >= Gap::Line { Gap::Paragraph } else { Gap::Line }),
            Tag::Img if shows_alt(tree, facts, index, options) => out.inline(node.attribute("alt").unwrap_or_default()),
            Tag::Td | Tag::Th if index < data_table => {
                // Before its first cell, the row requests a new line, which is the larger gap.
                out.need(Gap::Tab);
                flat = flat.max(after);
            }
            tag => {
                let table = (tag == Tag::Table && is_data_table(tree, facts, index)).then_some(after);
                data_table = table.unwrap_or(data_table);
                let gap = if index < flat { gap(tag).min(Gap::Space) } else { gap(tag) };
                out.need(gap);
                if gap != Gap::None || table.is_some() {
                    open.push(Open { end: after, gap, table: table.map(|_| out.text.len()) });
                }
            }
        }
        index += 1;
    }
    while let Some(last) = open.pop() {
        close(&mut out, &last);
    }
    out.spans.sort_by_key(|span| span.range.start);
    (out.text, out.spans)
}

fn close(out: &mut Out, element: &Open) {
    if let Some(start) = element.table {
        let skip = out.text[start..].len() - out.text[start..].trim_start().len();
        if start + skip < out.text.len() {
            out.spans.push(Span { kind: Kind::Table, range: start + skip..out.text.len() });
        }
    }
    out.need(element.gap);
}

/// The space around a block.
fn gap(tag: Tag) -> Gap {
    match tag {
        Tag::P
        | Tag::Blockquote
        | Tag::Pre
        | Tag::Table
        | Tag::Ul
        | Tag::Ol
        | Tag::Dl
        | Tag::Hr
        | Tag::Figure
        | Tag::Article
        | Tag::Section => Gap::Paragraph,
        _ if tag.is_heading() => Gap::Paragraph,
        _ if tag.is_block() => Gap::Line,
        _ => Gap::None,
    }
}

/// Whether a link is the sign after a heading that links to the heading.
fn is_anchor_sign(tree: &Tree, facts: &[Fact], index: usize) -> bool {
    let sign = facts[index].chars > 0
        && facts[index].chars <= 2
        && tree.node(index).attribute("href").is_some_and(|href| href.starts_with('#'));
    sign && matches!(tree.text(index).as_str(), "¶" | "#" | "§" | "🔗" | "\u{f0c1}" | "\u{200b}" | "∞")
}

/// Whether an image is shown as its alternative text.
fn shows_alt(tree: &Tree, facts: &[Fact], index: usize, options: &Options) -> bool {
    let Some(alt) = tree.node(index).attribute("alt") else { return false };
    if alt.trim().is_empty() {
        return false;
    }
    match options.alt {
        Alt::All => true,
        Alt::Inline => facts[facts[index].block as usize].own_chars > 0,
        Alt::Formulas => false,
    }
}

/// Whether a table holds data, rather than the layout of a page: rows and columns of short texts.
fn is_data_table(tree: &Tree, facts: &[Fact], table: usize) -> bool {
    let (mut rows, mut cells) = (0_usize, 0_usize);
    for index in tree.subtree(table).skip(1) {
        match tree.node(index).tag {
            Tag::Table | Tag::Pre => return false,
            Tag::Tr => rows += 1,
            Tag::Td | Tag::Th => {
                cells += 1;
                if facts[index].chars > 1_000 || facts[index].paragraphs > 2 {
                    return false;
                }
            }
            _ => {}
        }
    }
    rows >= 2 && cells > rows
}
