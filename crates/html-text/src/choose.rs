//! Chooses the subtree that holds the main text.

use crate::dom::Tree;
use crate::facts::Fact;
use crate::tag::Tag;
use crate::words::Labels;

/// A child with at least this share of a node's running text replaces the node.
const DOMINATES: f32 = 0.8;
/// The share of all text outside links, including short lines, that the child must also have; otherwise the page is
/// not an article.
const COVERS: f32 = 0.75;
/// The same share for a page that marks its main part.
const COVERS_MAIN: f32 = 0.85;
/// A subtree whose name says that it is the body of the text is accepted from this share of the page's running text
/// on.
const BELIEVED: f32 = 0.25;
/// Its minimum share of all subtrees with such a name.
const ALONE: f32 = 0.9;

/// The index of the subtree with the main text.
pub fn choose(tree: &Tree, facts: &[Fact]) -> usize {
    let start = named_body(tree, facts).unwrap_or(0);
    descend(tree, facts, start)
}

/// The outermost subtree whose name says that it is the body of the text, if there is no other one of similar size:
/// several would be posts.
fn named_body(tree: &Tree, facts: &[Fact]) -> Option<usize> {
    let mut found: Option<usize> = None;
    let mut sum = 0.0;
    let mut index = 0;
    while index < tree.nodes.len() {
        let fact = &facts[index];
        let named = !fact.off && fact.labels.any(Labels::BODY) && fact.paragraphs >= 1;
        if named {
            sum += fact.clean;
            if found.is_none_or(|best| facts[best].clean < fact.clean) {
                found = Some(index);
            }
        }
        index = if named || fact.off { tree.nodes[index].end as usize } else { index + 1 };
    }
    found.filter(|&best| facts[best].clean >= BELIEVED * facts[0].clean && facts[best].clean >= ALONE * sum)
}

/// Descends as long as one child contains nearly all text.
fn descend(tree: &Tree, facts: &[Fact], mut index: usize) -> usize {
    loop {
        let child = tree.children(index).max_by(|&a, &b| facts[a].clean.total_cmp(&facts[b].clean));
        let Some(child) = child else { return index };
        let container = !matches!(
            tree.node(child).tag,
            Tag::P
                | Tag::Blockquote
                | Tag::Pre
                | Tag::Li
                | Tag::Td
                | Tag::Tr
                | Tag::Tbody
                | Tag::Table
                | Tag::Dl
                | Tag::Dd
                | Tag::Ul
                | Tag::Ol
                | Tag::Text
        );
        let layout =
            matches!(tree.node(child).tag, Tag::Td | Tag::Tr | Tag::Tbody | Tag::Table) && facts[child].paragraphs > 2;
        let (part, whole) = (&facts[child], &facts[index]);
        let covers = if matches!(tree.node(index).tag, Tag::Main | Tag::Article) { COVERS_MAIN } else { COVERS };
        let dominates =
            part.clean >= DOMINATES * whole.clean && part.clean_plain as f32 >= covers * whole.clean_plain as f32;
        if !(container || layout) || !dominates || facts[child].clean <= 0.0 {
            return index;
        }
        // A block with its own running text is not replaced by a part of it.
        if facts[index].own_plain() >= crate::facts::PARAGRAPH && index != 0 {
            return index;
        }
        // Several paragraphs are not replaced by the longest of them.
        if facts[child].own_plain() >= crate::facts::PARAGRAPH
            && tree.children(index).filter(|&c| facts[c].clean > 0.0).count() > 1
        {
            return index;
        }
        index = child;
    }
}
