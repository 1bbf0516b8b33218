//! Phrases that announce an answer, `#### x`, bold text, and the answer inside a sentence.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

use super::says::{says, says_number};
use super::{formula, number};

/// Byte range after the last `####`, up to the end of the line; `None` unless this text has at most four words and a
/// digit or a LaTeX command.
pub(super) fn hashes(text: &str) -> Option<Range<usize>> {
    let at = memchr::memmem::rfind(text.as_bytes(), b"####")?;
    let start = at + 4;
    let length = text[start..].find('\n').unwrap_or(text.len() - start);
    let content = &text[start..start + length];
    // A Markdown heading is not an answer.
    let digits = content.contains(|c: char| c.is_ascii_digit()) || content.contains('\\');
    (content.split_whitespace().count() <= 4 && digits && !content.trim_end().ends_with(':'))
        .then_some(start..start + length)
}

/// Phrases that announce an answer, each as three parts of a regex: what may come before the stem, the stem, and the
/// part after it. Languages: English, German, French, Italian, Portuguese, Hindi, Spanish, Thai, Polish, and others
/// with public test sets. `\b` is ASCII-only (`(?-u:\b)`): with Unicode word boundaries, one non-ASCII character in a
/// text makes the regex crate use its slow engine.
const PHRASES: &[(&str, &str, &str)] = &[
    (
        r"(?:the\s+)?(?:final|correct|right|exact)?\s*(?:numerical\s+)?",
        "answer",
        r"s?\s*(?:to\s+[^.:\n]{1,60}\s+)?(?:is|are|would\s+be|will\s+be|must\s+be|should\s+be|=)\s*(?:therefore|thus|simply|just|then|indeed)?\s*[:：]?",
    ),
    (r"(?:final\s+)?", "answer", r"s?\s*(?:\([^)\n]{1,30}\))?\s*(?:\*\*)?\s*[:：]"),
    (r"(?m:^)\s*", r"(?-i:A)\s*[:：]", ""),
    (r"(?-u:\b)", "ans", r"\.?\s*[:：=]"),
    (r"(?-u:\b)", "answer", r"\s+[-–—]\s+"),
    (r"(?m:^)\s*(?:\*\*|\#+\s*)?final\s+", "answer", r"\s*(?:\*\*)?\s*[:：]?\s*\n"),
    (
        r"(?:die\s+)?(?:endgültige\s+|richtige\s+)?",
        "antwort",
        r"\s*(?:ist|lautet|beträgt|[:：])\s*(?:daher|also)?\s*[:：]?",
    ),
    (r"(?:la\s+)?", "réponse", r"\s*(?:finale|correcte)?\s*(?:est|[:：])\s*(?:donc)?\s*[:：]?"),
    (r"(?:la\s+)?", "risposta", r"\s*(?:finale|corretta)?\s*(?:è|[:：])\s*[:：]?"),
    (r"(?:a\s+)?", "resposta", r"\s*(?:final|correta)?\s*(?:é|[:：])\s*[:：]?"),
    (r"(?:la\s+)?", "respuesta", r"\s*(?:final|correcta)?\s*(?:es|[:：])\s*[:：]?"),
    (
        r"(?:ostateczna\s+|prawidłowa\s+|poprawna\s+)?",
        "odpowied",
        r"(?:ź|zią)\s*(?:to|jest|brzmi|wynosi|[:：])\s*[:：]?",
    ),
    (r"(?:окончательный\s+)?", "ответ", r"\s*(?:равен|[:：—-])\s*"),
    ("", "उत्तर", r"\s*(?:है|[:：])?\s*[:：]?"),
    ("", "คำตอบ", r"(?:สุดท้าย)?\s*(?:คือ|[:：])\s*"),
    (r"(?:最终)?", "答案", r"\s*(?:是|为|為|[:：])\s*[:：]?"),
    ("", "答え", r"(?:は|[:：])\s*[:：]?"),
    ("", "정답", r"(?:은|[:：])\s*"),
    ("", "답", r"(?:은|[:：])\s*"),
    ("", "الإجابة", r"(?:\s+النهائي(?:ة)?)?\s*(?:هي|هو|[:：])\s*"),
    ("", "الجواب", r"(?:\s+النهائي(?:ة)?)?\s*(?:هي|هو|[:：])\s*"),
    ("", "উত্তর", r"\s*(?:হল|[:：])?\s*[:：]?"),
    ("", "సమాధానం", r"\s*[:：]?"),
    ("", "jibu", r"\s*(?:ni|[:：])\s*"),
    ("", "antwoord", r"\s*(?:is|[:：])\s*"),
    (r"(?-u:\b)", "svar", r"(?:et)?\s*(?:är|er|[:：])\s*"),
    (r"(?-u:\b)", "cevap", r"\s*[:：]\s*"),
    ("", "відповідь", r"\s*[:：—-]\s*"),
    ("", "odpověď", r"\s*(?:je|[:：])\s*"),
    ("", "răspuns", r"(?:ul)?\s*(?:este|[:：])\s*"),
    ("", "jawaban", r"(?:nya)?\s*(?:adalah|[:：])\s*"),
    ("", r"câu\s+trả\s+lời", r"\s*(?:là|[:：])\s*"),
    ("", r"đáp\s+án", r"\s*(?:là|[:：])\s*"),
];

static PHRASE: LazyLock<Regex> = LazyLock::new(|| {
    let all: Vec<String> = PHRASES.iter().map(|(before, stem, after)| format!("{before}{stem}{after}")).collect();
    pattern(&format!("(?i)(?:{})", all.join("|")))
});

/// The stems alone, with the same case rules: a fast test before the search for `PHRASE`. Every phrase contains its
/// stem, so the test misses none.
static STEM: LazyLock<Regex> = LazyLock::new(|| {
    let stems: Vec<&str> = PHRASES.iter().map(|(_, stem, _)| *stem).collect();
    pattern(&format!("(?i)(?:{})", stems.join("|")))
});

/// Byte range after the last phrase that announces an answer, up to the end of the line or of a displayed formula.
pub(super) fn find(text: &str) -> Option<Range<usize>> {
    if !STEM.is_match(text) {
        return None;
    }
    let mut best = None;
    for found in PHRASE.find_iter(text) {
        let start = found.end();
        let rest = &text[start..];
        // `The answer is not 5.`
        if ["not ", "n't ", "never "].iter().any(|n| rest.trim_start().starts_with(n)) {
            continue;
        }
        let mut trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ':');
        // In `**Answer:** 5`, these asterisks close the bold phrase; in `is **5** apples`, they open the bold answer.
        let line = &trimmed[..trimmed.find('\n').unwrap_or(trimmed.len())];
        if line.starts_with("**") && line.matches("**").count() % 2 == 1 {
            trimmed = trimmed[2..].trim_start_matches(|c: char| c.is_whitespace() || c == ':');
        }
        if line.starts_with("__") && line.matches("__").count() % 2 == 1 {
            trimmed = trimmed[2..].trim_start_matches(|c: char| c.is_whitespace() || c == ':');
        }
        let start = text.len() - trimmed.len();
        let end = start + paragraph(&text[start..]);
        // A phrase does not count if no letter or digit follows it.
        if text[start..end].contains(|c: char| c.is_alphanumeric()) {
            best = Some(start..end);
        }
    }
    best
}

/// Byte range after the last "final answer is", up to the end of the line or of a displayed formula.
pub(super) fn final_answer(text: &str) -> Option<Range<usize>> {
    static FINAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)final\s+answer\s+is\s*:?\s*"));
    memchr::memmem::find(text.as_bytes(), b"inal ")?;
    let start = FINAL.find_iter(text).last()?.end();
    Some(start..start + paragraph(&text[start..]))
}

/// Length in bytes of the first line or, if the text starts with a displayed formula, of this formula.
fn paragraph(text: &str) -> usize {
    let display = text.trim_start().starts_with("\\[") || text.trim_start().starts_with("$$");
    if display {
        let close = if text.trim_start().starts_with("\\[") { "\\]" } else { "$$" };
        let open = text.find(close).unwrap_or(0).min(text.len());
        let from = if close == "$$" { (open + 2).min(text.len()) } else { open };
        if let Some(n) = text[from..].find(close) {
            return from + n + close.len();
        }
    }
    text.find('\n').unwrap_or(text.len())
}

/// Byte range of the last bold text with a digit, if the rest of the text is short and has no number.
pub(super) fn bold(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut marks: Vec<usize> = memchr::memmem::find_iter(bytes, b"**").collect();
    if marks.len() < 2 {
        return None;
    }
    if marks.len() % 2 == 1 {
        marks.pop();
    }
    for pair in marks.chunks(2).rev().take(6) {
        let span = pair[0] + 2..pair[1];
        let content = &text[span.clone()];
        let header = content.trim_end().ends_with([':', '：']) || text[pair[1] + 2..].starts_with([':', '：']);
        let step = content.trim_start().starts_with("Step") || content.trim_start().starts_with("Case");
        let digits = content.contains(|c: char| c.is_ascii_digit());
        // Only in the last sentences: a bold number inside the solution is not the answer.
        let rest = &text[pair[1] + 2..];
        if digits && !header && !step && content.len() <= 300 && rest.len() <= 300 && number::all(rest).next().is_none()
        {
            return Some(span);
        }
    }
    None
}

/// Byte range of the answer in the text after a phrase: the whole sentence, its bold text, a formula, a number, or the
/// text after the verb.
pub(super) fn answer_in(text: &str) -> Option<Range<usize>> {
    let sentence = sentence(text);
    let body = &text[sentence.clone()];
    // Asterisks around the whole sentence are removed; in `**7** apples` they mark the answer.
    let bare = body.trim().trim_matches('*').trim();
    let marked = bare.contains("**") && body.matches("**").count() == 2;
    let trimmed = if marked { body.trim() } else { bare };
    if trimmed.is_empty() {
        return None;
    }
    let offset = trimmed.as_ptr() as usize - text.as_ptr() as usize;
    let at = |r: Range<usize>| offset + r.start..offset + r.end;
    let whole = trimmed.trim_end_matches(['.', '。', '।', '*', ' ']);
    // Bold text inside the sentence.
    if let Some(open) = whole.find("**")
        && let Some(close) = whole[open + 2..].find("**")
    {
        let content = &whole[open + 2..open + 2 + close];
        let outside = [&whole[..open], &whole[open + 4 + close..]];
        let words_alone =
            !content.trim().is_empty() && outside.iter().all(|t| !t.contains(|c: char| c.is_ascii_digit() || c == '$'));
        if words_alone || content.contains(|c: char| c.is_ascii_digit() || c == '$' || c == '\\') {
            let inner = answer_in_plain(content);
            return Some(at(open + 2 + inner.start..open + 2 + inner.end));
        }
    }
    let inner = answer_in_plain(whole);
    Some(at(inner))
}

/// Byte range of the first sentence. A full stop inside a formula, or without white space after it (`3.5`), does not
/// end the sentence.
fn sentence(text: &str) -> Range<usize> {
    let lead = text.len() - text.trim_start().len();
    let mut from = lead;
    let mut in_formula = false;
    for (i, c) in text.char_indices().skip_while(|(i, _)| *i < lead) {
        let rest = &text[i + c.len_utf8()..];
        match c {
            '$' => in_formula = !in_formula,
            '.' | '。' | '।' if !in_formula => {
                let ends =
                    c != '.' || rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with("**");
                let something = text[lead..i].contains(|c: char| c.is_alphanumeric());
                if ends && something {
                    return lead..i;
                }
            }
            _ => {}
        }
        from = i + c.len_utf8();
    }
    lead..from.max(lead)
}

/// Byte range of the answer in a sentence without bold text.
fn answer_in_plain(text: &str) -> Range<usize> {
    let whole = 0..text.len();
    // The whole sentence parses as an answer.
    if text.len() <= 400 && reads_as_answer(text) {
        return whole;
    }
    let formulas: Vec<Range<usize>> =
        formula::segments(text).into_iter().filter(|s| !text[s.clone()].trim().is_empty()).collect();
    // Several formulas joined by commas and "and" are one list.
    if let (Some(first), Some(last)) = (formulas.first(), formulas.last()) {
        let joined = formulas.windows(2).all(|w| {
            let between = text[w[0].end..w[1].start].trim_matches(|c: char| "$\\()[] ,".contains(c));
            between.is_empty() || between == "," || super::CONNECTORS.contains(&between)
        });
        let span = first.start..last.end;
        if joined && formulas.len() > 1 && reads_as_answer(&text[span.clone()]) {
            return span;
        }
        // If the sentence only mentions the formula, the whole sentence is the answer.
        let said = |span: Range<usize>| if says(text, &span) { span } else { whole.clone() };
        // The number after the verb: "the volume of $ABC$ is 120".
        if let Some(verb) = copula(text)
            && verb >= last.end
            && let Some(n) = number::all(&text[verb..]).next()
        {
            return said(verb + n.start..verb + n.end);
        }
        if let Some(verb) = copula(text)
            && let Some(behind) = formulas.iter().find(|s| s.start >= verb)
        {
            return said(behind.clone());
        }
        // `$28$ %`
        let chosen = if formulas.len() == 1 { first } else { last };
        let after = text[chosen.end..].trim_start_matches(['$', '\\', ')', ']', ' ']);
        if ["%", "percent", "pct"].iter().any(|m| after.starts_with(m)) {
            let end = text.len() - after.len()
                + if after.starts_with('%') { 1 } else { after.find(' ').unwrap_or(after.len()) };
            return said(chosen.start..end);
        }
        return said(chosen.clone());
    }
    let from = copula(text).unwrap_or(0);
    if let Some(n) = spoken_number(text) {
        return if needed_number(text).is_some() || says_number(text, &n) { n } else { whole };
    }
    // Neither formulas nor numbers: the text after the verb.
    let rest = text[from..].trim();
    let start = rest.as_ptr() as usize - text.as_ptr() as usize;
    start..start + rest.len()
}

/// Byte range of the number that a sentence states: after the verb if there is one, a price before other numbers, and
/// a number after a preposition ("in 4 hours") only if there is no other.
pub(super) fn spoken_number(text: &str) -> Option<Range<usize>> {
    if let Some(n) = needed_number(text) {
        return Some(n);
    }
    let from = copula(text).unwrap_or(0);
    let in_range = |from: usize| number::all(&text[from..]).map(|n| from + n.start..from + n.end).collect::<Vec<_>>();
    let mut numbers = in_range(from);
    if numbers.is_empty() {
        numbers = in_range(0);
    }
    const ASIDE: [&str; 28] = [
        "in", "for", "over", "within", "after", "during", "per", "every", "each", "from", "at", "by", "with", "step",
        "part", "dans", "en", "pour", "d'ici", "durante", "nach", "für", "bei", "por", "tras", "w", "przez", "mit",
    ];
    let aside = |n: &Range<usize>| {
        let word = text[..n.start].trim_end().rsplit(char::is_whitespace).next().unwrap_or("").to_lowercase();
        ASIDE.contains(&&*word)
    };
    let price = |n: &Range<usize>| text[n.clone()].contains(['$', '€', '£', '¥']);
    let behind_verb = from > 0;
    let spoken: Vec<&Range<usize>> = numbers.iter().filter(|n| !aside(n)).collect();
    let chosen = spoken.iter().find(|n| price(n)).copied().or(if behind_verb {
        spoken.first().copied()
    } else {
        spoken.last().copied()
    });
    chosen.or(numbers.last()).map(|n| formula::plain(text, n.clone()))
}

/// "20 workers are needed to ..." and "they need 12 buses to ...": the purpose follows the number.
pub(super) fn needed_number(text: &str) -> Option<Range<usize>> {
    static NEEDED: LazyLock<Regex> = LazyLock::new(|| {
        let number = r"(\d[\d,]*(?:\.\d+)?)";
        pattern(&format!(
            r"(?i)\b{number}\s+(?:[\p{{L}}-]+\s+){{0,4}}(?:is|are|were|was|(?:will|would)\s+be)\s+(?:needed|required|necessary)\b|\bneeds?\s+{number}\s+(?:[\p{{L}}-]+\s+){{1,3}}to\s+\p{{L}}"
        ))
    });
    memchr::memmem::find(text.as_bytes(), b"need")
        .or_else(|| memchr::memmem::find(text.as_bytes(), b"required"))
        .or_else(|| memchr::memmem::find(text.as_bytes(), b"necessary"))?;
    let captured = NEEDED.captures(text)?;
    captured.get(1).or_else(|| captured.get(2)).map(|m| m.range())
}

/// Byte range of the pair, interval, set or ratio at the end of a sentence: "The point is (3, 4)".
pub(super) fn spoken_brackets(text: &str) -> Option<Range<usize>> {
    if text.len() > 400 || text.contains(['\n', '$']) || !text.starts_with(char::is_alphabetic) {
        return None;
    }
    let from = [" is ", " are "].iter().filter_map(|v| text.rfind(v).map(|at| at + v.len())).max()?;
    let rest = text[from..].trim().trim_end_matches(['.', '。']);
    let start = from + (text[from..].len() - text[from..].trim_start().len());
    (is_bracketed(rest) && reads_as_answer(rest)).then_some(start..start + rest.len())
}

/// Whether a text starts like a pair, an interval or a set, or is a ratio.
fn is_bracketed(text: &str) -> bool {
    let ratio = text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | ' ' | '.'));
    ratio || text.starts_with(['(', '[', '{']) || text.starts_with("\\{") || text.starts_with("\\left")
}

/// Byte range after the last "is" or "are", if this text is an equation or several values and parses as an answer:
/// `x = 1 and x = -2`.
pub(super) fn spoken_rest(text: &str) -> Option<Range<usize>> {
    let ends = [" is ", " are ", " is: ", " are: "].iter().filter_map(|v| text.rfind(v).map(|at| at + v.len()));
    let from = ends.max()?;
    let rest = text[from..].trim().trim_end_matches(['.', '。']);
    // Several values or an equation; a single number has its own rules (`spoken_number`).
    let words = |w: &str| w.chars().filter(|c| c.is_alphabetic()).count() > 1 && !matches!(w, "and" | "or");
    let listed = rest.contains(" and ") || rest.contains(" or ") || rest.contains(", ");
    let several = rest.contains('=') || (listed && !rest.split_whitespace().any(words));
    let start = from + (text[from..].len() - text[from..].trim_start().len());
    (several && rest.len() <= 200 && reads_as_answer(rest)).then_some(start..start + rest.len())
}

/// Whether a text parses as mathematics and is not a sentence.
fn reads_as_answer(text: &str) -> bool {
    if crate::quantity::read(text).is_some() {
        return true;
    }
    match crate::parse::parse(text) {
        Ok(e) => super::answer_like(&e) && !matches!(&e, crate::ast::Expr::Text(t) if t.split_whitespace().count() > 4),
        Err(_) => false,
    }
}

/// Byte offset after the last verb or sign that states a value ("is", "are", "equals", "=", ":") and that a digit or
/// `$` follows.
fn copula(text: &str) -> Option<usize> {
    let mut best = None;
    for verb in [
        " is ",
        " are ",
        " equals ",
        " was ",
        " be ",
        " = ",
        ": ",
        " est ",
        " ist ",
        " es ",
        " é ",
        " è ",
        " wynosi ",
        " to ",
        " of exactly ",
    ] {
        if let Some(at) = text.rfind(verb)
            && (verb != " to " || !text.is_ascii())
        {
            let end = at + verb.len();
            let digits = text[end..].contains(|c: char| c.is_ascii_digit()) || text[end..].contains('$');
            // "20 workers are needed to ...": the subject is the answer.
            let passive = ["needed", "required", "necessary", "left", "used", "sold", "produced"]
                .iter()
                .any(|p| text[end..].starts_with(p));
            if digits && !passive && best.is_none_or(|b| end > b) {
                best = Some(end);
            }
        }
    }
    best
}
