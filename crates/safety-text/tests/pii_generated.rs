//! Precision and recall on generated documents (`generated/`), and redaction of the same documents.

use crate::generated;

use std::collections::BTreeMap;

use generated::{Document, documents};
use proptest::prelude::*;
use safety_text::pii::{Finding, Pii};

/// Number of correct findings, of findings, of found entities and of entities.
#[derive(Default, Clone, Copy)]
struct Score {
    right: usize,
    findings: usize,
    found: usize,
    data: usize,
}

impl Score {
    fn precision(self) -> f64 {
        self.right as f64 / self.findings.max(1) as f64
    }

    fn recall(self) -> f64 {
        self.found as f64 / self.data.max(1) as f64
    }
}

/// A finding is correct if it has the kind of the entity and covers at least four fifths of the union of both.
fn agrees(finding: &Finding, entity: &generated::Entity) -> bool {
    let common = finding.end.min(entity.end).saturating_sub(finding.start.max(entity.start));
    let both = finding.end.max(entity.end) - finding.start.min(entity.start);
    finding.kind().name() == entity.kind && common * 5 >= both * 4
}

/// Scores by kind and in total, and the list of missed entities and false findings.
fn judge(documents: &[Document]) -> (BTreeMap<&'static str, Score>, Vec<String>) {
    let pii = Pii::default();
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    let mut wrong = Vec::new();
    for document in documents {
        let findings = pii.find(&document.text);
        for finding in &findings {
            let right = document.entities.iter().any(|entity| agrees(finding, entity));
            for kind in [finding.kind().name(), "all"] {
                let score = scores.entry(kind).or_default();
                score.findings += 1;
                score.right += usize::from(right);
            }
            if !right {
                let from = document.text[..finding.start].char_indices().rev().nth(30).map_or(0, |at| at.0);
                let shown = &document.text[from..finding.end];
                wrong.push(format!("false  {:<22} {shown:?}", finding.rule.name));
            }
        }
        for entity in &document.entities {
            let found = findings.iter().any(|finding| agrees(finding, entity));
            for kind in [entity.kind, "all"] {
                let score = scores.entry(kind).or_default();
                score.data += 1;
                score.found += usize::from(found);
            }
            if !found {
                let from = document.text[..entity.start].char_indices().rev().nth(30).map_or(0, |at| at.0);
                wrong.push(format!("missed {:<22} {:?}", entity.made, &document.text[from..entity.end]));
            }
        }
    }
    (scores, wrong)
}

#[test]
fn precision_and_recall_hold_for_every_kind() {
    // For another seed: PII_SEED=7 cargo test -p safety-text --test main pii_generated -- --nocapture
    let seed = std::env::var("PII_SEED").map_or(9001, |seed| seed.parse().unwrap());
    let (scores, wrong) = judge(&documents(seed, 4000));
    for (kind, score) in &scores {
        println!("{kind:<8} precision {:.4} recall {:.4} of {}", score.precision(), score.recall(), score.data);
    }
    for line in wrong.iter().take(60) {
        println!("{line}");
    }
    let all = scores["all"];
    assert!(all.data > 10_000, "{}", all.data);
    assert!(all.precision() >= 0.99, "precision {:.4}", all.precision());
    assert!(all.recall() >= 0.97, "recall {:.4}", all.recall());
    for (kind, score) in scores {
        assert!(score.precision() >= 0.97 && score.recall() >= 0.95, "{kind}");
    }
}

#[test]
fn the_documents_hold_what_they_say() {
    let documents = documents(1, 500);
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for document in &documents {
        for entity in &document.entities {
            assert!(document.text.is_char_boundary(entity.start) && document.text.is_char_boundary(entity.end));
            *made.entry(entity.made).or_default() += 1;
        }
    }
    assert!(made.len() > 60, "{made:?}");
    // Without rules nothing is found, so the measure itself can fail.
    let none = Pii::new(&[]);
    assert!(documents.iter().all(|document| none.find(&document.text).is_empty()));
}

#[test]
fn redaction_of_documents() {
    let pii = Pii::default();
    for document in documents(3, 1000) {
        let redacted = pii.redact(&document.text);
        assert_eq!(pii.redact(&redacted.text).text, redacted.text, "{:?}", document.text);
        assert!(redacted.findings.windows(2).all(|pair| pair[0].end <= pair[1].start));
        // Text that was not replaced is in both texts, in order.
        let (mut rest, mut at) = (redacted.text.as_str(), 0);
        for finding in &redacted.findings {
            let plain = &document.text[at..finding.start];
            rest = rest.strip_prefix(plain).unwrap_or_else(|| panic!("{:?}", document.text));
            rest = rest.strip_prefix(finding.kind().placeholder()).unwrap_or_else(|| panic!("{:?}", document.text));
            at = finding.end;
        }
        assert_eq!(rest, &document.text[at..]);
    }
}

proptest! {
    /// For any text: no panic, offsets on character boundaries, and nothing is found after redaction.
    #[test]
    fn any_text(text in r"([a-zé日 @.:+()\-]|[0-9]{1,4}|jo@example\.org|\+49|IBAN|DE89|card |tel\. |//|::){0,40}") {
        let pii = Pii::default();
        for finding in pii.find(&text) {
            prop_assert!(text.is_char_boundary(finding.start) && text.is_char_boundary(finding.end));
            prop_assert!(finding.start < finding.end);
        }
        let redacted = pii.redact(&text);
        prop_assert!(pii.find(&redacted.text).is_empty());
        prop_assert_eq!(&pii.redact(&redacted.text).text, &redacted.text);
    }
}
