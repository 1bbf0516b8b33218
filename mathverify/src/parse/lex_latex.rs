//! Lexes LaTeX commands.

use super::lexer::{Lexer, symbol};
use super::tables::{command, named_word, unicode};
use super::token::Tok;
use crate::ast::Func;
use crate::compare::marks::{SHAPED, has_command};

impl Lexer {
    /// Lexes the LaTeX command at the current position.
    pub(super) fn backslash(&mut self) -> Result<(), String> {
        let Some(next) = self.peek(1) else {
            // A backslash at the end of the text is dropped.
            self.at += 1;
            return Ok(());
        };
        if next == '\\' {
            // `\\` is a row break, or, as in `\\frac`, a backslash that was escaped twice.
            let name = self.command_name(self.at + 2);
            let known = !name.is_empty() && (command(&name).is_some() || is_structural(&name));
            if known && (self.environments == 0 || ["frac", "left", "right", "end", "sqrt", "dfrac"].contains(&&*name))
            {
                self.at += 1;
                return Ok(());
            }
            self.at += 2;
            if self.aligned > 0 {
                // A row that starts with a relation or an operator continues the previous row; any other is an item.
                self.skip_spaces();
                while self.peek(0) == Some('&') {
                    self.at += 1;
                    self.skip_spaces();
                }
                let goes_on = matches!(self.peek(0), Some('=' | '<' | '>' | '≤' | '≥' | '+' | '-' | ',') | None)
                    || ["\\le", "\\ge", "\\end", "\\approx", "\\Right", "\\to", "\\quad", "\\text{and"]
                        .iter()
                        .any(|s| self.rest_is(s));
                if !goes_on && !matches!(self.out.last().map(|t| &t.kind), None | Some(Tok::Comma | Tok::Relation(_))) {
                    self.push(Tok::Comma);
                }
                return Ok(());
            }
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
            // `\cdotx` and `\lvertx`: a known command without a space after it.
            let longest =
                (2.max(name.len().saturating_sub(2))..name.len()).rev().find(|&n| command(&name[..n]).is_some());
            match longest {
                Some(n) => {
                    self.at -= name.len() - n;
                    name.truncate(n);
                }
                // An unknown command that stands for a letter is a symbol. Between operands it may be an operator of
                // unknown meaning, and with arguments a function: both are errors.
                None if self.peek(0) != Some('{') && self.peek(0) != Some('[') && self.is_letter(&name) => {
                    self.push(Tok::Sym(format!("\\{name}")));
                    return Ok(());
                }
                None => return Err(format!("the command \\{name}")),
            }
        }
        self.structural(&name)
    }

    /// Whether an unknown command stands for a letter: by its name, or because it is not between two operands.
    fn is_letter(&self, name: &str) -> bool {
        const LETTERS: [&str; 22] = [
            "hbar",
            "hslash",
            "aleph",
            "beth",
            "gimel",
            "daleth",
            "wp",
            "Xi",
            "xi",
            "Upsilon",
            "digamma",
            "jmath",
            "mho",
            "eth",
            "Bbbk",
            "nabla",
            "AA",
            "aa",
            "ae",
            "oe",
            "bot",
            "heartsuit",
        ];
        let operand = |t: &Tok| {
            matches!(
                t,
                Tok::Num(_)
                    | Tok::Sym(_)
                    | Tok::Word(_)
                    | Tok::Const(_)
                    | Tok::Close(_)
                    | Tok::CloseGroup
                    | Tok::Bang
                    | Tok::Prime
            )
        };
        let before = self.out.last().is_some_and(|t| operand(&t.kind));
        let rest = self.chars[self.at..].iter().find(|c| !c.is_whitespace());
        let behind = rest.is_some_and(|c| c.is_alphanumeric() || "\\({|[".contains(*c));
        LETTERS.contains(&name) || !(before && behind)
    }

    fn command_name(&self, from: usize) -> String {
        self.chars[from..].iter().take_while(|c| c.is_ascii_alphabetic()).collect()
    }

    /// Lexes a command by name: delimiters, text, fonts and environments here, all others by the table `command`.
    pub(super) fn structural(&mut self, name: &str) -> Result<(), String> {
        match name {
            "left" | "right" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl" | "biggr" | "Biggl" | "Biggr" | "big"
            | "Big" | "bigg" | "Bigg" | "mleft" | "mright" | "middle" => {
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
                if self.behind_value()
                    && let Some(unit) = unit_formula(&content)
                {
                    self.push(Tok::Text(unit));
                    return Ok(());
                }
                let word = content.trim().trim_start_matches('~').trim().to_owned();
                // `5 \mathrm{m}`
                if self.behind_value() && word.len() == 1 && "msghlLJNWVAKTFC".contains(&word) {
                    self.push(Tok::Text(word));
                    return Ok(());
                }
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
                let aligned =
                    ["align", "aligned", "gathered", "gather", "equation", "split", "cases", "dcases", "multline"];
                let base = environment.trim_end_matches('*').to_owned();
                if name == "begin" {
                    self.environments += 1;
                    if base == "array" || base == "tabular" {
                        self.skip_spaces();
                        self.braced();
                    }
                    if !aligned.contains(&&*base) || (base.ends_with("cases") && !self.system()) {
                        self.push(Tok::Begin(base));
                    } else {
                        self.environments -= 1;
                        self.aligned += 1;
                    }
                } else {
                    if aligned.contains(&&*base) && self.aligned > 0 {
                        self.aligned -= 1;
                    } else if !aligned.contains(&&*base) || base.ends_with("cases") {
                        self.environments = self.environments.saturating_sub(1);
                        self.push(Tok::End(base));
                    }
                }
                Ok(())
            }
            "times" => {
                self.times();
                Ok(())
            }
            "lg" => {
                super::lexer::common_logarithm().into_iter().for_each(|kind| self.push(kind));
                Ok(())
            }
            "char" => {
                // `\char"000190`
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
                // If both `\phi` and `\varphi` occur in the text, they are two letters.
                if let Some(base) = name.strip_prefix("var").filter(|base| SHAPED.contains(base))
                    && has_command(&self.chars.iter().collect::<String>(), "", base)
                {
                    self.push(Tok::Sym(name.to_owned()));
                    return Ok(());
                }
                match command(name) {
                    Some(Some(kind)) => self.push(kind),
                    Some(None) => self.spaced |= true,
                    None => return Err(format!("the command \\{name}")),
                }
                Ok(())
            }
        }
    }

    /// Lexes the content of `\text{...}`: a connective, a function, a letter, or words.
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
            "or" | "ou" | "oder" | "lub" | "或" | "and/or" => {
                self.push(Tok::Or);
                return Ok(());
            }
            _ => {}
        }
        let behind_value = self.behind_value();
        if trimmed == "mod" {
            self.push(Tok::Func(Func::Mod));
            return Ok(());
        }
        // `\text{lcm}(2, 3)`
        if !behind_value
            && let Some(function @ Tok::Func(_)) = named_word(trimmed)
            && (self.peek(0) == Some('(') || self.rest_is("\\left("))
        {
            self.push(function);
            return Ok(());
        }
        if let Some(half @ ("am" | "pm")) = Some(&*trimmed.to_lowercase().replace('.', "")) {
            self.push(Tok::Text(half.to_owned()));
            return Ok(());
        }
        if trimmed.chars().count() == 1 && trimmed.chars().all(|c| c.is_ascii_alphabetic()) && !behind_value {
            self.push(symbol(trimmed));
        } else if trimmed.chars().any(|c| c.is_ascii_digit() || "()$^\\".contains(c)) && !trimmed.contains(' ') {
            return self.nested(trimmed);
        } else {
            self.push(Tok::Text(trimmed.trim_end_matches('.').to_owned()));
        }
        Ok(())
    }

    /// Pushes a product sign: the cross product before a vector (`\vec`, bold, hat) or beside ∇, else a multiplication.
    pub(super) fn times(&mut self) {
        const MARKS: [&str; 8] =
            ["\\vec", "\\mathbf", "\\boldsymbol", "\\bm", "\\overrightarrow", "\\hat", "\\nabla", "∇"];
        let start = self.chars[self.at..].iter().take_while(|c| c.is_whitespace()).count();
        let rest: String = self.chars[self.at + start..].iter().take(16).collect();
        let marked = MARKS.iter().any(|mark| rest.starts_with(mark));
        let nabla = matches!(self.out.last().map(|t| &t.kind), Some(Tok::Sym(s)) if s == "\\nabla" || s == "∇");
        self.push(if marked || nabla { Tok::Cross } else { Tok::Times });
    }

    /// Whether the last token ends a value: a number or a closing bracket.
    pub(super) fn behind_value(&self) -> bool {
        matches!(self.out.last().map(|t| &t.kind), Some(Tok::Num(_) | Tok::Close(_) | Tok::CloseGroup))
    }

    /// Lexes `content` as if it were at the current position.
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
            aligned: self.aligned,
        };
        // Nested font commands are rare. A command among more than two groups is an error, so that the recursion is
        // bounded.
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

    pub(super) fn skip_spaces(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Whether the `cases` environment that starts here is a system of equations, one per row, instead of a case
    /// distinction with conditions.
    fn system(&self) -> bool {
        let rest = &self.chars[self.at..];
        let end = rest.windows(5).position(|w| w.iter().collect::<String>() == "\\end{").unwrap_or(rest.len());
        let body: String = rest[..end].iter().collect();
        !body.contains("\\text")
            && !body.contains("\\mbox")
            && !body.contains("if")
            && body.split("\\\\").all(|row| {
                row.trim().is_empty()
                    || (row.matches('&').count() <= 1
                        && row.contains('=')
                        && !row.contains(", &")
                        && !row.contains(",&"))
            })
    }

    fn next_char(&mut self) -> Option<String> {
        let c = self.peek(0)?;
        self.at += 1;
        Some(c.to_string())
    }

    /// Consumes `{...}` at the current position and returns its content. Without a closing brace, the content extends
    /// to the end of the text.
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

/// A composed unit in one font command, as plain text: `m/s^2`, `kg \cdot m^{-1}`. `None` if the content has no slash,
/// power, product or space.
fn unit_formula(content: &str) -> Option<String> {
    let clean = content.replace("\\cdot", "*").replace(['{', '}', '~'], "");
    let clean = ["\\,", "\\ ", "\\;", "\\:"].iter().fold(clean, |text, space| text.replace(space, " "));
    let unit = |c: char| c.is_ascii_alphanumeric() || "/^*·- °µ".contains(c);
    let structured = clean.contains(['/', '^', '*', '·']) || clean.trim().contains(' ');
    (structured && clean.chars().all(unit) && clean.trim_start().starts_with(char::is_alphabetic))
        .then(|| clean.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Whether [`Lexer::structural`] handles the command itself, without the table `command`.
fn is_structural(name: &str) -> bool {
    matches!(
        name,
        "left"
            | "right"
            | "bigl"
            | "bigr"
            | "Bigl"
            | "Bigr"
            | "biggl"
            | "biggr"
            | "Biggl"
            | "Biggr"
            | "big"
            | "Big"
            | "bigg"
            | "Bigg"
            | "mleft"
            | "mright"
            | "middle"
            | "text"
            | "textbf"
            | "textit"
            | "textrm"
            | "mbox"
            | "textnormal"
            | "textsf"
            | "texttt"
            | "hbox"
            | "emph"
            | "textup"
            | "textsc"
            | "mathrm"
            | "operatorname"
            | "mathbf"
            | "mathit"
            | "mathsf"
            | "boldsymbol"
            | "bold"
            | "bf"
            | "rm"
            | "bm"
            | "mathcal"
            | "mathfrak"
            | "mathscr"
            | "pmb"
            | "variable"
            | "mathbb"
            | "Bbb"
            | "begin"
            | "end"
            | "char"
            | "color"
            | "textcolor"
            | "phantom"
            | "hspace"
            | "vspace"
            | "label"
            | "tag"
            | "lg"
            | "hphantom"
            | "vphantom"
    )
}
