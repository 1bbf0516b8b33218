//! Tokens, lexed from LaTeX, plain text and Unicode in one pass.

use super::lexer::Lexer;
use crate::ast::{Constant, Func, Rel};

/// One token, and whether white space comes before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: Tok,
    pub spaced: bool,
}

/// The kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    /// Digits with at most one point, without separators.
    Num(String),
    /// Digits and letters in a base above ten.
    Based(String, u32),
    /// A single symbol: a letter or a Greek name.
    Sym(String),
    /// Two or more letters that are not a known name.
    Word(String),
    /// The content of `\text{...}`.
    Text(String),
    Const(Constant),
    Func(Func),
    /// `\frac` and its variants.
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
    /// `\boxed`, `\mathrm` with formula content, `\displaystyle`: without a meaning of their own.
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
    /// `\times` or × between vectors: the cross product.
    Cross,
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
    /// `∧` or `∨` between statements.
    Logic(char),
    /// A fraction character such as ½.
    Vulgar(i64, i64),
    Transpose,
}

/// The reading of commas between digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commas {
    /// `1,234` is one number, `1,22` is two.
    Thousands,
    /// `1,22` and `1000,99` are one number with a decimal comma.
    Decimal,
    /// A comma always separates.
    List,
}

/// Maximum length of a formula, in tokens.
pub(crate) const MAX_TOKENS: usize = 4_000;

/// Splits `text` into tokens; the error says what could not be read.
pub(crate) fn tokens(text: &str, commas: Commas) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        out: Vec::new(),
        spaced: false,
        commas,
        environments: 0,
        aligned: 0,
    };
    while lexer.at < lexer.chars.len() {
        lexer.step()?;
        if lexer.out.len() > MAX_TOKENS {
            return Err(format!("longer than {MAX_TOKENS} tokens"));
        }
    }
    Ok(lexer.out)
}
