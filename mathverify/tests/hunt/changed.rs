//! Pairs of answers from templates, with one change that makes a different answer.

use super::{Pair, Random, said};

const NOUNS: [&str; 16] = [
    "apples", "pears", "cats", "dogs", "marbles", "books", "dollars", "tickets", "chairs", "students", "workers",
    "boxes", "coins", "trees", "eggs", "bottles",
];
const ADJECTIVES: [&str; 12] =
    ["red", "blue", "real", "complex", "positive", "negative", "even", "odd", "left", "right", "large", "small"];
const BEHIND: [&str; 14] = [
    "above",
    "below",
    "left",
    "right",
    "more",
    "fewer",
    "clockwise",
    "counterclockwise",
    "increase",
    "decrease",
    "maximum",
    "minimum",
    "won",
    "lost",
];
/// Units, no two of which have the same size and dimension.
const UNITS: [&str; 24] = [
    "m", "km", "cm", "mm", "kg", "g", "mg", "s", "min", "h", "mol", "N", "J", "W", "V", "Pa", "m/s", "km/h", "m^2",
    "m^3", "mL", "°C", "°F", "Hz",
];
const CASED: [(&str, &str); 8] = [
    ("mg", "Mg"),
    ("mW", "MW"),
    ("mPa", "MPa"),
    ("mJ", "MJ"),
    ("mHz", "MHz"),
    ("mV", "MV"),
    ("mN", "MN"),
    ("mm", "Mm"),
];
const NAMES: [&str; 26] = [
    "AB",
    "BC",
    "CD",
    "x",
    "y",
    "z",
    "f(1)",
    "f(2)",
    "f(x)",
    "g(x)",
    "a_1",
    "a_2",
    "P(A)",
    "P(B)",
    "\\text{Alice}",
    "\\text{Bob}",
    "\\angle ABC",
    "\\angle BCA",
    "|AB|",
    "\\sin A",
    "\\cos A",
    "S_5",
    "S_6",
    "\\text{Area}",
    "\\text{perimeter}",
    "\\overline{AB}",
];
const OPERATORS: [&str; 10] = ["⊕", "⊗", "⊖", "⊙", "⋈", "⊳", "⊲", "≺", "≻", "⊎"];
// No two entries have the same meaning.
const BEFORE: [&str; 16] = [
    "more than",
    "less than",
    "at least",
    "at most",
    "not",
    "between 1 and",
    "all n except",
    "divisible by",
    "undefined at",
    "increasing on",
    "decreasing on",
    "maximum at",
    "minimum at",
    "before",
    "after",
    "a factor of",
];
const AFTER: [&str; 4] = ["or more", "or less", "times as many", "more than before"];
const MONTHS: [&str; 6] = ["January", "March", "May", "July", "October", "December"];
const PLACES: [&str; 4] = ["N", "S", "E", "W"];

/// One pair of different answers.
pub fn pair(random: &mut Random) -> Pair {
    let n = random.number(2, 99);
    let m = other(random, n);
    let k = random.number(2, 9);
    let (kind, a, b) = match random.number(0, 39) {
        0 => {
            let (u, v) = random.two(&NOUNS);
            ("word behind a number", format!("{n} {u}"), format!("{n} {v}"))
        }
        1 => {
            let (u, v) = random.two(&ADJECTIVES);
            let noun = random.pick(&NOUNS);
            ("adjective", format!("{n} {u} {noun}"), format!("{n} {v} {noun}"))
        }
        2 => {
            let (u, v) = random.two(&BEHIND);
            ("word behind a number", format!("{n} {u}"), format!("{n} {v}"))
        }
        3 | 4 => {
            let (u, v) = random.two(&UNITS);
            ("unit", format!("{n} {u}"), format!("{n} {v}"))
        }
        5 => {
            let (u, v) = random.two(&UNITS);
            ("unit", format!("{n} \\text{{ {u}}}"), format!("{n}\\,\\mathrm{{{v}}}"))
        }
        6 => {
            let (u, v) = random.pick(&CASED);
            ("case of a unit", format!("{n} {u}"), format!("{n} {v}"))
        }
        7 | 8 => {
            let (p, q) = random.two(&NAMES);
            ("name", format!("{p} = {n}"), format!("{q} = {n}"))
        }
        9 => {
            let (p, q) = random.two(&OPERATORS);
            let letter = random.pick(&["x", "a", "A", "p", "n"]);
            ("operator", format!("{letter} {p} {n}"), format!("{letter} {q} {n}"))
        }
        10 => {
            let (p, q) = random.two(&BEFORE);
            ("words before a number", format!("{p} {n}"), format!("{q} {n}"))
        }
        11 => ("words before a number", format!("{} {n}", random.pick(&BEFORE)), n.to_string()),
        12 => {
            let (p, q) = random.two(&AFTER);
            ("words behind a number", format!("{n} {p}"), format!("{n} {q}"))
        }
        13 => ("words behind a number", format!("{n} {}", random.pick(&AFTER)), n.to_string()),
        14 => {
            let (u, v) = random.two(&NOUNS);
            ("exchanged", format!("{n} {u} and {m} {v}"), format!("{m} {u} and {n} {v}"))
        }
        15 => {
            let (u, v) = random.two(&NOUNS);
            ("exchanged", format!("{n} {u}, {m} {v}"), format!("{m} {u}, {n} {v}"))
        }
        16 => {
            let (p, q) = random.two(&["s", "p", "d", "f"]);
            ("configuration", format!("1s^2 2{p}^{k}"), format!("1s^2 2{q}^{k}"))
        }
        17 => ("dice", format!("{n}D6+{k}"), format!("{m}D6+{k}")),
        18 => {
            let (p, q) = random.two(&["ATG", "ATC", "GGC", "TTA"]);
            ("sequence", format!("5'-{p}-3'"), format!("5'-{q}-3'"))
        }
        19 => {
            let (p, q) = random.two(&["e4", "d4", "c4", "Nf3"]);
            ("moves", format!("1. {p} e5 2. Nc3"), format!("1. {q} e5 2. Nc3"))
        }
        20 => {
            let (a, b) = random.two(&["2H2 + O2 -> 2H2O", "H2 + Cl2 -> 2HCl", "2H2 + O2 -> 2H2O2", "C + O2 -> CO2"]);
            ("chemistry", format!("\\ce{{{a}}}"), format!("\\ce{{{b}}}"))
        }
        21 => {
            let (a, b) = random.two(&["H2O", "H2O2", "CO2", "CO", "Co", "NaCl", "NaClO", "C6H12O6", "NO2", "N2O"]);
            ("chemistry", a.to_owned(), b.to_owned())
        }
        22 => {
            let (a, b) = random.two(&PLACES);
            ("compass", format!("{n}° {a}"), format!("{n}° {b}"))
        }
        23 => ("half of the day", format!("{} am", 1 + n % 12), format!("{} pm", 1 + n % 12)),
        24 => ("half of the day", format!("at {}:30 am", 1 + n % 12), format!("at {}:30 pm", 1 + n % 12)),
        25 => {
            let (a, b) = random.two(&MONTHS);
            ("date", format!("{a} {}", 1 + n % 28), format!("{b} {}", 1 + n % 28))
        }
        26 => {
            let (p, q) = random.two(&["[", "("]);
            ("bracket", format!("{p}{n}, {}]", n + k), format!("{q}{n}, {}]", n + k))
        }
        27 => {
            let (p, q) = random.two(&["<", ">", "\\le", "\\ge", "\\ne", "="]);
            ("relation", format!("x {p} {n}"), format!("x {q} {n}"))
        }
        28 => ("order", format!("({n}, {m})"), format!("({m}, {n})")),
        29 => {
            let (p, q) = random.two(&["+", "-"]);
            ("sign", format!("{k}x^2 {p} {n}x + {m}"), format!("{k}x^2 {q} {n}x + {m}"))
        }
        30 => ("sign", format!("-{n}"), n.to_string()),
        31 => ("sign", format!("The change is -{n}."), n.to_string()),
        32 => {
            let (p, q) = random.two(&["\\sin", "\\cos", "\\tan", "\\ln", "\\exp"]);
            ("function", format!("{p}({n})"), format!("{q}({n})"))
        }
        33 => {
            let (p, q) = random.two(&["x", "y", "t", "a"]);
            ("name in a formula", format!("{n}{p} + {m}"), format!("{n}{q} + {m}"))
        }
        34 => {
            let (p, q) = random.two(&["winning", "losing", "drawing"]);
            (
                "words around a number",
                format!("probability {k}/{} of {p}", k + n),
                format!("probability {k}/{} of {q}", k + n),
            )
        }
        35 => {
            let (p, q) = random.two(&["A", "B", "C", "D"]);
            ("letter", format!("({p}) {n}"), format!("({q}) {n}"))
        }
        36 => {
            let (u, v) = random.two(&NOUNS);
            ("words in a sum", format!("{n} {u} + {m} {v}"), format!("{m} {u} + {n} {v}"))
        }
        37 => {
            ("number in a sentence", format!("between {n} and {}", n + k), format!("between {} and {}", n - 1, n + k))
        }
        38 => {
            let (p, q) = random.two(&["even", "odd", "prime", "composite"]);
            ("word", format!("n is {p} and n > {n}"), format!("n is {q} and n > {n}"))
        }
        _ => {
            let (p, q) = random.two(&["maximum", "minimum", "saddle point", "inflection point"]);
            ("words behind a point", format!("({n},{m}) {p}"), format!("({n},{m}) {q}"))
        }
    };
    let (a, b) = if random.chance(2) { (a, b) } else { (b, a) };
    // A bare number stays the reference.
    let (a, b) = if a.parse::<i64>().is_ok() { (b, a) } else { (a, b) };
    let gold = if random.chance(4) { format!("\\boxed{{{b}}}") } else { b };
    Pair { kind, pred: said(random, &a), gold }
}

fn other(random: &mut Random, n: i64) -> i64 {
    loop {
        let m = random.number(2, 99);
        if m != n {
            return m;
        }
    }
}
