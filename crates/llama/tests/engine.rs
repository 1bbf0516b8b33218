//! Tests of the engine: log-probabilities as in training, bit-equal results in any batch, shared prompts, capacity, failures.

use crate::common;

use std::collections::HashMap;

use common::{TINY, fixture, forward_log_probs, generate, generate_in, load, request};
use llama::{Choice, Engine, EngineOptions, GenerateError, Kernels, Llama, Next, Request, SamplingParams};
use tch::{Device, Kind};
use torch_ext::decoder::Decoder;

fn sampled() -> SamplingParams {
    SamplingParams { temperature: 0.9, top_p: 0.95, ..SamplingParams::default() }
}

/// Cache of the trainer's log-probabilities, by the tokens of prompt and answer. The tests generate the same sequences several
/// times, and libtorch's bfloat16 is slow on CPUs without bfloat16 instructions.
type Passes = HashMap<Vec<i64>, Vec<f32>>;

/// The largest and the mean difference from the trainer's forward pass, over several samples of two prompts.
fn differences(model: &Llama, kernels: Kernels, slots: usize, passes: &mut Passes) -> (f32, f32) {
    let prompts: [Vec<i64>; 2] = [(3..40).collect(), (3..23).map(|id| id * 7 % 300 + 1).collect()];
    let requests: Vec<Request> = (0..6).map(|seed| request(&prompts[seed / 3], sampled(), seed as u64, 24)).collect();
    let all = generate(model, kernels, slots, &requests);
    let mut found = Vec::new();
    for (request, chosen) in requests.iter().zip(&all) {
        assert_eq!(chosen.len(), 24);
        let row = request.prompt.iter().copied().chain(chosen.iter().map(|choice| choice.id)).collect();
        let expected = passes.entry(row).or_insert_with(|| forward_log_probs(model, &request.prompt, chosen));
        found.extend(chosen.iter().zip(&*expected).map(|(choice, expected)| (choice.logprob - expected).abs()));
    }
    let mean = found.iter().sum::<f32>() / found.len() as f32;
    (found.into_iter().fold(0.0, f32::max), mean)
}

#[test]
fn log_probs_are_those_of_the_trainers_forward_pass() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        torch_ext::init();
        for (kind, tolerance) in [(Kind::Float, 1e-4), (Kind::BFloat16, 0.1)] {
            let model = Llama::load(&folder, Some(kind), Device::Cpu).unwrap();
            let mut passes = Passes::new();
            for (kernels, slots) in [
                (Kernels::Auto, 1),
                (Kernels::Auto, 4),
                (Kernels::Auto, 6),
                (Kernels::Tensors, 1),
                (Kernels::Tensors, 4),
            ] {
                let (largest, _) = differences(&model, kernels, slots, &mut passes);
                assert!(largest < tolerance, "{name} {kind:?} {kernels:?} {slots}: {largest}");
            }
        }
    }
}

#[test]
fn log_probs_of_a_real_model_are_those_of_the_trainers_forward_pass() {
    let Some(folder) = test_support::require(llama::locate::locate("smollm2-135m-instruct")) else { return };
    torch_ext::init();
    // The plain pass rounds its logits (of size 20) to bfloat16, in steps of 0.125.
    for (kind, largest_allowed, mean_allowed) in [(Kind::Float, 1e-3, 1e-4), (Kind::BFloat16, 0.5, 0.06)] {
        let model = Llama::load(&folder, Some(kind), Device::Cpu).unwrap();
        let mut passes = Passes::new();
        for slots in [1, 3, 16] {
            let (largest, mean) = differences(&model, Kernels::Auto, slots, &mut passes);
            println!("{kind:?}, {slots} slots: largest difference {largest:.2e}, mean {mean:.2e}");
            assert!(largest < largest_allowed && mean < mean_allowed, "{kind:?} {slots}: {largest} {mean}");
        }
    }
}

/// Requests of many lengths; some have the same prompt, some a common prefix.
fn crowd() -> Vec<Request> {
    (0..12)
        .map(|i| {
            let prompt: Vec<i64> = (3..5 + 4 * (i % 7)).collect();
            request(&prompt, sampled(), i as u64, 10 + 5 * i as usize)
        })
        .collect()
}

#[test]
fn a_sequence_has_the_same_bits_in_any_company() {
    for name in ["llama-gqa", "qwen3"] {
        let folder = fixture(&format!("tiny/{name}"));
        for kind in [Kind::Float, Kind::BFloat16] {
            torch_ext::init();
            let model = Llama::load(&folder, Some(kind), Device::Cpu).unwrap();
            let alone: Vec<Vec<Choice>> =
                crowd().into_iter().map(|one| generate(&model, Kernels::Auto, 1, &[one]).remove(0)).collect();
            // With several numbers of slots, with prompts found in the cache, and with a small cache.
            for (slots, cache_tokens) in [(1, None), (3, None), (16, None), (5, Some(160))] {
                let options = EngineOptions { slots, cache_tokens, ..EngineOptions::default() };
                let mut engine = Engine::with_options(&model, options).unwrap();
                assert_eq!(generate_in(&mut engine, &crowd()), alone, "{slots} slots, {cache_tokens:?}");
                let computed = engine.counts().prompt_tokens;
                assert_eq!(generate_in(&mut engine, &crowd()), alone, "again, {slots} slots, {cache_tokens:?}");
                assert!(engine.counts().cached_tokens > 0 && engine.counts().prompt_tokens >= computed);
                assert_eq!(engine.running() + engine.waiting(), 0);
            }
            // With libtorch's operators, bits are compared at the same number of slots.
            let four = |requests: &[Request]| generate(&model, Kernels::Tensors, 4, requests);
            let last = crowd().pop().unwrap();
            assert_eq!(four(&[last])[0], four(&crowd())[11]);
        }
    }
}

/// Each level runs in its own process, because a process chooses its level once.
#[test]
fn every_level_of_the_instruction_set_computes_the_same() {
    let run = |level: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "engine::log_probs_are_those_of_the_trainers_forward_pass"]);
        command.arg("engine::a_sequence_has_the_same_bits_in_any_company").env("HERD_KERNELS", level);
        let output = command.output().unwrap();
        (output.status.success(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
    };
    // The other tests of this file run at the highest level of the CPU.
    for level in ["base", "v3", "v4", "v4_bf16", "v4_amx"].into_iter().take_while(|level| *level != Decoder::level()) {
        let (success, said) = run(level);
        assert!(success && said.contains("2 passed"), "{level}: {said}");
    }
    let (success, said) = run("v5");
    assert!(!success && said.contains("HERD_KERNELS is v5"), "{said}");
}

#[test]
fn a_prompt_of_several_samples_is_computed_once() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let prompt: Vec<i64> = (3..72).collect();
    let requests: Vec<Request> = (0..16).map(|seed| request(&prompt, sampled(), seed, 30)).collect();
    for kernels in [Kernels::Auto, Kernels::Tensors] {
        let options = EngineOptions { slots: 16, kernels, ..EngineOptions::default() };
        let mut engine = Engine::with_options(&model, options).unwrap();
        let free = engine.free_cache_tokens();
        let mut most_taken = 0;
        for request in &requests {
            engine.submit(request.clone()).unwrap();
        }
        let mut tokens = 0;
        while !engine.is_idle() {
            engine
                .step(&mut |_, choice| {
                    choice.unwrap();
                    tokens += 1;
                    Next::Continue
                })
                .unwrap();
            most_taken = most_taken.max(free - engine.free_cache_tokens());
        }
        assert_eq!(tokens, 16 * 30);
        assert_eq!(engine.counts().prompt_tokens, 69, "{kernels:?}");
        assert_eq!(engine.counts().cached_tokens, 15 * 69);
        // Four full pages shared by all, three own pages for each (5 + 30 tokens), and the kept copy of a partly filled page.
        assert_eq!(most_taken, (4 + 16 * 3 + 1) * 16);
    }
}

#[test]
fn a_prompt_is_computed_beside_running_sequences_and_joins_them() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let mut engine = Engine::new(&model, 4).unwrap();
    let first = request(&[5, 6, 7], sampled(), 1, 60);
    let alone = generate(&model, Kernels::Auto, 1, std::slice::from_ref(&first)).remove(0);
    let (id, mut found, mut order) = (engine.submit(first).unwrap(), Vec::new(), Vec::new());
    let busy = engine.generate(&[request(&[5], sampled(), 1, 1)], |_, _| Next::Continue);
    assert!(matches!(busy, Err(GenerateError::Busy)), "{busy:?}");
    let long: Vec<i64> = (0..500).map(|place| place * 13 % 300 + 1).collect();
    let mut other = None;
    while !engine.is_idle() {
        if found.len() == 3 && other.is_none() {
            other = Some(engine.submit(request(&long, sampled(), 2, 5)).unwrap());
        }
        engine
            .step(&mut |of, choice| {
                order.push(of);
                if of == id {
                    found.push(choice.unwrap());
                }
                Next::Continue
            })
            .unwrap();
    }
    assert_eq!(found, alone);
    // The prompt of 500 tokens is computed in pieces of 256; the first sequence continues between them.
    let joined = order.iter().position(|of| Some(*of) == other).unwrap();
    assert_eq!(order[..joined].iter().filter(|of| **of == id).count(), 5);
    assert_eq!(order.iter().filter(|of| Some(**of) == other).count(), 5);
}

#[test]
fn what_is_cancelled_makes_room_and_what_cannot_fit_is_refused() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let options = EngineOptions { slots: 4, cache_tokens: Some(64), ..EngineOptions::default() };
    let mut engine = Engine::with_options(&model, options).unwrap();
    assert_eq!((engine.cache_tokens(), engine.free_cache_tokens()), (64, 64));
    let crowding = "4 at a time, but the cache of 64 tokens holds 0 sequences of the whole context of 512";
    assert_eq!(engine.crowding().as_deref(), Some(crowding));
    assert_eq!(Engine::new(&model, 4).unwrap().crowding(), None);
    let error = engine.submit(request(&[1, 2, 3], sampled(), 1, 80)).unwrap_err();
    assert_eq!(error, GenerateError::CacheTooSmall { index: 0, needed: 83, cache: 64 });
    let step = |engine: &mut Engine| {
        let mut seen = Vec::new();
        engine
            .step(&mut |id, choice| {
                choice.unwrap();
                seen.push(id);
                Next::Continue
            })
            .unwrap();
        seen
    };
    let ids: Vec<u64> = (0..3).map(|i| engine.submit(request(&[1, 2, i], sampled(), 1, 40)).unwrap()).collect();
    // 43 tokens need three of the four pages, so requests run one at a time.
    assert_eq!(step(&mut engine), [ids[0]]);
    assert_eq!((engine.running(), engine.waiting()), (1, 2));
    engine.cancel(ids[1]);
    engine.cancel(ids[0]);
    assert_eq!((engine.running(), engine.waiting()), (0, 1));
    assert_eq!(step(&mut engine), [ids[2]]);
    engine.cancel(ids[2]);
    assert!(engine.is_idle());
    // A single request can use the whole cache, although a kept prompt occupies a page.
    assert_eq!(generate_in(&mut engine, &[request(&[1, 2, 2], sampled(), 1, 61)])[0].len(), 61);
    let too_long = request(&(0..4000).map(|i| i % 300).collect::<Vec<i64>>(), sampled(), 1, 1);
    assert!(
        matches!(engine.check(&too_long), Err(GenerateError::PromptTooLong { .. })),
        "{:?}",
        engine.check(&too_long)
    );
}

#[test]
fn weights_that_are_not_numbers_fail_the_request_and_not_the_engine() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let table = model.named_parameters().into_iter().find(|(name, _)| name == "model.embed_tokens.weight").unwrap().1;
    {
        let _no_grad = tch::no_grad_guard();
        let _ = table.get(7).fill_(f64::NAN);
    }
    let mut engine = Engine::new(&model, 2).unwrap();
    let mut good = 0;
    let requests = [request(&[5, 6, 8], sampled(), 1, 3), request(&[5, 7, 8], sampled(), 1, 3)];
    let error = engine
        .generate(&requests, |index, _| {
            assert_eq!(index, 0);
            good += 1;
            Next::Continue
        })
        .unwrap_err();
    assert_eq!(error, GenerateError::NotFinite { index: 1, tokens: 3 });
    assert_eq!(generate_in(&mut engine, &requests[..1])[0].len(), 3);
}

#[test]
fn top_log_probs_are_the_models_own() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let greedy = Request { top_logprobs: 5, ..request(&[5, 6, 7], SamplingParams::greedy(), 0, 6) };
    for choice in generate(&model, Kernels::Auto, 2, &[greedy]).remove(0) {
        assert_eq!(choice.top.len(), 5);
        assert_eq!(choice.top[0], (choice.id, choice.logprob));
        assert!(choice.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    }
}
