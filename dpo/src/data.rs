//! Preferences in, pairs out, with a ledger of everything that happened to them.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use chat::{ChatTemplate, Tokenizer};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Invalid, Place, Preference, Strength, check, digest};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::config::{Config, OverLong};
use crate::pairs::{self, Pair, PairError};

/// What happened to the records of one file.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Ledger {
    /// The file.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// How often an epoch has each pair.
    pub weight: f64,
    /// Records read.
    pub rows: u64,
    /// Records set aside, for every reason.
    pub set_aside: u64,
    /// Of these: both responses are equal.
    pub equal: u64,
    /// Of these: a response is empty.
    pub empty: u64,
    /// Of these: the sampler cut a response off.
    pub unfinished: u64,
    /// Pairs left out because their strength was not asked for.
    pub other_strength: u64,
    /// Pairs left out because they were too long.
    pub over_long: u64,
    /// Pairs whose prompt was cut at the start, and the tokens cut.
    pub truncated: u64,
    /// Tokens cut off prompts.
    pub cut_tokens: u64,
    /// Pairs held out.
    pub held_out: u64,
    /// Pairs that are whole.
    pub pairs: u64,
    /// Tokens of both sequences.
    pub tokens: u64,
    /// Tokens that the two sequences of a pair begin with alike.
    pub shared_tokens: u64,
    /// Tokens of the responses, formatting tokens included.
    pub response_tokens: u64,
    /// Formatting tokens among them.
    pub formatting_tokens: u64,
    /// Tokens of the longest sequence.
    pub longest: u64,
}

/// A file's pairs.
pub struct Loaded {
    /// Pairs to train on.
    pub pairs: Vec<Pair>,
    /// What happened to the rest.
    pub ledger: Ledger,
}

/// Tokenizes preferences.
pub struct Encoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// How long, which strengths, and what to do with bad records.
    pub config: &'a Config,
}

struct Row {
    place: Place,
    value: Value,
    preference: Preference,
}

impl Encoder<'_> {
    /// Reads and tokenises a file. `rejects` is where bad records go with `skip_bad`.
    ///
    /// # Errors
    /// A bad record (without `skip_bad`), a pair that is too long (with the policy `error`), a file that changes while it
    /// is read.
    pub fn load(&self, path: &Path, weight: f64, rejects: PathBuf) -> anyhow::Result<Loaded> {
        let sha256 = digest::file(path)?;
        let on_bad = if self.config.training.skip_bad { OnBadLine::SetAside(rejects) } else { OnBadLine::Error };
        let mut reader = jsonl::read::<Value>(path, on_bad)?;
        let mut ledger = Ledger { path: path.display().to_string(), sha256, weight, ..Ledger::default() };
        let mut rows = Vec::new();
        while let Some(value) = reader.next() {
            let value = value?;
            ledger.rows += 1;
            let place = reader.place();
            let preference = Preference::try_from(value.clone()).and_then(|mut preference| {
                check::fill_id(&mut preference.id, &place);
                // Equal answers are counted apart, once they are tokens.
                if preference.chosen != preference.rejected {
                    check::is_preference(&preference)?;
                }
                Ok(preference)
            });
            match preference {
                Ok(preference) if self.wanted(&preference) => rows.push(Row { place, value, preference }),
                Ok(_) => ledger.other_strength += 1,
                Err(why) => reader.reject(why, &value)?,
            }
        }
        // Lines that were no JSON at all did not come by above.
        ledger.rows += reader.bad().saturating_sub(ledger.rows - ledger.other_strength - rows.len() as u64);
        ensure!(
            digest::file(path)? == ledger.sha256,
            "{} changed while it was read; wait until it is complete and start again",
            path.display()
        );
        let encoded: Vec<Result<Pair, PairError>> =
            rows.par_iter().map(|row| pairs::encode(self.tokenizer, self.template, &row.preference)).collect();
        let mut pairs = Vec::with_capacity(rows.len());
        for (row, encoded) in rows.into_iter().zip(encoded) {
            match encoded {
                Ok(pair) => pairs.extend(self.fit(pair, &row.place, &mut ledger)?),
                Err(why) => {
                    match why {
                        PairError::Equal => ledger.equal += 1,
                        PairError::Empty(_) => ledger.empty += 1,
                        PairError::Unfinished(_) => ledger.unfinished += 1,
                        _ => {}
                    }
                    reader.reject_at(row.place, Invalid(why.to_string()), &row.value)?;
                }
            }
        }
        ledger.set_aside = reader.bad();
        pairs.iter().for_each(|pair| ledger.count(pair));
        Ok(Loaded { pairs, ledger })
    }

    fn wanted(&self, preference: &Preference) -> bool {
        let wanted = &self.config.strengths;
        match &preference.strength {
            Some(Strength::Level(level)) => wanted.is_empty() || wanted.contains(level),
            _ => true,
        }
    }

    /// The pair, cut to `max_length` if it is too long and the policy says so; `None` if it is left out.
    fn fit(&self, mut pair: Pair, place: &Place, ledger: &mut Ledger) -> anyhow::Result<Option<Pair>> {
        let (max, longest) = (self.config.training.max_length, pair.longest());
        if longest <= max {
            return Ok(Some(pair));
        }
        let cut = match self.config.over_long {
            OverLong::Error => bail!(
                "{place}: the pair {} has {longest} tokens, --max-length allows {max}; raise that, or choose --over-long \
                 drop or truncate-prompt",
                pair.id
            ),
            OverLong::Drop => None,
            OverLong::TruncatePrompt => pair.truncate_prompt(max, self.tokenizer.bos_id()),
        };
        let Some(cut) = cut else {
            ledger.over_long += 1;
            return Ok(None);
        };
        ledger.truncated += 1;
        ledger.cut_tokens += cut as u64;
        Ok(Some(pair))
    }
}

impl Ledger {
    fn count(&mut self, pair: &Pair) {
        self.pairs += 1;
        self.shared_tokens += pair.shared() as u64;
        self.longest = self.longest.max(pair.longest() as u64);
        for sequence in [&pair.chosen, &pair.rejected] {
            let response = sequence.response().count();
            self.tokens += sequence.ids.len() as u64;
            self.response_tokens += response as u64;
            self.formatting_tokens += (response - sequence.content_tokens()) as u64;
        }
    }
}

/// The ledger as a table.
#[must_use]
pub fn table(ledgers: &[Ledger]) -> String {
    let mut out = String::new();
    for l in ledgers {
        let share = |part: u64| 100.0 * part as f64 / l.tokens.max(1) as f64;
        out += &format!(
            "{} (weight {})\n  {} rows: {} set aside ({} equal, {} empty, {} cut off by the sampler, {} others), {} of other \
             strengths, {} too long, {} with a cut prompt ({} tokens), {} held out\n  {} pairs, {} tokens, {} shared by both \
             sequences ({:.1}%), {} in responses ({:.1}%), {} of them formatting, longest {}\n",
            l.path,
            l.weight,
            l.rows,
            l.set_aside,
            l.equal,
            l.empty,
            l.unfinished,
            l.set_aside - l.equal - l.empty - l.unfinished,
            l.other_strength,
            l.over_long,
            l.truncated,
            l.cut_tokens,
            l.held_out,
            l.pairs,
            l.tokens,
            l.shared_tokens,
            share(l.shared_tokens),
            l.response_tokens,
            share(l.response_tokens),
            l.formatting_tokens,
            l.longest
        );
    }
    out
}

/// What decides the pairs, for a run's fingerprint.
#[must_use]
pub fn identity(ledgers: &[Ledger]) -> Value {
    ledgers.iter().map(|l| json!([l.sha256, l.weight])).collect()
}
