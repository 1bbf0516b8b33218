//! Counts the tokens of conversations without encoding the same haystack again for each.
//!
//! A tokenizer that splits at the start of a paragraph gives whole paragraphs token counts that add up. They are counted once
//! ([`Counter::paragraphs`]); of a conversation only the rest is encoded, with chat template and answers. [`Counter::probe`] tests
//! whether a tokenizer has this property; with any other, conversations are encoded whole.

use std::path::Path;

use anyhow::{Context as _, bail};
use chat::{ChatTemplate, EncodeOptions, RenderOptions, SpecialTokens, Tokenizer, encode_conversation};
use dataset::Message;
use rayon::prelude::*;

use crate::stream::Stream;

/// The token counts of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// All tokens: template, questions, context, answers.
    pub tokens: usize,
    /// Tokens that are trained on: answers and their end-of-turn tokens.
    pub trained: usize,
}

/// A tokenizer with its chat template.
#[derive(Debug)]
pub struct Counter {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    options: EncodeOptions,
    by_parts: bool,
}

/// A probe text that stands before and after a paragraph break.
const SIDE: &str = "A";

impl Counter {
    /// Opens a folder with `tokenizer.json` and a chat template.
    ///
    /// # Errors
    /// When one of them is missing or broken.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let tokenizer = Tokenizer::from_dir(folder)?;
        let template = ChatTemplate::from_dir(folder)?.with_context(|| {
            format!("{}: there is no chat template; lengths are counted with one", folder.display())
        })?;
        if template.reads_date() {
            bail!(
                "{}: the chat template writes the date; the length of a record would change by the day",
                folder.display()
            );
        }
        // The same options as training: a text refused in training is refused here.
        let options = EncodeOptions {
            special_tokens: SpecialTokens::Refuse,
            render: RenderOptions::default(),
            ..Default::default()
        };
        Ok(Self { tokenizer, template, options, by_parts: true })
    }

    /// The special token of the tokenizer that a text contains, if any.
    #[must_use]
    pub fn special_in<'t>(&'t self, text: &str) -> Option<&'t str> {
        let tokens = self.tokenizer.special_tokens().iter().map(|(token, _)| token.as_str());
        tokens.filter(|token| !token.is_empty()).find(|token| text.contains(token))
    }

    /// The number of tokens of a text on its own.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn count(&self, text: &str) -> anyhow::Result<usize> {
        Ok(self.tokenizer.encode(text, false)?.len())
    }

    /// The tokens of each paragraph together with the separator after it, for a paragraph between two others.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn paragraphs(&self, texts: &[&str], separator: &str) -> anyhow::Result<Vec<u64>> {
        let around = self.count(&format!("{SIDE}{separator}{SIDE}"))? as u64;
        let one = |text: &&str| {
            let whole = self.count(&format!("{SIDE}{separator}{text}{separator}{SIDE}"))? as u64;
            Ok(whole.saturating_sub(around))
        };
        texts.par_iter().map(one).collect()
    }

    /// The tokens of a conversation, encoded whole.
    ///
    /// # Errors
    /// When the chat template or the tokenizer refuses it.
    pub fn conversation(&self, messages: &[Message]) -> anyhow::Result<Length> {
        let encoded = encode_conversation(&self.tokenizer, &self.template, messages, &self.options)?;
        Ok(Length { tokens: encoded.ids.len(), trained: encoded.trained() })
    }

    /// The tokens of a prompt that the model is to continue.
    ///
    /// # Errors
    /// When the chat template or the tokenizer refuses it.
    pub fn prompt(&self, messages: &[Message]) -> anyhow::Result<usize> {
        let is_begun = messages.last().is_some_and(|message| message.role == dataset::Role::Assistant);
        let encode = if is_begun { chat::encode_continued } else { chat::encode_prompt };
        Ok(encode(&self.tokenizer, &self.template, messages, &RenderOptions::default())?.len())
    }

    /// Whether the tokens of paragraphs are added up instead of encoding the whole text.
    #[must_use]
    pub fn is_by_parts(&self) -> bool {
        self.by_parts
    }

    /// Records whether a text had as many tokens as its parts.
    pub(crate) fn note(&mut self, adds_up: bool) {
        self.by_parts &= adds_up;
    }

    /// Encodes some passages whole and in parts. If the two differ, everything is encoded whole from then on.
    ///
    /// # Errors
    /// When the chat template or the tokenizer fails.
    pub fn probe(&mut self, stream: &Stream) -> anyhow::Result<()> {
        let count = stream.paragraphs.len();
        for at in 0..8 {
            let first = count * at / 8;
            let last = (first + 40).min(count - 1);
            let passage = stream.paragraphs[first].start..stream.paragraphs[last].end;
            let Some((left_out, tokens)) = stream.hollow(&passage) else { continue };
            let talk = |text: String| [Message::user(text), Message::assistant("Yes.")];
            let text = |range: std::ops::Range<usize>| &stream.text[range];
            let whole = self.conversation(&talk(format!("Read.\n\n{}\n\nEnd?", text(passage.clone()))))?;
            let (before, behind) = (text(passage.start..left_out.start), text(left_out.end..passage.end));
            let parts = self.conversation(&talk(format!("Read.\n\n{before}{behind}\n\nEnd?")))?;
            self.by_parts &= whole.tokens == parts.tokens + tokens as usize;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stream::BREAK;
    use crate::stream::tests::prose;

    /// ChatML, with a byte-level tokenizer that was trained on a little prose.
    pub(crate) fn tokenizer() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text = prose(40, 9).paragraphs.join("\n\n") + "The text does not say. Question? Answer: 0123456789";
        let counts = bpe::WordCounts::of([Ok(text)].into_iter()).unwrap();
        let mut vocabulary = bpe::train::train(&counts, 420, 2);
        vocabulary.add_special(&["<|im_start|>", "<|im_end|>"]);
        vocabulary.write(dir.path()).unwrap();
        let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
        std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
        let config = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}"#;
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        dir
    }

    pub(crate) fn counter() -> (tempfile::TempDir, Counter) {
        let dir = tokenizer();
        let counter = Counter::open(dir.path()).unwrap();
        (dir, counter)
    }

    #[test]
    fn a_tokenizer_whose_paragraphs_do_not_add_up_encodes_everything() {
        let (_dir, mut counter) = counter();
        let mut stream = Stream::new(vec![prose(100, 1)], 1, &counter, BREAK).unwrap();
        counter.probe(&stream).unwrap();
        assert!(counter.is_by_parts());
        // Simulates a token that spans the border of two paragraphs.
        let middle = stream.paragraphs.len() / 2;
        stream.spoil(middle);
        counter.probe(&stream).unwrap();
        assert!(!counter.is_by_parts());
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tokenizer();
        std::fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
        let error = Counter::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("there is no chat template"), "{error}");
        let error = chat::locate_tokenizer("no-such-model").unwrap_err().to_string();
        assert!(error.contains("--tokenizer no-such-model: no folder with a tokenizer.json"), "{error}");
        let dir = tokenizer();
        assert_eq!(Counter::open(dir.path()).unwrap().special_in("a <|im_end|> b"), Some("<|im_end|>"));
    }

    impl Stream {
        /// Makes the sums wrong by one from a paragraph on.
        pub(crate) fn spoil(&mut self, from: usize) {
            self.tokens_mut()[from..].iter_mut().for_each(|sum| *sum += 1);
        }
    }
}
