//! References of public sets with one character or word changed.

use super::{Pair, Random, said};

const NOUNS: [&str; 6] = ["lanterns", "violins", "pebbles", "walnuts", "buckets", "sparrows"];

/// `reference` with one change; `None` when the place that was drawn cannot be changed so that it is surely different.
pub fn pair(random: &mut Random, reference: &str) -> Option<Pair> {
    // A zero can take away the change: 0/5, 2^0.
    if reference.len() > 120 || reference.trim().is_empty() || reference.contains('0') {
        return None;
    }
    // The value of a chain is its last term, whatever stands before.
    if reference.matches('=').count() > 1 {
        return None;
    }
    let chars: Vec<char> = reference.chars().collect();
    let at = (random.next() % chars.len() as u64) as usize;
    let (kind, changed) = match chars[at] {
        d if d.is_ascii_digit() => ("digit", digit(random, &chars, at)?),
        '+' | '-' => ("sign", sign(&chars, at)?),
        '<' | '>' => ("relation", put(&chars, at, if chars[at] == '<' { ">" } else { "<" })),
        c if c.is_ascii_alphabetic() => word(random, &chars, at)?,
        _ => return None,
    };
    let (pred, gold) = if random.chance(2) { (changed, reference.to_owned()) } else { (reference.to_owned(), changed) };
    Some(Pair { kind, pred: said(random, &pred), gold })
}

fn put(chars: &[char], at: usize, with: &str) -> String {
    chars[..at].iter().collect::<String>() + with + &chars[at + 1..].iter().collect::<String>()
}

/// Another digit, which is no zero and does not stand in a power of one or under one.
fn digit(random: &mut Random, chars: &[char], at: usize) -> Option<String> {
    // 1^2 and 1^3, \frac{x}{x}: only in texts where a digit counts by itself.
    let plain = !chars.contains(&'^') && !chars.contains(&'!') && !chars.contains(&'\\');
    if !plain {
        return None;
    }
    let old = chars[at];
    let new = loop {
        let new = char::from_digit(random.number(1, 9) as u32, 10)?;
        if new != old {
            break new;
        }
    };
    Some(put(chars, at, &new.to_string()))
}

/// The other sign, not in front of a bracket or inside a power, and not where both are said.
fn sign(chars: &[char], at: usize) -> Option<String> {
    let text: String = chars.iter().collect();
    if text.contains(['^', '|', '±', '{', 'e', 'E'])
        || text.contains("pm")
        || text.contains("sqrt")
        || text.contains('\\')
    {
        return None;
    }
    Some(put(chars, at, if chars[at] == '+' { "-" } else { "+" })).filter(|_| at > 0 && chars.get(at + 1).is_some())
}

/// Another variable for a letter that stands alone, another noun for a long word.
fn word(random: &mut Random, chars: &[char], at: usize) -> Option<(&'static str, String)> {
    let letter = |i: usize| chars.get(i).is_some_and(|c| c.is_alphabetic());
    let mut start = at;
    while start > 0 && letter(start - 1) {
        start -= 1;
    }
    let mut end = at + 1;
    while letter(end) {
        end += 1;
    }
    let command = start > 0 && chars[start - 1] == '\\';
    let text: String = chars.iter().collect();
    if command || text.contains("mathbb") || text.contains("begin") || text.contains("integer") {
        return None;
    }
    let join = |with: &str| chars[..start].iter().collect::<String>() + with + &chars[end..].iter().collect::<String>();
    let word: String = chars[start..end].iter().collect();
    if word.len() == 1 {
        // A letter that only counts solutions may have any name.
        let free = text.contains("f(") || text.contains("pi") || text.contains('π') || text.contains("in ");
        let other = random.pick(&["u", "v", "w", "q"]);
        let once = text.matches(&*word).count() == 1;
        return (!free && once && other != word && word != "e" && word != "i" && !text.contains('_'))
            .then(|| ("letter", join(other)));
    }
    (word.len() >= 5 && text.contains(char::is_numeric) && !text.contains('\\'))
        .then(|| ("word", join(random.pick(&NOUNS))))
}
