//! Compares a real model, SmolLM2-135M-Instruct, with transformers: logits, tokens and greedy answers in float32 and bfloat16.

use crate::common;

use std::path::PathBuf;

use common::{distance, reference};
use dataset::Message;
use llama::{
    Completion, Engine, EngineOptions, Kernels, Listener, ModelFolder, Next, Request, SamplingParams, StopRules,
    complete, locate,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use torch_ext::decoder::Decoder;

/// The model's folder; `None` if it is not in the cache, and the test is then skipped.
fn folder() -> Option<PathBuf> {
    test_support::require(locate::locate("smollm2-135m-instruct"))
}

fn load(kind: Kind) -> Option<ModelFolder> {
    let folder = folder()?;
    torch_ext::init();
    Some(ModelFolder::load(&folder, Some(kind), Device::Cpu).unwrap())
}

/// Whether libtorch multiplies bfloat16 matrices with AMX on this processor.
fn has_amx() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "amx_bf16"))
}

#[test]
fn logits_equal_transformers() {
    let Some(file) = test_support::shared("fixtures/smollm2/logits.safetensors") else { return };
    // bfloat16 has 8 significant bits, so two orders of summation differ by about 2^-8 of a logit's size (20) per layer. AMX sums
    // in another order than AVX512-BF16: there, transformers' own logits differ from the recorded ones by up to 0.875.
    let bfloat16 = if has_amx() { 1.0 } else { 0.6 };
    for (kind, prefix, tolerance) in [(Kind::Float, "logits", 2e-4), (Kind::BFloat16, "logits_bf16", bfloat16)] {
        let Some(loaded) = load(kind) else { return };
        let _no_grad = tch::no_grad_guard();
        let logits = loaded.model.forward(&reference(&file, "input_ids")).unwrap().to_kind(Kind::Float).squeeze_dim(0);
        let expected = |name: &str| reference(&file, &format!("{prefix}.{name}"));
        let last = distance(&logits.get(-1), &expected("last"));
        let top = distance(&logits.gather(1, &expected("top32_ids"), false), &expected("top32_values"));
        let sum = distance(&logits.logsumexp([1], false), &expected("logsumexp"));
        println!(
            "{kind:?}: largest differences {last:.1e} at the last position, {top:.1e} in the top 32, {sum:.1e} in log Z"
        );
        assert!(last < tolerance && top < tolerance && sum < tolerance, "{kind:?}: {last} {top} {sum}");
    }
}

/// Collects the answers by request.
struct Answers(Vec<Option<Completion>>);

impl Listener for Answers {
    fn token(&mut self, _: usize, _: &str) -> Next {
        Next::Continue
    }

    fn done(&mut self, index: usize, completion: Completion) {
        self.0[index] = Some(completion);
    }
}

#[test]
fn greedy_answers_equal_transformers() {
    let Some(file) = test_support::shared("fixtures/smollm2/greedy.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    // In bfloat16 one ulp decides a near tie, and sums over one row are rounded differently from sums over several rows. The
    // reference was generated one sequence at a time, so the test does the same. The packed kernels keep logits in float32, so
    // their bfloat16 is tested by forced decoding instead (`packed_bfloat16_agrees_with_transformers`).
    let cases_of = [
        ("f32", Kind::Float, Kernels::Auto, 3),
        ("f32", Kind::Float, Kernels::Tensors, 3),
        ("bf16", Kind::BFloat16, Kernels::Tensors, 1),
    ];
    // The answers were recorded on a CPU with AVX512-BF16 and without AMX. On a CPU with AVX2, transformers' own bfloat16 answers
    // differ from them in two of five cases, on one with AMX in three. On such a CPU the test scores the recorded answers instead
    // (forced decoding).
    let recorded_here = Decoder::level() == "v4_bf16" && !has_amx();
    if !recorded_here {
        let Some(loaded) = load(Kind::BFloat16) else { return };
        let worst = forced_bfloat16(&loaded.model, Kernels::Tensors, &cases);
        assert!(worst < 0.25, "{worst}");
    }
    let cases_of = cases_of.into_iter().filter(|(dtype, ..)| recorded_here || *dtype != "bf16");
    for (dtype, kind, kernels, slots) in cases_of {
        let Some(loaded) = load(kind) else { return };
        let cases: Vec<&Value> = cases.iter().filter(|case| case["dtype"] == dtype).collect();
        assert_eq!(cases.len(), 5);
        let requests: Vec<Request> = cases
            .iter()
            .map(|case| {
                let prompt = loaded.encode_prompt(&[Message::user(case["prompt"].as_str().unwrap())]).unwrap();
                assert_eq!(prompt, numbers(&case["input_ids"]));
                Request { prompt, sampling: SamplingParams::greedy(), seed: 0, max_new_tokens: 96, top_logprobs: 0 }
            })
            .collect();
        let stop = vec![StopRules { ids: loaded.stop_ids.clone(), strings: Vec::new() }; cases.len()];
        let mut answers = Answers(vec![None; cases.len()]);
        let options = EngineOptions { slots, kernels, ..EngineOptions::default() };
        let mut engine = Engine::with_options(&loaded.model, options).unwrap();
        complete(&mut engine, &loaded.tokenizer, &requests, &stop, &mut answers).unwrap();
        for (case, answer) in cases.iter().zip(answers.0) {
            let answer = answer.unwrap();
            assert_eq!(answer.ids, numbers(&case["new_ids"]), "{dtype}: {}", case["prompt"]);
            let text = case["text"].as_str().unwrap();
            assert_eq!(answer.text, text.strip_suffix("<|im_end|>").unwrap_or(text));
            let finished = if text.ends_with("<|im_end|>") { "stop" } else { "length" };
            assert_eq!(serde_json::to_value(answer.finish_reason).unwrap(), finished);
        }
    }
}

fn numbers(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

#[test]
fn texts_tokenise_as_in_transformers() {
    let Some(file) = test_support::shared("fixtures/smollm2/tokenizer_cases.json") else { return };
    let Some(folder) = folder() else { return };
    let tokenizer = chat::Tokenizer::from_dir(&folder).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        if text.starts_with('½') {
            // The reference was made with a class that ignores the model's splitting of digits, which matters only for digits
            // beyond ASCII (weights/README.md).
            continue;
        }
        let found: Vec<i64> = tokenizer.encode(text, false).unwrap().into_iter().map(i64::from).collect();
        assert_eq!(found, numbers(&case["ids"]), "{text:?}");
    }
}

#[test]
fn a_packed_row_gives_what_its_documents_give_apart() {
    let Some(loaded) = load(Kind::Float) else { return };
    let _no_grad = tch::no_grad_guard();
    let documents: Vec<Tensor> = ["Once upon a time there was a sandbox.", "The capital of France is Paris, and"]
        .iter()
        .map(|text| {
            let ids: Vec<i64> = loaded.tokenizer.encode(text, false).unwrap().into_iter().map(i64::from).collect();
            Tensor::from_slice(&ids).unsqueeze(0)
        })
        .collect();
    let lengths: Vec<i64> = documents.iter().map(|document| document.size()[1]).collect();
    let packed = loaded.model.forward_packed(&Tensor::cat(&documents, 1), std::slice::from_ref(&lengths)).unwrap();
    let mut start = 0;
    for (document, length) in documents.iter().zip(lengths) {
        let alone = loaded.model.forward(document).unwrap();
        let error = distance(&packed.narrow(1, start, length), &alone);
        // Rounding of float32 over 30 layers; the logits are of size 20.
        assert!(error < 5e-4, "{error}");
        start += length;
    }
}

/// Scores a forced `answer`: for each position, the log-probability of the answer's token and of the greedy choice. libtorch's
/// operators recompute the whole prompt each time, so with them only every twelfth position is tested.
fn forced(model: &llama::Llama, kernels: Kernels, prompt: &[i64], answer: &[i64]) -> Vec<(f32, f32)> {
    let options = EngineOptions { slots: 4, kernels, ..EngineOptions::default() };
    let mut engine = Engine::with_options(model, options).unwrap();
    let mut found = Vec::new();
    let stride = if kernels == Kernels::Auto { 1 } else { 12 };
    for place in (0..answer.len()).step_by(stride) {
        let prompt = [prompt, &answer[..place]].concat();
        let (sampling, seed) = (SamplingParams::greedy(), 0);
        let request = Request { prompt, sampling, seed, max_new_tokens: 1, top_logprobs: 64 };
        engine
            .generate(&[request], |_, choice| {
                let own = choice.top.iter().find(|(id, _)| *id == answer[place]).unwrap();
                found.push((own.1, choice.logprob));
                Next::Stop
            })
            .unwrap();
    }
    // All prompts after the first were found in the cache, except for their last, partly filled page.
    if kernels == Kernels::Auto {
        assert!(engine.counts().cached_tokens > engine.counts().prompt_tokens, "{:?}", engine.counts());
    }
    found
}

/// The largest difference between our greedy choice and transformers' choice in log-probability, over the bfloat16 cases.
fn forced_bfloat16(model: &llama::Llama, kernels: Kernels, cases: &[Value]) -> f32 {
    let mut worst: f32 = 0.0;
    for case in cases.iter().filter(|case| case["dtype"] == "bf16") {
        let answer = numbers(&case["new_ids"]);
        for (own, best) in forced(model, kernels, &numbers(&case["input_ids"]), &answer) {
            worst = worst.max(best - own);
        }
    }
    println!("{kernels:?}: transformers' choice is at most {worst} below ours in log-probability");
    worst
}

#[test]
fn packed_bfloat16_agrees_with_transformers() {
    let Some(file) = test_support::shared("fixtures/smollm2/greedy.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let Some(loaded) = load(Kind::BFloat16) else { return };
    let worst = forced_bfloat16(&loaded.model, Kernels::Auto, &cases);
    // A logit of 20 has steps of 0.125 in bfloat16, and transformers takes the first of equal logits.
    assert!(worst < 0.25, "{worst}");
}
