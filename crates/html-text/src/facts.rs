//! Measurements for each node of a page: length of text, share of links, meaning of its names.

use crate::dom::Tree;
use crate::tag::Tag;
use crate::words::{Labels, labels};

/// The measurements of one node. Sums include the node and its descendants, except the `own_` ones, which count the
/// text whose nearest block is the node. Lengths are in characters after collapsing white space; an ideograph counts
/// as two.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fact {
    /// Length of the text.
    pub chars: u32,
    /// Length of the text in links.
    pub link: u32,
    /// Length of the text directly in this block.
    pub own_chars: u32,
    /// Length of the text directly in this block that is in links.
    pub own_link: u32,
    /// Commas and ends of sentences directly in this block.
    pub own_marks: u32,
    /// How much the blocks resemble running text, in characters.
    pub score: f32,
    /// The same, without subtrees that are [`off`](Self::off).
    pub clean: f32,
    /// Length of the text outside links, without subtrees that are [`off`](Self::off).
    pub clean_plain: u32,
    /// Number of blocks of running text.
    pub paragraphs: u32,
    /// The labels of class, id, role and tag.
    pub labels: Labels,
    /// Index of the nearest block.
    pub block: u32,
    /// Whether it is inside a link.
    pub in_link: bool,
    /// Whether it is never shown.
    pub unseen: bool,
    /// Whether its names say that it is not part of the main text.
    pub off: bool,
}

impl Fact {
    /// The share of the text that is in links.
    pub fn link_density(&self) -> f32 {
        if self.chars == 0 { 0.0 } else { self.link as f32 / self.chars as f32 }
    }

    /// The length of the text directly in this block, outside links.
    pub fn own_plain(&self) -> u32 {
        self.own_chars - self.own_link
    }
}

/// Minimum number of characters outside links of a block of running text.
pub const PARAGRAPH: u32 = 80;
/// The names of a subtree are ignored if it has more than this share of the page's running text.
const MOST: f32 = 0.4;
/// If a page has less running text than this outside a footer or a hidden part, the footer or hidden part may contain
/// it.
const HARDLY: f32 = 200.0;

/// The measurements of all nodes, by index.
pub fn facts(tree: &Tree) -> Vec<Fact> {
    let mut facts = vec![Fact::default(); tree.nodes.len()];
    own(tree, &mut facts);
    sums(tree, &mut facts);
    show_hidden(tree, &mut facts);
    switch_off(tree, &mut facts);
    facts
}

/// Measurements of each node itself, from the top down.
fn own(tree: &Tree, facts: &mut [Fact]) {
    for (index, node) in tree.nodes.iter().enumerate() {
        let parent = facts[node.parent as usize];
        let mut fact = Fact { block: parent.block, in_link: parent.in_link, unseen: parent.unseen, ..Fact::default() };
        if node.tag == Tag::Text {
            if !fact.unseen {
                let (chars, marks) = measure(&node.text);
                fact.chars = chars;
                let block = &mut facts[fact.block as usize];
                block.own_chars += chars;
                block.own_marks += marks;
                if fact.in_link {
                    fact.link = chars;
                    block.own_link += chars;
                }
            }
        } else {
            if node.tag.is_block() {
                fact.block = u32::try_from(index).unwrap_or(u32::MAX);
            }
            let formula =
                node.tag == Tag::Script && node.attribute("type").is_some_and(|kind| kind.starts_with("math/tex"));
            fact.unseen |= node.tag.is_unseen() && !formula;
            fact.labels = tag_labels(node.tag);
            if node.has_attributes() {
                fact.in_link |= node.tag == Tag::A && node.attribute("href").is_some_and(|href| !href.starts_with('#'));
                fact.labels = fact.labels.with(attribute_labels(tree, index));
            }
        }
        facts[index] = fact;
    }
}

/// The length of a text, and the number of its commas and ends of sentences.
fn measure(text: &str) -> (u32, u32) {
    let (mut chars, mut marks, mut space) = (0_u32, 0_u32, true);
    for &byte in text.as_bytes() {
        match byte {
            b' ' | b'\n' | b'\t' | b'\r' | b'\x0c' => {
                chars += u32::from(!space);
                space = true;
                continue;
            }
            b',' | b'.' | b';' | b'!' | b'?' => {
                marks += 1;
                chars += 1;
            }
            // Ideographs and their punctuation start with these bytes; a continuation byte counts nothing.
            0xE3..=0xED => chars += 2,
            0x80..=0xBF => {}
            _ => chars += 1,
        }
        space = false;
    }
    if text.bytes().any(|byte| byte == 0xE3 || byte == 0xEF) {
        marks += u32::try_from(text.matches(['，', '。', '、', '；', '！', '？']).count()).unwrap_or(0);
    }
    (chars, marks)
}

fn tag_labels(tag: Tag) -> Labels {
    match tag {
        Tag::Nav | Tag::Menu => Labels::NAVIGATION,
        Tag::Aside => Labels::FRAME,
        Tag::Footer => Labels::FOOTER,
        Tag::Figcaption => Labels::CAPTION,
        Tag::Main | Tag::Article => Labels::CONTENT,
        _ => Labels::default(),
    }
}

fn attribute_labels(tree: &Tree, index: usize) -> Labels {
    let node = tree.node(index);
    let mut found = Labels::default();
    if node.attribute("aria-hidden") == Some("true") {
        found = found.with(Labels::DECORATION);
    }
    if node.attribute("hidden").is_some() || node.attribute("style").is_some_and(is_invisible) {
        found = found.with(Labels::HIDDEN);
    }
    found = found.with(match node.attribute("role") {
        Some("navigation" | "menu" | "menubar" | "tablist" | "toolbar") => Labels::NAVIGATION,
        Some("complementary" | "contentinfo" | "banner" | "search") => Labels::FRAME,
        Some("dialog" | "alertdialog") => Labels::FORM,
        Some("main" | "article") => Labels::CONTENT,
        _ => Labels::default(),
    });
    found = found.with(match node.attribute("itemprop") {
        Some("articleBody" | "text") => Labels::BODY,
        Some("author" | "datePublished" | "dateModified" | "publisher") => Labels::META,
        Some("comment") => Labels::COMMENT,
        _ => Labels::default(),
    });
    // The frame of the whole page has the names of everything that it may contain.
    if matches!(node.tag, Tag::Html | Tag::Body) {
        return Labels::default();
    }
    // A quotation on a page belongs to its text, even if it came from a social network.
    if node.tag == Tag::Blockquote {
        return found;
    }
    for name in ["class", "id"] {
        if let Some(names) = node.attribute(name) {
            found = found.with(labels(names));
        }
    }
    if node.tag.is_heading() { found.without(Labels::FRAME) } else { found }
}

fn is_invisible(style: &str) -> bool {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    style.contains("display:none") || style.contains("visibility:hidden")
}

/// Computes sums over subtrees, from the bottom up.
fn sums(tree: &Tree, facts: &mut [Fact]) {
    for index in (1..tree.nodes.len()).rev() {
        let fact = &mut facts[index];
        let worth = worth(tree.nodes[index].tag, fact);
        fact.score += worth;
        fact.paragraphs += u32::from(worth > 0.0 && fact.own_plain() >= PARAGRAPH);
        let Fact { chars, link, score, paragraphs, .. } = *fact;
        let parent = &mut facts[tree.nodes[index].parent as usize];
        parent.chars += chars;
        parent.link += link;
        parent.score += score;
        parent.paragraphs += paragraphs;
    }
}

/// How much a block resembles running text: its length outside links, reduced for short blocks and for blocks without
/// punctuation.
fn worth(tag: Tag, fact: &Fact) -> f32 {
    let plain = fact.own_plain();
    if plain == 0 || fact.own_link > plain {
        return 0.0;
    }
    let length = match plain {
        0..20 => 0.1,
        20..40 => 0.3,
        40..80 => 0.6,
        _ => 1.0,
    };
    let marks = if fact.own_marks == 0 { 0.5 } else { 1.0 };
    let tag = match tag {
        Tag::P | Tag::Pre | Tag::Blockquote => 1.0,
        Tag::Li | Tag::Td | Tag::Th | Tag::Dd | Tag::Dt => 0.6,
        Tag::Figcaption | Tag::Caption | Tag::Label | Tag::Legend | Tag::Option => 0.1,
        _ if tag.is_heading() => 0.3,
        _ => 0.8,
    };
    plain as f32 * length * marks * tag
}

/// Reads a page that hides its text until a script runs as if the script had run.
fn show_hidden(tree: &Tree, facts: &mut [Fact]) {
    let total = facts[0].score;
    let mut index = 0;
    while index < tree.nodes.len() {
        let fact = &facts[index];
        let hidden = fact.labels.any(Labels::HIDDEN) && (fact.score <= MOST * total || total - fact.score >= HARDLY);
        // All of a page is marked in this way while a dialog is open.
        let decoration = fact.labels.any(Labels::DECORATION) && fact.score <= 0.1 * total;
        if hidden || decoration {
            for inner in tree.subtree(index) {
                facts[inner].unseen = true;
            }
            index = tree.nodes[index].end as usize;
        } else {
            index += 1;
        }
    }
}

/// Decides by names which subtrees are not part of the main text, and sums the rest.
fn switch_off(tree: &Tree, facts: &mut [Fact]) {
    let total = facts[0].score;
    let decide = |facts: &mut [Fact], kinds: Labels| {
        for fact in facts.iter_mut() {
            // A name of the body that contains another word, such as `article-body has-sidebar`, counts as the
            // body's.
            fact.off = fact.unseen
                || (fact.labels.any(kinds) && !fact.labels.any(Labels::BODY) && fact.score <= MOST * total)
                || (fact.labels.any(Labels::FOOTER) && total - fact.score >= HARDLY)
                || fact.labels.any(Labels::COMMENT) && kinds.any(Labels::COMMENT) && !fact.labels.any(Labels::BODY);
            (fact.clean, fact.clean_plain) = (0.0, 0);
        }
        for index in (1..tree.nodes.len()).rev() {
            let inner: f32 = facts[index].clean;
            let fact = &mut facts[index];
            if fact.off {
                (fact.clean, fact.clean_plain) = (0.0, 0);
                continue;
            }
            fact.clean = inner + worth(tree.nodes[index].tag, fact);
            if tree.nodes[index].tag == Tag::Text {
                fact.clean_plain = fact.chars - fact.link;
            }
            let Fact { clean, clean_plain, .. } = *fact;
            let parent = &mut facts[tree.nodes[index].parent as usize];
            parent.clean += clean;
            parent.clean_plain += clean_plain;
        }
    };
    let boilerplate = Labels::BOILERPLATE.with(Labels::CAPTION);
    if is_discussion(tree) {
        decide(facts, boilerplate);
        return;
    }
    decide(facts, boilerplate.with(Labels::COMMENT));
    // On a page with hardly any other text, the readers' comments are the main text.
    if facts[0].clean < 0.1 * total && facts[0].clean < 1_000.0 {
        decide(facts, boilerplate);
    }
}

/// Whether the page declares itself as a forum thread, or as a question with answers.
fn is_discussion(tree: &Tree) -> bool {
    let programs = [
        "discourse",
        "phpbb",
        "vbulletin",
        "xenforo",
        "mybb",
        "smf",
        "flarum",
        "invision",
        "vanilla",
        "nodebb",
        "question2answer",
    ];
    let names = ["forum", "viewtopic", "showthread", "thread", "topic", "question-page", "comments-page"];
    tree.nodes.iter().any(|node| match node.tag {
        Tag::Text => false,
        Tag::Meta if node.attribute("name") == Some("generator") => {
            let content = node.attribute("content").unwrap_or_default().to_ascii_lowercase();
            programs.iter().any(|program| content.starts_with(program))
        }
        Tag::Html | Tag::Body => {
            let is = |name: &str| names.iter().any(|known| name.to_ascii_lowercase().contains(known));
            ["class", "id"].iter().filter_map(|attribute| node.attribute(attribute)).any(is)
        }
        _ => node.attribute("itemtype").is_some_and(|kind| {
            ["DiscussionForumPosting", "QAPage", "/Question"].iter().any(|known| kind.ends_with(known))
        }),
    })
}
