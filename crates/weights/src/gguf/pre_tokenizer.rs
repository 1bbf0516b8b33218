//! The pre-tokenizers of byte-level BPE, which split a text into words, by llama.cpp's names (`tokenizer.ggml.pre`).

use serde_json::{Value, json};

use crate::error::shown;

/// The settings that a name selects.
pub(crate) struct Pre {
    /// `pre_tokenizer` of tokenizer.json.
    pub pre_tokenizer: Value,
    /// `normalizer` of tokenizer.json.
    pub normalizer: Value,
    /// Whether a word in the vocabulary becomes that token without merges.
    pub ignore_merges: bool,
    /// Whether the beginning-of-text token is added if the file does not specify it.
    pub adds_bos: bool,
}

// The patterns are from the `tokenizer.json` of the models.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The pre-tokenizer `name`, or a message that lists the supported ones. `None` is a file from before names existed,
/// which llama.cpp treats as `default`.
pub(crate) fn named(name: Option<&str>) -> Result<Pre, String> {
    let plain =
        |pre_tokenizer: Value| Pre { pre_tokenizer, normalizer: Value::Null, ignore_merges: false, adds_bos: false };
    let llama3 = plain(splits(&[LLAMA3]));
    Ok(match name.unwrap_or("default") {
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => Pre { ignore_merges: true, adds_bos: true, ..llama3 },
        "dbrx" | "smaug-bpe" => llama3,
        "qwen2" | "deepseek-r1-qwen" => Pre { normalizer: json!({"type": "NFC"}), ..plain(splits(&[QWEN2])) },
        "stablelm2" | "megrez" => plain(splits(&[QWEN2])),
        "tekken" => Pre { ignore_merges: true, adds_bos: true, ..plain(splits(&[TEKKEN])) },
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            plain(sequence(vec![digits, byte_level(true)]))
        }
        "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" => plain(byte_level(true)),
        // llama.cpp's own pattern, which belongs to no particular model.
        "default" => plain(splits(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"])),
        other => {
            return Err(format!(
                "the pre-tokenizer {} is not supported; llama-bpe, qwen2, smollm, gpt-2, tekken, default and their \
                 equivalents are",
                shown(other)
            ));
        }
    })
}

/// Several splits in sequence, then bytes as printable characters.
fn splits(patterns: &[&str]) -> Value {
    let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let mut steps: Vec<Value> = patterns.iter().map(split).collect();
    steps.push(byte_level(false));
    sequence(steps)
}

fn sequence(steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// Bytes as printable characters; with `words`, after a split by GPT-2's pattern.
fn byte_level(words: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": words})
}
