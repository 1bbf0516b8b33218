//! Readers of the reference tensors in `tests/fixtures`, and helpers that several test files share.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use llama::{Choice, Engine, EngineOptions, Kernels, Llama, Next, Request, SamplingParams};
use tch::{Device, Kind, Tensor};
use weights::{Checkpoint, DType};

#[allow(unused_imports, reason = "not every test file reads fixtures")]
pub use test_support::fixture;

/// Names of the six tiny models in `tests/fixtures/tiny`.
pub const TINY: [&str; 6] = ["llama-gqa", "llama3-rope-scaling", "llama-tied", "mistral", "qwen2", "qwen3"];

/// Reads a tensor of a reference file.
pub fn reference(file: &Path, name: &str) -> Tensor {
    let checkpoint = Checkpoint::open(file).unwrap();
    let view = checkpoint.tensor(name).unwrap();
    let kind = match view.dtype {
        DType::F32 => Kind::Float,
        DType::I64 => Kind::Int64,
        other => panic!("{name} is {other:?}"),
    };
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data, &shape, kind)
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let difference = (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max();
    f64::try_from(difference).unwrap()
}

/// Loads a model of the fixtures in float32.
pub fn load(folder: &Path) -> llama::Llama {
    torch_ext::init();
    llama::Llama::load(folder, None, Device::Cpu).unwrap()
}

/// All values of an int64 tensor.
pub fn ids(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// The tokens that a new engine chooses for each request.
pub fn generate(model: &Llama, kernels: Kernels, slots: usize, requests: &[Request]) -> Vec<Vec<Choice>> {
    let options = EngineOptions { slots, kernels, ..EngineOptions::default() };
    generate_in(&mut Engine::with_options(model, options).unwrap(), requests)
}

/// [`generate`] with a given engine.
pub fn generate_in(engine: &mut Engine, requests: &[Request]) -> Vec<Vec<Choice>> {
    let mut chosen = vec![Vec::new(); requests.len()];
    engine
        .generate(requests, |index, choice| {
            chosen[index].push(choice);
            Next::Continue
        })
        .unwrap();
    chosen
}

/// A request without the log-probabilities of alternatives.
pub fn request(prompt: &[i64], sampling: SamplingParams, seed: u64, max_new_tokens: usize) -> Request {
    Request { prompt: prompt.to_vec(), sampling, seed, max_new_tokens, top_logprobs: 0 }
}

/// The log-probabilities of the chosen tokens in the trainer's forward pass. Prompt and answer are one document of a packed
/// row, after another document.
pub fn forward_log_probs(model: &Llama, prompt: &[i64], chosen: &[Choice]) -> Vec<f32> {
    let _no_grad = tch::no_grad_guard();
    let answer: Vec<i64> = chosen.iter().map(|choice| choice.id).collect();
    let other: Vec<i64> = (5..12).collect();
    let row = [&other[..], prompt, &answer].concat();
    let document = (prompt.len() + answer.len()) as i64;
    let logits =
        model.forward_packed(&Tensor::from_slice(&row).unsqueeze(0), &[vec![other.len() as i64, document]]).unwrap();
    let start = (other.len() + prompt.len()) as i64 - 1;
    let logits = logits.squeeze_dim(0).narrow(0, start, answer.len() as i64).to_kind(Kind::Float);
    let log_probs = logits.log_softmax(-1, Kind::Float).gather(1, &Tensor::from_slice(&answer).unsqueeze(1), false);
    Vec::try_from(log_probs.squeeze_dim(1)).unwrap()
}
