//! Functions on lists of numbers.

use super::value::Value;
use super::{Task, lines};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 10] = [
    Family::new(Topic::Code, "rotate", &[Easy, Medium], rotate),
    Family::new(Topic::Code, "chunks", &[Medium], chunks),
    Family::new(Topic::Code, "without-duplicates", &[Easy, Medium], without_duplicates),
    Family::new(Topic::Code, "running", &[Easy, Medium], running),
    Family::new(Topic::Code, "kth", &[Easy, Medium], kth),
    Family::new(Topic::Code, "pairs-with-sum", &[Medium, Hard], pairs_with_sum),
    Family::new(Topic::Code, "every-nth", &[Easy], every_nth),
    Family::new(Topic::Code, "interleave", &[Medium], interleave).held_out(),
    Family::new(Topic::Code, "longest-run", &[Hard], longest_run).held_out(),
    Family::new(Topic::Code, "windows", &[Medium, Hard], windows),
];

/// A task on one list of integers.
fn on_list(
    d: &mut Draw,
    name: String,
    does: String,
    body: &str,
    shortest: usize,
    run: impl Fn(&[i64]) -> Value,
) -> Option<Draft> {
    let mut calls: Vec<(Vec<Value>, Value)> = Vec::new();
    for _ in 0..6 {
        let numbers = d.test_numbers(shortest.max(1)..=8, -9..=9);
        let result = run(&numbers);
        calls.push((vec![numbers.into()], result));
    }
    if shortest == 0 {
        calls.push((vec![Value::List(Vec::new())], run(&[])));
    }
    Task { name, parameters: "numbers", does, body: lines(body), before: Vec::new(), calls }.draft()
}

fn rotate(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (k, left) = (d.number(1..=difficulty.of(3, 9, 9)), d.structure(&[true, false]));
    let side = if left { "left" } else { "right" };
    let does = format!(
        "returns a new list with the elements of the list rotated to the {side} by {k} places (an empty list stays \
         empty)."
    );
    let body = if left {
        format!("if not numbers:\n    return []\nk = {k} % len(numbers)\nreturn numbers[k:] + numbers[:k]")
    } else {
        format!(
            "if not numbers:\n    return []\nk = {k} % len(numbers)\nreturn numbers[len(numbers) - k:] + \
             numbers[:len(numbers) - k]"
        )
    };
    on_list(d, format!("rotate_{side}_{k}"), does, &body, 0, move |v| {
        let mut v = v.to_vec();
        if !v.is_empty() {
            let k = k as usize % v.len();
            if left { v.rotate_left(k) } else { v.rotate_right(k) }
        }
        v.into()
    })
}

fn chunks(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let k = d.number(2..=6);
    let sums = d.structure(&[true, false]);
    let (what, python) = if sums {
        ("the sums of these lists", "sum(numbers[i:i + K])")
    } else {
        ("a list of these lists", "numbers[i:i + K]")
    };
    let does = format!(
        "cuts the list into consecutive lists of {k} elements (the last one may be shorter) and returns {what}."
    );
    let body = format!("return [{} for i in range(0, len(numbers), {k})]", python.replace('K', &k.to_string()));
    let name = if sums { format!("sums_of_chunks_{k}") } else { format!("chunks_of_{k}") };
    on_list(d, name, does, &body, 0, move |v| {
        let chunks = v.chunks(k as usize);
        if sums {
            chunks.map(|c| c.iter().sum::<i64>()).collect::<Vec<_>>().into()
        } else {
            chunks.map(<[i64]>::to_vec).collect::<Vec<_>>().into()
        }
    })
}

fn without_duplicates(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (last, limit) = (d.structure(&[true, false]), d.number(2..=difficulty.of(9, 30, 30)));
    // The limit sets the largest value that is kept.
    let which = if last { "last" } else { "first" };
    let does = format!(
        "removes duplicates from the list, keeping the {which} occurrence of each value and the order, and drops \
         values greater than {limit}."
    );
    let body = if last {
        format!(
            "result = []\nfor x in reversed(numbers):\n    if x <= {limit} and x not in result:\n        \
             result.append(x)\nreturn result[::-1]"
        )
    } else {
        format!(
            "result = []\nfor x in numbers:\n    if x <= {limit} and x not in result:\n        \
             result.append(x)\nreturn result"
        )
    };
    on_list(d, format!("unique_{which}_{limit}"), does, &body, 0, move |v| {
        let mut result: Vec<i64> = Vec::new();
        let mut take = |x: i64| {
            if x <= limit && !result.contains(&x) {
                result.push(x);
            }
        };
        if last {
            v.iter().rev().for_each(|&x| take(x))
        } else {
            v.iter().for_each(|&x| take(x))
        }
        if last {
            result.reverse();
        }
        result.into()
    })
}

fn running(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (kind, start) = (d.structure(&["sum", "maximum", "minimum"]), d.number(-20..=difficulty.of(0, 20, 20)));
    let (python, verb) = match kind {
        "sum" => ("current + x", "sum of the start value and"),
        "maximum" => ("max(current, x)", "maximum of the start value and"),
        _ => ("min(current, x)", "minimum of the start value and"),
    };
    let does = format!(
        "returns the list of running results: element i is the {verb} all numbers up to and including number i, with \
         the start value {start}."
    );
    let body = format!(
        "current = {start}\nresult = []\nfor x in numbers:\n    current = {python}\n    \
         result.append(current)\nreturn result"
    );
    on_list(d, format!("running_{kind}"), does, &body, 0, move |v| {
        let step = |current: &mut i64, &x: &i64| {
            *current = match kind {
                "sum" => *current + x,
                "maximum" => x.max(*current),
                _ => x.min(*current),
            };
            Some(*current)
        };
        v.iter().scan(start, step).collect::<Vec<_>>().into()
    })
}

fn kth(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (k, largest, distinct) = (d.number(1..=4), d.structure(&[true, false]), difficulty == Medium);
    let factor = d.number(1..=9);
    let word = if largest { "largest" } else { "smallest" };
    let ordinal = ["", "", "second ", "third ", "fourth "][k as usize];
    let of = if distinct { "different values in the list" } else { "numbers in the list" };
    let does = format!(
        "returns the {ordinal}{word} of the {of}, multiplied by {factor}, or None if there are fewer than {k}."
    );
    let set = if distinct { "set(numbers)" } else { "numbers" };
    let order = if largest { ", reverse=True" } else { "" };
    let body = format!(
        "ordered = sorted({set}{order})\nreturn ordered[{}] * {factor} if len(ordered) >= {k} else None",
        k - 1
    );
    on_list(d, format!("{}{word}", ordinal.replace(' ', "_")), does, &body, 0, move |v| {
        let mut v = v.to_vec();
        v.sort_unstable();
        if distinct {
            v.dedup();
        }
        if largest {
            v.reverse();
        }
        v.get(k as usize - 1).map_or(Value::None, |&n| (n * factor).into())
    })
}

fn pairs_with_sum(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let target = d.number(-10..=15);
    if difficulty == Medium {
        let does = format!("returns how many pairs of positions i < j there are whose numbers add up to {target}.");
        let body = format!(
            "count = 0\nfor i in range(len(numbers)):\n    for j in range(i + 1, len(numbers)):\n        if \
             numbers[i] + numbers[j] == {target}:\n            count += 1\nreturn count"
        );
        return on_list(d, "count_pairs".into(), does, &body, 0, move |v| {
            let pairs = (0..v.len()).flat_map(|i| (i + 1..v.len()).map(move |j| (i, j)));
            (pairs.filter(|&(i, j)| v[i] + v[j] == target).count() as i64).into()
        });
    }
    let does = format!(
        "returns the positions (i, j) with i < j of the first two numbers that add up to {target}, as a tuple with \
         the smallest i and for it the smallest j, or None."
    );
    let body = format!(
        "for i in range(len(numbers)):\n    for j in range(i + 1, len(numbers)):\n        if numbers[i] + numbers[j] \
         == {target}:\n            return (i, j)\nreturn None"
    );
    on_list(d, "find_pair".into(), does, &body, 0, move |v| {
        let mut pairs = (0..v.len()).flat_map(|i| (i + 1..v.len()).map(move |j| (i, j)));
        let found = pairs.find(|&(i, j)| v[i] + v[j] == target);
        found.map_or(Value::None, |(i, j)| Value::Tuple(vec![(i as i64).into(), (j as i64).into()]))
    })
}

fn every_nth(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (n, start) = (d.number(2..=6), d.number(0..=5));
    let does = format!(
        "returns the elements at positions {start}, {}, {} and so on of the list (positions count from 0).",
        start + n,
        start + 2 * n
    );
    on_list(d, format!("every_{n}_from_{start}"), does, &format!("return numbers[{start}::{n}]"), 0, move |v| {
        v.iter().skip(start as usize).step_by(n as usize).copied().collect::<Vec<_>>().into()
    })
}

fn interleave(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (first, second) = (d.number(1..=3), d.number(1..=3));
    let does = format!(
        "takes {first} of the elements of the first list, then {second} of the second, and so on in turns until both \
         are used up (a turn is shorter, or empty, when a list has fewer left), and returns them as one list."
    );
    let body = format!(
        "result = []\ni = j = 0\nwhile i < len(a) or j < len(b):\n    result += a[i:i + {first}] + b[j:j + \
         {second}]\n    i += {first}\n    j += {second}\nreturn result"
    );
    let run = move |a: &[i64], b: &[i64]| {
        let (first, second) = (first as usize, second as usize);
        let (mut result, mut i, mut j) = (Vec::<i64>::new(), 0, 0);
        while i < a.len() || j < b.len() {
            result.extend(a.iter().skip(i).take(first));
            result.extend(b.iter().skip(j).take(second));
            (i, j) = (i + first, j + second);
        }
        result
    };
    let mut calls = Vec::new();
    for _ in 0..5 {
        let (a, b) = (d.test_numbers(0..=6, 0..=9), d.test_numbers(0..=6, 10..=19));
        let result = run(&a, &b);
        calls.push((vec![a.into(), b.into()], result.into()));
    }
    Task { name: "interleave".into(), parameters: "a, b", does, body: lines(&body), before: Vec::new(), calls }.draft()
}

fn longest_run(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let (word, python) =
        d.structure(&[("increasing", ">"), ("decreasing", "<"), ("equal", "=="), ("non-decreasing", ">=")]);
    let least = d.number(1..=3);
    let does = format!(
        "returns the length of the longest stretch of neighbouring {word} numbers in the list (each number compared \
         with the one before it), or 0 if it is shorter than {least}."
    );
    let body = format!(
        "best = length = 0\nfor i, x in enumerate(numbers):\n    if i > 0 and x {python} numbers[i - 1]:\n        \
         length += 1\n    else:\n        length = 1\n    best = max(best, length)\nreturn best if best >= {least} \
         else 0"
    );
    on_list(d, format!("longest_{}", word.replace('-', "_")), does, &body, 0, move |v| {
        let goes_on = |a: i64, b: i64| match python {
            ">" => b > a,
            "<" => b < a,
            "==" => b == a,
            _ => b >= a,
        };
        let best = v.chunk_by(|&a, &b| goes_on(a, b)).map(<[i64]>::len).max().unwrap_or(0) as i64;
        (if best >= least { best } else { 0 }).into()
    })
}

fn windows(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (k, kind) = (d.number(2..=5), d.structure(&["sum", "max", "min"]));
    let word = match kind {
        "sum" => "sum",
        "max" => "maximum",
        _ => "minimum",
    };
    let whole = difficulty == Medium;
    let tail = if whole {
        "as a list".to_owned()
    } else {
        "and of these the largest, or None if the list is too short".to_owned()
    };
    let does =
        format!("finds the {word} of every {k} neighbouring numbers of the list, in order, and returns them {tail}.");
    let does = if whole {
        does
    } else {
        does.replace("returns them and of these the largest", "returns the largest of these")
    };
    let list = format!("[{kind}(numbers[i:i + {k}]) for i in range(len(numbers) - {})]", k - 1);
    let body = if whole {
        format!("return {list}")
    } else {
        format!("results = {list}\nreturn max(results) if results else None")
    };
    on_list(d, format!("windows_{kind}_{k}"), does, &body, 0, move |v| {
        let one = |w: &[i64]| match kind {
            "sum" => w.iter().sum::<i64>(),
            "max" => w.iter().copied().max().unwrap_or(0),
            _ => w.iter().copied().min().unwrap_or(0),
        };
        let results: Vec<i64> = v.windows(k as usize).map(one).collect();
        if whole { results.into() } else { results.iter().max().map_or(Value::None, |&n| n.into()) }
    })
}
