//! Compares the words beside the values of two answers. Answers with equal values are not equal if these words differ:
//! `$5 profit` and `$5 loss`, `x < 1 or x > 3` and `x < 1 and x > 3`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::marks;
use super::words::{self, BEHIND};
use crate::parse;
use crate::pattern::pattern;

/// Words that introduce or join values and do not change them.
const NEUTRAL: &[&str] = &[
    "the",
    "are",
    "was",
    "were",
    "for",
    "with",
    "when",
    "where",
    "any",
    "all",
    "each",
    "every",
    "some",
    "then",
    "thus",
    "hence",
    "therefore",
    "have",
    "has",
    "get",
    "find",
    "that",
    "this",
    "there",
    "which",
    "and",
    "but",
    "let",
    "here",
    "answer",
    "result",
    "solution",
    "value",
    "final",
    "equal",
    "respectively",
    "only",
    "both",
    "either",
    "otherwise",
    "else",
    "integer",
    "real",
    "number",
    "total",
    "altogether",
    "unit",
    "pair",
    "ordered",
    "set",
    "interval",
    "root",
    "point",
    "its",
    "our",
    "she",
    "her",
    "his",
    "they",
    "you",
];

/// Words that say that a value is rounded.
const ROUNDED: [&str; 6] = ["approximately", "approx", "about", "around", "roughly", "nearly"];

/// LaTeX commands whose argument is text.
const TEXT: [&str; 10] =
    ["text", "textbf", "textit", "textrm", "mathrm", "mbox", "operatorname", "textnormal", "hbox", "emph"];

/// Why two answers with equal values are not shown to be equal, if so.
pub(super) fn disagreement(pred: &str, gold: &str) -> Option<&'static str> {
    if let Some(why) = marks::conflict(pred, gold) {
        return Some(why);
    }
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii() && !b.is_ascii_alphabetic());
    if plain(pred) || plain(gold) {
        return None;
    }
    let (said, expected) = (spoken(pred), spoken(gold));
    if !said.is_empty() && !expected.is_empty() && said != expected {
        return Some(BEHIND);
    }
    if joined_otherwise(pred, gold) {
        return Some("joined by \"and\", and by \"or\"");
    }
    letters_in_another_order(pred, gold).then_some("capital letters in another order")
}

/// The words of a text in canonical form, without LaTeX commands, function names, known units, numbers in words and
/// neutral words.
fn spoken(text: &str) -> BTreeSet<String> {
    let text = parse::respelled(text);
    let chars: Vec<char> = text.chars().collect();
    let mut out = BTreeSet::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at + usize::from(chars[at] == '\\');
        let mut end = start;
        while chars.get(end).is_some_and(|c| c.is_alphabetic()) {
            end += 1;
        }
        if end == start {
            at = start.max(at + 1);
            continue;
        }
        let word: String = chars[start..end].iter().collect();
        at = end;
        if start > 0 && chars[start - 1] == '\\' && (!TEXT.contains(&&*word) || chars.get(end) == Some(&'{')) {
            // The names of environments, alphabets and colours in braces are no words either.
            if matches!(&*word, "begin" | "end" | "mathbb" | "color" | "textcolor" | "label" | "tag")
                && chars.get(end) == Some(&'{')
            {
                at = chars[end..].iter().position(|c| *c == '}').map_or(chars.len(), |length| end + length);
            }
            continue;
        }
        if let Some(word) = counted(&word) {
            out.insert(word);
        }
    }
    out
}

/// The canonical form of a word; `None` for a word that says nothing about the value.
fn counted(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let short = word.chars().count() < if word.is_ascii() { 3 } else { 2 };
    if short || parse::is_name(word) || crate::quantity::unit(word).is_some() {
        return None;
    }
    if ROUNDED.contains(&&*lower) {
        return Some(ROUNDED[0].to_owned());
    }
    let one = words::canonical(&lower);
    (!NEUTRAL.contains(&&*lower) && !NEUTRAL.contains(&&*one)).then_some(one)
}

/// Whether inequalities, names or equations for several names are joined by "and" on one side and by "or" on the other.
/// The solutions `1 and 2` and `1 or 2` are the same.
fn joined_otherwise(pred: &str, gold: &str) -> bool {
    static AND: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\band\b|\\land\b|\\wedge\b|∧"));
    static OR: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\bor\b|\\lor\b|\\vee\b|∨"));
    let joined = |s: &str| (AND.is_match(s), OR.is_match(s));
    let opposite =
        matches!((joined(pred), joined(gold)), ((true, false), (false, true)) | ((false, true), (true, false)));
    opposite && [pred, gold].iter().any(|text| parse::parse(text).is_ok_and(|e| states(&e)))
}

/// Whether an expression is a list of statements rather than of values.
fn states(e: &crate::ast::Expr) -> bool {
    use crate::ast::{Expr, Rel};
    let Expr::List(items) = e else { return matches!(e, Expr::Relation(..)) };
    let mut names: Vec<&Expr> = Vec::new();
    for item in items {
        match item {
            Expr::Relation(terms, ops) if ops.iter().all(|op| *op == Rel::Eq) => {
                let is_new = !names.contains(&&terms[0]);
                names.extend(is_new.then_some(&terms[0]));
            }
            Expr::Relation(..) | Expr::Sym(_) | Expr::Text(_) => return true,
            _ => {}
        }
    }
    names.len() > 1
}

/// Whether both texts are only capital letters and the texts differ: `IV` and `VI`, `ABC` and `ACB`. Such letters may
/// be one name, and then their order counts.
fn letters_in_another_order(pred: &str, gold: &str) -> bool {
    let (p, g) = (super::normalised(pred), super::normalised(gold));
    let capitals = |s: &str| s.len() > 1 && s.bytes().all(|b| b.is_ascii_uppercase());
    capitals(&p) && capitals(&g) && p != g
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ() {
        for (a, b) in [
            ("$5 profit", "$5 loss"),
            ("5 (approximately)", "5 (exactly)"),
            ("x < 1 or x > 3", "x < 1 and x > 3"),
            ("x=1 \\land y=2", "x=1 \\lor y=2"),
            ("\\text{maximum } 5", "\\text{minimum } 5"),
            ("IV", "VI"),
        ] {
            assert!(disagreement(a, b).is_some(), "{a} and {b}");
        }
        for (a, b) in [
            ("$5 profit", "5"),
            ("5 apples", "5 Apple"),
            ("1 or 2", "1 and 2"),
            ("x=1 or x=2", "x=1 and x=2"),
            ("5 meters", "500 centimeters"),
            ("\\frac{\\sqrt{2}}{2}", "\\sin(\\pi/4)"),
            ("five apples", "5 apples"),
            ("the answer is x = 5", "x = 5 \\text{ is the solution}"),
        ] {
            assert!(disagreement(a, b).is_none(), "{a} and {b}");
        }
    }
}
