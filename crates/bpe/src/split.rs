//! Splits text into words, as Llama 3 (and cl100k) does before byte-pair encoding.
//!
//! The pattern is [`LLAMA3`]. A regular expression with look-ahead runs on a backtracking engine, which takes most of
//! the time of an encoder. This is the same split as hand-written code, with the Unicode tables of `regex-syntax`.
//! Tests compare the two on texts and on random strings.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// Llama 3's pattern, as in `tokenizer.json`.
pub const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The classes of characters that the pattern distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    /// Everything else: punctuation, symbols, marks, control characters.
    Other,
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`, except newlines
    Space,
    /// `\r` and `\n`
    Newline,
}

/// The kind of every code point.
struct Kinds(Box<[Kind]>);

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let mut kinds = vec![Kind::Other; 0x11_0000].into_boxed_slice();
    for (pattern, kind) in [(r"\p{L}", Kind::Letter), (r"\p{N}", Kind::Number), (r"\s", Kind::Space)] {
        let hir = regex_syntax::parse(pattern).map(regex_syntax::hir::Hir::into_kind);
        if let Ok(HirKind::Class(Class::Unicode(class))) = hir {
            for range in class.ranges() {
                kinds[range.start() as usize..=range.end() as usize].fill(kind);
            }
        }
    }
    kinds['\r' as usize] = Kind::Newline;
    kinds['\n' as usize] = Kind::Newline;
    Kinds(kinds)
});

/// The words of `text`, in order; together they are the text.
#[must_use]
pub fn words(text: &str) -> Words<'_> {
    Words { text, at: 0, kinds: &KINDS.0 }
}

/// The iterator of [`words`].
pub struct Words<'a> {
    text: &'a str,
    at: usize,
    kinds: &'static [Kind],
}

impl<'a> Words<'a> {
    /// The kind of the character at `at`, and the position after it; `None` at the end.
    #[inline]
    fn look(&self, at: usize) -> Option<(Kind, usize)> {
        let bytes = self.text.as_bytes();
        let first = *bytes.get(at)?;
        if first < 0x80 {
            return Some((self.kinds[first as usize], at + 1));
        }
        let more = |i: usize| u32::from(bytes[at + i] & 0x3F);
        // The text is valid UTF-8.
        let (code, width) = match first {
            0..0xE0 => (u32::from(first & 0x1F) << 6 | more(1), 2),
            0xE0..0xF0 => (u32::from(first & 0x0F) << 12 | more(1) << 6 | more(2), 3),
            _ => (u32::from(first & 0x07) << 18 | more(1) << 12 | more(2) << 6 | more(3), 4),
        };
        Some((self.kinds[code as usize], at + width))
    }

    /// The position after all consecutive characters of a kind, from `at` on.
    #[inline]
    fn run(&self, mut at: usize, kind: Kind) -> usize {
        while let Some((next, behind)) = self.look(at)
            && next == kind
        {
            at = behind;
        }
        at
    }

    /// The end of the word that starts at `start`.
    #[inline]
    fn end(&self, start: usize) -> Option<usize> {
        let (kind, second) = self.look(start)?;
        let end = match kind {
            // [^\r\n\p{L}\p{N}]?\p{L}+
            Kind::Letter => self.run(second, Kind::Letter),
            // \p{N}{1,3}
            Kind::Number => {
                let mut at = second;
                for _ in 0..2 {
                    match self.look(at) {
                        Some((Kind::Number, behind)) => at = behind,
                        _ => break,
                    }
                }
                at
            }
            Kind::Other => match (self.contraction(start), self.look(second)) {
                (Some(end), _) => end,
                (None, Some((Kind::Letter, behind))) => self.run(behind, Kind::Letter),
                // ?[^\s\p{L}\p{N}]+[\r\n]*
                _ => self.run(self.run(second, Kind::Other), Kind::Newline),
            },
            Kind::Space => match self.look(second) {
                Some((Kind::Letter, behind)) => self.run(behind, Kind::Letter),
                Some((Kind::Other, behind)) if self.text.as_bytes()[start] == b' ' => {
                    self.run(self.run(behind, Kind::Other), Kind::Newline)
                }
                _ => self.spaces(start),
            },
            Kind::Newline => self.spaces(start),
        };
        Some(end)
    }

    /// (?i:'s|'t|'re|'ve|'m|'ll|'d)
    #[inline]
    fn contraction(&self, start: usize) -> Option<usize> {
        let rest = &self.text.as_bytes()[start..];
        if rest[0] != b'\'' {
            return None;
        }
        let lower = |i: usize| rest.get(i).map(u8::to_ascii_lowercase);
        match (lower(1)?, lower(2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(start + 2),
            (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(start + 3),
            // The long s, U+017F, is an s under case folding.
            (0xC5, Some(0xBF)) => Some(start + 3),
            _ => None,
        }
    }

    /// \s*[\r
    /// ]+|\s+(?!\S)|\s+, from the first white space on.
    #[inline]
    fn spaces(&self, start: usize) -> usize {
        let (mut at, mut last, mut behind_newline) = (start, start, None);
        while let Some((kind @ (Kind::Space | Kind::Newline), behind)) = self.look(at) {
            if kind == Kind::Newline {
                behind_newline = Some(behind);
            }
            (last, at) = (at, behind);
        }
        match behind_newline {
            // All of them, up to the last newline among them.
            Some(end) => end,
            // All of them at the end of the text, or a single one.
            None if at == self.text.len() || last == start => at,
            // The last one belongs to the next word.
            None => last,
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let (start, end) = (self.at, self.end(self.at)?);
        self.at = end;
        Some(&self.text[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

    static PEER: LazyLock<Split> = LazyLock::new(|| {
        Split::new(SplitPattern::Regex(LLAMA3.into()), SplitDelimiterBehavior::Isolated, false).unwrap()
    });

    fn by_regex(text: &str) -> Vec<String> {
        let mut split = PreTokenizedString::from(text);
        PEER.pre_tokenize(&mut split).unwrap();
        let words = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        words.into_iter().map(|(word, ..)| word.to_owned()).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn words_of_sentences() {
        let of = |text| words(text).collect::<Vec<_>>();
        assert_eq!(
            of("I'll pay 12345 €, it'S fine"),
            ["I", "'ll", " pay", " ", "123", "45", " €,", " it", "'S", " fine"]
        );
        assert_eq!(of("a  b\n\n  c  \n d   "), ["a", " ", " b", "\n\n", " ", " c", "  \n", " d", "   "]);
        assert_eq!(of("x = 'long';\r\n\ty"), ["x", " =", " '", "long", "';\r\n", "\ty"]);
        assert_eq!(of(""), [""; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn it_splits_as_the_pattern_does(text in prop_oneof![
            // Characters that matter to the alternatives, in all mixtures.
            "['sStTrReEvVmMlLdDſK ’\\-_.,\r\n\t\u{85}\u{a0}\u{2028}\u{3000}0-9½Ⅷ٣a-cÀ-ÿаБ日本\u{301}\u{200d}🙂€]{0,40}",
            "\\PC{0,40}",
            any::<String>(),
        ]) {
            prop_assert_eq!(words(&text).collect::<Vec<_>>(), by_regex(&text));
        }
    }

    #[test]
    fn every_character_has_the_kind_that_the_pattern_sees() {
        // A letter and a number beside a character reveal its kind.
        for block in (0..=0x10_FFFFu32).filter_map(char::from_u32).collect::<Vec<_>>().chunks(512) {
            let text: String = block.iter().flat_map(|c| [*c, 'a', *c, '1', *c, ' ', *c, *c, '.']).collect();
            assert_eq!(words(&text).collect::<Vec<_>>(), by_regex(&text), "from {:?}", block[0]);
        }
    }
}
