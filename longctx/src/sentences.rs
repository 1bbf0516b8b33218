//! Finds sentence ends, and the sentences whose borders are unambiguous.

use std::ops::Range;

/// Abbreviations: a full stop after them ends no sentence.
const ABBREVIATIONS: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "st", "prof", "col", "capt", "gen", "lieut", "rev", "hon", "esq", "sr", "jr", "messrs",
    "etc", "vs", "cf", "fig", "no", "vol", "e.g", "i.e",
];

const ENDS: [char; 3] = ['.', '!', '?'];
const CLOSERS: [char; 7] = ['"', '\'', '”', '’', ')', ']', '_'];

/// The byte offsets of sentence ends in a paragraph, after closing quotes. The last is the paragraph's end.
#[must_use]
pub fn ends(paragraph: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut rest = paragraph.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if !ENDS.contains(&c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        let mut alone = c == '.';
        while let Some((next, c)) = rest.next_if(|(_, c)| ENDS.contains(c) || CLOSERS.contains(c)) {
            alone &= !ENDS.contains(&c);
            end = next + c.len_utf8();
        }
        let mut behind = paragraph[end..].chars();
        let is_space = behind.next().is_some_and(|c| c == ' ' || c == '\n');
        let opens = behind.next().is_some_and(|c| c.is_uppercase() || c.is_ascii_digit() || "\"“'‘([_".contains(c));
        if is_space && opens && !(alone && is_abbreviation(&paragraph[..at])) {
            ends.push(end);
        }
    }
    ends.push(paragraph.len());
    ends
}

/// Whether the word at the end of `before` is an abbreviation or an initial.
fn is_abbreviation(before: &str) -> bool {
    let start = before.rfind(|c: char| c.is_whitespace() || "(\"“'‘-".contains(c)).map_or(0, |at| at + 1);
    let word = before.get(start..).unwrap_or_default();
    word.chars().count() == 1 || ABBREVIATIONS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The byte ranges of the sentences whose start and end are unambiguous: from a capital letter to the only `.`, `!` or `?`, with 5 to 40
/// words and no quotation marks.
#[must_use]
pub fn clean(paragraph: &str) -> Vec<Range<usize>> {
    let ends = ends(paragraph);
    let mut start = 0;
    let mut found = Vec::new();
    for end in ends {
        let text = &paragraph[start..end];
        let lead = text.len() - text.trim_start_matches(' ').len();
        let range = start + lead..end;
        // A sentence after one that ends with a quote or a bracket has an ambiguous start.
        let plain_before = start == 0 || (lead == 1 && paragraph[..start].ends_with(ENDS));
        if plain_before && is_clean(&paragraph[range.clone()]) {
            found.push(range);
        }
        start = end;
    }
    found
}

/// Whether a sentence on its own is unambiguous.
#[must_use]
pub fn is_clean(sentence: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || " ,;:-'’()".contains(c);
    let Some(inner) = sentence.strip_suffix(ENDS) else { return false };
    inner.starts_with(|c: char| c.is_ascii_uppercase())
        && inner.chars().all(allowed)
        && !inner.contains("  ")
        && !inner.ends_with(' ')
        && (5..=40).contains(&inner.split(' ').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        let mut start = 0;
        let pieces = ends(text).into_iter().map(|end| {
            let piece = text[start..end].trim();
            start = end;
            piece
        });
        pieces.collect()
    }

    #[test]
    fn sentences_by_hand() {
        let text = "Mr. Hall went home. \"Was it late?\" It was 3.5 miles! J. Dale said so... and then? Yes";
        assert_eq!(
            cut(text),
            ["Mr. Hall went home.", "\"Was it late?\"", "It was 3.5 miles!", "J. Dale said so... and then?", "Yes"]
        );
        assert_eq!(cut("One"), ["One"]);
    }

    #[test]
    fn only_sentences_without_doubt_are_clean() {
        let text = "The miller closed the gate behind him. He went up to Mr. Hall at noon. The river was quiet all day! \"No.\" \
                    Nobody had seen the boat that morning.";
        let found: Vec<&str> = clean(text).into_iter().map(|range| &text[range]).collect();
        // The second sentence has an abbreviation; the last follows a quotation mark.
        assert_eq!(found, ["The miller closed the gate behind him.", "The river was quiet all day!"]);
        assert!(!is_clean("Too short here."));
        assert!(!is_clean("the first letter is a small one."));
        assert!(!is_clean("There is _emphasis_ in this one here."));
    }
}
