//! Functions on dictionaries and on lists of lists.

use std::collections::BTreeMap;

use super::value::Value;
use super::{Task, lines};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 6] = [
    Family::new(Topic::Code, "frequencies", &[Easy, Medium], frequencies),
    Family::new(Topic::Code, "group-by", &[Medium, Hard], group_by),
    Family::new(Topic::Code, "matrix-lines", &[Easy, Medium], matrix_lines),
    Family::new(Topic::Code, "matrix-turn", &[Medium, Hard], matrix_turn).held_out(),
    Family::new(Topic::Code, "stock", &[Easy, Medium], stock).held_out(),
    Family::new(Topic::Code, "flatten", &[Medium], flatten),
];

/// Pairs as a dictionary.
fn dict<K: Into<Value>, V: Into<Value>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
    Value::Dict(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

fn frequencies(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (least, modulus) = (d.number(1..=3), d.number(2..=9));
    let body_end = format!("return {{x: n for x, n in counts.items() if n >= {least}}}");
    let count = |values: Vec<i64>| {
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        values.into_iter().for_each(|x| *counts.entry(x).or_default() += 1);
        dict(counts.into_iter().filter(|&(_, n)| n >= least))
    };
    let (what, python) = if difficulty == Easy {
        ("value".to_owned(), "x".to_owned())
    } else {
        (format!("remainder by {modulus}"), format!("x % {modulus}"))
    };
    let does = format!(
        "returns a dictionary that maps each {what} of the numbers in the list to how often it occurs, with those \
         that occur at least {least} times only."
    );
    let body = format!(
        "counts = {{}}\nfor x in numbers:\n    key = {python}\n    counts[key] = counts.get(key, 0) + 1\n{body_end}"
    );
    let mut calls = Vec::new();
    for _ in 0..5 {
        let numbers = d.test_numbers(2..=9, 0..=6);
        let keys = numbers.iter().map(|&x| if difficulty == Easy { x } else { x % modulus }).collect();
        calls.push((vec![numbers.into()], count(keys)));
    }
    calls.push((vec![Value::List(Vec::new())], count(Vec::new())));
    Task { name: "frequencies".into(), parameters: "numbers", does, body: lines(&body), before: Vec::new(), calls }
        .draft()
}

fn group_by(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let modulus = d.number(2..=5);
    let (kind, summary) = (d.structure(&["remainder", "sign", "tens"]), d.structure(&["list", "sum", "largest"]));
    let (key_phrase, key_python) = match kind {
        "remainder" => (format!("their remainder when divided by {modulus}"), format!("x % {modulus}")),
        "sign" => ("their sign (-1, 0 or 1)".to_owned(), "(x > 0) - (x < 0)".to_owned()),
        _ => (
            format!("the whole number of times that {modulus}0 goes into them (rounded down)"),
            format!("x // {modulus}0"),
        ),
    };
    let (end_phrase, end_python) = match summary {
        "list" => ("the list of its numbers in order", "values"),
        "sum" => ("the sum of its numbers", "sum(values)"),
        _ => ("its largest number", "max(values)"),
    };
    let least = if difficulty == Hard { d.number(2..=3) } else { 1 };
    let only = if least > 1 { format!(" Groups of fewer than {least} numbers are left out.") } else { String::new() };
    let does = format!(
        "groups the integers of a list by {key_phrase} and returns a dictionary that maps each group to \
         {end_phrase}.{only}"
    );
    let body = format!(
        "groups = {{}}\nfor x in numbers:\n    groups.setdefault({key_python}, []).append(x)\nreturn \
         {{key: {end_python} for key, values in groups.items() if len(values) >= {least}}}"
    );
    let mut calls = Vec::new();
    for _ in 0..5 {
        let numbers = d.test_numbers(2..=8, -15..=99);
        let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for &x in &numbers {
            let key = match kind {
                "remainder" => x.rem_euclid(modulus),
                "sign" => x.signum(),
                _ => x.div_euclid(modulus * 10),
            };
            groups.entry(key).or_default().push(x);
        }
        let result = dict(groups.into_iter().filter(|(_, v)| v.len() as i64 >= least).map(|(key, values)| {
            let value = match summary {
                "list" => Value::from(values),
                "sum" => values.iter().sum::<i64>().into(),
                _ => values.iter().copied().max().unwrap_or(0).into(),
            };
            (key, value)
        }));
        calls.push((vec![numbers.into()], result));
    }
    Task {
        name: format!("group_by_{kind}"),
        parameters: "numbers",
        does,
        body: lines(&body),
        before: Vec::new(),
        calls,
    }
    .draft()
}

/// A matrix for a test.
fn matrix(d: &mut Draw) -> Vec<Vec<i64>> {
    let columns = d.test_numbers(1..=1, 1..=4)[0] as usize;
    let rows = d.test_numbers(1..=1, 1..=4)[0];
    (0..rows).map(|_| d.test_numbers(columns..=columns, -9..=9)).collect()
}

fn on_matrix(
    d: &mut Draw,
    name: String,
    does: String,
    body: &str,
    run: impl Fn(&[Vec<i64>]) -> Value,
) -> Option<Draft> {
    let mut calls = Vec::new();
    for _ in 0..5 {
        let rows = matrix(d);
        let result = run(&rows);
        calls.push((vec![rows.into()], result));
    }
    Task { name, parameters: "rows", does, body: lines(body), before: Vec::new(), calls }.draft()
}

fn matrix_lines(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (columns, kind, k) = (d.structure(&[true, false]), d.structure(&["sum", "max", "min"]), d.number(-9..=9));
    let line = if columns { "column" } else { "row" };
    let word = match kind {
        "sum" => "sum",
        "max" => "largest number",
        _ => "smallest number",
    };
    let source = if columns { "zip(*rows)" } else { "rows" };
    let results = move |rows: &[Vec<i64>]| -> Vec<i64> {
        let lists: Vec<Vec<i64>> = if columns {
            (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
        } else {
            rows.to_vec()
        };
        let one = |v: &Vec<i64>| match kind {
            "sum" => v.iter().sum(),
            "max" => v.iter().copied().max().unwrap_or(0),
            _ => v.iter().copied().min().unwrap_or(0),
        };
        lists.iter().map(one).collect()
    };
    let opening = "takes a matrix as a list of rows of equal length (at least one row and one column)";
    if difficulty == Easy {
        let does = format!("{opening} and returns the list of the {word}s of its {line}s, each plus {k}.")
            .replace("plus -", "minus ");
        let body = format!("return [{kind}(line) + ({k}) for line in {source}]");
        return on_matrix(d, format!("{line}_{kind}s"), does, &body, move |rows| {
            results(rows).iter().map(|x| x + k).collect::<Vec<_>>().into()
        });
    }
    let does = format!("{opening} and returns how many {line}s have a {word} greater than {k}.");
    let body = format!("return sum(1 for line in {source} if {kind}(line) > {k})");
    on_matrix(d, format!("count_{line}s"), does, &body, move |rows| {
        (results(rows).iter().filter(|&&x| x > k).count() as i64).into()
    })
}

fn matrix_turn(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let kinds = [
        ("transpose", "swaps rows and columns", "[list(column) for column in zip(*rows)]"),
        ("turn_right", "turns it by 90 degrees clockwise", "[list(column) for column in zip(*rows[::-1])]"),
        ("turn_left", "turns it by 90 degrees anticlockwise", "[list(column) for column in zip(*rows)][::-1]"),
        ("mirror", "mirrors it left to right", "[row[::-1] for row in rows]"),
    ];
    let (name, phrase, python) = d.structure(&kinds);
    let (factor, add) = (d.number(1..=difficulty.of(1, 5, 9)), d.number(difficulty.of(0..=0, 0..=3, -9..=9)));
    let does = format!(
        "takes a matrix as a list of rows of equal length, {phrase}, multiplies every number by \
     {factor} and adds {add}, and returns the new matrix."
    )
    .replace(" and adds 0", "")
    .replace("adds -", "subtracts ");
    let body = format!("turned = {python}\nreturn [[x * {factor} + ({add}) for x in row] for row in turned]");
    on_matrix(d, name.into(), does, &body, move |rows| {
        let (n, m) = (rows.len(), rows[0].len());
        let pick = |i: usize, j: usize| match name {
            "transpose" => rows[j][i],
            "turn_right" => rows[n - 1 - j][i],
            "turn_left" => rows[j][m - 1 - i],
            _ => rows[i][m - 1 - j],
        };
        let (height, width) = if name == "mirror" { (n, m) } else { (m, n) };
        (0..height)
            .map(|i| (0..width).map(|j| pick(i, j) * factor + add).collect::<Vec<_>>())
            .collect::<Vec<_>>()
            .into()
    })
}

fn stock(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (limit, names) = (d.number(1..=12), ["apples", "bread", "cheese", "dates", "eggs", "figs"]);
    let below = d.structure(&[true, false]);
    let (word, sign) = if below { ("fewer", '<') } else { ("more", '>') };
    let fits = |n: i64| if below { n < limit } else { n > limit };
    let mut calls = Vec::new();
    for _ in 0..5 {
        let amounts = d.test_numbers(0..=6, 0..=15);
        let stock: Vec<(&str, i64)> = names.iter().copied().zip(amounts).collect();
        let kept: Vec<(&str, i64)> = stock.iter().copied().filter(|&(_, n)| fits(n)).collect();
        let result = if difficulty == Easy {
            kept.iter().map(|&(name, _)| name).collect::<Vec<_>>().into()
        } else {
            Value::from(kept.iter().map(|&(_, n)| n).sum::<i64>())
        };
        calls.push((vec![dict(stock)], result));
    }
    let opening = "takes a dictionary from names to amounts and returns";
    let (does, body) = if difficulty == Easy {
        (
            format!("{opening} the sorted list of the names of which there are {word} than {limit}."),
            format!("return sorted(name for name, amount in stock.items() if amount {sign} {limit})"),
        )
    } else {
        (
            format!(
                "{opening} the sum of the amounts that are {} than {limit}.",
                if below { "less" } else { "greater" }
            ),
            format!("return sum(amount for amount in stock.values() if amount {sign} {limit})"),
        )
    };
    let name = if difficulty == Easy { "names_in_stock" } else { "total_in_stock" };
    Task { name: name.into(), parameters: "stock", does, body: lines(&body), before: Vec::new(), calls }.draft()
}

fn flatten(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (factor, least) = (d.number(1..=9), d.number(0..=3));
    let sorted = d.structure(&[true, false]);
    let tail = if sorted { "in increasing order" } else { "in order" };
    let does = format!(
        "takes a list of lists of integers, leaves out the lists with fewer than {least} elements, and returns the \
         elements of all others, each multiplied by {factor}, as one list {tail}."
    );
    let list = format!("[x * {factor} for inner in lists if len(inner) >= {least} for x in inner]");
    let body = if sorted { format!("return sorted({list})") } else { format!("return {list}") };
    let mut calls = Vec::new();
    for _ in 0..5 {
        let count = d.test_numbers(1..=1, 0..=4)[0];
        let lists: Vec<Vec<i64>> = (0..count).map(|_| d.test_numbers(0..=4, -5..=9)).collect();
        let mut flat: Vec<i64> =
            lists.iter().filter(|v| v.len() as i64 >= least).flatten().map(|x| x * factor).collect();
        if sorted {
            flat.sort_unstable();
        }
        calls.push((vec![lists.into()], flat.into()));
    }
    Task { name: "flatten".into(), parameters: "lists", does, body: lines(&body), before: Vec::new(), calls }.draft()
}
