//! Verdicts on the steps of solutions in GSM8K, ProcessBench and OlympiadBench, and on single steps.
use crate::common;

use mathverify::{Options, StepStatus, check_solution, split_steps};
use rayon::prelude::*;

fn status(step: &str) -> StepStatus {
    check_solution(None, &[step.to_owned()], None, &Options::default()).steps[0].status
}

/// The value of a calculator formula as a reduced fraction. This evaluator (recursive descent, `i128`) is independent
/// of the crate.
fn value(text: &str) -> Option<(i128, i128)> {
    fn gcd(a: i128, b: i128) -> i128 {
        if b == 0 { a.abs() } else { gcd(b, a % b) }
    }
    fn reduced(n: i128, d: i128) -> Option<(i128, i128)> {
        if d == 0 {
            return None;
        }
        let g = gcd(n, d).max(1) * d.signum();
        Some((n / g, d / g))
    }
    fn sum(s: &[u8], at: &mut usize) -> Option<(i128, i128)> {
        let mut left = product(s, at)?;
        while let Some(op @ (b'+' | b'-')) = s.get(*at).copied() {
            *at += 1;
            let right = product(s, at)?;
            let sign = if op == b'+' { 1 } else { -1 };
            left = reduced(
                left.0.checked_mul(right.1)? + sign * right.0.checked_mul(left.1)?,
                left.1.checked_mul(right.1)?,
            )?;
        }
        Some(left)
    }
    fn product(s: &[u8], at: &mut usize) -> Option<(i128, i128)> {
        let mut left = operand(s, at)?;
        while let Some(op @ (b'*' | b'/')) = s.get(*at).copied() {
            *at += 1;
            if op == b'/' && s.get(*at) == Some(&b'/') {
                *at += 1;
            }
            let right = operand(s, at)?;
            left = if op == b'*' {
                reduced(left.0.checked_mul(right.0)?, left.1.checked_mul(right.1)?)?
            } else {
                reduced(left.0.checked_mul(right.1)?, left.1.checked_mul(right.0)?)?
            };
        }
        Some(left)
    }
    fn operand(s: &[u8], at: &mut usize) -> Option<(i128, i128)> {
        match s.get(*at)? {
            b'(' => {
                *at += 1;
                let inner = sum(s, at)?;
                (s.get(*at) == Some(&b')')).then(|| *at += 1)?;
                Some(inner)
            }
            b'-' => {
                *at += 1;
                operand(s, at).map(|(n, d)| (-n, d))
            }
            b'+' => {
                *at += 1;
                operand(s, at)
            }
            _ => {
                let (mut n, mut d, mut point, mut digits) = (0_i128, 1_i128, false, 0);
                while let Some(c) = s.get(*at) {
                    match c {
                        b'0'..=b'9' => {
                            n = n.checked_mul(10)? + i128::from(c - b'0');
                            d = if point { d.checked_mul(10)? } else { d };
                            digits += 1;
                        }
                        b'.' if !point => point = true,
                        _ => break,
                    }
                    *at += 1;
                }
                (digits > 0).then(|| reduced(n, d))?
            }
        }
    }
    let s: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let mut at = 0;
    let v = sum(&s, &mut at)?;
    (at == s.len()).then_some(v)
}

#[test]
fn gsm8k_annotations_and_their_mutations() {
    let Some(path) = common::data("gsm8k/train.jsonl.gz") else { return };
    let annotations: Vec<String> = common::rows(&path)
        .iter()
        .flat_map(|row| {
            let answer = row["answer"].as_str().unwrap();
            answer.split("<<").skip(1).filter_map(|p| p.split_once(">>")).map(|p| p.0.to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(annotations.len(), 23_716);
    let correct = annotations.par_iter().filter(|a| status(&format!("<<{a}>>")) == StepStatus::Correct).count();
    println!("{correct} of {} annotations correct", annotations.len());
    assert_eq!(correct, 23_716);

    // Mutations: every digit and every operator is replaced by every other one, one at a time.
    let (wrong, still_true, left) = annotations
        .par_iter()
        .map(|annotation| {
            let mut counts = (0_usize, 0_usize, Vec::new());
            for (i, c) in annotation.char_indices() {
                let others: Vec<char> = match c {
                    '0'..='9' => ('0'..='9').filter(|d| *d != c).collect(),
                    '+' | '-' | '*' | '/' => "+-*/".chars().filter(|o| *o != c).collect(),
                    _ => continue,
                };
                for other in others {
                    let mutated = format!("{}{other}{}", &annotation[..i], &annotation[i + 1..]);
                    let (l, r) = mutated.rsplit_once('=').unwrap();
                    let holds = value(l).is_some() && value(l) == value(r);
                    match (holds, status(&format!("<<{mutated}>>"))) {
                        (true, StepStatus::Correct) => counts.1 += 1,
                        (false, StepStatus::Wrong) => counts.0 += 1,
                        _ => counts.2.push(mutated),
                    }
                }
            }
            counts
        })
        .reduce(|| (0, 0, Vec::new()), |a, b| (a.0 + b.0, a.1 + b.1, [a.2, b.2].concat()));
    println!(
        "mutations: {wrong} wrong, {still_true} still true, {} not decided: {:?}",
        left.len(),
        &left[..left.len().min(10)]
    );
    // A result that may be rounded to three or more digits (`848/7 = 121.143`) is not called wrong.
    assert!(left.len() * 10_000 <= wrong, "{} not decided", left.len());
}

#[test]
fn processbench_precision_of_wrong() {
    let (mut hits, mut alarms, mut errors) = (0, 0, 0);
    for part in ["gsm8k", "math", "olympiadbench", "omnimath"] {
        let Some(path) = common::data(&format!("processbench/{part}.json.gz")) else { return };
        let rows: Vec<serde_json::Value> = serde_json::from_str(&common::text(&path)).unwrap();
        let counts: Vec<(usize, usize, usize)> = rows
            .par_iter()
            .map(|row| {
                let steps: Vec<String> =
                    row["steps"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
                let label = usize::try_from(row["label"].as_i64().unwrap()).ok();
                let checked = check_solution(row["problem"].as_str(), &steps, None, &Options::default());
                let seen = label.map_or(steps.len(), |l| l + 1);
                let flagged = |i: &usize| checked.steps[*i].status == StepStatus::Wrong;
                let hit = usize::from(label.is_some_and(|l| flagged(&l)));
                let alarms: Vec<usize> = (0..seen).filter(|i| Some(*i) != label && flagged(i)).collect();
                let alarm = alarms.len();
                for i in alarms {
                    let claims = checked.steps[i].claims.iter().filter(|c| c.status == StepStatus::Wrong);
                    let claims: Vec<&str> = claims.map(|c| c.text.as_str()).collect();
                    println!("  good step flagged in {}: {claims:?}", row["id"]);
                }
                (hit, alarm, usize::from(label.is_some()))
            })
            .collect();
        let total = counts.iter().fold((0, 0, 0), |a, c| (a.0 + c.0, a.1 + c.1, a.2 + c.2));
        println!("{part}: {} of {} first errors flagged, {} good steps flagged", total.0, total.2, total.1);
        assert!(total.0 * 10 >= (total.0 + total.1) * 9, "{part}: {} hits, {} false alarms", total.0, total.1);
        (hits, alarms, errors) = (hits + total.0, alarms + total.1, errors + total.2);
    }
    let share =
        |n: usize, of: usize| 100.0 * f64::from(u32::try_from(n).unwrap()) / f64::from(u32::try_from(of).unwrap());
    println!("all: precision {:.1}%, recall {:.1}%", share(hits, hits + alarms), share(hits, errors));
    assert!(hits * 100 >= (hits + alarms) * 93, "{hits} hits, {alarms} false alarms");
    assert!(hits * 1_000 >= errors * 55, "{hits} of {errors}");
}

/// In reference solutions, a step called wrong is a false alarm or a slip of the author: at most 0.1% of all steps.
#[test]
fn reference_solutions_are_hardly_ever_called_wrong() {
    let flagged = |solutions: &[String]| -> (usize, usize) {
        let counts = solutions.par_iter().map(|solution| {
            let checked = check_solution(None, &split_steps(solution), None, &Options::default());
            (checked.steps.iter().filter(|s| s.status == StepStatus::Wrong).count(), checked.steps.len())
        });
        counts.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    if let Some(path) = common::data("gsm8k/train.jsonl.gz") {
        let solutions: Vec<String> =
            common::rows(&path).iter().map(|r| r["answer"].as_str().unwrap().to_owned()).collect();
        let (wrong, steps) = flagged(&solutions);
        println!("gsm8k train: {wrong} of {steps} steps called wrong");
        assert!(wrong * 1_000 <= steps, "{wrong} of {steps}");
    }
    if let Some(path) = common::data("math_more/olympiadbench.jsonl.gz") {
        let text = |s: &serde_json::Value| s.as_str().map(str::to_owned);
        let solutions: Vec<String> = common::rows(&path)
            .iter()
            .flat_map(|r| match &r["solution"] {
                serde_json::Value::Array(all) => all.iter().filter_map(text).collect::<Vec<_>>(),
                one => text(one).into_iter().collect(),
            })
            .collect();
        let (wrong, steps) = flagged(&solutions);
        println!("olympiadbench: {wrong} of {steps} steps called wrong");
        assert!(wrong * 1_000 <= steps, "{wrong} of {steps}");
    }
}

#[test]
fn solutions_split_into_lines_or_paragraphs() {
    assert_eq!(split_steps("a\nb\nc").len(), 3);
    assert_eq!(split_steps("a\nb\n\nc").len(), 2);
    assert_eq!(split_steps("x:\n\\[\na\n\nb\n\\]\nend").len(), 1);
    assert!(split_steps("").is_empty());
}

/// Claims that must not be called wrong: hypotheses, roundings, conversions of units, other bases.
#[test]
fn no_false_alarms() {
    for step in [
        "If 2 + 2 = 5, then everything follows.",
        "Let's try x = 3: 2 + \\sqrt{1} = 1, which is false.",
        "10/3 = 3 remainder 1",
        "100/7 = 14.29",
        "20% of $80 = $16",
        "9 + 5 = 2 on a clock, since 14 mod 12 = 2",
        "\\(4 \\text{ hours} = 4 \\times 60 = 240 \\text{ minutes}\\)",
        "\\[ \\text{Naomi's points} + 17 = 68 + 17 = 85 \\]",
        "\\[ 1 \\text{ hour} + 30 \\text{ minutes} = 90 \\text{ minutes} \\]",
        "15/60 = 25%",
        "so 2x + 3 = 9 and x = 3",
        "In base 7, 3 + 5 = 11.",
        "(x+1)(x+2) = 12",
        "2p + 12 = 70",
        "For Sussex: $6 w+4 d+30 a=201$",
        "Week 1 + Week 2 = 35 + 35 = 70 hours",
        "Weeks 1-2 = 96 - 70 = 26",
        "He uses 600 x 30 = 18 000 watts.",
        "\\(6 \\text{ inches} = \\frac{6}{12} \\text{ feet}\\)",
        "60 miles/hour * 30 minutes = 30 miles",
        "\\[a + 4 = 0 \\quad \\text{or} \\quad a - 1 = 0\\] Solving these equations, we find \\(a = -4\\) or \\(a = 1\\).",
        "The possible roots are \\(\\frac{\\pm 1}{\\pm 2} = \\pm \\frac{1}{2}\\).",
        "$f(n)=\\frac{n(n+1)}{24}$ is a multiple of 5",
        "The largest prime divisor is in $13 !(15 \\cdot 14-1)=13$ ! $\\cdot 209$.",
        "Simplifying, \\[ \\frac{1}{p} + \\frac{1}{q} = \\frac{p+q}{pq} = \\frac{p+q}{48}. \\]",
    ] {
        assert_ne!(
            status(step),
            StepStatus::Wrong,
            "{step}: {:?}",
            check_solution(None, &[step.to_owned()], None, &Options::default())
        );
    }
}

/// An answer that is only a part of a number in the steps does not follow from it.
#[test]
fn an_answer_inside_a_longer_number_does_not_follow() {
    let follows = |middle: &str| {
        let steps = ["He has 9 + 9 = 18 in all.", middle, "The answer is 8."].map(str::to_owned);
        check_solution(None, &steps, None, &Options::default()).answer_follows
    };
    assert_eq!(follows("So we go on."), Some(false));
    assert_eq!(follows("There are 8 boxes."), Some(true));
}

/// Claims that are wrong under every reading.
#[test]
fn clear_errors() {
    for step in [
        "So the total is 12 + 30 = 41.",
        "She pays $20 - $13 = $6.",
        "\\[ \\frac{1}{2} + \\frac{1}{3} = \\frac{2}{5} \\]",
        "\\(2^{10} = 1000\\)",
        "\\(17 \\equiv 4 \\pmod{5}\\)",
        "Expanding, \\[ y = (x+3)^2 = x^2 + 9. \\]",
        "\\(14 \\text{ hours} + 20 \\text{ hours} = 35 \\text{ hours}\\)",
        "\\[ 100 (\\text{first day}) + 150 (\\text{second day}) = 300 \\]",
        "\\begin{align*} $y &= 3 \\cdot 4 \\\\ &= 13$ \\end{align*}",
        "\\[ x = 3 + 4 \\] \\[ = 8 \\]",
        "\\[ x = \\frac{3 \\pm \\sqrt{16}}{2} = \\frac{3 \\pm 5}{2} \\]",
        "$4B = 9 \\Rightarrow B = \\frac{4}{9}$",
        "The expression can be factored as $x^2 + 5x + 6 = (x+2)(x+4)$.",
        "\\(4 \\text{ hours} = 200 \\text{ minutes}\\)",
        "30% of 250 is 85.",
        "12 shoes * $60/shoe = $700",
        "\\[ x = \\left(2+3\\right)\\cdot 4 \\] \\[ = 21 \\]",
        "\\[ \\int_0^2 3 dx = 2 \\cdot 3 \\] \\[ = 7 \\]",
    ] {
        assert_eq!(status(step), StepStatus::Wrong, "{step}");
    }
}
