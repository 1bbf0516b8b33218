//! A faulty model folder or prompt gives an error of one sentence, not a panic.

use crate::common;

use std::fs;
use std::path::Path;

use common::fixture;
use llama::Llama;
use tch::Device;

/// A copy of a tiny model that a test can damage.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = fixture(&format!("tiny/{name}"));
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

fn message(folder: &Path) -> String {
    torch_ext::init();
    let message = match Llama::load(folder, None, Device::Cpu) {
        Ok(_) => panic!("{} loaded", folder.display()),
        Err(error) => error.to_string(),
    };
    assert!(!message.contains('\n'), "{message}");
    message
}

fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_misshapen_tensor_is_named() {
    let folder = copy("llama-gqa");
    edit(folder.path(), "\"intermediate_size\": 176", "\"intermediate_size\": 100");
    let message = message(folder.path());
    assert!(message.contains("model.layers.0.mlp.gate_proj.weight") && message.contains("[176, 64]"), "{message}");
}

#[test]
fn a_missing_tensor_is_named() {
    let folder = copy("llama-tied");
    edit(folder.path(), "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    assert!(message(folder.path()).contains("lm_head.weight"));
}

#[test]
fn tensors_left_over_are_an_error() {
    let folder = copy("qwen3");
    edit(folder.path(), "Qwen3ForCausalLM", "LlamaForCausalLM");
    let message = message(folder.path());
    assert!(message.contains("6 tensors have no place") && message.contains("_norm"), "{message}");
}

#[test]
fn an_unknown_architecture_is_named() {
    let folder = copy("llama-gqa");
    edit(folder.path(), "LlamaForCausalLM", "GPT2LMHeadModel");
    assert!(message(folder.path()).contains("GPT2LMHeadModel"));
}

#[test]
fn truncated_weights_are_an_error() {
    let folder = copy("llama-gqa");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(message(folder.path()).contains("model.safetensors"));
    }
    fs::remove_file(&path).unwrap();
    assert!(message(folder.path()).contains("safetensors"));
}

#[test]
fn a_prompt_longer_than_the_context_is_an_error() {
    let folder = copy("llama-gqa");
    let model = common::load(folder.path());
    let request = llama::Request {
        prompt: vec![3; 600],
        sampling: llama::SamplingParams::greedy(),
        seed: 0,
        max_new_tokens: 5,
        top_logprobs: 0,
    };
    let mut engine = llama::Engine::new(&model, 2).unwrap();
    let mut refuse =
        |request: llama::Request| engine.generate(&[request], |_, _| llama::Next::Continue).unwrap_err().to_string();
    assert!(refuse(request.clone()).contains("600 tokens, the model's context is 512"));
    assert!(refuse(llama::Request { prompt: vec![], ..request.clone() }).contains("no tokens"));
    assert!(refuse(llama::Request { prompt: vec![320], ..request }).contains("outside the model's vocabulary"));
}
