//! A model folder: weights, tokenizer and chat template.

use std::path::{Path, PathBuf};

use chat::{ChatTemplate, RenderOptions, Tokenizer};
use dataset::Message;
use serde_json::Value;
use tch::{Device, Kind};

use crate::load::ModelError;
use crate::model::Llama;

/// A model with its tokenizer and chat template.
pub struct ModelFolder {
    /// Path of the folder.
    pub path: PathBuf,
    /// The model.
    pub model: Llama,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template; base models have none.
    pub template: Option<ChatTemplate>,
    /// Token ids that end an answer, from the configuration, the generation configuration and the tokenizer.
    pub stop_ids: Vec<i64>,
}

impl ModelFolder {
    /// Loads everything in `path`; the weights in `kind` or as stored.
    pub fn load(path: &Path, kind: Option<Kind>, device: Device) -> Result<Self, ModelError> {
        if path.join("adapter_config.json").is_file() && !path.join("config.json").is_file() {
            return Err(ModelError::AdapterAlone(path.display().to_string()));
        }
        let tokenizer = Tokenizer::from_dir(path)?;
        let template = ChatTemplate::from_dir(path)?;
        let model = Llama::load(path, kind, device)?;
        if tokenizer.vocab_size() as i64 > model.config().vocab_size {
            return Err(ModelError::Vocabulary {
                folder: path.display().to_string(),
                tokenizer: tokenizer.vocab_size(),
                model: model.config().vocab_size,
            });
        }
        let mut stop_ids = model.config().eos_token_ids.clone();
        stop_ids.extend(chat::stop_token_ids(&tokenizer, template.as_ref(), path)?.into_iter().map(i64::from));
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Ok(Self { path: path.to_owned(), model, tokenizer, template, stop_ids })
    }

    /// A padding token that does not end an answer: the tokenizer's own, or else the first suitable special token. In many models
    /// the tokenizer's padding token also ends a turn; transformers would then take the token before it for the last token of a
    /// text. `None` if there is no such token.
    #[must_use]
    pub fn padding(&self) -> Option<u32> {
        let own = self.tokenizer.named_tokens().get("pad_token").and_then(|token| self.tokenizer.id_of(token));
        let special = self.tokenizer.special_tokens().iter().map(|(_, id)| *id);
        own.into_iter().chain(special).find(|&id| !self.stop_ids.contains(&i64::from(id)))
    }

    /// The token ids of a prompt: the conversation in the chat template, up to the start of the assistant's turn.
    pub fn encode_prompt(&self, messages: &[Message]) -> Result<Vec<i64>, ModelError> {
        self.encode_with_tools(messages, &[])
    }

    /// As [`ModelFolder::encode_prompt`], with functions that the model may call. An error if the template does not support them.
    pub fn encode_with_tools(&self, messages: &[Message], tools: &[Value]) -> Result<Vec<i64>, ModelError> {
        let template = self.template.as_ref().ok_or_else(|| ModelError::NoTemplate(self.path.display().to_string()))?;
        let render = RenderOptions { tools: tools.to_vec(), ..RenderOptions::default() };
        let ids = chat::encode_prompt(&self.tokenizer, template, messages, &render)?;
        Ok(ids.into_iter().map(i64::from).collect())
    }
}
