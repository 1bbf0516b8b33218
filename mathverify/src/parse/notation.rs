//! Notations of some countries, fields and programs whose meaning depends on the whole answer. They are resolved after
//! parsing.

use crate::ast::{Constant, Expr, Func};

/// Reads every `C_{10}^{3}` and `A_{5}^{2}` of an answer as a number of combinations or k-permutations, if the answer
/// has no other name. Chinese, Russian and French textbooks use this notation. Beside other names, `C_2^2` is a power
/// of a constant.
pub(super) fn choices(e: Expr) -> Expr {
    let counted = |e: &Expr| choice(e).is_some();
    if !e.any(&counted) {
        return e;
    }
    fn alone(e: &Expr) -> bool {
        choice(e).is_some() || (!matches!(e, Expr::Sym(_)) && e.children().into_iter().all(alone))
    }
    if !alone(&e) {
        return e;
    }
    fn rewrite(e: &Expr) -> Expr {
        choice(e).unwrap_or_else(|| e.map(&mut rewrite))
    }
    rewrite(&e)
}

/// The value of `C_n^k` or `A_n^k` with 2 <= n <= 1000 and 1 <= k <= n; `None` for any other expression.
fn choice(e: &Expr) -> Option<Expr> {
    let Expr::Pow(base, exponent) = e else { return None };
    let Expr::Sym(name) = &**base else { return None };
    let (letter, n) = name.split_once('_')?;
    let n: i64 = n.parse().ok().filter(|n| (2..=1_000).contains(n))?;
    let Expr::Num { value, decimals: None } = &**exponent else { return None };
    let k = crate::rational::to_i64(value).filter(|k| (1..=n).contains(k))?;
    let binomial = Expr::Func(Func::Binomial, vec![Expr::int(n), Expr::int(k)]);
    match letter {
        "C" => Some(binomial),
        // `P_6^2` is not rewritten: it can be a power of a probability or a number of permutations.
        "A" => Some(Expr::Mul(vec![binomial, Expr::Func(Func::Factorial, vec![Expr::int(k)])])),
        _ => None,
    }
}

/// `dy/dx` and `∂f/∂x`: replaces the two products by functions `d(y)` and `d(x)`, so that the `d` does not cancel.
pub(super) fn differentials(e: Expr) -> Expr {
    fn differential(e: &Expr) -> Option<Expr> {
        let Expr::Mul(factors) = e else { return None };
        let (sign, rest) = factors.split_first()?;
        let (name, order) = match sign {
            Expr::Sym(name) => (name, String::new()),
            Expr::Pow(base, order) => match (&**base, &**order) {
                (Expr::Sym(name), Expr::Num { value, decimals: None }) => (name, value.to_string()),
                _ => return None,
            },
            _ => return None,
        };
        matches!(&**name, "d" | "∂").then(|| Expr::Apply(format!("{name}{order}"), rest.to_vec()))
    }
    fn rewrite(e: &Expr) -> Expr {
        if let Expr::Div(above, below) = e
            && let (Some(above), Some(below)) = (differential(above), differential(below))
        {
            return Expr::Div(Box::new(above), Box::new(below));
        }
        e.map(&mut rewrite)
    }
    if e.any(&|e| matches!(e, Expr::Sym(s) if s == "d" || s == "∂")) { rewrite(&e) } else { e }
}

/// Square brackets around a whole answer with variables may be the integer part `[x]`: wraps the answer in the unknown
/// function [`BRACKETS`].
pub(super) fn integer_part(e: Expr, tokens: &[super::Token]) -> Expr {
    use super::token::Tok;
    let [first, inner @ .., last] = tokens else { return e };
    if first.kind != Tok::Open('[') || last.kind != Tok::Close(']') {
        return e;
    }
    let mut depth = 0_i32;
    for token in inner {
        match token.kind {
            Tok::Open(_) => depth += 1,
            Tok::Close(_) => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return e;
        }
    }
    let whole = matches!(
        e,
        Expr::Interval { .. }
            | Expr::Brackets(_)
            | Expr::List(_)
            | Expr::Tuple(_)
            | Expr::Set(_)
            | Expr::Matrix(_)
            | Expr::Relation(..)
            | Expr::Text(_)
            | Expr::Quantity(..)
    );
    if whole || !e.any(&|e| matches!(e, Expr::Sym(_))) { e } else { Expr::Apply(BRACKETS.into(), vec![e]) }
}

/// Name of the unknown function for square brackets around a single expression.
pub(crate) const BRACKETS: &str = "[]";

/// The answer with the imaginary unit in program notation: `j` directly after a digit, or `I` beside a `*`; `None` if
/// the text is not such an expression.
pub(super) fn imaginary(text: &str, e: &Expr) -> Option<Expr> {
    let bytes = text.as_bytes();
    if text.contains('\\') || text.len() > 400 {
        return None;
    }
    // `3+4j`; in `5j` alone, `j` may be a unit vector.
    let engineer = memchr::memchr_iter(b'j', bytes).any(|i| i > 0 && bytes[i - 1].is_ascii_digit())
        && text.trim().trim_start_matches('-').contains(['+', '-']);
    let program = memchr::memmem::find(bytes, b"*I").is_some() || memchr::memmem::find(bytes, b"I*").is_some();
    // In `3i + 4j`, the letters are unit vectors.
    if engineer && e.any(&|e| matches!(e, Expr::Const(Constant::I))) {
        return None;
    }
    let letter = match (engineer, program) {
        (true, _) => "j",
        (_, true) => "I",
        _ => return None,
    };
    // If the answer has any other name, the letter is a name too.
    let named = e.any(&|e| match e {
        Expr::Sym(s) => s != letter,
        Expr::Text(_) | Expr::Apply(..) => true,
        _ => false,
    });
    (!named && e.any(&|e| matches!(e, Expr::Sym(s) if s == letter)))
        .then(|| e.substitute(letter, &Expr::Const(Constant::I)))
}

/// The text without the commas of a number in Indian digit grouping (`1,00,000`, `12,34,567`); `None` for any other
/// text.
pub(super) fn indian_groups(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let start = chars.iter().position(char::is_ascii_digit)?;
    let length = chars[start..].iter().take_while(|c| c.is_ascii_digit() || **c == ',').count();
    let number: String = chars[start..start + length].iter().collect();
    let groups: Vec<&str> = number.split(',').collect();
    let inner = groups.get(1..groups.len().checked_sub(1)?)?;
    let indian = !inner.is_empty()
        && (1..=2).contains(&groups[0].len())
        && inner.iter().all(|g| g.len() == 2)
        && groups.last().is_some_and(|g| g.len() == 3);
    // With a further comma elsewhere, the text is a list.
    let rest: String = chars[start + length..].iter().collect();
    (indian && !rest.contains(',')).then(|| {
        let before: String = chars[..start].iter().collect();
        format!("{before}{}{rest}", groups.concat())
    })
}
