//! Compares ids with those of Hugging Face's library.

use std::sync::LazyLock;

use crate::common::{counts, first_difference, loaded_by_library, made, shared};
use bpe::train::train;
use bpe::{Encoder, Scratch, Vocabulary, llama3_special_tokens};
use proptest::prelude::*;
use tokenizers::Tokenizer;

/// Vocabularies of generated texts, with and without lookup of whole words.
static SMALL: LazyLock<[Vocabulary; 2]> = LazyLock::new(|| {
    let mut vocabulary = train(&counts(&made(1, 500)), 1500, 2);
    vocabulary.add_special(&llama3_special_tokens());
    let mut plain = vocabulary.clone();
    plain.ignore_merges = false;
    [vocabulary, plain]
});
static PAIRS: LazyLock<Vec<(Encoder, Tokenizer)>> = LazyLock::new(|| {
    SMALL.iter().map(|vocabulary| (Encoder::new(vocabulary.clone()), loaded_by_library(vocabulary))).collect()
});

fn same_ids(text: &str) -> Result<(), TestCaseError> {
    for (encoder, library) in PAIRS.iter() {
        let theirs = library.encode_fast(text, false).unwrap();
        let ours = encoder.ids(text).unwrap();
        prop_assert_eq!(&ours, theirs.get_ids());
        prop_assert_eq!(encoder.vocabulary().unwrap().decode(&ours).unwrap(), text.as_bytes());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn random_texts(text in prop_oneof![
        any::<String>(),
        "\\PC{0,60}",
        "[a-e' \\n0-9дас日本é—🙂]{0,80}",
        // Pieces of words, also of very long ones: the heap and the scan give the same result.
        "(an|the|er|ing|qu|str|eau|да|ов|ск|日|本|aaa|क्|ा){0,120}",
        "(a|aa|aaa|ab){0,200}",
    ]) {
        same_ids(&text)?;
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        same_ids(&String::from_utf8_lossy(&bytes))?;
        for (encoder, _) in PAIRS.iter() {
            let ids = encoder.encode_bytes(&bytes).unwrap();
            prop_assert_eq!(encoder.vocabulary().unwrap().decode(&ids).unwrap(), bytes.clone());
        }
    }
}

#[test]
fn special_tokens_in_a_text_are_text() {
    let text = "a<|end_of_text|>b <|begin_of_text|>";
    same_ids(text).unwrap();
    let special = SMALL[0].added_id("<|end_of_text|>").unwrap();
    assert!(!PAIRS[0].0.ids(text).unwrap().contains(&special));
}

#[test]
fn a_very_long_word_takes_no_quadratic_time() {
    let (encoder, _) = &PAIRS[0];
    let word = "aé".repeat(1 << 19);
    let start = std::time::Instant::now();
    let ids = encoder.ids(&word).unwrap();
    // A scan for the lowest rank would take hours.
    assert!(start.elapsed().as_secs() < 60);
    assert_eq!(encoder.vocabulary().unwrap().decode(&ids).unwrap(), word.as_bytes());
}

#[test]
fn a_cache_that_begins_anew_changes_nothing() {
    let (encoder, _) = &PAIRS[0];
    let mut scratch = Scratch::default();
    // 3 million ids of different words, three times the capacity of a cache.
    for round in 0..2 {
        for number in 0..200_000u32 {
            let text = format!("ж{number:x}ж{}", char::from_u32(0x4E00 + number % 20_000).unwrap());
            let mut ids = Vec::new();
            encoder.encode(&text, &mut scratch, &mut ids).unwrap();
            if number % 5000 == 0 || round == 1 && number % 500 == 0 {
                assert_eq!(ids, encoder.ids(&text).unwrap());
            }
        }
    }
}

/// A vocabulary of all kinds of texts, and every `part`-th available text: in 530 languages, novels, code, mathematics.
fn texts_at_hand(part: usize) {
    let mut texts = Vec::new();
    let mut languages = 0;
    for name in [
        "udhr",
        "jane_austen",
        "rust_docs",
        "gsm8k",
        "humaneval",
        "mbpp",
        "mxeval",
        "math_more",
        "mathverify",
        "p3_open_subset",
        "self_instruct",
        "processbench",
        "ifeval",
        "xstest",
    ] {
        let Some(more) = shared(name) else { return };
        texts.extend(more.into_iter().step_by(part));
        languages = if name == "udhr" { texts.len() } else { languages };
    }
    let mut vocabulary = train(&counts(&texts), 20_000, 2);
    assert_eq!(first_difference(&vocabulary, &texts), None);
    // By merges alone, in 530 languages.
    vocabulary.ignore_merges = false;
    assert_eq!(first_difference(&vocabulary, &texts[..languages]), None);
}

#[test]
fn a_seventh_of_the_texts_at_hand() {
    texts_at_hand(7);
}

#[test]
#[ignore = "minutes; a seventh of the texts is always compared"]
fn all_texts_at_hand() {
    texts_at_hand(1);
}

#[test]
fn other_tokenizers_go_through_the_library() {
    let dir = tempfile::tempdir().unwrap();
    SMALL[0].write(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    assert!(Encoder::open(&path).unwrap().is_own());
    let mut json = SMALL[0].to_json();
    // GPT-2's split.
    json["pre_tokenizer"] =
        serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    std::fs::write(&path, json.to_string()).unwrap();
    let encoder = Encoder::open(&path).unwrap();
    assert!(!encoder.is_own());
    let mut library = std::fs::read_to_string(&path).unwrap().parse::<Tokenizer>().unwrap();
    library.set_encode_special_tokens(true);
    for text in ["numbers 123456, it's", "<|end_of_text|>"] {
        assert_eq!(encoder.ids(text).unwrap(), library.encode_fast(text, false).unwrap().get_ids());
    }
    assert_eq!((encoder.size(), encoder.special("<|end_of_text|>")), (1756, Some(1501)));
    std::fs::write(&path, "{}").unwrap();
    let error = Encoder::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: the tokenizer cannot be read"), "{error}");
}

/// A change of a tokenizer's file.
type Change<'a> = &'a dyn Fn(&mut serde_json::Value);

#[test]
fn what_vocabularies_are_refused() {
    let sentence = |change: Change| {
        let mut json = SMALL[0].to_json();
        change(&mut json);
        Vocabulary::parse(json).unwrap_err().to_string()
    };
    let cases: [(Change, &str); 7] = [
        (&|json| json["normalizer"] = serde_json::json!({"type": "NFC"}), "the tokenizer has a normalizer"),
        (&|json| json["pre_tokenizer"] = serde_json::Value::Null, "the pre-tokenizer is not Llama 3's split"),
        (
            &|json| json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x".into(),
            "does not begin with Llama 3's split",
        ),
        (&|json| json["model"]["type"] = "Unigram".into(), "the model is \"Unigram\", not BPE"),
        (&|json| json["model"]["vocab"]["日"] = 5.into(), "\"日\" is not written in the alphabet"),
        (&|json| drop(json["model"]["vocab"].as_object_mut().unwrap().remove("Ġ")), "the byte 0x20 is not a token"),
        (
            &|json| json["model"]["merges"][3] = serde_json::json!(["q", "Ġzzzz"]),
            "model.merges: number 3 names no tokens",
        ),
    ];
    for (change, part) in cases {
        let error = sentence(change);
        assert!(error.contains(part), "{part}: {error}");
    }
    // Writing and reading it again gives the same.
    assert_eq!(Vocabulary::parse(SMALL[0].to_json()).unwrap().to_json(), SMALL[0].to_json());
}
