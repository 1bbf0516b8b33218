//! The main text of a web page.
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
//! The Llama 3 paper (section 3.1.1, "Text extraction and cleaning") asks for precision in removing boilerplate and for recall of
//! content, keeps the structure of mathematics and code, keeps alternative texts, and removes markdown markers. The stages:
//!
//! 1. `reduce` leaves out scripts, styles and unread attributes; `dom` parses what is left with html5ever into one `Vec`.
//! 2. `facts` measures text, links and names of every node in one pass up the tree.
//! 3. `choose` takes the subtree that holds the running text; `prune` removes from it what is none.
//! 4. `render` writes the rest as plain text, with `code`, `formula` and tables.
//!
//! Nothing here fails, recurses without a limit, or depends on anything but the arguments.

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

/// How a page's text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Which images are written as their alternative text.
    pub alt: Alt,
    /// Whether the heading that is the page's title stays in the text.
    pub title: bool,
    /// Whether blocks of code stand between lines of three backticks. The plain text has no markers.
    pub fences: bool,
}

/// Which images are written as their alternative text. Images of formulas always are, as LaTeX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alt {
    /// Images of formulas only.
    Formulas,
    /// Images that stand in a line of text too.
    #[default]
    Inline,
    /// All images.
    All,
}

/// What was found in a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The title, without the name of the site where the page's heading tells it.
    pub title: Option<String>,
    /// The day of publication, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// The language that the page declares, as an ISO 639 code in small letters.
    pub language: Option<String>,
    /// The main text, by default without the title: blocks in lines, paragraphs apart by an empty line, cells of tables by a tab, formulas
    /// as LaTeX between `$` or `$$`.
    pub text: String,
    /// The parts of the text that are no prose, in order; a formula in a table is in both.
    pub spans: Vec<Span>,
}

/// A part of a page's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
}

/// What a part of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block of code, or other text whose lines and spaces the page lays out.
    Code,
    /// A formula with its delimiters.
    Formula,
    /// A table of data.
    Table,
}

/// The main text of a page. A page without running text has the text of its body.
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
