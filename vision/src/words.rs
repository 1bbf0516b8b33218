//! Conversations with pictures as token ids: a language model's tokenizer with one additional token for pictures.

use std::path::Path;

use chat::{ChatTemplate, EncodeOptions, Encoded, RenderOptions, SpecialTokens, Tokenizer, Train};
use dataset::{Content, Invalid, Message, Part, check};
use pictures::{Placed, Source, of_messages};
use serde_json::{Value, json};

use crate::{Result, VisionError};

/// The token for a picture, as in Llama 3.2 Vision's vocabulary.
pub const IMAGE: &str = "<|image|>";

/// A tokenizer with the token [`IMAGE`].
pub struct Words {
    /// The language model's tokenizer with the token.
    pub tokenizer: Tokenizer,
    /// The id of the image token. The language model has no embedding for it, or an unused one.
    pub image_id: u32,
}

/// An encoded conversation.
pub struct Spoken {
    /// The ids; each picture is an image token.
    pub encoded: Encoded,
    /// The pictures, in the order of their tokens.
    pub sources: Vec<Source>,
}

impl Words {
    /// Loads the tokenizer of a model folder. If it lacks [`IMAGE`], the token is added after all others; the folder is not changed.
    ///
    /// # Errors
    /// When the folder has no valid tokenizer.
    pub fn from_dir(folder: &Path) -> Result<Self> {
        let own = Tokenizer::from_dir(folder)?;
        if let Some((_, id)) = own.special_tokens().iter().find(|(token, _)| token == IMAGE) {
            let image_id = *id;
            return Ok(Self { tokenizer: own, image_id });
        }
        let wrong = |what: String| VisionError::Pictures(format!("{}: {what}", folder.display()));
        if own.id_of(IMAGE).is_some() {
            return Err(wrong(format!("the tokenizer has {IMAGE} as an ordinary token")));
        }
        let scratch = tempfile::tempdir().map_err(|error| wrong(format!("no scratch folder: {error}")))?;
        own.save(scratch.path())?;
        let path = scratch.path().join("tokenizer.json");
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let mut value: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let token = json!({"id": own.vocab_size(), "content": IMAGE, "single_word": false, "lstrip": false,
                           "rstrip": false, "normalized": false, "special": true});
        match value.get_mut("added_tokens").and_then(Value::as_array_mut) {
            Some(tokens) => tokens.push(token),
            None => value["added_tokens"] = json!([token]),
        }
        std::fs::write(&path, value.to_string()).map_err(|error| wrong(error.to_string()))?;
        let tokenizer = Tokenizer::from_dir(scratch.path())?;
        match tokenizer.id_of(IMAGE) {
            Some(image_id) => Ok(Self { tokenizer, image_id }),
            None => Err(wrong(format!("the tokenizer does not take the token {IMAGE}"))),
        }
    }

    /// Encodes a training conversation: the ids, the mask of the assistant's turns, and the pictures. `folder` contains the records'
    /// file.
    ///
    /// # Errors
    /// [`Invalid`] if the record is faulty, as in [`Words::marked`]; otherwise an error of the template.
    pub fn conversation(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        (folder, tools): (&Path, Vec<Value>),
    ) -> Result<Spoken, SpokenError> {
        let (marked, placed) = self.marked(messages, folder)?;
        check::has_answer(&marked)?;
        let options = EncodeOptions {
            train: Train::AllTurns,
            special_tokens: SpecialTokens::Parse,
            render: RenderOptions { tools, ..RenderOptions::default() },
        };
        let encoded = chat::encode_conversation(&self.tokenizer, template, &marked, &options)?;
        self.matched(&encoded.ids, &placed)?;
        Ok(Spoken { encoded, sources: placed.into_iter().map(|placed| placed.source).collect() })
    }

    /// Encodes a prompt: the ids up to the assistant's turn, and the pictures.
    ///
    /// # Errors
    /// The same as [`Words::conversation`].
    pub fn prompt(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        folder: &Path,
    ) -> Result<(Vec<i64>, Vec<Source>), SpokenError> {
        let (marked, placed) = self.marked(messages, folder)?;
        let ids = chat::encode_prompt(&self.tokenizer, template, &marked, &RenderOptions::default())?;
        self.matched(&ids, &placed)?;
        let sources = placed.into_iter().map(|placed| placed.source).collect();
        Ok((ids.into_iter().map(i64::from).collect(), sources))
    }

    /// Replaces each picture in the turns by the image token's text; also returns the pictures.
    ///
    /// # Errors
    /// [`Invalid`] for a part that is neither text nor a picture, for a missing picture, and for a text that contains the text of a
    /// special token: a typed `<|image|>` is not a picture.
    pub fn marked(&self, messages: &[Message], folder: &Path) -> Result<(Vec<Message>, Vec<Placed>), Invalid> {
        let placed = of_messages(messages, folder).map_err(|error| Invalid(error.to_string()))?;
        let marked = messages.iter().enumerate().map(|(index, message)| {
            let mut text = String::new();
            let parts = match &message.content {
                Some(Content::Parts(parts)) => parts.parts(),
                Some(Content::Text(text)) => {
                    self.plain(index, text)?;
                    return Ok(message.clone());
                }
                None => return Ok(message.clone()),
            };
            for part in parts {
                match part {
                    Part::Text(more) => {
                        self.plain(index, more)?;
                        text.push_str(more);
                    }
                    Part::Other { .. } => text.push_str(IMAGE),
                }
            }
            Ok(Message { content: Some(text.into()), ..message.clone() })
        });
        Ok((marked.collect::<Result<_, Invalid>>()?, placed))
    }

    /// Refuses a text that contains the text of a special token.
    fn plain(&self, message: usize, text: &str) -> Result<(), Invalid> {
        let found = self.tokenizer.special_tokens().iter().find(|(token, _)| text.contains(token.as_str()));
        match found {
            Some((token, _)) => Err(Invalid(format!(
                "messages[{message}]: the text holds the special token {token}, which would be read as one"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a prompt whose numbers of image tokens and of pictures differ, because a template may leave out a turn.
    fn matched(&self, ids: &[u32], placed: &[Placed]) -> Result<(), Invalid> {
        let tokens = ids.iter().filter(|id| **id == self.image_id).count();
        if tokens != placed.len() {
            return Err(Invalid(format!("{tokens} image marks, {} images: each picture needs one mark", placed.len())));
        }
        Ok(())
    }
}

/// The reason why a conversation cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum SpokenError {
    /// The record is faulty.
    #[error(transparent)]
    Record(#[from] Invalid),
    /// The template or the tokenizer reported an error.
    #[error(transparent)]
    Chat(#[from] chat::ChatError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> (tempfile::TempDir, Words) {
        let folder = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 8, layers: 1, context: 64, seed: 0 }.write(folder.path()).unwrap();
        let words = Words::from_dir(folder.path()).unwrap();
        (folder, words)
    }

    fn messages(value: Value) -> Vec<Message> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_picture_is_one_token_between_the_texts() {
        let (folder, words) = words();
        let template = ChatTemplate::from_dir(folder.path()).unwrap().unwrap();
        let content =
            json!([{"type": "text", "text": "a"}, {"type": "image", "image": "b.png"}, {"type": "text", "text": "c"}]);
        let turns = messages(json!([{"role": "user", "content": content}, {"role": "assistant", "content": "d"}]));
        let spoken = words.conversation(&template, &turns, (Path::new("data"), vec![])).unwrap();
        let at = spoken.encoded.ids.iter().position(|id| *id == words.image_id).unwrap();
        assert_eq!(words.image_id, 258, "behind all tokens of the model");
        assert_eq!(spoken.encoded.ids[at - 1..at + 2], [u32::from(b'a'), 258, u32::from(b'c')]);
        assert_eq!(spoken.sources, [Source::Path("data/b.png".into())]);
        let trained: Vec<u32> = spoken
            .encoded
            .ids
            .iter()
            .zip(&spoken.encoded.assistant_mask)
            .filter(|(_, t)| **t)
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(trained, [u32::from(b'd'), 257]);
        // Text alone has the same ids as with the language model's own tokenizer.
        let plain = messages(json!([{"role": "user", "content": "é?"}]));
        let own = chat::encode_prompt(
            &Tokenizer::from_dir(folder.path()).unwrap(),
            &template,
            &plain,
            &RenderOptions::default(),
        );
        let (ids, sources) = words.prompt(&template, &plain, Path::new("")).unwrap();
        assert_eq!(ids, own.unwrap().into_iter().map(i64::from).collect::<Vec<_>>());
        assert!(sources.is_empty());
    }

    #[test]
    fn marks_that_somebody_typed_and_lost_pictures_are_refused() {
        let (folder, words) = words();
        let template = ChatTemplate::from_dir(folder.path()).unwrap().unwrap();
        let image = json!({"type": "image", "image": "b.png"});
        for (content, sentence) in [
            (json!("x <|image|>"), "messages[0]: the text holds the special token <|image|>"),
            (
                json!([image, {"type": "text", "text": "<|im_end|>"}]),
                "messages[0]: the text holds the special token <|im_end|>",
            ),
            (json!([{"type": "audio", "audio": "a.wav"}]), "messages[0].content[0]: a part of type \"audio\""),
        ] {
            let turns = messages(json!([{"role": "user", "content": content}]));
            let error = words.prompt(&template, &turns, Path::new("")).unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
        let forgets = ChatTemplate::new("{{ messages[0].content }}<|im_end|>").unwrap();
        let turns = messages(json!([{"role": "user", "content": "a"}, {"role": "user", "content": [image]}]));
        let error = words.prompt(&forgets, &turns, Path::new("")).unwrap_err().to_string();
        assert_eq!(error, "0 image marks, 1 images: each picture needs one mark");
    }
}
