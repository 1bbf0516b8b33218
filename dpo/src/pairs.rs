//! Converts a preference to token ids: a prompt with two responses, and the marks of their formatting tokens.
//!
//! The *response* is the text that the model has to write after the prompt: the header, content and terminator of
//! each assistant turn. Headers and terminators are found by rendering the chat template turn by turn
//! (`chat::encode_conversation`), not by a list of tokens. The Llama 3 paper (section 4.1.4) masks them out of both
//! responses in the DPO term: both responses have them, and opposite gradients on the same token lead to repeated
//! tails and abrupt ends.

use chat::{ChatError, ChatTemplate, EncodeOptions, Encoded, RenderOptions, SpecialTokens, Tokenizer, Train};
use dataset::{Message, Preference, Role};

/// The role of a token in a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Prompt, or turns of others between two assistant turns of a response: never predicted.
    Context,
    /// Header or terminator of an assistant turn of the response.
    Formatting,
    /// Content of an assistant turn of the response.
    Content,
}

/// The prompt followed by one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids; the last is the terminator of the response.
    pub ids: Vec<u32>,
    /// The role of each token.
    pub parts: Vec<Part>,
}

impl Sequence {
    /// Positions of the response's tokens. The first token of a text has no token before it and is not included.
    pub fn response(&self) -> impl Iterator<Item = usize> + '_ {
        (1..self.ids.len()).filter(|&place| self.parts[place] != Part::Context)
    }

    /// Number of tokens before the response.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.response().next().unwrap_or(self.ids.len())
    }

    /// Number of content tokens of the response.
    #[must_use]
    pub fn content_tokens(&self) -> usize {
        self.response().filter(|&place| self.parts[place] == Part::Content).count()
    }
}

/// A pair that is ready for training.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The id, for messages.
    pub id: String,
    /// The better response, with the prompt.
    pub chosen: Sequence,
    /// The worse response, with the prompt.
    pub rejected: Sequence,
}

impl Pair {
    /// Number of tokens of the common prefix, at most one less than the shorter sequence has. A packed row holds
    /// these tokens once.
    #[must_use]
    pub fn shared(&self) -> usize {
        let (a, b) = (&self.chosen.ids, &self.rejected.ids);
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        same.min(a.len() - 1).min(b.len() - 1)
    }

    /// Number of tokens of the longer sequence.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.chosen.ids.len().max(self.rejected.ids.len())
    }
}

/// The reason why a pair cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Both responses have the same tokens.
    #[error("chosen, rejected: have the same tokens, so there is nothing to prefer")]
    Equal,
    /// A response is empty.
    #[error("{0}: the response is empty")]
    Empty(&'static str),
    /// The sampler truncated a response.
    #[error(
        "{0}: the response was cut off when it was sampled (finish_reason \"length\"); training would teach to stop there"
    )]
    Unfinished(&'static str),
    /// A response ends with a turn that is not an assistant turn.
    #[error("{0}: ends with a {1} turn; a response ends with an assistant turn")]
    NotAnAnswer(&'static str, &'static str),
    /// The record itself is faulty.
    #[error("{0}")]
    Record(#[from] dataset::Invalid),
    /// The chat template or the tokenizer refuses the pair.
    #[error("{0}: {1}")]
    Chat(&'static str, ChatError),
}

/// Encodes a preference that has passed `dataset::check::is_preference`.
///
/// # Errors
/// [`PairError`] with a message about the fault.
pub fn encode(tokenizer: &Tokenizer, template: &ChatTemplate, preference: &Preference) -> Result<Pair, PairError> {
    let render = RenderOptions { tools: preference.tools()?, ..RenderOptions::default() };
    let side = |name: &'static str, answer: &[Message]| {
        if cut_off(preference, name, answer) {
            return Err(PairError::Unfinished(name));
        }
        sequence(tokenizer, template, &preference.prompt, name, answer, &render)
    };
    let chosen = side("chosen", &preference.chosen)?;
    let rejected = side("rejected", &preference.rejected)?;
    if chosen == rejected {
        return Err(PairError::Equal);
    }
    Ok(Pair { id: preference.id.clone(), chosen, rejected })
}

fn sequence(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    prompt: &[Message],
    name: &'static str,
    answer: &[Message],
    render: &RenderOptions,
) -> Result<Sequence, PairError> {
    if let Some(last) = answer.last().filter(|last| last.role != Role::Assistant) {
        return Err(PairError::NotAnAnswer(name, last.role.as_str()));
    }
    if answer
        .iter()
        .filter(|m| m.role == Role::Assistant)
        .all(|m| m.text().trim().is_empty() && m.tool_calls.is_empty())
    {
        return Err(PairError::Empty(name));
    }
    // An answer of one turn is encoded separately, so that a template may render earlier turns of the prompt in any
    // way.
    let turns = answer.iter().filter(|m| m.role == Role::Assistant).count();
    let options = EncodeOptions {
        train: if turns == 1 { Train::LastTurn } else { Train::AllTurns },
        special_tokens: SpecialTokens::Refuse,
        render: render.clone(),
    };
    let messages = [prompt, answer].concat();
    let encoded = chat::encode_conversation(tokenizer, template, &messages, &options)
        .map_err(|error| PairError::Chat(name, error))?;
    let sequence = parts(encoded, prompt.len());
    if sequence.content_tokens() == 0 {
        return Err(PairError::Empty(name));
    }
    Ok(sequence)
}

/// Marks the assistant turns from message `prompt` on, and drops the text of the template after the last of them.
fn parts(mut encoded: Encoded, prompt: usize) -> Sequence {
    let mut parts = vec![Part::Context; encoded.ids.len()];
    let mut end = encoded.ids.len();
    for turn in encoded.turns.iter().filter(|turn| turn.message >= prompt) {
        parts[turn.header.clone()].fill(Part::Formatting);
        parts[turn.content.clone()].fill(Part::Content);
        parts[turn.terminator.clone()].fill(Part::Formatting);
        end = turn.terminator.end;
    }
    encoded.ids.truncate(end);
    parts.truncate(end);
    Sequence { ids: encoded.ids, parts }
}

/// Whether the record says that this response was truncated: `finish_reason` "length" in its last turn, or in the
/// record as `chosen_finish_reason`, `rejected_finish_reason`.
fn cut_off(preference: &Preference, name: &str, answer: &[Message]) -> bool {
    let says = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str) == Some("length");
    says(answer.last().and_then(|last| last.extra.get("finish_reason")))
        || says(preference.extra.get(&format!("{name}_finish_reason")))
}

/// Prints a pair: the end of the prompt, then both responses token by token. Tokens that count in the preference loss
/// are green (chosen) or red (rejected), formatting tokens yellow, the rest grey. Without colour, the counted tokens
/// are in `⟦ ⟧` and `⟨ ⟩`.
///
/// # Errors
/// When the tokenizer cannot decode its own ids.
pub fn show(tokenizer: &Tokenizer, pair: &Pair, colour: bool) -> Result<String, ChatError> {
    let mut out = String::new();
    for (name, code, sequence) in [("chosen", 32, &pair.chosen), ("rejected", 31, &pair.rejected)] {
        out += &format!("{name}:\n");
        let mut last = Part::Context;
        let close = |part: Part| match part {
            Part::Context => "",
            Part::Formatting => "⟩",
            Part::Content => "⟧",
        };
        for (&id, &part) in sequence.ids.iter().zip(&sequence.parts) {
            let text = tokenizer.decode(&[id], false)?;
            if colour {
                let code = match part {
                    Part::Context => 90,
                    Part::Formatting => 33,
                    Part::Content => code,
                };
                let text = text.replace('\n', &format!("⏎\x1b[0m\n\x1b[{code}m"));
                out += &format!("\x1b[{code}m{text}\x1b[0m·");
                continue;
            }
            if part != last {
                out += close(last);
                out += match part {
                    Part::Context => "",
                    Part::Formatting => "⟨",
                    Part::Content => "⟦",
                };
                last = part;
            }
            out += &format!("{}·", text.replace('\n', "⏎\n"));
        }
        out += close(last);
        out.push('\n');
    }
    Ok(out)
}
