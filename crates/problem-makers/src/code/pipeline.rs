//! Functions composed of three parts: a filter, a change of each number, and a reduction to one result.

use super::value::Value;
use super::{Task, lines};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 2] = [
    Family::new(Topic::Code, "pipeline", &[Easy, Medium, Hard], pipeline),
    Family::new(Topic::Code, "conditional", &[Easy, Medium], conditional).held_out(),
];

/// A part: a piece of the name, a phrase, Python with `x` for the number, and the computation in Rust.
struct Part<F> {
    name: String,
    phrase: String,
    python: String,
    apply: F,
}

fn filter(d: &mut Draw) -> Part<Box<dyn Fn(i64) -> bool>> {
    let k = d.number(2..=9);
    let part = |name: String, phrase: String, python: String, apply: Box<dyn Fn(i64) -> bool>| Part {
        name,
        phrase,
        python,
        apply,
    };
    match d.number(0..=6) {
        0 => part("even".into(), "the even numbers".into(), "x % 2 == 0".into(), Box::new(|x| x % 2 == 0)),
        1 => part("odd".into(), "the odd numbers".into(), "x % 2 != 0".into(), Box::new(|x| x % 2 != 0)),
        2 => part("positive".into(), "the positive numbers".into(), "x > 0".into(), Box::new(|x| x > 0)),
        3 => part("negative".into(), "the negative numbers".into(), "x < 0".into(), Box::new(|x| x < 0)),
        4 => part(
            format!("above_{k}"),
            format!("the numbers greater than {k}"),
            format!("x > {k}"),
            Box::new(move |x| x > k),
        ),
        5 => part(
            format!("at_most_{k}"),
            format!("the numbers that are at most {k}"),
            format!("x <= {k}"),
            Box::new(move |x| x <= k),
        ),
        _ => part(
            format!("multiples_of_{k}"),
            format!("the numbers divisible by {k}"),
            format!("x % {k} == 0"),
            Box::new(move |x| x.rem_euclid(k) == 0),
        ),
    }
}

fn transform(d: &mut Draw) -> Part<Box<dyn Fn(i64) -> i64>> {
    let k = d.number(2..=9);
    let part = |name: String, phrase: String, python: String, apply: Box<dyn Fn(i64) -> i64>| Part {
        name,
        phrase,
        python,
        apply,
    };
    match d.number(0..=6) {
        0 => part("squares".into(), "squares each of them".into(), "x * x".into(), Box::new(|x| x * x)),
        1 => part("doubles".into(), "doubles each of them".into(), "2 * x".into(), Box::new(|x| 2 * x)),
        2 => {
            part(format!("plus_{k}"), format!("adds {k} to each of them"), format!("x + {k}"), Box::new(move |x| x + k))
        }
        3 => part(
            format!("minus_{k}"),
            format!("subtracts {k} from each of them"),
            format!("x - {k}"),
            Box::new(move |x| x - k),
        ),
        4 => part(
            format!("times_{k}"),
            format!("multiplies each of them by {k}"),
            format!("{k} * x"),
            Box::new(move |x| k * x),
        ),
        5 => part(
            "absolute".into(),
            "takes the absolute value of each of them".into(),
            "abs(x)".into(),
            Box::new(i64::abs),
        ),
        _ => part("negated".into(), "changes the sign of each of them".into(), "-x".into(), Box::new(|x| -x)),
    }
}

type Reduction = (&'static str, &'static str, &'static str, fn(&[i64]) -> Value);

const REDUCTIONS: [Reduction; 7] = [
    ("sum", "returns their sum", "sum(values)", |v| v.iter().sum::<i64>().into()),
    ("list", "returns them as a list", "values", |v| v.to_vec().into()),
    ("largest", "returns the largest of them, or None if there are none", "max(values) if values else None", |v| {
        v.iter().max().map_or(Value::None, |&n| n.into())
    }),
    ("smallest", "returns the smallest of them, or None if there are none", "min(values) if values else None", |v| {
        v.iter().min().map_or(Value::None, |&n| n.into())
    }),
    ("sorted", "returns them in increasing order", "sorted(values)", |v| {
        let mut v = v.to_vec();
        v.sort_unstable();
        v.into()
    }),
    ("distinct", "returns how many different values there are", "len(set(values))", |v| {
        (v.iter().collect::<std::collections::HashSet<_>>().len() as i64).into()
    }),
    ("reversed", "returns them in reverse order", "values[::-1]", |v| {
        v.iter().rev().copied().collect::<Vec<_>>().into()
    }),
];

fn pipeline(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let keep = filter(d);
    let change = transform(d);
    let second = if difficulty == Hard { Some(transform(d)) } else { None };
    let (reduce_name, reduce_phrase, reduce_python, reduce) = d.structure(&REDUCTIONS);
    let run = |numbers: &[i64]| {
        let kept = numbers.iter().copied().filter(|&x| (keep.apply)(x));
        let changed = kept.map(|x| if difficulty == Easy { x } else { (change.apply)(x) });
        let values: Vec<i64> = changed.map(|x| second.as_ref().map_or(x, |part| (part.apply)(x))).collect();
        reduce(&values)
    };
    let mut calls: Vec<(Vec<Value>, Value)> = Vec::new();
    for _ in 0..5 {
        let numbers = d.test_numbers(3..=8, -12..=25);
        calls.push((vec![numbers.clone().into()], run(&numbers)));
    }
    calls.push((vec![Value::List(Vec::new())], run(&[])));
    let (name, does, body) = if difficulty == Easy {
        let body = format!("values = [x for x in numbers if {}]\nreturn {reduce_python}", keep.python);
        (
            format!("{reduce_name}_of_{}", keep.name),
            format!("takes a list of integers, keeps only {}, and {reduce_phrase}.", keep.phrase),
            body,
        )
    } else {
        let mut does = format!("takes a list of integers, keeps only {}, {}", keep.phrase, change.phrase);
        let mut body = format!("values = [{} for x in numbers if {}]", change.python, keep.python);
        if let Some(second) = &second {
            does.push_str(&format!(", then {}", second.phrase));
            body.push_str(&format!("\nvalues = [{} for x in values]", second.python));
        }
        body.push_str(&format!("\nreturn {reduce_python}"));
        (format!("{reduce_name}_of_{}_{}", keep.name, change.name), format!("{does}, and {reduce_phrase}."), body)
    };
    Task { name, parameters: "numbers", does, body: lines(&body), before: Vec::new(), calls }.draft()
}

fn conditional(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (first, second) = (d.number(3..=20), d.number(1..=20));
    let (low, high) = (first.min(first + second), first + second);
    let words = d.structure(&[
        ["low", "medium", "high"],
        ["cold", "mild", "hot"],
        ["small", "middle", "large"],
        ["bronze", "silver", "gold"],
    ]);
    let three = difficulty == Medium;
    let decide = |x: i64| {
        if x < low {
            words[0]
        } else if three && x < high {
            words[1]
        } else {
            words[2]
        }
    };
    let mut values = d.test_numbers(4..=4, -5..=high + 10);
    values.extend([low - 1, low, high - 1, high]);
    let calls = values.iter().map(|&x| (vec![x.into()], decide(x).into())).collect();
    let (does, body) = if three {
        (
            format!(
                "returns '{}' for a number below {low}, '{}' for one of at least {low} but below {high}, and '{}' \
                 otherwise.",
                words[0], words[1], words[2]
            ),
            format!(
                "if value < {low}:\n    return '{}'\nif value < {high}:\n    return '{}'\nreturn '{}'",
                words[0], words[1], words[2]
            ),
        )
    } else {
        (
            format!("returns '{}' for a number below {low} and '{}' otherwise.", words[0], words[2]),
            format!("if value < {low}:\n    return '{}'\nreturn '{}'", words[0], words[2]),
        )
    };
    let name = d.phrase(&["classify", "label", "rate", "grade"]).to_owned();
    Task { name, parameters: "value", does, body: lines(&body), before: Vec::new(), calls }.draft()
}
