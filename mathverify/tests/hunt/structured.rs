//! Pairs of answers from templates with another scale, bracket, index, domain, operator or mark. Most changes leave the
//! numbers as they are.

use super::{Pair, Random};

/// Words that scale a number, each in a different way.
const SCALES: [&str; 20] = [
    "dozen",
    "pairs",
    "halves",
    "thirds",
    "quarters",
    "fifths",
    "sixths",
    "tenths",
    "hundredths",
    "thousandths",
    "tens",
    "hundred",
    "thousand",
    "million",
    "score",
    "gross",
    "grand",
    "squared",
    "cubed",
    "doubled",
];
const DENIALS: [&str; 10] = [
    "rejected",
    "extraneous",
    "impossible",
    "not allowed",
    "excluded",
    "invalid",
    "wrong",
    "undefined",
    "in thousands",
    "in dozens",
];
/// Sentences that contain a value `@` but do not state it as the answer.
const DENYING: [&str; 12] = [
    "The answer is not @.",
    "It is never @.",
    "The answer cannot be @.",
    "x \\ne @",
    "The answer isn't @.",
    "@ is wrong.",
    "@ is not a solution.",
    "The answer is @ dozen.",
    "The answer is half of @.",
    "The answer is twice @.",
    "Everything except @.",
    "The answer is neither @ nor @.",
];
const DOMAINS: [&str; 6] =
    ["\\mathbb{Z}", "\\mathbb{N}", "\\mathbb{R}", "\\mathbb{Q}", "\\mathbb{C}", "\\mathbb{Z}_{\\ge 0}"];
/// Signs between two sets or groups, each with a different meaning.
const SETS: [&str; 12] = [
    "\\subset",
    "\\subseteq",
    "\\supset",
    "\\supseteq",
    "\\cup",
    "\\cap",
    "\\setminus",
    "\\triangle",
    "\\oplus",
    "\\otimes",
    "\\rtimes",
    "\\cong",
];
/// Signs whose sides may not be exchanged.
const DIRECTED: [&str; 20] = [
    "\\prec",
    "\\preceq",
    "\\succ",
    "\\ll",
    "\\gg",
    "\\vdash",
    "\\models",
    "\\rtimes",
    "\\ltimes",
    "\\supset",
    "\\supseteq",
    "\\subset",
    "\\subseteq",
    "\\to",
    "\\mapsto",
    "\\Rightarrow",
    "\\setminus",
    "\\triangleleft",
    "\\trianglelefteq",
    "-",
];
const ARROWS: [&str; 3] = ["\\to", "\\Rightarrow", "\\mapsto"];
const MARKS: [&str; 10] =
    ["\\bar{@}", "\\hat{@}", "\\vec{@}", "\\tilde{@}", "\\dot{@}", "@'", "@''", "@_1", "|@|", "\\|@\\|"];
const FUNCTIONS: [&str; 20] = [
    "\\sin",
    "\\cos",
    "\\tan",
    "\\cot",
    "\\sec",
    "\\csc",
    "\\arcsin",
    "\\arccos",
    "\\arctan",
    "\\sinh",
    "\\cosh",
    "\\tanh",
    "\\ln",
    "\\log",
    "\\log_2",
    "\\log_{10}",
    "\\exp",
    "\\sqrt",
    "\\sqrt[3]",
    "\\sqrt[4]",
];
const MONEY: [&str; 6] = ["\\$@", "€@", "£@", "@ rupees", "@ cents", "¥@"];
const RATES: [&str; 10] =
    ["@ km", "@ km/h", "@ km/s", "@ km^2", "@ km^3", "@ km per day", "@ hours", "@ hours per day", "@ kWh", "@ kW"];
const GREEK: [&str; 12] = [
    "\\alpha", "\\beta", "\\gamma", "\\delta", "\\lambda", "\\mu", "\\theta", "\\phi", "\\varphi", "\\rho", "\\omega",
    "\\Omega",
];
const EVENTS: [&str; 6] = ["P(A|B)", "P(B|A)", "P(A \\cap B)", "P(A \\cup B)", "P(\\bar{A})", "E(X)"];
const CONDITIONS: [&str; 6] =
    ["if x > 0", "if x < 0", "for even n", "for odd n", "when n is prime", "when n is composite"];

/// One pair of different answers.
pub fn pair(random: &mut Random) -> Pair {
    let n = random.number(3, 99);
    let m = loop {
        let m = random.number(3, 99);
        if m != n {
            break m;
        }
    };
    let k = random.number(2, 9);
    let fill = |form: &str, value: &dyn std::fmt::Display| form.replace('@', &value.to_string());
    let (kind, a, b) = match random.number(0, 45) {
        0 => {
            let word = random.pick(&SCALES);
            let form = random.pick(&["@ #", "@ \\text{ #}", "@~\\mathrm{#}", "@ (#)", "@ # apples", "@-#"]);
            ("scale on one side", fill(form, &n).replace('#', word), n.to_string())
        }
        1 => {
            let (u, v) = random.two(&SCALES);
            ("scale", format!("{n} {u}"), format!("{n} {v}"))
        }
        2 => {
            let noun = random.pick(&["eggs", "apples", "dollars", "metres"]);
            ("scale", format!("{n} {} {noun}", random.pick(&SCALES)), format!("{n} {noun}"))
        }
        3 => ("rank", format!("{n}{}", random.pick(&["th", "^{th}", "^{\\text{th}}", "-th"])), n.to_string()),
        4 => ("denial behind a value", format!("{n} ({})", random.pick(&DENIALS)), n.to_string()),
        5 => ("denial behind a value", format!("x = {n} \\text{{ ({})}}", random.pick(&DENIALS)), format!("x = {n}")),
        6 | 7 => ("denying sentence", fill(random.pick(&DENYING), &n), n.to_string()),
        8 => {
            let (p, q) = random.two(&["(@, #)", "[@, #]", "(@, #]", "[@, #)", "\\{@, #\\}"]);
            let fill = |form: &str| form.replace('@', &n.to_string()).replace('#', &(n + k).to_string());
            ("bracket", fill(p), fill(q))
        }
        9 => ("bracket", format!("[{n}, {}]", n + k), format!("{n}, {}", n + k)),
        10 => {
            let (p, q) = random.two(&[
                "x",
                "[x]",
                "\\{x\\}",
                "\\lfloor x \\rfloor",
                "\\lceil x \\rceil",
                "|x|",
                "\\|x\\|",
                "\\langle x \\rangle",
            ]);
            ("bracket around a letter", p.into(), q.into())
        }
        11 => {
            let (p, q) = random.two(&["[#]", "\\{#\\}", "\\lfloor # \\rfloor", "\\lceil # \\rceil", "|#|", "#"]);
            let inner = format!("{k}x + {n}");
            ("bracket around a formula", p.replace('#', &inner), q.replace('#', &inner))
        }
        12 => ("decimal comma", format!("{k},{}", 1 + n % 9), format!("{k}.{}", 1 + n % 9)),
        13 => ("index", format!("a_{{{n}}}"), format!("a_{{{m}}}")),
        14 => ("index", format!("\\log_{{{k}}} {n}"), format!("\\log_{{{}}} {n}", k + 1)),
        15 => ("index", format!("\\sqrt[{}]{{{n}}}", k + 1), format!("\\sqrt[{}]{{{n}}}", k + 2)),
        16 => ("index", format!("1{k}0_{{{}}}", k + 2), format!("1{k}0_{{{}}}", k + 3)),
        17 => ("index", format!("x_{k}^2 + {n}"), format!("x_{}^2 + {n}", k + 1)),
        18 => {
            let (p, q) = random.two(&DOMAINS);
            ("domain", format!("{k}n + {m}, n \\in {p}"), format!("{k}n + {m}, n \\in {q}"))
        }
        19 => {
            let (p, q) = random.two(&DOMAINS);
            (
                "domain",
                format!("\\frac{{\\pi}}{{{n}}} + k\\pi, k \\in {p}"),
                format!("\\frac{{\\pi}}{{{n}}} + k\\pi, k \\in {q}"),
            )
        }
        20 => {
            let (p, q) = random.two(&DOMAINS);
            ("domain", format!("x \\in {p}"), format!("x \\in {q}"))
        }
        21 => {
            let (p, q) = random.two(&SETS);
            ("sign of sets", format!("A {p} B"), format!("A {q} B"))
        }
        22 | 23 => {
            let sign = random.pick(&DIRECTED);
            let (p, q) = random.two(&["A", "B", "x", "y", "G", "H", "p", "q"]);
            ("sides exchanged", format!("{p} {sign} {q}"), format!("{q} {sign} {p}"))
        }
        24 => {
            let (p, q) = random.two(&ARROWS);
            ("arrow", format!("x {p} {n}"), format!("x {q} {n}"))
        }
        25 => {
            let mark = random.pick(&MARKS);
            let letter = random.pick(&["x", "z", "v", "u"]);
            ("mark of a letter", format!("{}+{n}", fill(mark, &letter)), format!("{letter}+{n}"))
        }
        26 => {
            let (p, q) = random.two(&MARKS);
            ("mark of a letter", fill(p, &"z"), fill(q, &"z"))
        }
        27 => {
            let (p, q) = random.two(&FUNCTIONS);
            ("function", format!("{p}{{{n}}}"), format!("{q}{{{n}}}"))
        }
        28 => {
            let (p, q) =
                random.two(&["\\sin^2 x", "\\sin x^2", "\\sin^{-1} x", "(\\sin x)^{-1}", "\\sin 2x", "2\\sin x"]);
            ("place of a power", p.into(), q.into())
        }
        29 => {
            let (p, q) =
                random.two(&["f(x)", "f'(x)", "f^{-1}(x)", "f(x)^{-1}", "f^2(x)", "f^{(2)}(x)", "f(2x)", "f(-x)"]);
            ("mark of a function", p.into(), q.into())
        }
        30 => {
            let (p, q) = random.two(&MONEY);
            ("money", fill(p, &n), fill(q, &n))
        }
        31 => {
            let (p, q) = random.two(&RATES);
            ("rate", fill(p, &n), fill(q, &n))
        }
        32 => {
            let (p, q) = random.two(&GREEK);
            ("Greek letter", format!("{n}{p}"), format!("{n}{q}"))
        }
        33 => {
            let (p, q) = random.two(&EVENTS);
            ("event", format!("{p} = {n}"), format!("{q} = {n}"))
        }
        34 => {
            let (p, q) = random.two(&CONDITIONS);
            ("condition", format!("{n} {p}"), format!("{n} {q}"))
        }
        35 => ("scores", format!("{n}-{}", n - 2), format!("{}-{}", n + k, n + k - 2)),
        36 => {
            let (day, month) = (1 + n % 12, 1 + m % 12);
            let sign = random.pick(&["-", "/"]);
            let month = if month == day { month % 12 + 1 } else { month };
            ("date", format!("2{n:03}{sign}{day}{sign}{month}"), format!("2{n:03}{sign}{month}{sign}{day}"))
        }
        37 => {
            let (x, y, z) = (1 + n % 4, 5 + m % 4, 9);
            ("permutation", format!("({x}{y})({y}{z})"), format!("({y}{z})({x}{y})"))
        }
        38 => ("order of values", format!("x = {n}, y = {m}"), format!("{m}, {n}")),
        39 => ("order of values", format!("x = {n}, y = {m}"), format!("y = {n}, x = {m}")),
        40 => {
            let (p, q) = random.two(&[
                "\\frac{dy}{dx}",
                "\\frac{y}{x}",
                "\\frac{\\partial y}{\\partial x}",
                "\\frac{dx}{dy}",
                "\\frac{d^2y}{dx^2}",
            ]);
            ("derivative", p.into(), q.into())
        }
        41 => {
            let (p, q) = random.two(&["A^{-1}B", "BA^{-1}", "B", "AB^{-1}", "A^{-1}BA", "A^TB", "BA^T"]);
            ("order of matrices", p.into(), q.into())
        }
        42 => {
            let (p, q) = random.two(&["vmatrix", "pmatrix", "Vmatrix"]);
            let body = format!("{k} & {n} \\\\ {m} & {}", k + 1);
            ("matrix", format!("\\begin{{{p}}} {body} \\end{{{p}}}"), format!("\\begin{{{q}}} {body} \\end{{{q}}}"))
        }
        43 => {
            let matrix = |b: i64, c: i64| format!("\\begin{{pmatrix}} {k} & {b} \\\\ {c} & {} \\end{{pmatrix}}", k + 1);
            ("matrix", matrix(n, m), matrix(m, n))
        }
        44 => {
            let (p, q) = random.two(&["ABC", "ACB", "BAC"]);
            (
                "vertices",
                format!("\\triangle DEF \\cong \\triangle {p}"),
                format!("\\triangle DEF \\cong \\triangle {q}"),
            )
        }
        _ => {
            let (p, q) = random.two(&["\\nabla f", "\\nabla \\cdot f", "\\nabla \\times f", "\\nabla^2 f"]);
            ("operator of a field", p.into(), q.into())
        }
    };
    // A plain number is always the reference, and a denying sentence always the prediction.
    let turned = b.parse::<i64>().is_err() && kind != "denying sentence" && random.chance(2);
    let (pred, gold) = if turned { (b, a) } else { (a, b) };
    let whole = kind == "denying sentence";
    Pair { kind, pred: if whole { pred } else { super::said(random, &pred) }, gold }
}
