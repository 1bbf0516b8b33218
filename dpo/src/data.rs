//! Converts preferences to tokenised pairs.

use std::io::IsTerminal;

use chat::{ChatTemplate, Tokenizer};
use dataset::{Invalid, Message, Preference, check};
use trainer::stage::sources::{Counts, Limits, Sequence, Strengths};
use trainer::stage::{Encoded, Encoder, RecordError, Row};

use crate::batch::row_tokens;
use crate::config::{Config, FormattingTokens};
use crate::pairs::{self, Pair, PairError};

/// Tokenises preferences.
pub struct PairEncoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// The configuration, which decides which tokens count and when a pair shares its prompt.
    pub config: &'a Config,
    /// The length limits.
    pub limits: Limits,
    /// The selected strengths of preferences.
    pub strengths: Strengths,
}

const EQUAL: &str = "equal";
const EMPTY: &str = "empty";
const UNFINISHED: &str = "cut off by the sampler";
const OTHER_STRENGTH: &str = "of other strengths";
const SHARED: &str = "tokens shared by both sequences";
const RESPONSES: &str = "response tokens";
const FORMATTING: &str = "formatting tokens";

impl Encoder for PairEncoder<'_> {
    type Example = Pair;

    fn counters(&self) -> &'static [&'static str] {
        &[EQUAL, EMPTY, UNFINISHED, OTHER_STRENGTH, SHARED, RESPONSES, FORMATTING]
    }

    fn encode(&self, row: &Row) -> Result<Encoded<Pair>, RecordError> {
        let mut preference = Preference::try_from(row.value.clone())?;
        check::fill_id(&mut preference.id, &row.place);
        // Equal answers are counted separately, after tokenisation.
        if preference.chosen != preference.rejected {
            check::is_preference(&preference)?;
        }
        if !self.strengths.takes(preference.strength.as_ref()) {
            return Ok(Encoded::left_out(OTHER_STRENGTH));
        }
        let mut encoded = Encoded::new(&preference.prompt);
        let what = format!("the pair {}", preference.id);
        let fit = self.limits.fit(
            &preference.prompt,
            |prompt: &[Message]| {
                let preference = Preference { prompt: prompt.to_vec(), ..preference.clone() };
                pairs::encode(self.tokenizer, self.template, &preference).map_err(refusal)
            },
            |pair| self.limits.excess(&what, pair.longest()),
        )?;
        encoded.add(fit, Pair::longest, |pair| pair);
        Ok(encoded)
    }

    fn id<'p>(&self, pair: &'p Pair) -> &'p str {
        &pair.id
    }

    fn tokens(&self, pair: &Pair) -> usize {
        row_tokens(pair, self.config.share_prompt)
    }

    fn longest(&self, pair: &Pair) -> usize {
        pair.longest()
    }

    fn count(&self, pair: &Pair, counts: &mut Counts) {
        counts.add(SHARED, pair.shared() as u64);
        for sequence in [&pair.chosen, &pair.rejected] {
            let response = sequence.response().count();
            counts.add(RESPONSES, response as u64);
            counts.add(FORMATTING, (response - sequence.content_tokens()) as u64);
        }
    }

    fn show(&self, pair: &Pair) -> Option<anyhow::Result<(String, String)>> {
        let colour = std::io::stdout().is_terminal();
        let effect = match self.config.formatting_tokens {
            FormattingTokens::Mask => "formatting, left out of the preference loss",
            FormattingTokens::Keep => "formatting, in the preference loss too",
        };
        let legend = if colour {
            format!("green chosen, red rejected, yellow {effect}")
        } else {
            format!("⟦ ⟧ counts in the preference loss, ⟨ ⟩ {effect}")
        };
        Some(pairs::show(self.tokenizer, pair, colour).map(|text| (legend, text)).map_err(Into::into))
    }

    fn sequences(&self, pair: &Pair) -> Vec<Sequence> {
        let formatting = self.config.formatting_tokens;
        let of = |name: &str, sequence: &pairs::Sequence| Sequence {
            name: name.into(),
            ids: sequence.ids.clone(),
            mask: sequence.parts.iter().map(|&part| formatting.counts(part)).collect(),
        };
        vec![of("chosen", &pair.chosen), of("rejected", &pair.rejected)]
    }

    fn finish(&self) {
        self.strengths.warn();
    }
}

/// The error for a pair that cannot be trained on, with the name of its reason if it has one.
fn refusal(why: PairError) -> RecordError {
    let counted = match why {
        PairError::Equal => Some(EQUAL),
        PairError::Empty(_) => Some(EMPTY),
        PairError::Unfinished(_) => Some(UNFINISHED),
        _ => None,
    };
    RecordError::Bad(Invalid(why.to_string()), counted)
}
