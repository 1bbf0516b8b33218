//! Functions on integers.

use super::value::Value;
use super::{Task, lines};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 8] = [
    Family::new(Topic::Code, "formula", &[Easy], formula),
    Family::new(Topic::Code, "digits", &[Easy, Medium], digits),
    Family::new(Topic::Code, "divisors", &[Medium], divisors),
    Family::new(Topic::Code, "primes", &[Medium, Hard], primes),
    Family::new(Topic::Code, "recurrence", &[Medium, Hard], recurrence),
    Family::new(Topic::Code, "fizz", &[Easy, Medium], fizz),
    Family::new(Topic::Code, "base", &[Medium, Hard], base).held_out(),
    Family::new(Topic::Code, "steps-to-one", &[Hard], steps_to_one).held_out(),
];

fn on_number(name: String, does: String, body: &str, values: &[i64], run: impl Fn(i64) -> Value) -> Option<Draft> {
    let calls = values.iter().map(|&n| (vec![n.into()], run(n))).collect();
    Task { name, parameters: "n", does, body: lines(body), before: Vec::new(), calls }.draft()
}

fn formula(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (a, b, square) = (d.number(2..=9), d.number(-9..=9), d.structure(&[true, false]));
    if b == 0 {
        return None;
    }
    let (what, python) = if square { ("the square of n", "n * n") } else { ("n", "n") };
    let (word, sign) = if b > 0 { ("plus", '+') } else { ("minus", '-') };
    let does = format!("returns {a} times {what} {word} {}.", b.abs());
    let body = format!("return {a} * {python} {sign} {}", b.abs());
    let values = d.test_numbers(5..=5, -10..=20);
    let name = d.phrase(&["compute", "calculate", "value", "apply"]).to_owned();
    on_number(name, does, &body, &values, move |n| (a * if square { n * n } else { n } + b).into())
}

fn digits(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (kind, k) = (d.structure(&["sum", "product", "count", "largest"]), d.number(0..=9));
    let factor = d.number(1..=difficulty.of(3, 9, 9));
    let (does, python) = match kind {
        "sum" => ("the sum of the decimal digits of n".to_owned(), "sum(int(c) for c in str(n))".to_owned()),
        "product" => {
            ("the product of the decimal digits of n".to_owned(), "math.prod(int(c) for c in str(n))".to_owned())
        }
        "count" => (format!("how often the digit {k} stands in n"), format!("str(n).count('{k}')")),
        _ => ("the largest decimal digit of n".to_owned(), "max(int(c) for c in str(n))".to_owned()),
    };
    let does = format!("returns {factor} times {does} (n is not negative).").replace("1 times ", "");
    let mut values = d.test_numbers(4..=4, 0..=99_999);
    values.extend([k, 11 * k + 100, 0]);
    let run = move |n: i64| {
        let digits: Vec<i64> = n.to_string().bytes().map(|b| i64::from(b - b'0')).collect();
        let result = match kind {
            "sum" => digits.iter().sum(),
            "product" => digits.iter().product(),
            "count" => digits.iter().filter(|&&digit| digit == k).count() as i64,
            _ => digits.iter().copied().max().unwrap_or(0),
        };
        Value::from(factor * result)
    };
    let calls = values.iter().map(|&n| (vec![n.into()], run(n))).collect();
    let before = if kind == "product" { vec!["import math"] } else { Vec::new() };
    let body = if factor == 1 { format!("return {python}") } else { format!("return {factor} * {python}") };
    Task { name: format!("digit_{kind}"), parameters: "n", does, body: lines(&body), before, calls }.draft()
}

fn divisors(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (kind, least) = (d.structure(&["list", "sum", "count"]), d.number(1..=6));
    let (word, python) = match kind {
        "list" => ("the divisors of n that are at least L, in increasing order, as a list", "divisors"),
        "sum" => ("the sum of the divisors of n that are at least L", "sum(divisors)"),
        _ => ("how many divisors of n are at least L", "len(divisors)"),
    };
    let does = format!("returns {} (n is positive).", word.replace('L', &least.to_string()));
    let body = format!("divisors = [x for x in range({least}, n + 1) if n % x == 0]\nreturn {python}");
    let mut values = d.test_numbers(5..=5, 1..=60);
    values.push(1);
    on_number(format!("divisors_{kind}"), does, &body, &values, move |n| {
        let divisors: Vec<i64> = (least..=n).filter(|x| n % x == 0).collect();
        match kind {
            "list" => divisors.into(),
            "sum" => divisors.iter().sum::<i64>().into(),
            _ => (divisors.len() as i64).into(),
        }
    })
}

fn is_prime(n: i64) -> bool {
    n > 1 && (2..).take_while(|x| x * x <= n).all(|x| n % x != 0)
}

fn primes(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (residue, modulus) = (d.number(0..=5), d.number(2..=6));
    let nth = difficulty == Hard;
    if residue >= modulus || (2..200).filter(|&p| is_prime(p) && p % modulus == residue).count() < 12 {
        return None;
    }
    let prime = "def is_prime(x):\n    return x > 1 and all(x % y for y in range(2, int(x ** 0.5) + 1))\n";
    let rule = format!("leave the remainder {residue} when divided by {modulus}");
    if nth {
        let does = format!("returns the n-th prime number among those that {rule} (n = 1 gives the first).");
        let body = format!(
            "{prime}\ncandidate = 1\nwhile n > 0:\n    candidate += 1\n    if is_prime(candidate) and candidate % \
             {modulus} == {residue}:\n        n -= 1\nreturn candidate"
        );
        return on_number("nth_prime".into(), does, &body, &[1, 2, 3, 5, 9], move |n| {
            (2..).filter(|&p| is_prime(p) && p % modulus == residue).nth(n as usize - 1).unwrap_or(0).into()
        });
    }
    let does = format!("returns the list of the prime numbers up to n (n included) that {rule}.");
    let body = format!("{prime}\nreturn [x for x in range(2, n + 1) if is_prime(x) and x % {modulus} == {residue}]");
    on_number("primes_up_to".into(), does, &body, &[1, 2, 10, 30, 50], move |n| {
        (2..=n).filter(|&p| is_prime(p) && p % modulus == residue).collect::<Vec<_>>().into()
    })
}

fn recurrence(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (f0, f1, a, b) = (d.number(0..=4), d.number(1..=5), d.number(1..=3), d.number(1..=3));
    let c = if difficulty == Hard { d.number(1..=9) } else { 0 };
    let times = |k: i64, what: &str| if k == 1 { what.to_owned() } else { format!("{k} * {what}") };
    let tail = if c == 0 { String::new() } else { format!(" + {c}") };
    let rule = format!("f(n) = {} + {}{tail}", times(a, "f(n - 1)"), times(b, "f(n - 2)"));
    let does = format!("returns f(n) of the sequence with f(0) = {f0}, f(1) = {f1} and {rule}.");
    let body = format!(
        "x, y = {f0}, {f1}\nfor _ in range(n):\n    x, y = y, {} + {}{tail}\nreturn x",
        times(a, "y"),
        times(b, "x")
    );
    on_number("f".into(), does, &body, &[0, 1, 2, 3, 5, 8], move |n| {
        let (mut x, mut y) = (f0, f1);
        for _ in 0..n {
            (x, y) = (y, a * y + b * x + c);
        }
        x.into()
    })
}

fn fizz(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (a, b) = (d.number(2..=7), d.number(2..=9));
    let (first, second) = d.phrase(&[("Fizz", "Buzz"), ("Tick", "Tock"), ("Ping", "Pong"), ("Red", "Blue")]);
    if a == b {
        return None;
    }
    let word = move |n: i64| match (n % a == 0, n % b == 0) {
        (true, true) => format!("{first}{second}"),
        (true, false) => first.to_owned(),
        (false, true) => second.to_owned(),
        (false, false) => n.to_string(),
    };
    let rule = format!(
        "'{first}{second}' if it is divisible by {a} and by {b}, '{first}' if only by {a}, '{second}' if only by {b}, \
         and otherwise the number as a string"
    );
    let inner = format!("word = ('{first}' if N % {a} == 0 else '') + ('{second}' if N % {b} == 0 else '')");
    if difficulty == Easy {
        let body = format!("{}\nreturn word or str(n)", inner.replace('N', "n"));
        let values = [a, b, a * b, a * b + 1, 2 * a + 1, d.test_numbers(1..=1, 1..=100)[0]];
        return on_number(
            "word_for".into(),
            format!("returns, for a positive integer n, {rule}."),
            &body,
            &values,
            move |n| word(n).into(),
        );
    }
    let body = format!(
        "result = []\nfor i in range(1, n + 1):\n    {}\n    result.append(word or str(i))\nreturn result",
        inner.replace('N', "i")
    );
    on_number(
        "words_up_to".into(),
        format!("returns a list with an entry for each number from 1 to n: {rule}."),
        &body,
        &[0, 3, a * b, 12],
        move |n| (1..=n).map(word).collect::<Vec<_>>().into(),
    )
}

fn base(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let base = d.number(2..=9);
    let to_text = |mut n: i64| {
        let mut digits = Vec::new();
        while n > 0 || digits.is_empty() {
            digits.push((n % base).to_string());
            n /= base;
        }
        digits.reverse();
        digits.concat()
    };
    let values = [0, 1, base, 17, 100, d.test_numbers(1..=1, 5..=999)[0]];
    if difficulty == Medium {
        let calls = values.iter().map(|&n| (vec![to_text(n).into()], n.into())).collect();
        let does = format!("takes a string of digits in base {base} and returns the number that it stands for.");
        let body = format!("value = 0\nfor c in text:\n    value = value * {base} + int(c)\nreturn value");
        return Task {
            name: format!("from_base_{base}"),
            parameters: "text",
            does,
            body: lines(&body),
            before: Vec::new(),
            calls,
        }
        .draft();
    }
    let does = format!("returns the digits of n in base {base} as a string (n is not negative; 0 gives '0').");
    let body = format!(
        "digits = ''\nwhile n > 0 or not digits:\n    digits = str(n % {base}) + digits\n    n //= {base}\nreturn \
         digits"
    );
    on_number(format!("to_base_{base}"), does, &body, &values, move |n| to_text(n).into())
}

fn steps_to_one(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (sub, div) = (d.number(1..=3), d.number(2..=4));
    let does = format!(
        "counts the steps until a positive integer n is at most 1, where a step divides n by {div} if that comes out \
         even and otherwise subtracts {sub}."
    );
    let body = format!(
        "steps = 0\nwhile n > 1:\n    n = n // {div} if n % {div} == 0 else n - {sub}\n    steps += 1\nreturn steps"
    );
    on_number("count_steps".into(), does, &body, &[1, 2, 9, 16, 30, 101], move |mut n| {
        let mut steps = 0;
        while n > 1 {
            n = if n % div == 0 { n / div } else { n - sub };
            steps += 1;
        }
        Value::from(steps)
    })
}
