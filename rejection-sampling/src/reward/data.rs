//! Preferences in, ranked groups of tokens out, with a ledger of what became of each record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chat::{ChatTemplate, Tokenizer};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Message, Preference, Strength, check, digest};
use serde::{Deserialize, Serialize};

use super::group::Group;
use super::loss::ranked_pairs;
use super::model::encode;

/// A prompt with its responses, best first.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// Names it in messages.
    pub id: String,
    /// Prompt and responses.
    pub group: Group,
    /// The same for records with the same prompt.
    pub prompt: u64,
}

impl Ranked {
    /// The pairs of its ranking.
    #[must_use]
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        ranked_pairs(self.group.responses.len())
    }
}

/// What became of the records of one file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The file.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// How often an epoch has each group.
    pub weight: f64,
    /// Records read.
    pub rows: u64,
    /// Records set aside as bad.
    pub bad: u64,
    /// Records of a strength that is not asked for.
    pub weak: u64,
    /// Records whose answers come out as the same tokens.
    pub same: u64,
    /// Records longer than allowed.
    pub over_long: u64,
    /// Groups held out.
    pub held_out: u64,
    /// Groups to train on, held-out ones not among them.
    pub groups: u64,
    /// Pairs in groups, held-out ones among them.
    pub pairs: u64,
    /// Tokens in groups, each prompt once.
    pub tokens: u64,
    /// Tokens that rows of their own would have: each prompt again for each response.
    pub unshared_tokens: u64,
}

/// How records become groups.
pub struct Encoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// The longest conversation in tokens.
    pub max_length: usize,
    /// The most tokens of a group in one row.
    pub row_tokens: usize,
    /// Leave longer ones out instead of stopping.
    pub drop_over_long: bool,
    /// The levels of strength to train on; empty for all.
    pub strengths: &'a [String],
}

impl Encoder<'_> {
    /// Reads and tokenises a file; `rejects` is where bad lines go, if not to an error.
    ///
    /// # Errors
    /// `file:line` and what is wrong.
    pub fn load(&self, path: &Path, weight: f64, rejects: Option<PathBuf>) -> anyhow::Result<(Vec<Ranked>, Ledger)> {
        let on_bad = rejects.map_or(OnBadLine::Error, OnBadLine::SetAside);
        let mut reader = jsonl::read::<Preference>(path, on_bad)?;
        let sha256 = digest::file(path)?;
        let mut ledger = Ledger { path: path.display().to_string(), weight, sha256, ..Ledger::default() };
        let mut groups = Vec::new();
        while let Some(preference) = reader.next() {
            let mut preference = preference?;
            let place = reader.place();
            check::fill_id(&mut preference.id, &place);
            ledger.rows += 1;
            if let Err(why) = check::is_preference(&preference) {
                reader.reject(why, &preference)?;
                continue;
            }
            if !self.is_strong(preference.strength.as_ref()) {
                ledger.weak += 1;
                continue;
            }
            let ranked = self.encode(&preference).with_context(|| place.to_string())?;
            let (longest, tokens) = (ranked.group.longest(), ranked.group.tokens());
            if longest > self.max_length || tokens > self.row_tokens {
                ensure!(
                    self.drop_over_long,
                    "{place}: the preference {} has a conversation of {longest} tokens and {tokens} in one row; \
                     --max-length and --micro-batch-tokens allow {} and {}: raise them, or choose --over-long drop",
                    preference.id,
                    self.max_length,
                    self.row_tokens
                );
                ledger.over_long += 1;
                continue;
            }
            let mut responses = ranked.group.responses.clone();
            responses.dedup();
            if responses.len() < ranked.group.responses.len() {
                ledger.same += 1;
                continue;
            }
            ledger.pairs += ranked.pairs().len() as u64;
            ledger.tokens += tokens as u64;
            let prompt = ranked.group.prompt.len() * (ranked.group.responses.len() - 1);
            ledger.unshared_tokens += (tokens + prompt) as u64;
            groups.push(ranked);
        }
        ledger.bad = reader.bad();
        // What was read and then refused was counted as a row; what was no record was not.
        ledger.rows = ledger.rows.max(groups.len() as u64 + ledger.weak + ledger.same + ledger.over_long + ledger.bad);
        ledger.groups = groups.len() as u64;
        Ok((groups, ledger))
    }

    fn is_strong(&self, strength: Option<&Strength>) -> bool {
        match strength {
            Some(Strength::Level(level)) if !self.strengths.is_empty() => {
                let plain = |text: &str| text.to_lowercase().replace(['_', '-'], " ");
                self.strengths.iter().any(|wanted| plain(wanted) == plain(level))
            }
            _ => true,
        }
    }

    /// Edited, chosen, rejected: in this order the better comes first.
    fn encode(&self, preference: &Preference) -> anyhow::Result<Ranked> {
        let answers = [preference.edited.as_ref(), Some(&preference.chosen), Some(&preference.rejected)];
        let mut conversations = Vec::new();
        for answer in answers.into_iter().flatten() {
            let messages: Vec<Message> = preference.prompt.iter().chain(answer).cloned().collect();
            conversations.push(encode(self.tokenizer, self.template, &messages, Vec::new())?);
        }
        if conversations.iter().any(Vec::is_empty) {
            bail!("the chat template gives no token");
        }
        let mut prompt = DefaultHasher::new();
        serde_json::to_string(&preference.prompt)?.hash(&mut prompt);
        Ok(Ranked { id: preference.id.clone(), group: Group::new(&conversations), prompt: prompt.finish() })
    }
}

/// The ledgers as a table.
#[must_use]
pub fn table(ledgers: &[Ledger]) -> String {
    let line = |l: &Ledger| {
        format!(
            "{} (weight {})\n  {} rows: {} bad, {} of another strength, {} with equal answers, {} too long, {} held out\n  \
             {} groups with {} pairs, {} tokens ({} in rows of their own)\n",
            l.path,
            l.weight,
            l.rows,
            l.bad,
            l.weak,
            l.same,
            l.over_long,
            l.held_out,
            l.groups,
            l.pairs,
            l.tokens,
            l.unshared_tokens
        )
    };
    ledgers.iter().map(line).collect()
}
