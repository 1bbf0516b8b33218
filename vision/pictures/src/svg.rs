//! Renders SVG by resvg on white. Nothing outside the text is read: no files, no addresses, no fonts.
//!
//! A short text can describe endless work: elements that are used repeatedly, nested patterns, nested entities. Therefore the work is
//! estimated before drawing, and a time limit applies in addition.

use std::collections::HashMap;
use std::sync::mpsc;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::roxmltree::{Document, Node, NodeId, ParsingOptions};
use resvg::usvg::{ImageHrefResolver, Options, Tree};

use crate::decode::{Limits, Notes, Picture};
use crate::kind::Kind;
use crate::{Result, Unusable};

/// Maximum number of bytes of a text.
const MAX_BYTES: usize = 4 << 20;
/// Maximum number of elements and texts in a file.
const MAX_NODES: u32 = 100_000;
/// Maximum nesting depth of elements.
const MAX_DEPTH: usize = 200;
/// Maximum number of elements to draw, with all uses expanded; a filter counts as many elements.
const MAX_WORK: u64 = 200_000;

/// Decodes an SVG file.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    if bytes.len() > MAX_BYTES {
        return Err(Unusable::new(format!("is an SVG of {} bytes, more than {MAX_BYTES}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Unusable::new("is an SVG whose text is not UTF-8"))?;
    let (text, side) = (text.trim_start_matches('\u{FEFF}').to_owned(), limits.svg_side.max(1));
    limits.memory(7 * u64::from(side) * u64::from(side))?;
    let (sender, receiver) = mpsc::channel();
    // Rendering has its own thread because of the time limit, and because it needs a deep stack in any build.
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    thread
        .spawn(move || {
            let drawn = std::panic::catch_unwind(|| draw(&text, side));
            // After the time limit the receiver is gone.
            let _ =
                sender.send(drawn.unwrap_or_else(|_| Err(Unusable::new("made the SVG renderer fail (a fault of it)"))));
        })
        .map_err(|error| Unusable::new(format!("cannot be drawn: no thread ({error})")))?;
    receiver.recv_timeout(limits.svg_time).unwrap_or_else(|_| {
        Err(Unusable::new(format!("is an SVG that takes more than {} s to draw", limits.svg_time.as_secs_f64())))
    })
}

fn draw(text: &str, side: u32) -> Result<Picture> {
    let wrong = |what: String| Unusable::new(format!("is an SVG with a fault: {what}"));
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| wrong(error.to_string()))?;
    let undrawn = check(&document)?;
    let options = Options {
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..Options::default()
    };
    let tree = Tree::from_xmltree(&document, &options).map_err(|error| wrong(error.to_string()))?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = side as f32 / width.max(height);
    if !scale.is_finite() || scale <= 0.0 {
        return Err(wrong(format!("its size is {width} x {height}")));
    }
    let pixels = |length: f32| ((length * scale).round() as u32).clamp(1, side);
    let mut pixmap = Pixmap::new(pixels(width), pixels(height)).ok_or_else(|| wrong("it has no size".into()))?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    // On opaque white every pixel is opaque, so premultiplied values equal the colours.
    let rgb = pixmap.data().as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    let notes = Notes { undrawn, ..Notes::default() };
    Ok(Picture { width: pixmap.width(), height: pixmap.height(), rgb, kind: Kind::Svg, notes })
}

/// Refuses pictures that would take too long, and counts the elements that are not drawn.
fn check(document: &Document) -> Result<usize> {
    let mut depth: Vec<usize> = Vec::new();
    let mut ids: HashMap<&str, Node> = HashMap::new();
    let mut undrawn = 0;
    for node in document.descendants() {
        let at = node.parent().map_or(0, |parent| depth[parent.id().get_usize()] + 1);
        if at > MAX_DEPTH {
            return Err(Unusable::new(format!(
                "is an SVG whose elements lie more than {MAX_DEPTH} deep in each other"
            )));
        }
        // Nodes are visited in the order of their numbers.
        depth.push(at);
        if let Some(id) = node.attribute("id") {
            ids.entry(id).or_insert(node);
        }
        undrawn += usize::from(matches!(node.tag_name().name(), "text" | "image"));
    }
    let mut work = Work { ids, known: HashMap::new(), path: Vec::new() };
    let mut total = work.of(document.root_element())?;
    // References in a style sheet may apply to any element.
    for style in document.descendants().filter(|node| node.has_tag_name("style")) {
        for target in references(style.text().unwrap_or_default()) {
            total = total.saturating_mul(1 + work.target(target)?.1);
        }
    }
    if total > MAX_WORK {
        return Err(Unusable::new(format!(
            "is an SVG that draws about {total} elements where all uses are written out, more than {MAX_WORK}"
        )));
    }
    Ok(undrawn)
}

/// The identifiers in `url(#...)`.
fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split("url(").skip(1).filter_map(|rest| {
        let name = rest.split(')').next()?.trim_matches(['"', '\'', ' ']);
        name.strip_prefix('#')
    })
}

/// Counts the elements to draw below each element.
struct Work<'a, 'input> {
    ids: HashMap<&'a str, Node<'a, 'input>>,
    known: HashMap<NodeId, u64>,
    /// The elements on the path to the current one.
    path: Vec<NodeId>,
}

impl<'a, 'input> Work<'a, 'input> {
    fn of(&mut self, node: Node<'a, 'input>) -> Result<u64> {
        if let Some(&known) = self.known.get(&node.id()) {
            return Ok(known);
        }
        // The renderer skips an element that contains itself.
        if self.path.contains(&node.id()) {
            return Ok(1);
        }
        if self.path.len() > 4 * MAX_DEPTH {
            return Err(Unusable::new("is an SVG whose elements use each other in too long a chain"));
        }
        self.path.push(node.id());
        let mut work = own(node);
        for child in node.children().filter(Node::is_element) {
            work = work.saturating_add(self.of(child)?);
        }
        for attribute in node.attributes() {
            if attribute.name() == "href" {
                if let Some(target) = attribute.value().strip_prefix('#').and_then(|id| self.ids.get(id).copied())
                    && !node.tag_name().name().ends_with("Gradient")
                {
                    work = work.saturating_add(self.of(target)?);
                }
                continue;
            }
            for name in references(attribute.value()) {
                let (once, each) = self.target(name)?;
                work = work.saturating_add(once).saturating_mul(1 + each);
            }
        }
        self.path.pop();
        self.known.insert(node.id(), work);
        Ok(work)
    }

    /// The work of a reference: counted once for the element, or once for each element below it, because fills, strokes and markers are
    /// inherited.
    fn target(&mut self, name: &str) -> Result<(u64, u64)> {
        let Some(&target) = self.ids.get(name) else { return Ok((0, 0)) };
        match target.tag_name().name() {
            "linearGradient" | "radialGradient" => Ok((1, 0)),
            "pattern" | "marker" => Ok((0, self.of(target)?)),
            _ => Ok((self.of(target)?, 0)),
        }
    }
}

/// The work of an element itself, in units of elements. Long paths, dashes and full-size layers count as several elements, filters as
/// many.
fn own(node: Node) -> u64 {
    let bytes: usize = node.attributes().map(|attribute| attribute.value().len()).sum();
    let has = |name: &str| node.attribute(name).is_some() || node.attribute("style").is_some_and(|s| s.contains(name));
    let layer = ["opacity", "mask", "clip-path", "filter", "mix-blend-mode"].iter().any(|name| has(name));
    let octaves = || node.attribute("numOctaves").and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(1).max(1);
    let kind = match node.tag_name().name() {
        "feTurbulence" => 20_000_u64.saturating_mul(octaves()),
        "feMorphology" | "feConvolveMatrix" | "feDiffuseLighting" | "feSpecularLighting" => 20_000,
        name if name.starts_with("fe") => 2_000,
        _ => 1,
    };
    let dashes = if has("stroke-dasharray") { 500 } else { 0 };
    kind.saturating_add(bytes as u64 / 200 + u64::from(layer) * 100 + dashes)
}
