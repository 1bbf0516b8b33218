//! All documents as one text whose paragraphs are tokenised once; passages of a given size are cut from it.

use std::ops::Range;

use anyhow::ensure;

use crate::counter::Counter;
use crate::documents::Document;
use crate::draw::Draw;
use crate::sentences;

/// The separator of paragraphs.
pub const BREAK: &str = "\n\n";

/// A sentence with unambiguous borders ([`sentences::clean`]).
#[derive(Debug, Clone)]
pub struct Clean {
    /// Bytes in the stream.
    pub bytes: Range<usize>,
    /// The index of its paragraph.
    pub paragraph: usize,
}

/// The haystack.
#[derive(Debug)]
pub struct Stream {
    /// The paragraphs, joined by the separator.
    pub text: String,
    /// The separator of paragraphs.
    pub separator: &'static str,
    /// Byte ranges of the paragraphs.
    pub paragraphs: Vec<Range<usize>>,
    /// Cumulative tokens: those of all paragraphs before this one, with separators; the last entry is the total.
    tokens: Vec<u64>,
    /// Byte offsets of sentence ends, in rising order.
    pub ends: Vec<usize>,
    /// The clean sentences, in order.
    pub clean: Vec<Clean>,
    /// The documents, each with its byte offset in the stream.
    pub documents: Vec<(usize, Document)>,
}

impl Stream {
    /// Joins documents in an order that the seed decides. With a space as `separator` instead of [`BREAK`], the paragraphs form one
    /// running text.
    ///
    /// # Errors
    /// When there is no text, or the tokenizer fails.
    pub fn new(
        mut documents: Vec<Document>,
        seed: u64,
        counter: &Counter,
        separator: &'static str,
    ) -> anyhow::Result<Self> {
        let order = |document: &Document| {
            dataset::digest::Fingerprint::new()
                .text("seed", &seed.to_string())
                .text("sha256", &document.sha256)
                .finish()
        };
        documents.sort_by_cached_key(order);
        let mut stream = Self {
            text: String::new(),
            separator,
            paragraphs: Vec::new(),
            tokens: vec![0],
            ends: Vec::new(),
            clean: Vec::new(),
            documents: Vec::new(),
        };
        for mut document in documents {
            let paragraphs = std::mem::take(&mut document.paragraphs);
            let begin = stream.text.len() + if stream.text.is_empty() { 0 } else { separator.len() };
            for paragraph in paragraphs {
                stream.push(&paragraph);
            }
            stream.documents.push((begin, document));
        }
        ensure!(!stream.paragraphs.is_empty(), "the texts hold no paragraph");
        let texts: Vec<&str> = stream.paragraphs.iter().map(|range| &stream.text[range.clone()]).collect();
        let counts = counter.paragraphs(&texts, separator)?;
        let mut sum = 0;
        for count in counts {
            sum += count;
            stream.tokens.push(sum);
        }
        Ok(stream)
    }

    fn push(&mut self, paragraph: &str) {
        if !self.text.is_empty() {
            self.text.push_str(self.separator);
        }
        let begin = self.text.len();
        self.text.push_str(paragraph);
        let number = self.paragraphs.len();
        self.paragraphs.push(begin..self.text.len());
        self.ends.extend(sentences::ends(paragraph).into_iter().map(|end| begin + end));
        let clean = sentences::clean(paragraph).into_iter();
        self.clean
            .extend(clean.map(|range| Clean { bytes: begin + range.start..begin + range.end, paragraph: number }));
    }

    /// The number of tokens of the stream.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tokens.last().copied().unwrap_or_default()
    }

    /// A passage of at most `tokens` tokens (by the counts of paragraphs) that begins with a random paragraph and ends with a sentence.
    /// `None` if the stream is shorter.
    #[must_use]
    pub fn passage(&self, tokens: u64, draw: &mut Draw) -> Option<Range<usize>> {
        let starts = self.tokens.partition_point(|before| before + tokens <= self.total());
        if starts == 0 || tokens == 0 {
            return None;
        }
        let first = draw.below(starts.min(self.paragraphs.len()));
        let wanted = self.tokens[first] + tokens;
        // The paragraph that contains the last token; the passage certainly reaches its start.
        let last = (self.tokens.partition_point(|before| *before <= wanted) - 1).min(self.paragraphs.len());
        let begin = self.paragraphs[first].start;
        let mut end = if last > first { self.paragraphs[last - 1].end } else { begin };
        if let Some(cut) = self.paragraphs.get(last) {
            let share = (wanted - self.tokens[last]) as f64 / (self.tokens[last + 1] - self.tokens[last]).max(1) as f64;
            let until = cut.start + (cut.len() as f64 * share) as usize;
            let fits = self.ends.partition_point(|sentence| *sentence <= until);
            if let Some(sentence) = fits.checked_sub(1).map(|at| self.ends[at]).filter(|at| *at > cut.start) {
                end = sentence;
            }
        }
        (end > begin).then_some(begin..end)
    }

    #[cfg(test)]
    pub(crate) fn tokens_mut(&mut self) -> &mut Vec<u64> {
        &mut self.tokens
    }

    /// The number of tokens between the starts of two paragraphs.
    #[must_use]
    pub fn between(&self, first: usize, last: usize) -> u64 {
        self.tokens[last] - self.tokens[first]
    }

    /// The clean sentences inside a passage.
    #[must_use]
    pub fn clean_in(&self, passage: &Range<usize>) -> &[Clean] {
        let from = self.clean.partition_point(|clean| clean.bytes.start < passage.start);
        let until = self.clean.partition_point(|clean| clean.bytes.end <= passage.end);
        &self.clean[from..until.max(from)]
    }

    /// The sentence ends inside a passage, except for its own end.
    #[must_use]
    pub fn ends_in(&self, passage: &Range<usize>) -> &[usize] {
        let from = self.ends.partition_point(|end| *end <= passage.start);
        let until = self.ends.partition_point(|end| *end < passage.end);
        &self.ends[from..until.max(from)]
    }

    /// The documents that a passage takes text from.
    pub fn documents_of(&self, passage: &Range<usize>) -> impl Iterator<Item = &Document> {
        let from = self.documents.partition_point(|(begin, _)| *begin <= passage.start).saturating_sub(1);
        let until = self.documents.partition_point(|(begin, _)| *begin < passage.end);
        self.documents[from..until].iter().map(|(_, document)| document)
    }

    /// The whole paragraphs of a passage, which need not be encoded, and their number of tokens.
    #[must_use]
    pub fn hollow(&self, passage: &Range<usize>) -> Option<(Range<usize>, u64)> {
        let first = self.paragraphs.partition_point(|p| p.start < passage.start + self.separator.len());
        let last = self.paragraphs.partition_point(|p| p.start < passage.end).checked_sub(1)?;
        (first < last).then(|| (self.paragraphs[first].start..self.paragraphs[last].start, self.between(first, last)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::counter::tests::counter;
    use crate::split::Split;

    /// Prose of the given number of paragraphs, none of which repeats another.
    pub(crate) fn prose(paragraphs: usize, seed: u64) -> Document {
        const WHO: [&str; 8] = [
            "The miller",
            "The baker",
            "A carter",
            "The old clerk",
            "The ferryman",
            "A tailor",
            "The gardener",
            "A smith",
        ];
        const DID: [&str; 8] = ["closed", "painted", "sold", "carried", "mended", "measured", "counted", "washed"];
        const WHAT: [&str; 8] = ["gate", "boat", "ladder", "basket", "window", "cart", "barrel", "lantern"];
        const WHEN: [&str; 6] =
            ["before dawn", "after the rain", "at noon", "on Friday", "in the dark", "during the fair"];
        let mut draw = Draw::new(seed, 0, 0, Split::Train);
        let mut text = String::new();
        for number in 0..paragraphs {
            let sentences = 2 + draw.below(4);
            for sentence in 0..sentences {
                let mut pick = |from: &[&'static str]| from[draw.below(from.len())];
                let (who, did, what, when) = (pick(&WHO), pick(&DID), pick(&WHAT), pick(&WHEN));
                let space = if sentence == 0 { "" } else { " " };
                let (place, number) = (draw.name(), number * 8 + sentence);
                text += &format!("{space}{who} {did} the {what} with number {number} {when} in {place}.");
            }
            text += "\n\n";
        }
        Document {
            name: format!("prose {seed}"),
            sha256: dataset::digest::bytes(text.as_bytes()),
            licence: "CC0-1.0".into(),
            paragraphs: crate::documents::paragraphs(&text),
        }
    }

    #[test]
    fn passages_have_the_size_that_was_asked_for() {
        let (_dir, counter) = counter();
        let stream = Stream::new(vec![prose(120, 1), prose(80, 2)], 3, &counter, BREAK).unwrap();
        assert_eq!(stream.documents.len(), 2);
        for record in 0..200 {
            let mut draw = Draw::new(5, record, 0, Split::Train);
            let passage = stream.passage(700, &mut draw).unwrap();
            let whole = counter.count(&stream.text[passage.clone()]).unwrap();
            assert!((660..=702).contains(&whole), "{whole}");
            assert!(stream.paragraphs.iter().any(|p| p.start == passage.start));
            assert!(stream.ends.contains(&passage.end));
            // The removed part has the number of tokens that is reported.
            let (range, tokens) = stream.hollow(&passage).unwrap();
            let text = &stream.text[passage.clone()];
            let rest = text[..range.start - passage.start].to_owned() + &text[range.end - passage.start..];
            assert_eq!(counter.count(&rest).unwrap() + tokens as usize, whole);
        }
        assert!(stream.passage(stream.total() + 1, &mut Draw::new(1, 1, 0, Split::Train)).is_none());
    }

    #[test]
    fn documents_and_sentences_of_a_passage() {
        let (_dir, counter) = counter();
        let stream = Stream::new(vec![prose(4, 1), prose(4, 2)], 3, &counter, BREAK).unwrap();
        let border = stream.documents[1].0;
        assert!(stream.text[border - 3..].starts_with(".\n\n"));
        let names = |range: Range<usize>| stream.documents_of(&range).map(|d| d.name.clone()).collect::<Vec<_>>();
        let (first, second) = (stream.documents[0].1.name.clone(), stream.documents[1].1.name.clone());
        assert_eq!(names(0..border - 2), std::slice::from_ref(&first));
        assert_eq!(names(0..border + 5), [first, second.clone()]);
        assert_eq!(names(border..stream.text.len()), [second]);
        let passage = stream.paragraphs[1].start..stream.paragraphs[2].end;
        let clean = stream.clean_in(&passage);
        assert_eq!(clean.first().unwrap().bytes.start, passage.start);
        assert!(clean.iter().all(|c| sentences::is_clean(&stream.text[c.bytes.clone()])));
        assert_eq!(stream.ends_in(&passage).len() + 1, clean.len());
    }
}
