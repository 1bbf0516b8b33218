//! Functions on strings.

use super::value::Value;
use super::{Task, lines};
use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic};

use Difficulty::{Easy, Hard, Medium};

pub(super) const FAMILIES: [Family; 8] = [
    Family::new(Topic::Code, "count-characters", &[Easy], count_characters),
    Family::new(Topic::Code, "change-words", &[Easy, Medium], change_words),
    Family::new(Topic::Code, "shift-letters", &[Medium, Hard], shift_letters),
    Family::new(Topic::Code, "filter-words", &[Easy, Medium], filter_words),
    Family::new(Topic::Code, "replace-characters", &[Easy, Medium], replace_characters),
    Family::new(Topic::Code, "palindrome", &[Easy, Medium], palindrome).held_out(),
    Family::new(Topic::Code, "run-length", &[Medium, Hard], run_length).held_out(),
    Family::new(Topic::Code, "brackets", &[Medium, Hard], brackets),
];

const WORDS: [&str; 40] = [
    "river", "Stone", "lamp", "orange", "sky", "Tree", "level", "music", "noon", "garden", "Anna", "cloud", "pepper",
    "echo", "island", "queen", "bottle", "kayak", "winter", "Zebra", "apple", "hello", "world", "python", "moon",
    "little", "eye", "book", "coffee", "radar", "dog", "umbrella", "fox", "iron", "Otto", "yes", "quick", "jam", "art",
    "unit",
];

fn sentence(d: &mut Draw, words: i64) -> String {
    (0..words).map(|_| d.phrase(&WORDS)).collect::<Vec<_>>().join(" ")
}

fn on_text(d: &mut Draw, name: String, does: String, body: &str, run: impl Fn(&str) -> Value) -> Option<Draft> {
    let mut texts: Vec<String> = [1, 2, 3, 4, 6].iter().map(|&n| sentence(d, n)).collect();
    texts.push(String::new());
    let calls = texts.iter().map(|text| (vec![text.as_str().into()], run(text))).collect();
    Task { name, parameters: "text", does, body: lines(body), before: Vec::new(), calls }.draft()
}

fn count_characters(d: &mut Draw, _: Difficulty) -> Option<Draft> {
    let set = d.structure(&["aeiou", "e", "o", "lt", "rst", "xyz", "n", "aei", "bcd", "mnop"]);
    let times = d.number(1..=5);
    let listed = set.chars().map(|c| format!("'{c}'")).collect::<Vec<_>>().join(", ");
    let does = format!(
        "returns {times} times the number of characters of the string that are one of {listed}, in lower or upper case."
    )
    .replace("1 times ", "");
    let body =
        format!("return {times} * sum(1 for c in text.lower() if c in '{set}')").replace("return 1 * ", "return ");
    let name = if set == "aeiou" { "count_vowels".into() } else { "count_letters".into() };
    on_text(d, name, does, &body, move |text| {
        (times * text.to_lowercase().chars().filter(|&c| set.contains(c)).count() as i64).into()
    })
}

fn change_words(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (k, join) = (d.number(1..=4), d.structure(&[" ", "-", "_", ", "]));
    let kinds = [
        ("reverse", "reverses every word", "word[::-1]"),
        ("upper", "puts every word in upper case", "word.upper()"),
        ("cut", "cuts every word to its first K characters", "word[:K]"),
        ("drop", "drops the first K characters of every word", "word[K:]"),
        ("repeat", "writes every word K times without a space", "word * K"),
    ];
    let (kind, phrase, python) = d.structure(&kinds);
    let backwards = difficulty == Medium && d.structure(&[true, false]);
    let order = if backwards { " in reverse order" } else { "" };
    let fill = |text: &str| text.replace('K', &k.to_string());
    let does = format!(
        "{} of the string (words are separated by spaces) and returns the results{order}, joined by '{join}'.",
        fill(phrase)
    );
    let words = if backwards { "reversed(text.split())" } else { "text.split()" };
    let body = format!("return '{join}'.join({} for word in {words})", fill(python));
    on_text(d, format!("{kind}_words"), does, &body, move |text| {
        let k = k as usize;
        let change = |word: &str| match kind {
            "reverse" => word.chars().rev().collect(),
            "upper" => word.to_uppercase(),
            "cut" => word.chars().take(k).collect(),
            "drop" => word.chars().skip(k).collect(),
            _ => word.repeat(k),
        };
        let mut words: Vec<String> = text.split_whitespace().map(change).collect();
        if backwards {
            words.reverse();
        }
        words.join(join).into()
    })
}

fn shift_letters(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let k = d.number(1..=25);
    let back = difficulty == Hard && d.structure(&[true, false]);
    let word = if back { "back" } else { "forward" };
    let does = format!(
        "shifts every lower-case letter a to z of the string {word} by {k} places in the alphabet, wrapping around, \
         leaves all other characters as they are, and returns the result."
    );
    let sign = if back { '-' } else { '+' };
    let body = format!(
        "result = ''\nfor c in text:\n    if 'a' <= c <= 'z':\n        c = chr((ord(c) - ord('a') {sign} {k}) % 26 + \
         ord('a'))\n    result += c\nreturn result"
    );
    on_text(d, format!("shift_{word}"), does, &body, move |text| {
        let by = (if back { 26 - k } else { k }) as u8;
        text.chars()
            .map(|c| if c.is_ascii_lowercase() { ((c as u8 - b'a' + by) % 26 + b'a') as char } else { c })
            .collect::<String>()
            .into()
    })
}

fn filter_words(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (k, letter) = (d.number(3..=6), d.structure(&["a", "e", "o", "r", "n", "l"]));
    let kinds = [
        ("longer", "have more than K characters", "len(word) > K"),
        ("exactly", "have exactly K characters", "len(word) == K"),
        ("with", "contain the letter 'L'", "'L' in word"),
        ("without", "do not contain the letter 'L'", "'L' not in word"),
    ];
    let (kind, phrase, python) = d.structure(&kinds);
    let fill = |text: &str| text.replace('K', &k.to_string()).replace('L', letter);
    let count = difficulty == Easy && d.structure(&[true, false]);
    let list = format!("[word for word in text.split() if {}]", fill(python));
    let (does, body) = if count {
        (format!("returns how many words of the string {}.", fill(phrase)), format!("return len({list})"))
    } else {
        (
            format!("returns the list of the words of the string that {}, in order.", fill(phrase)),
            format!("return {list}"),
        )
    };
    on_text(d, format!("words_{kind}"), does, &body, move |text| {
        let fits = |word: &&str| match kind {
            "longer" => word.len() as i64 > k,
            "exactly" => word.len() as i64 == k,
            "with" => word.contains(letter),
            _ => !word.contains(letter),
        };
        let words: Vec<&str> = text.split_whitespace().filter(fits).collect();
        if count { (words.len() as i64).into() } else { words.into() }
    })
}

fn replace_characters(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (from, to) = (d.structure(&["a", "e", "o", "i", "l", "r"]), d.structure(&["*", "-", "x", "", "#", "_"]));
    let limit = d.number(1..=3);
    if difficulty == Easy {
        let does = if to.is_empty() {
            format!("removes every '{from}' from the string and returns the result.")
        } else {
            format!("replaces every '{from}' in the string by '{to}' and returns the result.")
        };
        let times = limit;
        let does = does.replace(
            "returns the result",
            &if times == 1 {
                "returns the result".to_owned()
            } else {
                format!("returns the result written {times} times in a row")
            },
        );
        let body = format!("return text.replace('{from}', '{to}') * {times}").replace(" * 1", "");
        return on_text(d, "replace_letters".into(), does, &body, move |text| {
            text.replace(from, to).repeat(times as usize).into()
        });
    }
    let does = format!(
        "replaces the first {limit} occurrences of '{from}' in the string by '{to}' and returns the result in lower \
         case."
    );
    let body = format!("return text.replace('{from}', '{to}', {limit}).lower()");
    on_text(d, "replace_first".into(), does, &body, move |text| {
        text.replacen(from, to, limit as usize).to_lowercase().into()
    })
}

fn palindrome(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let least = d.number(1..=6);
    let whole = difficulty == Easy;
    let is = |word: &str| {
        let word = word.to_lowercase();
        word.len() as i64 >= least && word.chars().eq(word.chars().rev())
    };
    if whole {
        let mut words: Vec<&str> = vec!["level", "noon", "Anna", "a", "xx"];
        words.extend((0..3).map(|_| d.phrase(&WORDS)));
        let calls = words.iter().map(|&word| (vec![word.into()], is(word).into())).collect();
        let does = format!(
            "returns True if the word reads the same backwards, whatever the case of its letters, and has at least \
             {least} characters, else False."
        );
        let body = format!("word = word.lower()\nreturn word == word[::-1] and len(word) >= {least}");
        return Task {
            name: "is_palindrome".into(),
            parameters: "word",
            does,
            body: lines(&body),
            before: Vec::new(),
            calls,
        }
        .draft();
    }
    let does = format!(
        "returns how many words of the string have at least {least} characters and read the same backwards, whatever \
         the case of their letters."
    );
    let body = format!(
        "count = 0\nfor word in text.lower().split():\n    if word == word[::-1] and len(word) >= {least}:\n        \
         count += 1\nreturn count"
    );
    let mut texts: Vec<String> = ["noon Anna river", "a level kayak", ""].iter().map(|&t| t.to_owned()).collect();
    texts.extend((2..6).map(|n| sentence(d, n)));
    let calls = texts
        .iter()
        .map(|text| (vec![text.as_str().into()], (text.split_whitespace().filter(|w| is(w)).count() as i64).into()))
        .collect();
    Task { name: "count_palindromes".into(), parameters: "text", does, body: lines(&body), before: Vec::new(), calls }
        .draft()
}

fn run_length(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (before, single) = (d.structure(&[true, false]), d.structure(&[true, false]));
    let run = move |text: &str| {
        let chars: Vec<char> = text.chars().collect();
        let one = |run: &[char]| match (run.len(), before) {
            (1, _) if !single => run[0].to_string(),
            (n, true) => format!("{n}{}", run[0]),
            (n, false) => format!("{}{n}", run[0]),
        };
        chars.chunk_by(|a, b| a == b).map(one).collect::<String>()
    };
    let order = if before {
        "the number of repetitions followed by the character"
    } else {
        "the character followed by the number of repetitions"
    };
    let ones = if single { "" } else { "; a character that is not repeated is written without a number" };
    let texts = ["aaabcc", "a", "", "zzzzzzzzzzzz", "abab", "xxyyyz"];
    if difficulty == Medium {
        let does = format!(
            "compresses a string: every run of equal characters becomes {order}{ones}. It returns the compressed \
             string."
        );
        let piece = if before { "str(n) + c" } else { "c + str(n)" };
        let piece = if single { piece.to_owned() } else { format!("c if n == 1 else {piece}") };
        let body = format!(
            "pieces = []\nfor c, run in itertools.groupby(text):\n    n = len(list(run))\n    \
             pieces.append({piece})\nreturn ''.join(pieces)"
        );
        let calls = texts.iter().map(|&text| (vec![text.into()], run(text).into())).collect();
        return Task {
            name: "compress".into(),
            parameters: "text",
            does,
            body: lines(&body),
            before: vec!["import itertools"],
            calls,
        }
        .draft();
    }
    if !single {
        return None;
    }
    let does = format!(
        "expands a compressed string in which every run of equal letters was written as {order}. It returns the \
         original string."
    );
    let pattern = if before {
        "for n, c in re.findall(r'(\\d+)(\\D)', text)"
    } else {
        "for c, n in re.findall(r'(\\D)(\\d+)', text)"
    };
    let body = format!("return ''.join(c * int(n) {pattern})");
    let calls = texts.iter().map(|&text| (vec![run(text).into()], text.into())).collect();
    Task { name: "expand".into(), parameters: "text", does, body: lines(&body), before: vec!["import re"], calls }
        .draft()
}

fn brackets(d: &mut Draw, difficulty: Difficulty) -> Option<Draft> {
    let (open, close) = d.structure(&[("(", ")"), ("[", "]"), ("{", "}"), ("<", ">")]);
    let limit = d.number(1..=4);
    let pairs = ["()", "(())", "(()", ")(", "", "()()(())", "((()))", "(((())))", "())("]
        .map(|t| t.replace('(', open).replace(')', close));
    let depth = move |text: &str| {
        let (mut now, mut most) = (0i64, 0i64);
        for c in text.chars() {
            now += if c.to_string() == open { 1 } else { -1 };
            most = most.max(now);
            if now < 0 {
                return None;
            }
        }
        (now == 0).then_some(most)
    };
    let walk = format!(
        "depth = deepest = 0\nfor c in text:\n    depth += 1 if c == '{open}' else -1\n    deepest = max(deepest, \
         depth)\n    if depth < 0:\n        return BAD\n"
    );
    if difficulty == Medium {
        let does = format!(
            "returns True if a string of '{open}' and '{close}' is balanced and never nested deeper than {limit}, \
             else False."
        );
        let body = walk.replace("BAD", "False") + &format!("return depth == 0 and deepest <= {limit}");
        let calls = pairs
            .iter()
            .map(|t| (vec![t.as_str().into()], depth(t).is_some_and(|most| most <= limit).into()))
            .collect();
        return Task {
            name: "is_balanced".into(),
            parameters: "text",
            does,
            body: lines(&body),
            before: Vec::new(),
            calls,
        }
        .draft();
    }
    let does = format!(
        "returns the deepest nesting of a balanced string of '{open}' and '{close}' multiplied by {limit}, or -1 if \
         the string is not balanced."
    );
    let body = walk.replace("BAD", "-1") + &format!("return deepest * {limit} if depth == 0 else -1");
    let calls =
        pairs.iter().map(|t| (vec![t.as_str().into()], depth(t).map_or(-1, |most| most * limit).into())).collect();
    Task { name: "deepest".into(), parameters: "text", does, body: lines(&body), before: Vec::new(), calls }.draft()
}
