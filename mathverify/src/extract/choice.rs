//! Letters of multiple-choice answers.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern::pattern;

/// The letter A to J, if `text` is a choice: `C`, `(C)`, `C)`, `C. seven`, `\text{(C)}`, `(C) seven`, `**C**`.
pub(crate) fn letter(text: &str) -> Option<char> {
    static CHOICE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^(?:\\(?:text|textbf|mathrm|mathbf|bf)\s*\{\s*)*[\s$(\[{*]*([A-J])(?:[\s)\]}*$.:]*$|\}?\s*[).:\]，。、]\s*[)}\]*]*\s*[\p{L}\d$\\-].*$)",
        )
    });
    let text = text.trim();
    if text.len() > 300 {
        return None;
    }
    let first_line = text.lines().next().unwrap_or("");
    let captured = CHOICE.captures(first_line)?;
    // `A:B = 1` is a ratio.
    let behind = first_line[captured.get(1)?.end()..].trim_start();
    if behind.starts_with(':')
        && (behind.contains('=') || !behind[1..].starts_with(char::is_whitespace))
        && behind.len() > 1
    {
        return None;
    }
    captured.get(1)?.as_str().chars().next()
}

/// Byte range and letter after the last phrase that announces a choice: `Answer: B`, `the correct option is (C)`.
pub(super) fn announced(text: &str) -> Option<(Range<usize>, char)> {
    static PHRASE: LazyLock<Regex> = LazyLock::new(|| {
        let phrases = "answer is|answer|choice is|option is|option|choose|it'?s|it is|réponse est|réponse|la respuesta es|respuesta|\
             antwort ist|antwort|resposta é|resposta|risposta è|risposta|odpowiedź to|odpowiedź|ответ|答案是|答案为|答案|选择|选";
        pattern(&format!(
            r"(?i:{phrases})(?i:\s*(?:is|for sure|definitely|clearly|probably))*\s*[:：]?\s*[\s$(\[{{*\\]*(?:text\{{\(?)?([A-J])(?:[^\p{{L}}\d'’^_+/=|]|\p{{Han}}|$)"
        ))
    });
    let start = super::floor_boundary(text, text.len().saturating_sub(8_000));
    let found = PHRASE.captures_iter(&text[start..]).filter_map(|c| c.get(1)).last()?;
    let letter = found.as_str().chars().next()?;
    Some((start + found.start()..start + found.end(), letter))
}

/// Byte range and letter of the choice in a text: after a phrase, at the start of the text, or else the last separate
/// letter that is not negated, an article or part of a formula.
pub(super) fn find(text: &str) -> Option<(Range<usize>, char)> {
    static ALONE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?:^|[^\p{L}\d'’|])([A-J])(?:[^\p{L}\d'’+*/^=_|-]|\*\*|\p{Han}|$)"));
    if let Some(found) = announced(text) {
        return Some(found);
    }
    let start = super::floor_boundary(text, text.len().saturating_sub(8_000));
    let tail = &text[start..];
    let letter = |m: regex::Match<'_>| m.as_str().chars().next().map(|c| (start + m.start()..start + m.end(), c));
    if start == 0
        && let Some(first) = super::choice_letter(text)
    {
        let at = text.find(first)?;
        return Some((at..at + 1, first));
    }
    // `C non A`, `B不是 A`: the last letter that does not follow a negation.
    let all: Vec<regex::Match<'_>> = ALONE.captures_iter(tail).filter_map(|c| c.get(1)).collect();
    let negated = |m: &regex::Match<'_>| {
        let before = tail[..m.start()].trim_end();
        ["not", "non", "nicht", "no", "不是", "nie", "не", "isn't"].iter().any(|n| before.to_lowercase().ends_with(n))
    };
    // "A" before a word in lower case is an article.
    let article = |m: &regex::Match<'_>| {
        m.as_str() == "A"
            && tail[m.end()..].starts_with(' ')
            && tail[m.end()..].trim_start().starts_with(|c: char| c.is_ascii_lowercase())
    };
    // `\overline{A}` is a formula, `\text{A}` a choice.
    let argument = |m: &regex::Match<'_>| {
        let before = tail[..m.start()].trim_end();
        let Some(command) = before.strip_suffix('{') else { return false };
        let name = command.rsplit('\\').next().unwrap_or("");
        command.contains('\\')
            && name.chars().all(|c| c.is_ascii_alphabetic())
            && !["text", "textbf", "mathrm", "mathbf", "bf", "boxed", "textrm", "textit", "mbox"].contains(&name)
    };
    all.iter().rev().find(|m| !negated(m) && !article(m) && !argument(m)).copied().and_then(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_alone_and_in_sentences() {
        for (text, expected) in
            [("C", 'C'), ("(D) Alina", 'D'), ("\\text{(C)}", 'C'), ("D. it can't be A or B", 'D'), ("$E$", 'E')]
        {
            assert_eq!(letter(text), Some(expected), "{text}");
        }
        assert_eq!(letter("Cat"), None);
        assert_eq!(letter("A dog"), None);
        for (text, expected) in [
            ("thinking about it I think the correct answer is C", 'C'),
            ("The answer is for sure D, it can't be A or B", 'D'),
            ("réponse est C non A", 'C'),
            ("B不是 A", 'B'),
        ] {
            assert_eq!(find(text).map(|f| f.1), Some(expected), "{text}");
        }
    }
}
