//! Embeddings from n-grams, for near-duplicates without a model. They carry no semantic information.

use std::collections::HashMap;

use ndarray::Array2;

use crate::duplicates::{Embeddings, unit_rows};
use crate::normal::{hash, words};

/// Dimensions of an embedding.
pub const DIMENSIONS: usize = 4096;

/// Words, pairs of words and sequences of five characters, hashed into a row with the sign trick (Weinberger et al.
/// 2009) and weighted by their rarity among the texts.
#[must_use]
pub fn embed(texts: &[String]) -> Embeddings {
    let grams: Vec<HashMap<u64, f32>> = texts.iter().map(|text| n_grams(text)).collect();
    let mut documents: HashMap<u64, u32> = HashMap::new();
    for gram in grams.iter().flat_map(HashMap::keys) {
        *documents.entry(*gram).or_default() += 1;
    }
    let total = texts.len() as f32;
    let mut embeddings = Array2::zeros((texts.len(), DIMENSIONS));
    for (mut row, grams) in embeddings.rows_mut().into_iter().zip(grams) {
        // A fixed order, so that sums round in the same way in every run.
        let mut sorted: Vec<(u64, f32)> = grams.into_iter().collect();
        sorted.sort_by_key(|(gram, _)| *gram);
        for (gram, count) in sorted {
            let rarity = ((1.0 + total) / (1.0 + documents.get(&gram).copied().unwrap_or(1) as f32)).ln() + 1.0;
            let sign = if gram >> 63 == 0 { 1.0 } else { -1.0 };
            row[(gram % DIMENSIONS as u64) as usize] += sign * (1.0 + count.ln()) * rarity;
        }
    }
    unit_rows(embeddings)
}

fn n_grams(text: &str) -> HashMap<u64, f32> {
    let words: Vec<String> = words(text).collect();
    let mut counts = HashMap::new();
    let mut add = |gram: &str| *counts.entry(mixed(gram)).or_default() += 1.0;
    words.iter().for_each(|word| add(word));
    words.windows(2).for_each(|pair| add(&pair.join(" ")));
    let characters: Vec<char> = words.join(" ").chars().collect();
    characters.windows(5).for_each(|run| add(&run.iter().collect::<String>()));
    counts
}

/// FNV-1a with a final mix, so that high bits are as well distributed as low ones.
fn mixed(text: &str) -> u64 {
    let folded = hash(text);
    (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_grams_tell_near_copies_from_other_texts() {
        let texts = [
            "user: What is the capital of France?\nassistant: The capital of France is Paris.\n",
            "user: what is the capital of France\nassistant: The capital of France is Paris!\n",
            "user: How do I sort a list in Python?\nassistant: Call sorted() on it.\n",
        ];
        let all = embed(&texts.map(str::to_owned));
        let cosine = |a: usize, b: usize| all.row(a).dot(&all.row(b));
        assert!(cosine(0, 1) > 0.99, "{}", cosine(0, 1));
        assert!(cosine(0, 2) < 0.2, "{}", cosine(0, 2));
        assert!((cosine(0, 0) - 1.0).abs() < 1e-5);
    }
}
