//! Converts conversations to tokenised examples.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use chat::{ChatError, ChatTemplate, EncodeOptions, RenderOptions, SpecialTokens, Tokenizer, Train};
use dataset::{Conversation, Invalid, Message, Role, check};
use serde_json::Value;
use trainer::Example;
use trainer::stage::sources::{Counts, Fit, Limits, Sequence};
use trainer::stage::{Encoded, Encoder, RecordError, Row};

use crate::config::{Config, TrainOn};

/// Tokenises conversations.
pub struct SftEncoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// The configuration, which selects the trained turns.
    pub config: &'a Config,
    /// The length limits.
    pub limits: Limits,
    /// Fields with text that is not trained on, and the number of records that have them.
    pub unread: Mutex<BTreeMap<String, u64>>,
}

/// An example with its turns.
pub struct SftExample {
    /// The example.
    pub example: Example,
    turns: Vec<chat::Turn>,
    /// Whether tokenising the whole text at once would merge tokens across a boundary of the mask.
    joined: bool,
}

const TRAINED: &str = "trained tokens";
const TRAINED_CUT: &str = "trained tokens cut off";
const BOS: &str = "beginnings of text";
const ENDS: &str = "trained ends of turns";
const JOINED: &str = "examples tokenised otherwise as one text";

impl Encoder for SftEncoder<'_> {
    type Example = SftExample;

    fn counters(&self) -> &'static [&'static str] {
        &[TRAINED, TRAINED_CUT, BOS, ENDS, JOINED]
    }

    fn encode(&self, row: &Row) -> Result<Encoded<SftExample>, RecordError> {
        let mut conversation = self.conversation(row.value.clone())?;
        check::fill_id(&mut conversation.id, &row.place);
        check::has_answer(&conversation.messages)?;
        let weight = conversation.weight.unwrap_or(1.0);
        if weight < 0.0 {
            return Err(Invalid(format!("weight: is {weight}; it must be 0 or more")).into());
        }
        if let Ok(mut unread) = self.unread.lock() {
            conversation.unread_text().for_each(|name| *unread.entry(name.to_owned()).or_default() += 1);
        }
        let messages = &conversation.messages;
        let before = messages.iter().take_while(|message| message.role != Role::Assistant).count();
        let mut all = Encoded::new(&messages[..before]);
        for end in self.ends(messages)? {
            self.add(&mut all, &conversation, end)?;
        }
        let several = all.examples.len() > 1;
        for (part, SftExample { example, .. }) in all.examples.iter_mut().enumerate() {
            example.id = if several { format!("{}#{part}", conversation.id) } else { conversation.id.clone() };
            example.weight = weight as f32;
        }
        Ok(all)
    }

    fn id<'e>(&self, example: &'e SftExample) -> &'e str {
        &example.example.id
    }

    fn tokens(&self, example: &SftExample) -> usize {
        example.example.ids.len()
    }

    fn count(&self, SftExample { example, turns, joined }: &SftExample, counts: &mut Counts) {
        counts.add(TRAINED, example.trained_tokens() as u64);
        let bos = self.tokenizer.bos_id();
        counts.add(BOS, u64::from(bos.is_some_and(|bos| example.ids.first() == Some(&bos))));
        let ends = turns.iter().filter(|turn| turn.trained && !turn.terminator.is_empty());
        counts.add(ENDS, ends.count() as u64);
        counts.add(JOINED, u64::from(*joined));
    }

    fn show(&self, example: &SftExample) -> Option<anyhow::Result<(String, String)>> {
        let colour = std::io::stdout().is_terminal();
        let legend = if colour { "trained tokens are coloured" } else { "trained tokens are in ⟦ ⟧" };
        let encoded = chat::Encoded {
            ids: example.example.ids.clone(),
            assistant_mask: example.example.trained.clone(),
            turns: example.turns.clone(),
            text: String::new(),
            differs_from_one_shot: example.joined,
        };
        let text = chat::show::tokens(self.tokenizer, &encoded, colour);
        Some(text.map(|text| (legend.into(), text)).map_err(Into::into))
    }

    fn finish(&self) {
        let Ok(unread) = self.unread.lock() else { return };
        if !unread.is_empty() {
            let names: Vec<String> =
                unread.iter().map(|(name, records)| format!("{name} ({records} records)")).collect();
            eprintln!("Fields with text that is not trained: {}", names.join(", "));
        }
    }

    fn sequences(&self, example: &SftExample) -> Vec<Sequence> {
        vec![Sequence::of("conversation", &example.example)]
    }
}

impl SftEncoder<'_> {
    /// A record as a conversation, read from the named columns if it has no messages.
    fn conversation(&self, value: Value) -> Result<Conversation, Invalid> {
        match (&self.config.prompt_column, &self.config.answer_column) {
            (Some(prompt), Some(answer)) if value.get("messages").is_none() => {
                Conversation::from_columns(value, prompt, answer)
            }
            _ => Conversation::try_from(value),
        }
    }

    /// The ends of a conversation's examples: after each trained answer with [`TrainOn::EachTurn`], else at the end
    /// of the conversation.
    fn ends(&self, messages: &[Message]) -> Result<Vec<usize>, ChatError> {
        if self.config.train_on != TrainOn::EachTurn {
            return Ok(vec![messages.len()]);
        }
        let ends: Vec<usize> = (1..=messages.len()).filter(|&end| is_trained_answer(&messages[end - 1])).collect();
        if ends.is_empty() { Err(ChatError::NothingToTrain) } else { Ok(ends) }
    }

    /// Adds the example of the first `end` messages, shortened if necessary.
    fn add(&self, all: &mut Encoded<SftExample>, conversation: &Conversation, end: usize) -> Result<(), RecordError> {
        let options = EncodeOptions {
            train: if self.config.train_on == TrainOn::AllTurns { Train::AllTurns } else { Train::LastTurn },
            special_tokens: SpecialTokens::Refuse,
            render: RenderOptions { tools: conversation.tools()?, ..RenderOptions::default() },
        };
        let encode = |messages: &[Message]| {
            chat::encode_conversation(self.tokenizer, self.template, messages, &options).map_err(|error| match error {
                ChatError::NotPrefixStable { .. } => RecordError::Stop(anyhow::anyhow!(
                    "{error}; here that is --train-on each-turn, or --train-on last-turn"
                )),
                error => error.into(),
            })
        };
        let what = format!("the conversation {}", conversation.id);
        let excess = |encoded: &chat::Encoded| self.limits.excess(&what, encoded.ids.len());
        let fit = self.limits.fit(&conversation.messages[..end], encode, excess)?;
        if let Fit::Cut(cut, whole) = &fit {
            all.counts.add(TRAINED_CUT, (whole.trained() - cut.trained()) as u64);
        }
        all.add(fit, |encoded| encoded.ids.len(), example);
        Ok(())
    }
}

fn is_trained_answer(message: &Message) -> bool {
    message.role == Role::Assistant && chat::is_trained(message) != Ok(false)
}

/// An example whose name and weight are set later.
fn example(encoded: chat::Encoded) -> SftExample {
    let example = Example { id: String::new(), ids: encoded.ids, trained: encoded.assistant_mask, weight: 1.0 };
    SftExample { example, turns: encoded.turns, joined: encoded.differs_from_one_shot }
}
