//! Pairs of one answer in two spellings, which are equal by construction.

use super::{Pair, Random, said};

/// One pair of equal answers.
pub fn pair(random: &mut Random) -> Pair {
    let n = random.number(2, 99);
    let m = random.number(2, 99);
    let k = random.number(2, 9);
    let big = random.number(1_000, 9_999_999);
    let (kind, a, b) = match random.number(0, 31) {
        0 => ("thousands", grouped(big, ","), big.to_string()),
        1 => ("thousands", grouped(big, " "), big.to_string()),
        2 => ("thousands", grouped(big, random.pick(&["’", "'", "{,}", "\\,"])), big.to_string()),
        3 => ("scientific", format!("{n}.{k} \\times 10^{{{k}}}"), format!("{n}.{k}e{k}")),
        4 => ("fraction", format!("\\dfrac{{{n}}}{{{k}}}"), format!("{n}/{k}")),
        5 => ("fraction", format!("\\frac{{{}}}{{{}}}", n * k, m * k), format!("{n}/{m}")),
        6 => ("decimal", format!("{n}.5"), format!("{}/2", 2 * n + 1)),
        7 => ("percent", format!("{n}\\%"), format!("{n}/100")),
        8 => ("name left out", format!("x = {n}"), n.to_string()),
        9 => ("word left out", format!("{n} apples"), n.to_string()),
        10 => ("number in words", format!("{} million", n), format!("{n}000000")),
        11 => ("unit", format!("{n} km"), format!("{}000 m", n)),
        12 => ("unit", format!("{} km/h", 18 * n), format!("{} m/s", 5 * n)),
        13 => ("unit", format!("{n} h {} min", m % 60), format!("{} minutes", n * 60 + m % 60)),
        14 => ("unit", format!("{n} L"), format!("{n}000 cm^3")),
        15 => ("unit", format!("${n}.50"), format!("{}50 cents", n)),
        16 => ("order of a list", format!("{n}, {}, {}", n + 1, n + 2), format!("{}, {n} and {}", n + 2, n + 1)),
        17 => ("terms", format!("{k}x^2 + {n}x + {m}"), format!("{m} + {n}x + {k}x²")),
        18 => ("factors", format!("(x + {n})(x - {m})"), format!("x^2 + ({n} - {m})x - {}", n * m)),
        19 => ("surd", format!("\\sqrt{{{}}}", n * n * k), format!("{n}\\sqrt{{{k}}}")),
        20 => ("interval", format!("{n} < x \\le {}", n + k), format!("({n}, {}]", n + k)),
        21 => ("relation turned", format!("x > {n}"), format!("{n} < x")),
        22 => ("negative in a sentence", format!("The change is -{n}."), format!("-{n}")),
        23 => ("negative in a sentence", format!("We get -{n}"), format!("-{n}")),
        24 => {
            let phrase =
                random.pick(&["ANTWORT:", "RÉPONSE :", "ОТВЕТ:", "RISPOSTA:", "RESPUESTA:", "Antwort:", "答案："]);
            ("phrase", format!("{phrase} {n}"), n.to_string())
        }
        25 => ("reasoning", format!("[THINK]perhaps {m}[/THINK]So it is {n}."), n.to_string()),
        26 => {
            let text = format!(
                "<|channel|>analysis<|message|>perhaps {m}<|end|><|start|>assistant<|channel|>final<|message|>It is {n}.<|return|>"
            );
            ("reasoning", text, n.to_string())
        }
        27 => ("parts", format!("(a) \\boxed{{{n}}}\n\n(b) \\boxed{{{}}}", n + k), format!("{n}, {}", n + k)),
        28 => ("program", format!("0x{n:X}"), n.to_string()),
        29 => ("program", format!("{n}+{m}j"), format!("{n}+{m}i")),
        30 => ("time of day", format!("{}:30 PM", 1 + n % 11), format!("{}:30", 13 + n % 11)),
        _ => ("binomial", format!("C_{{{}}}^{{{k}}}", k + 3), format!("\\binom{{{}}}{{{k}}}", k + 3)),
    };
    let whole = matches!(kind, "phrase" | "reasoning" | "parts" | "negative in a sentence");
    let pred = if whole { a } else { said(random, &a) };
    Pair { kind, pred, gold: b }
}

/// The number with a separator between groups of three digits.
fn grouped(n: i64, separator: &str) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push_str(separator);
        }
        out.push(d);
    }
    out
}
