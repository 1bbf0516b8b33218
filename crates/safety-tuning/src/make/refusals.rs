//! Conversations with refusals of harmful requests and answers to harmless ones.

use std::collections::{BTreeMap, HashMap};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safety_text::refusal::{Refusals, Verdict};
use serde_json::Value;

use super::requests::{Request, conversation};
use super::{Counts, templates, tone};
use crate::degenerate::degenerate;

/// The conversations, and counts of what was left out.
#[derive(Debug, Default)]
pub struct Made {
    /// Refusals.
    pub refusals: Vec<Value>,
    /// Answers to harmless requests.
    pub borderline: Vec<Value>,
    /// Counts by event.
    pub(super) counts: Counts,
}

/// Selects refusals: sampled ones that pass, otherwise templates. No opening exceeds a share.
pub struct Dealer<'a> {
    refusals: &'a Refusals,
    seed: u64,
    /// The maximum share of refusals with the same three first words.
    share: f64,
    /// Whether templates may replace missing refusals.
    templates: bool,
    used: HashMap<String, usize>,
    dealt: usize,
    next: usize,
}

/// Reasons why a sampled refusal is rejected.
const NO_REFUSAL: &str = "sampled refusals that do not refuse";
const TONE: &str = "sampled refusals with a fault in tone";
const HABIT: &str = "sampled refusals whose opening is too frequent";

/// Number of refusals after which shares are enforced.
const FIRST: usize = 20;

impl<'a> Dealer<'a> {
    /// A dealer of one data set.
    #[must_use]
    pub fn new(refusals: &'a Refusals, seed: u64, share: f64, templates: bool) -> Self {
        Self { refusals, seed, share, templates, used: HashMap::new(), dealt: 0, next: 0 }
    }

    /// A refusal of a request with its source: the first sampled one that refuses in the right tone, otherwise a template.
    pub(super) fn deal(
        &mut self,
        request: &Request,
        sampled: &[String],
        counts: &mut Counts,
    ) -> Option<(String, &'static str)> {
        for text in sampled {
            let opening = tone::opening(text);
            let used = self.used.get(&opening).copied().unwrap_or(0);
            let why = match () {
                () if self.refusals.judge(text) != Verdict::Refusal || degenerate(text).is_some() => NO_REFUSAL,
                () if tone::fault(text).is_some() => TONE,
                () if self.dealt >= FIRST && (used + 1) as f64 > self.share * (self.dealt + 1) as f64 => HABIT,
                () => {
                    *self.used.entry(opening).or_default() += 1;
                    self.dealt += 1;
                    return Some((text.trim().to_owned(), "sampled"));
                }
            };
            counts.add(why);
        }
        if !self.templates {
            return None;
        }
        // The seed is derived from the request's id, so that the sentences do not depend on which requests are selected.
        let own = dataset::digest::bytes(format!("{}/{}", self.seed, request.id).as_bytes());
        let mut random = ChaCha8Rng::seed_from_u64(u64::from_str_radix(&own[..16], 16).unwrap_or(self.seed));
        let text = templates::refusal(&mut random, self.next, request.category.as_deref());
        // Openings take turns. The step 7 and their number have no common factor, so neighbours differ.
        self.next = (self.next + 7) % templates::openings();
        *self.used.entry(tone::opening(&text)).or_default() += 1;
        self.dealt += 1;
        Some((text, "template"))
    }
}

/// A usable answer: it answers, and is neither a loop nor noise.
pub(super) fn answer<'t>(refusals: &Refusals, sampled: &'t [String]) -> Option<&'t str> {
    let found = sampled.iter().find(|text| refusals.judge(text) == Verdict::Answer && degenerate(text).is_none());
    found.map(|text| text.trim())
}

/// Makes conversations from requests and sampled answers.
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
        if request.is_unsafe {
            match dealer.deal(request, sampled, &mut made.counts) {
                Some((text, from)) => {
                    made.counts.add(if from == "sampled" { "refusals sampled" } else { "refusals from templates" });
                    made.refusals.push(conversation(request, &text, "safety-refusal"));
                }
                None => made.counts.add("requests to refuse without a refusal"),
            }
        } else if let Some(text) = answer(refusals, sampled) {
            made.counts.add("answers to harmless requests");
            made.borderline.push(conversation(request, text, "safety-borderline"));
        } else if sampled.is_empty() {
            made.counts.add("harmless requests without an answer");
        } else {
            made.counts.add("harmless requests whose answers refuse, repeat themselves or are empty");
        }
    }
    made
}
