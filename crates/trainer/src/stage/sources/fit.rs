//! Handles examples that are too long: error, leave out, or remove whole turns.

use clap::ValueEnum;
use dataset::{Message, Role};
use serde::{Deserialize, Serialize};

use super::super::Setup;
use super::super::training::Training;
use super::encoder::RecordError;

/// What to do with an example longer than `--max-length`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLong {
    /// Stop and name the example
    #[default]
    Error,
    /// Leave the example out and count it
    Drop,
    /// Remove whole turns at the start, except the system turn; leave the example out if it is still too long
    TruncatePrompt,
}

/// Limits on the length of examples.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximal length of a sequence in tokens.
    pub max_length: usize,
    /// Policy for longer examples.
    pub over_long: OverLong,
    /// The model's context length in tokens.
    context: usize,
}

/// Result of fitting an example into the limits.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit<T> {
    /// The example fits unchanged.
    Whole(T),
    /// The example fits without its first turns. The second value is the untruncated example.
    Cut(T, T),
    /// The example is too long; the sentence states its length.
    TooLong(String),
}

impl Limits {
    /// The limits of a run, from its configuration and its model.
    #[must_use]
    pub fn new(training: &Training, setup: &Setup) -> Self {
        let context = setup.model.model.config().max_position_embeddings as usize;
        Self { max_length: setup.max_length, over_long: training.over_long, context }
    }

    /// The limit as text: `256`, or `256 (the model's context)`.
    pub(super) fn described(&self) -> String {
        let whole = if self.max_length == self.context { " (the model's context)" } else { "" };
        format!("{}{whole}", self.max_length)
    }

    /// A sentence if `what` (such as `the conversation x`) is too long; otherwise `None`.
    #[must_use]
    pub fn excess(&self, what: &str, tokens: usize) -> Option<String> {
        let allowed = self.max_length;
        let advice = if allowed >= self.context {
            ", the model's whole context; choose --over-long drop or truncate-prompt, or a model with a longer context"
        } else {
            "; raise that, or choose --over-long drop or truncate-prompt"
        };
        (tokens > allowed).then(|| format!("{what} has {tokens} tokens, --max-length allows {allowed}{advice}"))
    }

    /// Encodes `messages`. If the result is too long and the policy is [`OverLong::TruncatePrompt`], encodes them again without
    /// their first turns. `excess` returns a sentence if an encoded example is too long. The system turns are kept, and the
    /// truncated example begins with a user turn.
    ///
    /// # Errors
    /// The errors of `encode`.
    pub fn fit<T>(
        &self,
        messages: &[Message],
        encode: impl Fn(&[Message]) -> Result<T, RecordError>,
        excess: impl Fn(&T) -> Option<String>,
    ) -> Result<Fit<T>, RecordError> {
        let whole = encode(messages)?;
        let Some(sentence) = excess(&whole) else { return Ok(Fit::Whole(whole)) };
        if self.over_long != OverLong::TruncatePrompt {
            return Ok(Fit::TooLong(sentence));
        }
        let starts = starts(messages);
        let mut found = None;
        // Binary search for the earliest start that fits: a later start gives a shorter example.
        let (mut low, mut high) = (0, starts.len());
        while low < high {
            let middle = low.midpoint(high);
            let cut = encode(&from(messages, starts[middle]))?;
            if excess(&cut).is_none() {
                found = Some(cut);
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(match found {
            Some(cut) => Fit::Cut(cut, whole),
            None => Fit::TooLong(sentence),
        })
    }
}

/// Indices of the user turns, except the first turn, at which a truncated conversation may begin.
fn starts(messages: &[Message]) -> Vec<usize> {
    (system_turns(messages) + 1..messages.len()).filter(|&index| messages[index].role == Role::User).collect()
}

fn system_turns(messages: &[Message]) -> usize {
    messages.iter().take_while(|message| message.role == Role::System).count()
}

/// The system turns, followed by the messages from `start` on.
fn from(messages: &[Message], start: usize) -> Vec<Message> {
    let system = system_turns(messages);
    messages[..system].iter().chain(&messages[start..]).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_length: usize, over_long: OverLong) -> Limits {
        Limits { max_length, over_long, context: 100 }
    }

    /// The length of a message is the number of characters of its text.
    fn fit(limits: Limits, messages: &[Message]) -> Fit<String> {
        let encode = |messages: &[Message]| Ok(messages.iter().map(Message::text).collect::<String>());
        limits.fit(messages, encode, |text| limits.excess("it", text.len())).unwrap()
    }

    fn conversation() -> Vec<Message> {
        vec![
            Message::system("ss"),
            Message::user("aaaa"),
            Message::assistant("bbbb"),
            Message::user("cccc"),
            Message::assistant("dddd"),
            Message::user("eeee"),
            Message::assistant("ffff"),
        ]
    }

    #[test]
    fn whole_turns_are_cut_and_the_system_turn_stays() {
        let cut = |max| fit(limits(max, OverLong::TruncatePrompt), &conversation());
        let whole = "ssaaaabbbbccccddddeeeeffff".to_owned();
        assert_eq!(cut(26), Fit::Whole(whole.clone()));
        // One token too many removes a whole exchange, and no more.
        assert_eq!(cut(25), Fit::Cut("ssccccddddeeeeffff".into(), whole.clone()));
        assert_eq!(cut(17), Fit::Cut("sseeeeffff".into(), whole));
        assert!(matches!(cut(9), Fit::TooLong(_)));
        // Other policies do not truncate.
        assert!(matches!(fit(limits(25, OverLong::Drop), &conversation()), Fit::TooLong(_)));
    }

    #[test]
    fn a_single_turn_is_not_cut() {
        let one = [Message::user("x".repeat(30)), Message::assistant("y")];
        assert!(matches!(fit(limits(20, OverLong::TruncatePrompt), &one), Fit::TooLong(_)));
    }

    #[test]
    fn the_advice_can_be_followed() {
        let said = |max| match fit(limits(max, OverLong::Drop), &[Message::user("x".repeat(101))]) {
            Fit::TooLong(sentence) => sentence,
            _ => String::new(),
        };
        assert!(said(50).contains("has 101 tokens, --max-length allows 50; raise that"), "{}", said(50));
        assert!(said(100).contains("allows 100, the model's whole context; choose --over-long"), "{}", said(100));
    }
}
