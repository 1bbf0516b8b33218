//! Title, date and language of a page.

use crate::dom::Tree;
use crate::facts::Fact;
use crate::tag::Tag;

/// The metadata of a page.
#[derive(Debug, Default)]
pub struct Meta {
    pub title: Option<String>,
    pub date: Option<String>,
    pub language: Option<String>,
}

/// Reads the page's head, and its first heading.
pub fn meta(tree: &Tree, facts: &[Fact]) -> Meta {
    let mut meta = Meta::default();
    let mut headings = Vec::new();
    let (mut open_graph, mut element) = (None, None);
    for (index, node) in tree.nodes.iter().enumerate() {
        match node.tag {
            Tag::Html => {
                meta.language = node.attribute("lang").or_else(|| node.attribute("xml:lang")).and_then(language)
            }
            Tag::Meta => {
                let name = ["property", "name", "itemprop", "http-equiv"].iter().find_map(|name| node.attribute(name));
                let content = node.attribute("content").map(str::trim).filter(|content| !content.is_empty());
                let (Some(name), Some(content)) = (name, content) else { continue };
                match name.to_ascii_lowercase().as_str() {
                    "og:title" | "twitter:title" if open_graph.is_none() => open_graph = Some(content.to_owned()),
                    "article:published_time"
                    | "datepublished"
                    | "date"
                    | "dc.date"
                    | "dc.date.issued"
                    | "pubdate"
                    | "publish-date"
                    | "parsely-pub-date"
                    | "sailthru.date"
                    | "citation_publication_date" => {
                        meta.date = meta.date.take().or_else(|| day(content));
                    }
                    "content-language" => meta.language = meta.language.take().or_else(|| language(content)),
                    _ => {}
                }
            }
            Tag::Title if element.is_none() => {
                let text = tree.text(index);
                element = (!text.is_empty()).then_some(text);
            }
            Tag::H1 if !facts[index].unseen && facts[index].chars > 2 => headings.push(index),
            Tag::Time if meta.date.is_none() => meta.date = node.attribute("datetime").and_then(day),
            _ => {}
        }
    }
    let page = open_graph.or(element);
    // The heading that the page's title repeats; else the only heading; else the title.
    let texts: Vec<String> = headings.iter().map(|&index| heading(&tree.text(index))).collect();
    let repeated = texts.iter().find(|text| page.as_ref().is_some_and(|page| same(page, text)));
    meta.title = repeated.cloned().or_else(|| page.clone()).or_else(|| texts.first().cloned());
    meta
}

/// The text of a heading, without the sign that links to it.
fn heading(text: &str) -> String {
    text.trim_end_matches(['¶', '#', '§', ' ']).to_owned()
}

/// Whether two texts are equal, or differ only by the name of the site.
pub fn same(one: &str, other: &str) -> bool {
    let letters =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let (one, other) = (letters(one), letters(other));
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    !short.is_empty()
        && (short == long || (short.chars().count() >= 8 && long.contains(&short) && 3 * short.len() >= long.len()))
}

/// The day of a date in ISO 8601.
fn day(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    let bytes = day.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    (digits(0..4) && digits(5..7) && digits(8..10) && bytes[4] == b'-' && bytes[7] == b'-').then(|| day.to_owned())
}

fn language(tag: &str) -> Option<String> {
    let code = tag.split(['-', '_', ',', ' ']).next()?.trim().to_ascii_lowercase();
    (matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(code)
}
