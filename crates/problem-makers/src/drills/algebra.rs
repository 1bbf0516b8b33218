//! Algebra: equations, polynomials, sequences.

use super::{drill, gcd};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 12] = [
    Family::new(Topic::Algebra, "linear-equation", &[Easy, Medium, Hard], linear_equation),
    Family::new(Topic::Algebra, "evaluate", &[Easy, Medium, Hard], evaluate),
    Family::new(Topic::Algebra, "brackets-equation", &[Medium, Hard], brackets_equation).held_out(),
    Family::new(Topic::Algebra, "two-unknowns", &[Medium, Hard], two_unknowns),
    Family::new(Topic::Algebra, "quadratic", &[Medium, Hard], quadratic),
    Family::new(Topic::Algebra, "like-terms", &[Easy, Medium], like_terms),
    Family::new(Topic::Algebra, "expand", &[Medium, Hard], expand).held_out(),
    Family::new(Topic::Algebra, "arithmetic-sequence", &[Easy, Medium], arithmetic_sequence),
    Family::new(Topic::Algebra, "geometric-sequence", &[Medium, Hard], geometric_sequence).held_out(),
    Family::new(Topic::Algebra, "proportion", &[Easy, Medium], proportion).held_out(),
    Family::new(Topic::Algebra, "slope", &[Medium, Hard], slope),
    Family::new(Topic::Algebra, "smallest-integer", &[Medium, Hard], smallest_integer),
];

/// A linear term with its sign in front, such as ` + 3` or ` - x`.
fn signed(coefficient: i64, variable: &str) -> String {
    let sign = if coefficient < 0 { '-' } else { '+' };
    format!(" {sign} {}", term(coefficient.abs(), variable))
}

/// `3x`, `x`, `-x`, or a plain number without a variable.
fn term(coefficient: i64, variable: &str) -> String {
    match (coefficient, variable) {
        (n, "") => n.to_string(),
        (1, v) => v.to_owned(),
        (-1, v) => format!("-{v}"),
        (n, v) => format!("{n}{v}"),
    }
}

fn linear_equation(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let v = d.phrase(&["x", "y", "n", "t", "a"]);
    let (a, b, x) = (d.number(2..=9), d.number(1..=30), d.number(difficulty.of(1..=12, -12..=12, -20..=20)));
    let solve = d.phrase(&["Solve for", "Find", "Determine"]);
    if difficulty != Hard {
        let right = a * x + b;
        let steps =
            vec![format!("{} = {right} - {b} = {}", term(a, v), right - b), format!("{v} = {} / {a} = {x}", right - b)];
        return drill(format!("{solve} {v}: {}{} = {right}", term(a, v), signed(b, "")), steps, x);
    }
    let c = d.number(2..=9);
    if c >= a {
        return None;
    }
    let right = (a - c) * x + b;
    let steps = vec![
        format!("{} - {} = {right} - {b}", term(a, v), term(c, v)),
        format!("{} = {}", term(a - c, v), right - b),
        format!("{v} = {} / {} = {x}", right - b, a - c),
    ];
    drill(format!("{solve} {v}: {}{} = {}{}", term(a, v), signed(b, ""), term(c, v), signed(right, "")), steps, x)
}

fn evaluate(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, c) = (d.number(1..=6), d.number(-20..=20));
    let x = d.number(difficulty.of(1..=6, -6..=9, -9..=12));
    if c == 0 {
        return None;
    }
    if difficulty == Easy {
        let value = a * x + c;
        let steps = vec![format!("{a} * {x} = {}", a * x), format!("{}{} = {value}", a * x, signed(c, ""))];
        return drill(format!("What is {}{} when x = {x}?", term(a, "x"), signed(c, "")), steps, value);
    }
    let b = d.number(-9..=9);
    if b == 0 {
        return None;
    }
    let (square, linear) = (a * x * x, b * x);
    let value = square + linear + c;
    let steps = vec![
        format!("{a} * ({x})^2 = {square}"),
        format!("{b} * ({x}) = {linear}"),
        format!("{square}{}{} = {value}", signed(linear, ""), signed(c, "")),
    ];
    let polynomial = format!("{}{}{}", term(a, "x^2"), signed(b, "x"), signed(c, ""));
    let question =
        d.phrase(&[format!("Evaluate {polynomial} at x = {x}."), format!("If f(x) = {polynomial}, what is f({x})?")]);
    drill(question, steps, value)
}

fn brackets_equation(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b, x) = (d.number(2..=9), d.number(-12..=12), d.number(difficulty.of(1..=9, -9..=15, -20..=20)));
    let c = if difficulty == Hard { d.number(1..=20) } else { 0 };
    if b == 0 {
        return None;
    }
    let right = a * (x + b) + c;
    let mut steps = Vec::new();
    if c != 0 {
        steps.push(format!("{a}(x{}) = {right} - {c} = {}", signed(b, ""), right - c));
    }
    steps.push(format!("x{} = {} / {a} = {}", signed(b, ""), right - c, x + b));
    steps.push(format!("x = {}{} = {x}", x + b, signed(-b, "")));
    let tail = if c == 0 { String::new() } else { signed(c, "") };
    drill(format!("Solve {a}(x{}){tail} = {right} for x.", signed(b, "")), steps, x)
}

fn two_unknowns(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (x, y) = (d.number(1..=20), d.number(1..=20));
    if x <= y {
        return None;
    }
    if difficulty == Medium {
        let (sum, diff) = (x + y, x - y);
        let steps =
            vec![format!("Adding both: 2x = {sum} + {diff} = {}", sum + diff), format!("x = {} / 2 = {x}", sum + diff)];
        return drill(format!("If x + y = {sum} and x - y = {diff}, what is x?"), steps, x);
    }
    let (a, b) = (d.number(2..=6), d.number(2..=6));
    let (first, second) = (a * x + y, x + b * y);
    let factor = a * b - 1;
    let steps = vec![
        format!("From the first equation y = {first} - {a}x."),
        format!("So x + {b}({first} - {a}x) = {second}, which gives {} - {second} = {}x.", b * first, factor),
        format!("{} - {second} = {}", b * first, b * first - second),
        format!("x = {} / {factor} = {x}", b * first - second),
        format!("y = {first} - {a} * {x} = {y}"),
    ];
    let want_x = d.structure(&[true, false]);
    let (name, value) = if want_x { ("x", x) } else { ("y", y) };
    drill(format!("If {a}x + y = {first} and x + {b}y = {second}, what is {name}?"), steps, value)
}

fn quadratic(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let range = difficulty.of(1..=6, 1..=9, -12..=12);
    let (p, q) = (d.number(range.clone()), d.number(range));
    // The larger one comes first, so that an equation has one key.
    if p <= q || p == 0 || q == 0 || p + q == 0 {
        return None;
    }
    let (large, small) = (p, q);
    let equation = format!("x^2{}{} = 0", signed(-(p + q), "x"), signed(p * q, ""));
    let steps = vec![
        format!("The product of the roots is {} and their sum is {}.", p * q, p + q),
        format!("({large}) * ({small}) = {} and {large}{} = {}", p * q, signed(small, ""), p + q),
        format!("So the roots are {small} and {large}."),
    ];
    let largest = d.structure(&[true, false]);
    let (word, value) = if largest { ("larger", large) } else { ("smaller", small) };
    drill(format!("What is the {word} solution of {equation}?"), steps, value)
}

fn like_terms(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b, c, e) = (d.number(2..=9), d.number(1..=12), d.number(1..=9), d.number(1..=12));
    let (minus_x, minus_1) =
        if difficulty == Easy { (false, false) } else { (d.structure(&[true, false]), d.structure(&[true, false])) };
    let (c, e) = (if minus_x { -c } else { c }, if minus_1 { -e } else { e });
    if a + c == 0 || b + e == 0 {
        return None;
    }
    let answer = format!("{}{}", term(a + c, "x"), signed(b + e, ""));
    let steps = vec![
        format!("{}{} = {}", term(a, "x"), signed(c, "x"), term(a + c, "x")),
        format!("{b}{} = {}", signed(e, ""), b + e),
        format!("Together that is {answer}."),
    ];
    let written = format!("{}{}{}{}", term(a, "x"), signed(b, ""), signed(c, "x"), signed(e, ""));
    let question = d.phrase(&[format!("Simplify {written}."), format!("Combine like terms: {written}")]);
    drill(question, steps, answer)
}

fn expand(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let range = difficulty.of(1..=6, 1..=9, -9..=9);
    let (p, q) = (d.number(range.clone()), d.number(range));
    let k = if difficulty == Hard { d.number(2..=4) } else { 1 };
    if p == 0 || q == 0 || k * q + p == 0 {
        return None;
    }
    let first = term(k, "x");
    let answer = format!("{}{}{}", term(k, "x^2"), signed(k * q + p, "x"), signed(p * q, ""));
    let steps = vec![
        format!("The coefficient of x is {k} * ({q}) + ({p}) = {}.", k * q + p),
        format!("The constant is ({p}) * ({q}) = {}.", p * q),
        format!("Together that is {answer}."),
    ];
    drill(format!("Expand ({first}{})(x{}).", signed(p, ""), signed(q, "")), steps, answer)
}

fn arithmetic_sequence(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (start, step) = (d.number(1..=40), d.number(2..=12));
    let n = d.number(difficulty.of(6..=12, 15..=60, 15..=60));
    let shown: Vec<String> = (0..4).map(|i| (start + i * step).to_string()).collect();
    let value = start + (n - 1) * step;
    let steps = vec![
        format!("The difference is {} - {start} = {step}.", start + step),
        format!("The term number {n} is {start} + ({n} - 1) * {step} = {value}."),
    ];
    drill(
        format!(
            "A sequence begins {}, and every term is larger than the one before by the same number. What is term \
             number {n}?",
            shown.join(", ")
        ),
        steps,
        value,
    )
}

fn geometric_sequence(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (start, ratio) = (d.number(1..=9), d.number(2..=5));
    let n = d.number(difficulty.of(4..=5, 4..=6, 5..=8)) as u32;
    let value = start * ratio.pow(n - 1);
    let steps = vec![
        format!("The ratio is {} / {start} = {ratio}.", start * ratio),
        format!("The term number {n} is {start} * {ratio}^{} = {value}.", n - 1),
    ];
    drill(
        format!(
            "A sequence begins {start}, {}, {}, and every term is the one before times the same number. What is term \
             number {n}?",
            start * ratio,
            start * ratio * ratio
        ),
        steps,
        value,
    )
}

fn proportion(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b, k) = (d.number(2..=12), d.number(2..=12), d.number(2..=difficulty.of(9, 20, 20)));
    if a == b {
        return None;
    }
    let steps = vec![format!("x = {a} * {} / {b}", b * k), format!("{a} * {} / {b} = {}", b * k, a * k)];
    drill(format!("Find x if {a}/{b} = x/{}.", b * k), steps, a * k)
}

fn slope(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let range = difficulty.of(0..=9, 0..=9, -9..=9);
    let (x, y, run) = (d.number(range.clone()), d.number(range), d.number(1..=6));
    let m = d.number(difficulty.of(1..=4, 1..=6, -8..=8));
    if m == 0 {
        return None;
    }
    let (x2, y2) = (x + run, y + m * run);
    let steps = vec![
        format!("The rise is {y2} - ({y}) = {}.", y2 - y),
        format!("The run is {x2} - ({x}) = {run}."),
        format!("The slope is {} / {run} = {m}.", y2 - y),
    ];
    drill(format!("What is the slope of the line through ({x}, {y}) and ({x2}, {y2})?"), steps, m)
}

fn smallest_integer(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b, bound) = (d.number(2..=9), d.number(1..=20), d.number(20..=difficulty.of(80, 120, 300)));
    let rest = bound - b;
    if gcd(a, rest) == a || rest <= 0 {
        return None;
    }
    let n = rest / a + 1;
    let steps = vec![
        format!("{a}n has to be larger than {bound} - {b} = {rest}."),
        format!("{a} * {} = {} is too small and {a} * {n} = {} is large enough.", n - 1, a * (n - 1), a * n),
    ];
    drill(format!("What is the smallest whole number n with {a}n + {b} > {bound}?"), steps, n)
}
