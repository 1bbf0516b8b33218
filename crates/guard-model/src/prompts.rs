//! Prompts and answers of a guard as token ids.
//!
//! Message texts are tokenised separately and as plain text: a special token in them is not special, and no token extends over the border
//! of a message. The policy's part has the same ids for all texts of one side.

use anyhow::{Context, ensure};
use chat::{ChatTemplate, RenderOptions, Tokenizer};
use dataset::Message;
use guard::prompt::{self, Format};
use guard::record::Asked;
use guard::window::windows;
use llama::ModelFolder;
use safety_text::policy::{Applies, Category};

/// Number of tokens by which the windows of a long turn overlap.
const OVERLAP: usize = 64;
/// Placeholders for contents; no template writes them by itself.
const MARKS: [&str; 2] = ["\u{1}herd-guard-content\u{1}", "\u{1}herd-guard-answer\u{1}"];

/// Makes prompts for one model.
#[derive(Debug, Clone)]
pub struct Prompts {
    format: Format,
    /// Ids before the task, and ids between the question and the answer.
    head: Vec<u32>,
    tail: Vec<u32>,
    safe: Vec<u32>,
    unsafe_: Vec<u32>,
    line: Vec<u32>,
    comma: Vec<u32>,
    /// The token that ends an answer.
    end: u32,
    /// All ids that end an answer.
    ends: Vec<i64>,
    context: usize,
}

/// The part of the prompt that is specific to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The conversation and the question, one for each window of the last turn.
    pub windows: Vec<Vec<u32>>,
    /// Number of leading turns that were left out.
    pub dropped_turns: usize,
}

impl Prompts {
    /// Prepares the prompts of a model.
    ///
    /// # Errors
    /// When the model's chat template does not write a conversation, no token ends an answer, or "safe" and "unsafe" begin with
    /// the same token: the score is read there.
    pub fn new(model: &ModelFolder, format: Format) -> anyhow::Result<Self> {
        let tokenizer = &model.tokenizer;
        let plain = |text: &str| Ok::<_, anyhow::Error>(tokenizer.encode_plain(text)?);
        let (safe, unsafe_) = (plain("safe")?, plain("unsafe")?);
        ensure!(
            !safe.is_empty() && !unsafe_.is_empty() && safe[0] != unsafe_[0],
            "{}: \"safe\" and \"unsafe\" begin with the same token; this tokenizer cannot be a guard's",
            model.path.display()
        );
        let (head, tail, after) = match (format, &model.template) {
            (Format::LlamaGuard3, _) => (
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n".to_owned(),
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n".to_owned(),
                "<|eot_id|>".to_owned(),
            ),
            (Format::Herd, Some(template)) => {
                around(template, tokenizer).with_context(|| format!("the chat template of {}", model.path.display()))?
            }
            (Format::Herd, None) => (String::new(), "\n".into(), String::new()),
        };
        let mut head = tokenizer.encode(&head, false)?;
        if let Some(bos) =
            tokenizer.bos_id().filter(|_| model.template.is_none() && format == Format::Herd && tokenizer.adds_bos())
        {
            head.insert(0, bos);
        }
        let written = tokenizer.encode(&after, false)?.first().copied();
        let is_stop = |id: &u32| model.stop_ids.contains(&i64::from(*id));
        let any = model.stop_ids.first().and_then(|&id| u32::try_from(id).ok());
        let end = written.filter(is_stop).or(any);
        let end = end.with_context(|| format!("{}: no token ends an answer", model.path.display()))?;
        Ok(Self {
            format,
            head,
            tail: tokenizer.encode(&tail, false)?,
            safe,
            unsafe_,
            line: plain("\n")?,
            comma: plain(",")?,
            end,
            ends: model.stop_ids.clone(),
            context: model.model.config().max_position_embeddings as usize,
        })
    }

    /// The first part: the task and the categories; the same for all texts of a side.
    ///
    /// # Errors
    /// When the tokenizer refuses a text.
    pub fn policy<'c>(
        &self,
        tokenizer: &Tokenizer,
        side: Applies,
        categories: impl IntoIterator<Item = &'c Category>,
        definitions: bool,
    ) -> anyhow::Result<Vec<u32>> {
        let text = prompt::policy(self.format, side, categories, definitions);
        Ok([self.head.clone(), tokenizer.encode_plain(&text)?].concat())
    }

    /// The part of a text, for a first part of `before` tokens and an answer of `answer` tokens. If it exceeds the context, whole turns
    /// are dropped at its front; a last turn that is still too long is divided into windows.
    ///
    /// # Errors
    /// When the policy leaves no room for a window, or when the tokenizer refuses a text.
    pub fn question(
        &self,
        tokenizer: &Tokenizer,
        asked: &Asked,
        before: usize,
        answer: usize,
    ) -> anyhow::Result<Question> {
        let closing = [tokenizer.encode_plain(&prompt::question(asked.side()))?, self.tail.clone()].concat();
        let after = tokenizer.encode_plain(prompt::AFTER_TURN)?;
        let mut turns: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        for turn in asked.turns() {
            let label = tokenizer.encode_plain(&prompt::before_turn(turn.side))?;
            turns.push((label, tokenizer.encode_plain(&prompt::quoted(&turn.text))?));
        }
        let room = self.context.saturating_sub(before + closing.len() + answer);
        let length = |(label, text): &(Vec<u32>, Vec<u32>)| label.len() + text.len() + after.len();
        let mut dropped_turns = 0;
        while turns.len() > 1 && turns.iter().map(length).sum::<usize>() > room {
            turns.remove(0);
            dropped_turns += 1;
        }
        let Some((label, last)) = turns.pop() else { anyhow::bail!("a conversation without turns cannot be judged") };
        let earlier: Vec<u32> = turns.iter().flat_map(|(label, text)| [&label[..], text, &after].concat()).collect();
        let left = room.saturating_sub(earlier.len() + label.len() + after.len());
        ensure!(
            left > OVERLAP || last.len() <= left,
            "the policy takes {before} of the {} tokens of the guard's context, which leaves {left} for a text; switch \
             categories off, or take a model with a longer context",
            self.context
        );
        let window = |part: std::ops::Range<usize>| [&earlier[..], &label, &last[part], &after, &closing].concat();
        let parts = if last.len() <= left {
            std::iter::once(0..last.len()).collect()
        } else {
            windows(last.len(), left, OVERLAP)
        };
        Ok(Question { windows: parts.into_iter().map(window).collect(), dropped_turns })
    }

    /// The ids of an answer: `safe`, or `unsafe` and a line with the ids of these categories; with the token that ends it.
    #[must_use]
    pub fn answer(&self, is_unsafe: bool, categories: &[&[u32]]) -> Vec<u32> {
        let mut ids = if is_unsafe { self.unsafe_.clone() } else { self.safe.clone() };
        for (at, id) in categories.iter().enumerate() {
            ids.extend(if at == 0 { &self.line } else { &self.comma });
            ids.extend(*id);
        }
        // For an unsafe text of an unknown category, the answer says no more than `unsafe`.
        if !is_unsafe || !categories.is_empty() {
            ids.push(self.end);
        }
        ids
    }

    /// The first tokens of `safe` and of `unsafe`.
    #[must_use]
    pub fn first_tokens(&self) -> [i64; 2] {
        [self.safe[0], self.unsafe_[0]].map(i64::from)
    }

    /// `unsafe` and the line end, which the categories follow.
    #[must_use]
    pub fn before_categories(&self) -> Vec<u32> {
        [&self.unsafe_[..], &self.line].concat()
    }

    /// The tokens that may follow a category.
    #[must_use]
    pub fn after_category(&self) -> Vec<i64> {
        let comma = self.comma.first().map(|&id| i64::from(id));
        self.ends.iter().copied().chain(comma).collect()
    }
}

/// The text that a chat template writes before a user's content, between it and the answer, and after the answer.
fn around(template: &ChatTemplate, tokenizer: &Tokenizer) -> anyhow::Result<(String, String, String)> {
    let asked = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    let text = template.render(tokenizer, &[Message::user(MARKS[0])], &asked)?;
    let (head, tail) = text.split_once(MARKS[0]).context("does not write what the user says")?;
    let plain = RenderOptions { add_generation_prompt: false, ..RenderOptions::default() };
    let answered = template.render(tokenizer, &[Message::user(MARKS[0]), Message::assistant(MARKS[1])], &plain)?;
    let after = answered.split_once(MARKS[1]).map_or("", |(_, after)| after);
    Ok((head.to_owned(), tail.to_owned(), after.to_owned()))
}
