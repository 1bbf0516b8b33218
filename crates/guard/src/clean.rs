//! Normalises text for a guard: look-alike characters are unified, and invisible ones are removed.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// Returns the text in Unicode form NFKC with `
/// ` for every line end and without invisible characters (zero width, direction marks, soft hyphens, tags, controls), and the number of
/// removed characters. In words that contain Latin letters, Cyrillic and Greek look-alikes become Latin; words entirely in these scripts
/// are unchanged.
#[must_use]
pub fn clean(text: &str) -> (Cow<'_, str>, usize) {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n' && byte != b'\t') {
        return (Cow::Borrowed(text), 0);
    }
    let normal: Cow<str> = if is_nfkc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfkc().collect()) };
    let mut removed = 0;
    let mut cleaned = String::with_capacity(normal.len());
    let mut chars = normal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                cleaned.push('\n');
            }
            '\u{0B}' | '\u{0C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => cleaned.push('\n'),
            '\n' | '\t' => cleaned.push(c),
            c if is_invisible(c) => removed += 1,
            c => cleaned.push(c),
        }
    }
    (Cow::Owned(in_one_script(&cleaned)), removed)
}

/// Replaces letters that look like Latin ones, in words that contain Latin letters.
fn in_one_script(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_letter = c.is_alphabetic();
        let end = rest.find(|c: char| c.is_alphabetic() != is_letter).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        if is_letter && run.contains(|c: char| c.is_ascii_alphabetic()) {
            folded.extend(run.chars().map(latin));
        } else {
            folded.push_str(run);
        }
        rest = behind;
    }
    folded
}

/// The Latin letter that a Cyrillic or Greek letter looks like, according to Unicode's list of confusable characters.
fn latin(c: char) -> char {
    const LIKE: [(&str, &str); 2] = [
        (
            "\u{430}\u{435}\u{43e}\u{440}\u{441}\u{443}\u{445}\u{456}\u{458}\u{455}\u{501}\u{51b}\u{51d}\u{410}\u{412}\u{415}\u{41a}\u{41c}\u{41d}\u{41e}\u{420}\u{421}\u{422}\u{425}\u{406}\u{408}\u{405}",
            "aeopcyxijsdqwABEKMHOPCTXIJS",
        ),
        (
            "\u{3b1}\u{3bf}\u{3c1}\u{3bd}\u{3b9}\u{3c5}\u{391}\u{392}\u{395}\u{396}\u{397}\u{399}\u{39a}\u{39c}\u{39d}\u{39f}\u{3a1}\u{3a4}\u{3a5}\u{3a7}",
            "aopviuABEZHIKMNOPTYX",
        ),
    ];
    for (from, to) in LIKE {
        if let Some(at) = from.chars().position(|known| known == c) {
            return to.chars().nth(at).unwrap_or(c);
        }
    }
    c
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_alike() {
        assert_eq!(clean("plain\ttext\n"), ("plain\ttext\n".into(), 0));
        assert_eq!(clean("ｆｕｌｌ ＜ｗｉｄｔｈ＞"), ("full <width>".into(), 0));
        assert_eq!(clean("a\u{200B}b\u{202E}c\u{0}d\u{E0041}"), ("abcd".into(), 4));
        assert_eq!(clean("1\r\n2\r3\u{2028}4\u{0C}5"), ("1\n2\n3\n4\n5".into(), 0));
        assert_eq!(clean("Größe, 日本"), ("Größe, 日本".into(), 0));
        // Words that mix scripts are changed; words of one script are not.
        assert_eq!(clean("\u{440}l\u{435}as\u{435} \u{3bf}pen"), ("please open".into(), 0));
        assert_eq!(clean("привет, καλημέρα"), ("привет, καλημέρα".into(), 0));
        assert!(latin('\u{405}') == 'S' && latin('\u{3a7}') == 'X' && latin('x') == 'x');
        // The results of NFKC are cleaned as well: a circled letter, a ligature.
        assert_eq!(clean("ⓔﬁ"), ("efi".into(), 0));
    }
}
