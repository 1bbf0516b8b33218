//! Sentence boundaries by Punkt (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary Detection"), with
//! NLTK's English model and the decisions of NLTK 3.10.
//!
//! `english.txt` holds the parameters of the model, converted from the package `punkt` 1.0.5 (MIT or Apache-2.0);
//! they equal NLTK's `punkt_tab/english`. `a` is an abbreviation, `c` a collocation, `s` a frequent sentence starter,
//! `o` a word with flags for the positions and cases in which it was seen.

mod model;
mod token;

use crate::python::is_space;
use token::contains_break;

/// A place where a sentence may end: the index of the punctuation mark, the end of the text after it (exclusive), and
/// the start of the next word if white space comes first.
struct Candidate {
    mark: usize,
    context_end: usize,
    next_word: Option<usize>,
}

/// The sentences of a text, without the white space between them.
pub(crate) fn sentences(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut slices = Vec::new();
    let mut last_break = 0;
    for (word_start, candidate) in contexts(&chars) {
        if contains_break(&chars[word_start..candidate.context_end]) {
            slices.push((last_break, candidate.mark + 1));
            last_break = candidate.next_word.unwrap_or(candidate.mark + 1);
        }
    }
    let trimmed = chars.iter().rposition(|&c| !is_space(c)).map_or(0, |i| i + 1);
    slices.push((last_break, trimmed));
    realign(&chars, &slices).into_iter().map(|(start, end)| chars[start..end].iter().collect()).collect()
}

/// Closing punctuation, which may follow the mark that ends a sentence.
fn closes(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»')
}

/// Characters that cannot occur inside a word.
pub(crate) fn is_non_word(c: char) -> bool {
    closes(c) || matches!(c, ';' | '*' | ':' | '@' | '(' | '{' | '[' | '?' | '!')
}

/// Every `.`, `?` and `!` that is followed by punctuation, or by white space and a word.
fn candidates(chars: &[char]) -> Vec<Candidate> {
    let candidate = |mark: usize| {
        let next = mark + 1;
        let behind = *chars.get(next)?;
        if is_non_word(behind) {
            return Some(Candidate { mark, context_end: next + 1, next_word: None });
        }
        let start = next + chars[next..].iter().position(|&c| !is_space(c)).filter(|&n| n > 0)?;
        let end = start + chars[start..].iter().position(|&c| is_space(c)).unwrap_or(chars.len() - start);
        Some(Candidate { mark, context_end: end, next_word: Some(start) })
    };
    (0..chars.len()).filter(|&i| matches!(chars[i], '.' | '?' | '!')).filter_map(candidate).collect()
}

/// The candidates with the start of the word before each. If several share a word (`!!!`), only the last is kept.
fn contexts(chars: &[char]) -> Vec<(usize, Candidate)> {
    let mut found = Vec::new();
    let (mut start, mut stop) = (0, 0);
    let mut previous: Option<Candidate> = None;
    for candidate in candidates(chars) {
        let before = chars.get(stop..candidate.mark).unwrap_or_default();
        let space = before.iter().rposition(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')).unwrap_or(0);
        // As in NLTK, a space at the very start of the text part does not count.
        let word = if space == 0 { start } else { stop + space + 1 };
        if let Some(previous) = previous.take().filter(|_| stop <= word) {
            found.push((start, previous));
        }
        (start, stop) = (word, candidate.mark);
        previous = Some(candidate);
    }
    found.extend(previous.map(|candidate| (start, candidate)));
    found
}

/// Moves closing punctuation from the start of a sentence to the end of the one before.
fn realign(chars: &[char], slices: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut sentences = Vec::new();
    let mut moved = 0;
    for (i, &(start, end)) in slices.iter().enumerate() {
        let start = (start + moved).min(end);
        let closing = slices.get(i + 1).and_then(|&(next, next_end)| {
            closing_punctuation(chars.get(next..next_end)?).map(|(marks, all)| (next + marks, all))
        });
        match closing {
            Some((end, all)) => {
                sentences.push((start, end));
                moved = all;
            }
            None => {
                moved = 0;
                if start < end {
                    sentences.push((start, end));
                }
            }
        }
    }
    sentences
}

/// Closing marks at the start of a text, if white space, a dash or the end follows: their number, without and with
/// the white space.
fn closing_punctuation(text: &[char]) -> Option<(usize, usize)> {
    let marks = text.iter().take_while(|&&c| closes(c)).count();
    if marks == 0 {
        return None;
    }
    let spaces = text[marks..].iter().take_while(|&&c| is_space(c)).count();
    let dash = text[marks..].starts_with(&['-', '-']);
    (spaces > 0 || dash || marks == text.len()).then_some((marks, marks + spaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: NLTK 3.10.4 with punkt_tab's English model.
    #[test]
    fn sentences_as_nltk_cuts_them() {
        for (text, expected) in [
            ("Dr. Smith went to Washington. He said hi! Was it 3.5 p.m. today? Yes.", 4),
            ("Wait... what? No!!! I mean it.", 3),
            ("He said \"Stop.\" Then (quietly.) he left.", 3),
            ("J. Bach wrote it. No. 5 is best.", 3),
            ("one line\n\nanother line. end", 2),
            ("", 0),
            ("no end", 1),
        ] {
            assert_eq!(sentences(text).len(), expected, "{text}: {:?}", sentences(text));
        }
    }
}
