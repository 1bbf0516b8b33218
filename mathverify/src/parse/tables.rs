//! Tables of names with a meaning: LaTeX commands, words of plain text, Unicode characters.

use super::token::Tok;
use crate::ast::{Constant, Func, Rel};

/// Greek letters that are variables, and `\ell`.
const GREEK: [&str; 31] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma",
    "Phi", "Psi", "Omega", "ell",
];

/// Functions with the same spelling in LaTeX and plain text.
fn function(name: &str) -> Option<Func> {
    Some(match name {
        "sin" => Func::Sin,
        "cos" => Func::Cos,
        "tan" | "tg" => Func::Tan,
        "cot" | "ctg" | "cotg" => Func::Cot,
        "sec" => Func::Sec,
        "csc" | "cosec" => Func::Csc,
        "arcsin" | "asin" => Func::Asin,
        "arccos" | "acos" => Func::Acos,
        "arctan" | "atan" | "arctg" => Func::Atan,
        "arccot" | "acot" | "arcctg" => Func::Acot,
        "arcsec" | "asec" => Func::Asec,
        "arccsc" | "acsc" => Func::Acsc,
        "sinh" => Func::Sinh,
        "cosh" => Func::Cosh,
        "tanh" => Func::Tanh,
        "coth" => Func::Coth,
        "sech" => Func::Sech,
        "csch" => Func::Csch,
        "arsinh" | "arcsinh" | "asinh" => Func::Asinh,
        "arcosh" | "arccosh" | "acosh" => Func::Acosh,
        "artanh" | "arctanh" | "atanh" => Func::Atanh,
        "exp" => Func::Exp,
        "ln" => Func::Ln,
        "log" => Func::Log,
        "gcd" | "GCD" => Func::Gcd,
        "lcm" | "LCM" => Func::Lcm,
        "min" => Func::Min,
        "max" => Func::Max,
        "floor" => Func::Floor,
        "ceil" => Func::Ceil,
        "det" => Func::Det,
        "abs" => Func::Abs,
        "sgn" | "sign" => Func::Sign,
        _ => return None,
    })
}

/// The token of a LaTeX command (without its backslash). `Some(None)` is a layout command without a meaning, `None` an
/// unknown command.
pub(crate) fn command(name: &str) -> Option<Option<Tok>> {
    if let Some(f) = function(name) {
        return Some(Some(Tok::Func(f)));
    }
    let base = name.strip_prefix("var").unwrap_or(name);
    if let Some(greek) = GREEK.iter().find(|g| **g == base) {
        return Some(Some(Tok::Sym((*greek).into())));
    }
    let rel = |r| Some(Some(Tok::Relation(r)));
    Some(Some(match name {
        "pi" | "Pi" | "uppi" => Tok::Const(Constant::Pi),
        "infty" | "infin" => Tok::Const(Constant::Infinity),
        "imath" => Tok::Const(Constant::I),
        "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" => Tok::Frac,
        "binom" | "dbinom" | "tbinom" => Tok::Binom,
        "choose" => Tok::Choose,
        "over" => Tok::Over,
        "sqrt" => Tok::Func(Func::Sqrt),
        "sum" => Tok::Sum,
        "prod" => Tok::Product,
        "int" => Tok::Integral,
        "lim" => Tok::Limit,
        "Re" => Tok::Func(Func::Re),
        "Im" => Tok::Func(Func::Im),
        "arg" => Tok::Func(Func::Arg),
        "overline" | "bar" => Tok::Accent("bar"),
        "dot" => Tok::Accent("dot"),
        "widehat" | "hat" => Tok::Accent("hat"),
        "tilde" | "widetilde" => Tok::Accent("tilde"),
        "vec" | "overrightarrow" => Tok::Accent("vec"),
        "underline" | "displaystyle" | "textstyle" | "limits" | "nolimits" | "boxed" | "fbox" | "framebox"
        | "mathop" | "scriptstyle" => {
            return Some(None);
        }
        "quad" | "qquad" | "thinspace" | "enspace" | "space" | "nobreakspace" | "hfill" | "newline" | "par" | "cr"
        | "hline" | "large" | "Large" | "normalsize" | "small" | "noindent" | "allowbreak" | "hskip" | "cdotp"
        | "strut" | "centering" | "smallskip" | "medskip" | "bigskip" | "negthinspace" | "nonumber" | "notag" => {
            return Some(None);
        }
        "triangle" | "bigtriangleup" => Tok::Sym("△".into()),
        "angle" | "measuredangle" => Tok::Sym("∠".into()),
        "ast" | "cdot" | "times" | "bullet" | "ctimes" => Tok::Times,
        "div" => Tok::Slash,
        "pm" => Tok::PlusMinus,
        "mp" => Tok::MinusPlus,
        "le" | "leq" | "leqslant" | "leqq" => return rel(Rel::Le),
        "ge" | "geq" | "geqslant" | "geqq" => return rel(Rel::Ge),
        "lt" => return rel(Rel::Lt),
        "gt" => return rel(Rel::Gt),
        "ne" | "neq" => return rel(Rel::Ne),
        "approx" | "approxeq" | "doteq" | "simeq" => return rel(Rel::Approx),
        "equiv" => return rel(Rel::Congruent),
        "cong" => return rel(Rel::Other('≅')),
        "sim" => return rel(Rel::Other('~')),
        "in" => return rel(Rel::In),
        "notin" => return rel(Rel::NotIn),
        "subset" | "subseteq" => return rel(Rel::Subset),
        "to" | "rightarrow" | "longrightarrow" | "mapsto" | "Rightarrow" | "implies" | "Longrightarrow"
        | "longmapsto" => {
            return rel(Rel::Other('→'));
        }
        "iff" | "Leftrightarrow" | "leftrightarrow" | "Longleftrightarrow" => return rel(Rel::Other('⇔')),
        "mid" | "divides" => Tok::Bar,
        "nmid" => return rel(Rel::Other('∤')),
        "parallel" => return rel(Rel::Other('∥')),
        "perp" => return rel(Rel::Other('⊥')),
        "cup" | "bigcup" => Tok::Cup,
        "cap" | "bigcap" => Tok::Cap,
        "setminus" | "backslash" | "smallsetminus" => Tok::SetMinus,
        "emptyset" | "varnothing" => Tok::NamedSet('0'),
        "circ" | "degree" | "degrees" => Tok::Degree,
        "prime" => Tok::Prime,
        "percent" => Tok::Percent,
        "euro" | "EUR" => Tok::Currency('€'),
        "pounds" => Tok::Currency('£'),
        "textdollar" | "dollar" => Tok::Currency('$'),
        "lfloor" | "llcorner" => Tok::Open('f'),
        "rfloor" | "lrcorner" => Tok::Close('f'),
        "lceil" | "ulcorner" => Tok::Open('c'),
        "rceil" | "urcorner" => Tok::Close('c'),
        "langle" => Tok::Open('<'),
        "rangle" => Tok::Close('<'),
        "lbrace" => Tok::Open('{'),
        "rbrace" => Tok::Close('{'),
        "lbrack" => Tok::Open('['),
        "rbrack" => Tok::Close(']'),
        "lparen" | "lgroup" => Tok::Open('('),
        "rparen" | "rgroup" => Tok::Close(')'),
        "vert" | "lvert" | "rvert" => Tok::Bar,
        "Vert" | "lVert" | "rVert" => Tok::DoubleBar,
        "ldots" | "cdots" | "dots" | "dotsc" | "dotsb" | "dotso" | "vdots" | "ddots" => Tok::Ellipsis,
        "mod" | "bmod" => Tok::Func(Func::Mod),
        "pmod" => Tok::Func(Func::Mod),
        "land" | "wedge" => Tok::Logic('∧'),
        "lor" | "vee" => Tok::Logic('∨'),
        "partial" => Tok::Sym("∂".into()),
        "square" => Tok::Sym("□".into()),
        "top" | "intercal" => Tok::Transpose,
        "operatornamewithlimits" => return Some(None),
        _ => return None,
    }))
}

/// The token of a word that has a meaning in plain text; `None` for any other word.
pub(crate) fn named_word(word: &str) -> Option<Tok> {
    if let Some(f) = function(word) {
        return Some(Tok::Func(f));
    }
    if let Some(greek) = GREEK.iter().find(|g| **g == word && word != "ell") {
        return Some(Tok::Sym((*greek).into()));
    }
    let lower = word.to_lowercase();
    Some(match lower.as_str() {
        "pi" => Tok::Const(Constant::Pi),
        "inf" | "infinity" | "infty" | "oo" if word != "OO" => Tok::Const(Constant::Infinity),
        "sqrt" => Tok::Func(Func::Sqrt),
        "cbrt" => Tok::Func(Func::Root),
        "and" => Tok::And,
        "or" => Tok::Or,
        "mod" => Tok::Func(Func::Mod),
        "percent" | "pct" | "percentage" => Tok::Percent,
        "degree" | "degrees" | "deg" => Tok::Degree,
        "binom" | "binomial" => Tok::Func(Func::Binomial),
        "factorial" => Tok::Func(Func::Factorial),
        "union" => Tok::Cup,
        "emptyset" => Tok::NamedSet('0'),
        "euro" | "euros" => Tok::Currency('€'),
        "dollar" | "dollars" | "usd" => Tok::Currency('$'),
        "frac" => Tok::Frac,
        _ => return None,
    })
}

/// The token of a character beyond ASCII that has a meaning; `None` for any other character.
pub(crate) fn unicode(c: char) -> Option<Tok> {
    const GREEK_CHARS: &str = "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΣΦΨΩ";
    const GREEK_NAMES: [&str; 30] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
        "Sigma", "Phi", "Psi", "Omega",
    ];
    if let Some(place) = GREEK_CHARS.chars().position(|g| g == c) {
        return Some(Tok::Sym(GREEK_NAMES[place].into()));
    }
    let rel = |r| Some(Tok::Relation(r));
    Some(match c {
        '−' | '–' | '—' | '﹣' | '－' | '‐' | '‑' => Tok::Minus,
        '＋' => Tok::Plus,
        '×' | '·' | '⋅' | '∙' | '•' | '∗' | '＊' | '✕' => Tok::Times,
        '÷' | '／' | '⁄' | '∕' => Tok::Slash,
        '√' => Tok::Func(Func::Sqrt),
        '∛' => Tok::Func(Func::Root),
        '½' => Tok::Vulgar(1, 2),
        '⅓' => Tok::Vulgar(1, 3),
        '⅔' => Tok::Vulgar(2, 3),
        '¼' => Tok::Vulgar(1, 4),
        '¾' => Tok::Vulgar(3, 4),
        '⅕' => Tok::Vulgar(1, 5),
        '⅖' => Tok::Vulgar(2, 5),
        '⅗' => Tok::Vulgar(3, 5),
        '⅘' => Tok::Vulgar(4, 5),
        '⅙' => Tok::Vulgar(1, 6),
        '⅚' => Tok::Vulgar(5, 6),
        '⅐' => Tok::Vulgar(1, 7),
        '⅛' => Tok::Vulgar(1, 8),
        '⅜' => Tok::Vulgar(3, 8),
        '⅝' => Tok::Vulgar(5, 8),
        '⅞' => Tok::Vulgar(7, 8),
        '⅑' => Tok::Vulgar(1, 9),
        '⅒' => Tok::Vulgar(1, 10),
        '°' | '˚' | '∘' | 'º' => Tok::Degree,
        'π' | '𝜋' => Tok::Const(Constant::Pi),
        '∞' => Tok::Const(Constant::Infinity),
        'ϕ' | '𝜙' => Tok::Sym("phi".into()),
        'ϵ' => Tok::Sym("epsilon".into()),
        'ϑ' | '𝜃' => Tok::Sym("theta".into()),
        '≤' | '⩽' | '≦' => return rel(Rel::Le),
        '≥' | '⩾' | '≧' => return rel(Rel::Ge),
        '＜' => return rel(Rel::Lt),
        '＞' => return rel(Rel::Gt),
        '＝' => return rel(Rel::Eq),
        '≠' => return rel(Rel::Ne),
        '≈' | '≃' | '≒' => return rel(Rel::Approx),
        '≡' => return rel(Rel::Congruent),
        '∈' => return rel(Rel::In),
        '∉' => return rel(Rel::NotIn),
        '⊂' | '⊆' => return rel(Rel::Subset),
        '→' | '⇒' | '↦' => return rel(Rel::Other('→')),
        '⇔' => return rel(Rel::Other('⇔')),
        '∥' => return rel(Rel::Other('∥')),
        '⊥' => return rel(Rel::Other('⊥')),
        '∪' | '⋃' => Tok::Cup,
        '∩' | '⋂' => Tok::Cap,
        '∖' | '＼' => Tok::SetMinus,
        '∅' | 'Ø' | '⌀' => Tok::NamedSet('0'),
        'ℝ' => Tok::NamedSet('R'),
        'ℤ' => Tok::NamedSet('Z'),
        'ℕ' => Tok::NamedSet('N'),
        'ℚ' => Tok::NamedSet('Q'),
        'ℂ' => Tok::NamedSet('C'),
        '±' => Tok::PlusMinus,
        '∓' => Tok::MinusPlus,
        '∑' => Tok::Sum,
        '∏' => Tok::Product,
        '∫' => Tok::Integral,
        '⌊' => Tok::Open('f'),
        '⌋' => Tok::Close('f'),
        '⌈' => Tok::Open('c'),
        '⌉' => Tok::Close('c'),
        '⟨' | '〈' => Tok::Open('<'),
        '⟩' | '〉' => Tok::Close('<'),
        '（' => Tok::Open('('),
        '）' => Tok::Close(')'),
        '［' | '【' => Tok::Open('['),
        '］' | '】' => Tok::Close(']'),
        '｛' => Tok::Open('{'),
        '｝' => Tok::Close('{'),
        '｜' | '∣' => Tok::Bar,
        '，' | '、' | '،' => Tok::Comma,
        '；' => Tok::Semicolon,
        '：' | '∶' => Tok::Colon,
        '％' | '٪' => Tok::Percent,
        '！' => Tok::Bang,
        '…' | '⋯' => Tok::Ellipsis,
        '€' | '£' | '¥' | '₹' | '₽' | '₩' | '￥' | '¢' => Tok::Currency(c),
        '△' | '∆' => Tok::Sym("△".into()),
        '∠' => Tok::Sym("∠".into()),
        'ℓ' => Tok::Sym("ell".into()),
        '∧' => Tok::Logic('∧'),
        '∨' => Tok::Logic('∨'),
        _ => return None,
    })
}
