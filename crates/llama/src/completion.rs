//! Text generation: decodes the engine's tokens as they arrive, until a stop token, a stop string or the maximal length.

use chat::{DecodeStream, Tokenizer};
use dataset::FinishReason;

use crate::engine::Engine;
use crate::request::{GenerateError, Next, Request};
use crate::sampling::Choice;

/// Conditions that end an answer besides its maximal length.
#[derive(Debug, Clone, Default)]
pub struct StopRules {
    /// Token ids that end an answer and are not part of its text.
    pub ids: Vec<i64>,
    /// Strings that end an answer; the text ends before the string.
    pub strings: Vec<String>,
}

/// A finished answer.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The text, without special tokens and without the stop string.
    pub text: String,
    /// Why the answer ended: `stop` or `length`.
    pub finish_reason: FinishReason,
    /// All generated token ids, including the stop token.
    pub ids: Vec<i64>,
    /// The log-probability (natural logarithm) of each generated token.
    pub logprobs: Vec<f32>,
}

impl Completion {
    /// Sum of the log-probabilities of all generated tokens.
    pub fn logprob(&self) -> f64 {
        self.logprobs.iter().map(|&logprob| f64::from(logprob)).sum()
    }
}

/// Receives the events of generation.
pub trait Listener {
    /// A token was chosen for request `index`; `text` is the new text that can be shown. Returning [`Next::Stop`] ends the
    /// answer.
    fn token(&mut self, index: usize, text: &str) -> Next;
    /// Request `index` is complete.
    fn done(&mut self, index: usize, completion: Completion);
}

/// Generates an answer for every request, each with its own stop rules. Reports tokens and complete answers to `listener` in
/// the order in which they occur.
///
/// # Errors
/// See [`Engine::generate`].
pub fn complete(
    engine: &mut Engine,
    tokenizer: &Tokenizer,
    requests: &[Request],
    stops: &[StopRules],
    listener: &mut impl Listener,
) -> Result<(), GenerateError> {
    let mut open: Vec<Option<AnswerText>> = requests.iter().map(|_| Some(AnswerText::new(tokenizer))).collect();
    let limits: Vec<usize> = requests.iter().map(|request| engine.limit(request)).collect();
    engine.generate(requests, |index, choice| {
        let Some(answer) = open[index].as_mut() else { return Next::Stop };
        let finished = answer.push(&choice, &stops[index], limits[index]);
        let next = listener.token(index, answer.take_new());
        if finished.is_none() && next == Next::Continue {
            return Next::Continue;
        }
        if let Some(answer) = open[index].take() {
            listener.done(index, answer.into_completion(finished.unwrap_or(FinishReason::Stop)));
        }
        Next::Stop
    })
}

/// The text of an answer during generation: decodes each new token and applies the stop rules.
pub struct AnswerText<'a> {
    stream: DecodeStream<'a>,
    text: String,
    /// Number of bytes of the text that can be shown. A possible beginning of a stop string is held back.
    shown: usize,
    /// Number of bytes of the text that were already returned by [`AnswerText::take_new`].
    taken: usize,
    ids: Vec<i64>,
    logprobs: Vec<f32>,
}

impl<'a> AnswerText<'a> {
    /// An answer without tokens.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        let stream = tokenizer.decode_stream(true);
        Self { stream, text: String::new(), shown: 0, taken: 0, ids: Vec::new(), logprobs: Vec::new() }
    }

    /// Adds a token. Returns the reason if the answer ends: a stop token or string, or `limit` tokens.
    pub fn push(&mut self, choice: &Choice, stop: &StopRules, limit: usize) -> Option<FinishReason> {
        let ended = self.add(choice, stop);
        let full = self.ids.len() >= limit;
        if ended || full {
            self.finish_text(ended, stop);
        }
        match (ended, full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        }
    }

    /// The text that can be shown and was not returned before.
    pub fn take_new(&mut self) -> &str {
        let from = std::mem::replace(&mut self.taken, self.shown);
        &self.text[from..self.shown]
    }

    /// Number of tokens so far.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Turns the answer into a completion.
    pub fn into_completion(self, finish_reason: FinishReason) -> Completion {
        Completion { text: self.text, finish_reason, ids: self.ids, logprobs: self.logprobs }
    }

    /// Adds a token; returns true if it ends the answer.
    fn add(&mut self, choice: &Choice, stop: &StopRules) -> bool {
        self.ids.push(choice.id);
        self.logprobs.push(choice.logprob);
        if stop.ids.contains(&choice.id) {
            return true;
        }
        let searched = self.text.len();
        self.text.push_str(&self.stream.push(choice.id as u32));
        self.cut_at_stop(searched, stop) || {
            self.shown = self.text.len() - held_back(&self.text[self.shown..], &stop.strings);
            false
        }
    }

    /// Truncates the text at the first stop string that ends after byte `searched`. Returns whether there was one.
    fn cut_at_stop(&mut self, searched: usize, stop: &StopRules) -> bool {
        let longest = stop.strings.iter().map(String::len).max().unwrap_or(0);
        let mut from = searched.saturating_sub(longest);
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let found = stop.strings.iter().filter_map(|string| self.text[from..].find(string.as_str())).min();
        if let Some(at) = found {
            self.text.truncate(from + at);
            self.shown = self.shown.min(self.text.len());
        }
        found.is_some()
    }

    /// Adds the text that the decoder still holds (such as an incomplete character), and shows everything.
    fn finish_text(&mut self, ended: bool, stop: &StopRules) {
        if !ended || stop.ids.contains(self.ids.last().unwrap_or(&-1)) {
            let searched = self.text.len();
            self.text.push_str(&self.stream.finish());
            self.cut_at_stop(searched, stop);
        }
        self.shown = self.text.len();
    }
}

/// Number of bytes at the end of `text` that may be the beginning of a stop string.
fn held_back(text: &str, strings: &[String]) -> usize {
    let longest_start =
        |string: &String| (1..string.len()).rev().find(|&n| string.is_char_boundary(n) && text.ends_with(&string[..n]));
    strings.iter().filter_map(longest_start).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::held_back;

    #[test]
    fn only_a_possible_start_is_held_back() {
        let stops = ["\n\nQ:".to_owned(), "END".to_owned()];
        assert_eq!(held_back("so\n\n", &stops), 2);
        assert_eq!(held_back("so\n\nQ", &stops), 3);
        assert_eq!(held_back("so EN", &stops), 2);
        assert_eq!(held_back("so far", &stops), 0);
        assert_eq!(held_back("", &stops), 0);
    }
}
