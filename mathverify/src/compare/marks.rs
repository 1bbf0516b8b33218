//! Words and marks that change the meaning of a value. If only one side has them, two answers with equal values are not
//! equal: `5 dozen` and `5`, `\|x\|` and `|x|`, `\varphi` and `\phi`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::words;
use crate::parse;
use crate::pattern::pattern;

/// Why two texts with equal values are not shown to be equal, if so.
pub(super) fn conflict(pred: &str, gold: &str) -> Option<&'static str> {
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii() && !b.is_ascii_alphabetic());
    if plain(pred) && plain(gold) {
        return None;
    }
    // Rewriting makes `5 million` a number, without a scaling word.
    if scales(&parse::respelled(pred)) != scales(&parse::respelled(gold)) || changing(pred) != changing(gold) {
        return Some(words::MEANING);
    }
    let marked = |s: &str| s.contains(['\\', '^', '|']) || !s.is_ascii();
    if !marked(pred) && !marked(gold) {
        return None;
    }
    if other_shapes(pred, gold) {
        return Some("two letters, or two shapes of one letter");
    }
    for (one, other, why) in [
        (&*NORM, &*BARS, "a norm and an absolute value"),
        (&*SUBSET_OR_EQUAL, &*SUBSET, "a subset, and a subset or equal"),
        (&*ORDER_OF_DERIVATIVE, &*POWER, "a derivative and a power"),
        (&*DIVERGENCE, &*NABLA, "a divergence and a gradient"),
    ] {
        let only = |s: &str| (one.is_match(s), other.is_match(s));
        if matches!((only(pred), only(gold)), ((true, _), (false, true)) | ((false, true), (true, _))) {
            return Some(why);
        }
    }
    let (p, g) = (arrows(pred), arrows(gold));
    if !p.is_empty() && !g.is_empty() && p != g {
        return Some("two kinds of arrows");
    }
    matrices_in_another_order(pred, gold).then_some("a product of capital letters in another order")
}

/// A number with a word directly after it that multiplies it, divides it or makes it an ordinal; the word may be in
/// `\text{}` or in parentheses.
static SCALE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)[\d}})](?:\s|[~(\-^{{]|\\[ ,;:!]|\\(?:text|mathrm|mbox|textbf|textit|textrm|rm)\b|in\s|of\s)*(?:({SCALES})\b|th\b|st\b|nd\b|rd\b)"
    ))
});
const SCALES: &str = "dozens?|pairs?|couples?|half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|\
     elevenths?|twelfths?|[a-z]{3,6}teenths?|[a-z]{3,5}tieths?|hundredths?|thousandths?|millionths?|billionths?|tens|\
     hundreds?|thousands?|millions?|billions?|trillions?|gross|grand|score|fold|squared|cubed|doubled|tripled|halved|percentile";

/// The scaling words and ordinal endings after the numbers of a text. All ordinal endings are one word: `3rd` and
/// `3th`.
fn scales(text: &str) -> BTreeSet<String> {
    SCALE
        .captures_iter(text)
        .map(|found| found.get(1).map_or("th".to_owned(), |word| words::canonical(&word.as_str().to_lowercase())))
        .map(|word| if word == "halve" { "half".to_owned() } else { word })
        .collect()
}

/// Whether a word after a number multiplies it, divides it or makes it an ordinal.
pub(super) fn is_scale(word: &str) -> bool {
    static ALONE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^(?:{SCALES}|th|st|nd|rd)$")));
    ALONE.is_match(word)
}

/// Whether a text denies a value or takes it back.
pub(crate) fn denies(text: &str) -> bool {
    !changing(text).is_empty()
}

/// Words that deny a value, take it back or transform it, wherever they are.
fn changing(text: &str) -> BTreeSet<String> {
    const CHANGING: [&str; 30] = [
        "not",
        "never",
        "neither",
        "nor",
        "isn",
        "aren",
        "wasn",
        "doesn",
        "cannot",
        "except",
        "excluding",
        "excluded",
        "without",
        "unless",
        "rejected",
        "discarded",
        "extraneous",
        "invalid",
        "impossible",
        "inadmissible",
        "wrong",
        "incorrect",
        "undefined",
        "remainder",
        "reciprocal",
        "twice",
        "thrice",
        "squared",
        "cubed",
        "halved",
    ];
    let commands = |at: usize| at > 0 && text.as_bytes()[at - 1] == b'\\';
    let mut out = BTreeSet::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_alphabetic(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let word = text[from..at].to_lowercase();
                if CHANGING.contains(&&*word) && !commands(from) {
                    out.insert(word);
                }
                start = None;
            }
            _ => {}
        }
    }
    out
}

/// Greek letters with two shapes in LaTeX (`\phi`, `\varphi`), which some authors use as two names.
pub(crate) const SHAPED: [&str; 7] = ["epsilon", "theta", "phi", "rho", "sigma", "pi", "kappa"];

/// Whether a text has the command `\` + `prefix` + `name`.
pub(crate) fn has_command(text: &str, prefix: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        text[..at].strip_suffix(prefix).is_some_and(|before| before.ends_with('\\'))
            && !text[at + name.len()..].starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

/// Whether one side has only `\phi` and the other only `\varphi`.
fn other_shapes(pred: &str, gold: &str) -> bool {
    SHAPED.iter().any(|name| {
        let shapes = |s: &str| (has_command(s, "", name), has_command(s, "var", name));
        matches!((shapes(pred), shapes(gold)), ((true, false), (false, true)) | ((false, true), (true, false)))
    })
}

static NORM: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\\||\\[lr]?Vert\b|‖|^\s*\|\|"));
static BARS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\||\\[lr]?vert\b|\\mid\b"));
static SUBSET_OR_EQUAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\subseteq\b|⊆"));
static SUBSET: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\subset(?:neq)?\b|⊂|⊊"));
/// The order of a derivative, `f^{(2)}`, as opposed to a power, `f^2`.
static ORDER_OF_DERIVATIVE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[A-Za-z]\s*\^\s*\{\s*\(\s*(?:\d+|[a-z])\s*\)\s*\}"));
static DIVERGENCE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:\\nabla|∇)\s*(?:\\cdot|·|⋅)"));
static NABLA: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\nabla|∇"));
static POWER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\^"));

/// The kinds of arrows of a text.
fn arrows(text: &str) -> BTreeSet<&'static str> {
    static KINDS: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        [
            (pattern(r"\\(?:to|rightarrow|longrightarrow)\b|→|->"), "to"),
            (pattern(r"\\(?:Rightarrow|implies|Longrightarrow)\b|⇒|=>"), "implies"),
            (pattern(r"\\(?:mapsto|longmapsto)\b|↦"), "maps to"),
        ]
    });
    KINDS.iter().filter(|(kind, _)| kind.is_match(text)).map(|(_, name)| *name).collect()
}

/// `A^{-1}B` and `BA^{-1}`: capital letters with an inverse or a transpose may be matrices, whose order counts.
fn matrices_in_another_order(pred: &str, gold: &str) -> bool {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"[A-Z)]\s*\^\s*(?:\{\s*)?(?:-\s*1|T(?:[^a-z]|$)|\\top\b|\\mathsf\s*\{?T|\\intercal|\*)")
    });
    // A Cartesian product of sets: `A × B`.
    static CARTESIAN: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^[\s$]*[A-Z](?:\s*(?:\\times\b|×)\s*[A-Z])+[\s$.]*$"));
    let marked = [&*MARK, &*CARTESIAN].iter().any(|mark| mark.is_match(pred) || mark.is_match(gold));
    if !marked {
        return false;
    }
    let (p, g) = (super::normalised(pred), super::normalised(gold));
    let letters = |s: &str| -> String {
        let plain = s.replace("\\top", "").replace("\\mathsf", "").replace("\\intercal", "");
        let plain = plain.replace("\\cdot", "").replace("\\times", "");
        plain.chars().filter(|c| c.is_alphabetic()).collect()
    };
    let (p, g) = (letters(&p), letters(&g));
    let capitals = |s: &str| s.chars().all(|c| c.is_ascii_uppercase());
    let distinct = p.chars().chain(g.chars()).filter(|c| *c != 'T').collect::<BTreeSet<_>>().len();
    capitals(&p) && capitals(&g) && distinct > 1 && p != g
}

/// Whether both sides state domains for their letters and the domains differ: `k ∈ ℤ` and `k ∈ ℕ`.
pub(super) fn other_domains(pred: &str, gold: &str) -> bool {
    let (p, g) = (domains(pred), domains(gold));
    !p.is_empty() && !g.is_empty() && p != g
}

/// The sets of numbers that a text names in words or symbols.
fn domains(text: &str) -> BTreeSet<&'static str> {
    static KINDS: LazyLock<[(Regex, &str); 6]> = LazyLock::new(|| {
        [
            (
                pattern(
                    r"(?i)non-?negative integers?|(?-i)(?:Z|ℤ)\}?\s*(?:_\{?\s*(?:\\geq?(?:slant)?|≥)\s*0|\^\{?\s*\+\s*_0|_0\^\{?\s*\+)|(?:N|ℕ)\}?\s*_\{?\s*0",
                ),
                "from 0",
            ),
            (
                pattern(
                    r"(?i)\bnatural\b|positive (?:integers?|whole)|(?-i)\\mathbb\s*\{?\s*N|\\mathbf\s*\{?\s*N|\\N\b|ℕ|(?:\\mathbb\s*\{?\s*Z|ℤ)\}?\s*(?:\^\{?\s*\+|_\{?\s*(?:\+|>))",
                ),
                "naturals",
            ),
            (
                pattern(r"(?i)\bintegers?\b|\bwhole numbers?\b|(?-i)\\mathbb\s*\{?\s*Z|\\mathbf\s*\{?\s*Z|\\Z\b|ℤ"),
                "integers",
            ),
            (pattern(r"(?i)\breals?\b|(?-i)\\mathbb\s*\{?\s*R|\\mathbf\s*\{?\s*R|\\R\b|ℝ"), "reals"),
            (pattern(r"(?i)\brationals?\b|(?-i)\\mathbb\s*\{?\s*Q|\\mathbf\s*\{?\s*Q|\\Q\b|ℚ"), "rationals"),
            (pattern(r"(?i)\bcomplex\b|(?-i)\\mathbb\s*\{?\s*C|\\mathbf\s*\{?\s*C|ℂ"), "complex"),
        ]
    });
    let maybe = |s: &str| {
        s.contains(['ℕ', 'ℤ', 'ℝ', 'ℚ', 'ℂ'])
            || s.contains("\\mathb")
            || ["\\N", "\\Z", "\\R", "\\Q"].iter().any(|c| s.contains(c))
            || ["nteger", "hole", "eal", "ational", "omplex", "atural"].iter().any(|w| s.contains(w))
    };
    let mut out = BTreeSet::new();
    if !maybe(text) {
        return out;
    }
    let mut rest = text.to_owned();
    for (kind, name) in &*KINDS {
        if kind.is_match(&rest) {
            out.insert(*name);
            rest = kind.replace_all(&rest, " ").into_owned();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::{Options, Status, compare};

    fn status(a: &str, b: &str) -> Status {
        compare(a, b, &Options::default()).status
    }

    #[test]
    fn words_and_marks_of_one_side() {
        for (a, b) in [
            ("5 dozen", "5"),
            ("5 dozen", "60"),
            ("2 pairs", "2"),
            ("3 quarters", "3"),
            ("5 halves", "5"),
            ("5th", "5"),
            ("5^{\\text{th}}", "5"),
            ("5\\text{ dozen}", "5"),
            ("5 (dozen)", "5"),
            ("5 (in thousands)", "5"),
            ("5-fold", "5"),
            ("5 tens", "5"),
            ("5 grand", "5"),
            ("x = 5 (rejected)", "5"),
            ("5 (extraneous)", "5"),
            ("5 (impossible)", "x = 5"),
            ("\\|x\\| + 1", "|x| + 1"),
            ("2\\phi", "\\varphi + \\varphi"),
            ("A \\subset B", "A \\subseteq B"),
            ("x \\to 2", "x \\Rightarrow 2"),
            ("f^{(2)}(x)", "f^2(x)"),
            ("\\nabla \\cdot F", "\\nabla F"),
            ("A^{-1}B", "BA^{-1}"),
            ("ABA^{-1}", "B"),
            ("A \\times B", "B \\times A"),
            ("2k\\pi, k \\in \\mathbb{Z}", "2k\\pi, k \\in \\mathbb{N}"),
            ("2k\\pi, k integer", "2k\\pi, k \\in \\mathbb{Z}^+"),
        ] {
            assert_ne!(status(a, b), Status::Equal, "{a} and {b}");
            assert_ne!(status(b, a), Status::Equal, "{b} and {a}");
        }
        for (a, b) in [
            ("5 apples", "5"),
            ("5 ordered pairs", "5"),
            ("5 dozen", "5 dozens"),
            ("3rd", "3th"),
            ("5 (five)", "5"),
            ("\\varepsilon + \\varepsilon", "2\\varepsilon"),
            ("\\|x\\| + 1", "1 + \\|x\\|"),
            ("PV^{-1}", "\\frac{P}{V}"),
            ("2k\\pi, k \\in \\mathbb{Z}", "2n\\pi, n is an integer"),
        ] {
            assert_eq!(status(a, b), Status::Equal, "{a} and {b}");
        }
    }
}
