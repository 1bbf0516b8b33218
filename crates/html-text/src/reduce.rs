//! Removes the parts of a page that do not affect its text, before parsing.
//!
//! Two thirds of a page's bytes are scripts, styles, drawings, comments and attributes. A scan for `<` passes over
//! them several times faster than a tokenizer, which has to make tokens of them. The scan follows the tokenizer of
//! the HTML standard (13.2.5) in the recognition of tags, attributes and comments. If a page does not close an
//! element whose content would be skipped, only the tag is skipped.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// Maximum number of attributes of a tag that are kept. html5ever compares each new attribute with all others of its
/// tag.
const MAX_ATTRIBUTES: usize = 64;
/// Maximum number of bytes of an attribute's value that are kept, except for formulas.
const MAX_VALUE: usize = 1_024;

/// Whether an element is skipped with its content.
fn is_skipped(name: &str) -> bool {
    matches!(name, "script" | "style" | "noscript" | "svg" | "iframe" | "noframes" | "noembed" | "object")
}

/// Whether the content of an element is text up to its end tag.
fn is_raw_text(name: &str) -> bool {
    matches!(name, "title" | "textarea" | "xmp" | "script")
}

/// Whether an attribute is kept whatever its value.
fn is_kept(name: &str) -> bool {
    matches!(
        name,
        "alt"
            | "aria-hidden"
            | "charset"
            | "class"
            | "content"
            | "datetime"
            | "display"
            | "encoding"
            | "hidden"
            | "href"
            | "http-equiv"
            | "id"
            | "itemprop"
            | "itemtype"
            | "lang"
            | "mode"
            | "name"
            | "open"
            | "close"
            | "property"
            | "rel"
            | "role"
            | "type"
            | "xml:lang"
    )
}

/// Whether formula renderers keep the source in this attribute.
fn is_formula(name: &str) -> bool {
    matches!(name, "alttext" | "data-tex" | "data-latex" | "data-formula" | "data-math" | "data-equation" | "data-expr")
}

/// The name in lower case; names usually are already.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The page without scripts, styles, comments, drawings and the attributes that [`crate::extract`] does not read.
pub fn reduce(html: &str) -> String {
    let bytes = html.as_bytes();
    let mut out = String::with_capacity(html.len() / 2);
    let mut at = 0;
    while let Some(found) = memchr(b'<', &bytes[at..]) {
        let open = at + found;
        out.push_str(&html[at..open]);
        at = match bytes.get(open + 1) {
            Some(byte) if byte.is_ascii_alphabetic() => start_tag(html, open, &mut out),
            Some(b'/') if bytes.get(open + 2).is_some_and(u8::is_ascii_alphabetic) => end_tag(html, open, &mut out),
            Some(b'!') if bytes[open..].starts_with(b"<!--") => after_comment(bytes, open),
            _ => {
                out.push('<');
                open + 1
            }
        };
    }
    out.push_str(&html[at..]);
    out
}

/// The index after the comment that starts at `open`; an unclosed comment ends with the page.
fn after_comment(bytes: &[u8], open: usize) -> usize {
    let body = open + 4;
    for short in [&b">"[..], b"->"] {
        if bytes[body..].starts_with(short) {
            return body + short.len();
        }
    }
    let mut at = body;
    while let Some(found) = memmem::find(&bytes[at..], b"--") {
        let dashes = at + found;
        match bytes.get(dashes + 2) {
            Some(b'>') => return dashes + 3,
            Some(b'!') if bytes.get(dashes + 3) == Some(&b'>') => return dashes + 4,
            _ => at = dashes + 1,
        }
    }
    bytes.len()
}

fn end_tag(html: &str, open: usize, out: &mut String) -> usize {
    let name = name_end(html.as_bytes(), open + 2);
    out.push_str(&html[open..name]);
    out.push('>');
    // Attributes of an end tag have no meaning, but a quoted `>` does not end the tag.
    attributes(html, name, |_, _, _| ()).0
}

fn start_tag(html: &str, open: usize, out: &mut String) -> usize {
    let bytes = html.as_bytes();
    let end = name_end(bytes, open + 1);
    let name = lower(&html[open + 1..end]);
    let start = out.len();
    out.push_str(&html[open..end]);
    let (mut kept, mut script) = (0, false);
    let (after, self_closing) = attributes(html, end, |attribute, value, quote| {
        script |= attribute == "type" && value.starts_with("math/");
        kept += usize::from(kept < MAX_ATTRIBUTES && keep(&name, attribute, value, quote, out));
    });
    if is_skipped(&name) && !(script && name == "script") {
        out.truncate(start);
        if self_closing && name == "svg" {
            return after;
        }
        return after_element(bytes, after, &name).unwrap_or(after);
    }
    out.push_str(if self_closing { " />" } else { ">" });
    if is_raw_text(&name) {
        // Copied unchanged, so that no tag is recognised inside.
        let close = raw_end(bytes, after, &name).unwrap_or(after);
        out.push_str(&html[after..close]);
        return close;
    }
    after
}

/// The first byte that does not belong to a tag's name.
fn name_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    start
        + rest
            .iter()
            .position(|byte| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ' | b'/' | b'>'))
            .unwrap_or(rest.len())
}

/// Calls `each` with name, value and quote (0 without one) of the attributes from `at` up to the tag's `>`. Returns
/// the index after it, and whether the tag is self-closing.
fn attributes<'a>(html: &'a str, mut at: usize, mut each: impl FnMut(&'a str, &'a str, u8)) -> (usize, bool) {
    let bytes = html.as_bytes();
    let space = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ');
    let mut self_closing = false;
    loop {
        match bytes.get(at) {
            None => return (bytes.len(), self_closing),
            Some(b'>') => return (at + 1, self_closing),
            Some(b'/') => {
                self_closing = true;
                at += 1;
                continue;
            }
            Some(&byte) if space(byte) => {
                at += 1;
                continue;
            }
            Some(_) => self_closing = false,
        }
        let start = at;
        at += 1; // A name may begin with `=`.
        while bytes.get(at).is_some_and(|&byte| !space(byte) && !matches!(byte, b'/' | b'>' | b'=')) {
            at += 1;
        }
        let name = &html[start..at];
        let mut value = at;
        while bytes.get(value).is_some_and(|&byte| space(byte)) {
            value += 1;
        }
        if bytes.get(value) != Some(&b'=') {
            each(name, "", 0);
            continue;
        }
        value += 1;
        while bytes.get(value).is_some_and(|&byte| space(byte)) {
            value += 1;
        }
        match bytes.get(value) {
            Some(&quote @ (b'"' | b'\'')) => {
                value += 1;
                let end = memchr(quote, &bytes[value..]).map_or(bytes.len(), |found| value + found);
                each(name, &html[value..end], quote);
                at = (end + 1).min(bytes.len());
            }
            _ => {
                let end = bytes[value..].iter().position(|&byte| space(byte) || byte == b'>');
                at = end.map_or(bytes.len(), |found| value + found);
                each(name, &html[value..at], 0);
            }
        }
    }
}

/// Writes an attribute that [`crate::extract`] reads; returns whether it did.
fn keep(tag: &str, name: &str, value: &str, quote: u8, out: &mut String) -> bool {
    let known = lower(name);
    let formula = is_formula(&known) || (known == "alt" && value.contains('\\'));
    let wanted = formula
        || is_kept(&known)
        || (known == "style" && (value.contains("none") || value.contains("hidden")))
        || (known == "src" && tag == "img" && (value.contains("tex") || value.contains("math")));
    if !wanted {
        return false;
    }
    let limit = if formula { 16 * MAX_VALUE } else { MAX_VALUE };
    out.push(' ');
    out.push_str(name);
    if !value.is_empty() {
        out.push('=');
        if quote != 0 {
            out.push(quote as char);
        }
        out.push_str(&value[..value.floor_char_boundary(limit)]);
        if quote != 0 {
            out.push(quote as char);
        }
    }
    true
}

/// The index of the end tag of the raw text element `name`, searched from `at` on.
fn raw_end(bytes: &[u8], mut at: usize, name: &str) -> Option<usize> {
    while let Some(found) = memmem::find(&bytes[at..], b"</") {
        let open = at + found;
        if is_tag(bytes, open + 2, name) {
            return Some(open);
        }
        at = open + 2;
    }
    None
}

/// The index after the element `name` whose content starts at `at`; drawings may be nested.
fn after_element(bytes: &[u8], at: usize, name: &str) -> Option<usize> {
    let after_tag = |open: usize| memchr(b'>', &bytes[open..]).map_or(bytes.len(), |found| open + found + 1);
    if !name.eq_ignore_ascii_case("svg") {
        return raw_end(bytes, at, name).map(after_tag);
    }
    let (mut at, mut depth) = (at, 1);
    while let Some(found) = memchr(b'<', &bytes[at..]) {
        let open = at + found;
        at = open + 1;
        if is_tag(bytes, open + 1, name) {
            at = after_tag(open);
            depth += usize::from(bytes.get(at.wrapping_sub(2)) != Some(&b'/'));
        } else if bytes.get(open + 1) == Some(&b'/') && is_tag(bytes, open + 2, name) {
            depth -= 1;
            if depth == 0 {
                return Some(after_tag(open));
            }
        }
    }
    None
}

/// Whether the tag name at `at` is `name`, followed by a character that ends a name.
fn is_tag(bytes: &[u8], at: usize, name: &str) -> bool {
    let end = at + name.len();
    bytes.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        && bytes.get(end).is_some_and(|byte| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ' | b'/' | b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_styles_and_comments_go() {
        let html = "a<script>if (1 < 2) { '</p>' }</SCRIPT >b<style>p { }</style>c<!-- <p> -->d<!-->e<!--x--!>f";
        assert_eq!(reduce(html), "abcdef");
        assert_eq!(reduce("a<svg><g><svg/><svg></svg></g></svg>b<svg/>c<noscript><img></noscript>d"), "abcd");
    }

    #[test]
    fn attributes_that_nobody_reads_go() {
        let html = r#"<p class="a b" onclick='x > y' data-x=1>1 < 2</p foo=">"><img src="a.png" alt='x'/><br/>"#;
        assert_eq!(reduce(html), r#"<p class="a b">1 < 2</p><img alt='x' /><br />"#);
        assert_eq!(
            reduce(r#"<div style="color: red" hidden><i style="display:none">"#),
            r#"<div hidden><i style="display:none">"#
        );
    }

    #[test]
    fn raw_text_is_no_markup() {
        let html = "<title>a <!-- b</title><textarea><p></textarea><script type='math/tex'>a<b</script>";
        assert_eq!(reduce(html), html);
    }

    #[test]
    fn an_open_element_loses_only_its_tag() {
        assert_eq!(reduce("a<noscript>b"), "ab");
        assert_eq!(reduce("a<svg>b<p>c"), "ab<p>c");
        assert_eq!(reduce("a<p class='b"), "a<p class='b'>");
        assert_eq!(reduce("a<"), "a<");
    }

    #[test]
    fn a_tag_with_very_many_attributes_is_cut() {
        let html = format!("<p {}>x", (0..10_000).map(|i| format!("id{i} class ")).collect::<String>());
        assert_eq!(reduce(&html).matches("class").count(), MAX_ATTRIBUTES);
    }
}
