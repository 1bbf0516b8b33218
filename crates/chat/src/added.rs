//! Added tokens that are stored beside `tokenizer.json`: in `added_tokens_decoder` of `tokenizer_config.json`, or in
//! `added_tokens.json`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::error::ChatError;
use crate::tokenizer::{read_json, shown};

const CONFIG: &str = "tokenizer_config.json";
const LEGACY: &str = "added_tokens.json";

/// Adds the tokens that `tokenizer.json` lacks, as transformers' `PreTrainedTokenizerFast` does, in the order of
/// their ids. They come from `added_tokens_decoder` with its attributes, or, if it is missing, from
/// `added_tokens.json`, where the named tokens are special.
///
/// # Errors
/// When an entry is invalid, or a token cannot have the id of its entry.
pub fn complete(
    tokenizer: &mut tokenizers::Tokenizer,
    dir: &Path,
    named: &BTreeMap<String, String>,
) -> Result<(), ChatError> {
    let decoder = read_json(&dir.join(CONFIG))?.and_then(|mut config| match config.get_mut("added_tokens_decoder") {
        Some(Value::Object(decoder)) if !decoder.is_empty() => Some(std::mem::take(decoder)),
        _ => None,
    });
    let (file, listed) = match decoder {
        Some(decoder) => {
            let bad = |id: &str| error(dir, CONFIG, format!("added_tokens_decoder: {id} is not an id with a token"));
            let entry = |(id, value): (String, Value)| {
                let number = id.parse::<u32>().map_err(|_| bad(&id))?;
                Ok((number, described(&value).ok_or_else(|| bad(&id))?))
            };
            (CONFIG, decoder.into_iter().map(entry).collect::<Result<BTreeMap<u32, AddedToken>, ChatError>>()?)
        }
        None => {
            let Some(Value::Object(ids)) = read_json(&dir.join(LEGACY))? else { return Ok(()) };
            let special: HashSet<&str> = named.values().map(String::as_str).collect();
            let entry = |(token, id): (String, Value)| {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                let id = id.ok_or_else(|| error(dir, LEGACY, format!("{token:?} has no id")))?;
                let is_special = special.contains(token.as_str());
                Ok((id, AddedToken::from(token, is_special)))
            };
            (LEGACY, ids.into_iter().map(entry).collect::<Result<BTreeMap<u32, AddedToken>, ChatError>>()?)
        }
    };
    let known: HashSet<String> =
        tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    for (id, token) in listed.into_iter().filter(|(_, token)| !known.contains(&token.content)) {
        let content = token.content.clone();
        tokenizer.add_tokens([token]).map_err(|e| ChatError::Tokenizer(e.to_string()))?;
        let got = tokenizer.token_to_id(&content);
        if got != Some(id) {
            let got = got.map_or("none".to_owned(), |got| got.to_string());
            let reason = format!(
                "it gives {content:?} the id {id}; tokenizer.json, which does not have that token, can only give it {got}: the \
                 two are of different tokenizers"
            );
            return Err(error(dir, file, reason));
        }
    }
    Ok(())
}

/// A token as `added_tokens_decoder` describes it.
fn described(value: &Value) -> Option<AddedToken> {
    let content = value.get("content")?.as_str()?;
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(content, special)
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}

fn error(dir: &Path, file: &str, reason: String) -> ChatError {
    ChatError::File { path: shown(&dir.join(file)), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use serde_json::json;

    /// A tokenizer of words with one added token, and other files beside it.
    fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
            "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                              "normalized": false, "special": true}],
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2, "<s>": 3}, "unk_token": "?"},
        });
        std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        for (name, value) in files {
            std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        dir
    }

    fn decoder(ids: &[(&str, &str, bool)]) -> Value {
        let entries = ids.iter().map(|(id, content, special)| {
            let entry = json!({"content": content, "special": special, "normalized": false, "lstrip": false,
                               "rstrip": false, "single_word": false});
            ((*id).to_owned(), entry)
        });
        json!({"added_tokens_decoder": Value::Object(entries.collect())})
    }

    #[test]
    fn tokens_of_the_configuration_are_added_in_the_order_of_their_ids() {
        let listed = decoder(&[("5", "<|end|>", true), ("3", "<s>", true), ("4", "<call>", false)]);
        let dir = folder(&[("tokenizer_config.json", listed), ("added_tokens.json", json!({"<other>": 4}))]);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.encode("a<call>b<|end|>", false).unwrap(), [0, 4, 1, 5]);
        assert_eq!(tokenizer.special_tokens(), [("<s>".to_owned(), 3), ("<|end|>".to_owned(), 5)]);
        assert_eq!(tokenizer.id_of("<other>"), None, "the configuration's list is the newer one");
        assert_eq!(tokenizer.vocab_size(), 6);
    }

    #[test]
    fn the_old_file_counts_where_there_is_no_newer_list() {
        let config = json!({"eos_token": "<|end|>"});
        let legacy = json!({"<|end|>": 5, "<call>": 4});
        let dir = folder(&[("tokenizer_config.json", config), ("added_tokens.json", legacy)]);
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        assert_eq!(tokenizer.encode("a<call>b<|end|>", false).unwrap(), [0, 4, 1, 5]);
        assert_eq!(tokenizer.special_tokens().last(), Some(&("<|end|>".to_owned(), 5)));
    }

    #[test]
    fn an_id_that_cannot_be_is_a_sentence() {
        for (files, why) in [
            (("tokenizer_config.json", decoder(&[("7", "<|end|>", true)])), "can only give it 4"),
            (("tokenizer_config.json", json!({"added_tokens_decoder": {"x": {"content": "<y>"}}})), "x is not an id"),
            (("added_tokens.json", json!({"<y>": "4"})), "\"<y>\" has no id"),
        ] {
            let dir = folder(&[files]);
            let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
