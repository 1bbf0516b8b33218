//! Removes text around a value that does not belong to it: a font command, words before it, a remark after it.

use super::Parser;
use super::token::Tok;
use crate::ast::Rel;

impl Parser {
    /// Skips what introduces a value: `= 5`, `≈ 5`, `\text{Answer: } 5`, `\text{Rs. } 500`, `about 5`.
    pub(super) fn lead_in(&mut self) {
        let value = |t: Option<&Tok>| {
            matches!(
                t,
                Some(
                    Tok::Num(_)
                        | Tok::Currency(_)
                        | Tok::Frac
                        | Tok::Minus
                        | Tok::Sym(_)
                        | Tok::Func(_)
                        | Tok::Open('(')
                )
            )
        };
        let skipped = match self.peek() {
            Some(Tok::Relation(Rel::Eq | Rel::Approx | Rel::Other('→' | '⇒'))) => 1,
            Some(Tok::Text(text)) if value(self.peek_at(1)) => {
                let text = text.trim().to_lowercase();
                let said = text.ends_with([':', '=']) || text.ends_with(" is") || text.ends_with(" are");
                let before = ["approximately", "approx", "about", "around", "roughly", "exactly", "answer", "or"];
                let currency = ["rs", "usd", "us", "inr", "eur", "rmb", "gbp", "cny", "php", "aed"];
                let bare = text.trim_end_matches(['.', '$']);
                usize::from(said || before.contains(&bare) || currency.contains(&bare))
            }
            Some(Tok::Word(word))
                if matches!(self.peek_at(1), Some(Tok::Num(_) | Tok::Currency(_) | Tok::Minus | Tok::Frac)) =>
            {
                let word = word.to_lowercase();
                // `Result -3`: a label before a value.
                let labels = [
                    "result",
                    "answer",
                    "solution",
                    "total",
                    "ergebnis",
                    "resultado",
                    "résultat",
                    "wynik",
                    "risultato",
                ];
                let hedges = ["approximately", "approx", "about", "around", "roughly", "exactly"];
                let minus = self.peek_at(1) == Some(&Tok::Minus);
                usize::from(labels.contains(&&*word) || (!minus && hedges.contains(&&*word)))
            }
            _ => 0,
        };
        self.at += skipped;
    }
}

/// The content of a font command that contains the whole answer, if it has a digit and a space: `\text{5 hours}`.
pub(super) fn set_as_text(text: &str) -> Option<&str> {
    let inner = text.trim_matches(|c: char| c == '$' || c.is_whitespace()).strip_suffix('}')?;
    let commands = ["\\text{", "\\textbf{", "\\textrm{", "\\mathrm{", "\\mathbf{", "\\mbox{", "\\textit{"];
    let inner = commands.iter().find_map(|c| inner.strip_prefix(c))?;
    let plain = inner.contains(|c: char| c.is_ascii_digit()) && inner.contains(' ') && !inner.contains(['{', '}']);
    plain.then_some(inner)
}

/// The text before a remark in words at its end: `6 (six)`, `7 \text{ (seven people)}`.
pub(super) fn spelled_out(text: &str) -> Option<&str> {
    let inner = text.trim_end().trim_end_matches('}').trim_end().strip_suffix(')')?;
    let open = inner.rfind('(')?;
    let words = &inner[open + 1..];
    const SHORT: [&str; 4] = ["one", "two", "six", "ten"];
    let spelled = words.chars().all(|c| c.is_alphabetic() || c == ' ' || c == '-')
        && words.split([' ', '-']).any(|w| w.chars().count() > 3 || SHORT.contains(&w));
    let before = text[..open].trim_end();
    let before = before.strip_suffix("\\text{").unwrap_or(before).trim_end();
    let spaced = before.len() < open && before.ends_with(|c: char| c.is_ascii_digit() || c == '}' || c == '$');
    (spelled && spaced).then_some(before)
}
