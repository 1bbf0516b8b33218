//! Arithmetic: operations, expressions, fractions, decimals, percentages.

use super::expression::Expression;
use super::{drill, fraction, gcd};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 14] = [
    Family::new(Topic::Arithmetic, "sum", &[Easy, Medium], sum),
    Family::new(Topic::Arithmetic, "product", &[Easy, Medium, Hard], product),
    Family::new(Topic::Arithmetic, "quotient", &[Easy, Medium], quotient),
    Family::new(Topic::Arithmetic, "expression", &[Easy, Medium, Hard], expression),
    Family::new(Topic::Arithmetic, "missing-number", &[Easy, Medium], missing_number),
    Family::new(Topic::Arithmetic, "remainder", &[Easy, Medium], remainder).held_out(),
    Family::new(Topic::Arithmetic, "add-fractions", &[Medium, Hard], add_fractions),
    Family::new(Topic::Arithmetic, "multiply-fractions", &[Medium, Hard], multiply_fractions).held_out(),
    Family::new(Topic::Arithmetic, "percent-of", &[Medium, Hard], percent_of),
    Family::new(Topic::Arithmetic, "decimals", &[Medium, Hard], decimals),
    Family::new(Topic::Arithmetic, "powers", &[Medium, Hard], powers),
    Family::new(Topic::Arithmetic, "common-divisor", &[Hard], common_divisor).held_out(),
    Family::new(Topic::Arithmetic, "negative-numbers", &[Easy, Medium], negative_numbers),
    Family::new(Topic::Arithmetic, "double-and-add", &[Easy], double_and_add).held_out(),
];

fn ask(d: &mut Draw, what: &str) -> String {
    d.phrase(&[
        format!("What is {what}?"),
        format!("Calculate {what}."),
        format!("Work out {what}."),
        format!("Find the value of {what}."),
        format!("Compute {what}."),
    ])
}

fn sum(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(10..=difficulty.of(99, 9999, 9999)), d.number(10..=difficulty.of(99, 9999, 9999)));
    let c = d.number(5..=difficulty.of(50, 2000, 2000));
    let minus = d.structure(&[true, false]);
    if minus && c > a + b {
        return None;
    }
    let (sign, all) = if minus { ('-', a + b - c) } else { ('+', a + b + c) };
    let steps = vec![format!("{a} + {b} = {}", a + b), format!("{} {sign} {c} = {all}", a + b)];
    drill(ask(d, &format!("{a} + {b} {sign} {c}")), steps, all)
}

fn product(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(3..=difficulty.of(20, 99, 999)), d.number(3..=difficulty.of(12, 30, 99)));
    let (tens, ones) = (b / 10 * 10, b % 10);
    let mut steps = Vec::new();
    if tens > 0 && ones > 0 {
        steps.push(format!("{a} * {tens} = {}", a * tens));
        steps.push(format!("{a} * {ones} = {}", a * ones));
        steps.push(format!("{} + {} = {}", a * tens, a * ones, a * b));
    } else {
        steps.push(format!("{a} * {b} = {}", a * b));
    }
    let question = d.phrase(&[format!("{a} * {b}"), format!("{a} times {b}"), format!("the product of {a} and {b}")]);
    drill(ask(d, &question), steps, a * b)
}

fn quotient(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (b, q) = (d.number(2..=difficulty.of(12, 25, 25)), d.number(3..=difficulty.of(20, 150, 150)));
    let a = b * q;
    let steps = vec![format!("{b} * {q} = {a}"), format!("so {a} / {b} = {q}")];
    let question = d.phrase(&[format!("{a} / {b}"), format!("{a} divided by {b}")]);
    drill(ask(d, &question), steps, q)
}

fn expression(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let operations = difficulty.of(2, 3, 5);
    let expression = Expression::draw(d, operations, difficulty.of(12, 15, 20), difficulty.of(200, 500, 2000))?;
    let value = expression.value()?;
    let text = expression.text();
    drill(ask(d, &text), expression.steps(), value)
}

fn missing_number(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(3..=difficulty.of(40, 400, 400)), d.number(2..=difficulty.of(40, 400, 400)));
    let (left, result, step) = match d.structure(&[0, 1, 2]) {
        0 => (format!("_ + {b}"), a + b, format!("{} - {b} = {a}", a + b)),
        1 => (format!("_ - {b}"), a, format!("{a} + {b} = {}", a + b)),
        _ => (format!("{} - _", a + b), b, format!("{} - {b} = {a}", a + b)),
    };
    let answer = if left.starts_with("_ -") { a + b } else { a };
    let question = d.phrase(&[
        format!("Which number belongs in the gap: {left} = {result}?"),
        format!("Find the missing number: {left} = {result}"),
    ]);
    drill(question, vec![step], answer)
}

fn remainder(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (b, q) = (d.number(3..=difficulty.of(12, 40, 40)), d.number(2..=difficulty.of(12, 60, 60)));
    let r = d.number(1..=b - 1);
    let a = b * q + r;
    let steps = vec![format!("{b} * {q} = {}", b * q), format!("{a} - {} = {r}", b * q)];
    drill(format!("What is the remainder when {a} is divided by {b}?"), steps, r)
}

fn add_fractions(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let largest = difficulty.of(6, 8, 15);
    let (b, e) = (d.number(2..=largest), d.number(2..=largest));
    let (a, c) = (d.number(1..=b - 1), d.number(1..=e - 1));
    let common = b * e / gcd(b, e);
    let (x, y) = (a * (common / b), c * (common / e));
    let minus = d.structure(&[true, false]);
    if minus && x <= y {
        return None;
    }
    let (sign, top) = if minus { ('-', x - y) } else { ('+', x + y) };
    let mut steps = vec![
        format!("{a}/{b} = {x}/{common} and {c}/{e} = {y}/{common}"),
        format!("{x}/{common} {sign} {y}/{common} = {top}/{common}"),
    ];
    let answer = fraction(top, common);
    if answer != format!("{top}/{common}") {
        steps.push(format!("{top}/{common} = {answer}"));
    }
    drill(ask(d, &format!("{a}/{b} {sign} {c}/{e}")) + " Give a fraction in lowest terms.", steps, answer)
}

fn multiply_fractions(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let largest = difficulty.of(6, 9, 20);
    let (a, b, c, e) = (d.number(1..=largest), d.number(2..=largest), d.number(1..=largest), d.number(2..=largest));
    if gcd(a, b) != 1 || gcd(c, e) != 1 {
        return None;
    }
    let answer = fraction(a * c, b * e);
    let mut steps = vec![format!("{a}/{b} * {c}/{e} = {}/{}", a * c, b * e)];
    if answer != format!("{}/{}", a * c, b * e) {
        steps.push(format!("{}/{} = {answer}", a * c, b * e));
    }
    drill(ask(d, &format!("{a}/{b} * {c}/{e}")) + " Give the result in lowest terms.", steps, answer)
}

fn percent_of(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let percent = if difficulty == Medium { d.structure(&[5, 10, 20, 25, 50, 75]) } else { d.number(2..=98) };
    let of = d.multiple(difficulty.of(20, 20, 50), 2..=40);
    let product = percent * of;
    if product % 100 != 0 {
        return None;
    }
    let steps = vec![format!("{percent} * {of} = {product}"), format!("{product} / 100 = {}", product / 100)];
    drill(ask(d, &format!("{percent}% of {of}")), steps, product / 100)
}

/// Hundredths as a decimal number.
fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let n = hundredths.abs();
    let text = format!("{sign}{}.{:02}", n / 100, n % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn decimals(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(101..=difficulty.of(999, 2000, 9000)), d.number(11..=difficulty.of(999, 2000, 9000)));
    if difficulty == Medium {
        let minus = d.structure(&[true, false]);
        if minus && a <= b {
            return None;
        }
        let (sign, all) = if minus { ('-', a - b) } else { ('+', a + b) };
        let (x, y) = (decimal(a), decimal(b));
        return drill(
            ask(d, &format!("{x} {sign} {y}")),
            vec![format!("{x} {sign} {y} = {}", decimal(all))],
            decimal(all),
        );
    }
    let times = d.number(3..=25);
    let (x, y) = (decimal(a), decimal(b));
    let steps = vec![
        format!("{x} * {times} = {}", decimal(a * times)),
        format!("{} + {y} = {}", decimal(a * times), decimal(a * times + b)),
    ];
    drill(ask(d, &format!("{x} * {times} + {y}")), steps, decimal(a * times + b))
}

fn powers(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (base, exponent) = (d.number(2..=difficulty.of(6, 9, 12)), d.number(2..=difficulty.of(2, 3, 5)) as u32);
    let power = base.pow(exponent);
    let (times, add) = (d.number(1..=5), d.number(1..=30));
    let steps = vec![
        format!("{base}^{exponent} = {power}"),
        format!("{times} * {power} = {}", times * power),
        format!("{} - {add} = {}", times * power, times * power - add),
    ];
    drill(ask(d, &format!("{times} * {base}^{exponent} - {add}")), steps, times * power - add)
}

fn common_divisor(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (g, x, y) = (d.number(2..=20), d.number(2..=15), d.number(2..=15));
    if gcd(x, y) != 1 || x == y {
        return None;
    }
    let (mut a, mut b) = (g * x.max(y), g * x.min(y));
    let (first, second) = (a, b);
    let mut steps = Vec::new();
    while b != 0 {
        steps.push(format!("{a} = {} * {b} + {}", a / b, a % b));
        (a, b) = (b, a % b);
    }
    drill(format!("What is the greatest common divisor of {first} and {second}?"), steps, g)
}

fn negative_numbers(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let largest = difficulty.of(20, 90, 90);
    let (a, b) = (d.number(2..=largest), d.number(2..=largest));
    let (text, value) = match d.structure(&[0, 1, 2]) {
        0 => (format!("{a} - {}", a + b), -b),
        1 => (format!("-{a} + {b}"), b - a),
        _ => (format!("-{a} - {b}"), -a - b),
    };
    drill(ask(d, &text), vec![format!("{text} = {value}")], value)
}

fn double_and_add(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(4..=60), d.number(3..=40));
    let steps = vec![format!("{a} * 2 = {}", a * 2), format!("{} + {b} = {}", a * 2, a * 2 + b)];
    drill(format!("Double {a} and add {b} to the result. What do you get?"), steps, a * 2 + b)
}
