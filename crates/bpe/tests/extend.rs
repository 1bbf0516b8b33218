//! An extension in other languages changes no English id.

use std::sync::LazyLock;

use crate::common::{counts, first_difference, made, shared};
use bpe::extend::{Extended, extend};
use bpe::train::train;
use bpe::{Encoder, Vocabulary, WordCounts, llama3_special_tokens};
use proptest::prelude::*;

fn changed<'a>(before: &Vocabulary, after: &Vocabulary, texts: &'a [String]) -> Vec<&'a str> {
    let (before, after) = (Encoder::new(before.clone()), Encoder::new(after.clone()));
    texts.iter().filter(|text| before.ids(text).unwrap() != after.ids(text).unwrap()).map(String::as_str).collect()
}

/// A base of English as far as it consists of few letters, and its extension by all texts.
static MADE: LazyLock<(Vocabulary, Vocabulary)> = LazyLock::new(|| {
    let english: Vec<String> = made(1, 400).iter().map(|text| text.chars().filter(char::is_ascii).collect()).collect();
    let base = train(&counts(&english), 400, 2);
    // Signs that English also uses are frequent in the other languages, and must not be merged.
    let mut texts = made(2, 400);
    texts.extend((0..200).map(|_| "— “да” … £5 ½🙂🙂 ≤≥ « eau »\u{a0}: l’eau\n".to_owned()));
    let made = extend(&base, &counts(&texts), &WordCounts::default(), 900, 2).unwrap();
    assert!(made.new > 300 && made.english > 10, "{} {}", made.new, made.english);
    (base, made.vocabulary)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_of_english_characters_changes(text in prop_oneof![
        "[\u{20}-\u{7e}\n\t\u{a0}-\u{bf}\u{2000}-\u{206f}\u{2190}-\u{22ff}🌀-🙏]{0,60}",
        "(an|the|er|ing|qu|eau| |—|“|”|…|£|½|🙂|’|≤|«|\u{a0}){0,60}",
    ]) {
        let (base, extended) = &*MADE;
        let ids = |vocabulary: &Vocabulary| Encoder::new(vocabulary.clone()).ids(&text).unwrap();
        prop_assert_eq!(ids(base), ids(extended));
    }
}

#[test]
fn the_base_keeps_its_ids_and_ranks() {
    let (base, extended) = &*MADE;
    assert!(base.tokens().all(|(id, bytes)| extended.bytes(id) == Some(bytes)));
    assert_eq!(extended.merges()[..base.merges().len()], *base.merges());
    // The extension has an effect.
    assert!(!changed(base, extended, &made(5, 20)).is_empty());
    assert_eq!(first_difference(extended, &made(6, 200)), None);
}

#[test]
fn texts_to_keep_are_kept_and_special_tokens_too() {
    let (base, _) = &*MADE;
    let mut base = base.clone();
    base.add_special(&llama3_special_tokens()[..2]);
    let keep: Vec<String> = ["Zoë дала кофе в 日本", "naïve мама"].map(Into::into).into();
    let other: Vec<String> = vec![
        "Zoë дала кофе мама 日本 и дала маме Zoë кофе; 日本 日本 naïve Zoë".to_owned();
        5
    ];
    let free = extend(&base, &counts(&other), &WordCounts::default(), 500, 2).unwrap();
    assert_eq!(changed(&base, &free.vocabulary, &keep).len(), 2);
    let Extended { vocabulary, kept, .. } = extend(&base, &counts(&other), &counts(&keep), 500, 2).unwrap();
    assert_eq!(changed(&base, &vocabulary, &keep), [""; 0]);
    assert!(kept.iter().any(|(bytes, count)| bytes == "д".as_bytes() && *count >= 10), "{kept:?}");
    // "маме" is not in the texts to keep, and "ме" is in none of their words.
    assert!(vocabulary.id("ме".as_bytes()).is_none() && vocabulary.len() > base.len());
    assert_eq!(vocabulary.added(), base.added());
    assert_eq!(vocabulary.size(), base.size() + (vocabulary.len() - base.len()) as u32);
}

/// A base of English and code, extended by 530 languages: every `part`-th text at hand.
fn no_english_text_changes(part: usize) {
    let Some(mut english) = shared("jane_austen") else { return };
    for name in [
        "gsm8k",
        "rust_docs",
        "humaneval",
        "mbpp",
        "self_instruct",
        "processbench",
        "ifeval",
        "xstest",
        "p3_open_subset",
    ] {
        let Some(more) = shared(name) else { return };
        english.extend(more);
    }
    let Some(languages) = shared("udhr") else { return };
    let english: Vec<String> = english.into_iter().step_by(part).collect();
    let languages: Vec<String> = languages.into_iter().step_by(part).collect();
    let base = train(&counts(&english), 16_000, 2);
    let all = counts(&languages);
    let kept = extend(&base, &all, &counts(&english), 20_000, 2).unwrap();
    assert_eq!(kept.new, 4000);
    assert_eq!(changed(&base, &kept.vocabulary, &english), [""; 0]);
    // Without texts to keep, only texts with characters that are not used in English change.
    let free = extend(&base, &all, &WordCounts::default(), 20_000, 2).unwrap();
    let foreign = |text: &str| bpe::words(text).any(|word| !bpe::extend::is_english(word.as_bytes()));
    let more = changed(&base, &free.vocabulary, &english);
    assert!(more.iter().all(|text| foreign(text)));
    let tokens = |vocabulary: &Vocabulary| {
        let encoder = Encoder::new(vocabulary.clone());
        languages.iter().map(|text| encoder.ids(text).unwrap().len()).sum::<usize>()
    };
    let (before, with, without) = (tokens(&base), tokens(&kept.vocabulary), tokens(&free.vocabulary));
    println!("tokens of udhr: base {before}, extended {with}, extended without texts to keep {without}");
    println!("{} of {} texts change without texts to keep", more.len(), english.len());
    assert!(with < before * 3 / 4 && without <= with);
}

#[test]
fn no_seventh_english_text_changes() {
    no_english_text_changes(7);
}

#[test]
#[ignore = "a minute; a seventh of the texts is always compared"]
fn no_english_text_at_hand_changes() {
    no_english_text_changes(1);
}
