//! `tokenizer.json` and its companion files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::added;
use crate::error::ChatError;

/// A Hugging Face tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same tokenizer, for text in which special tokens are plain text. It is created on first use.
    plain: OnceLock<Box<tokenizers::Tokenizer>>,
    folder: PathBuf,
    named: BTreeMap<String, String>,
    bos_id: Option<u32>,
    adds_bos: bool,
    special: Vec<(String, u32)>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, if they exist, `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json`. Tokens that only the latter files name are added, as transformers does.
    pub fn from_dir(dir: &Path) -> Result<Self, ChatError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|cause| ChatError::Io { path: shown(&path), cause })?;
        // `parse`, here and elsewhere: `from_bytes` and `from_file` are generic, and compile 300,000 lines of LLVM code into the crate that
        // calls them.
        let parsed = std::str::from_utf8(&bytes).map_err(Into::into).and_then(str::parse);
        let mut inner: tokenizers::Tokenizer = parsed.map_err(|e: tokenizers::Error| ChatError::File {
            path: shown(&path),
            reason: why(&bytes, &format!("not a tokenizer: {e}")),
        })?;
        let mut named = BTreeMap::new();
        for file in ["special_tokens_map.json", "tokenizer_config.json"] {
            if let Some(Value::Object(map)) = read_json(&dir.join(file))? {
                named.extend(map.iter().filter(|(key, _)| key.ends_with("_token")).filter_map(|(key, value)| {
                    let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
                    Some((key.clone(), text?.to_owned()))
                }));
            }
        }
        added::complete(&mut inner, dir, &named)?;
        let id = |name: &str| named.get(name).and_then(|token| inner.token_to_id(token));
        for (name, token) in &named {
            // Other tokens, such as padding, are never needed here; transformers adds missing ones.
            let needed = ["bos_token", "eos_token"].contains(&name.as_str());
            if needed && inner.token_to_id(token).is_none() {
                let reason = format!("{name} is {token:?}, which tokenizer.json does not know");
                return Err(ChatError::File { path: shown(&dir.join("tokenizer_config.json")), reason });
            }
        }
        let bos_id = id("bos_token");
        let probe = inner.encode("a", true).map_err(tokenizer_error)?;
        let adds_bos = bos_id.is_some() && probe.get_ids().first().copied() == bos_id;
        let special = inner.get_added_tokens_decoder();
        let special = special.iter().filter(|(_, token)| token.special).map(|(id, token)| (token.content.clone(), *id));
        let mut special: Vec<(String, u32)> = special.collect();
        special.sort_by_key(|(_, id)| *id);
        Ok(Self { inner, plain: OnceLock::new(), folder: dir.to_owned(), named, bos_id, adds_bos, special })
    }

    /// The ids of a text. With `special`, the tokenizer adds the tokens of its post-processor (such as a
    /// beginning-of-text token). Special tokens in the text are parsed as such, as transformers does.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, ChatError> {
        Ok(self.inner.encode(text, special).map_err(tokenizer_error)?.get_ids().to_vec())
    }

    /// The ids of a text in which the text of a special token is plain text.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        let plain = self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            Box::new(plain)
        });
        Ok(plain.encode(text, false).map_err(tokenizer_error)?.get_ids().to_vec())
    }

    /// The text of ids.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, ChatError> {
        self.inner.decode(ids, skip_special).map_err(tokenizer_error)
    }

    /// A decoder that takes ids one by one and never returns an incomplete character.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream<'_> {
        DecodeStream { tokenizer: self, skip_special, ids: Vec::new(), start: 0, given: 0 }
    }

    /// The id of a token.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as written in the vocabulary.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Named special tokens (`bos_token`, `eos_token`, `pad_token`, ...) for the chat template.
    pub fn named_tokens(&self) -> &BTreeMap<String, String> {
        &self.named
    }

    /// The beginning-of-text token.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// Whether the tokenizer itself adds the beginning-of-text token.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// All special tokens with their ids.
    pub fn special_tokens(&self) -> &[(String, u32)] {
        &self.special
    }

    /// Copies the tokenizer's and the chat template's files, byte for byte.
    pub fn save(&self, dir: &Path) -> Result<(), ChatError> {
        let shown = || dir.display().to_string();
        weights::side_files::copy(&self.folder, dir).map_err(|cause| ChatError::Io { path: shown(), cause })
    }
}

/// Decodes ids one by one.
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    ids: Vec<u32>,
    /// The start of the ids that are decoded together: a few before the newest id, since some decoders look back.
    start: usize,
    /// Bytes of the text of `ids[start..]` that were already returned.
    given: usize,
}

impl DecodeStream<'_> {
    /// The text that `id` completes; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.text();
        if text.len() <= self.given || text.ends_with('\u{FFFD}') {
            return String::new();
        }
        let new = text[self.given..].to_owned();
        self.given = text.len();
        // Start again at the last complete token, so that a long text is not decoded repeatedly.
        if self.ids.len() - self.start > 16 {
            self.start = self.ids.len() - 4;
            self.given = self.text().len();
        }
        new
    }

    /// The rest: an incomplete character, as a replacement character.
    pub fn finish(&mut self) -> String {
        let text = self.text();
        let new = text.get(self.given..).unwrap_or_default().to_owned();
        self.given = text.len();
        new
    }

    fn text(&self) -> String {
        // Ids outside the vocabulary decode to nothing.
        self.tokenizer.decode(&self.ids[self.start..], self.skip_special).unwrap_or_default()
    }
}

/// A JSON file that may be missing.
pub(crate) fn read_json(path: &Path) -> Result<Option<Value>, ChatError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(ChatError::Io { path: shown(path), cause }),
    };
    let value = serde_json::from_str(&text)
        .map_err(|e| ChatError::File { path: shown(path), reason: why(text.as_bytes(), &e.to_string()) })?;
    Ok(Some(value))
}

/// Describes a file that cannot be parsed, or returns the parser's message.
fn why(bytes: &[u8], parser: &str) -> String {
    weights::impostor(bytes).unwrap_or(parser).to_owned()
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn tokenizer_error(error: tokenizers::Error) -> ChatError {
    ChatError::Tokenizer(error.to_string())
}
