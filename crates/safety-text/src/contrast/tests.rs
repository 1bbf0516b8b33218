use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::policy::Policy;

const SPLITS: [Split; 3] = [Split::Train, Split::NewKeys, Split::NewPairs];

#[test]
fn splits_share_no_prompt_and_new_keys_no_key() {
    let [train, keys, numbers] = SPLITS.map(|split| pairs(3, split));
    let texts = |pairs: &[Pair]| {
        let all: Vec<String> = pairs.iter().flat_map(|pair| [pair.safe.clone(), pair.unsafe_.clone()]).collect();
        let set: BTreeSet<String> = all.iter().cloned().collect();
        // A failure must not print prompts.
        assert!(set.len() == all.len(), "a prompt appears twice in a split");
        set
    };
    let [a, b, c] = [&train, &keys, &numbers].map(|pairs| texts(pairs));
    assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c), "splits share a prompt");
    let keys_of = |pairs: &[Pair]| pairs.iter().map(|pair| pair.key.clone()).collect::<BTreeSet<_>>();
    assert!(keys_of(&train).is_disjoint(&keys_of(&keys)));
    assert!(keys_of(&numbers).is_disjoint(&keys_of(&keys)));
    assert!(
        train.len() > 700 && keys.len() > 150 && numbers.len() > 100,
        "{} {} {}",
        train.len(),
        keys.len(),
        numbers.len()
    );
}

#[test]
fn the_seed_changes_pairs_and_order_and_not_the_split() {
    let prompts = |seed| {
        let all = pairs(seed, Split::NewKeys);
        all.iter().map(|pair| pair.safe.clone()).collect::<BTreeSet<_>>().len()
    };
    assert!(pairs(1, Split::Train) == pairs(1, Split::Train));
    assert!(pairs(1, Split::Train) != pairs(2, Split::Train));
    assert_eq!(prompts(1), prompts(2));
    let keys = |seed| pairs(seed, Split::NewKeys).into_iter().map(|pair| pair.key).collect::<BTreeSet<_>>();
    assert_eq!(keys(1), keys(2));
}

#[test]
fn halves_begin_alike_and_categories_are_known() {
    let policy = Policy::builtin("herd-14").unwrap();
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    for split in SPLITS {
        for pair in pairs(0, split) {
            assert!(policy.category(pair.category).is_ok());
            *categories.entry(pair.category).or_default() += 1;
            let records = pair.records(split);
            assert_eq!([&records[0]["label"], &records[1]["label"]], ["safe", "unsafe"]);
            assert!(records[0]["categories"].is_null() && records[1]["categories"][0] == pair.category);
            assert_eq!(records[0]["group"], records[1]["group"]);
            assert!(!pair.unsafe_.contains('\n') && pair.unsafe_.split_whitespace().count() < 40);
        }
    }
    // There are no templates for child exploitation, on purpose.
    assert_eq!(categories.len(), 13, "{categories:?}");
    assert!(!categories.contains_key("S4"));
}

/// The requests of a pair share most of their beginning, so a model cannot rely on the first words.
#[test]
fn the_first_word_says_nothing() {
    let mut first: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for pair in pairs(0, Split::Train) {
        for (at, text) in [&pair.safe, &pair.unsafe_].into_iter().enumerate() {
            let word = text.split_whitespace().next().unwrap_or_default().to_owned();
            first.entry(word).or_default()[at] += 1;
        }
    }
    for (word, [safe, harmful]) in first.iter().filter(|(_, counts)| counts[0] + counts[1] > 30) {
        let share = *harmful as f64 / (safe + harmful) as f64;
        assert!((0.4..0.6).contains(&share), "{word}: {share}");
    }
}

/// No prompt occurs in a published test set.
#[test]
fn nothing_is_copied_from_test_sets() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for set in ["xstest", "strongreject", "advbench", "harmbench"] {
        let Some(folder) = test_support::shared(&format!("data/{set}")) else { return };
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            if !name.ends_with(".gz") {
                continue;
            }
            let file = flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap());
            if name.ends_with(".csv.gz") {
                for row in csv::Reader::from_reader(file).records() {
                    known.extend(row.unwrap().iter().map(normal));
                }
            } else {
                strings(&serde_json::from_reader(file).unwrap(), &mut known);
            }
        }
    }
    assert!(known.len() > 1000, "{} texts were read", known.len());
    for split in SPLITS {
        for pair in pairs(0, split) {
            assert!(!known.contains(&normal(&pair.safe)), "a harmless prompt of {} is in a test set", pair.key);
            assert!(!known.contains(&normal(&pair.unsafe_)), "a harmful prompt of {} is in a test set", pair.key);
        }
    }
}

fn strings(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            out.insert(normal(text));
        }
        Value::Object(fields) => {
            out.extend(fields.keys().map(|key| normal(key)));
            fields.values().for_each(|value| strings(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| strings(value, out)),
        _ => {}
    }
}

fn normal(text: &str) -> String {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}
