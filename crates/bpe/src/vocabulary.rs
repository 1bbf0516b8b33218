//! A byte-level BPE vocabulary with Llama 3's split, and its `tokenizer.json`.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use crate::alphabet;
use crate::split::LLAMA3;

/// Tokens, merges and special tokens.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Each token's bytes, by id; `None` for the id of an added token.
    tokens: Vec<Option<Box<[u8]>>>,
    ids: FxHashMap<Box<[u8]>, u32>,
    /// Pairs of tokens with the resulting token, by rank.
    merges: Vec<((u32, u32), u32)>,
    /// Whether a whole word that is a token is encoded as this token, whatever the merges.
    pub ignore_merges: bool,
    added: Vec<Added>,
    /// The other contents of `tokenizer.json`.
    rest: Map<String, Value>,
}

/// A token that no merge produces, such as `<|end_of_text|>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Whether it is special: left out of decoded text.
    pub special: bool,
}

impl Vocabulary {
    /// The 256 bytes, in the initial order of Hugging Face's trainer; `ignore_merges` as in Llama 3.
    #[must_use]
    pub fn of_bytes() -> Self {
        let mut made = Self { ignore_merges: true, ..Self::default() };
        alphabet::in_order().for_each(|byte| {
            made.push(Box::new([byte]));
        });
        made
    }

    /// Appends a token after all ids; returns its id.
    pub(crate) fn push(&mut self, bytes: Box<[u8]>) -> u32 {
        let next = self.size();
        self.tokens.resize(next as usize, None);
        self.tokens.push(Some(bytes.clone()));
        self.ids.insert(bytes, next);
        next
    }

    /// Appends a merge after all others. A pair that already has a merge gets the new rank, as when Hugging Face's
    /// library reads a list with a duplicate pair.
    pub(crate) fn push_merge(&mut self, pair: (u32, u32), becomes: u32) {
        self.merges.push((pair, becomes));
    }

    /// Keeps only the last rank of each pair.
    pub(crate) fn settle(&mut self) {
        let last: FxHashMap<(u32, u32), usize> =
            self.merges.iter().enumerate().map(|(rank, (pair, _))| (*pair, rank)).collect();
        let mut rank = 0;
        self.merges.retain(|(pair, _)| {
            rank += 1;
            last[pair] == rank - 1
        });
    }

    /// The vocabulary size: all ids are below this number.
    #[must_use]
    pub fn size(&self) -> u32 {
        let added = self.added.iter().map(|added| added.id + 1).max().unwrap_or(0);
        added.max(self.tokens.len() as u32)
    }

    /// Number of tokens, without added ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The bytes of a token; `None` for an added token and for an unused id.
    #[must_use]
    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id as usize)?.as_deref()
    }

    /// The token with these bytes.
    #[must_use]
    pub fn id(&self, bytes: &[u8]) -> Option<u32> {
        self.ids.get(bytes).copied()
    }

    /// Tokens with their ids, in ascending order.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.tokens.iter().enumerate().filter_map(|(id, bytes)| Some((id as u32, bytes.as_deref()?)))
    }

    /// Pairs with the resulting token, by rank.
    #[must_use]
    pub fn merges(&self) -> &[((u32, u32), u32)] {
        &self.merges
    }

    /// The added tokens.
    #[must_use]
    pub fn added(&self) -> &[Added] {
        &self.added
    }

    /// The id of an added token.
    #[must_use]
    pub fn added_id(&self, content: &str) -> Option<u32> {
        self.added.iter().find(|added| added.content == content).map(|added| added.id)
    }

    /// Appends special tokens after all ids. Existing ones keep their ids.
    pub fn add_special<S: AsRef<str>>(&mut self, contents: &[S]) {
        for content in contents {
            if self.added_id(content.as_ref()).is_none() {
                let id = self.size();
                self.added.push(Added { id, content: content.as_ref().to_owned(), special: true });
            }
        }
    }

    /// The bytes of ids. Added tokens give their texts.
    ///
    /// # Errors
    /// When an id does not exist.
    pub fn decode(&self, ids: &[u32]) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        for &id in ids {
            match self.bytes(id) {
                Some(bytes) => out.extend_from_slice(bytes),
                None => match self.added.iter().find(|added| added.id == id) {
                    Some(added) => out.extend_from_slice(added.content.as_bytes()),
                    None => bail!("{id} is not a token's id"),
                },
            }
        }
        Ok(out)
    }

    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a byte-level BPE with Llama 3's split.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let json: Value =
            serde_json::from_slice(&text).with_context(|| format!("{}: the file is not JSON", path.display()))?;
        Self::parse(json).with_context(|| path.display().to_string())
    }

    /// Parses the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// When a part differs from a byte-level BPE with Llama 3's split; the error names the first.
    pub fn parse(mut json: Value) -> anyhow::Result<Self> {
        ensure!(
            json["normalizer"].is_null(),
            "the tokenizer has a normalizer; only a tokenizer without one is supported"
        );
        check_split(&json["pre_tokenizer"])?;
        let rest = json.as_object_mut().context("the tokenizer is not a JSON object")?;
        let model = rest.remove("model").unwrap_or_default();
        let added = rest.remove("added_tokens").unwrap_or_default();
        let rest = std::mem::take(rest);
        ensure!(model["type"] == "BPE", "the model is {}, not BPE", model["type"]);
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            let none = model[key].is_null() || model[key] == "";
            ensure!(none, "the model has {key}, which byte-level BPE does not have");
        }
        ensure!(model["dropout"].is_null() || model["dropout"] == 0.0, "the model has dropout");
        let mut made = Self { rest, ignore_merges: model["ignore_merges"] == true, ..Self::default() };
        for token in added.as_array().into_iter().flatten() {
            let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let (id, content) = id.zip(token["content"].as_str()).context("added_tokens: id or content is missing")?;
            made.added.push(Added { id, content: content.to_owned(), special: token["special"] == true });
        }
        let vocab = model["vocab"].as_object().context("model.vocab is not an object")?;
        let mut written: FxHashMap<&str, u32> = FxHashMap::default();
        let most = 1 << 24;
        for (token, id) in vocab {
            let id = id
                .as_u64()
                .filter(|id| *id < most)
                .with_context(|| format!("model.vocab: {token:?} has no id below {most}"))?;
            let id = id as u32;
            written.insert(token, id);
            // Llama 3 has its special tokens in one place only, other tokenizers in both.
            if made.added.iter().any(|added| added.id == id) {
                continue;
            }
            let bytes = alphabet::bytes(token)
                .with_context(|| format!("model.vocab: {token:?} is not written in the alphabet of byte-level BPE"))?;
            if made.tokens.len() <= id as usize {
                made.tokens.resize(id as usize + 1, None);
            }
            ensure!(made.tokens[id as usize].is_none(), "model.vocab: two tokens have the id {id}");
            made.tokens[id as usize] = Some(bytes.clone().into());
            made.ids.insert(bytes.into(), id);
        }
        if let Some(byte) = (0..=255u8).find(|byte| !made.ids.contains_key(&[*byte][..])) {
            bail!("model.vocab: the byte {byte:#04x} is not a token, so that not every text can be encoded");
        }
        for (rank, merge) in model["merges"].as_array().context("model.merges is not a list")?.iter().enumerate() {
            let parts = match merge {
                Value::String(text) => text.split_once(' '),
                list => list[0].as_str().zip(list[1].as_str()),
            };
            let pair = parts.and_then(|(a, b)| {
                let whole = written.get(format!("{a}{b}").as_str())?;
                Some(((*written.get(a)?, *written.get(b)?), *whole))
            });
            let (pair, whole) =
                pair.with_context(|| format!("model.merges: number {rank} names no tokens: {merge}"))?;
            made.merges.push((pair, whole));
        }
        made.settle();
        Ok(made)
    }

    /// The content of `tokenizer.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let written = |id: u32| Value::from(alphabet::written(self.bytes(id).unwrap_or_default()));
        let vocab: Map<String, Value> =
            self.tokens().map(|(id, bytes)| (alphabet::written(bytes), Value::from(id))).collect();
        let merges: Vec<Value> = self.merges.iter().map(|((a, b), _)| json!([written(*a), written(*b)])).collect();
        let added: Vec<Value> = self
            .added
            .iter()
            .map(|added| {
                json!({"id": added.id, "content": added.content, "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": added.special})
            })
            .collect();
        let or = |key: &str, default: Value| self.rest.get(key).cloned().unwrap_or(default);
        let split = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": or("pre_tokenizer", split),
            "post_processor": or("post_processor", self.begin_of_text()),
            "decoder": or("decoder", json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})),
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                      "ignore_merges": self.ignore_merges, "vocab": vocab, "merges": merges},
        })
    }

    /// Llama 3's post-processor: adds `<|begin_of_text|>` before every text, if there is such a token.
    fn begin_of_text(&self) -> Value {
        let offsets = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
        let Some(id) = self.added_id(BEGIN) else { return offsets };
        let begin = |type_id| json!({"SpecialToken": {"id": BEGIN, "type_id": type_id}});
        let text = |name, type_id| json!({"Sequence": {"id": name, "type_id": type_id}});
        json!({"type": "Sequence", "processors": [offsets, {
            "type": "TemplateProcessing",
            "single": [begin(0), text("A", 0)],
            "pair": [begin(0), text("A", 0), begin(1), text("B", 1)],
            "special_tokens": {BEGIN: {"id": BEGIN, "ids": [id], "tokens": [BEGIN]}},
        }]})
    }

    /// The content of `tokenizer_config.json`, with Llama 3's names for the first and the last token of a text.
    #[must_use]
    pub fn config_json(&self) -> Value {
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 131_072,
        });
        for (key, content) in [("bos_token", BEGIN), ("eos_token", END), ("pad_token", PAD)] {
            if self.added_id(content).is_some() {
                config[key] = content.into();
            }
        }
        config
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = |json: &Value| serde_json::to_string_pretty(json).map(|text| text + "\n");
        dataset::write_file(folder.join(TOKENIZER), text(&self.to_json())?.as_bytes())?;
        dataset::write_file(folder.join(CONFIG), text(&self.config_json())?.as_bytes())?;
        Ok(())
    }
}

/// The file of a tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The file with the class and the special tokens.
pub const CONFIG: &str = "tokenizer_config.json";
/// The token before a text.
pub const BEGIN: &str = "<|begin_of_text|>";
/// The token after a text.
pub const END: &str = "<|end_of_text|>";
const PAD: &str = "<|finetune_right_pad_id|>";

/// The 256 special tokens of Llama 3.1, in their order.
#[must_use]
pub fn llama3_special_tokens() -> Vec<String> {
    let mut reserved = (0..).map(|number| format!("<|reserved_special_token_{number}|>"));
    let mut tokens: Vec<String> = vec![BEGIN.into(), END.into()];
    tokens.extend(reserved.by_ref().take(2));
    tokens.push(PAD.into());
    tokens.extend(reserved.by_ref().take(1));
    tokens.extend(
        ["<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"].map(Into::into),
    );
    let missing = 256 - tokens.len();
    tokens.extend(reserved.take(missing));
    tokens
}

/// Whether a pre-tokenizer is Llama 3's split followed by the bytes' alphabet.
fn check_split(value: &Value) -> anyhow::Result<()> {
    let parts = value["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice);
    let [split, bytes] = parts else { bail!("the pre-tokenizer is not Llama 3's split followed by ByteLevel") };
    ensure!(
        split["type"] == "Split"
            && split["pattern"]["Regex"] == LLAMA3
            && split["behavior"] == "Isolated"
            && split["invert"] != true,
        "the pre-tokenizer does not begin with Llama 3's split"
    );
    ensure!(
        bytes["type"] == "ByteLevel" && bytes["use_regex"] == false && bytes["add_prefix_space"] != true,
        "the pre-tokenizer does not end with ByteLevel without a split of its own"
    );
    Ok(())
}
