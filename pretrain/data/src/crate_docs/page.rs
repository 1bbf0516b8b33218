//! Pages with the documentation of a source file or with a Markdown text, in the form of documentation sites: a bar, a list of
//! the package's modules, the text, a footer.

use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

use super::source::Documentation;

/// The elements of a page around its text.
pub struct Frame<'a> {
    /// Name and version of the package.
    pub package: &'a str,
    /// The page's title.
    pub title: &'a str,
    /// The titles of the package's pages.
    pub pages: &'a [String],
}

/// Maximum number of entries in the list beside the text.
const LISTED: usize = 40;

/// The page of a source file.
#[must_use]
pub fn of_module(frame: &Frame, documentation: &Documentation) -> String {
    let mut body = markdown(&documentation.module);
    for item in &documentation.items {
        body += &format!("<section><h3><code>{}</code></h3>\n", escaped(&item.declaration));
        body += &markdown(&item.text);
        body += "</section>\n";
    }
    around(frame, &body)
}

/// The page of a Markdown text.
#[must_use]
pub fn of_markdown(frame: &Frame, text: &str) -> String {
    around(frame, &markdown(text))
}

fn around(frame: &Frame, body: &str) -> String {
    let title = escaped(frame.title);
    let package = escaped(frame.package);
    let entries: String = (frame.pages.iter().take(LISTED))
        .map(|page| format!("<li><a href=\"{0}.html\">{0}</a></li>", escaped(page)))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - {package}</title></head><body>\n<header \
         class=\"topbar\"><a href=\"/\">Home</a> <a href=\"/releases\">Releases</a> <a href=\"/about\">About</a> <form><input \
         name=\"query\" placeholder=\"Search\"></form></header>\n<nav class=\"sidebar\"><h2>{package}</h2><ul>{entries}</ul></nav>\n\
         <main><article><h1>{title}</h1>\n{body}</article></main>\n<footer>Generated for {package}. <a \
         href=\"/privacy\">Privacy</a> <a href=\"/terms\">Terms</a></footer>\n</body></html>\n"
    )
}

/// Renders a documentation text as HTML. Like rustdoc, it hides the lines of Rust examples that begin with `#`, and treats `[name]`
/// without an address as a link.
fn markdown(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
    let resolve = |_: pulldown_cmark::BrokenLink| Some((CowStr::Borrowed("#"), CowStr::Borrowed("")));
    let mut is_rust = false;
    let events = Parser::new_with_broken_link_callback(text, options, Some(resolve)).filter_map(|event| {
        match &event {
            Event::Start(Tag::CodeBlock(kind)) => {
                is_rust = match kind {
                    CodeBlockKind::Indented => true,
                    CodeBlockKind::Fenced(language) => {
                        language.is_empty()
                            || ["rust", "no_run", "ignore", "should_panic", "compile_fail", "edition"]
                                .iter()
                                .any(|known| language.starts_with(known))
                    }
                };
            }
            Event::End(TagEnd::CodeBlock) => is_rust = false,
            Event::Text(code) if is_rust => return Some(Event::Text(shown(code).into())),
            // Badges and pictures of a README are left out.
            Event::Start(Tag::Image { link_type: LinkType::Inline, .. }) => {}
            // Comments and tags could close an element of the page, so they are left out.
            Event::Html(_) | Event::InlineHtml(_) => return None,
            _ => {}
        }
        Some(event)
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

/// A Rust example without its hidden lines.
fn shown(code: &str) -> String {
    let is_hidden = |line: &str| {
        let line = line.trim();
        line == "#" || line.starts_with("# ")
    };
    code.split_inclusive('\n')
        .filter(|line| !is_hidden(line))
        .map(|line| line.replacen("##", "#", usize::from(line.trim_start().starts_with("##"))))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crate_docs::source::documentation;

    #[test]
    fn a_page_has_the_texts_and_no_hidden_lines() {
        let source = "//! Sums of [`Vec`]s.\n\n/// Adds `a < b`.\n///\n/// ```\n/// # use hidden::thing;\n/// let three = add(1, 2);\n/// \
                      ```\npub fn add<T>(a: T) {}\n";
        let pages = vec!["sums".to_owned()];
        let frame = Frame { package: "maths 1.0", title: "sums", pages: &pages };
        let page = of_module(&frame, &documentation(source));
        for part in ["<h1>sums</h1>", "let three = add(1, 2);", "<code>pub fn add&lt;T&gt;(a: T)</code>", "a &lt; b"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("hidden") && page.contains("<a href=\"#\""), "{page}");
        // The pipeline extracts the text without bar, list and footer.
        let text = html_text::extract(&page, &html_text::Options::default()).text;
        assert!(text.contains("let three = add(1, 2);") && !text.contains("Privacy"), "{text}");
    }
}
