//! Encodes labelled records as token ids, and makes variants of the policy.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use chat::Tokenizer;
use guard::record::{Asked, labelled};
use guard_model::Prompts;
use rand::RngExt;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use safety_text::policy::{Applies, Category, Policy};
use trainer::stage::sources::{Counts, Fit, Limits, Sequence};
use trainer::stage::{Encoded, Encoder, RecordError, Row};

/// The share of the categories that a variant of the policy keeps.
const KEPT: f64 = 0.6;

/// A training text.
#[derive(Debug, Clone)]
pub struct Text {
    /// The record's id, for messages.
    pub id: String,
    /// The side that wrote the text.
    pub side: Applies,
    /// The part of the prompt that is specific to the text.
    pub ids: Vec<u32>,
    /// Whether it is unsafe.
    pub is_unsafe: bool,
    /// Ids of the violated categories, if they are known.
    pub categories: Vec<String>,
}

/// A policy as the model sees it.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The categories that are shown, in order.
    pub categories: Vec<String>,
    /// The first part of the prompt, for each side.
    pub prefix: BTreeMap<Applies, Vec<u32>>,
}

/// The policy itself, and `count` variants with a random part of the categories in a random order; every fourth variant has names without
/// definitions.
///
/// # Errors
/// When the tokenizer refuses a text.
pub fn variants(
    tokenizer: &Tokenizer,
    prompts: &Prompts,
    policy: &Policy,
    count: usize,
    seed: u64,
) -> anyhow::Result<Vec<Variant>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut all = Vec::new();
    for number in 0..=count {
        let mut shown: Vec<&Category> = policy.categories.iter().filter(|category| category.enabled).collect();
        if number > 0 {
            let whole = shown.clone();
            shown.retain(|_| random.random::<f64>() < KEPT);
            if shown.is_empty() {
                shown = whole;
            }
            shown.shuffle(&mut random);
        }
        let mut prefix = BTreeMap::new();
        for side in [Applies::Prompt, Applies::Response] {
            let of = shown.iter().copied().filter(|category| category.applies.contains(&side));
            prefix.insert(side, prompts.policy(tokenizer, side, of, number % 4 != 3)?);
        }
        all.push(Variant { categories: shown.iter().map(|category| category.id.clone()).collect(), prefix });
    }
    Ok(all)
}

/// Encodes records as texts. Their content is never shown.
pub struct GuardEncoder<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model's prompts.
    pub prompts: &'a Prompts,
    /// The policy.
    pub policy: &'a Policy,
    /// Number of tokens of the longest first part.
    pub before: usize,
    /// The records that are trained on; the others are held out.
    pub train: HashSet<(PathBuf, u64)>,
    /// The length limits.
    pub limits: Limits,
}

const HELD_OUT: &str = "held out to weigh the tiers";
const UNSAFE: &str = "unsafe";
const UNKNOWN: &str = "unsafe of an unknown category";
const DROPPED: &str = "turns left out at the front";

/// Maximum number of tokens of an answer.
const ANSWER: usize = 48;

impl Encoder for GuardEncoder<'_> {
    type Example = Text;

    fn counters(&self) -> &'static [&'static str] {
        &[HELD_OUT, UNSAFE, UNKNOWN, DROPPED]
    }

    fn encode(&self, row: &Row) -> Result<Encoded<Text>, RecordError> {
        if !self.train.contains(&(row.place.path.clone(), row.place.number)) {
            return Ok(Encoded::left_out(HELD_OUT));
        }
        let record = labelled(row.value.clone(), &row.place, self.policy).map_err(dataset::Invalid)?;
        let mut encoded = Encoded::new(&[dataset::Message::user(record.asked.text())]);
        let question = self.prompts.question(self.tokenizer, &record.asked, self.before, ANSWER)?;
        encoded.counts.add(DROPPED, question.dropped_turns as u64);
        // If a text needs several windows, its label does not say which of them is unsafe.
        let tokens = self.before + question.windows.first().map_or(0, Vec::len) + ANSWER;
        let too_long = match question.windows.len() {
            1 => self.limits.excess(&format!("the record {}", record.id), tokens),
            windows => Some(format!("the record {} does not fit the context: {windows} windows", record.id)),
        };
        let text = Text {
            id: record.id,
            side: Asked::side(&record.asked),
            ids: question.windows.into_iter().next().unwrap_or_default(),
            is_unsafe: record.is_unsafe,
            categories: record.categories,
        };
        let fit = too_long.map_or(Fit::Whole(text), Fit::TooLong);
        encoded.add(fit, |text| text.ids.len(), |text| text);
        Ok(encoded)
    }

    fn id<'t>(&self, text: &'t Text) -> &'t str {
        &text.id
    }

    fn tokens(&self, text: &Text) -> usize {
        text.ids.len() + 8
    }

    fn longest(&self, text: &Text) -> usize {
        self.before + text.ids.len() + 8
    }

    fn count(&self, text: &Text, counts: &mut Counts) {
        counts.add(UNSAFE, u64::from(text.is_unsafe));
        counts.add(UNKNOWN, u64::from(text.is_unsafe && text.categories.is_empty()));
    }

    fn show(&self, text: &Text) -> Option<anyhow::Result<(String, String)>> {
        let line =
            format!("{} tokens of the policy, {} of the text {} (not shown)", self.before, text.ids.len(), text.id);
        Some(Ok(("the first text".into(), line)))
    }

    fn sequences(&self, text: &Text) -> Vec<Sequence> {
        vec![Sequence { name: "text".into(), ids: text.ids.clone(), mask: vec![false; text.ids.len()] }]
    }
}
