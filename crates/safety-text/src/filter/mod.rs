//! All filters combined: decides whether a document is dropped, and redacts it. The result is a pure function of the document,
//! and states the rule, the value and the limit. A pipeline calls it for each document.
//!
//! ```
//! use safety_text::filter::{Filters, Limits};
//! use safety_text::pii::Pii;
//!
//! let filters = Filters { pii: Some(Pii::default()), ..Filters::new(Limits::default()) };
//! let judged = filters.judge("Write to jo@example.org about the rest of this long and harmless letter.", None);
//! assert!(judged.dropped.is_none() && judged.pii.len() == 1);
//! assert_eq!(filters.redact("Write to jo@example.org.").text, "Write to <EMAIL>.");
//! ```

pub mod command;
mod fields;

use serde::{Deserialize, Serialize};

use crate::code::{self, Issue, Language, Level, markdown};
use crate::domains::Domains;
use crate::pii::{Finding, Pii, Redacted};
use crate::toxicity::{Document, Toxicity};
use crate::words::{WordCount, Words};

/// Limits above which a document is dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Limits {
    /// Drop a document with more findings of personal data than this per 1,000 words, and at least 3 in total
    #[arg(long, default_value_t = 20.0, help_heading = "Limits")]
    pub max_pii: f64,
    /// Drop a document with more listed words than this per 1,000 words, and at least --min-hits in total
    #[arg(long, default_value_t = 10.0, help_heading = "Limits")]
    pub max_listed_words: f64,
    /// Minimum number of listed words for which a document is dropped
    #[arg(long, default_value_t = 3, help_heading = "Limits")]
    pub min_hits: u64,
    /// Drop a document if more than this share of its pieces is toxic (score of at least 0.5), and at least 2 in total
    #[arg(long, default_value_t = 0.3, help_heading = "Limits")]
    pub max_toxic: f64,
    /// Drop a document with more findings of insecure code than this
    #[arg(long, default_value_t = 0, help_heading = "Limits")]
    pub max_code: usize,
}

impl Default for Limits {
    /// The defaults of the command line.
    fn default() -> Self {
        Self { max_pii: 20.0, max_listed_words: 10.0, min_hits: 3, max_toxic: 0.3, max_code: 0 }
    }
}

/// Number of personal-data findings that a document may have regardless of its length.
const FEW_FINDINGS: usize = 3;
/// Number of toxic pieces from which a document may be dropped.
const FEW_PIECES: u64 = 2;

/// Why a document is dropped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dropped {
    /// Name of the rule: `url:LIST`, `words`, `pii`, `code:RULE`, `toxicity`.
    pub rule: String,
    /// Value that the rule measured.
    pub value: f64,
    /// Limit that the value exceeds.
    pub limit: f64,
    /// Details without the text itself: the entry of a list, or counts.
    pub detail: String,
}

/// Results of the filters for a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Why it is dropped, according to the first rule that applies; `None` if it is kept.
    pub dropped: Option<Dropped>,
    /// Personal data; empty if that filter is off or an earlier rule dropped the document.
    pub pii: Vec<Finding>,
    /// Listed words; `None` under the same conditions.
    pub words: Option<WordCount>,
    /// Insecure code in the text's code blocks; empty under the same conditions.
    pub code: Vec<Issue>,
    /// Toxicity; `None` under the same conditions.
    pub toxicity: Option<Document>,
}

/// The active filters.
#[derive(Debug, Default)]
pub struct Filters {
    /// Lists of hosts, for documents with an address.
    pub domains: Option<Domains>,
    /// Filter for personal data.
    pub pii: Option<Pii>,
    /// List of words.
    pub words: Option<Words>,
    /// Lowest level of insecure code that counts.
    pub code: Option<Level>,
    /// Model of toxicity.
    pub toxicity: Option<Toxicity>,
    /// The limits.
    pub limits: Limits,
}

impl Filters {
    /// No filter is active; set the fields of those that are wanted.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Applies the filters in order of increasing cost: address, words, personal data, code blocks, toxicity. The first rule
    /// that drops the document ends the evaluation.
    #[must_use]
    pub fn judge(&self, text: &str, address: Option<&str>) -> Judged {
        let mut judged = Judged { dropped: self.judge_address(address), ..Judged::default() };
        if judged.dropped.is_some() {
            return judged;
        }
        if let Some(words) = &self.words {
            let count = words.count(text);
            judged.words = Some(count);
            judged.dropped = self.limits.words(count);
            if judged.dropped.is_some() {
                return judged;
            }
        }
        if let Some(pii) = &self.pii {
            judged.pii = pii.find(text);
            judged.dropped = self.limits.pii(judged.pii.len(), text.split_whitespace().count());
            if judged.dropped.is_some() {
                return judged;
            }
        }
        if let Some(level) = self.code {
            judged.code = at_least(level, markdown::find_in_blocks(text));
            judged.dropped = self.limits.code(&judged.code);
            if judged.dropped.is_some() {
                return judged;
            }
        }
        if let Some(toxicity) = &self.toxicity {
            let document = toxicity.document(text);
            judged.toxicity = Some(document);
            judged.dropped = self.limits.toxicity(document);
        }
        judged
    }

    /// The findings in a whole program, and why it is dropped; nothing if that filter is off.
    #[must_use]
    pub fn judge_code(&self, language: Language, program: &str) -> (Vec<Issue>, Option<Dropped>) {
        let Some(level) = self.code else { return (Vec::new(), None) };
        let issues = at_least(level, code::find(language, program));
        let dropped = self.limits.code(&issues);
        (issues, dropped)
    }

    /// Why an address is dropped according to the lists of hosts; `None` if it is not.
    #[must_use]
    pub fn judge_address(&self, address: Option<&str>) -> Option<Dropped> {
        let hit = self.domains.as_ref()?.find(address?)?;
        Some(Dropped { rule: format!("url:{}", hit.list), value: 1.0, limit: 0.0, detail: hit.entry })
    }

    /// Redacts the personal data of a text; returns it unchanged if that filter is off.
    #[must_use]
    pub fn redact(&self, text: &str) -> Redacted {
        match &self.pii {
            Some(pii) => pii.redact(text),
            None => Redacted { text: text.to_owned(), findings: Vec::new() },
        }
    }
}

impl Limits {
    /// Whether a document of `words` words has too many findings of personal data.
    #[must_use]
    pub fn pii(&self, findings: usize, words: usize) -> Option<Dropped> {
        let value = findings as f64 * 1000.0 / words.max(1) as f64;
        let detail = format!("{findings} findings in {words} words");
        let is_over = findings > FEW_FINDINGS && value > self.max_pii;
        is_over.then(|| Dropped { rule: "pii".into(), value, limit: self.max_pii, detail })
    }

    /// Whether a document has too many listed words.
    #[must_use]
    pub fn words(&self, count: WordCount) -> Option<Dropped> {
        let value = count.per_thousand();
        let detail = format!("{} hits of {} entries in {} words", count.hits, count.distinct, count.words);
        let is_over = count.hits >= self.min_hits && value > self.max_listed_words;
        is_over.then(|| Dropped { rule: "words".into(), value, limit: self.max_listed_words, detail })
    }

    /// Whether a document has too many findings of insecure code. The rule of the first finding is the reason.
    #[must_use]
    pub fn code(&self, issues: &[Issue]) -> Option<Dropped> {
        let first = issues.first().filter(|_| issues.len() > self.max_code)?;
        Some(Dropped {
            rule: format!("code:{}", first.rule.id),
            value: issues.len() as f64,
            limit: self.max_code as f64,
            detail: format!("line {}: {}", first.line, first.rule.message),
        })
    }

    /// Whether a document is too toxic.
    #[must_use]
    pub fn toxicity(&self, document: Document) -> Option<Dropped> {
        let toxic = (document.share * document.pieces as f64).round() as u64;
        let detail = format!("{toxic} of {} pieces", document.pieces);
        let is_over = toxic >= FEW_PIECES && document.share > self.max_toxic;
        is_over.then(|| Dropped { rule: "toxicity".into(), value: document.share, limit: self.max_toxic, detail })
    }
}

/// The findings with at least this level.
fn at_least(level: Level, issues: Vec<Issue>) -> Vec<Issue> {
    issues.into_iter().filter(|issue| issue.level >= level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters() -> Filters {
        let mut domains = Domains::new();
        domains.add("ads", &b"bad.example\n"[..], "ads").unwrap();
        let table = "{\"format\": \"herd-toxicity\", \"version\": 1, \"source\": \"s\", \"licence\": \"l\", \"heads\": \
                     [{\"intercept\": -1.0, \"a\": -9.0, \"c\": 0.0}]}\n{\"word\": \"awful\", \"idf\": 1.0, \"weights\": [2.0]}\n";
        Filters {
            domains: Some(domains),
            pii: Some(Pii::default()),
            words: Some(Words::new("darn\n").unwrap()),
            code: Some(Level::Warning),
            toxicity: Some(Toxicity::parse(table, "t").unwrap()),
            limits: Limits::default(),
        }
    }

    #[test]
    fn the_first_rule_that_drops_names_itself() {
        let filters = filters();
        let rule = |text: &str, url| filters.judge(text, url).dropped.map(|dropped| dropped.rule);
        let many = "a@example.org b@example.org c@example.org d@example.org";
        assert_eq!(rule(many, Some("http://x.bad.example/")).as_deref(), Some("url:ads"));
        assert_eq!(rule(many, Some("http://good.example/")).as_deref(), Some("pii"));
        assert_eq!(rule("darn darn darn", None).as_deref(), Some("words"));
        assert_eq!(rule("awful\nawful\nfine", None).as_deref(), Some("toxicity"));
        assert_eq!(rule("Run\n```python\neval(x)\n```\n", None).as_deref(), Some("code:py-eval"));
        assert_eq!(rule("Run\n```python\nrandom.random()\n```\n", None), None, "advice does not count");
        assert_eq!(rule("a fine day, darn it, with jo@example.org", Some("good.example")), None);
        let dropped = filters.judge("darn darn darn", None).dropped.unwrap();
        assert_eq!((dropped.value, dropped.limit), (1000.0, 10.0));
    }

    #[test]
    fn programs_are_judged_as_a_whole() {
        let filters = filters();
        let (issues, dropped) = filters.judge_code(Language::Python, "x = 1\neval(x)\n");
        assert_eq!((issues.len(), issues[0].line), (1, 2));
        let dropped = dropped.unwrap();
        assert_eq!((dropped.rule.as_str(), dropped.value, dropped.limit), ("code:py-eval", 1.0, 0.0));
        let generous = Filters { limits: Limits { max_code: 1, ..Limits::default() }, ..filters };
        assert!(generous.judge_code(Language::Python, "eval(x)").1.is_none());
        assert!(Filters::default().judge_code(Language::Python, "eval(x)").0.is_empty(), "the filter is off");
    }

    #[test]
    fn lengths_count() {
        let filters = filters();
        let long =
            format!("{} a@example.org b@example.org c@example.org d@example.org darn darn darn", "word ".repeat(500));
        let judged = filters.judge(&long, None);
        assert!(judged.dropped.is_none(), "{:?}", judged.dropped);
        assert_eq!((judged.pii.len(), judged.words.unwrap().hits, judged.toxicity.unwrap().share), (4, 3, 0.0));
    }
}
