//! Map steps that load data first, or use more than the text.

use anyhow::ensure;
use dataset::jsonl::{self, OnBadLine};
use safety_text::domains::Domains;
use safety_text::filter::Limits;
use safety_text::pii::Pii;
use serde_json::Value;
use text_quality::ngrams::Index;

use crate::filters::Finding;
use crate::quality::Classifier;
use crate::read::Item;
use crate::recipe::{Alt, Decontaminate, Step};

/// The loaded data of such a step.
pub(super) enum Tool {
    Hosts(Domains),
    Personal(Pii, Limits),
    Extract(html_text::Options),
    Languages { model: Box<language_id::LanguageId>, keep: Vec<String>, min_probability: f64 },
    Score(Box<Classifier>),
    Questions { index: Index, texts: Vec<String>, min_share: f64 },
}

/// The result of a map step for a document.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The findings; the last one may drop the document.
    pub findings: Vec<Finding>,
    /// The new text, if the step changes it.
    pub text: Option<String>,
    /// Whether the step makes the text (extraction), rather than only shortening it.
    pub makes_text: bool,
    /// Fields of `meta` that it sets.
    pub meta: Vec<(&'static str, Value)>,
    /// A note for the example in the report.
    pub note: String,
}

impl Tool {
    /// Loads the data of a step; `None` for filters of texts.
    pub fn load(step: &Step) -> anyhow::Result<Option<Self>> {
        Ok(match step {
            Step::Extract(step) => Some(Self::Extract(html_text::Options {
                alt: match step.alt {
                    Alt::Formulas => html_text::Alt::Formulas,
                    Alt::Inline => html_text::Alt::Inline,
                    Alt::All => html_text::Alt::All,
                },
                ..html_text::Options::default()
            })),
            Step::Language(step) => Some(Self::Languages {
                model: Box::new(language_id::LanguageId::load()?),
                keep: step.keep.clone(),
                min_probability: step.min_probability,
            }),
            Step::UrlFilter(step) => {
                let mut domains = Domains::new();
                for path in &step.lists {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    domains.add_file(&name, path)?;
                }
                if let Some(path) = &step.allow {
                    domains.allow_file(path)?;
                }
                Some(Self::Hosts(domains))
            }
            Step::Pii(step) => Some(Self::Personal(Pii::default(), Limits { max_pii: step.max, ..Limits::default() })),
            Step::Decontaminate(step) => Some(questions(step)?),
            Step::Quality(step) => match &step.classifier {
                Some(path) => Some(Self::Score(Box::new(Classifier::read(path)?))),
                None => None,
            },
            _ => None,
        })
    }

    pub fn judge(&self, item: &Item) -> Judged {
        match self {
            Self::Hosts(domains) => {
                let Some(hit) = item.document.url.as_deref().and_then(|url| domains.find(url)) else {
                    return Judged::default();
                };
                let finding = Finding { rule: format!("list_{}", hit.list), value: 1.0, limit: 0.0, passed: false };
                Judged { findings: vec![finding], note: format!("entry {}", hit.entry), ..Judged::default() }
            }
            Self::Personal(pii, limits) => {
                let text = &item.document.text;
                let redacted = pii.redact(text);
                let words = text.split_whitespace().count();
                let value = redacted.findings.len() as f64 * 1000.0 / words.max(1) as f64;
                let dropped = limits.pii(redacted.findings.len(), words);
                let finding =
                    Finding { rule: "personal_data".into(), value, limit: limits.max_pii, passed: dropped.is_none() };
                let note = dropped.map_or(String::new(), |dropped| dropped.detail);
                let text = (!redacted.findings.is_empty()).then_some(redacted.text);
                Judged { findings: vec![finding], text, note, ..Judged::default() }
            }
            Self::Extract(options) => extract(item, options),
            // A group step: see `Work::scores`.
            Self::Score(_) => Judged::default(),
            Self::Languages { model, keep, min_probability } => {
                let guess = model.guess(&item.document.text);
                let (language, probability) =
                    guess.map_or((String::new(), 0.0), |guess| (guess.language, f64::from(guess.probability)));
                let mut findings = vec![Finding {
                    rule: "language_probability".into(),
                    value: probability,
                    limit: *min_probability,
                    passed: probability >= *min_probability,
                }];
                if findings[0].passed && !keep.is_empty() {
                    let kept = keep.contains(&language);
                    let value = f64::from(u8::from(kept));
                    findings.push(Finding { rule: "language".into(), value, limit: 1.0, passed: kept });
                }
                let note = format!("{language}, {probability:.3}");
                Judged { findings, meta: vec![("language", language.into())], note, ..Judged::default() }
            }
            Self::Questions { index, texts, min_share } => {
                let found = index.contained(&item.document.text);
                let share = found.as_ref().map_or(0.0, |found| found.share);
                let finding = Finding {
                    rule: "question_share".into(),
                    value: share,
                    limit: *min_share,
                    passed: share < *min_share,
                };
                let note = found.map_or(String::new(), |found| {
                    let question: String = texts[found.question].chars().take(200).collect();
                    format!("common words: {}; question: {question}", found.gram)
                });
                Judged { findings: vec![finding], note, ..Judged::default() }
            }
        }
    }
}

fn extract(item: &Item, options: &html_text::Options) -> Judged {
    let Some(page) = &item.page else { return Judged::default() };
    let found = html_text::extract(&html_text::decode(&page.bytes, page.content_type.as_deref()), options);
    let length = found.text.trim().len();
    let finding = Finding { rule: "no_text".into(), value: length as f64, limit: 1.0, passed: length > 0 };
    let mut meta = Vec::new();
    for (key, value) in [("title", found.title), ("published", found.date), ("declared_language", found.language)] {
        meta.extend(value.map(|value| (key, Value::from(value))));
    }
    Judged { findings: vec![finding], text: Some(found.text), makes_text: true, meta, ..Judged::default() }
}

fn questions(step: &Decontaminate) -> anyhow::Result<Tool> {
    let mut texts = Vec::new();
    for path in &step.questions {
        let before = texts.len();
        for record in jsonl::read::<Value>(path, OnBadLine::Error)? {
            match record? {
                Value::Object(fields) => fields
                    .iter()
                    .filter(|(name, _)| step.fields.is_empty() || step.fields.contains(name))
                    .for_each(|(_, value)| collect(value, &mut texts)),
                other => collect(&other, &mut texts),
            }
        }
        ensure!(
            texts.len() > before,
            "{}: has no text in the fields {}, so that the step could match nothing",
            path.display(),
            step.fields.join(", ")
        );
    }
    let index = Index::new(texts.iter().map(String::as_str));
    ensure!(!index.is_empty(), "no question has 8 words, so that the step could match nothing");
    if index.short > 0 {
        eprintln!(
            "decontaminate: {} of {} texts have fewer than 8 words and cannot be found",
            index.short,
            index.len()
        );
    }
    Ok(Tool::Questions { index, texts, min_share: step.min_share })
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, texts)),
        _ => {}
    }
}
