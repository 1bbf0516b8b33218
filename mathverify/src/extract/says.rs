//! Decides whether a sentence states a value, or only mentions it: "the sum is 5" states it; "more than 5",
//! "undefined at 5" and "x ⊕ 5" do not.
//!
//! A value is taken out of a text only if no word or sign around the value can change its meaning. Otherwise the whole
//! text is the answer.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

/// Words before a value that change it or make it a condition: `not 5`, `less than 5`, `all except 5`.
const ALTERING: &[&str] = &[
    "not",
    "never",
    "cannot",
    "except",
    "excluding",
    "without",
    "unless",
    "besides",
    "than",
    "least",
    "most",
    "between",
    "multiple",
    "multiples",
    "divisible",
    "factor",
    "factors",
    "divisor",
    "divisors",
    "power",
    "powers",
    "undefined",
    "above",
    "below",
    "over",
    "under",
    "beyond",
    "exceed",
    "exceeds",
    "exceeding",
    "fewer",
    "less",
    "modulo",
    "mod",
    "square",
    "cube",
    "root",
    "half",
    "almost",
    "nearly",
    "no",
    "none",
    "twice",
    "double",
    "triple",
    "third",
    "quarter",
    "remainder",
    "reciprocal",
    "inverse",
    "opposite",
    "multiplied",
    "divided",
    "times",
    "plus",
    "log",
    "form",
    "nicht",
    "pas",
    "nie",
    "не",
    "kein",
    "außer",
    "sauf",
];

/// Months: a number after one of them is a day.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Like [`ALTERING`], for languages without spaces: characters directly before a value.
const ALTERING_SIGNS: &[&str] = &[
    "不是",
    "不等于",
    "大于",
    "小于",
    "超过",
    "至少",
    "至多",
    "不少于",
    "不多于",
    "少于",
    "多于",
    "除了",
    "不超过",
    "以上",
    "以下",
    "介于",
];

/// Forms of "be": the value after one of them is the value of the subject.
const COPULAS: &[&str] = &[
    "is", "are", "was", "were", "be", "been", "est", "sont", "ist", "sind", "war", "es", "son", "è", "sono", "é",
    "são", "jest", "being", "it's", "it’s", "that's", "that’s",
];

/// Words with which "by" states a value: `increases by 5`.
const CHANGING: &[&str] = &[
    "given",
    "increases",
    "decreases",
    "increase",
    "decrease",
    "increased",
    "decreased",
    "grows",
    "grew",
    "rises",
    "rose",
    "falls",
    "fell",
    "drops",
    "dropped",
    "changes",
    "changed",
    "reduced",
    "reduces",
];

/// Prepositions that relate a statement to a value: `undefined at 5`, `divisible by 5`.
const PLACING: &[&str] = &["by", "at", "on", "to", "from", "near", "under", "over", "into", "among", "onto", "around"];

/// Pairs of a word and a preposition of [`PLACING`] that do state the value: `equal to 5`.
const SAYING_PAIRS: &[&str] = &[
    "equal to",
    "equals to",
    "comes to",
    "come to",
    "up to be",
    "amounts to",
    "amount to",
    "sums to",
    "simplifies to",
    "evaluates to",
    "reduces to",
    "rounds to",
    "converges to",
    "given by",
    "priced at",
    "valued at",
];

/// A verb in a clause: for English, the common verbs of word problems; for other languages, mostly "be" and "have".
static VERB: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)(?:^|[^\p{L}])(?:(?:it|that|there|he|she|here)['’]s|is|are|was|were|be|been|am|equals?|has|have|had|having|gets?|got|gives?|gave|makes?|made|",
        r"costs?|needs?|needed|takes?|took|sells?|sold|buys?|bought|spends?|spent|earns?|earned|pays?|paid|saves?|saved|",
        r"eats?|ate|uses?|used|runs?|ran|walks?|walked|drives?|drove|travels?|traveled|travelled|weighs?|weighed|loses?|lost|",
        r"wins?|won|produces?|produced|collects?|collected|reads?|read|writes?|wrote|comes?|came|goes|went|remains?|",
        r"contains?|contained|totals|adds?|sums|works?|worked|measures?|arrives?|lives?|starts?|ends?|ended|lasts?|charges?|",
        r"charged|leaves?|left|receives?|received|finds?|found|becomes?|became|can|could|will|would|should|must|does|did|do|",
        r"obtains?|obtained|yields?|returns?|holds?|scores?|scored|grows?|grew|plants?|planted|bakes?|baked|picks?|picked|",
        r"fills?|filled|owes?|owed|raises?|raised|donates?|donated|finish(?:es|ed)?|reach(?:es|ed)?|consumes?|requires?|",
        r"required|amounts?|conclude|know|see|there|simplifies|evaluates|reduces|turns|climbs?|swims?|swam|[\p{L}]{2,}ed|",
        r"(?:il|elle|on|y)\s+a|aura|auront|reste|restent|faut|coûte|gagne|braucht|bleiben|verdient|tendrá|tienen|quedan|gana|",
        r"necesita|avrà|costa|zostanie|będzie|potrzebuje|",
        r"est|sont|ont|ist|sind|hat|haben|kostet|beträgt|es|son|tiene|tienen|hay|cuesta|è|sono|ha|hanno|é|são|tem|têm|",
        r"jest|są|wynosi|ma|mają|kosztuje|равно|равна|равен|будет|имеет|है|हैं|คือ|là|ni)(?:$|[^\p{L}])|",
        r"\p{Han}{2,}|[是为有等共得需]|は|です|입니다|은|는|है|คือ|=|≈|:|：",
    ))
});

/// Text after a value that changes its meaning.
static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)^\s*(?:[%°$\\)\]}]\s*)*(?:",
        // 5 or more, 5 and above, 5 apples or more, 5 more than
        r"(?:[\p{L}'’-]+\s+){0,3}(?:or|and)\s+(?:more|less|fewer|greater|above|below|higher|lower|larger|smaller|over|under|up|beyond)\b",
        r"|(?:[\p{L}'’-]+\s+)?(?:more|less|fewer|greater|higher|lower|larger|smaller|longer|shorter|older|younger)\s+than\b",
        // 5 degrees below zero
        r"|(?:[\p{L}°]+\s+){0,2}below\s+(?:zero|freezing|sea)\b|[₀-₉⁰¹²³⁴-⁹‰]",
        // 5 and a half
        r"|and\s+(?:a|one|two|three|four|five)\s+(?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?)\b",
        // 5 (rejected), 5 (in thousands)
        r"|(?:\\text\w*\{\s*)?\(\s*(?:not|never|rejected?|extraneous|impossible|excluded|invalid|inadmissible|discarded|wrong|incorrect|undefined|in\s+(?:tens|dozens|hundreds|thousands|millions|billions))\b",
        // 5-squared, 5 dozen, 5th
        r"|-?(?:dozens?|hal(?:f|ves)|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tens|score|gross|grand|fold|th|st|nd|rd)\b|-\p{L}",
        // 1 in 5; 5 squared, 5 B.C.
        r"|(?:in|out\s+of)\s+\d[\d,]*\s*(?:[.;)*]|$)|(?:squared|cubed|doubled|tripled|halved|factorial|mod|modulo|tenths?|hundredths?|thousandths?)\b",
        r"|(?:B\.\s?C\.|A\.\s?D\.|BCE?\b|AD\b|CE\b)",
        r"|times\s+(?:as|the|more|larger|greater|bigger|that|of)\b",
        r"|(?:以上|以下|倍|不到|多)",
        // 3 apples and 5 pears; 3 to 5; 3, 5
        r"|(?:[\p{L}'’-]+\s+){0,2}(?:[\p{L}'’-]+)?\s*(?:,\s*)?(?:\b(?:and|or|to|und|oder|bis|et|ou|à|y|o)\b|,|[-–—:])\s*\$?[-−]?[$€£]?\d",
        // 5 + x, 2^k
        r"|[\^_+×÷⊕⊗∗]|\\(?:times|cdot|div|pm|mp|circ|ast|bmod|pmod|mod|le|ge|leq|geq|neq?|sqrt|frac|pi|in)\b|\*\s*[\p{L}\d(\\]|/\s*[\d(\\]|[<>≤≥]\s*[-\d\\]",
        ")",
    ))
});

/// Byte offset after the words that introduce a conclusion ("Hence", "So we get"), if a text of at most 400 bytes
/// starts with them.
pub(super) fn deduced(text: &str) -> Option<usize> {
    static LEAD: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"(?i)^(?:(?:so|hence|thus|therefore|then|finally|consequently|clearly|it\s+follows\s+that|this\s+means(?:\s+that)?",
            r"|we\s+(?:get|find|have|obtain|see|conclude)(?:\s+that)?|(?:this|which)\s+(?:gives|yields|implies)(?:\s+us)?(?:\s+that)?)",
            r"\s*[,:]?\s+)+",
        ))
    });
    // A fast test, since most texts start with another letter.
    if text.len() > 400 || !text.starts_with(|c: char| "SsHhTtFfCcIiWw".contains(c)) {
        return None;
    }
    LEAD.find(text).map(|found| found.end())
}

/// Whether the sentence `text` states the value in the byte range `value`.
pub(super) fn says(text: &str, value: &Range<usize>) -> bool {
    joins_nothing(text, value) && unaltered(text, value) && !AFTER.is_match(&text[value.end..])
}

/// Like [`says`], for a number outside formulas: in addition, a verb must come before the number, or the number must
/// come first.
pub(super) fn says_number(text: &str, value: &Range<usize>) -> bool {
    says(text, value) && placed(text, value) && (VERB.is_match(&text[..value.start]) || begins(text, value))
}

/// LaTeX commands directly before a value that only introduce the value.
const INTRODUCING: [&str; 8] = ["approx", "quad", "qquad", "Rightarrow", "implies", "therefore", "text", "because"];

/// Whether the value is not an operand: no possible operator, and no bracket that encloses it, is directly beside it.
fn joins_nothing(text: &str, value: &Range<usize>) -> bool {
    let before = text[..value.start].trim_end();
    let tight = before.len() == value.start;
    // `\neq 5`, `\pm 5`
    if let Some((_, name)) = before.rsplit_once('\\')
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphabetic())
        && !INTRODUCING.contains(&name)
    {
        return false;
    }
    let last = before.chars().next_back();
    let earlier = last.map_or("", |c| &before[..before.len() - c.len_utf8()]);
    let operand = |s: &str| s.ends_with(|c: char| c.is_ascii_digit() || matches!(c, ')' | '}' | ']'));
    // `\(` and `\[` are delimiters.
    let joined = match last.filter(|_| !earlier.ends_with('\\')) {
        // != 5, <= 5
        Some('=') => earlier.ends_with(['!', '<', '>', '~']),
        // 1:2 and 1 : 2, but `Day 1: 5`
        Some(':') => operand(earlier.trim_end()) && (tight || earlier.ends_with(' ')),
        // 10 - 4
        Some('-' | '−' | '–') => !tight && earlier.ends_with(' ') && operand(earlier.trim_end()),
        // f(5), (1,2)
        Some('(') => {
            tight
                && (earlier.ends_with(char::is_alphanumeric)
                    || text[value.clone()].contains(',')
                    || text[value.end..].starts_with(','))
        }
        Some('[' | '{' | '⌊' | '⌈' | '⟨') => tight && !earlier.ends_with("\\text") && !earlier.ends_with('$'),
        _ => false,
    };
    if joined {
        return false;
    }
    // A mark as in `5'` and `5"` means feet, inches, minutes or seconds, unless it closes a quotation.
    let mark = text[value.end..].chars().next().filter(|c| matches!(c, '\'' | '’' | '′' | '"' | '″' | '”'));
    // `5k`: a letter that scales the number.
    let scale = text[value.end..].strip_prefix(['k', 'K', 'M', 'B']);
    if scale.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())) {
        return false;
    }
    if mark.is_some() && !matches!(last, Some('\'' | '’' | '‘' | '"' | '“' | '`')) {
        return false;
    }
    let bold = before.ends_with("**");
    match before.chars().next_back() {
        None => true,
        Some(c) => {
            bold
                || c.is_alphanumeric()
                || (c.is_ascii_punctuation() && !"+/*^_<>~|&@#".contains(c))
                || matches!(c, '≈' | '：' | '，' | '。' | '、' | '—' | '–' | '−' | '→' | '⇒' | '“' | '”' | '’' | '‘' | '€' | '£' | '¥' | '₹' | '।')
                // Marks of scripts that are not letters, such as vowel signs.
                || ('\u{900}'..'\u{2000}').contains(&c)
        }
    }
}

/// The words before the value in its clause, in lower case, the last one first; at most eight.
fn words_before(text: &str, value: &Range<usize>) -> Vec<String> {
    let before = &text[..value.start];
    let clause = before.rsplit([',', ';', ':', '=', '≈', '!', '?', '。', '，', '：']).next().unwrap_or(before);
    let clause = clause.rsplit(". ").next().unwrap_or(clause);
    clause
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '$' | '\\' | '*'))
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .rev()
        .take(8)
        .collect()
}

/// Whether none of the last words changes the meaning of the value.
fn unaltered(text: &str, value: &Range<usize>) -> bool {
    let before = text[..value.start].trim_end();
    if ALTERING_SIGNS.iter().any(|s| before.ends_with(s)) {
        return false;
    }
    let words = words_before(text, value);
    // Words before a copula belong to the subject and do not change the value: "the square of 3 is 9".
    let said = words.iter().position(|w| COPULAS.contains(&&**w)).unwrap_or(5);
    // It cannot be 5; it could not have been 5.
    let denied = |at: usize| {
        words
            .get(at)
            .is_some_and(|w| matches!(&**w, "not" | "never" | "cannot") || w.ends_with("n't") || w.ends_with("n’t"))
    };
    // I doubt that it is 5.
    let doubted = |w: &String| {
        w.starts_with("doubt") || matches!(&**w, "unlikely" | "impossible" | "wrong" | "incorrect" | "false")
    };
    if words.iter().any(doubted) {
        return false;
    }
    if denied(said + 1) || (words.get(said + 1).is_some_and(|w| w == "have") && denied(said + 2)) {
        return false;
    }
    !words.iter().take(said.min(5)).any(|w| ALTERING.contains(&&**w) || w.ends_with("n't"))
        && !words.first().is_some_and(|w| w == "no" || MONTHS.contains(&&**w))
        // bounded by 5
        && (words.first().is_none_or(|w| w != "by") || words.get(1).is_some_and(|w| CHANGING.contains(&&**w)))
        // from 3 to 5
        && !(words.first().is_some_and(|w| w == "to") && words.get(1).is_some_and(|w| w.contains(char::is_numeric)))
}

/// Whether no preposition of [`PLACING`] is between the copula and the value, as in "is undefined at 5".
fn placed(text: &str, value: &Range<usize>) -> bool {
    let words = words_before(text, value);
    let Some(copula) = words.iter().position(|w| COPULAS.contains(&&**w)) else { return true };
    for (i, word) in words.iter().take(copula).enumerate() {
        if PLACING.contains(&&**word) {
            let pair = words.get(i + 1).map(|first| format!("{first} {word}"));
            if !pair.is_some_and(|pair| SAYING_PAIRS.contains(&&*pair)) {
                return false;
            }
        }
    }
    true
}

/// Whether only introducing words ("about", "so") come before the value.
fn begins(text: &str, value: &Range<usize>) -> bool {
    const HEDGES: &[&str] = &[
        "about",
        "approximately",
        "roughly",
        "around",
        "exactly",
        "only",
        "just",
        "thus",
        "so",
        "therefore",
        "hence",
        "then",
        "or",
        "option",
    ];
    text[..value.start]
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|w| !w.is_empty())
        .all(|w| HEDGES.contains(&&*w.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says_last(text: &str) -> bool {
        let value = super::super::number::last(text).unwrap();
        says_number(text, &value)
    }

    #[test]
    fn statements_say_their_value() {
        for text in [
            "The sum is -3.",
            "We get -3",
            "Her balance was $-5.",
            "She has 5 apples left.",
            "The square of 3 is 9",
            "So the total cost is therefore equal to 12 dollars.",
            "5 apples",
            "It takes 12",
            "about 12",
            "The meeting ends at 4:45.",
            "小明有10个苹果。",
        ] {
            assert!(says_last(text), "{text}");
        }
    }

    #[test]
    fn mentions_do_not() {
        for text in [
            "more than 5",
            "not 5",
            "It is not 5.",
            "undefined at 5",
            "The function is undefined at 5.",
            "n is a multiple of 3",
            "n is divisible by 3",
            "all n except 3",
            "5 or more",
            "5 apples or more",
            "It is at least 5.",
            "x ⊕ 3",
            "1s^2 2p^2",
            "2D6+3",
            "maximum at 3",
            "the answer is between 3 and 5",
            "probability 1/3 of winning",
            "大于5",
            "It is the square of 5.",
            "She isn't 5",
        ] {
            assert!(!says_last(text), "{text}");
        }
    }
}
