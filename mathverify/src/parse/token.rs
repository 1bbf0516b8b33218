//! The tokens of a formula. One lexer pass reads LaTeX, plain text and Unicode.

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
    /// A number in a base above ten: its digits and letters, and the base.
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
    /// `\choose`, an infix operator.
    Choose,
    /// `\over`, an infix operator.
    Over,
    Sum,
    Product,
    Integral,
    Limit,
    /// An accent on the next argument, by name: `\overline` (`bar`), `\dot`, `\vec`, ...
    Accent(&'static str),
    /// A named set by its letter: `R`, `Z`, `N`, `Q`, `C`; `0` is the empty set.
    NamedSet(char),
    /// `^`
    Sup,
    /// `_`
    Sub,
    /// `{` and `}` of a LaTeX group.
    OpenGroup,
    CloseGroup,
    /// An opening bracket: `(`, `[`, `{` for `\{`, `<` for `\langle`, `f` for floor, `c` for ceiling. [`Tok::Close`]
    /// has `)` and `]`, and otherwise the same characters.
    Open(char),
    Close(char),
    Bar,
    DoubleBar,
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    /// The cross product: `\times` or × with vectors.
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
    /// `∧` or `∨`.
    Logic(char),
    /// A fraction character such as ½.
    Vulgar(i64, i64),
    Transpose,
}

/// How a comma between digits is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commas {
    /// A thousands separator: `1,234` is one number, `1,22` is two.
    Thousands,
    /// A decimal comma: `1,22` and `1000,99` are one number.
    Decimal,
    /// A comma always separates items.
    List,
}

/// Maximum length of a formula, in tokens.
pub(crate) const MAX_TOKENS: usize = 4_000;

/// Splits `text` into tokens; the error names the first part that cannot be read.
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
