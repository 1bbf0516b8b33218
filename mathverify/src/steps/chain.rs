//! Chains of equalities in formulas and in running text.

use std::ops::Range;

use super::context::{Identities, continues, hypothetical, identities, written_as};
use super::judge::{has_operation, is_numeric, judge, judge_identity, judge_rewritten, judge_signs};
use super::rounding::judge_rounded;
use super::units::{self, Measured};
use super::{Claim, annotation, congruence, running, solve};
use crate::ast::Expr;
use crate::budget::Budget;
use crate::extract::segments;
use crate::parse;

/// Longest formula or run of arithmetic that is examined, in bytes.
pub(super) const MAX_PIECE: usize = 3_000;
/// Maximum number of formulas, or of runs of arithmetic in one text between formulas, that are examined in a step.
pub(super) const MAX_PIECES: usize = 200;

/// The claims of a step in formulas and arithmetic, outside its calculator annotations.
pub(super) fn claims(step: &str, budget: &Budget) -> Vec<Claim> {
    if !(step.contains('=') || step.contains("\\approx") || step.contains('≈') || step.contains("\\equiv"))
        || step.len() > 200_000
    {
        return Vec::new();
    }
    // In a step that tries values or refutes something, equalities need not hold.
    let lower = step.to_lowercase();
    if ["false", "not true", "try ", "trying", "verify", "contradict", "test ", "testing", "no solution", "not satisf"]
        .iter()
        .any(|w| lower.contains(w))
    {
        return Vec::new();
    }
    // Annotations are replaced by spaces, so that `20 + 5 = <<20+5=25>>25` reads `20 + 5 = 25`.
    let mut text = step.to_owned();
    for span in annotation::spans(step).into_iter().rev() {
        text.replace_range(span.clone(), &" ".repeat(span.len()));
    }
    let mut out = Vec::new();
    let mut at = 0;
    let formulas = segments(&text);
    let mut row = Row::default();
    for formula in formulas.iter().take(MAX_PIECES) {
        running::claims(&text, at..formula.start, budget, &mut out);
        // A formula such as `= 2x + 4` continues the previous one only if no words are between them.
        if text[at..formula.start].contains(char::is_alphanumeric) {
            row = Row::default();
        }
        at = formula.end;
        // A formula that is a part of a larger expression in the text is not a claim by itself.
        let word = text[..formula.start]
            .trim_end_matches(['$', '\\', '(', '[', ' '])
            .rsplit(char::is_whitespace)
            .next()
            .unwrap_or("");
        let glued = continues(&text, formula.clone()) || matches!(word, "of" | "times" | "plus" | "minus" | "by");
        if !glued && formula.len() <= MAX_PIECE && !hypothetical(&text, formula) {
            latex(&text, formula.clone(), &mut row, budget, &mut out);
        } else {
            row = Row::default();
        }
    }
    if formulas.len() <= MAX_PIECES {
        running::claims(&text, at..text.len(), budget, &mut out);
    }
    solve::claims(&text, &formulas[..formulas.len().min(MAX_PIECES)], budget, &mut out);
    out
}

/// The last term of a formula's last row; a row that starts with `=` continues from it.
#[derive(Debug, Default)]
struct Row {
    last: Option<String>,
}

impl Row {
    /// `piece` after the term that it continues, and whether it continues one. Remembers the last term of `piece`.
    fn joined(&mut self, piece: &str) -> (String, bool) {
        let starts = ["=", "\\approx", "≈"].iter().any(|r| piece.trim_start().starts_with(r));
        let joined = match &self.last {
            Some(last) if starts => (format!("{last} {}", piece.trim_start()), true),
            _ => (piece.to_owned(), false),
        };
        if !piece.trim().is_empty() {
            let other = piece.contains(['<', '>']) || commands(piece).any(|c| OTHER_RELATIONS.contains(&c));
            let last = relations(&joined.0).last().map(|t| t.1.trim().trim_end_matches(['.', ',']).to_owned());
            self.last = last.filter(|l| !other && !l.is_empty() && l.len() <= 400);
        }
        joined
    }
}

/// Names of commands for relations other than equality.
const OTHER_RELATIONS: [&str; 9] = ["le", "leq", "leqslant", "ge", "geq", "geqslant", "ne", "neq", "in"];

/// The names of the LaTeX commands in a formula: `left` and `in`, but not `le`, in `\left(x \in A`.
fn commands(formula: &str) -> impl Iterator<Item = &str> {
    formula.split('\\').skip(1).map(|rest| {
        let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        &rest[..length]
    })
}

/// Separators of statements in a formula: ends of lines, wide spaces, arrows, commas.
pub(super) const SEPARATORS: [&str; 11] = [
    "\\\\",
    "\\implies",
    "\\Rightarrow",
    "\\Longrightarrow",
    "\\iff",
    "\\quad",
    "\\qquad",
    ",",
    ";",
    "\\text{and}",
    "\\to",
];

/// Adds the claims of the formula at `span` to `out`.
fn latex(text: &str, span: Range<usize>, row: &mut Row, budget: &Budget, out: &mut Vec<Claim>) {
    let content = &text[span.clone()];
    if content.contains("mod") {
        *row = Row::default();
        return congruence::claims(content, span.start, out);
    }
    const OTHER: [&str; 9] = ["equiv", "neq", "ne ", "not", "cases", "matrix", "array", "overline", "\\mid"];
    if OTHER.iter().any(|o| content.contains(o)) {
        *row = Row::default();
        return;
    }
    for piece in pieces(content, &SEPARATORS) {
        let plain =
            content[piece.clone()].replace('&', " ").replace("\\begin{aligned}", "").replace("\\end{aligned}", "");
        let plain = ["align", "align*", "split", "gathered"].iter().fold(plain, |text, name| {
            text.replace(&format!("\\begin{{{name}}}"), "").replace(&format!("\\end{{{name}}}"), "")
        });
        let (piece_text, joined) = row.joined(&plain);
        // Indexed variables and `...` stand for many values. An equation before an arrow is to be solved and is not an
        // identity.
        let solved = ["\\Rightarrow", "\\implies", "\\iff"].iter().any(|a| content[piece.end..].contains(a));
        let kind = if solved
            || plain.contains(['_', '…'])
            || plain.contains("dots")
            || plain.contains("\\lfloor")
            || plain.contains("\\lceil")
        {
            Identities::None
        } else if written_as(text, &span) {
            Identities::Rewritten
        } else {
            identities(text, &span)
        };
        chain(&piece_text, span.start + piece.start, Terms { latex: true, identities: kind, joined }, budget, out);
    }
}

/// Splits a formula at separators outside brackets; at `\\` also inside them, and at `,` only if it is no thousands
/// separator.
pub(super) fn pieces(content: &str, separators: &[&str]) -> Vec<Range<usize>> {
    let bytes = content.as_bytes();
    let mut out = Vec::new();
    let (mut depth, mut start, mut i) = (0_i32, 0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        let found = separators.iter().find(|s| bytes[i..].starts_with(s.as_bytes()));
        if let Some(separator) = found
            && (depth <= 0 || *separator == "\\\\")
        {
            let digit = |j: usize| bytes.get(j).is_some_and(u8::is_ascii_digit);
            let thousands =
                *separator == "," && i > 0 && digit(i - 1) && (1..=3).all(|k| digit(i + k)) && !digit(i + 4);
            if !thousands {
                out.push(start..i);
                i += separator.len();
                start = i;
                continue;
            }
        }
        i += 1;
    }
    out.push(start..bytes.len());
    out
}

/// Splits a chain at its relation signs. Each term is returned with the sign before it, the first term with a space.
pub(super) fn relations(piece: &str) -> Vec<(char, &str)> {
    const SIGNS: [(&str, char); 8] = [
        ("\\approx", '≈'),
        ("≈", '≈'),
        ("\\equiv", '≡'),
        ("≡", '≡'),
        ("==", '='),
        ("=", '='),
        ("\\doteq", '≈'),
        ("\\simeq", '≈'),
    ];
    let mut out = Vec::new();
    let (mut sign, mut start, mut at) = (' ', 0, 0);
    while at < piece.len() {
        if let Some((mark, found)) = SIGNS.iter().find(|(mark, _)| piece[at..].starts_with(mark)) {
            out.push((sign, &piece[start..at]));
            (sign, start) = (*found, at + mark.len());
            at = start;
        } else {
            at += piece[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    out.push((sign, &piece[start..]));
    out
}

/// How [`chain`] reads its terms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether the terms are LaTeX, in which `\text{}` after a number is a unit.
    pub latex: bool,
    /// Which equalities of formulas count as identities.
    pub identities: Identities,
    /// Whether the first term is the end of the previous row.
    pub joined: bool,
}

/// Adds a claim for every pair of neighbouring terms of a chain that can be judged.
pub(super) fn chain(piece: &str, offset: usize, read: Terms, budget: &Budget, out: &mut Vec<Claim>) {
    let Terms { latex, identities, joined } = read;
    let other = ["<", ">", "\\le", "\\ge", "\\in ", "!=", "≠", "≤", "≥", "\\ne"];
    let plain = piece.replace("\\left", "").replace("\\neg", "").replace("\\lfloor", "").replace("\\lceil", "");
    if other.iter().any(|o| plain.contains(o)) {
        return;
    }
    let terms = relations(piece);
    let long = terms.len() > 2;
    for (place, pair) in terms.windows(2).enumerate() {
        let (sign, left, right) = (pair[1].0, pair[0].1.trim(), pair[1].1.trim());
        if left.is_empty() || right.is_empty() || left.len() > 400 || right.len() > 400 || sign == '≡' {
            continue;
        }
        let text = || format!("{left} {sign} {right}");
        let (l, r) = if latex {
            let (Some(l), Some(r)) = (units::split(left), units::split(right)) else { continue };
            match units::relate(&l, &r) {
                Measured::Values => {}
                Measured::Conversion(judged) => {
                    out.push(Claim::judged(text(), judged, offset..offset + piece.len()));
                    continue;
                }
                Measured::Unclear => continue,
            }
            (l.formula, r.formula)
        } else {
            (left.to_owned(), right.to_owned())
        };
        let (Ok(l), Ok(r)) = (parse::parse(&l), parse::parse(&r)) else { continue };
        let signs = |e: &Expr| e.any(&|e| matches!(e, Expr::PlusMinus(..)));
        let judged = if signs(&l) || signs(&r) {
            if sign != '=' || !(signs(&l) && signs(&r)) {
                continue;
            }
            judge_signs(&l, &r, budget)
        } else if is_numeric(&l) && is_numeric(&r) {
            if !(has_operation(&l) || has_operation(&r)) {
                continue;
            }
            if sign == '≈' { judge_rounded(&l, &r, budget) } else { judge(&l, &r, false, budget) }
        } else if sign != '=' {
            continue;
        } else if identities == Identities::Rewritten && !long {
            judge_rewritten(&l, &r, budget)
        } else if identities != Identities::None && (joined || (long && place > 0)) {
            judge_identity(&l, &r, identities == Identities::OneVariable, budget)
        } else {
            continue;
        };
        out.push(Claim::judged(text(), judged, offset..offset + piece.len()));
    }
}
