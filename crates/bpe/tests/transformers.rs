//! The files of a trained vocabulary, as transformers reads them (fixtures/make_transformers.py).

use std::path::{Path, PathBuf};

use crate::common::{counts, made};
use bpe::train::train;
use bpe::{Encoder, Vocabulary, llama3_special_tokens};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn vocabulary() -> Vocabulary {
    let mut vocabulary = train(&counts(&made(7, 200)), 600, 2);
    vocabulary.add_special(&llama3_special_tokens());
    vocabulary
}

#[test]
#[ignore = "writes fixtures/tokenizer"]
fn write_the_tokenizer() {
    let folder = fixture("tokenizer");
    std::fs::create_dir_all(&folder).unwrap();
    vocabulary().write(&folder).unwrap();
}

#[test]
fn the_files_are_those_that_transformers_read() {
    let dir = tempfile::tempdir().unwrap();
    vocabulary().write(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let [ours, stored] =
            [dir.path().join(name), fixture("tokenizer").join(name)].map(|path| std::fs::read(path).unwrap());
        assert!(ours == stored, "{name} is another one now: make the fixtures anew");
    }
}

#[test]
fn ids_are_those_of_transformers() {
    let read: Value = serde_json::from_slice(&std::fs::read(fixture("transformers.json")).unwrap()).unwrap();
    let encoder = Encoder::open(&fixture("tokenizer/tokenizer.json")).unwrap();
    let special = |content: &str| Value::from(encoder.special(content).unwrap());
    assert_eq!(read["size"], encoder.size());
    assert_eq!(read["bos"], special("<|begin_of_text|>"));
    assert_eq!(read["eos"], special("<|end_of_text|>"));
    assert_eq!(read["pad"], special("<|finetune_right_pad_id|>"));
    let rows = read["rows"].as_array().unwrap();
    assert!(rows.len() > 80);
    for row in rows {
        let ids = encoder.ids(row["text"].as_str().unwrap()).unwrap();
        assert_eq!(row["ids"], Value::from(ids), "{}", row["text"]);
        // With special tokens, it starts with begin_of_text.
        assert_eq!(row["with_special_tokens"][0], read["bos"]);
    }
}

#[test]
fn special_tokens_are_those_of_llama_3() {
    let tokens = llama3_special_tokens();
    assert_eq!(tokens.len(), 256);
    // Ids of Llama 3.1's tokenizer.json, after 128,000 tokens.
    for (at, content) in [
        (0, "<|begin_of_text|>"),
        (1, "<|end_of_text|>"),
        (4, "<|finetune_right_pad_id|>"),
        (5, "<|reserved_special_token_2|>"),
        (6, "<|start_header_id|>"),
        (9, "<|eot_id|>"),
        (10, "<|python_tag|>"),
        (11, "<|reserved_special_token_3|>"),
        (255, "<|reserved_special_token_247|>"),
    ] {
        assert_eq!(tokens[at], content);
    }
}
