//! Compares the scalings of rotary embeddings with transformers, for every configuration field (`tests/fixtures/make_rope.py`).

use crate::common;

use std::collections::BTreeMap;

use common::{distance, fixture, forward_log_probs, generate, ids, load, reference, request};
use llama::{Kernels, LlamaConfig, RopeTable, SamplingParams};
use serde_json::{Map, Value, json};
use tch::Device;

type Fields = Map<String, Value>;

fn cases() -> BTreeMap<String, Fields> {
    let text = std::fs::read_to_string(fixture("rope/cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn cosines_and_sines_equal_transformers() {
    torch_ext::init();
    let file = fixture("rope/reference.safetensors");
    let positions = reference(&file, "positions");
    let cases = cases();
    assert_eq!(cases.len(), 20);
    for (name, fields) in cases {
        let mut raw = json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 512, "num_attention_heads": 4,
            "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8, "max_position_embeddings": 32768,
            "rope_theta": 1e4});
        raw.as_object_mut().unwrap().extend(fields);
        let config = LlamaConfig::from_json(raw.as_object().unwrap().clone()).unwrap();
        let table = RopeTable::new(&config, Device::Cpu);
        let (cos, sin) = table.tables();
        for (found, part) in [(cos, "cos"), (sin, "sin")] {
            let error = distance(&found.index_select(0, &positions), &reference(&file, &format!("{name}.{part}")));
            assert!(error < 1e-6, "{name}: {part} off by {error}");
        }
    }
}

#[test]
fn logits_beyond_the_original_context_equal_transformers() {
    let file = fixture("rope/reference.safetensors");
    let (input, places) = (reference(&file, "input_ids"), reference(&file, "places"));
    let _no_grad = tch::no_grad_guard();
    let folder = fixture("tiny/mistral");
    for (name, fields) in cases() {
        let copy = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let mut raw: Fields = serde_json::from_str(&text).unwrap();
        raw.remove("rope_parameters");
        raw.insert("rope_theta".into(), json!(1e4));
        raw.extend(fields);
        std::fs::write(copy.path().join("config.json"), Value::Object(raw).to_string()).unwrap();
        std::fs::copy(folder.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
        let model = load(copy.path());
        let logits = model.forward(&input).unwrap().squeeze_dim(0).index_select(0, &places);
        let error = distance(&logits, &reference(&file, &format!("{name}.logits")));
        assert!(error < 1e-4, "{name}: {error}");
        // The engine must use the same tables.
        let prompt = &ids(&input)[..300];
        let requests = [request(prompt, SamplingParams::greedy(), 0, 4)];
        let chosen = &generate(&model, Kernels::Auto, 1, &requests)[0];
        for (place, logprob) in forward_log_probs(&model, prompt, chosen).into_iter().enumerate() {
            assert!((chosen[place].logprob - logprob).abs() < 1e-3, "{name}");
        }
    }
}
