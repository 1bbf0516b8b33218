//! Splits that keep related records on one side: records of a group, equal texts, near copies.

use std::collections::{BTreeMap, HashMap};

use dataset::digest;
use safety_text::policy::Applies;
use text_quality::normal::{collapsed, hash, words};

use crate::record::Labelled;

/// Number of words of a shingle.
const SHINGLE: usize = 4;
/// Two texts are near copies if they share this part of their shingles (Jaccard index).
pub const NEAR: f64 = 0.5;
/// A shingle in more texts than this is a phrase of a template and does not relate texts.
const COMMON: usize = 200;

/// The group number of each record. Records are in one group if they have the same `group` or the same text (ignoring case and spaces),
/// if they are near copies, or if other records connect them in this way.
#[must_use]
pub fn groups(records: &[&Labelled]) -> Vec<usize> {
    let mut union = Union::new(records.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut tie = |union: &mut Union, key: String, at: usize| match seen.get(&key) {
        Some(&other) => union.join(other, at),
        None => drop(seen.insert(key, at)),
    };
    for (at, record) in records.iter().enumerate() {
        if let Some(group) = &record.group {
            tie(&mut union, format!("group {group}"), at);
        }
        tie(&mut union, format!("text {}", collapsed(record.asked.text())), at);
    }
    near_copies(records, &mut union);
    (0..records.len()).map(|at| union.root(at)).collect()
}

/// Joins all pairs of near copies; candidates are texts that share a shingle.
fn near_copies(records: &[&Labelled], union: &mut Union) {
    let shingles: Vec<Vec<u64>> = records.iter().map(|record| shingles(record.asked.text())).collect();
    let mut texts_of: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, shingles) in shingles.iter().enumerate() {
        shingles.iter().for_each(|&shingle| texts_of.entry(shingle).or_default().push(at));
    }
    for (at, own) in shingles.iter().enumerate() {
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for texts in own.iter().filter_map(|shingle| texts_of.get(shingle)).filter(|texts| texts.len() <= COMMON) {
            texts.iter().filter(|&&other| other < at).for_each(|&other| *shared.entry(other).or_default() += 1);
        }
        for (other, count) in shared {
            let all = own.len() + shingles[other].len() - count;
            if count as f64 >= NEAR * all as f64 {
                union.join(other, at);
            }
        }
    }
}

/// The distinct hashes of a text's runs of four words; for a shorter text, the hash of the whole.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<String> = words(text).collect();
    let mut all: Vec<u64> = match words.len() {
        0..SHINGLE => vec![hash(words.join(" "))],
        _ => words.windows(SHINGLE).map(|run| hash(run.join(" "))).collect(),
    };
    all.sort_unstable();
    all.dedup();
    all
}

/// Selects the records to hold out: about `share` of the groups of each source, by the seed. A group is never divided.
#[must_use]
pub fn held_out(records: &[&Labelled], groups: &[usize], share: f64, seed: u64) -> Vec<bool> {
    let mut name: BTreeMap<usize, &str> = BTreeMap::new();
    for (record, &group) in records.iter().zip(groups) {
        let first = name.entry(group).or_insert(&record.id);
        *first = (*first).min(&record.id);
    }
    let is_out: BTreeMap<usize, bool> = name
        .into_iter()
        .map(|(group, name)| {
            let digest = digest::bytes(format!("{seed}/{name}").as_bytes());
            let draw = u64::from_str_radix(&digest[..12], 16).unwrap_or(0) as f64 / (1u64 << 48) as f64;
            (group, draw < share)
        })
        .collect();
    groups.iter().map(|group| is_out[group]).collect()
}

/// For each of `records`, whether it shares a group or is a near copy of one of `others`.
#[must_use]
pub fn overlapping(records: &[&Labelled], others: &[&Labelled]) -> Vec<bool> {
    let all: Vec<&Labelled> = records.iter().chain(others).copied().collect();
    let groups = groups(&all);
    let theirs: std::collections::HashSet<usize> = groups[records.len()..].iter().copied().collect();
    groups[..records.len()].iter().map(|group| theirs.contains(group)).collect()
}

/// Warnings about records from which a classifier would learn the wrong thing: all records have the same label, or all records of a
/// language or a length are unsafe. One sentence for each.
#[must_use]
pub fn unbalanced(records: &[&Labelled]) -> Vec<String> {
    /// Bins with fewer records are ignored.
    const FEW: usize = 20;
    let mut problems = Vec::new();
    let count = records.iter().filter(|record| record.is_unsafe).count();
    if count == 0 || count == records.len() {
        let label = if count == 0 { "safe" } else { "unsafe" };
        problems.push(format!("all {} records are {label}", records.len()));
        return problems;
    }
    let mut bins: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for record in records {
        let side = if record.asked.side() == Applies::Prompt { "prompts" } else { "responses" };
        let length = match words(record.asked.text()).count() {
            0..=8 => "up to 8 words",
            9..=16 => "9 to 16 words",
            17..=32 => "17 to 32 words",
            33..=64 => "33 to 64 words",
            _ => "more than 64 words",
        };
        let language = record.language.as_deref().unwrap_or("an unnamed language");
        for bin in [format!("{side} of {length}"), format!("{side} in {language}")] {
            let (all, bad) = bins.entry(bin).or_default();
            *all += 1;
            *bad += usize::from(record.is_unsafe);
        }
    }
    let only_unsafe = bins.into_iter().filter(|(_, (all, bad))| all == bad && *all >= FEW);
    problems.extend(only_unsafe.map(|(bin, (all, _))| format!("all {all} {bin} are unsafe")));
    problems
}

/// Disjoint sets with path halving.
struct Union(Vec<usize>);

impl Union {
    fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    /// The smaller number becomes the root, so that the result does not depend on the order of joins.
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::Asked;

    pub(crate) fn record(id: &str, text: &str, is_unsafe: bool, group: Option<&str>) -> Labelled {
        Labelled {
            id: id.into(),
            asked: Asked::prompt(text),
            is_unsafe,
            categories: Vec::new(),
            language: Some("en".into()),
            source: "test".into(),
            group: group.map(str::to_owned),
            place: ("test".into(), 0),
        }
    }

    #[test]
    fn copies_and_near_copies_are_one_group() {
        let records = [
            record("a", "How do I bake a loaf of bread at home today", false, None),
            record("b", "how do I bake  a loaf of bread at home TODAY", false, None),
            record("c", "How do I bake a loaf of bread at home tomorrow", false, Some("g")),
            record("d", "something else entirely", false, Some("g")),
            record("e", "How do I paint a picture of bread", false, None),
            record("f", "no", false, None),
            record("g", "No!", false, None),
        ];
        let all: Vec<&Labelled> = records.iter().collect();
        assert_eq!(groups(&all), [0, 0, 0, 0, 4, 5, 5]);
        let out = held_out(&all, &groups(&all), 0.5, 1);
        assert!(out[..4].iter().all(|&is| is == out[0]) && out[5] == out[6]);
        assert_eq!(overlapping(&all[2..4], &all[..1]), [true, true]);
        assert_eq!(overlapping(&all[4..], &all[..4]), [false, false, false]);
    }

    #[test]
    fn the_share_held_out_is_about_what_was_asked_for() {
        let records: Vec<Labelled> = (0..2000)
            .map(|n| record(&format!("r{n}"), &format!("word{n} other{n} third{n} more{n}"), false, None))
            .collect();
        let all: Vec<&Labelled> = records.iter().collect();
        let groups = groups(&all);
        let out = held_out(&all, &groups, 0.15, 7);
        let count = out.iter().filter(|&&is| is).count();
        assert!((240..360).contains(&count), "{count}");
        assert_eq!(out, held_out(&all, &groups, 0.15, 7));
        assert_ne!(out, held_out(&all, &groups, 0.15, 8));
    }

    #[test]
    fn a_bin_of_one_class_is_named() {
        let mut records: Vec<Labelled> =
            (0..30).map(|n| record(&format!("u{n}"), &format!("un {n}"), true, None)).collect();
        let problems = |records: &[Labelled]| unbalanced(&records.iter().collect::<Vec<_>>());
        assert_eq!(problems(&records), ["all 30 records are unsafe"]);
        records.push(record("s", &"a long safe text ".repeat(9), false, None));
        assert_eq!(problems(&records), ["all 30 prompts of up to 8 words are unsafe"]);
        records.push(record("s2", "short", false, None));
        assert_eq!(problems(&records), Vec::<String>::new());
        records.iter_mut().take(25).for_each(|record| record.language = Some("de".into()));
        assert_eq!(problems(&records), ["all 25 prompts in de are unsafe"]);
    }
}
