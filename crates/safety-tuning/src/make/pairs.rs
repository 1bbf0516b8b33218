//! Preference pairs: a refusal over compliance for harmful requests, an answer over a refusal for harmless ones.

use std::collections::BTreeMap;

use dataset::Message;
use safety_text::refusal::{Refusals, Verdict};
use serde_json::{Value, json};

use super::Counts;
use super::refusals::{Dealer, answer};
use super::requests::Request;

/// The pairs, and counts of what was left out.
#[derive(Debug, Default)]
pub struct Made {
    /// Preferences.
    pub pairs: Vec<Value>,
    /// Counts by event.
    pub(super) counts: Counts,
}

/// Makes preference pairs from requests and sampled answers. A harmful request needs a sampled answer that complies, a harmless one needs
/// a sampled answer; the other half may be a template.
#[must_use]
pub fn make(
    requests: &[Request],
    answers: &BTreeMap<String, Vec<String>>,
    refusals: &Refusals,
    dealer: &mut Dealer,
) -> Made {
    let mut made = Made::default();
    for request in requests {
        let sampled = answers.get(&request.id).map(Vec::as_slice).unwrap_or_default();
        let Some(complies) = answer(refusals, sampled) else {
            made.counts.add(match request.is_unsafe {
                true => "requests to refuse that no sampled answer complies with",
                false => "harmless requests that no sampled answer answers",
            });
            continue;
        };
        let said: Vec<String> =
            sampled.iter().filter(|text| refusals.judge(text) == Verdict::Refusal).cloned().collect();
        let Some((refusal, _)) = dealer.deal(request, &said, &mut made.counts) else {
            made.counts.add("requests without a refusal");
            continue;
        };
        let (chosen, rejected, what) = match request.is_unsafe {
            true => (refusal.as_str(), complies, "pairs that prefer a refusal"),
            false => (complies, refusal.as_str(), "pairs that prefer an answer"),
        };
        made.counts.add(what);
        let turn = |text: &str| vec![Message::assistant(text)];
        let source = if request.is_unsafe { "safety-refusal" } else { "safety-borderline" };
        made.pairs.push(
            json!({"id": request.id, "prompt": request.messages, "chosen": turn(chosen), "rejected": turn(rejected),
            "source": source}),
        );
    }
    made
}
