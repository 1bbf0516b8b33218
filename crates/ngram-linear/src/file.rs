//! The file format of a model: a line with the kind of file, a line of JSON, then little-endian numbers of four bytes each: the used
//! buckets, their inverse document frequencies, and the rows of weights.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Vocabulary;

/// Serializes a model. `kind` is the first line, including the line break; `weights` has one or more rows with a weight for each bucket.
///
/// # Errors
/// When the header cannot be serialized.
pub fn to_bytes(
    kind: &[u8],
    head: &impl Serialize,
    vocabulary: &Vocabulary,
    weights: &[f32],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = kind.to_vec();
    bytes.extend(serde_json::to_vec(head)?);
    bytes.push(b'\n');
    vocabulary.buckets().iter().for_each(|bucket| bytes.extend(bucket.to_le_bytes()));
    vocabulary.idf.iter().chain(weights).for_each(|number| bytes.extend(number.to_le_bytes()));
    Ok(bytes)
}

/// Parses a model: the header, the vocabulary and the weights. `size` returns the numbers of buckets and of rows of weights for a header.
///
/// # Errors
/// When the file is of another kind or truncated, or when a number cannot be a weight.
pub fn from_bytes<H: DeserializeOwned>(
    kind: &[u8],
    bytes: &[u8],
    size: impl Fn(&H) -> (usize, usize),
) -> anyhow::Result<(H, Vocabulary, Vec<f32>)> {
    let name = String::from_utf8_lossy(kind);
    let rest = bytes.strip_prefix(kind).with_context(|| format!("does not begin with {:?}", name.trim_end()))?;
    let end = rest.iter().position(|&byte| byte == b'\n').context("has no header")?;
    let head: H = serde_json::from_slice(&rest[..end]).context("has a bad header")?;
    let ((buckets, rows), numbers) = (size(&head), &rest[end + 1..]);
    let expected =
        rows.checked_add(2).and_then(|rows| rows.checked_mul(buckets)).and_then(|count| count.checked_mul(4));
    ensure!(
        expected == Some(numbers.len()),
        "has {} bytes of numbers for {buckets} n-grams: it is cut off or damaged",
        numbers.len()
    );
    let four = |chunk: &[u8]| [chunk[0], chunk[1], chunk[2], chunk[3]];
    let (used, floats) = numbers.split_at(4 * buckets);
    let places: HashMap<u32, u32> =
        used.chunks_exact(4).map(|chunk| u32::from_le_bytes(four(chunk))).zip(0..).collect();
    ensure!(places.len() == buckets, "names an n-gram twice");
    let floats: Vec<f32> = floats.chunks_exact(4).map(|chunk| f32::from_le_bytes(four(chunk))).collect();
    ensure!(floats.iter().all(|number| number.is_finite()), "has a weight that is not a number");
    let vocabulary = Vocabulary { places, idf: floats[..buckets].to_vec() };
    Ok((head, vocabulary, floats[buckets..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &[u8] = b"test 1\n";

    #[test]
    fn a_damaged_file_is_told_as_such() {
        let counts = [[vec![(1, 1.0), (7, 2.0)]], [vec![(1, 1.0), (7, 1.0)]]];
        let vocabulary = Vocabulary::of(&counts);
        let weights = [0.5, -1.0, 2.0, 3.0];
        let bytes = to_bytes(KIND, &2, &vocabulary, &weights).unwrap();
        let read = |bytes: &[u8]| from_bytes(KIND, bytes, |buckets: &usize| (*buckets, 2));
        assert_eq!(read(&bytes).unwrap(), (2, vocabulary, weights.to_vec()));
        let fault = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert_eq!(fault(b"other"), "does not begin with \"test 1\"");
        assert_eq!(fault(b"test 1\n2"), "has no header");
        assert_eq!(fault(b"test 1\n\"a\"\n"), "has a bad header");
        assert!(fault(&bytes[..bytes.len() - 1]).contains("31 bytes of numbers for 2 n-grams: it is cut off"));
        let with = |at: usize, four: [u8; 4]| [&bytes[..at], &four[..], &bytes[at + 4..]].concat();
        let first = bytes.len() - 32;
        assert_eq!(fault(&with(first + 4, 1_u32.to_le_bytes())), "names an n-gram twice");
        assert_eq!(fault(&with(first + 16, f32::NAN.to_le_bytes())), "has a weight that is not a number");
    }
}
