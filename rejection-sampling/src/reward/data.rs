//! Converts preferences to ranked groups of tokens.

use chat::{ChatTemplate, Tokenizer};
use dataset::{Invalid, Message, Preference, check};
use trainer::stage::sources::{Counts, Limits, Sequence, Strengths};
use trainer::stage::{Encoded, Encoder, RecordError, Row};

use super::group::Group;
use super::loss::ranked_pairs;
use super::model::encode;

/// A prompt with its responses, best first.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// The id, for messages.
    pub id: String,
    /// Prompt and responses.
    pub group: Group,
}

impl Ranked {
    /// The pairs of the ranking.
    #[must_use]
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        ranked_pairs(self.group.responses.len())
    }
}

/// Tokenises preferences.
pub struct RankEncoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// The length limits.
    pub limits: Limits,
    /// Maximum number of tokens of a group in one row; a group is never split.
    pub row_tokens: usize,
    /// The selected strengths of preferences.
    pub strengths: Strengths,
}

const EQUAL: &str = "with equal answers";
const UNCHANGED: &str = "with an edited answer equal to the chosen one";
const OTHER_STRENGTH: &str = "of other strengths";
const PAIRS: &str = "pairs";
const UNSHARED: &str = "tokens with a prompt for each response";

impl Encoder for RankEncoder<'_> {
    type Example = Ranked;

    fn counters(&self) -> &'static [&'static str] {
        &[EQUAL, UNCHANGED, OTHER_STRENGTH, PAIRS, UNSHARED]
    }

    fn encode(&self, row: &Row) -> Result<Encoded<Ranked>, RecordError> {
        let mut preference = Preference::try_from(row.value.clone())?;
        check::fill_id(&mut preference.id, &row.place);
        check::is_preference(&preference)?;
        if !self.strengths.takes(preference.strength.as_ref()) {
            return Ok(Encoded::left_out(OTHER_STRENGTH));
        }
        let mut encoded = Encoded::new(&preference.prompt);
        // An edited answer without changes is not a third answer.
        if preference.edited.as_ref() == Some(&preference.chosen) {
            preference.edited = None;
            encoded.counts.add(UNCHANGED, 1);
        }
        let fit = self.limits.fit(
            &preference.prompt,
            |prompt| self.ranked(&preference, prompt),
            |ranked| self.excess(ranked),
        )?;
        encoded.add(fit, |ranked| ranked.group.longest(), |ranked| ranked);
        Ok(encoded)
    }

    fn id<'r>(&self, ranked: &'r Ranked) -> &'r str {
        &ranked.id
    }

    fn tokens(&self, ranked: &Ranked) -> usize {
        ranked.group.tokens()
    }

    fn longest(&self, ranked: &Ranked) -> usize {
        ranked.group.longest()
    }

    fn count(&self, ranked: &Ranked, counts: &mut Counts) {
        counts.add(PAIRS, ranked.pairs().len() as u64);
        let prompts = ranked.group.prompt.len() * (ranked.group.responses.len() - 1);
        counts.add(UNSHARED, (ranked.group.tokens() + prompts) as u64);
    }

    fn show(&self, ranked: &Ranked) -> Option<anyhow::Result<(String, String)>> {
        Some(self.text(ranked).map(|text| ("shared beginning, then the responses, best first".into(), text)))
    }

    fn sequences(&self, ranked: &Ranked) -> Vec<Sequence> {
        let sequence = |(rank, response): (usize, &Vec<i64>)| {
            let ids = [&ranked.group.prompt[..], response].concat();
            let mask = (1..=ids.len()).map(|place| place == ids.len()).collect();
            Sequence {
                name: format!("response {}", rank + 1),
                ids: ids.into_iter().map(|id| id as u32).collect(),
                mask,
            }
        };
        ranked.group.responses.iter().enumerate().map(sequence).collect()
    }

    fn finish(&self) {
        self.strengths.warn();
    }
}

impl RankEncoder<'_> {
    fn text(&self, ranked: &Ranked) -> anyhow::Result<String> {
        let text = |ids: &[i64]| self.tokenizer.decode(&ids.iter().map(|&id| id as u32).collect::<Vec<_>>(), false);
        let responses = &ranked.group.responses;
        let mut shown = text(&ranked.group.prompt)?;
        for (rank, response) in responses.iter().enumerate() {
            shown += &format!("\n--- response {} of {}\n{}", rank + 1, responses.len(), text(response)?);
        }
        Ok(shown)
    }

    /// The answers in the order edited, chosen, rejected, best first.
    fn ranked(&self, preference: &Preference, prompt: &[Message]) -> Result<Ranked, RecordError> {
        let tools = preference.tools()?;
        let answers = [
            ("edited", preference.edited.as_ref()),
            ("chosen", Some(&preference.chosen)),
            ("rejected", Some(&preference.rejected)),
        ];
        let mut conversations: Vec<(&str, Vec<i64>)> = Vec::new();
        for (name, answer) in answers.into_iter().filter_map(|(name, answer)| Some((name, answer?))) {
            let messages = [prompt, answer].concat();
            let ids = encode(self.tokenizer, self.template, &messages, tools.clone())?;
            // An answer that is ranked above itself would only teach noise.
            if let Some((other, _)) = conversations.iter().find(|(_, others)| *others == ids) {
                let why = format!("{other}, {name}: have the same tokens, so there is nothing to prefer");
                return Err(RecordError::Bad(Invalid(why), Some(EQUAL)));
            }
            conversations.push((name, ids));
        }
        let conversations: Vec<Vec<i64>> = conversations.into_iter().map(|(_, ids)| ids).collect();
        Ok(Ranked { id: preference.id.clone(), group: Group::new(&conversations) })
    }

    fn excess(&self, ranked: &Ranked) -> Option<String> {
        let what = format!("the preference {}", ranked.id);
        let tokens = ranked.group.tokens();
        self.limits.excess(&what, ranked.group.longest()).or_else(|| {
            (tokens > self.row_tokens).then(|| {
                format!(
                    "{what} has {tokens} tokens in one row, --micro-batch-tokens allows {}; raise that, or choose \
                     --over-long drop or truncate-prompt",
                    self.row_tokens
                )
            })
        })
    }
}
