//! Claims that an equation in one variable follows from the one before it: `4B = 9 \Rightarrow B = 9/4`, `2x + 6 = 10.
//! So x = 3.`

use std::ops::Range;

use num_traits::{Signed, Zero};

use super::Claim;
use super::chain::{SEPARATORS, pieces};
use super::context::hypothetical;
use super::judge::{Judged, has_operation, variables};
use crate::ast::{Expr, Rel};
use crate::budget::Budget;
use crate::numeric::eval::cost;
use crate::numeric::exact::exact;
use crate::parse;
use crate::rational::{self, Rat, int, render};

/// Longest equation, in bytes.
const MAX_EQUATION: usize = 160;
/// Maximum number of equations of a step that are parsed.
const MAX_EQUATIONS: usize = 60;

/// An equation in one variable.
struct Equation {
    /// The name of the variable.
    name: String,
    /// Left side minus right side.
    difference: Expr,
    /// The value and its number of decimals, if the equation is `x = value`.
    value: Option<(Rat, Option<u32>)>,
    /// The equation as written.
    text: String,
    /// Byte range of the equation in the step.
    span: Range<usize>,
}

/// Adds to `out` the claims that an equation follows from the equation directly before it.
pub(super) fn claims(text: &str, formulas: &[Range<usize>], budget: &Budget, out: &mut Vec<Claim>) {
    let mut before: Option<Equation> = None;
    let mut end = 0;
    let mut parsed = 0;
    for formula in formulas {
        if before.is_some() && !follows(&text[end..formula.start]) {
            before = None;
        }
        end = formula.end;
        let content = &text[formula.clone()];
        if content.len() > 1_000 || hypothetical(text, formula) {
            before = None;
            continue;
        }
        let (mut at, mut equations) = (0, 0);
        for piece in pieces(content, &SEPARATORS) {
            let separator = content[at..piece.start].trim();
            at = piece.end;
            let piece_text = content[piece.clone()].replace('&', " ");
            if piece_text.trim().is_empty() {
                continue;
            }
            // A statement after an arrow or a new line follows from the one before it; after a comma, it need not.
            let leads = piece.start == 0
                || ["\\\\", "\\implies", "\\Rightarrow", "\\Longrightarrow", "\\iff"].contains(&separator);
            parsed += 1;
            let equation = if parsed > MAX_EQUATIONS || !budget.take(100) {
                None
            } else {
                let place = formula.start + piece.start..formula.start + piece.end;
                equation(&piece_text, place)
            };
            if let (Some(before), Some(now), true) = (&before, &equation, leads)
                && !alternative(&text[now.span.end..])
                && let Some(judged) = judge(before, now)
            {
                let claim = format!("{} ⇒ {}", before.text, now.text);
                out.push(Claim::judged(claim, judged, now.span.clone()));
            }
            equations += usize::from(!leads || piece.start == 0);
            before = equation;
        }
        // After several statements in one formula, the next equation may follow from any of them.
        if equations > 1 {
            before = None;
        }
    }
}

/// Whether an alternative follows: `x = 11 or x = 15`.
fn alternative(after: &str) -> bool {
    let end = crate::extract::floor_boundary(after, 24);
    after[..end].split(|c: char| !c.is_alphabetic()).any(|w| w == "or")
}

/// Whether the words between two formulas say that the second follows from the first.
fn follows(between: &str) -> bool {
    let words = between.to_lowercase();
    let count = words.split_whitespace().count();
    let leads = [
        "so",
        "thus",
        "therefore",
        "hence",
        "get",
        "gives",
        "give",
        "yields",
        "obtain",
        "implies",
        "simplifying",
        "simplifies",
        "solving",
        "dividing",
        "subtracting",
        "adding",
        "multiplying",
        "means",
        "find",
    ];
    let breaks = [
        "these",
        "each",
        "equations",
        "respectively",
        "if",
        "or",
        "case",
        "another",
        "other",
        "second",
        "first",
        "similarly",
        "let",
        "substituting",
        "plugging",
        "substitute",
        "since",
        "because",
        "using",
        "when",
        "where",
        "also",
        "equation",
        "and",
        "assume",
        "suppose",
        "given",
        "for",
        "with",
    ];
    let has = |list: &[&str]| words.split(|c: char| !c.is_alphabetic()).any(|w| list.contains(&w));
    count <= 14 && has(&leads) && !has(&breaks)
}

/// Reads `left = right` in exactly one variable with exact numbers.
fn equation(piece: &str, span: Range<usize>) -> Option<Equation> {
    let piece = piece.trim().trim_end_matches(['.', ',']);
    if piece.len() > MAX_EQUATION
        || piece.matches('=').count() != 1
        || piece.contains(['_', '<', '>'])
        || piece.contains("\\text")
    {
        return None;
    }
    let Ok(Expr::Relation(mut terms, ops)) = parse::parse(piece) else { return None };
    let ([Rel::Eq], 2) = (&ops[..], terms.len()) else { return None };
    let (right, left) = (terms.pop()?, terms.pop()?);
    let rational = |e: &Expr| {
        !e.any(&|e| {
            !matches!(
                e,
                Expr::Num { .. }
                    | Expr::Sym(_)
                    | Expr::Add(_)
                    | Expr::Mul(_)
                    | Expr::Neg(_)
                    | Expr::Div(..)
                    | Expr::Pow(..)
            )
        })
    };
    if !rational(&left) || !rational(&right) {
        return None;
    }
    let mut names = variables(&left);
    names.extend(variables(&right));
    let name = names.pop_first().filter(|_| names.is_empty())?;
    // `solution` evaluates the equation at five points.
    if cost(&left).saturating_add(cost(&right)) > 200 {
        return None;
    }
    let value = match &left {
        Expr::Sym(_) if variables(&right).is_empty() => {
            let decimals = match &right {
                Expr::Num { decimals, .. } => *decimals,
                _ => None,
            };
            exact(&right).map(|v| (v, decimals))
        }
        _ => None,
    };
    if value.is_none() && !(has_operation(&left) || has_operation(&right)) {
        return None;
    }
    let difference = Expr::Add(vec![left, Expr::Neg(Box::new(right))]);
    Some(Equation { name, difference, value, text: piece.to_owned(), span })
}

impl Equation {
    /// Left side minus right side at `value`.
    fn at(&self, value: &Rat) -> Option<Rat> {
        exact(&self.difference.substitute(&self.name, &Expr::rat(value.clone())))
    }

    /// The only solution, if the equation is linear.
    fn solution(&self) -> Option<Rat> {
        let values: Vec<Rat> = (1..=5).map(|n| self.at(&int(n))).collect::<Option<_>>()?;
        let slope = &values[1] - &values[0];
        let linear = values.windows(2).all(|w| &w[1] - &w[0] == slope);
        (linear && !slope.is_zero()).then(|| int(1) - &values[0] / &slope)
    }
}

/// Judges whether `now` follows from `before`: two linear equations must have the same solution; otherwise the value of
/// `now` must solve `before`. `None` if this cannot be decided.
fn judge(before: &Equation, now: &Equation) -> Option<Judged> {
    if before.name != now.name || before.value.is_some() {
        return None;
    }
    if let (Some(expected), Some(found)) =
        (before.solution(), now.value.as_ref().map(|v| v.0.clone()).or_else(|| now.solution()))
    {
        if expected == found {
            return Some(Judged::True);
        }
        let inexact = decimals(&before.difference) || decimals(&now.difference);
        let off = (&expected - &found).abs();
        // Not judged: rounded decimals, and a fraction that is truncated to an integer.
        let near = off < int(1) && (inexact || !expected.is_integer())
            || (inexact && off <= expected.abs() * rational::ratio(3, 100));
        return Some(if near {
            Judged::Unclear
        } else {
            Judged::False(format!("{} = {}", before.name, render(&expected)))
        });
    }
    // A root of an equation that is not linear.
    let (value, digits) = now.value.as_ref()?;
    let rest = before.at(value)?;
    if rest.is_zero() {
        return Some(Judged::True);
    }
    (digits.is_none() && value.is_integer() && !decimals(&before.difference))
        .then(|| Judged::False(format!("no solution: left minus right is {}", render(&rest))))
}

/// Whether the expression contains decimals.
fn decimals(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Num { decimals: Some(1..), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::segments;
    use crate::steps::StepStatus::{self, Correct, Wrong};

    fn judged(text: &str) -> Vec<StepStatus> {
        let mut out = Vec::new();
        claims(text, &segments(text), &Budget::of_solution(), &mut out);
        out.into_iter().map(|c| c.status).collect()
    }

    #[test]
    fn solutions_follow_or_not() {
        for (text, expected) in [
            ("$4B = 9 \\Rightarrow B = \\frac{9}{4}$", vec![Correct]),
            ("$4B = 9 \\Rightarrow B = \\frac{4}{9}$", vec![Wrong]),
            ("$2x + 6 = 10$. So $x = 3$.", vec![Wrong]),
            ("$2x + 6 = 10$. Subtracting 6 from both sides, we get $2x = 4$, so $x = 2$.", vec![Correct, Correct]),
            ("$x^2 = 16 \\implies x = 5$", vec![Wrong]),
            ("$x^2 = 16 \\implies x = 4$", vec![Correct]),
            ("\\[2x = 6\\]\n\\[x = 3\\]", vec![]),
            ("If $2x = 6$, then $x = 4$.", vec![]),
            ("$x - 2 = 0$ or $x - 3 = 0$", vec![]),
            ("$x + y = 6$, so $x = 4$", vec![]),
            ("$3x = 10$, so $x = 3$", vec![StepStatus::NotCheckable]),
        ] {
            assert_eq!(judged(text), expected, "{text}");
        }
    }
}
