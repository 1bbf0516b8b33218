//! Converts MathML without a TeX source to LaTeX.
//!
//! It covers presentation MathML as editors write it: fractions, roots, scripts, limits, fences, tables, text.
//! Unicode symbols stay Unicode, which LaTeX engines can read.

use crate::dom::Tree;
use crate::tag::Tag;

/// Maximum depth; deeper elements are written as their text.
const MAX_DEPTH: u32 = 64;

/// The LaTeX of the MathML at `index`.
pub fn latex(tree: &Tree, index: usize) -> String {
    let mut out = String::new();
    children(tree, index, &mut out, 0);
    out
}

fn children(tree: &Tree, index: usize, out: &mut String, depth: u32) {
    for child in tree.children(index) {
        write(tree, child, out, depth);
    }
}

fn write(tree: &Tree, index: usize, out: &mut String, depth: u32) {
    let node = tree.node(index);
    if node.tag == Tag::Text {
        out.push_str(node.text.trim());
        return;
    }
    if node.tag == Tag::Annotation {
        return;
    }
    if depth > MAX_DEPTH {
        out.push_str(&tree.text(index));
        return;
    }
    let depth = depth + 1;
    let parts: Vec<usize> = tree.children(index).filter(|&child| tree.node(child).tag != Tag::Text).collect();
    let part = |place: usize| {
        let mut text = String::new();
        if let Some(&child) = parts.get(place) {
            write(tree, child, &mut text, depth);
        }
        text
    };
    let base = || {
        let text = part(0);
        if text.chars().count() > 1 && !text.starts_with('\\') && text.contains([' ', '+', '-', '^', '_']) {
            format!("{{{text}}}")
        } else {
            text
        }
    };
    match &*node.name {
        "mfrac" => out.push_str(&format!("\\frac{{{}}}{{{}}}", part(0), part(1))),
        "msqrt" => {
            out.push_str("\\sqrt{");
            children(tree, index, out, depth);
            out.push('}');
        }
        "mroot" => out.push_str(&format!("\\sqrt[{}]{{{}}}", part(1), part(0))),
        "msup" => out.push_str(&format!("{}^{{{}}}", base(), part(1))),
        "msub" => out.push_str(&format!("{}_{{{}}}", base(), part(1))),
        "msubsup" => out.push_str(&format!("{}_{{{}}}^{{{}}}", base(), part(1), part(2))),
        "munder" => out.push_str(&format!("{}_{{{}}}", base(), part(1))),
        "munderover" => out.push_str(&format!("{}_{{{}}}^{{{}}}", base(), part(1), part(2))),
        "mover" => match part(1).as_str() {
            "¯" | "‾" | "_" | "―" => out.push_str(&format!("\\overline{{{}}}", part(0))),
            "^" | "ˆ" => out.push_str(&format!("\\hat{{{}}}", part(0))),
            "~" | "˜" => out.push_str(&format!("\\tilde{{{}}}", part(0))),
            "→" | "⃗" => out.push_str(&format!("\\vec{{{}}}", part(0))),
            "˙" | "." => out.push_str(&format!("\\dot{{{}}}", part(0))),
            over => out.push_str(&format!("{}^{{{over}}}", base())),
        },
        "mtable" => {
            out.push_str("\\begin{matrix}");
            for (row, &child) in parts.iter().enumerate() {
                out.push_str(if row == 0 { " " } else { " \\\\ " });
                for (column, cell) in tree.children(child).filter(|&cell| tree.node(cell).tag != Tag::Text).enumerate()
                {
                    if column > 0 {
                        out.push_str(" & ");
                    }
                    children(tree, cell, out, depth);
                }
            }
            out.push_str(" \\end{matrix}");
        }
        "mfenced" => {
            out.push_str(node.attribute("open").unwrap_or("("));
            for place in 0..parts.len() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&part(place));
            }
            out.push_str(node.attribute("close").unwrap_or(")"));
        }
        "mtext" | "ms" => {
            let text = tree.text(index);
            if !text.is_empty() {
                out.push_str(&format!("\\text{{{text}}}"));
            }
        }
        "mspace" => out.push(' '),
        "mo" => {
            let text = tree.text(index);
            match text.as_str() {
                // Invisible multiplication, application, separators.
                "\u{2061}" | "\u{2062}" | "\u{2063}" | "\u{2064}" => {}
                "{" | "}" | "%" | "#" | "&" => out.push_str(&format!("\\{text}")),
                "=" | "<" | ">" | "≤" | "≥" | "≠" | "≈" | "∈" | "→" | "⇒" | "±" | "×" => {
                    out.push_str(&format!(" {text} "))
                }
                "−" => out.push('-'),
                "∑" => out.push_str("\\sum"),
                "∏" => out.push_str("\\prod"),
                "∫" => out.push_str("\\int"),
                _ => out.push_str(&text),
            }
        }
        "mi" => {
            let text = tree.text(index);
            let function = matches!(
                text.as_str(),
                "sin"
                    | "cos"
                    | "tan"
                    | "log"
                    | "ln"
                    | "exp"
                    | "lim"
                    | "max"
                    | "min"
                    | "det"
                    | "sup"
                    | "inf"
                    | "arg"
                    | "gcd"
            );
            out.push_str(&if function { format!("\\{text} ") } else { text });
        }
        _ => children(tree, index, out, depth),
    }
}
