//! The work of a phase on one document: the decisions of the preceding group steps, the phase's own map steps, and
//! the rows for its group steps. The functions are pure except for the ledger that they fill.

use anyhow::Context;
use serde_json::{Value, json};

use super::Phase;
use super::group::{Decisions, PartDecisions};
use super::tools::{Judged, Tool};
use crate::dedup::minhash::Signer;
use crate::document::Document;
use crate::filters::{Finding, View};
use crate::hash;
use crate::ledger::{Fate, Ledger, Seen};
use crate::quality::score::rounded;
use crate::quality::{STEPS, step_of};
use crate::read::Item;
use crate::recipe::{Recipe, Step};

/// The work of a phase, which many threads can share.
pub(super) struct Work<'a> {
    recipe: &'a Recipe,
    phase: &'a Phase,
    /// The group steps of the previous phase, with their decisions.
    before: Option<(&'a Phase, Decisions)>,
    tools: Vec<Option<Tool>>,
}

/// The outcome for a document.
pub(super) enum Outcome {
    Kept(Box<Kept>),
    /// A line for the file of dropped documents.
    Dropped(Vec<u8>),
}

/// A kept document, and its rows.
pub(super) struct Kept {
    pub line: Vec<u8>,
    pub bytes: usize,
    pub id: String,
    pub language: u64,
    pub source: usize,
    pub url: Option<(u64, i64)>,
    pub exact: Option<u64>,
    pub bands: Vec<u64>,
    pub short: bool,
    pub lines: Vec<u64>,
    pub order: u64,
    /// For each quality step, its number and the document's score.
    pub scores: Vec<(u64, u64)>,
}

impl<'a> Work<'a> {
    pub fn new(recipe: &'a Recipe, phase: &'a Phase, before: Option<(&'a Phase, Decisions)>) -> anyhow::Result<Self> {
        let load = |(at, step): (usize, &Step)| match phase.maps.contains(&at) || phase.groups.contains(&at) {
            true => Tool::load(step).with_context(|| format!("step {} ({})", at + 1, step.kind())),
            false => Ok(None),
        };
        let tools = recipe.steps.iter().enumerate().map(load).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { recipe, phase, before, tools })
    }

    pub fn decisions(&self) -> Option<&Decisions> {
        self.before.as_ref().map(|(_, decisions)| decisions)
    }

    /// Permutations for the phase's MinHash step.
    pub fn signer(&self) -> Option<Signer> {
        self.phase.groups.iter().find_map(|at| match &self.recipe.steps[*at] {
            Step::DedupMinhash(step) => Some(Signer::new(&step.shape(self.recipe.seed))),
            _ => None,
        })
    }

    /// Processes one document. There are several outcomes if a mix repeats it.
    pub fn document(
        &self,
        item: Item,
        ordinal: u64,
        decisions: Option<&PartDecisions>,
        signer: &mut Option<Signer>,
        ledger: &mut Ledger,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut item = item;
        let mut copies = 1;
        if let (Some((phase, all)), Some(part)) = (&self.before, decisions) {
            for at in &phase.groups {
                match self.decide(*at, all, part, ordinal, &mut item.document, ledger)? {
                    Decision::Dropped(line) => return Ok(vec![Outcome::Dropped(line)]),
                    Decision::Kept(count) => copies = count,
                }
            }
        }
        for at in &self.phase.maps {
            if let Some(line) = self.map(*at, &mut item, ledger)? {
                return Ok(vec![Outcome::Dropped(line)]);
            }
        }
        let mut document = item.document;
        let scores = self.scores(&mut document);
        let mut out = Vec::new();
        for copy in 0..copies {
            if copy > 0 {
                document.meta.insert("copy".into(), copy.into());
            }
            out.push(Outcome::Kept(Box::new(Kept { scores: scores.clone(), ..self.kept(&document, copy, signer)? })));
        }
        Ok(out)
    }

    /// Writes the scores of the phase's quality steps into the document, and returns them by step. A document without a score has
    /// no row.
    fn scores(&self, document: &mut Document) -> Vec<(u64, u64)> {
        let mut scores = Vec::new();
        for at in &self.phase.groups {
            let Step::Quality(step) = &self.recipe.steps[*at] else { continue };
            if let Some(Tool::Score(classifier)) = &self.tools[*at] {
                let score = rounded(classifier.score(&document.text));
                document.meta.insert(step.name.clone(), score.into());
            }
            scores.extend(score(document, &step.name).map(|score| (*at as u64, step_of(score))));
        }
        scores
    }

    /// Runs one map step. Returns the line of a dropped document.
    fn map(&self, at: usize, item: &mut Item, ledger: &mut Ledger) -> anyhow::Result<Option<Vec<u8>>> {
        let step = &self.recipe.steps[at];
        let judged = match &self.tools[at] {
            Some(tool) => tool.judge(item),
            None => {
                let filter = step.filter().with_context(|| format!("step {} is not a map step", at + 1))?;
                let outcome = filter.judge(&View::new(&item.document.text));
                Judged { findings: outcome.findings, text: outcome.text, ..Judged::default() }
            }
        };
        let document = &mut item.document;
        for (key, value) in judged.meta {
            document.meta.insert(key.to_owned(), value);
        }
        let language = document.language().to_owned();
        // A step that makes the text is reported with the text that it made, and with the bytes of the page.
        let bytes = item.page.as_ref().map_or(document.text.len(), |page| page.bytes.len());
        if judged.makes_text {
            item.page = None;
            document.text = judged.text.clone().unwrap_or_default();
        }
        let Document { id, source, text, .. } = &*document;
        let seen = Seen { id, source, language: &language, text, bytes };
        let failed = judged.findings.last().filter(|finding| !finding.passed);
        let fate = match failed {
            Some(finding) => Fate::Dropped(&finding.rule),
            None => Fate::Kept(judged.text.as_ref().map_or(document.text.len(), String::len)),
        };
        let ledger = &mut ledger.steps[at];
        ledger.record(seen, &[], fate);
        for finding in &judged.findings {
            ledger.finding(seen, finding, &judged.note);
        }
        if let Some(finding) = failed {
            return line(at, step.kind(), finding, document, &judged.note).map(Some);
        }
        if let Some(text) = judged.text {
            ledger.removed += u64::from(!judged.makes_text);
            document.text = text;
        }
        Ok(None)
    }

    /// Applies the decision of a group step of the previous phase to a document.
    fn decide(
        &self,
        at: usize,
        all: &Decisions,
        part: &PartDecisions,
        ordinal: u64,
        document: &mut Document,
        ledger: &mut Ledger,
    ) -> anyhow::Result<Decision> {
        let step = &self.recipe.steps[at];
        let language = document.language().to_owned();
        let ledger = &mut ledger.steps[at];
        let Document { id, source, text, .. } = &*document;
        let seen = Seen { id, source, language: &language, text, bytes: text.len() };
        let mut copies = 1;
        match step {
            Step::DedupLines(lines) => {
                let group = group(lines.by_language, &language);
                let bucket = all.bucket(lines, &document.id, group);
                let frequent =
                    |key: u64| all.frequent.contains(&bucket.map_or(key, |bucket| hash::combine(key, bucket)));
                let Some((text, removed)) = lines.without(&document.text, group, frequent) else {
                    ledger.record(seen, &[], Fate::Kept(document.text.len()));
                    return Ok(Decision::Kept(1));
                };
                if text.is_empty() {
                    let finding = Finding {
                        rule: "only_frequent_lines".into(),
                        value: removed as f64,
                        limit: 0.0,
                        passed: false,
                    };
                    ledger.record(seen, std::slice::from_ref(&finding), Fate::Dropped(&finding.rule));
                    return line(at, step.kind(), &finding, document, "").map(Decision::Dropped);
                }
                ledger.removed += removed as u64;
                ledger.record(seen, &[], Fate::Kept(text.len()));
                document.text = text;
                return Ok(Decision::Kept(1));
            }
            Step::Quality(quality) => {
                let score = score(document, &quality.name);
                let limit = all.limit(at, &document.source);
                let finding = Finding {
                    rule: if score.is_some() { "low_score" } else { "no_score" }.into(),
                    value: score.unwrap_or_default(),
                    limit: limit as f64 / STEPS as f64,
                    passed: score.is_some_and(|score| step_of(score) >= limit),
                };
                ledger.finding(seen, &finding, "");
                if !finding.passed {
                    ledger.record(seen, &[], Fate::Dropped(&finding.rule));
                    return line(at, step.kind(), &finding, document, "").map(Decision::Dropped);
                }
                ledger.record(seen, &[], Fate::Kept(document.text.len()));
            }
            Step::Mix(mix) => {
                copies = if mix.weights.contains_key(&document.source) {
                    all.copies(&document.source, order(self.recipe.seed, &document.id, 0))
                } else {
                    0
                };
                if copies > 0 {
                    ledger.record(seen, &[], Fate::Kept(document.text.len() * copies as usize));
                } else {
                    let finding = Finding { rule: "not_drawn".into(), value: 0.0, limit: 1.0, passed: false };
                    ledger.record(seen, std::slice::from_ref(&finding), Fate::Dropped(&finding.rule));
                    return line(at, step.kind(), &finding, document, "").map(Decision::Dropped);
                }
            }
            _ => {
                if let Some((decided, by)) = part.get(&ordinal)
                    && *decided == at as u64
                {
                    let rule = match step {
                        Step::DedupUrl(_) => "older_copy",
                        Step::DedupExact(_) => "same_text",
                        _ => "near_duplicate",
                    };
                    let (input, number, ordinal) = super::part::place_parts(*by);
                    let note = format!("in favour of document {ordinal} of part {input:06}-{number:05}");
                    let finding = Finding { rule: rule.into(), value: 1.0, limit: 0.0, passed: false };
                    ledger.finding(seen, &finding, &note);
                    ledger.record(seen, &[], Fate::Dropped(rule));
                    let mut record = dropped(at, step.kind(), &finding, document, &note);
                    record["by"] = json!(by);
                    return Ok(Decision::Dropped(to_line(&record)?));
                }
                ledger.record(seen, &[], Fate::Kept(document.text.len()));
            }
        }
        Ok(Decision::Kept(copies))
    }

    /// The document as a line, and its rows for the phase's group steps.
    fn kept(&self, document: &Document, copy: u64, signer: &mut Option<Signer>) -> anyhow::Result<Kept> {
        let language = document.language();
        let text = &document.text;
        let source = self.recipe.sources.iter().position(|source| source.name == document.source);
        let mut kept = Kept {
            line: to_line(document)?,
            bytes: text.len(),
            id: document.id.clone(),
            language: group(true, language),
            source: source.with_context(|| format!("{} is not a source of the recipe", document.source))?,
            url: None,
            exact: None,
            bands: Vec::new(),
            short: false,
            lines: Vec::new(),
            order: order(self.recipe.seed, &document.id, copy),
            scores: Vec::new(),
        };
        for at in &self.phase.groups {
            match &self.recipe.steps[*at] {
                Step::DedupUrl(_) => kept.url = document.url.as_deref().map(|url| (url_key(url), document.seconds())),
                Step::DedupExact(step) => {
                    kept.exact = Some(hash::combine(group(step.by_language, language), hash::bytes(text.as_bytes())));
                }
                Step::DedupMinhash(step) => {
                    let group = group(step.by_language, language);
                    let signer = signer.as_mut().context("there are no permutations")?;
                    kept.bands = signer.bands(text, group).unwrap_or_else(|| {
                        kept.short = true;
                        let mut words = Vec::new();
                        crate::dedup::minhash::words(text, &mut words);
                        let whole = words.iter().fold(hash::seeded(3), |state, word| hash::combine(state, *word));
                        let whole = if words.is_empty() { hash::bytes(text.as_bytes()) } else { whole };
                        vec![hash::combine(group, whole)]
                    });
                }
                Step::DedupLines(step) => kept.lines = step.keys(text, group(step.by_language, language)).collect(),
                _ => {}
            }
        }
        Ok(kept)
    }
}

enum Decision {
    Kept(u64),
    Dropped(Vec<u8>),
}

/// The score of a name in `meta`.
fn score(document: &Document, name: &str) -> Option<f64> {
    document.meta.get(name).and_then(Value::as_f64).filter(|score| score.is_finite())
}

/// The key of a language, if languages are compared separately.
pub(super) fn group(by_language: bool, language: &str) -> u64 {
    if by_language { hash::bytes_with(language.as_bytes(), 7) } else { 0 }
}

/// The position of a document's copy in the order of the result.
pub(super) fn order(seed: u64, id: &str, copy: u64) -> u64 {
    hash::combine(hash::combine(hash::seeded(seed), hash::bytes(id.as_bytes())), copy)
}

/// The key of an address: without its scheme, fragment and default port, the host in lower case.
fn url_key(url: &str) -> u64 {
    let url = url.split('#').next().unwrap_or_default().trim();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest[..end].to_ascii_lowercase();
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(&host);
    let path = if rest[end..].is_empty() { "/" } else { &rest[end..] };
    hash::combine(hash::bytes(host.as_bytes()), hash::bytes(path.as_bytes()))
}

fn dropped(at: usize, kind: &str, finding: &Finding, document: &Document, note: &str) -> Value {
    let mut record = json!({"id": document.id, "source": document.source, "step": at + 1, "kind": kind, "rule": finding.rule,
        "value": finding.value, "limit": finding.limit});
    if let Some(url) = &document.url {
        record["url"] = json!(url);
    }
    if !note.is_empty() {
        record["note"] = json!(note);
    }
    record
}

fn line(at: usize, kind: &str, finding: &Finding, document: &Document, note: &str) -> anyhow::Result<Vec<u8>> {
    to_line(&dropped(at, kind, finding, document, note))
}

fn to_line(record: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_page() {
        let key = url_key("http://Example.org/a?b=1");
        for same in ["https://example.org/a?b=1#top", "example.org:80/a?b=1", " http://example.org/a?b=1 "] {
            assert_eq!(url_key(same), key, "{same}");
        }
        assert_ne!(url_key("http://example.org/A?b=1"), key);
        assert_eq!(url_key("http://example.org"), url_key("http://example.org/"));
    }
}
