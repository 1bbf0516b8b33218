//! Determines which token sees which picture.
//!
//! The rules are those of transformers' processor. A token sees the picture of the last image token before it (an image token sees its
//! own). Adjacent image tokens form a group: later tokens see all of its pictures. Documents in one row do not see each other's pictures.

use std::ops::Range;

use tch::Tensor;

use crate::{Result, VisionError};

/// The projected features of pictures: the input of cross-attention.
pub struct States {
    /// `[places of all pictures, hidden]`
    pub values: Tensor,
    /// Number of positions of each picture.
    pub places: Vec<i64>,
}

impl States {
    /// The range of positions of some of the pictures.
    pub(crate) fn span(&self, pictures: &Range<usize>) -> (i64, i64) {
        let sum = |range: Range<usize>| self.places[range].iter().sum::<i64>();
        (sum(0..pictures.start), sum(pictures.clone()))
    }
}

/// Adjacent tokens that see the same pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The index of the first token, over all rows.
    pub start: i64,
    /// Number of tokens.
    pub length: i64,
    /// The pictures that the tokens see.
    pub pictures: Range<usize>,
}

/// The pictures of a batch, and the tokens that see them.
pub struct Sight {
    pub(crate) states: States,
    pub(crate) segments: Vec<Segment>,
}

impl Sight {
    /// For rows of `seq` tokens with one document each; `ids` are those of all rows. The pictures of `states` belong to the image tokens
    /// in order.
    ///
    /// # Errors
    /// When the numbers of image tokens and of pictures differ.
    pub fn of_rows(ids: &[i64], seq: usize, image_token: i64, states: States) -> Result<Self> {
        let documents = vec![vec![seq as i64]; ids.len() / seq.max(1)];
        Self::of_documents(ids, seq, &documents, image_token, states)
    }

    /// For rows of several documents with the given lengths.
    ///
    /// # Errors
    /// When the numbers of image tokens in the documents and of pictures differ.
    pub fn of_documents(
        ids: &[i64],
        seq: usize,
        documents: &[Vec<i64>],
        image_token: i64,
        states: States,
    ) -> Result<Self> {
        let mut segments = Vec::new();
        let mut pictures = 0;
        for (row, lengths) in documents.iter().enumerate() {
            let mut start = row * seq;
            for &length in lengths {
                let end = start + length as usize;
                pictures = look(&ids[start..end.min(ids.len())], start, image_token, pictures, &mut segments);
                start = end;
            }
        }
        if pictures != states.places.len() {
            return Err(VisionError::Pictures(format!(
                "there are {pictures} image tokens and {} pictures; each picture needs one token",
                states.places.len()
            )));
        }
        Ok(Self { states, segments })
    }

    /// For one more token at the end of a single row: it sees the same as the last token.
    #[must_use]
    pub fn of_next(&self) -> Option<Self> {
        let last = self.segments.last()?;
        let (from, count) = self.states.span(&last.pictures);
        let places = self.states.places[last.pictures.clone()].to_vec();
        let pictures = 0..places.len();
        let states = States { values: self.states.values.narrow(0, from, count), places };
        Some(Self { states, segments: vec![Segment { start: 0, length: 1, pictures }] })
    }

    /// Another handle to the same states.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let states = States { values: self.states.values.shallow_clone(), places: self.states.places.clone() };
        Self { states, segments: self.segments.clone() }
    }

    /// Number of tokens that see a picture.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

/// Adds the segments of a document whose first token has the index `offset`; returns the number of pictures up to its end.
/// end.
fn look(ids: &[i64], offset: usize, image_token: i64, before: usize, segments: &mut Vec<Segment>) -> usize {
    // The group of the last image tokens.
    let (mut first, mut next) = (before, before);
    let mut previous_is_image = false;
    for (at, &id) in ids.iter().enumerate() {
        let is_image = id == image_token;
        if is_image {
            if !previous_is_image {
                first = next;
            }
            next += 1;
        }
        previous_is_image = is_image;
        if next == before {
            continue;
        }
        let token = (offset + at) as i64;
        match segments.last_mut() {
            Some(last) if last.start + last.length == token && last.pictures == (first..next) => last.length += 1,
            _ => segments.push(Segment { start: token, length: 1, pictures: first..next }),
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ids: &[i64], seq: usize, documents: &[Vec<i64>]) -> Vec<(i64, i64, Range<usize>)> {
        torch_ext::init();
        let pictures = ids.iter().filter(|id| **id == 9).count();
        let states = States { values: Tensor::new(), places: vec![5; pictures] };
        let sight = Sight::of_documents(ids, seq, documents, 9, states).unwrap();
        sight.segments.into_iter().map(|segment| (segment.start, segment.length, segment.pictures)).collect()
    }

    #[test]
    fn tokens_see_the_last_group() {
        // Tokens before a picture see nothing; after the second picture they see only that one.
        assert_eq!(seen(&[1, 9, 2, 3, 9, 4], 6, &[vec![6]]), [(1, 3, 0..1), (4, 2, 1..2)]);
        // Adjacent pictures are seen together; the first image token only sees the first picture.
        assert_eq!(seen(&[9, 9, 1, 9, 2], 5, &[vec![5]]), [(0, 1, 0..1), (1, 2, 0..2), (3, 2, 2..3)]);
        assert_eq!(seen(&[1, 2, 9], 3, &[vec![3]]), [(2, 1, 0..1)]);
        assert_eq!(seen(&[1, 2, 3], 3, &[vec![3]]), []);
    }

    #[test]
    fn documents_and_rows_keep_apart() {
        // Two documents in the first row, then one without a picture, followed by padding.
        let ids = [9, 1, 2, 9, 3, 4, 5, 0];
        assert_eq!(seen(&ids, 4, &[vec![2, 2], vec![3]]), [(0, 2, 0..1), (3, 1, 1..2)]);
        // The same tokens as one document: the picture at the end of the first row is not seen in the second.
        assert_eq!(seen(&ids, 4, &[vec![4], vec![4]]), [(0, 3, 0..1), (3, 1, 1..2)]);
    }

    #[test]
    fn tokens_and_pictures_must_match() {
        torch_ext::init();
        let states = States { values: Tensor::new(), places: vec![5] };
        let error = Sight::of_rows(&[9, 1, 9], 3, 9, states).err().unwrap().to_string();
        assert_eq!(error, "there are 2 image tokens and 1 pictures; each picture needs one token");
    }
}
