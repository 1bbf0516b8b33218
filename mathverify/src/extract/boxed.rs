//! `\boxed{...}`: nested braces, several boxes, text inside, a percent sign after the box.

use std::ops::Range;

/// Byte ranges of a box: of the whole command, and of its content.
#[derive(Debug, Clone)]
struct Box {
    outer: Range<usize>,
    inner: Range<usize>,
}

/// Longest content of a box, in bytes.
const MAX_CONTENT: usize = 20_000;
/// Maximum number of boxes that are examined, from the end of the text. Parsing a nested box takes time linear in its
/// length.
const MAX_LOOKED_AT: usize = 100;
/// Maximum number of boxes that can form one list.
const MAX_TOGETHER: usize = 40;

/// Byte range and content of the last box; if several boxes at the end belong together, their contents are joined by
/// commas.
pub(super) fn find(text: &str) -> Option<(Range<usize>, String)> {
    let mut found: Vec<Box> = Vec::new();
    // Collects boxes from the end of the text while each belongs together with the box after it.
    for at in starts(text).take(MAX_LOOKED_AT) {
        let Some(one) = parse(text, at) else { continue };
        // A box inside the next box is part of the next box's content.
        if let Some(next) = found.last() {
            if next.inner.start <= one.outer.start {
                continue;
            }
            if one.inner.end >= next.outer.end {
                // The next box is nested in this box.
                found.pop();
                found.push(one);
                continue;
            }
            if one.outer.end > next.outer.start || !together(&text[one.outer.end..next.outer.start]) {
                break;
            }
        }
        found.push(one);
        if found.len() > MAX_TOGETHER {
            break;
        }
    }
    // Empty boxes are placeholders.
    found.retain(|b| !text[b.inner.clone()].trim().is_empty());
    if let Some(exact) = before_rounding(text, &found) {
        let answer = unboxed(text[exact.inner].trim());
        return Some((exact.outer, answer));
    }
    let last = found.first()?.outer.clone();
    found.reverse();
    let start = found.first()?.outer.start;
    let mut contents: Vec<&str> = Vec::new();
    for b in &found {
        contents.push(text[b.inner.clone()].trim());
    }
    let (suffix, extent) = suffix(&text[last.end..]);
    let mut answer = contents.join(", ");
    if contents.len() == 1 {
        answer = unboxed(&answer);
        if !suffix.is_empty() && !answer.contains('%') {
            answer.push_str(suffix);
        }
    }
    Some((start..last.end + extent, answer))
}

/// The box before the last, if the last box only rounds its value: `\boxed{\sqrt2}`, which is about `\boxed{1.41}`.
/// `found` holds the last boxes, the last one first.
fn before_rounding(text: &str, found: &[Box]) -> Option<Box> {
    let last = found.first()?;
    let rounded = text[last.inner.clone()].trim().trim_start_matches(['≈', ' ']);
    let decimal = rounded.bytes().all(|b| b.is_ascii_digit() || b".-,".contains(&b)) && rounded.contains('.');
    if !decimal || found.len() > 2 {
        return None;
    }
    let exact = match found.get(1) {
        Some(exact) => exact.clone(),
        None => {
            let at = starts(&text[..last.outer.start]).next()?;
            parse(text, at)?
        }
    };
    let between = text.get(exact.outer.end..last.outer.start)?;
    let says = ["about", "approx", "roughly", "around", "≈", "nearly", "decimal", "circa", "env", "etwa", "≒", "约"];
    if between.len() > 120 || between.contains("\n\n") || !says.iter().any(|w| between.contains(w)) {
        return None;
    }
    crate::compare::rounds(&text[exact.inner.clone()], rounded).then_some(exact)
}

/// The contents of the boxes in the last paragraph with boxes, joined by commas; `None` unless at least two contents
/// differ: `the largest is \boxed{3}, and the smallest is \boxed{1}`.
pub(super) fn of_paragraph(text: &str) -> Option<String> {
    let mut found: Vec<Box> = Vec::new();
    for at in starts(text).take(MAX_LOOKED_AT) {
        let Some(one) = parse(text, at) else { continue };
        if let Some(next) = found.last() {
            let Some(between) = text.get(one.outer.end..next.outer.start) else { break };
            // Labelled parts may be separate paragraphs: `(a) ...`, `(b) ...`.
            let labelled = || label(between.rsplit('\n').next().unwrap_or("")) && label(line_before(text, &one));
            if between.len() > 400 || (between.len() > 200 || between.contains("\n\n")) && !labelled() {
                break;
            }
        }
        found.push(one);
        if found.len() > MAX_TOGETHER {
            return None;
        }
    }
    let mut contents: Vec<&str> = found.iter().rev().map(|b| text[b.inner.clone()].trim()).collect();
    contents.dedup();
    (contents.len() > 1).then(|| contents.join(", "))
}

/// The text before a box in the box's line.
fn line_before<'t>(text: &'t str, found: &Box) -> &'t str {
    let before = &text[..found.outer.start];
    &before[before.rfind('\n').map_or(0, |at| at + 1)..]
}

/// Whether a line starts with the label of a part: `(a)`, `b)`, `2.`, `(iii)`, `**Part A:**`, `1:`.
fn label(line: &str) -> bool {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '#' | '-' | '('));
    let line = ["part", "Part", "question", "Question"].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
    let line = line.trim_start_matches([' ', '(']);
    let name = line.chars().take_while(char::is_ascii_alphanumeric).count();
    let (name, rest) = line.split_at(name);
    let letter = name.len() == 1 && name.bytes().all(|b| b.is_ascii_alphabetic());
    let roman = !name.is_empty() && name.len() <= 4 && name.bytes().all(|b| b"ivx".contains(&b.to_ascii_lowercase()));
    let number = !name.is_empty() && name.len() <= 2 && name.bytes().all(|b| b.is_ascii_digit());
    (letter || roman || number) && rest.starts_with([')', '.', ':', ']'])
}

/// Byte positions of `boxed` and `\fbox`, the last one first.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    let before = |word: &'static [u8], end: usize| memchr::memmem::rfind(&bytes[..end], word);
    // The last position of each word that was not returned yet.
    let (mut boxed, mut fbox) = (before(b"boxed", bytes.len()), before(b"\\fbox", bytes.len()));
    std::iter::from_fn(move || {
        let at = boxed.max(fbox)?;
        if boxed == Some(at) {
            boxed = before(b"boxed", at);
        } else {
            fbox = before(b"\\fbox", at);
        }
        Some(at)
    })
}

/// Parses the box whose `boxed` or `\fbox` starts at byte `at`; `None` for an empty `\fbox{}`, which is an ornament, and
/// for `\fboxsep`.
fn parse(text: &str, at: usize) -> Option<Box> {
    let bytes = text.as_bytes();
    // "boxed" and "\\fbox" have the same length.
    let word = 5;
    let start = at - usize::from(at > 0 && bytes[at - 1] == b'\\');
    let command = start < at || bytes[at] == b'\\';
    let rest = &text[at + word..];
    if bytes[at] == b'\\' && rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let skipped = rest.len() - rest.trim_start().len();
    let open = at + word + skipped;
    if bytes.get(open) != Some(&b'{') {
        // `\boxed 5` and `\boxed5`: the content ends at white space, punctuation, `$` or `\`. Without the backslash,
        // "boxed" is a word of the sentence.
        if !command {
            return None;
        }
        let content: usize = text[open..]
            .char_indices()
            .find(|(_, c)| c.is_whitespace() || matches!(c, '$' | ',' | '.' | ')' | '\\'))
            .map_or(text.len() - open, |(i, _)| i);
        return (content > 0).then_some(Box { outer: start..open + content, inner: open..open + content });
    }
    let mut depth = 0_usize;
    let mut escaped = false;
    let limit = (open + MAX_CONTENT).min(bytes.len());
    for (i, &b) in bytes[open..limit].iter().enumerate() {
        match b {
            b'\\' => {
                escaped = !escaped;
                continue;
            }
            b'{' if !escaped => depth += 1,
            b'}' if !escaped => {
                depth -= 1;
                if depth == 0 {
                    if bytes[at] == b'\\' && text[open + 1..open + i].trim().is_empty() {
                        return None;
                    }
                    return Some(Box { outer: start..open + i + 1, inner: open + 1..open + i });
                }
            }
            _ => {}
        }
        escaped = false;
    }
    // Without a closing brace, the content ends at the end of the formula or of the line.
    let content = &text[open + 1..super::floor_boundary(text, limit)];
    let length = content.find(['$', '\n']).unwrap_or(content.len());
    (length > 0).then_some(Box { outer: start..open + 1 + length, inner: open + 1..open + 1 + length })
}

/// Whether the text between two boxes joins them into one list: only punctuation, or a few words with a connector.
fn together(between: &str) -> bool {
    if between.len() > 120 || between.contains("\n\n") {
        return false;
    }
    let mut text = between.to_owned();
    for command in
        ["\\text", "\\quad", "\\qquad", "\\mbox", "\\textbf", "\\ ", "\\,", "\\;", "\\(", "\\)", "\\[", "\\]"]
    {
        text = text.replace(command, " ");
    }
    let text = without_name(text.trim_end_matches(['\\', ' ', '$']));
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    if text.contains('=') || text.contains('\\') {
        return false;
    }
    if words.is_empty() {
        // Only punctuation, without the end of a sentence.
        return !text.contains(['.', '!', '?', '。']);
    }
    if words.iter().any(|w| w.bytes().any(|b| b.is_ascii_digit())) || text.contains(['.', '!', '?', '。', ':']) {
        return false;
    }
    let lower: Vec<String> = words.iter().map(|w| w.to_lowercase()).collect();
    if lower.iter().any(|w| w == "equivalently" || w == "i" && lower.len() > 3) {
        return false;
    }
    let connectors = lower.iter().filter(|w| super::CONNECTORS.contains(&&***w)).count();
    connectors >= 1 && words.len() <= 4
}

/// Removes a name and `=` at the end: `and y_2 =` becomes `and`.
fn without_name(text: &str) -> &str {
    let Some(before) = text.trim_end().strip_suffix('=') else { return text };
    let before = before.trim_end();
    let name = before.rsplit(|c: char| c.is_whitespace() || c == ',' || c == '$').next().unwrap_or("");
    if name.is_empty() || name.len() > 8 { text } else { &before[..before.len() - name.len()] }
}

/// A percent or degree sign directly after the box, which belongs to the answer, and its end in `after`, in bytes.
fn suffix(after: &str) -> (&'static str, usize) {
    let rest = after.trim_start_matches(|c: char| c == '$' || c.is_whitespace() || c == '\\' || c == ')' || c == ']');
    let used = after.len() - rest.len();
    for (mark, value) in [
        ("percent", "\\%"),
        ("pct", "\\%"),
        ("%", "\\%"),
        ("^\\circ", "^\\circ"),
        ("^{\\circ}", "^\\circ"),
        ("°", "^\\circ"),
    ] {
        if rest.starts_with(mark) {
            return (value, used + mark.len());
        }
    }
    ("", 0)
}

/// The content without nested `\boxed` and `\fbox` commands; their braces stay.
fn unboxed(content: &str) -> String {
    content.replace("\\boxed", "").replace("\\fbox", "")
}

#[cfg(test)]
mod tests {
    use super::find;

    fn answer(text: &str) -> Option<String> {
        find(text).map(|f| f.1)
    }

    #[test]
    fn one_box() {
        assert_eq!(answer("so $\\boxed{\\frac{1}{2}}$."), Some("\\frac{1}{2}".into()));
        assert_eq!(answer("\\boxed 5."), Some("5".into()));
        assert_eq!(answer("\\boxed{\\{1, 2\\}}"), Some("\\{1, 2\\}".into()));
        assert_eq!(answer("first \\boxed{1}. Then it is \\boxed{2}."), Some("2".into()));
        assert_eq!(answer("$\\boxed{20}$ percent"), Some("20\\%".into()));
        assert_eq!(answer("a boxed answer"), None);
        assert_eq!(answer("\\boxed{}"), None);
        assert_eq!(answer("\\boxed{\\boxed{7}}"), Some("{7}".into()));
    }

    #[test]
    fn both_commands_count() {
        assert_eq!(answer("First \\boxed{3}. We go on and get \\fbox{7}."), Some("7".into()));
        assert_eq!(answer("First \\fbox{3}. We go on and get \\boxed{7}."), Some("7".into()));
        assert_eq!(answer("\\boxed{1} and \\fbox{2}"), Some("1, 2".into()));
        assert_eq!(answer("\\boxed{\\fbox{7}}"), Some("{7}".into()));
        assert_eq!(answer("\\fbox{\\sqrt2}, which is about \\boxed{1.41}"), Some("\\sqrt2".into()));
        // The end of a proof, and a length.
        assert_eq!(answer("\\boxed{3}. This is the end. \\fbox{}"), Some("3".into()));
        assert_eq!(answer("\\boxed{3}. Set \\fboxsep=2pt for the frame."), Some("3".into()));
        let last = |text: &str| super::of_paragraph(text);
        assert_eq!(last("the largest is \\boxed{3}, and the smallest is \\fbox{1}"), Some("3, 1".into()));
        assert_eq!(last("the largest is \\fbox{3}, and the smallest is \\fbox{1}"), Some("3, 1".into()));
    }

    #[test]
    fn boxes_that_belong_together() {
        assert_eq!(answer("$\\boxed{1}$ and $\\boxed{2}$"), Some("1, 2".into()));
        assert_eq!(answer("\\boxed{1},\\boxed{2},\\boxed{3}"), Some("1, 2, 3".into()));
        assert_eq!(answer("\\boxed{1} no no no no no \\boxed{2}"), Some("2".into()));
        assert_eq!(answer("\\boxed{840}. And again: \\boxed{840}"), Some("840".into()));
    }
}
