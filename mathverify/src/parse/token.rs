//! From characters to tokens: LaTeX, plain text and Unicode in one pass.

use super::tables::{command, named_word, unicode};
use crate::ast::{Constant, Func, Rel};

/// One token and whether white space stands before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: Tok,
    pub spaced: bool,
}

/// The kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    /// Digits with at most one point; separators are gone.
    Num(String),
    /// A single symbol: a letter or a Greek name.
    Sym(String),
    /// Two or more letters that are no known name.
    Word(String),
    /// The content of `\text{...}`.
    Text(String),
    Const(Constant),
    Func(Func),
    /// `\frac` and its relatives.
    Frac,
    Binom,
    /// `\choose`, `\over`, `\atop`: infix.
    Choose,
    Over,
    Sum,
    Product,
    Integral,
    Limit,
    /// `\overline`, `\dot`, `\vec`, ...: a mark on the next argument, by name.
    Accent(&'static str),
    /// `\boxed`, `\mathrm` with formula content, `\displaystyle`: no meaning of its own.
    NamedSet(char),
    Sup,
    Sub,
    OpenGroup,
    CloseGroup,
    /// `(`, `[`, `{` (as `\{`), `<` (as `\langle`), floor `f`, ceiling `c`.
    Open(char),
    Close(char),
    Bar,
    DoubleBar,
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    /// `\times` or ×: between sets or in `2×3` it is still a product.
    Slash,
    Bang,
    Prime,
    Comma,
    Semicolon,
    Colon,
    Relation(Rel),
    Cup,
    Cap,
    SetMinus,
    Percent,
    Degree,
    Currency(char),
    Ampersand,
    RowBreak,
    Begin(String),
    End(String),
    Ellipsis,
    And,
    Or,
    /// A fraction character such as ½.
    Vulgar(i64, i64),
    Transpose,
}

/// How commas between digits are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commas {
    /// `1,234` is one number, `1,22` is two.
    Thousands,
    /// `1,22` and `1000,99` are one number with a decimal comma.
    Decimal,
    /// A comma always separates.
    List,
}

/// Longest formula, in tokens.
pub(crate) const MAX_TOKENS: usize = 4_000;

/// Splits `text`; the error says what could not be read.
pub(crate) fn tokens(text: &str, commas: Commas) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, out: Vec::new(), spaced: false, commas, environments: 0 };
    while lexer.at < lexer.chars.len() {
        lexer.step()?;
        if lexer.out.len() > MAX_TOKENS {
            return Err(format!("longer than {MAX_TOKENS} tokens"));
        }
    }
    Ok(lexer.out)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    out: Vec<Token>,
    spaced: bool,
    commas: Commas,
    environments: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn push(&mut self, kind: Tok) {
        self.out.push(Token { kind, spaced: self.spaced });
        self.spaced = false;
    }

    fn step(&mut self) -> Result<(), String> {
        let c = self.chars[self.at];
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
            // Math delimiters carry no meaning inside an answer.
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
                let rel = [('<', Rel::Le), ('>', Rel::Ge), ('!', Rel::Ne)].iter().find(|p| p.0 == c).map_or(Rel::Ne, |p| p.1);
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
            '&' => Tok::Ampersand,
            '.' if self.peek(0) == Some('.') => {
                while self.peek(0) == Some('.') {
                    self.at += 1;
                }
                Tok::Ellipsis
            }
            // The end of a sentence.
            '.' if self.chars[self.at..].iter().all(|c| c.is_whitespace() || "$})]".contains(*c)) => return Ok(()),
            '"' | '“' | '”' | '`' => return Ok(()),
            other => return self.unicode(other),
        };
        self.push(kind);
        Ok(())
    }

    fn two(&mut self, kind: Tok) -> Result<(), String> {
        self.at += 1;
        self.push(kind);
        Ok(())
    }

    /// A character beyond ASCII.
    fn unicode(&mut self, c: char) -> Result<(), String> {
        const SUPER: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
        const SUB: &str = "₀₁₂₃₄₅₆₇₈₉";
        for (digits, mark) in [(SUPER, Tok::Sup), (SUB, Tok::Sub)] {
            let minus = if mark == Tok::Sup { '⁻' } else { '₋' };
            let letters: &[(char, &str)] = if mark == Tok::Sup { &[('ⁿ', "n")] } else { &[('ₙ', "n"), ('ᵢ', "i"), ('ₖ', "k")] };
            let place = |c: char| digits.chars().position(|d| d == c);
            let letter = |c: char| letters.iter().find(|p| p.0 == c).map(|p| p.1);
            if place(c).is_none() && letter(c).is_none() && !(c == minus && self.peek(0).is_some_and(|d| place(d).is_some())) {
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
        // Digits of other writing systems and full-width ones.
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
            self.push(Tok::Word(word));
            return Ok(());
        }
        Err(format!("the character {c:?}"))
    }

    /// A number with its separators.
    fn number(&mut self) {
        let mut text = self.digits();
        let mut grouped = false;
        // Thousands: groups of exactly three digits after `,` `{,}` `,\!` `\,` `'` or one space.
        if text.len() <= 3 && !text.is_empty() && !text.starts_with("00") {
            while let Some(skip) = self.thousands_separator(&text) {
                self.at += skip;
                text.push_str(&self.digits());
                grouped = true;
            }
        }
        if !grouped && self.peek(0) == Some(',') && self.commas == Commas::Decimal && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
            self.at += 1;
            text = format!("{text}.{}", self.digits());
            self.push(Tok::Num(text));
            return;
        }
        if self.peek(0) == Some('.') && self.dot_groups(&text) {
            while self.peek(0) == Some('.') {
                self.at += 1;
                text.push_str(&self.digits());
            }
            if self.peek(0) == Some(',') && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
                self.at += 1;
                text = format!("{text}.{}", self.digits());
            }
        } else if self.peek(0) == Some('.') && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
            self.at += 1;
            text = format!("{text}.{}", self.digits());
        } else if self.peek(0) == Some('.') && self.peek(1) != Some('.') {
            // `5.` at the end of a sentence or before a unit: the point is dropped; in `0.\overline{3}` it stays.
            self.at += 1;
            let rest: String = self.chars[self.at..].iter().take(9).collect();
            let repeats = ["\\overline", "\\bar", "\\dot{"].iter().any(|m| rest.starts_with(m))
                || (rest.starts_with('(') && text == "0");
            if repeats {
                text.push('.');
            }
        }
        // `6.673E-11`, `1e5`
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('-' | '+')));
            let digits: String = self.chars[(self.at + 1 + sign).min(self.chars.len())..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .take(6)
                .collect();
            let next = self.peek(1 + sign + digits.len());
            if !digits.is_empty() && digits.len() < 6 && !next.is_some_and(|c| c.is_alphanumeric() || c == '.') {
                let minus = self.peek(1) == Some('-');
                self.at += 1 + sign + digits.len();
                let spaced = self.spaced;
                self.push(Tok::Open('('));
                self.push(Tok::Num(text));
                self.push(Tok::Times);
                self.push(Tok::Num("10".into()));
                self.push(Tok::Sup);
                self.push(Tok::OpenGroup);
                if minus {
                    self.push(Tok::Minus);
                }
                self.push(Tok::Num(digits));
                self.push(Tok::CloseGroup);
                self.push(Tok::Close(')'));
                let first = self.out.len() - if minus { 10 } else { 9 };
                self.out[first].spaced = spaced;
                return;
            }
        }
        self.push(Tok::Num(text));
    }

    fn digits(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// Whether `1.234.567` or `1.234,5` starts here: points between groups of three.
    fn dot_groups(&self, first: &str) -> bool {
        if first.is_empty() || first.len() > 3 || first.starts_with('0') {
            return false;
        }
        let (mut at, mut groups) = (self.at, 0);
        while self.chars.get(at) == Some(&'.') {
            let group = self.chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
            if group != 3 {
                return false;
            }
            groups += 1;
            at += 4;
        }
        let comma = self.chars.get(at) == Some(&',')
            && self.chars.get(at + 1).is_some_and(char::is_ascii_digit)
            && self.commas != Commas::List;
        groups >= 2 || (groups == 1 && comma)
    }

    /// Length of the thousands separator here, when a group of exactly three digits follows.
    fn thousands_separator(&self, so_far: &str) -> Option<usize> {
        if so_far == "0" {
            return None;
        }
        let rest = &self.chars[self.at..];
        let starts = |s: &str| rest.iter().copied().take(s.len()).eq(s.chars());
        let sure = ["{,}\\!", "{,}", ",\\!\\!", ",\\!\\,", ",\\!", "\\,", "\\;", "{\\,}", "{ }"];
        let mut length = sure.iter().find(|s| starts(s)).map(|s| s.len());
        if length.is_some() && rest[length.unwrap_or(0)..].first() == Some(&' ') && starts(",") {
            length = length.map(|l| l + 1);
        }
        let plain = match rest.first() {
            Some(',') if self.commas == Commas::Thousands => Some(1),
            Some('\u{2009}' | '\u{202f}' | '\u{a0}') => Some(1),
            Some(' ' | '\'') => Some(1),
            _ => None,
        };
        let length = length.or(plain)?;
        let group = rest.get(length..)?.iter().take_while(|c| c.is_ascii_digit()).count();
        (group == 3).then_some(length)
    }

    /// A run of ASCII letters.
    fn letters(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let run: String = self.chars[start..self.at].iter().collect();
        // Continue into accented letters: a word of another language.
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
        if run.len() == 1 {
            self.push(symbol(&run));
            return;
        }
        // `1orW(x)`: a connector without its spaces.
        if let Some(rest) = run.strip_prefix("or").or_else(|| run.strip_prefix("and"))
            && matches!(self.out.last(), Some(Token { kind: Tok::Num(_) | Tok::Close(_), .. }))
            && rest.starts_with(|c: char| c.is_ascii_uppercase())
        {
            self.at -= rest.len();
            self.push(Tok::Or);
            return;
        }
        // `2pi`, `xsin`: a known name at the end of a short run.
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

    fn previous_is_number_or_short(&self, split: usize) -> bool {
        split == 1 || matches!(self.out.last(), Some(Token { kind: Tok::Num(_), .. }))
    }

    /// A LaTeX command.
    fn backslash(&mut self) -> Result<(), String> {
        let Some(next) = self.peek(1) else {
            // A stray backslash at the end.
            self.at += 1;
            return Ok(());
        };
        if next == '\\' {
            // `\\frac` from twice-escaped text, or a row break.
            let name = self.command_name(self.at + 2);
            let known = !name.is_empty() && (command(&name).is_some() || is_structural(&name));
            if known && (self.environments == 0 || ["frac", "left", "right", "end", "sqrt", "dfrac"].contains(&&*name)) {
                self.at += 1;
                return Ok(());
            }
            self.at += 2;
            if self.environments > 0 {
                self.push(Tok::RowBreak);
            } else {
                self.spaced = true;
            }
            return Ok(());
        }
        if !next.is_ascii_alphabetic() {
            self.at += 2;
            match next {
                '{' => self.push(Tok::Open('{')),
                '}' => self.push(Tok::Close('{')),
                '%' => self.push(Tok::Percent),
                '$' => self.push(Tok::Currency('$')),
                '|' => self.push(Tok::DoubleBar),
                '!' => {}
                '(' | ')' | '[' | ']' => self.spaced = true,
                '&' => self.push(Tok::And),
                ',' | ';' | ':' | ' ' | '\n' | '>' | '/' => self.spaced = true,
                '0'..='9' => self.at -= 1,
                '_' | '#' | '-' | '\'' | '"' | '`' | '^' | '~' | '=' | '.' => {}
                other => return Err(format!("the command \\{other}")),
            }
            return Ok(());
        }
        let mut name = self.command_name(self.at + 1);
        self.at += 1 + name.chars().count();
        if command(&name).is_none() && !is_structural(&name) {
            // `\cdotx` and `\lvertx`: a known command with letters stuck to it.
            let longest = (2.max(name.len().saturating_sub(2))..name.len()).rev().find(|&n| command(&name[..n]).is_some());
            match longest {
                Some(n) => {
                    self.at -= name.len() - n;
                    name.truncate(n);
                }
                // An unknown symbol stands for itself; an unknown command with arguments is not understood.
                None if self.peek(0) != Some('{') && self.peek(0) != Some('[') => {
                    self.push(Tok::Sym(format!("\\{name}")));
                    return Ok(());
                }
                None => return Err(format!("the command \\{name}")),
            }
        }
        self.structural(&name)
    }

    fn command_name(&self, from: usize) -> String {
        self.chars[from..].iter().take_while(|c| c.is_ascii_alphabetic()).collect()
    }

    /// Commands that are more than one token.
    fn structural(&mut self, name: &str) -> Result<(), String> {
        match name {
            "left" | "right" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl" | "biggr" | "Biggl" | "Biggr" | "big" | "Big"
            | "bigg" | "Bigg" | "mleft" | "mright" | "middle" => {
                self.skip_spaces();
                if self.peek(0) == Some('.') {
                    self.at += 1;
                } else if name.ends_with("right") && matches!(self.peek(0), Some('|')) {
                    self.at += 1;
                    self.push(Tok::Bar);
                }
                Ok(())
            }
            "text" | "textbf" | "textit" | "textrm" | "mbox" | "textnormal" | "textsf" | "texttt" | "hbox" | "emph"
            | "textup" | "textsc" => {
                self.skip_spaces();
                let content = self.braced().unwrap_or_default();
                self.text(&content)
            }
            "mathrm" | "operatorname" | "mathbf" | "mathit" | "mathsf" | "boldsymbol" | "bold" | "bf" | "rm" | "bm"
            | "mathcal" | "mathfrak" | "mathscr" | "pmb" | "variable" => {
                if self.peek(0) == Some('*') {
                    self.at += 1;
                }
                self.skip_spaces();
                if self.peek(0) != Some('{') {
                    return Ok(());
                }
                let content = self.braced().unwrap_or_default();
                let word = content.trim().trim_start_matches('~').trim().to_owned();
                if word.chars().all(|c| c.is_ascii_alphabetic()) && word.len() > 1 {
                    self.push(named_word(&word).unwrap_or(Tok::Text(word)));
                    return Ok(());
                }
                self.nested(&content)
            }
            "mathbb" | "Bbb" => {
                self.skip_spaces();
                let content = if self.peek(0) == Some('{') { self.braced() } else { self.next_char() };
                match content.as_deref().map(str::trim) {
                    Some(set @ ("R" | "Z" | "N" | "Q" | "C")) => {
                        let letter = set.chars().next().unwrap_or('R');
                        self.push(Tok::NamedSet(letter));
                        Ok(())
                    }
                    Some(other) => {
                        let other = other.to_owned();
                        self.nested(&other)
                    }
                    None => Err("\\mathbb without an argument".into()),
                }
            }
            "begin" | "end" => {
                self.skip_spaces();
                let environment = self.braced().unwrap_or_default();
                let aligned = ["align", "aligned", "gathered", "gather", "equation", "split", "cases", "dcases", "multline"];
                let base = environment.trim_end_matches('*').to_owned();
                if name == "begin" {
                    self.environments += 1;
                    if base == "array" || base == "tabular" {
                        self.skip_spaces();
                        self.braced();
                    }
                    if !aligned.contains(&&*base) || base.ends_with("cases") {
                        self.push(Tok::Begin(base));
                    } else {
                        self.environments -= 1;
                    }
                } else {
                    if !aligned.contains(&&*base) || base.ends_with("cases") {
                        self.environments = self.environments.saturating_sub(1);
                        self.push(Tok::End(base));
                    }
                }
                Ok(())
            }
            "char" => {
                // \char"000190
                if self.peek(0) == Some('"') {
                    self.at += 1;
                }
                let hex: String = self.chars[self.at..].iter().take_while(|c| c.is_ascii_hexdigit()).take(6).collect();
                self.at += hex.len();
                let c = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).ok_or("\\char without a code")?;
                let c = if c == '\u{190}' { 'ε' } else { c };
                self.push(unicode(c).unwrap_or(Tok::Sym(c.to_string())));
                Ok(())
            }
            "color" | "textcolor" | "phantom" | "hspace" | "vspace" | "label" | "tag" | "hphantom" | "vphantom" => {
                self.skip_spaces();
                self.braced();
                Ok(())
            }
            _ => {
                match command(name) {
                    Some(Some(kind)) => self.push(kind),
                    Some(None) => self.spaced |= true,
                    None => return Err(format!("the command \\{name}")),
                }
                Ok(())
            }
        }
    }

    /// The content of `\text{...}`: a connector, a letter, or words.
    fn text(&mut self, content: &str) -> Result<(), String> {
        let trimmed = content.trim();
        if content.starts_with(char::is_whitespace) {
            self.spaced = true;
        }
        match trimmed.trim_matches(',').trim().to_lowercase().as_str() {
            "" => {
                if trimmed.contains(',') {
                    self.push(Tok::Comma);
                }
                self.spaced = true;
                return Ok(());
            }
            "and" | "et" | "und" | "y" | "e" | "i" | "oraz" | "和" if trimmed.len() > 1 => {
                self.push(Tok::And);
                return Ok(());
            }
            "or" | "ou" | "oder" | "lub" | "或" => {
                self.push(Tok::Or);
                return Ok(());
            }
            _ => {}
        }
        if trimmed.chars().count() == 1 && trimmed.chars().all(|c| c.is_ascii_alphabetic()) {
            self.push(symbol(trimmed));
        } else if trimmed.chars().any(|c| c.is_ascii_digit() || "()$^\\".contains(c)) && !trimmed.contains(' ') {
            return self.nested(trimmed);
        } else {
            self.push(Tok::Text(trimmed.trim_end_matches('.').to_owned()));
        }
        Ok(())
    }

    /// Reads `content` as if it stood here.
    fn nested(&mut self, content: &str) -> Result<(), String> {
        if content.len() > 400 {
            return Err("a long argument of a font command".into());
        }
        let mut inner = Lexer {
            chars: content.chars().collect(),
            at: 0,
            out: Vec::new(),
            spaced: self.spaced,
            commas: self.commas,
            environments: self.environments,
        };
        // Fonts in fonts are rare: one level, so that nothing recurses without bound.
        if content.contains('\\') && content.matches('{').count() > 2 {
            return Err("nested font commands".into());
        }
        while inner.at < inner.chars.len() {
            inner.step()?;
        }
        self.out.append(&mut inner.out);
        self.spaced = false;
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn next_char(&mut self) -> Option<String> {
        let c = self.peek(0)?;
        self.at += 1;
        Some(c.to_string())
    }

    /// The content of `{...}` here; a missing brace ends at the end of the text.
    fn braced(&mut self) -> Option<String> {
        if self.peek(0) != Some('{') {
            return None;
        }
        let start = self.at + 1;
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(self.chars[start..self.at - 1].iter().collect());
                    }
                }
                _ => {}
            }
        }
        Some(self.chars[start..].iter().collect())
    }
}

/// `e` and `i` are constants, every other letter a variable.
fn symbol(letter: &str) -> Tok {
    match letter {
        "e" => Tok::Const(Constant::E),
        "i" => Tok::Const(Constant::I),
        other => Tok::Sym(other.into()),
    }
}

/// A digit of another writing system as an ASCII digit.
pub(crate) fn fold_digit(c: char) -> Option<char> {
    const ZEROS: [u32; 8] = [0xff10, 0x0660, 0x06f0, 0x0966, 0x09e6, 0x0e50, 0x1d7ce, 0x0be6];
    let code = u32::from(c);
    let zero = ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

fn is_structural(name: &str) -> bool {
    matches!(
        name,
        "left" | "right" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl" | "biggr" | "Biggl" | "Biggr" | "big" | "Big"
            | "bigg" | "Bigg" | "mleft" | "mright" | "middle" | "text" | "textbf" | "textit" | "textrm" | "mbox"
            | "textnormal" | "textsf" | "texttt" | "hbox" | "emph" | "textup" | "textsc" | "mathrm" | "operatorname"
            | "mathbf" | "mathit" | "mathsf" | "boldsymbol" | "bold" | "bf" | "rm" | "bm" | "mathcal" | "mathfrak"
            | "mathscr" | "pmb" | "variable" | "mathbb" | "Bbb" | "begin" | "end" | "char" | "color" | "textcolor"
            | "phantom" | "hspace" | "vspace" | "label" | "tag" | "hphantom" | "vphantom"
    )
}
