//! `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` from the metadata of a GGUF file.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::hyper::Hyper;
use super::pre_tokenizer;
use super::{Fields, Gguf};
use crate::Result;
use crate::error::shown;

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const TEMPLATE: &str = "tokenizer.chat_template";

/// SentencePiece tokens are much shorter; the limit keeps the recovery of merges fast.
const LONGEST_PIECE: usize = 1024;
/// The spelling of a space in SentencePiece.
const SPACE: &str = "\u{2581}";

/// Tokens that end an answer in models with a chat template; files often do not list them as such.
const ENDS: [&str; 6] = ["<|eot_id|>", "<|im_end|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>"];

/// The tokenizer and generation files, and the ids that `config.json` repeats.
#[derive(Debug)]
pub(crate) struct TextFiles {
    pub tokenizer: Value,
    pub tokenizer_config: Value,
    pub generation_config: Value,
    pub bos: Option<usize>,
    pub eos: Option<usize>,
    pub pad: Option<usize>,
}

/// The role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The result of merges.
    Normal,
    /// A single byte, or a reserved place; no merge produces it.
    Reserved,
    /// A special token: recognised in text, and left out of decoded text.
    Special,
    /// An added token: recognised in text.
    Added,
}

struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    ids: HashMap<&'a str, usize>,
    kinds: Vec<Kind>,
}

/// Builds the files; `hyper` gives the number of embeddings and the context length.
pub(crate) fn read(gguf: &Gguf, hyper: &Hyper) -> Result<TextFiles> {
    let fields = gguf.fields();
    let vocabulary = Vocabulary::read(&fields, hyper.vocab_size)?;
    let named = Named::read(&fields, &vocabulary)?;
    let model = fields.required(MODEL, fields.str(MODEL)?)?;
    let (parts, default_bos) = match model {
        "gpt2" => byte_level(&fields, &vocabulary)?,
        "llama" => sentence_piece(&fields, &vocabulary, &named)?,
        other => {
            let problem =
                format!("{} is not supported; gpt2 (byte-level BPE) and llama (SentencePiece) are", shown(other));
            return Err(fields.error(MODEL, problem));
        }
    };
    let add = |name: &str, default: bool, id: Option<usize>| -> Result<bool> {
        let key = format!("tokenizer.ggml.add_{name}_token");
        match fields.bool(&key)? {
            Some(true) if id.is_none() => {
                Err(fields.error(&key, format!("there is no tokenizer.ggml.{name}_token_id to add")))
            }
            Some(add) => Ok(add),
            None => Ok(default && id.is_some()),
        }
    };
    let add_bos = add("bos", default_bos, named.bos)?;
    let add_eos = add("eos", false, named.eos)?;
    let before = named.bos.filter(|_| add_bos).map(|id| (vocabulary.tokens[id], id));
    let after = named.eos.filter(|_| add_eos).map(|id| (vocabulary.tokens[id], id));

    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added_tokens(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": post_processor(before, after, model == "gpt2"),
        "decoder": parts.decoder,
        "model": parts.model,
    });
    let template = chat_template(&fields)?;
    let mut config = Map::new();
    let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
    set("add_bos_token", json!(add_bos));
    set("add_eos_token", json!(add_eos));
    set("added_tokens_decoder", vocabulary.added_tokens_decoder());
    for (name, id) in
        [("bos_token", named.bos), ("eos_token", named.eos), ("unk_token", named.unk), ("pad_token", named.pad)]
    {
        if let Some(id) = id {
            set(name, json!(vocabulary.tokens[id]));
        }
    }
    if let Some(template) = &template {
        set("chat_template", template.clone());
    }
    set("clean_up_tokenization_spaces", json!(false));
    set("model_max_length", json!(hyper.context));
    // Other classes rebuild the pre-tokenizer and ignore the one in the file.
    set("tokenizer_class", json!("PreTrainedTokenizerFast"));

    let ends = named.ends(&vocabulary, template.is_some());
    let mut generation = Map::new();
    let mut set = |name: &str, value: Value| generation.insert(name.to_owned(), value);
    set("bos_token_id", json!(named.bos));
    set("eos_token_id", if ends.len() == 1 { json!(ends[0]) } else { json!(ends) });
    set("pad_token_id", json!(named.pad));
    generation.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));

    Ok(TextFiles {
        tokenizer,
        tokenizer_config: Value::Object(config),
        generation_config: Value::Object(generation),
        bos: named.bos,
        eos: named.eos,
        pad: named.pad,
    })
}

impl<'a> Vocabulary<'a> {
    fn read(fields: &Fields<'a>, embeddings: usize) -> Result<Self> {
        let tokens = fields.required(TOKENS, fields.strings(TOKENS)?)?;
        if tokens.is_empty() || tokens.len() > embeddings {
            let problem = format!("{} tokens do not fit {embeddings} rows of token_embd.weight", tokens.len());
            return Err(fields.error(TOKENS, problem));
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if let Some(other) = ids.insert(*token, id) {
                return Err(fields.error(TOKENS, format!("tokens {other} and {id} are both {}", shown(token))));
            }
        }
        let types = match fields.sizes(TYPES)? {
            None => vec![1; tokens.len()],
            Some(types) if types.len() == tokens.len() => types,
            Some(types) => {
                return Err(fields.error(TYPES, format!("it has {} entries for {} tokens", types.len(), tokens.len())));
            }
        };
        // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. An empty text would match everywhere.
        let kind = |(number, token): (&usize, &&str)| match number {
            _ if token.is_empty() => Kind::Reserved,
            2 | 3 => Kind::Special,
            4 => Kind::Added,
            5 | 6 => Kind::Reserved,
            _ => Kind::Normal,
        };
        let kinds = types.iter().zip(&tokens).map(kind).collect();
        Ok(Self { tokens, ids, kinds })
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let kinds = self.kinds.iter().zip(&self.tokens).enumerate();
        kinds
            .filter(|(_, (kind, _))| **kind != Kind::Normal)
            .map(|(id, (kind, token))| (id, *token, *kind == Kind::Special))
    }

    fn added_tokens(&self) -> Vec<Value> {
        let entry = |(id, content, special): (usize, &str, bool)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special})
        };
        self.entries().map(entry).collect()
    }

    fn added_tokens_decoder(&self) -> Value {
        let entry = |(id, content, special): (usize, &str, bool)| {
            let value = json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false,
                "single_word": false, "special": special});
            (id.to_string(), value)
        };
        Value::Object(self.entries().map(entry).collect())
    }

    fn to_json(&self) -> Value {
        Value::Object(self.tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect())
    }
}

/// Tokens with a role.
struct Named {
    bos: Option<usize>,
    eos: Option<usize>,
    unk: Option<usize>,
    pad: Option<usize>,
    /// Ends of a turn and of a message.
    others: Vec<usize>,
}

impl Named {
    fn read(fields: &Fields, vocabulary: &Vocabulary) -> Result<Self> {
        let id = |name: &str| -> Result<Option<usize>> {
            let key = format!("tokenizer.ggml.{name}_token_id");
            match fields.size(&key)? {
                // The value with which old converters encoded "none".
                Some(id) if id == u32::MAX as usize => Ok(None),
                Some(id) if id >= vocabulary.tokens.len() => {
                    Err(fields.error(&key, format!("it is {id}, but there are {} tokens", vocabulary.tokens.len())))
                }
                id => Ok(id),
            }
        };
        let others = [id("eot")?, id("eom")?].into_iter().flatten().collect();
        Ok(Self { bos: id("bos")?, eos: id("eos")?, unk: id("unknown")?, pad: id("padding")?, others })
    }

    /// Ids that end a generation, the main one first.
    fn ends(&self, vocabulary: &Vocabulary, chat: bool) -> Vec<usize> {
        let mut ends: Vec<usize> = self.eos.iter().chain(&self.others).copied().collect();
        if chat {
            let known = ENDS.iter().filter_map(|token| vocabulary.ids.get(token).copied());
            ends.extend(known.filter(|id| vocabulary.kinds[*id] == Kind::Special));
        }
        let mut seen = std::collections::HashSet::new();
        ends.retain(|id| seen.insert(*id));
        ends
    }
}

/// The parts of tokenizer.json that depend on the type of tokenizer.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}

/// GPT-2's type: merges over bytes that are spelled as printable characters. Also returns whether BOS is added by
/// default.
fn byte_level(fields: &Fields, vocabulary: &Vocabulary) -> Result<(Parts, bool)> {
    const PRE: &str = "tokenizer.ggml.pre";
    let pre = pre_tokenizer::named(fields.str(PRE)?).map_err(|problem| fields.error(PRE, problem))?;
    let mut merges = Vec::new();
    for merge in fields.required(MERGES, fields.strings(MERGES)?)? {
        // A token may itself start with a space.
        let cut = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
        let Some((left, right)) = cut.map(|(at, _)| (&merge[..at], &merge[at + 1..])) else {
            return Err(fields.error(MERGES, format!("{} is not a pair of tokens", shown(merge))));
        };
        let whole = format!("{left}{right}");
        if let Some(unknown) = [left, right, &whole].into_iter().find(|token| !vocabulary.ids.contains_key(token)) {
            let problem = format!("{} needs {}, which is not a token", shown(merge), shown(unknown));
            return Err(fields.error(MERGES, problem));
        }
        merges.push(json!([left, right]));
    }
    let model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": pre.ignore_merges,
        "vocab": vocabulary.to_json(), "merges": merges});
    let decoder = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    Ok((Parts { normalizer: pre.normalizer, pre_tokenizer: pre.pre_tokenizer, decoder, model }, pre.adds_bos))
}

/// Llama 2's type: SentencePiece BPE, with unknown characters as bytes, spaces as `▁`, and one space before the text.
/// The merges are recovered from the scores: the pair whose union has the highest score is merged first.
fn sentence_piece(fields: &Fields, vocabulary: &Vocabulary, named: &Named) -> Result<(Parts, bool)> {
    let scores = fields.required(SCORES, fields.floats(SCORES)?)?;
    if scores.len() != vocabulary.tokens.len() {
        let problem = format!("it has {} entries for {} tokens", scores.len(), vocabulary.tokens.len());
        return Err(fields.error(SCORES, problem));
    }
    if fields.bool("tokenizer.ggml.remove_extra_whitespaces")? == Some(true) {
        return Err(fields.error("tokenizer.ggml.remove_extra_whitespaces", "it is not supported"));
    }
    let bytes = (0..=255_u8).filter(|byte| vocabulary.ids.contains_key(format!("<0x{byte:02X}>").as_str())).count();
    if !matches!(bytes, 0 | 256) {
        return Err(
            fields.error(TOKENS, format!("{bytes} of the 256 byte tokens <0x00> to <0xFF> are there; all are needed"))
        );
    }
    let unk = named.unk.or_else(|| vocabulary.ids.get("<unk>").copied());
    let merges = recovered_merges(fields, vocabulary, &scores)?;
    let model = json!({"type": "BPE", "dropout": null, "unk_token": unk.map(|id| vocabulary.tokens[id]),
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": bytes == 256,
        "ignore_merges": false, "vocab": vocabulary.to_json(), "merges": merges});

    let prefix = fields.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let normalizer = match prefix {
        true => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]}),
        false => replace,
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    Ok((Parts { normalizer, pre_tokenizer: Value::Null, decoder, model }, true))
}

/// Every way to build a token from two others, best score first; equal scores keep the order of the tokens.
fn recovered_merges(fields: &Fields, vocabulary: &Vocabulary, scores: &[f32]) -> Result<Vec<Value>> {
    let mut merges: Vec<(f32, usize, usize, &str, &str)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if token.len() > LONGEST_PIECE {
            let problem = format!("token {id} has {} bytes, at most {LONGEST_PIECE} are supported", token.len());
            return Err(fields.error(TOKENS, problem));
        }
        if vocabulary.kinds[id] != Kind::Normal {
            continue;
        }
        if scores[id].is_nan() {
            return Err(fields.error(SCORES, format!("the score of token {id} is not a number")));
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            let (Some(&first), Some(&second)) = (vocabulary.ids.get(left), vocabulary.ids.get(right)) else { continue };
            if vocabulary.kinds[first] == Kind::Normal && vocabulary.kinds[second] == Kind::Normal {
                merges.push((scores[id], first, second, left, right));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    Ok(merges.into_iter().map(|(.., left, right)| json!([left, right])).collect())
}

/// The post-processor, which adds tokens around a text.
fn post_processor(before: Option<(&str, usize)>, after: Option<(&str, usize)>, byte_level: bool) -> Value {
    let offsets = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    if before.is_none() && after.is_none() {
        return if byte_level { offsets } else { Value::Null };
    }
    let special = |token: Option<(&str, usize)>, part: usize| {
        token.map(|(content, _)| json!({"SpecialToken": {"id": content, "type_id": part}}))
    };
    let part = |name: &str, part: usize| {
        let text = json!({"Sequence": {"id": name, "type_id": part}});
        special(before, part).into_iter().chain([text]).chain(special(after, part)).collect::<Vec<Value>>()
    };
    let tokens = before.into_iter().chain(after);
    let tokens =
        tokens.map(|(content, id)| (content.to_owned(), json!({"id": content, "ids": [id], "tokens": [content]})));
    let pair = [part("A", 0), part("B", 1)].concat();
    let template = json!({"type": "TemplateProcessing", "single": part("A", 0), "pair": pair,
        "special_tokens": tokens.collect::<Map<String, Value>>()});
    if byte_level { json!({"type": "Sequence", "processors": [offsets, template]}) } else { template }
}

/// The chat template; if there are named ones, transformers' list of them.
fn chat_template(fields: &Fields) -> Result<Option<Value>> {
    let default = fields.str(TEMPLATE)?;
    let prefix = format!("{TEMPLATE}.");
    let mut all = Vec::new();
    for key in fields.keys() {
        if let (Some(name), Some(template)) = (key.strip_prefix(&prefix), fields.str(key).ok().flatten()) {
            all.push(json!({"name": name, "template": template}));
        }
    }
    let Some(default) = default else { return Ok((!all.is_empty()).then_some(Value::Array(all))) };
    if all.is_empty() {
        return Ok(Some(json!(default)));
    }
    all.insert(0, json!({"name": "default", "template": default}));
    Ok(Some(Value::Array(all)))
}
