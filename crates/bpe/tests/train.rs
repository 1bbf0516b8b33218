//! Compares trained vocabularies with Hugging Face's trainer: ids and merges.

use crate::common::{counts, made, shared, trained_by_library};
use bpe::Vocabulary;
use bpe::train::train;

fn same(ours: &Vocabulary, theirs: &Vocabulary) {
    let list = |vocabulary: &Vocabulary| -> Vec<(u32, Vec<u8>)> {
        vocabulary.tokens().map(|(id, bytes)| (id, bytes.to_vec())).collect()
    };
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(list(ours), list(theirs));
    assert_eq!(ours.merges(), theirs.merges());
}

#[test]
fn made_texts() {
    for seed in 0..4 {
        let texts = made(seed, 300);
        same(&train(&counts(&texts), 1200, 2), &trained_by_library(&texts, 1200));
    }
    // Until no further pair exists.
    let texts = made(9, 20);
    let ours = train(&counts(&texts), 100_000, 2);
    assert!(ours.len() < 5000, "{}", ours.len());
    same(&ours, &trained_by_library(&texts, 100_000));
}

/// Every `part`-th of these texts.
fn novels_languages_and_code(part: usize) {
    let mut texts = Vec::new();
    for name in ["jane_austen", "udhr", "rust_docs", "gsm8k"] {
        let Some(more) = shared(name) else { return };
        texts.extend(more.into_iter().step_by(part));
    }
    same(&train(&counts(&texts), 12_000, 2), &trained_by_library(&texts, 12_000));
}

#[test]
fn a_seventh_of_novels_languages_and_code() {
    novels_languages_and_code(7);
}

#[test]
#[ignore = "a minute; a seventh of the texts is always compared"]
fn all_novels_languages_and_code() {
    novels_languages_and_code(1);
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let texts = made(3, 400);
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&counts(&texts), 900, 2).to_json())
    };
    assert_eq!(of(1), of(3));
}
