//! Sequences longer than a split of the engine's attention: bit-equal for any batch, tiles and thread count, and close to the
//! plain forward pass.

#![allow(clippy::unwrap_used)]

mod common;

use common::{fixture, forward_log_probs, generate_in, load, request};
use llama::{Choice, Engine, EngineOptions, Kernels, Llama, Request, SamplingParams};
use serde_json::{Map, Value, json};

const CONTEXT: usize = 4096;

/// A model of the fixtures with a context of [`CONTEXT`] tokens and, if given, a sliding window.
fn long(name: &str, window: Option<i64>) -> Llama {
    let folder = fixture(&format!("tiny/{name}"));
    let copy = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut raw: Map<String, Value> = serde_json::from_str(&text).unwrap();
    raw.insert("max_position_embeddings".into(), json!(CONTEXT));
    raw.insert("sliding_window".into(), json!(window));
    std::fs::write(copy.path().join("config.json"), Value::Object(raw).to_string()).unwrap();
    std::fs::copy(folder.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
    load(copy.path())
}

fn prompt(tokens: i64, from: i64) -> Vec<i64> {
    (0..tokens).map(|place| 3 + (place * place + from * 7 + place / 5) % 300).collect()
}

fn run(model: &Llama, slots: usize, threads: i32, requests: &[Request]) -> Vec<Vec<Choice>> {
    let before = tch::get_num_threads();
    tch::set_num_threads(threads);
    let options =
        EngineOptions { slots, cache_tokens: Some(6 * CONTEXT), kernels: Kernels::Auto, ..Default::default() };
    let chosen = generate_in(&mut Engine::with_options(model, options).unwrap(), requests);
    tch::set_num_threads(before);
    chosen
}

#[test]
fn a_long_sequence_has_the_same_bits_in_any_company_and_on_any_threads() {
    for (name, window) in [("llama-gqa", None), ("mistral", Some(1500)), ("mistral", Some(40))] {
        let model = long(name, window);
        let sampling = SamplingParams::greedy;
        let own = request(&prompt(2600, 1), sampling(), 5, 12);
        let alone = run(&model, 1, 1, std::slice::from_ref(&own)).remove(0);
        // More threads divide the work differently. Other sequences change the tiles. Some share a prefix, which is computed once.
        for threads in [2, 7] {
            assert_eq!(run(&model, 1, threads, std::slice::from_ref(&own))[0], alone, "{name} {threads} threads");
        }
        let mut crowd = vec![request(&prompt(900, 4), sampling(), 1, 30), own.clone()];
        crowd.extend((0..4).map(|other| request(&prompt(1030 + 50 * other, 1), sampling(), other as u64, 25)));
        for threads in [1, 3] {
            assert_eq!(run(&model, 6, threads, &crowd)[1], alone, "{name} in company on {threads} threads");
        }
        for (place, logprob) in forward_log_probs(&model, &own.prompt, &alone).into_iter().enumerate() {
            let error = (alone[place].logprob - logprob).abs();
            assert!(error < 1e-3, "{name} window {window:?}: token {place} off by {error}");
        }
    }
}
