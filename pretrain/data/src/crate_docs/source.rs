//! The documentation comments of a Rust source file.

/// The documentation of a file: of the module, and of each documented item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Documentation {
    /// The text of the `//!` lines.
    pub module: String,
    /// The documented items in the order of the file.
    pub items: Vec<Item>,
}

/// A documented item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its declaration without the body, on one line.
    pub declaration: String,
    /// The text of its `///` lines.
    pub text: String,
}

/// Longest declaration in lines.
const DECLARATION_LINES: usize = 12;

/// Reads the documentation comments of a file. Only lines that begin with `//!` or `///` count.
#[must_use]
pub fn documentation(source: &str) -> Documentation {
    let mut found = Documentation::default();
    let mut text = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("//!") {
            add(&mut found.module, comment);
        } else if let Some(comment) = line.strip_prefix("///").filter(|rest| !rest.starts_with('/')) {
            add(&mut text, comment);
        } else if !text.is_empty() && !is_between(line) {
            let declaration = declaration(line, &mut lines);
            found.items.push(Item { declaration, text: std::mem::take(&mut text) });
        }
    }
    found
}

/// Adds a comment's line without the space after its sign.
fn add(text: &mut String, comment: &str) {
    text.push_str(comment.strip_prefix(' ').unwrap_or(comment));
    text.push('\n');
}

/// Attributes, comments and empty lines may stand between a documentation and its item.
fn is_between(line: &str) -> bool {
    line.is_empty() || line.starts_with("#[") || line.starts_with("//") || line.starts_with(")]")
}

/// The declaration that begins with `first`: up to its body, its end or a comma outside brackets.
fn declaration<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut words = String::new();
    let mut line = first;
    for _ in 0..DECLARATION_LINES {
        let end = line.find(['{', ';']);
        let part = line[..end.unwrap_or(line.len())].trim();
        if !words.is_empty() && !part.is_empty() {
            words.push(' ');
        }
        words.push_str(part);
        let open = words.matches(['(', '[']).count() > words.matches([')', ']']).count();
        let goes_on = open || (words.contains("fn ") && !words.ends_with(','));
        if end.is_some() || !goes_on {
            break;
        }
        match lines.next() {
            Some(next) => line = next,
            None => break,
        }
    }
    words.trim_end_matches(',').replace("( ", "(").replace(", )", ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_declarations_are_found() {
        let source = "//! A module.\n//!\n//! # More\nuse x;\n\n/// Adds.\n///\n/// ```\n/// # hidden\n/// add(1, 2)\n/// ```\n\
                      #[inline]\n// plain\npub fn add(\n    a: u8,\n    b: u8,\n) -> u8 {\n    a + b\n}\n//// no doc\nstruct No;\n\
                      /// Colours.\npub enum Colour {\n    /// Red.\n    Red,\n}\n";
        let found = documentation(source);
        assert_eq!(found.module, "A module.\n\n# More\n");
        let declarations: Vec<&str> = found.items.iter().map(|item| item.declaration.as_str()).collect();
        assert_eq!(declarations, ["pub fn add(a: u8, b: u8) -> u8", "pub enum Colour", "Red"]);
        assert_eq!(found.items[0].text, "Adds.\n\n```\n# hidden\nadd(1, 2)\n```\n");
        assert_eq!(documentation("fn main() {}\n"), Documentation::default());
    }
}
