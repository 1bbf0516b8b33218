//! The tree of a page: html5ever builds it in one `Vec`, from which it is copied into document order.
//!
//! In document order, a subtree is a range of nodes, a pass over the tree is a loop over a `Vec`, and a bottom-up
//! pass is the same loop backwards. No pass recurses, so the depth of a page cannot exhaust the stack.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag as TagToken, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{Attribute, LocalName, QualName, TokenizerResult};

use crate::tag::Tag;

/// No node.
const NONE: u32 = u32::MAX;
/// Maximum depth of nested elements. Deeper tags are left out, their text stays. The limit bounds the work of the
/// tree builder, which repeatedly searches all open elements. Chromium has the same limit of 512.
const MAX_DEPTH: u32 = 512;

/// A page in document order. Node 0 is the document.
pub struct Tree {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// A node of the page.
pub struct Node {
    /// The index of the parent; the document is its own parent.
    pub parent: u32,
    /// The index after the node's last descendant.
    pub end: u32,
    /// The tag.
    pub tag: Tag,
    /// The name of an element; else empty.
    pub name: LocalName,
    /// The text of a text node; else empty.
    pub text: StrTendril,
    /// The attributes that [`crate::reduce`] kept.
    attributes: Vec<Attribute>,
}

impl Node {
    /// The value of the attribute `name`, which is in lower case.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
    }

    /// Whether it has a class or an id.
    pub fn has_names(&self) -> bool {
        self.attribute("class").is_some() || self.attribute("id").is_some()
    }

    /// Whether there are attributes at all.
    pub fn has_attributes(&self) -> bool {
        !self.attributes.is_empty()
    }
}

impl Tree {
    /// Parses a page as a browser does.
    pub fn parse(html: &str) -> Self {
        let sink = Sink::new(html.len());
        let options = TreeBuilderOpts { drop_doctype: true, ..TreeBuilderOpts::default() };
        // Every tag and text has more than one byte. Further nodes are copies of formatting elements that the page
        // leaves open, whose number is unlimited.
        let max_nodes = html.len() / 2 + 10_000;
        let limited = Limited { builder: TreeBuilder::new(sink, options), skipped: RefCell::default(), max_nodes };
        let tokenizer = Tokenizer::new(limited, TokenizerOpts::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(html));
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        tokenizer.end();
        tokenizer.sink.builder.sink.into_tree()
    }

    /// The node with index `index`.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The indices of a node's children.
    pub fn children(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[index].end as usize;
        let first = index + 1;
        std::iter::successors((first < end).then_some(first), move |&child| {
            let next = self.nodes[child].end as usize;
            (next < end).then_some(next)
        })
    }

    /// The indices of the siblings after a node.
    pub fn following(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.nodes[self.parent(index)].end as usize;
        let next = move |at: usize| Some(self.nodes[at].end as usize).filter(|&after| after < end);
        std::iter::successors(next(index), move |&at| next(at))
    }

    /// The indices of a node and its descendants.
    pub fn subtree(&self, index: usize) -> std::ops::Range<usize> {
        index..self.nodes[index].end as usize
    }

    /// The index of the parent.
    pub fn parent(&self, index: usize) -> usize {
        self.nodes[index].parent as usize
    }

    /// All text of a subtree, with collapsed white space.
    pub fn text(&self, index: usize) -> String {
        let mut text = String::new();
        for node in &self.nodes[self.subtree(index)] {
            for word in node.text.split_whitespace() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        text
    }
}

/// html5ever's handle of a node. It contains the name, since html5ever asks for names far more often than for
/// anything else.
#[derive(Clone)]
struct Handle {
    id: u32,
    name: QualName,
}

struct Raw {
    parent: u32,
    previous: u32,
    next: u32,
    first: u32,
    last: u32,
    depth: u32,
    data: Data,
}

enum Data {
    Element(LocalName, Vec<Attribute>),
    Text(StrTendril),
    /// The document, the content of a template, comments.
    Other,
}

struct Sink {
    nodes: RefCell<Vec<Raw>>,
    /// The depth of the innermost open element.
    depth: Cell<u32>,
    nameless: QualName,
}

impl Sink {
    fn new(bytes: usize) -> Self {
        let mut nodes = Vec::with_capacity(bytes / 16 + 8);
        nodes.push(Raw::new(Data::Other));
        let nameless = QualName::new(None, html5ever::ns!(), LocalName::default());
        Self { nodes: RefCell::new(nodes), depth: Cell::new(0), nameless }
    }

    fn add(&self, data: Data) -> u32 {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Raw::new(data));
        u32::try_from(nodes.len() - 1).unwrap_or(NONE)
    }

    fn nameless(&self, id: u32) -> Handle {
        Handle { id, name: self.nameless.clone() }
    }

    /// Appends `child` to `parent`, or inserts it before `sibling` if there is one.
    fn insert(&self, parent: u32, sibling: u32, child: NodeOrText<Handle>) {
        let mut nodes = self.nodes.borrow_mut();
        let previous = if sibling == NONE { nodes[parent as usize].last } else { nodes[sibling as usize].previous };
        let id = match child {
            NodeOrText::AppendNode(node) => {
                detach(&mut nodes, node.id);
                node.id
            }
            NodeOrText::AppendText(text) => {
                if let Some(Raw { data: Data::Text(before), .. }) = nodes.get_mut(previous as usize) {
                    before.push_tendril(&text);
                    return;
                }
                nodes.push(Raw::new(Data::Text(text)));
                u32::try_from(nodes.len() - 1).unwrap_or(NONE)
            }
        };
        // Removing the node may have changed the previous sibling.
        let previous = if sibling == NONE { nodes[parent as usize].last } else { nodes[sibling as usize].previous };
        let depth = nodes[parent as usize].depth + 1;
        let is_element = matches!(nodes[id as usize].data, Data::Element(..));
        let node = &mut nodes[id as usize];
        (node.parent, node.previous, node.next, node.depth) = (parent, previous, sibling, depth);
        match nodes.get_mut(previous as usize) {
            Some(before) => before.next = id,
            None => nodes[parent as usize].first = id,
        }
        match nodes.get_mut(sibling as usize) {
            Some(after) => after.previous = id,
            None => nodes[parent as usize].last = id,
        }
        if is_element {
            self.depth.set(depth);
        }
    }

    fn into_tree(self) -> Tree {
        let mut raw = self.nodes.into_inner();
        let mut nodes: Vec<Node> = Vec::with_capacity(raw.len());
        let (mut id, mut parent) = (0_u32, 0_u32);
        loop {
            let place = u32::try_from(nodes.len()).unwrap_or(NONE);
            let node = &mut raw[id as usize];
            let (tag, name, text, attributes) = match std::mem::replace(&mut node.data, Data::Other) {
                Data::Element(name, attributes) => (Tag::of(&name), name, StrTendril::new(), attributes),
                Data::Text(text) => (Tag::Text, LocalName::default(), text, Vec::new()),
                Data::Other => (Tag::Other, LocalName::default(), StrTendril::new(), Vec::new()),
            };
            nodes.push(Node { parent, end: place + 1, tag, name, text, attributes });
            if node.first != NONE {
                (id, parent) = (node.first, place);
                continue;
            }
            // Up to the next sibling of the node or of an ancestor.
            let mut place = place;
            while raw[id as usize].next == NONE {
                id = raw[id as usize].parent;
                if id == NONE {
                    break;
                }
                place = nodes[place as usize].parent;
                nodes[place as usize].end = u32::try_from(nodes.len()).unwrap_or(NONE);
            }
            if id == NONE {
                return Tree { nodes };
            }
            parent = nodes[place as usize].parent;
            id = raw[id as usize].next;
        }
    }
}

impl Raw {
    fn new(data: Data) -> Self {
        Self { parent: NONE, previous: NONE, next: NONE, first: NONE, last: NONE, depth: 0, data }
    }
}

fn detach(nodes: &mut [Raw], id: u32) {
    let node = &mut nodes[id as usize];
    let (parent, previous, next) = (node.parent, node.previous, node.next);
    (node.parent, node.previous, node.next) = (NONE, NONE, NONE);
    match nodes.get_mut(previous as usize) {
        Some(before) => before.next = next,
        None if parent != NONE => nodes[parent as usize].first = next,
        None => {}
    }
    match nodes.get_mut(next as usize) {
        Some(after) => after.previous = previous,
        None if parent != NONE => nodes[parent as usize].last = previous,
        None => {}
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Self;
    type ElemName<'a> = &'a QualName;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        self.nameless(0)
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> &'a QualName {
        &target.name
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Handle {
        let id = self.add(Data::Element(name.local.clone(), attributes));
        Handle { id, name }
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        self.nameless(self.add(Data::Other))
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        self.nameless(self.add(Data::Other))
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.insert(parent.id, NONE, child);
    }

    fn append_based_on_parent_node(&self, element: &Handle, previous: &Handle, child: NodeOrText<Handle>) {
        let parent = self.nodes.borrow()[element.id as usize].parent;
        if parent == NONE {
            self.insert(previous.id, NONE, child);
        } else {
            self.insert(parent, element.id, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn pop(&self, node: &Handle) {
        self.depth.set(self.nodes.borrow()[node.id as usize].depth.saturating_sub(1));
    }

    /// The content of a template is not shown: its parent is a node outside the document.
    fn get_template_contents(&self, _: &Handle) -> Handle {
        self.nameless(self.add(Data::Other))
    }

    fn same_node(&self, one: &Handle, other: &Handle) -> bool {
        one.id == other.id
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        let parent = self.nodes.borrow()[sibling.id as usize].parent;
        if parent != NONE {
            self.insert(parent, sibling.id, child);
        }
    }

    fn add_attrs_if_missing(&self, target: &Handle, new: Vec<Attribute>) {
        if let Data::Element(_, attributes) = &mut self.nodes.borrow_mut()[target.id as usize].data {
            for attribute in new {
                // Only html and body reach this point; a page may repeat their tags.
                if attributes.len() < 64 && attributes.iter().all(|known| known.name != attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        detach(&mut self.nodes.borrow_mut(), target.id);
    }

    fn reparent_children(&self, node: &Handle, parent: &Handle) {
        let first = self.nodes.borrow()[node.id as usize].first;
        let mut child = first;
        while child != NONE {
            let next = self.nodes.borrow()[child as usize].next;
            self.insert(parent.id, NONE, NodeOrText::AppendNode(self.nameless(child)));
            child = next;
        }
    }
}

/// The tree builder, with a limit on depth.
struct Limited {
    builder: TreeBuilder<Handle, Sink>,
    /// Names of start tags that were left out; their end tags must be left out too.
    skipped: RefCell<Vec<LocalName>>,
    /// Maximum number of nodes; the rest of the page is left out.
    max_nodes: usize,
}

impl Limited {
    fn leaves_out(&self, tag: &TagToken) -> bool {
        let mut skipped = self.skipped.borrow_mut();
        if tag.kind == TagKind::StartTag {
            let deep = self.builder.sink.depth.get() >= MAX_DEPTH;
            if deep && skipped.len() < MAX_DEPTH as usize {
                skipped.push(tag.name.clone());
            }
            return deep;
        }
        let found = skipped.iter().rposition(|name| *name == tag.name);
        found.map(|place| skipped.truncate(place)).is_some()
    }
}

impl TokenSink for Limited {
    type Handle = Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<Handle> {
        match &token {
            Token::TagToken(tag) if self.leaves_out(tag) => TokenSinkResult::Continue,
            Token::CommentToken(_) | Token::ParseError(_) => TokenSinkResult::Continue,
            Token::TagToken(_) | Token::CharacterTokens(_)
                if self.builder.sink.nodes.borrow().len() > self.max_nodes =>
            {
                TokenSinkResult::Continue
            }
            _ => match self.builder.process_token(token, line) {
                // Scripts are not run, and the page is already decoded.
                TokenSinkResult::Script(_) | TokenSinkResult::EncodingIndicator(_) => TokenSinkResult::Continue,
                result => result,
            },
        }
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}
