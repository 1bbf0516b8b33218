//! Words and sentences as the published filters count them. datatrove's verdicts use spaCy's rule-based English
//! tokenizer, so punctuation marks are separate words. [`split`] implements its prefix, suffix and infix rules, its
//! contractions and its abbreviations. Emoticons, units after numbers and addresses with user names are not
//! distinguished (see the crate's README).

use std::ops::Range;

/// Marks that are separate words at the start and the end of a word.
const PUNCTUATION: &str = ",:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪…";
const QUOTES: &str = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧";
const CURRENCY: &str = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿";

/// Abbreviations that keep their full stop.
const ABBREVIATIONS: [&str; 97] = [
    "'d", "Adm.", "Ak.", "Ala.", "Apr.", "Ariz.", "Ark.", "Aug.", "Bros.", "Calif.", "Co.", "Colo.", "Conn.", "Corp.",
    "D.C.", "Dec.", "Del.", "Dr.", "E.G.", "E.g.", "Feb.", "Fla.", "Ga.", "Gen.", "Gov.", "I.E.", "I.e.", "Ia.", "Id.",
    "Ill.", "Inc.", "Ind.", "Jan.", "Jr.", "Jul.", "Jun.", "Kan.", "Kans.", "Ky.", "La.", "Ltd.", "Mar.", "Mass.",
    "Md.", "Messrs.", "Mich.", "Minn.", "Miss.", "Mo.", "Mont.", "Mr.", "Mrs.", "Ms.", "Mt.", "N.C.", "N.D.", "N.H.",
    "N.J.", "N.M.", "N.Y.", "Neb.", "Nebr.", "Nev.", "Nov.", "Oct.", "Okla.", "Ore.", "Pa.", "Ph.D.", "Prof.", "Rep.",
    "Rev.", "S.C.", "Sen.", "Sep.", "Sept.", "St.", "Tenn.", "Va.", "Wash.", "Wis.", "a.m.", "and/or", "co.", "e.g.",
    "i.e.", "ma'am", "o'clock", "p.m.", "v.s.", "vs.", "w/o", "C++", "'cause", "'em", "'re", "'s",
];

/// Frequent faces of marks, which are one word.
#[rustfmt::skip]
const FACES: [&str; 54] = [
    "(-:", "(:", "(;", "):", "-_-", "0_0", "8)", "8D", ":'(", ":')", ":(", ":((", ":)", ":))", ":*", ":-(", ":-)",
    ":-))", ":-*", ":-/", ":-D", ":-P", ":/", ":0", ":3", ":D", ":O", ":P", ":X", ":]", ":o", ":p", ":x", ":|", ";)",
    ";-)", ";D", "</3", "<3", "<33", "<333", "=(", "=)", "=/", "=D", "=]", "=|", ">.<", "O_O", "XD", "^_^", "^__^",
    "o_o", "xD",
];

/// Words that are split into two, in sorted order, each with the length of the first part: `cannot`, `gonna`, `dont`. The rare ones that
/// are three words (`couldntve`) are not split.
#[rustfmt::skip]
const JOINED: [(&str, usize); 98] = [
    ("aint", 2), ("arent", 3), ("cannot", 3), ("cant", 2), ("couldnt", 5), ("couldve", 5), ("darent", 4),
    ("didnt", 3), ("doesnt", 4), ("dont", 2), ("gonna", 3), ("gotta", 3), ("hadnt", 3), ("hasnt", 3), ("havent", 4),
    ("hed", 2), ("hes", 2), ("howd", 3), ("howll", 3), ("howre", 3), ("hows", 3), ("howve", 3), ("id", 1), ("im", 1),
    ("isnt", 2), ("itd", 2), ("itll", 2), ("ive", 1), ("maynt", 3), ("mightnt", 5), ("mightve", 5), ("mustnt", 4),
    ("mustve", 4), ("neednt", 4), ("notve", 3), ("oughtnt", 5), ("shant", 3), ("shes", 3), ("shouldnt", 6),
    ("shouldve", 6), ("thatd", 4), ("thatll", 4), ("thats", 4), ("thered", 5), ("therell", 5), ("therere", 5),
    ("theres", 5), ("thereve", 5), ("thesed", 5), ("thesell", 5), ("thesere", 5), ("theseve", 5), ("theyd", 4),
    ("theyll", 4), ("theyre", 4), ("theyve", 4), ("thisd", 4), ("thisll", 4), ("thiss", 4), ("thosed", 5),
    ("thosell", 5), ("thosere", 5), ("thoseve", 5), ("wasnt", 3), ("wed", 2), ("werent", 4), ("weve", 2),
    ("whatd", 4), ("whatll", 4), ("whatre", 4), ("whats", 4), ("whatve", 4), ("whend", 4), ("whenll", 4),
    ("whenre", 4), ("whens", 4), ("whenve", 4), ("whered", 5), ("wherell", 5), ("wherere", 5), ("wheres", 5),
    ("whereve", 5), ("whod", 3), ("wholl", 3), ("whos", 3), ("whove", 3), ("whyd", 3), ("whyll", 3), ("whyre", 3),
    ("whys", 3), ("whyve", 3), ("wont", 2), ("wouldnt", 5), ("wouldve", 5), ("youd", 3), ("youll", 3), ("youre", 3),
    ("youve", 3),
];

/// Whether Python's `str.isspace` holds.
#[inline]
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of a text, as byte ranges in order.
#[must_use]
pub fn split(text: &str) -> Vec<Range<u32>> {
    let mut words = Vec::with_capacity(text.len() / 5);
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (is_space(c), start) {
            (false, None) => start = Some(at),
            (true, Some(begin)) => {
                chunk(text, begin, at, &mut words);
                start = None;
            }
            _ => {}
        }
    }
    if let Some(begin) = start {
        chunk(text, begin, text.len(), &mut words);
    }
    words
}

/// Splits one sequence of characters without white space.
fn chunk(text: &str, mut from: usize, mut to: usize, words: &mut Vec<Range<u32>>) {
    let push = |words: &mut Vec<Range<u32>>, a: usize, b: usize| {
        if a < b {
            words.push(a as u32..b as u32);
        }
    };
    // Most words consist of letters only.
    if text.as_bytes()[from..to].iter().all(u8::is_ascii_alphabetic) {
        let cut = joined(&text[from..to]);
        push(words, from, from + cut.unwrap_or(to - from));
        return push(words, from + cut.unwrap_or(to - from), to);
    }
    let mut behind: Vec<Range<u32>> = Vec::new();
    loop {
        let part = &text[from..to];
        if part.is_empty() {
            break;
        }
        if let Some(cut) = exception(part) {
            push(words, from, from + cut);
            push(words, from + cut, to);
            from = to;
            break;
        }
        let prefix = prefix(part);
        if prefix > 0 {
            push(words, from, from + prefix);
            from += prefix;
            continue;
        }
        let suffix = suffix(part);
        if suffix > 0 {
            push(&mut behind, to - suffix, to);
            to -= suffix;
            continue;
        }
        break;
    }
    if from < to {
        if is_address(&text[from..to]) {
            push(words, from, to);
        } else {
            infixes(text, from, to, words);
        }
    }
    words.extend(behind.into_iter().rev());
}

/// The position at which a word in the list of exceptions is split; its length if it is not split.
fn exception(part: &str) -> Option<usize> {
    let length = part.len();
    let straight = part.contains('’').then(|| part.replace('’', "'"));
    let part = straight.as_deref().unwrap_or(part);
    let bytes = part.as_bytes();
    if bytes.len() > 12 || !bytes[0].is_ascii() {
        return None;
    }
    if bytes.len() <= 4 && FACES.contains(&part) {
        return Some(length);
    }
    let has_mark = part.contains(['\'', '.', '/', '+']);
    if !has_mark {
        return time(part).or_else(|| joined(part));
    }
    // A single letter with its full stop: an initial in lower case.
    if bytes.len() == 2 && bytes[0].is_ascii_lowercase() && bytes[1] == b'.' {
        return Some(2);
    }
    if ABBREVIATIONS.contains(&part) {
        return Some(length);
    }
    if let Some(stem) = part.strip_suffix("n't") {
        let verbs = [
            "ca", "could", "do", "does", "did", "had", "may", "might", "must", "need", "ought", "sha", "should", "wo",
            "would", "ai", "are", "is", "was", "were", "have", "has", "dare",
        ];
        return verbs.contains(&&*stem.to_ascii_lowercase()).then_some(stem.len());
    }
    let (stem, rest) = part.split_once('\'').map(|(stem, _)| part.split_at(stem.len()))?;
    let low = stem.to_ascii_lowercase();
    let is = |words: &[&str]| words.contains(&&*low);
    let people = ["i", "you", "he", "she", "it", "we", "they"];
    let asking = ["who", "what", "when", "where", "why", "how", "there", "that", "this", "these", "those"];
    let known = match rest {
        "'m" => is(&["i"]),
        "'ll" | "'d" => is(&people) || is(&asking),
        "'ve" => is(&["i", "you", "we", "they", "could", "might", "must", "should", "would", "not"]) || is(&asking),
        "'re" => is(&["you", "we", "they"]) || is(&asking),
        "'s" => is(&["he", "she", "it", "let"]) || is(&asking),
        _ => false,
    };
    known.then_some(stem.len())
}

/// The position at which a contraction without an apostrophe is split; only its first letter may be a capital.
fn joined(part: &str) -> Option<usize> {
    let mut lower = [0; 8];
    let lower = lower.get_mut(..part.len())?;
    lower.copy_from_slice(part.as_bytes());
    lower.first_mut()?.make_ascii_lowercase();
    JOINED.binary_search_by(|(word, _)| word.as_bytes().cmp(lower)).ok().map(|at| JOINED[at].1)
}

/// `10am`
fn time(part: &str) -> Option<usize> {
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let hour: u32 = part[..digits].parse().ok()?;
    ((1..=12).contains(&hour) && ["am", "pm"].contains(&&part[digits..])).then_some(digits)
}

/// Whether it is a web address, which is never split.
fn is_address(part: &str) -> bool {
    if !part.contains('.') || part.len() < 4 {
        return false;
    }
    let rest = part.split_once("://").map_or(part, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if (2..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return false,
        None => host,
    };
    let Some((names, top)) = host.rsplit_once('.') else { return false };
    let is_name = |name: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c >= '\u{a1}' || c == '-' || c == '_';
        !name.is_empty() && name.chars().all(inner) && !name.ends_with(['-', '_']) && !name.starts_with(['-', '_'])
    };
    let is_top = (2..=63).contains(&top.chars().count()) && top.chars().all(|c| c.is_lowercase());
    is_top && names.split('.').all(is_name)
}

/// Number of bytes that are split off at the start.
fn prefix(part: &str) -> usize {
    let mut chars = part.chars();
    let Some(first) = chars.next() else { return 0 };
    if first.is_ascii_alphanumeric() {
        return 0;
    }
    match first {
        '.' => {
            let dots = part.bytes().take_while(|byte| *byte == b'.').count();
            if dots > 1 { dots } else { 0 }
        }
        '…' if part.starts_with("……") => 2 * '…'.len_utf8(),
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        '+' => usize::from(!chars.next().is_some_and(|next| next.is_ascii_digit())),
        _ if is_mark(first) || CURRENCY.contains(first) || is_symbol(first) => first.len_utf8(),
        _ => 0,
    }
}

/// Number of bytes that are split off at the end.
fn suffix(part: &str) -> usize {
    let mut chars = part.chars().rev();
    let Some(last) = chars.next() else { return 0 };
    if part.len() > 2 && ["'s", "'S"].iter().any(|end| part.ends_with(end)) {
        return 2;
    }
    if ["’s", "’S"].iter().any(|end| part.ends_with(end)) && part.chars().count() > 2 {
        return "’s".len();
    }
    let before = chars.next();
    if last.is_alphabetic() {
        return units(part);
    }
    match last {
        '.' => {
            let dots = part.bytes().rev().take_while(|byte| *byte == b'.').count();
            if dots > 1 {
                return if dots == part.len() { 0 } else { dots };
            }
            let Some(before) = before else { return 0 };
            let lower = before.is_lowercase() || before.is_ascii_digit() || is_uncased(before);
            let upper = before.is_uppercase() && chars.next().is_some_and(char::is_uppercase);
            usize::from(lower || "%²-+".contains(before) || is_mark(before) || upper)
        }
        '—' | '–' => last.len_utf8(),
        '+' => usize::from(before.is_some_and(|c| c.is_ascii_digit())),
        _ if is_mark(last) || is_symbol(last) => last.len_utf8(),
        _ if CURRENCY.contains(last) && before.is_some_and(|c| c.is_ascii_digit()) => last.len_utf8(),
        '%' if before.is_some_and(|c| c.is_ascii_digit()) => 1,
        _ => 0,
    }
}

/// `5km`: a unit after a digit.
fn units(part: &str) -> usize {
    const UNITS: [&str; 40] = [
        "km", "m", "dm", "cm", "mm", "ha", "µm", "nm", "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s",
        "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T", "G", "M", "K",
        "км", "м", "кг",
    ];
    let digit = part.bytes().rposition(|byte| byte.is_ascii_digit());
    let Some(at) = digit else { return 0 };
    let rest = &part[at + 1..];
    if UNITS.contains(&rest) { rest.len() } else { 0 }
}

/// Splits at marks inside a word: hyphens between letters, a comma between letters, a full stop between sentences.
fn infixes(text: &str, from: usize, to: usize, words: &mut Vec<Range<u32>>) {
    let part = &text[from..to];
    let mut start = 0;
    let mut before: Option<char> = None;
    let mut skip = 0;
    for (at, c) in part.char_indices() {
        if at < skip {
            before = Some(c);
            continue;
        }
        let rest = &part[at + c.len_utf8()..];
        let next = rest.chars().next();
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic());
        let letter_or_digit = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic() || c.is_ascii_digit());
        let length = match c {
            _ if c.is_ascii_alphanumeric() => 0,
            '.' if rest.starts_with('.') => 1 + rest.bytes().take_while(|byte| *byte == b'.').count(),
            '…' => c.len_utf8(),
            '.' => {
                let lower = before.is_some_and(|c| c.is_lowercase() || is_uncased(c) || QUOTES.contains(c));
                let upper = next.is_some_and(|c| c.is_uppercase() || is_uncased(c) || QUOTES.contains(c));
                usize::from(lower && upper)
            }
            '+' | '*' | '^' => usize::from(
                before.is_some_and(|c| c.is_ascii_digit()) && next.is_some_and(|c| c.is_ascii_digit() || c == '-'),
            ),
            ',' => usize::from(letter(before) && letter(next)),
            '-' if before.is_some_and(|c| c.is_ascii_digit())
                && next.is_some_and(|c| c.is_ascii_digit() || c == '-') =>
            {
                1
            }
            '-' | '–' | '—' | '~' => {
                let run: usize =
                    if c == '-' { 1 + rest.bytes().take(2).take_while(|byte| *byte == b'-').count() } else { 0 };
                let length = if run > 0 { run } else { c.len_utf8() };
                if letter_or_digit(before) && letter(part[at + length..].chars().next()) { length } else { 0 }
            }
            ':' | '<' | '>' | '=' | '/' => usize::from(letter_or_digit(before) && letter(next)),
            _ if is_symbol(c) => c.len_utf8(),
            _ => 0,
        };
        if length > 0 {
            if start < at {
                words.push((from + start) as u32..(from + at) as u32);
            }
            words.push((from + at) as u32..(from + at + length) as u32);
            start = at + length;
            skip = start;
        }
        before = Some(c);
    }
    if start < part.len() {
        words.push((from + start) as u32..to as u32);
    }
}

fn is_mark(c: char) -> bool {
    PUNCTUATION.contains(c) || QUOTES.contains(c)
}

/// Letters of scripts without case.
fn is_uncased(c: char) -> bool {
    c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase()
}

/// Pictures and signs that are separate words.
fn is_symbol(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1fa6d}' | '¦' | '©' | '®' | '°' | '\u{2100}'..='\u{214f}')
        && !matches!(c, '\u{2190}'..='\u{2194}' | '\u{2200}'..='\u{22ff}')
}

/// Sentences of a line with the given words: a sentence ends after `.`, `!` or `?` and the marks that follow.
#[must_use]
pub fn sentences(text: &str, words: &[Range<u32>]) -> usize {
    let mut count = 1;
    let mut ended = false;
    for word in words {
        let word = &text[word.start as usize..word.end as usize];
        let is_end = matches!(word, "." | "!" | "?" | "。" | "！" | "？" | "।" | "؟" | "۔" | "‼" | "⁇" | "⁈" | "⁉");
        if is_end {
            ended = true;
        } else if ended && !word.chars().all(is_punctuation) {
            count += 1;
            ended = false;
        }
    }
    count
}

/// Unicode punctuation, as far as it is a separate word.
fn is_punctuation(c: char) -> bool {
    (c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c))
        || matches!(c, '«' | '»' | '‘'..='‟' | '‐'..='―' | '…' | '¿' | '¡' | '·' | '、' | '。' | '「'..='】' | '（' | '）' | '，' | '：' | '；' | '？' | '！')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        split(text).iter().map(|range| &text[range.start as usize..range.end as usize]).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn as_spacy_splits() {
        // Each line was compared with spaCy 3.8.18, spacy.blank("en").
        for (text, expected) in [
            ("Hello, world!", "Hello|,|world|!"),
            ("don't can't cannot I'm we're it's John's", "do|n't|ca|n't|can|not|I|'m|we|'re|it|'s|John|'s"),
            ("I’m sure we’ll say “don’t”, whats cannot,", "I|’m|sure|we|’ll|say|“|do|n’t|”|,|what|s|can|not|,"),
            ("love <3 (:) ok", "love|<3|(|:)|ok"),
            ("Mr. Smith e.g. in the U.S. today.", "Mr.|Smith|e.g.|in|the|U.S.|today|."),
            ("well-known state-of-the-art 10-20", "well|-|known|state|-|of|-|the|-|art|10|-|20"),
            ("wait... no…", "wait|...|no|…"),
            ("\"quoted\" (text) [1]", "\"|quoted|\"|(|text|)|[|1|]"),
            ("see https://example.org/a?b=c, or example.com.", "see|https://example.org/a?b=c|,|or|example.com|."),
            ("$5.00 and 50% of 3kg", "$|5.00|and|50|%|of|3|kg"),
            ("end.Start a,b x/y", "end|.|Start|a|,|b|x|/|y"),
            ("  spaces\u{a0}and\ttabs  ", "spaces|and|tabs"),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn sentences_end_behind_their_marks() {
        let count = |text: &str| sentences(text, &split(text));
        assert_eq!(
            [count("One. Two! Three?"), count("He said \"no.\" Then left."), count("Mr. Smith left."), count("none")],
            [3, 2, 1, 1]
        );
    }
}
