//! The second pass: removes parts of the chosen subtree that are not main text.
//!
//! [`crate::facts`] has already used the names. This pass uses structure: the share of links, repeated siblings,
//! headings that announce other pages, and the position before the first and after the last paragraph.

use crate::dom::Tree;
use crate::facts::{Fact, PARAGRAPH};
use crate::meta::same;
use crate::tag::Tag;
use crate::words::Labels;

/// Lower-case prefixes of headings and lines that announce other pages.
const ANNOUNCES: &[&str] = &[
    "related",
    "more:",
    "read more",
    "read also",
    "read next",
    "more from",
    "more on",
    "more stories",
    "more news",
    "more like this",
    "see also:",
    "see more",
    "also read",
    "also on",
    "also see",
    "recommended",
    "you may also",
    "you might also",
    "don't miss",
    "don’t miss",
    "most read",
    "most popular",
    "most viewed",
    "trending",
    "popular now",
    "popular posts",
    "latest news",
    "latest stories",
    "latest articles",
    "top stories",
    "up next",
    "next up",
    "what to read next",
    "what others are reading",
    "editor's picks",
    "editors' picks",
    "editor’s picks",
    "recent posts",
    "recent articles",
    "other stories",
    "similar articles",
    "similar posts",
    "similar stories",
    "explore further",
    "further reading",
    "around the web",
    "from around the web",
    "sponsored",
    "promoted",
    "in this article",
    "on this page",
    "table of contents",
    "share this",
    "share on",
    "follow us",
    "sign up",
    "subscribe",
    "newsletter",
    "leave a comment",
    "leave a reply",
    "post a comment",
    "comments",
    "verwandte",
    "mehr zum thema",
    "lesen sie auch",
    "auch interessant",
    "das könnte sie",
    "à lire aussi",
    "lire aussi",
    "sur le même",
    "artículos relacionados",
    "noticias relacionadas",
    "lea también",
    "te puede interesar",
    "leia também",
    "leia mais",
    "veja também",
    "veja mais",
    "notícias relacionadas",
    "leggi anche",
    "lees ook",
    "читайте также",
    "по теме",
    "关键词",
    "相关阅读",
    "相关文章",
    "相关新闻",
    "推荐阅读",
    "関連記事",
];

/// Lower-case prefixes of short lines that describe the page and are not part of its text.
const ABOUT_PAGE: &[&str] = &[
    "follow ",
    "share",
    "tags:",
    "tags ",
    "tag:",
    "filed under",
    "posted in",
    "categories:",
    "category:",
    "copyright",
    "©",
    "(c) ",
    "all rights reserved",
    "photo:",
    "photos:",
    "image:",
    "image credit",
    "photo credit",
    "source:",
    "by ",
    "posted ",
    "published ",
    "updated ",
    "last updated",
    "written by",
    "sign up",
    "subscribe",
    "get the latest",
    "print ",
    "email ",
    "advertisement",
    "comments",
    "tweet",
    "view comments",
    "show comments",
    "join the",
    "have a tip",
    "contact us",
    "report a typo",
    "like us",
    "related",
    "read more",
    "more:",
];

/// Lower-case lines without content that are alone in their block.
const LABELS: &[&str] = &[
    "ad",
    "advert",
    "advertisement",
    "advertisements",
    "advertising",
    "anzeige",
    "werbung",
    "publicité",
    "publicidad",
    "publicidade",
    "реклама",
    "story continues below",
    "article continues below",
    "continue reading below",
    "loading",
    "loading...",
    "share",
    "tweet",
    "print",
    "email",
    "save",
    "this slideshow requires javascript.",
    "this video is unavailable",
    "please enable javascript",
    "back to top",
    "top of page",
    "bottom of page",
    "top",
    "close",
];

/// For each index, whether the subtree is left out.
pub fn prune(tree: &Tree, facts: &[Fact], root: usize, title: Option<&str>) -> Vec<bool> {
    let mut pass = Pass { tree, facts, root, off: facts.iter().map(|fact| fact.off).collect(), listing: false };
    // The names of the root itself no longer matter.
    pass.off[root] = false;
    pass.listing = facts[root].link_density() > 0.6;
    pass.by_tag(title);
    if !pass.listing {
        pass.links();
        pass.teasers();
    }
    pass.announced();
    pass.after_the_end();
    pass.off
}

struct Pass<'a> {
    tree: &'a Tree,
    facts: &'a [Fact],
    root: usize,
    off: Vec<bool>,
    /// Whether the page is a list of links.
    listing: bool,
}

impl Pass<'_> {
    /// The indices inside the root that are not left out yet.
    fn places(&self) -> Vec<usize> {
        let mut places = Vec::new();
        let mut index = self.root + 1;
        let end = self.tree.node(self.root).end as usize;
        while index < end {
            let node = self.tree.node(index);
            if self.off[index] || self.facts[index].unseen {
                index = node.end as usize;
                continue;
            }
            if node.tag != Tag::Text {
                places.push(index);
            }
            index += 1;
        }
        places
    }

    fn share(&self, index: usize) -> f32 {
        self.facts[index].score / self.facts[self.root].score.max(1.0)
    }

    fn text(&self, index: usize) -> String {
        self.tree.text(index)
    }

    /// Removes elements whose tag never holds text of the page, and the heading that is the title.
    fn by_tag(&mut self, title: Option<&str>) {
        for index in self.places() {
            let (tag, fact) = (self.tree.node(index).tag, self.facts[index]);
            self.off[index] = match tag {
                Tag::Form | Tag::Fieldset => fact.paragraphs == 0 && self.share(index) < 0.2,
                Tag::Header => self.share(index) < 0.2 && fact.paragraphs == 0,
                Tag::Figure => {
                    self.share(index) < 0.2
                        && !self.holds(index, &[Tag::Pre, Tag::Table, Tag::Math, Tag::Code, Tag::Blockquote])
                }
                Tag::Label | Tag::Legend => true,
                Tag::H1 | Tag::H2 => title.is_some_and(|title| same(title, &self.text(index))),
                _ => false,
            };
        }
    }

    fn holds(&self, index: usize, tags: &[Tag]) -> bool {
        self.tree.subtree(index).any(|inner| tags.contains(&self.tree.node(inner).tag))
    }

    /// Removes blocks that are mostly links.
    fn links(&mut self) {
        for index in self.places() {
            let (tag, fact) = (self.tree.node(index).tag, self.facts[index]);
            if self.off[self.tree.parent(index)] || fact.chars == 0 || fact.link == 0 {
                continue;
            }
            let plain = fact.chars - fact.link;
            let density = fact.link_density();
            // Links that an author put between paragraphs are text; links that a system puts there have a name.
            let authored = !self.tree.node(index).has_names() && self.stands_among_paragraphs(index);
            self.off[index] = !authored
                && match tag {
                    Tag::Ul | Tag::Ol | Tag::Dl | Tag::Menu | Tag::Dir => density > 0.5 && plain < 200,
                    Tag::Div | Tag::Section | Tag::Table | Tag::Article => {
                        density > 0.5 && plain < 200 && fact.paragraphs == 0
                    }
                    Tag::P => density > 0.8 && plain < 20 && fact.own_marks == 0,
                    _ => false,
                };
        }
    }

    fn stands_among_paragraphs(&self, index: usize) -> bool {
        self.facts[self.tree.parent(index)].paragraphs >= self.facts[index].paragraphs + 2
    }

    /// Removes teasers: three or more similar siblings, each short and with a link.
    fn teasers(&mut self) {
        for parent in std::iter::once(self.root).chain(self.places()) {
            let authored =
                parent != self.root && !self.tree.node(parent).has_names() && self.stands_among_paragraphs(parent);
            if self.off[parent] || authored {
                continue;
            }
            let mut run: Vec<usize> = Vec::new();
            let children: Vec<usize> =
                self.tree.children(parent).filter(|&at| self.tree.node(at).tag != Tag::Text).collect();
            for (place, &child) in children.iter().enumerate() {
                if self.is_teaser(child) && run.last().is_none_or(|&last| self.alike(last, child)) {
                    run.push(child);
                    if place + 1 < children.len() {
                        continue;
                    }
                }
                let share: f32 = run.iter().map(|&at| self.share(at)).sum();
                if run.len() >= 3 && share < 0.4 {
                    for &at in &run {
                        self.off[at] = true;
                    }
                }
                run.clear();
                if self.is_teaser(child) {
                    run.push(child);
                }
            }
        }
    }

    fn is_teaser(&self, index: usize) -> bool {
        let (tag, fact) = (self.tree.node(index).tag, &self.facts[index]);
        let container = matches!(tag, Tag::Div | Tag::Article | Tag::Li | Tag::Section | Tag::A | Tag::Figure);
        container && fact.chars > 0 && fact.chars < 400 && fact.link_density() > 0.3
    }

    fn alike(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.tree.node(one), self.tree.node(other));
        one.tag == other.tag && one.attribute("class").map(first_word) == other.attribute("class").map(first_word)
    }

    /// Removes what follows headings that announce other pages, and lines that announce them.
    fn announced(&mut self) {
        for index in self.places() {
            let (tag, fact) = (self.tree.node(index).tag, self.facts[index]);
            let line = tag.is_block() && fact.own_chars > 0;
            if !line || fact.chars > 120 || self.off[index] || self.is_inside_off(index) {
                continue;
            }
            let text = self.text(index).to_lowercase();
            if LABELS.contains(&text.as_str()) {
                self.off[index] = fact.chars == fact.own_chars;
                continue;
            }
            if !ANNOUNCES.iter().any(|begin| text.starts_with(begin)) {
                continue;
            }
            let heading = tag.is_heading() || fact.own_marks == 0 && fact.chars < 40;
            if !heading {
                // `Related: another page`.
                self.off[index] = fact.link > 0 && !text.ends_with('.');
                continue;
            }
            self.off[index] = tag.is_heading() || fact.link > 0;
            self.off_after(index);
        }
    }

    /// Leaves out the blocks after an announcement, up to a heading or a paragraph, as long as they have links.
    fn off_after(&mut self, index: usize) {
        for at in self.tree.following(index) {
            let (tag, fact) = (self.tree.node(at).tag, self.facts[at]);
            if fact.chars == 0 {
                continue;
            }
            if tag.is_heading() || fact.link == 0 || (fact.link_density() < 0.3 && fact.paragraphs > 0) {
                break;
            }
            self.off[at] = true;
            self.off[index] = true;
        }
    }

    fn is_inside_off(&self, index: usize) -> bool {
        let mut at = index;
        while at != self.root && at != 0 {
            at = self.tree.parent(at);
            if self.off[at] && at != self.root {
                return true;
            }
        }
        false
    }

    /// Removes short blocks about the page before the first and after the last paragraph.
    fn after_the_end(&mut self) {
        let blocks: Vec<usize> = self
            .places()
            .into_iter()
            .filter(|&at| self.tree.node(at).tag.is_block() && self.facts[at].own_chars > 0)
            .collect();
        let running = |at: &usize| {
            let fact = &self.facts[*at];
            fact.own_plain() >= PARAGRAPH && fact.own_marks > 0
        };
        let Some(first) = blocks.iter().position(running) else { return };
        let last = blocks.iter().rposition(running).unwrap_or(first);
        for (place, &at) in blocks[..first].iter().enumerate() {
            // Author and date are between the title and the text, in a few lines.
            self.off[at] |= self.is_about_page(at) || (place < 6 && self.is_date(at));
        }
        for &at in blocks[last + 1..].iter().rev() {
            let fact = &self.facts[at];
            if self.tree.node(at).tag.is_heading()
                || self.is_about_page(at)
                || (fact.link_density() > 0.5 && !self.listing)
            {
                self.off[at] = true;
            } else if self.tree.node(at).tag != Tag::Li {
                break;
            }
        }
    }

    /// Whether a short line is a date: it contains a year, and does not end like a sentence.
    fn is_date(&self, index: usize) -> bool {
        let (tag, fact) = (self.tree.node(index).tag, &self.facts[index]);
        if fact.chars > 60 || tag.is_heading() || matches!(tag, Tag::Li | Tag::Td | Tag::Th | Tag::Dd | Tag::Dt) {
            return false;
        }
        let text = self.text(index);
        let year = |word: &str| word.len() == 4 && (word.starts_with("19") || word.starts_with("20"));
        text.split(|c: char| !c.is_ascii_digit()).any(year) && !text.ends_with(['.', '!', '?', ':'])
    }

    fn is_about_page(&self, index: usize) -> bool {
        let fact = &self.facts[index];
        if fact.chars > 120 || fact.chars != fact.own_chars {
            return false;
        }
        let text = self.text(index).to_lowercase();
        ABOUT_PAGE.iter().any(|begin| text.starts_with(begin)) || fact.labels.any(Labels::META)
    }
}

fn first_word(class: &str) -> &str {
    class.split_ascii_whitespace().next().unwrap_or_default()
}
