//! The loss of the same tokens after contexts of different lengths. It falls as long as the model uses the longer context.

use anyhow::{Context as _, ensure};
use chat::Tokenizer;
use longctx::documents::Document;

/// Maximum number of tokens at the end of a passage whose loss is measured.
pub const TARGET: usize = 1024;

/// Documents as token ids; passages are cut from them.
#[derive(Debug)]
pub struct Passages {
    documents: Vec<Vec<i64>>,
    /// Tokens whose loss is taken.
    pub target: usize,
    longest: usize,
    first: Option<i64>,
    /// Number of documents that are shorter than the longest length.
    pub too_short: usize,
}

impl Passages {
    /// Takes the documents that have at least as many tokens as the longest of `lengths`. The predicted tokens of a document are the same
    /// at every length. Their number is a quarter of the shortest length, but at most [`TARGET`].
    ///
    /// # Errors
    /// When no document is long enough, or the tokenizer fails.
    pub fn new(documents: &[Document], tokenizer: &Tokenizer, lengths: &[usize], samples: u64) -> anyhow::Result<Self> {
        let longest = lengths.iter().max().copied().context("--lengths names none")?;
        let shortest = lengths.iter().min().copied().unwrap_or(longest);
        let target = TARGET.min(shortest / 4).max(1);
        let first = tokenizer.bos_id().map(i64::from);
        let mut all = Self { documents: Vec::new(), target, longest, first, too_short: 0 };
        for document in documents {
            let ids = tokenizer.encode(&document.paragraphs.join("\n\n"), false)?;
            if ids.len() < longest {
                all.too_short += 1;
                continue;
            }
            all.documents.push(ids.into_iter().map(i64::from).collect());
        }
        ensure!(
            !all.documents.is_empty(),
            "ppl-by-position: none of {} documents has {longest} tokens; give longer texts, or shorter --lengths",
            documents.len()
        );
        // Passages of a document do not overlap if it has enough of them.
        ensure!(samples > 0, "--samples must be at least 1");
        Ok(all)
    }

    /// The context and the predicted tokens of sample `number` at a length.
    ///
    /// # Errors
    /// When the length is more than the longest length given to [`Passages::new`].
    pub fn at(&self, number: u64, length: usize) -> anyhow::Result<(Vec<i64>, Vec<i64>)> {
        ensure!((self.target + 1..=self.longest).contains(&length), "a length of {length} tokens");
        let count = self.documents.len() as u64;
        let document = &self.documents[(number % count) as usize];
        // Passages are taken from the end of the document backwards: the first sample ends with it.
        let steps = (document.len() - self.longest) as u64 / self.target as u64 + 1;
        let back = (number / count % steps) as usize * self.target;
        let end = document.len() - back;
        let continuation = document[end - self.target..end].to_vec();
        let mut prompt = document[end - length..end - self.target].to_vec();
        if let Some(first) = self.first {
            prompt[0] = first;
        }
        Ok((prompt, continuation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_predicts_the_same_tokens() {
        let documents = vec![(0..100).collect(), (1000..1050).collect()];
        let passages = Passages { documents, target: 5, longest: 40, first: None, too_short: 0 };
        let (short, predicted) = passages.at(0, 20).unwrap();
        let (long, same) = passages.at(0, 40).unwrap();
        assert_eq!((&predicted, predicted.len()), (&same, 5));
        assert_eq!((short, long), ((80..95).collect(), (60..95).collect()));
        // The next sample is from the other document; the one after it lies earlier in the first document.
        assert_eq!(passages.at(1, 20).unwrap().1, (1045..1050).collect::<Vec<_>>());
        assert_eq!(passages.at(2, 20).unwrap().1, (90..95).collect::<Vec<_>>());
        assert!(passages.at(0, 41).is_err());
    }
}
