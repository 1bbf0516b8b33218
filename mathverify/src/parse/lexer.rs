//! Lexes a formula, one token at a time: signs, Unicode characters, letters. `lex_number` lexes numbers, `lex_latex`
//! LaTeX commands.

use super::tables::{named_word, unicode};
use super::token::{Commas, Tok, Token};
use crate::ast::{Constant, Func, Rel};

/// The characters with the current position, and the tokens so far.
pub(super) struct Lexer {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    pub(super) out: Vec<Token>,
    /// Whether white space precedes the next token.
    pub(super) spaced: bool,
    pub(super) commas: Commas,
    /// Number of open environments that `aligned` does not count: matrices and others.
    pub(super) environments: usize,
    /// Number of open environments whose rows are equations.
    pub(super) aligned: usize,
}

impl Lexer {
    pub(super) fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(super) fn push(&mut self, kind: Tok) {
        self.out.push(Token { kind, spaced: self.spaced });
        self.spaced = false;
    }

    /// Lexes at the current position: pushes tokens, or skips characters without a meaning.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let c = self.chars[self.at];
        if c.is_ascii_alphanumeric()
            && let Some((length, base)) = self.based_digits()
        {
            let digits = self.chars[self.at..self.at + length].iter().collect();
            self.at += length;
            // Skip the subscript with its braces.
            self.at += 1;
            let braced = self.peek(0) == Some('{');
            self.at += usize::from(braced);
            self.digits();
            self.at += usize::from(braced && self.peek(0) == Some('}'));
            self.push(Tok::Based(digits, base));
            return Ok(());
        }
        match c {
            '\\' => return self.backslash(),
            '0'..='9' => {
                self.number();
                return Ok(());
            }
            '.' if self.peek(1).is_some_and(|d| d.is_ascii_digit()) => {
                self.number();
                return Ok(());
            }
            'a'..='z' | 'A'..='Z' => {
                self.letters();
                return Ok(());
            }
            _ => {}
        }
        self.at += 1;
        let kind = match c {
            c if c.is_whitespace() || c == '~' => {
                self.spaced = true;
                return Ok(());
            }
            // Math delimiters and invisible characters have no meaning inside an answer.
            '$' | '\u{200b}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{2061}' | '\u{2062}' => return Ok(()),
            '+' => Tok::Plus,
            '-' if self.peek(0) == Some('>') => {
                self.at += 1;
                Tok::Relation(Rel::Other('→'))
            }
            '-' => Tok::Minus,
            '*' if self.peek(0) == Some('*') => {
                self.at += 1;
                Tok::Sup
            }
            '*' => Tok::Times,
            '/' => Tok::Slash,
            '^' => Tok::Sup,
            '_' => Tok::Sub,
            // LaTeX writes `{:}` or `{=}` for a sign without space around it: drop the braces.
            '{' if matches!(self.peek(0), Some(':' | '=' | '+' | '-' | '<' | '>')) && self.peek(1) == Some('}') => {
                self.chars[self.at + 1] = ' ';
                return Ok(());
            }
            '{' => Tok::OpenGroup,
            '}' => Tok::CloseGroup,
            '(' | '[' => Tok::Open(c),
            ')' | ']' => Tok::Close(c),
            '|' if self.peek(0) == Some('|') => {
                self.at += 1;
                Tok::DoubleBar
            }
            '|' => Tok::Bar,
            '=' => {
                let skip = match self.peek(0) {
                    Some('>') => return self.two(Tok::Relation(Rel::Other('⇒'))),
                    Some('<') => return self.two(Tok::Relation(Rel::Le)),
                    Some('=') => 1,
                    _ => 0,
                };
                self.at += skip;
                Tok::Relation(Rel::Eq)
            }
            '<' | '>' | '!' if self.peek(0) == Some('=') => {
                let rel =
                    [('<', Rel::Le), ('>', Rel::Ge), ('!', Rel::Ne)].iter().find(|p| p.0 == c).map_or(Rel::Ne, |p| p.1);
                return self.two(Tok::Relation(rel));
            }
            '<' if self.peek(0) == Some('>') => return self.two(Tok::Relation(Rel::Ne)),
            '<' => Tok::Relation(Rel::Lt),
            '>' => Tok::Relation(Rel::Gt),
            '!' => Tok::Bang,
            '\'' | '’' | '′' => Tok::Prime,
            ',' => Tok::Comma,
            ';' => Tok::Semicolon,
            ':' => Tok::Colon,
            '%' => Tok::Percent,
            // Column separators of aligned equations are dropped.
            '&' if self.aligned > 0 => return Ok(()),
            '&' => Tok::Ampersand,
            '.' if self.peek(0) == Some('.') => {
                while self.peek(0) == Some('.') {
                    self.at += 1;
                }
                Tok::Ellipsis
            }
            // The full stop of a sentence is dropped.
            '.' if self.chars[self.at..].iter().all(|c| c.is_whitespace() || "$})]".contains(*c)) => return Ok(()),
            // `5"` is an angle or a length; in `"5"` the marks are quotation marks.
            '"' | '”' if self.behind_digit() && self.chars.iter().filter(|c| "\"“”".contains(**c)).count() % 2 == 1 =>
            {
                return Err("a mark of inches or seconds".into());
            }
            '"' | '“' | '”' | '`' => return Ok(()),
            other => return self.unicode(other),
        };
        self.push(kind);
        Ok(())
    }

    /// Whether a digit precedes the character that was just consumed.
    fn behind_digit(&self) -> bool {
        self.at >= 2 && self.chars[self.at - 2].is_ascii_digit()
    }

    /// Pushes a token of two characters, of which the second is not yet consumed.
    fn two(&mut self, kind: Tok) -> Result<(), String> {
        self.at += 1;
        self.push(kind);
        Ok(())
    }

    /// Lexes a character beyond ASCII.
    fn unicode(&mut self, c: char) -> Result<(), String> {
        const SUPER: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
        const SUB: &str = "₀₁₂₃₄₅₆₇₈₉";
        for (digits, mark) in [(SUPER, Tok::Sup), (SUB, Tok::Sub)] {
            let minus = if mark == Tok::Sup { '⁻' } else { '₋' };
            let letters: &[(char, &str)] =
                if mark == Tok::Sup { &[('ⁿ', "n")] } else { &[('ₙ', "n"), ('ᵢ', "i"), ('ₖ', "k")] };
            let place = |c: char| digits.chars().position(|d| d == c);
            let letter = |c: char| letters.iter().find(|p| p.0 == c).map(|p| p.1);
            if place(c).is_none()
                && letter(c).is_none()
                && !(c == minus && self.peek(0).is_some_and(|d| place(d).is_some()))
            {
                continue;
            }
            self.push(mark);
            self.push(Tok::OpenGroup);
            if let Some(letter) = letter(c) {
                self.push(Tok::Sym(letter.into()));
            } else {
                let mut number = place(c).map_or_else(String::new, |d| d.to_string());
                if c == minus {
                    self.push(Tok::Minus);
                }
                while let Some(d) = self.peek(0).and_then(place) {
                    number.push_str(&d.to_string());
                    self.at += 1;
                }
                self.push(Tok::Num(number));
            }
            self.push(Tok::CloseGroup);
            return Ok(());
        }
        // Digits of other scripts and full-width digits are replaced by ASCII digits and lexed again.
        if let Some(ascii) = fold_digit(c) {
            self.at -= 1;
            let mut i = self.at;
            while let Some(d) = self.chars.get(i).copied().and_then(fold_digit) {
                self.chars[i] = d;
                i += 1;
            }
            debug_assert!(ascii.is_ascii_digit());
            return Ok(());
        }
        if c == '×' {
            self.times();
            return Ok(());
        }
        if c == '∇' {
            self.push(Tok::Sym("∇".into()));
            return Ok(());
        }
        if let Some(kind) = unicode(c) {
            self.push(kind);
            return Ok(());
        }
        if c.is_alphabetic() {
            let mut word = String::from(c);
            while let Some(next) = self.peek(0).filter(|n| n.is_alphabetic()) {
                word.push(next);
                self.at += 1;
            }
            self.push(match &*word {
                "或" | "或者" | "или" => Tok::Or,
                "和" | "及" | "и" => Tok::And,
                _ => Tok::Word(word),
            });
            return Ok(());
        }
        Err(format!("the character {c:?}"))
    }

    /// Lexes a sequence of ASCII letters.
    fn letters(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let run: String = self.chars[start..self.at].iter().collect();
        // If accented letters follow, it is a word of another language.
        if run.len() > 1 && self.peek(0).is_some_and(|c| c.is_alphabetic() && !c.is_ascii() && unicode(c).is_none()) {
            let mut word = run;
            while let Some(next) = self.peek(0).filter(|n| n.is_alphabetic()) {
                word.push(next);
                self.at += 1;
            }
            self.push(Tok::Word(word));
            return;
        }
        if let Some(kind) = named_word(&run) {
            self.push(kind);
            return;
        }
        if let Some(kinds) = self.plain_command(&run) {
            for kind in kinds {
                self.push(kind);
            }
            return;
        }
        if matches!(&*run, "a" | "p" | "A" | "P") && self.rest_is(".m") {
            self.at += 2 + usize::from(self.peek(2) == Some('.'));
            self.push(Tok::Word(format!("{}m", run.to_ascii_lowercase())));
            return;
        }
        if run.len() == 1 {
            self.push(symbol(&run));
            return;
        }
        // `1orW(x)`: a connective without spaces.
        if let Some(rest) = run.strip_prefix("or").or_else(|| run.strip_prefix("and"))
            && matches!(self.out.last(), Some(Token { kind: Tok::Num(_) | Tok::Close(_), .. }))
            && rest.starts_with(|c: char| c.is_ascii_uppercase())
        {
            self.at -= rest.len();
            self.push(Tok::Or);
            return;
        }
        // `2xpi`, `xsin`: one or two letters before a known name.
        if run.len() <= 7 {
            for split in 1..run.len() - 1 {
                if let Some(kind @ (Tok::Func(_) | Tok::Const(_))) = named_word(&run[split..])
                    && split <= 2
                    && (run.len() - split >= 3 || &run[split..] == "pi")
                    && self.previous_is_number_or_short(split)
                {
                    for c in run[..split].chars() {
                        self.push(symbol(&c.to_string()));
                    }
                    self.push(kind);
                    return;
                }
            }
        }
        self.push(Tok::Word(run));
    }

    /// Words that are commands in plain text only before a subscript or a value: `sum_{k=1}^n k`, `lg 1000`, `minus 3`.
    fn plain_command(&self, run: &str) -> Option<Vec<Tok>> {
        let next = self.chars[self.at..].iter().copied().find(|c| !c.is_whitespace());
        let limits = next == Some('_');
        let argument = next.is_some_and(|c| c.is_ascii_digit() || c == '(');
        let value = next.is_some_and(|c| c.is_ascii_digit() || matches!(c, '.' | '$' | '\\' | '(' | '√'));
        Some(match run {
            "sum" if limits => vec![Tok::Sum],
            "prod" | "product" if limits => vec![Tok::Product],
            "int" | "integral" if limits => vec![Tok::Integral],
            "lim" | "limit" if limits => vec![Tok::Limit],
            "lg" if argument => common_logarithm(),
            "minus" | "Minus" if value => vec![Tok::Minus],
            "negative" | "Negative" if value && !self.behind_value() => vec![Tok::Minus],
            "plus" if value => vec![Tok::Plus],
            _ => return None,
        })
    }

    fn previous_is_number_or_short(&self, split: usize) -> bool {
        split == 1 || matches!(self.out.last(), Some(Token { kind: Tok::Num(_), .. }))
    }
}

/// The tokens of the logarithm to base 10, `log_{10}`.
pub(super) fn common_logarithm() -> Vec<Tok> {
    vec![Tok::Func(Func::Log), Tok::Sub, Tok::OpenGroup, Tok::Num("10".into()), Tok::CloseGroup]
}

/// The token of a single letter: `e` and `i` are constants, every other letter is a variable.
pub(super) fn symbol(letter: &str) -> Tok {
    match letter {
        "e" => Tok::Const(Constant::E),
        "i" => Tok::Const(Constant::I),
        other => Tok::Sym(other.into()),
    }
}

/// A full-width digit or a digit of another script as an ASCII digit; `None` for any other character.
pub(crate) fn fold_digit(c: char) -> Option<char> {
    const ZEROS: [u32; 8] = [0xff10, 0x0660, 0x06f0, 0x0966, 0x09e6, 0x0e50, 0x1d7ce, 0x0be6];
    let code = u32::from(c);
    let zero = ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}
