//! Formulas as LaTeX, from the source that formula renderers leave in a page beside their drawings.

use crate::dom::Tree;
use crate::tag::Tag;

/// A formula of a page.
pub struct Formula {
    /// The LaTeX source, without delimiters.
    pub tex: String,
    /// Whether it is displayed on its own line.
    pub display: bool,
}

/// The formula of the element at `index`, with everything inside it.
///
/// Supported are scripts `math/tex` (MathJax 2), MathML with an annotation in TeX (KaTeX, MathJax 3, LaTeXML,
/// MediaWiki) or an `alttext`, other MathML by [`crate::mathml`], images of formulas by their `alt`, and `data-`
/// attributes.
pub fn formula(tree: &Tree, index: usize) -> Option<Formula> {
    let node = tree.node(index);
    match node.tag {
        Tag::Script => {
            let kind = node.attribute("type")?;
            let found = kind.starts_with("math/tex").then(|| raw_text(tree, index))?;
            made(&found, kind.contains("mode=display"))
        }
        Tag::Math => math(tree, index),
        Tag::Img => image(tree, index),
        _ if !node.has_attributes() => None,
        _ => {
            let source = ["data-tex", "data-latex", "data-formula", "data-math", "data-equation", "data-expr"];
            if let Some(found) = source.iter().find_map(|name| node.attribute(name)).filter(|found| found.len() > 1) {
                return made(found, tree.node(index).tag.is_block() || shows_block(node.attribute("class")));
            }
            let class = node.attribute("class")?;
            is_wrapper(class).then(|| wrapped(tree, index, class)).flatten()
        }
    }
}

/// Whether the text below this element is the drawing of a formula whose source is elsewhere.
pub fn is_drawing(tree: &Tree, index: usize) -> bool {
    let Some(class) = tree.node(index).attribute("class") else { return false };
    let named = class.split_ascii_whitespace().any(|name| {
        matches!(
            name,
            "katex-html"
                | "MathJax_Preview"
                | "MathJax_Display"
                | "MathJax"
                | "MathJax_SVG"
                | "MathJax_CHTML"
                | "mjx-chtml"
        )
    });
    named && (class.contains("katex-html") || class.contains("Preview") || has_script(tree, index))
}

/// Whether MathJax 2's source follows: the script is a later sibling of the drawing, which may have one wrapper.
fn has_script(tree: &Tree, index: usize) -> bool {
    let parent = tree.parent(index);
    let is = |at: usize| {
        tree.node(at).tag == Tag::Script
            && tree.node(at).attribute("type").is_some_and(|kind| kind.starts_with("math/tex"))
    };
    let near = |at: usize| tree.following(at).take(6).any(is);
    near(index) || near(parent)
}

fn is_wrapper(class: &str) -> bool {
    class.split_ascii_whitespace().any(|name| {
        matches!(
            name,
            "katex" | "katex-display" | "mwe-math-element" | "MathJax" | "mathjax" | "MathJax_Display" | "ltx_Math"
        )
    })
}

fn shows_block(class: Option<&str>) -> bool {
    class.is_some_and(|class| class.contains("display") || class.contains("block"))
}

/// The first formula inside a wrapper.
fn wrapped(tree: &Tree, index: usize, class: &str) -> Option<Formula> {
    let found = tree.subtree(index).skip(1).find_map(|at| match tree.node(at).tag {
        Tag::Math => math(tree, at),
        Tag::Img => image(tree, at),
        _ => None,
    })?;
    Some(Formula { display: found.display || class.contains("display") || class.contains("Display"), ..found })
}

fn math(tree: &Tree, index: usize) -> Option<Formula> {
    let node = tree.node(index);
    let display = node.attribute("display") == Some("block") || node.attribute("mode") == Some("display");
    let annotation = tree.subtree(index).find(|&at| {
        let node = tree.node(at);
        node.tag == Tag::Annotation
            && node.attribute("encoding").is_some_and(|encoding| encoding.to_ascii_lowercase().contains("tex"))
    });
    if let Some(annotation) = annotation {
        return made(&raw_text(tree, annotation), display);
    }
    match node.attribute("alttext") {
        Some(text) if !text.trim().is_empty() => made(text, display),
        _ => made(&crate::mathml::latex(tree, index), display),
    }
}

fn image(tree: &Tree, index: usize) -> Option<Formula> {
    let node = tree.node(index);
    let alt = node.attribute("alt").unwrap_or_default();
    let class = node.attribute("class").unwrap_or_default();
    let src = node.attribute("src").unwrap_or_default();
    let named = class.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let word = word.to_ascii_lowercase();
        matches!(word.as_str(), "tex" | "latex" | "math" | "equation" | "formula")
    });
    let drawn = [
        "latex.codecogs",
        "latex.php",
        "/math/render",
        "cht=tx",
        "mathtex",
        "mimetex",
        "/latex",
        "tex.s2cms",
        "/equation?tex=",
    ];
    let drawn = drawn.iter().any(|part| src.contains(part));
    let is_source = alt.contains('\\') && (alt.contains('{') || alt.starts_with(['\\', '$']));
    if !alt.trim().is_empty() && (named || drawn || is_source) {
        return made(alt, shows_block(Some(class)) || alt.starts_with("$$") || alt.starts_with("\\["));
    }
    // The service has the formula in its query string.
    let query = drawn.then(|| src.split_once('?').map(|(_, query)| query))??;
    let query = query.rsplit_once("tex=").or_else(|| query.rsplit_once("chl=")).map_or(query, |(_, tex)| tex);
    made(&percent_decoded(query.split('&').next().unwrap_or(query)), false)
}

/// A formula without the delimiters and wrappers that renderers add; `None` if nothing remains.
fn made(source: &str, display: bool) -> Option<Formula> {
    let mut tex = source.trim();
    let mut display = display;
    for (open, close, block) in [("$$", "$$", true), ("\\[", "\\]", true), ("\\(", "\\)", false), ("$", "$", false)] {
        if let Some(inner) = tex.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            tex = inner.trim();
            display |= block;
            break;
        }
    }
    // MediaWiki wraps every formula in this way.
    if let Some(inner) = tex.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))
        && let Some(inner) = inner.strip_prefix("\\displaystyle").or_else(|| inner.strip_prefix("\\textstyle"))
    {
        tex = inner.trim();
    }
    let words: Vec<&str> = tex.split_whitespace().collect();
    (!words.is_empty()).then(|| Formula { tex: words.join(" "), display })
}

fn raw_text(tree: &Tree, index: usize) -> String {
    tree.nodes[tree.subtree(index)].iter().map(|node| &*node.text).collect()
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = |place: usize| bytes.get(place).and_then(|&byte| (byte as char).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
