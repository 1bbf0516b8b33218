//! Arithmetic in words: `20% of 80 is 16`, `the sum of 3 and 4 is 8`, `3 shirts * $5/shirt = $16`, `51 is prime`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::Claim;
use super::context::{hypothetical, sentence_start};
use super::judge::{Judged, judge_numbers};
use super::units;
use crate::budget::Budget;
use crate::pattern::pattern;

/// Longest step that is searched, in bytes.
const MAX_STEP: usize = 20_000;

/// A number in running text.
const NUMBER: &str = r"[$€£]?\d[\d,]*(?:\.\d+)?";

/// Words that multiply the number after them.
const TIMES: &str = "twice|double|triple";
/// Names of the results of operations on two numbers.
const RESULTS: &str = "sum|product|difference";
/// Operators in words; "by" may follow.
const OPERATORS: &str = "times|multiplied|divided";
/// Properties of integers, as two parts of a regex: the word that every match has, and the text after it.
const KINDS: [(&str, &str); 6] = [
    ("prime", ""),
    ("composite", ""),
    ("perfect", r"\s+square"),
    ("perfect", r"\s+cube"),
    ("divisible", r"\s+by\s+\$?(\d+)"),
    ("multiple", r"\s+of\s+\$?(\d+)"),
];

/// The claims of a step in words, not in formulas.
pub(super) fn claims(step: &str, budget: &Budget) -> Vec<Claim> {
    if step.len() > MAX_STEP || !step.bytes().any(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    // A fast test before the slower patterns below: every match of these patterns contains one of these words. Both use
    // the same word lists and case rules.
    static SAID: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!(r"(?i)\bof\b|{TIMES}|{RESULTS}|plus|minus|{OPERATORS}")));
    static KIND: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i){}", KINDS.map(|(stem, _)| stem).join("|"))));
    let said = SAID.is_match(step);
    let kinds = KIND.is_match(step);
    let calculated = step.contains('=') && step.bytes().any(|b| b.is_ascii_alphabetic());
    let mut out = Vec::new();
    if !said && !kinds && !calculated {
        return out;
    }
    let text = plain(step);
    if said {
        sentences(&text, budget, &mut out);
    }
    if calculated {
        measured(step, &text, budget, &mut out);
    }
    if kinds {
        primes(&text, &mut out);
    }
    out
}

/// The text with math delimiters, `\text` commands and words in parentheses replaced by spaces. Byte positions stay.
fn plain(step: &str) -> String {
    static REMARK: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"\([\p{L}][\p{L} '’-]*\)|\\[()\[\]]|\\(?:text|mathrm)\s*\{|\\[,;!%$ ]"));
    let mut out = String::with_capacity(step.len());
    let mut at = 0;
    for m in REMARK.find_iter(step) {
        out.push_str(&step[at..m.start()]);
        match m.as_str() {
            "\\%" => out.push_str(" %"),
            "\\$" => out.push_str(" $"),
            other => out.push_str(&" ".repeat(other.len())),
        }
        at = m.end();
    }
    out.push_str(&step[at..]);
    out.replace("\\times", "    ×").replace("\\cdot", "   ×").replace('}', " ")
}

/// Adds claims such as `N of M is K` to `out`.
fn sentences(text: &str, budget: &Budget, out: &mut Vec<Claim>) {
    static SAID: LazyLock<Regex> = LazyLock::new(|| {
        let (n, is) = (NUMBER, r"(?:\s+[\p{L}-]+){0,2}\s*(?:=|\bis\b|\bequals\b|\bis\s+equal\s+to\b)\s*");
        pattern(&format!(
            r"(?ix)
            (?: (?P<percent>\d+(?:\.\d+)?) \s*(?:%|percent) \s+of\s+ (?P<whole>{n})
              | (?P<part>half|one[\x20\-]half|a\ third|one[\x20\-]third|two[\x20\-]thirds|a\ quarter|one[\x20\-]quarter|one[\x20\-]fourth|three[\x20\-]fourths|three[\x20\-]quarters|one[\x20\-]fifth) \s+of\s+ (?P<parted>{n})
              | (?P<n>\d+)/(?P<d>\d+) \s+of\s+ (?P<of>{n})
              | (?P<double>{TIMES}) \s+ (?P<doubled>{n})
              | the\s+(?P<name>{RESULTS})\s+(?:of|between)\s+(?P<a>{n})\s+and\s+(?P<b>{n})
              | (?P<x>{n})\s+(?P<op>plus|minus|(?:{OPERATORS})(?:\s+by)?)\s+(?P<y>{n})
            ) {is} (?P<result>{n})",
            is = is.replace(' ', r"\x20"),
        ))
    });
    for c in SAID.captures_iter(text) {
        let (Some(all), Some(result)) = (c.get(0), c.name("result")) else { continue };
        if !stands_alone(text, all.range()) || hypothetical(text, &all.range()) {
            continue;
        }
        let Some(formula) = formula(&c) else { continue };
        let judged = judge_numbers(&formula, &money(result.as_str()), false, budget);
        out.push(Claim::judged(all.as_str().trim().to_owned(), judged, all.range()));
    }
}

/// The left side of a matched claim as a formula: `20% of 80` gives `20/100*80`.
fn formula(c: &Captures<'_>) -> Option<String> {
    let get = |name: &str| c.name(name).map(|m| money(m.as_str()));
    if let (Some(percent), Some(whole)) = (get("percent"), get("whole")) {
        return Some(format!("{percent}/100*{whole}"));
    }
    if let (Some(part), Some(whole)) = (get("part"), get("parted")) {
        let part = part.to_lowercase().replace('-', " ");
        let fraction = match part.as_str() {
            "half" | "one half" => "1/2",
            "a third" | "one third" => "1/3",
            "two thirds" => "2/3",
            "a quarter" | "one quarter" | "one fourth" => "1/4",
            "three fourths" | "three quarters" => "3/4",
            _ => "1/5",
        };
        return Some(format!("{fraction}*{whole}"));
    }
    if let (Some(n), Some(d), Some(whole)) = (get("n"), get("d"), get("of")) {
        return Some(format!("{n}/{d}*{whole}"));
    }
    if let (Some(times), Some(whole)) = (get("double"), get("doubled")) {
        let times = if times.eq_ignore_ascii_case("triple") { 3 } else { 2 };
        return Some(format!("{times}*{whole}"));
    }
    if let (Some(name), Some(a), Some(b)) = (get("name"), get("a"), get("b")) {
        return Some(match name.to_lowercase().as_str() {
            "sum" => format!("{a}+{b}"),
            "product" => format!("{a}*{b}"),
            _ => format!("|{a}-{b}|"),
        });
    }
    let (x, op, y) = (get("x")?, get("op")?.to_lowercase(), get("y")?);
    let sign = match op.split_whitespace().next()? {
        "plus" => '+',
        "minus" => '-',
        "divided" => '/',
        _ => '*',
    };
    Some(format!("{x}{sign}{y}"))
}

/// A number without its currency and thousands separators.
fn money(number: &str) -> String {
    number.replace(['$', '€', '£', ','], "").trim_end_matches('.').to_owned()
}

/// Whether the claim at `span` is complete: no operator or number is directly before it, and no operator, scaling word
/// or comparison directly after it.
fn stands_alone(text: &str, span: Range<usize>) -> bool {
    let before = text[..span.start].trim_end_matches([' ', '*', '(', '"', '\n']);
    let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_lowercase();
    let joins = [
        "of", "times", "plus", "minus", "by", "and", "than", "to", "or", "from", "between", "twice", "half", "not",
        "each",
    ];
    if text[..span.start].ends_with(|c: char| c.is_alphanumeric() || "$.,-_^/{".contains(c))
        || before.ends_with(|c: char| c.is_ascii_digit() || "+-*/×÷=^<>%−".contains(c))
        || joins.contains(&&*word)
    {
        return false;
    }
    let after = &text[span.end..];
    let glued = after.chars().next().is_some_and(|c| c.is_alphanumeric() || "_^!°:".contains(c));
    let decimal = after.starts_with(['.', ',']) && after[1..].starts_with(|c: char| c.is_ascii_digit());
    // A space as thousands separator: `18 000`.
    let thousands = after.strip_prefix(' ').is_some_and(|a| {
        a.len() >= 3
            && a.bytes().take(3).all(|b| b.is_ascii_digit())
            && !a[3..].starts_with(|c: char| c.is_ascii_digit())
    });
    let after = after.trim_start_matches([' ', '$', ')']);
    let word = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_lowercase();
    const CHANGES: [&str; 20] = [
        "more",
        "less",
        "times",
        "percent",
        "plus",
        "minus",
        "x",
        "fewer",
        "greater",
        "over",
        "of",
        "divided",
        "multiplied",
        "or",
        "and",
        "mod",
        "r",
        "remainder",
        "per",
        "cents",
    ];
    let single = word.len() == 1 && word != "a";
    !glued
        && !decimal
        && !single
        && !thousands
        && !after.starts_with(['+', '-', '*', '/', '×', '÷', '=', '^', '%', '\\', '−', '≈', '(', '<', '>'])
        && !CHANGES.contains(&&*word)
        && !units::scales(&word)
}

/// Whether the sentence has an operator between its last equals sign and byte `start`: the text from `start` on may
/// continue this calculation.
fn begun(text: &str, start: usize) -> bool {
    let from = crate::extract::floor_boundary(text, start.saturating_sub(200));
    let before = &text[from..start];
    let sentence = &before[sentence_start(before)..];
    sentence.rsplit('=').next().is_some_and(|rest| rest.contains(['+', '*', '×', '÷']))
}

/// Adds claims about numbers followed by words to `out`: `8 portions * 2 kg/portion = 16 kg`. `text` is [`plain`] of
/// `step`, at the same byte positions.
fn measured(step: &str, text: &str, budget: &Budget, out: &mut Vec<Claim>) {
    static CLAIM: LazyLock<Regex> = LazyLock::new(|| {
        let term =
            format!(r"{NUMBER}(?:\s?%)?(?:\x20?/?\x20?\p{{L}}[\p{{L}}'’-]*)?(?:(?:\x20|/)\p{{L}}[\p{{L}}'’-]*){{0,3}}");
        pattern(&format!(r"{term}(?:\x20*(?:[*×÷+]|\x20x\x20|\x20[-−/]\x20)\x20*{term})+\x20*=\x20*{term}"))
    });
    static TERM: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"({NUMBER}(?:\s?%)?)([^*×÷+=\d−]*)")));
    for m in CLAIM.find_iter(text) {
        // Runs of arithmetic without words, and LaTeX, are read by `running.rs` and `chain.rs`.
        let latex = step.get(m.range()).is_none_or(|s| s.replace("\\$", "").contains('\\'));
        let left = step.get(m.range()).and_then(|s| s.split('=').next()).unwrap_or("").replace(" x ", "*");
        if latex
            || !left.contains(char::is_alphabetic)
            || !stands_alone(text, m.range())
            || hypothetical(text, &m.range())
            || begun(text, m.start())
        {
            continue;
        }
        let mut words: Vec<String> = Vec::new();
        let mut formula = String::new();
        for c in TERM.captures_iter(m.as_str()) {
            let rest = &c[2];
            // ` x `, ` - ` and ` / ` are operators that the pattern includes in the words.
            let operator = [" x ", " - ", " / "].iter().find_map(|o| rest.find(o).map(|at| (at, o.trim())));
            let (word, operator) = match operator {
                Some((at, o)) => (&rest[..at], o),
                None => (rest, ""),
            };
            words.push(word.trim().trim_start_matches('/').to_lowercase().trim_end_matches('s').to_owned());
            formula.push_str(&money(&c[1]));
            let end = c.get(0).map_or(0, |all| all.end());
            formula.push_str(match operator {
                "x" => "*",
                "" => m.as_str()[end..].chars().next().map_or("", |next| match next {
                    '*' | '×' => "*",
                    '÷' => "/",
                    '+' => "+",
                    '−' => "-",
                    '=' => "=",
                    _ => "",
                }),
                other => other,
            });
        }
        let Some((left, right)) = formula.split_once('=') else { continue };
        let connects = |w: &String| {
            w.split(|c: char| !c.is_alphanumeric()).any(|w| {
                [
                    "of", "and", "or", "to", "from", "than", "more", "less", "time", "plus", "minus", "is", "are",
                    "if", "in", "x", "at",
                ]
                .contains(&w)
            })
        };
        let sum = left.contains(['+', '-']);
        words.retain(|w| !w.is_empty());
        // Words, not variables or endings: `2p` and `5 t` are products with a variable, `6th` is an ordinal.
        let named = |w: &String| {
            w.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).all(|w| {
                let unit = crate::units::is_unit(w) || crate::units::is_unit(&format!("{w}s"));
                (w.chars().count() > 2 || (unit && w.chars().count() == 2)) && !["th", "st", "nd", "rd"].contains(&w)
            })
        };
        let glued = m.as_str().as_bytes().windows(2).any(|w| w[0].is_ascii_digit() && w[1].is_ascii_uppercase());
        let scaled = glued || words.iter().any(|w| units::scales(w) || connects(w) || !named(w));
        // Not judged: different units of the same dimension (hours and minutes), and a rate such as `kg/bag` in a sum.
        let mixed = units::mixed(words.iter().map(String::as_str));
        if scaled || mixed || (sum && words.iter().any(|w| w.contains('/'))) {
            continue;
        }
        let judged = judge_numbers(left, right, false, budget);
        out.push(Claim::judged(m.as_str().to_owned(), judged, m.range()));
    }
}

/// Adds claims about properties of integers to `out`: `51 is prime`, `91 is divisible by 7`, `48 is a perfect square`.
fn primes(text: &str, out: &mut Vec<Claim>) {
    static SAID: LazyLock<Regex> = LazyLock::new(|| {
        let kinds = KINDS.map(|(stem, rest)| format!("{stem}{rest}")).join("|");
        pattern(&format!(r"(?i)(\d+)\x20?\$?\s+is\s+(not\s+)?(?:also\s+)?(?:a\s+|an\s+)?({kinds})(?:\s+number)?"))
    });
    for c in SAID.captures_iter(text) {
        let (Some(all), Some(kind)) = (c.get(0), c.get(3)) else { continue };
        let rest = &text[all.end()..];
        let goes_on =
            rest.starts_with(|c: char| {
                c.is_alphanumeric() || "^_+*/.".contains(c) && !rest.starts_with(". ") && rest.len() > 1
            }) || ["to", "factor", "only", "or", "if", "when"].iter().any(|w| rest.trim_start().starts_with(w));
        if !stands_alone(text, all.start()..all.end()) || goes_on || hypothetical(text, &all.range()) {
            continue;
        }
        let Ok(n) = c[1].parse::<u64>() else { continue };
        if !(2..1_000_000_000).contains(&n) {
            continue;
        }
        let prime = || (2..).take_while(|d| d * d <= n).all(|d| n % d != 0);
        let root = |k: u32| (1..).map(|r: u64| r.pow(k)).take_while(|p| *p <= n).any(|p| p == n);
        let by = c.get(4).or_else(|| c.get(5)).and_then(|m| m.as_str().parse::<u64>().ok());
        let kind = kind.as_str().to_lowercase();
        let holds = match (kind.split_whitespace().next_back(), by) {
            (_, Some(by)) if by > 0 => n % by == 0,
            (Some("prime"), _) => prime(),
            (Some("composite"), _) => !prime(),
            (Some("square"), _) => root(2),
            (Some("cube"), _) => root(3),
            _ => continue,
        };
        let said_so = c.get(2).is_none();
        let judged = if holds == said_so {
            Judged::True
        } else {
            Judged::False(format!("{n} is {}{kind}", if holds { "" } else { "not " }))
        };
        out.push(Claim::judged(all.as_str().to_owned(), judged, all.range()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::StepStatus::{self, Correct, NotCheckable, Wrong};

    fn said(text: &str) -> Vec<StepStatus> {
        claims(text, &Budget::of_solution()).into_iter().map(|c| c.status).collect()
    }

    #[test]
    fn words_and_units() {
        for (text, expected) in [
            ("20% of 80 is 16.", vec![Correct]),
            ("20% of $80 = $15.", vec![Wrong]),
            ("Half of 36 is 17 apples.", vec![Wrong]),
            ("The sum of 3 and 4 is 8.", vec![Wrong]),
            ("12 divided by 4 equals 3.", vec![Correct]),
            ("8 portions * 2 kg/portion = 16 kg", vec![Correct]),
            ("12 shoes * $60/shoe = $700.", vec![Wrong]),
            ("$194/meter × 490 meters = $94,860", vec![Wrong]),
            ("7995 (total cookies) - 2595 (oatmeal cookies) = 4500", vec![Wrong]),
            ("51 is prime.", vec![Wrong]),
            ("91 is divisible by 7.", vec![Correct]),
            ("If 20% of 80 is 15, then", vec![]),
            ("3 hours * 60 minutes = 180 minutes", vec![]),
            ("20% of 80 is 10 more than 6", vec![]),
            ("3 times 4 plus 5 is 17", vec![]),
            ("3 dozen * 4 = 144", vec![]),
        ] {
            let got = said(text);
            assert!(got == expected || expected.is_empty() && got.iter().all(|s| *s != Wrong), "{text}: {got:?}");
            assert!(got.iter().all(|s| *s != NotCheckable) || expected.is_empty(), "{text}: {got:?}");
        }
    }
}
