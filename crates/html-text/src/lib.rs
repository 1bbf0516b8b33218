//! Extracts the main text of a web page.
//!
//! [`decode`] turns the bytes of a page into text, [`extract`] finds the main text:
//!
//! ```
//! let html = html_text::decode(b"<title>T</title><p>The text of a page, which is <b>long</b> enough.", Some("text/html"));
//! let page = html_text::extract(&html, &html_text::Options::default());
//! assert_eq!(page.text, "The text of a page, which is long enough.");
//! assert_eq!(page.title.as_deref(), Some("T"));
//! ```
//!
//! The Llama 3 paper (section 3.1.1, "Text extraction and cleaning") asks for precise removal of boilerplate and for
//! recall of content. It keeps the structure of mathematics and code, keeps alternative texts, and removes markdown
//! markers. The stages:
//!
//! 1. `reduce` removes scripts, styles and unused attributes; `dom` parses the rest with html5ever into one `Vec`.
//! 2. `facts` measures text, links and names of every node in one pass up the tree.
//! 3. `choose` selects the subtree with the running text; `prune` removes boilerplate from it.
//! 4. `render` writes the rest as plain text, with `code`, `formula` and tables.
//!
//! No function here fails, recurses without a limit, or depends on anything except its arguments.

mod choose;
mod code;
mod decode;
mod dom;
mod facts;
mod formula;
mod mathml;
mod meta;
mod prune;
mod reduce;
mod render;
mod tag;
mod words;

use std::ops::Range;

pub use decode::decode;

/// Options for the text of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Which images are written as their alternative text.
    pub alt: Alt,
    /// Whether the text includes the heading that is the page's title.
    pub title: bool,
    /// Whether code blocks are enclosed in lines of three backticks. Plain text has no markers.
    pub fences: bool,
}

/// Which images are written as their alternative text. Images of formulas always are, as LaTeX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alt {
    /// Images of formulas only.
    Formulas,
    /// Images within a line of text, too.
    #[default]
    Inline,
    /// All images.
    All,
}

/// The result for a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The title, without the name of the site if the page's heading shows what that is.
    pub title: Option<String>,
    /// The day of publication, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// The language that the page declares, as an ISO 639 code in small letters.
    pub language: Option<String>,
    /// The main text, by default without the title. Blocks are on separate lines, paragraphs are separated by an
    /// empty line, cells of tables by a tab, and formulas are LaTeX between `$` or `$$`.
    pub text: String,
    /// The parts of the text that are not prose, in order; a formula in a table is in both.
    pub spans: Vec<Span>,
}

/// A part of a page's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The kind of the part.
    pub kind: Kind,
    /// The position, in bytes.
    pub range: Range<usize>,
}

/// The kind of a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A code block, or other text with a fixed layout of lines and spaces.
    Code,
    /// A formula with its delimiters.
    Formula,
    /// A table of data.
    Table,
}

/// The main text of a page. For a page without running text, it is the text of its body.
#[must_use]
pub fn extract(html: &str, options: &Options) -> Page {
    let tree = dom::Tree::parse(&reduce::reduce(html));
    let facts = facts::facts(&tree);
    let meta = meta::meta(&tree, &facts);
    let root = choose::choose(&tree, &facts);
    let title = meta.title.as_deref().filter(|_| !options.title);
    let off = prune::prune(&tree, &facts, root, title);
    let (text, spans) = render::render(&tree, &facts, root, &off, options);
    Page { title: meta.title, date: meta.date, language: meta.language, text, spans }
}
