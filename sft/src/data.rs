//! Conversations in, tokenised examples out, with a ledger of everything that happened to them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chat::{ChatError, ChatTemplate, EncodeOptions, Encoded, RenderOptions, SpecialTokens, Tokenizer, Train};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Conversation, Invalid, Role, check, digest};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use trainer::Example;

use crate::config::{Config, OverLong, TrainOn};

/// What happened to the records of one file.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Ledger {
    /// The file.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// How often an epoch has each example.
    pub weight: f64,
    /// Records read.
    pub rows: u64,
    /// Records set aside as bad.
    pub bad: u64,
    /// Conversations left out because they were too long.
    pub over_long: u64,
    /// Conversations cut at the start.
    pub truncated: u64,
    /// Tokens cut off, and how many of them were trained.
    pub cut_tokens: (u64, u64),
    /// Examples held out.
    pub held_out: u64,
    /// Examples to train on.
    pub examples: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Their trained tokens.
    pub trained_tokens: u64,
    /// Beginning-of-text tokens in them.
    pub bos: u64,
    /// Trained end-of-turn tokens in them.
    pub end_of_turn: u64,
    /// Tokens of the longest.
    pub longest: u64,
    /// Examples where tokenising the whole text at once would have joined tokens over a border of the mask.
    pub joined_tokens: u64,
}

/// An example with what it answers.
pub struct Prompted {
    /// The example.
    pub example: Example,
    /// The messages before the first answer of its conversation, as JSON: the same for all answers to one prompt, which are
    /// held out together.
    pub prompt: String,
}

/// A file's examples.
pub struct Loaded {
    /// Examples to train on.
    pub examples: Vec<Prompted>,
    /// What happened to the rest.
    pub ledger: Ledger,
    /// The first example, to show.
    pub shown: Option<(String, Encoded)>,
}

/// Tokenizes conversations.
pub struct Encoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// Which turns, how long.
    pub config: &'a Config,
}

/// What became of one conversation.
struct Fate {
    kept: Vec<Kept>,
    too_long: u64,
}

struct Kept {
    encoded: Encoded,
    /// Tokens cut off, trained ones among them.
    cut: Option<(usize, usize)>,
}

impl Encoder<'_> {
    /// Reads and tokenises a file. `rejects` is where bad lines go with `skip_bad`.
    ///
    /// # Errors
    /// A bad line (without `skip_bad`), a conversation that is too long (with the policy `error`) or that the template
    /// refuses, a file that changes while it is read.
    pub fn load(&self, path: &Path, weight: f64, rejects: PathBuf) -> anyhow::Result<Loaded> {
        let sha256 = digest::file(path)?;
        let on_bad = if self.config.training.skip_bad { OnBadLine::SetAside(rejects) } else { OnBadLine::Error };
        let mut reader = jsonl::read::<Value>(path, on_bad)?;
        let (mut rows, mut read) = (Vec::new(), 0);
        while let Some(value) = reader.next() {
            let value = value?;
            read += 1;
            let place = reader.place();
            let conversation = self.conversation(value.clone()).and_then(|mut conversation| {
                check::fill_id(&mut conversation.id, &place);
                check::has_answer(&conversation.messages)?;
                match conversation.weight {
                    Some(weight) if weight < 0.0 => Err(Invalid(format!("weight: is {weight}; it must be 0 or more"))),
                    _ => Ok(conversation),
                }
            });
            match conversation {
                Ok(conversation) => rows.push((place.to_string(), conversation)),
                Err(why) => reader.reject(why, &value)?,
            }
        }
        let mut ledger = Ledger {
            path: path.display().to_string(),
            weight,
            rows: read + reader.bad().saturating_sub(read - rows.len() as u64),
            bad: reader.bad(),
            sha256,
            ..Ledger::default()
        };
        ensure!(
            digest::file(path)? == ledger.sha256,
            "{} changed while it was read; wait until it is complete and start again",
            path.display()
        );
        let fates: Vec<Fate> = rows
            .par_iter()
            .map(|(place, conversation)| self.encode(conversation).with_context(|| place.clone()))
            .collect::<anyhow::Result<_>>()?;
        let (mut examples, mut shown) = (Vec::new(), None);
        for ((_, conversation), fate) in rows.iter().zip(fates) {
            ledger.over_long += fate.too_long;
            let several = fate.kept.len() > 1;
            let before = conversation.messages.iter().take_while(|message| message.role != Role::Assistant);
            let prompt = serde_json::to_string(&before.collect::<Vec<_>>())?;
            for (part, kept) in fate.kept.into_iter().enumerate() {
                let id = if several { format!("{}#{part}", conversation.id) } else { conversation.id.clone() };
                let example = self.example(&mut ledger, &id, conversation.weight.unwrap_or(1.0), &kept);
                examples.push(Prompted { example, prompt: prompt.clone() });
                if shown.is_none() {
                    shown = Some((id, kept.encoded));
                }
            }
        }
        Ok(Loaded { examples, ledger, shown })
    }

    /// A record as a conversation, by the named columns where it has no messages.
    fn conversation(&self, value: Value) -> Result<Conversation, Invalid> {
        let (Some(prompt), Some(answer), Value::Object(fields)) =
            (&self.config.prompt_column, &self.config.answer_column, &value)
        else {
            return Conversation::try_from(value);
        };
        if fields.contains_key("messages") {
            return Conversation::try_from(value);
        }
        let get = |name: &str| {
            fields.get(name).cloned().ok_or_else(|| {
                let there: Vec<&str> = fields.keys().map(String::as_str).collect();
                Invalid(format!("{name}: is missing; the record has {}", there.join(", ")))
            })
        };
        let mut renamed = Map::new();
        renamed.extend([("prompt".to_owned(), get(prompt)?), ("completion".to_owned(), get(answer)?)]);
        renamed.extend(
            ["id", "weight", "tools"].iter().filter_map(|&name| Some((name.into(), fields.get(name)?.clone()))),
        );
        Conversation::try_from(Value::Object(renamed))
    }

    fn encode(&self, conversation: &Conversation) -> anyhow::Result<Fate> {
        let options = EncodeOptions {
            train: if self.config.train_on == TrainOn::AllTurns { Train::AllTurns } else { Train::LastTurn },
            special_tokens: SpecialTokens::Refuse,
            render: RenderOptions { tools: conversation.tools()?, ..RenderOptions::default() },
        };
        let (tokenizer, template, messages) = (self.tokenizer, self.template, &conversation.messages);
        let encoded = match self.config.train_on {
            TrainOn::EachTurn => chat::encode_each_turn(tokenizer, template, messages, &options)?,
            _ => match chat::encode_conversation(tokenizer, template, messages, &options) {
                Err(error @ ChatError::NotPrefixStable { .. }) => {
                    bail!("{error}; here that is --train-on each-turn, or --train-on last-turn")
                }
                encoded => vec![encoded?],
            },
        };
        let max = self.config.training.max_length;
        let count = encoded.len();
        let mut kept = Vec::with_capacity(count);
        for encoded in encoded {
            if encoded.ids.len() <= max {
                kept.push(Kept { encoded, cut: None });
                continue;
            }
            match self.config.over_long {
                OverLong::Error => bail!(
                    "the conversation {} has {} tokens, --max-length allows {max}; raise that, or choose --over-long drop \
                     or truncate-prompt",
                    conversation.id,
                    encoded.ids.len()
                ),
                OverLong::Drop => {}
                OverLong::TruncatePrompt => kept.extend(truncate(encoded, max, self.tokenizer.bos_id())),
            }
        }
        Ok(Fate { too_long: (count - kept.len()) as u64, kept })
    }

    fn example(&self, ledger: &mut Ledger, id: &str, weight: f64, kept: &Kept) -> Example {
        let encoded = &kept.encoded;
        let example = Example {
            id: id.to_owned(),
            ids: encoded.ids.clone(),
            trained: encoded.assistant_mask.clone(),
            weight: weight as f32,
        };
        ledger.examples += 1;
        ledger.tokens += example.ids.len() as u64;
        ledger.trained_tokens += example.trained_tokens() as u64;
        ledger.longest = ledger.longest.max(example.ids.len() as u64);
        let bos = self.tokenizer.bos_id();
        ledger.bos += u64::from(bos.is_some_and(|bos| example.ids.first() == Some(&bos)));
        let ends = encoded.turns.iter().filter(|turn| turn.trained && !turn.terminator.is_empty());
        ledger.end_of_turn += ends.count() as u64;
        ledger.joined_tokens += u64::from(encoded.differs_from_one_shot);
        if let Some((tokens, trained)) = kept.cut {
            ledger.truncated += 1;
            ledger.cut_tokens.0 += tokens as u64;
            ledger.cut_tokens.1 += trained as u64;
        }
        example
    }
}

/// Cuts tokens off the start, after the beginning-of-text token, until at most `max` are left. An assistant's turn is cut
/// whole or not at all; `None` when that leaves nothing to train.
fn truncate(encoded: Encoded, max: usize, bos: Option<u32>) -> Option<Kept> {
    let first = usize::from(bos.is_some() && encoded.ids.first() == bos.as_ref());
    let mut end = encoded.ids.len() - max + first;
    for turn in &encoded.turns {
        if turn.header.start < end && end < turn.terminator.end.max(turn.content.end) {
            end = turn.terminator.end.max(turn.content.end);
        }
    }
    let gone = end - first;
    let trained = encoded.assistant_mask[first..end].iter().filter(|&&trained| trained).count();
    let cut = |range: std::ops::Range<usize>| range.start - gone..range.end - gone;
    let kept = Encoded {
        ids: [&encoded.ids[..first], &encoded.ids[end..]].concat(),
        assistant_mask: [&encoded.assistant_mask[..first], &encoded.assistant_mask[end..]].concat(),
        turns: encoded
            .turns
            .into_iter()
            .filter(|turn| turn.header.start >= end)
            .map(|turn| chat::Turn {
                header: cut(turn.header),
                content: cut(turn.content),
                terminator: cut(turn.terminator),
                ..turn
            })
            .collect(),
        ..encoded
    };
    (kept.trained() > 0).then_some(Kept { encoded: kept, cut: Some((gone, trained)) })
}

/// The ledger as a table.
#[must_use]
pub fn table(ledgers: &[Ledger]) -> String {
    let mut out = String::new();
    for l in ledgers {
        let share = 100.0 * l.trained_tokens as f64 / l.tokens.max(1) as f64;
        out += &format!(
            "{} (weight {})\n  {} rows: {} bad, {} too long, {} truncated ({} tokens cut, {} of them trained), {} held out\n  \
             {} examples, {} tokens, {} trained ({share:.1}%), {} beginnings of text, {} trained ends of turns, longest {}\n",
            l.path,
            l.weight,
            l.rows,
            l.bad,
            l.over_long,
            l.truncated,
            l.cut_tokens.0,
            l.cut_tokens.1,
            l.held_out,
            l.examples,
            l.tokens,
            l.trained_tokens,
            l.bos,
            l.end_of_turn,
            l.longest
        );
        if l.joined_tokens > 0 {
            out += &format!(
                "  in {} examples tokenising all text at once would join tokens over a border of the mask; here borders \
                 of the mask are borders of tokens\n",
                l.joined_tokens
            );
        }
    }
    out
}

/// What decides the examples, for a run's fingerprint.
#[must_use]
pub fn identity(ledgers: &[Ledger]) -> Value {
    ledgers.iter().map(|l| json!([l.sha256, l.weight])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::Turn;

    /// BOS, 4 of prompt, header, 3 of content, end; 2 of prompt, header, 2 of content, end.
    fn encoded() -> Encoded {
        let turn = |start: usize, content: usize| Turn {
            message: 0,
            header: start..start + 1,
            content: start + 1..start + 1 + content,
            terminator: start + 1 + content..start + 2 + content,
            trained: true,
        };
        let mut mask = vec![false; 16];
        mask[6..10].fill(true);
        mask[13..16].fill(true);
        Encoded {
            ids: (100..116).collect(),
            assistant_mask: mask,
            turns: vec![turn(5, 3), turn(12, 2)],
            text: String::new(),
            differs_from_one_shot: false,
        }
    }

    #[test]
    fn truncation_never_cuts_into_an_answer() {
        // A cut inside the prompt: BOS stays.
        let kept = truncate(encoded(), 14, Some(100)).unwrap();
        assert_eq!((kept.encoded.ids[0], kept.encoded.ids[1], kept.encoded.ids.len()), (100, 103, 14));
        assert_eq!((kept.cut, kept.encoded.turns[0].content.clone()), (Some((2, 0)), 4..7));
        // A cut that would fall into the first answer takes all of it.
        let kept = truncate(encoded(), 9, Some(100)).unwrap();
        assert_eq!(kept.encoded.ids, [100, 110, 111, 112, 113, 114, 115]);
        assert_eq!((kept.cut, kept.encoded.turns.len(), kept.encoded.trained()), (Some((9, 4)), 1, 3));
        // The last answer does not fit: nothing is left.
        assert!(truncate(encoded(), 3, Some(100)).is_none());
        assert_eq!(truncate(encoded(), 15, None).unwrap().encoded.ids[0], 101);
    }
}
