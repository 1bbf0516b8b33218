//! The ledger: input and output of every step, by source, language and rule, with histograms and examples. The
//! ledgers of parts add up to that of the run, in any order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::filters::Finding;
use crate::hash;

/// A number of documents, and their size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Number of documents.
    pub documents: u64,
    /// Size of the texts in bytes.
    pub bytes: u64,
}

impl Count {
    /// Adds one document.
    pub fn add(&mut self, bytes: usize) {
        self.documents += 1;
        self.bytes += bytes as u64;
    }

    fn merge(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
    }
}

/// The effect of a step on the documents of one source and language.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// The input.
    pub read: Count,
    /// The output. Its bytes are fewer than those of complete documents if the step removed lines.
    pub kept: Count,
    /// The dropped documents, by rule.
    pub dropped: BTreeMap<String, Count>,
}

/// The effect of one rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rule {
    /// Its threshold.
    pub limit: f64,
    /// Number of documents that it evaluated.
    pub evaluated: u64,
    /// Number of documents that it dropped.
    pub dropped: u64,
    /// Number of documents by value divided by the threshold, in steps of a tenth; the last one holds all from 2 on.
    /// For a threshold of 0: by value.
    pub histogram: Vec<u64>,
    /// Examples of evaluated documents that it kept.
    pub kept_examples: Examples,
    /// Examples of documents that it dropped.
    pub dropped_examples: Examples,
}

/// Number of bars of a histogram.
pub const BARS: usize = 21;

/// A few documents: those with the smallest hash of id and rule, which do not depend on the partition of the work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Examples(Vec<Example>);

/// An example document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    order: u64,
    /// The document's id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// The measured value.
    pub value: f64,
    /// The start of the text.
    pub text: String,
    /// A note: the document in whose favour this one was dropped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Number of examples of each kind.
pub const EXAMPLES: usize = 20;
/// Maximum number of characters of an example.
const EXCERPT: usize = 300;

impl Examples {
    fn offer(&mut self, order: u64, make: impl FnOnce() -> Example) {
        if self.0.len() == EXAMPLES && self.0.last().is_some_and(|last| order >= last.order) {
            return;
        }
        self.insert(make());
    }

    fn insert(&mut self, example: Example) {
        let at = self.0.partition_point(|other| (other.order, &other.id) < (example.order, &example.id));
        self.0.insert(at, example);
        self.0.truncate(EXAMPLES);
    }

    /// The examples.
    #[must_use]
    pub fn all(&self) -> &[Example] {
        &self.0
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepLedger {
    /// The kind of the step.
    pub kind: String,
    /// By source, then by language.
    pub flows: BTreeMap<String, BTreeMap<String, Flow>>,
    /// By rule.
    pub rules: BTreeMap<String, Rule>,
    /// Number of lines and other pieces that were removed from documents.
    pub removed: u64,
}

/// All steps, and the unreadable places.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The steps, in the order of the recipe.
    pub steps: Vec<StepLedger>,
    /// The documents that the readers returned, by source.
    pub read: BTreeMap<String, Count>,
    /// Number of places that could not be read, by source.
    pub unreadable: BTreeMap<String, u64>,
}

/// The data of a document that the ledger uses.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its source.
    pub source: &'a str,
    /// Its language.
    pub language: &'a str,
    /// The text, as the step saw it.
    pub text: &'a str,
    /// Bytes that the step read: those of the page where it made the text of a page, else those of the text.
    pub bytes: usize,
}

/// The outcome of a document in a step.
#[derive(Debug, Clone, Copy)]
pub enum Fate<'a> {
    /// It was kept, with this number of bytes.
    Kept(usize),
    /// A rule dropped it.
    Dropped(&'a str),
}

impl Ledger {
    /// An empty ledger of steps.
    #[must_use]
    pub fn new<'a>(kinds: impl Iterator<Item = &'a str>) -> Self {
        let step = |kind: &str| StepLedger { kind: kind.to_owned(), ..StepLedger::default() };
        Self { steps: kinds.map(step).collect(), ..Self::default() }
    }

    /// Adds the ledger of another part.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.read {
            self.read.entry(name).or_default().merge(count);
        }
        for (name, count) in other.unreadable {
            *self.unreadable.entry(name).or_default() += count;
        }
        self.steps.resize_with(self.steps.len().max(other.steps.len()), StepLedger::default);
        for (mine, step) in self.steps.iter_mut().zip(other.steps) {
            mine.merge(step);
        }
    }
}

impl StepLedger {
    fn merge(&mut self, other: Self) {
        if self.kind.is_empty() {
            self.kind = other.kind;
        }
        self.removed += other.removed;
        for (source, languages) in other.flows {
            let mine = self.flows.entry(source).or_default();
            for (language, flow) in languages {
                let mine = mine.entry(language).or_default();
                mine.read.merge(flow.read);
                mine.kept.merge(flow.kept);
                for (rule, count) in flow.dropped {
                    mine.dropped.entry(rule).or_default().merge(count);
                }
            }
        }
        for (name, rule) in other.rules {
            let mine = self.rules.entry(name).or_default();
            mine.limit = rule.limit;
            mine.evaluated += rule.evaluated;
            mine.dropped += rule.dropped;
            mine.histogram.resize(mine.histogram.len().max(rule.histogram.len()), 0);
            mine.histogram.iter_mut().zip(rule.histogram).for_each(|(mine, count)| *mine += count);
            rule.kept_examples.0.into_iter().for_each(|example| mine.kept_examples.insert(example));
            rule.dropped_examples.0.into_iter().for_each(|example| mine.dropped_examples.insert(example));
        }
    }

    /// Records the effect of a step on a document.
    pub fn record(&mut self, seen: Seen, findings: &[Finding], fate: Fate) {
        let flow = entry(entry(&mut self.flows, seen.source), seen.language);
        flow.read.add(seen.bytes);
        match fate {
            Fate::Kept(bytes) => flow.kept.add(bytes),
            Fate::Dropped(rule) => entry(&mut flow.dropped, rule).add(seen.bytes),
        }
        for finding in findings {
            self.finding(seen, finding, "");
        }
    }

    /// Records a separate finding, with a note for its example.
    pub fn finding(&mut self, seen: Seen, finding: &Finding, note: &str) {
        let rule = entry(&mut self.rules, &finding.rule);
        rule.limit = finding.limit;
        rule.evaluated += 1;
        rule.dropped += u64::from(!finding.passed);
        rule.histogram.resize(BARS, 0);
        rule.histogram[bar(finding)] += 1;
        let order = hash::combine(hash::bytes(seen.id.as_bytes()), hash::bytes(finding.rule.as_bytes()));
        let examples = if finding.passed { &mut rule.kept_examples } else { &mut rule.dropped_examples };
        examples.offer(order, || Example {
            order,
            id: seen.id.to_owned(),
            source: seen.source.to_owned(),
            value: finding.value,
            text: seen.text.chars().take(EXCERPT).collect(),
            note: note.to_owned(),
        });
    }

    /// The sum over all sources and languages.
    #[must_use]
    pub fn total(&self) -> Flow {
        let mut total = Flow::default();
        for flow in self.flows.values().flat_map(BTreeMap::values) {
            total.read.merge(flow.read);
            total.kept.merge(flow.kept);
            for (rule, count) in &flow.dropped {
                total.dropped.entry(rule.clone()).or_default().merge(*count);
            }
        }
        total
    }

    /// Warnings about the step: it saw nothing, changed nothing, or dropped everything of a source.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let total = self.total();
        let kind = &self.kind;
        let mut out = Vec::new();
        if total.read.documents == 0 {
            out.push(format!("{kind}: no document reached the step"));
            return out;
        }
        // A step that made texts shorter, as extraction does, has done something without dropping a document.
        if total.dropped.is_empty() && self.removed == 0 && total.read.bytes == total.kept.bytes && kind != "mix" {
            out.push(format!("{kind}: matched nothing in {} documents", total.read.documents));
        }
        for (source, languages) in &self.flows {
            let (read, kept) = languages
                .values()
                .fold((0, 0), |(read, kept), flow| (read + flow.read.documents, kept + flow.kept.documents));
            if read > 0 && kept == 0 {
                out.push(format!("{kind}: dropped all {read} documents of source {source}"));
            }
        }
        out
    }
}

/// The entry of a name; allocates a text only for a new name.
fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, name: &str) -> &'a mut V {
    // Two look-ups, but a text is allocated only for a new name.
    if !map.contains_key(name) {
        map.insert(name.to_owned(), V::default());
    }
    match map.get_mut(name) {
        Some(value) => value,
        None => unreachable!("the name was inserted above"),
    }
}

fn bar(finding: &Finding) -> usize {
    let ratio = if finding.limit == 0.0 { finding.value } else { finding.value / finding.limit };
    if ratio.is_finite() { ((ratio * 10.0) as usize).min(BARS - 1) } else { BARS - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(ids: std::ops::Range<u32>) -> StepLedger {
        step_that_keeps(4, ids)
    }

    /// A step over texts of five bytes, of which it keeps so many.
    fn step_that_keeps(bytes: usize, ids: std::ops::Range<u32>) -> StepLedger {
        let mut step = StepLedger { kind: "s".into(), ..StepLedger::default() };
        for n in ids {
            let id = n.to_string();
            let seen = Seen { id: &id, source: "a", language: "en", text: "12345", bytes: 5 };
            let finding = Finding { rule: "r".into(), value: f64::from(n), limit: 50.0, passed: n < 50 };
            let fate = if n < 50 { Fate::Kept(bytes) } else { Fate::Dropped("r") };
            step.record(seen, &[finding], fate);
        }
        step
    }

    #[test]
    fn parts_add_up_to_the_whole_in_any_order() {
        let whole = step(0..200);
        let mut one = step(0..90);
        one.merge(step(90..200));
        let mut other = step(120..200);
        other.merge(step(0..120));
        assert!(one == whole && other == whole);
        let total = whole.total();
        assert_eq!(
            (total.read, total.kept),
            (Count { documents: 200, bytes: 1000 }, Count { documents: 50, bytes: 200 })
        );
        let rule = &whole.rules["r"];
        assert_eq!((rule.evaluated, rule.dropped, rule.histogram.iter().sum::<u64>()), (200, 150, 200));
        assert_eq!((rule.kept_examples.all().len(), rule.dropped_examples.all().len()), (20, 20));
        assert!(rule.dropped_examples.all().iter().all(|example| example.value >= 50.0));
    }

    #[test]
    fn what_people_should_know() {
        assert_eq!(step(0..0).warnings(), ["s: no document reached the step"]);
        assert_eq!(step_that_keeps(5, 0..9).warnings(), ["s: matched nothing in 9 documents"]);
        assert!(step_that_keeps(4, 0..9).warnings().is_empty(), "it made texts shorter");
        assert_eq!(step(50..60).warnings(), ["s: dropped all 10 documents of source a"]);
        assert!(step(40..60).warnings().is_empty());
    }
}
