//! A real model in this process.

use dataset::{FinishReason, Message};
use llama::{GpuKernels, Graphs, SamplingParams};
use sampler::{LocalOptions, SampleError, SampleRequest, Sampler, StopTokens, Turn};
use tch::{Device, Kind, Tensor};

const MODEL: &str = "smollm2-135m-instruct";

/// The model in float32; `None`, and the test is skipped, if it is not in the cache.
fn open() -> Option<Sampler> {
    test_support::require(llama::locate::locate(MODEL))?;
    let options = LocalOptions {
        adapter: None,
        max_num_seqs: 4,
        kind: Kind::Float,
        device: Device::Cpu,
        gpu_kernels: GpuKernels::Own,
        graphs: Graphs::On,
    };
    Some(Sampler::open_local(MODEL, options).unwrap())
}

#[test]
fn each_request_has_its_own_settings_and_failures() {
    let Some(mut sampler) = open() else { return };
    let ask = |text: &str| SampleRequest {
        sampling: SamplingParams::greedy(),
        ..SampleRequest::new(vec![Message::user(text)], 12)
    };
    let capital = "What is the capital of France?";
    let requests = [
        ask(capital),
        ask(&"word ".repeat(9000)),
        SampleRequest { stop: vec![" France".into()], ..ask(capital) },
        SampleRequest { max_new_tokens: 2, ..ask(capital) },
        SampleRequest { sampling: SamplingParams { top_p: 0.0, ..SamplingParams::default() }, ..ask(capital) },
    ];
    let mut found = vec![None; requests.len()];
    sampler
        .sample(&requests, &mut |index, answer| {
            assert!(found[index].replace(answer).is_none());
            Ok(())
        })
        .unwrap();
    let found: Vec<_> = found.into_iter().map(Option::unwrap).collect();
    let answer = found[0].as_ref().unwrap();
    assert_eq!(answer.text, "The capital of France is Paris.");
    assert_eq!(answer.token_ids.as_ref().unwrap().len() as u64, answer.tokens);
    let sum: f64 = answer.token_logprobs.as_ref().unwrap().iter().map(|&logprob| f64::from(logprob)).sum();
    assert_eq!(answer.logprob, Some(sum));
    let too_long = found[1].as_ref().unwrap_err();
    assert!(matches!(too_long, SampleError::Request(what) if what.contains("context is 8192")), "{too_long}");
    assert_eq!(found[2].as_ref().unwrap().text, "The capital of");
    let cut = found[3].as_ref().unwrap();
    assert_eq!((cut.tokens, &cut.finish_reason), (2, &FinishReason::Length));
    assert!(found[4].as_ref().unwrap_err().to_string().contains("top_p"));

    let before = sampler.identity().unwrap();
    sampler.set_stop_tokens(StopTokens { ignore_eos: true, ids: Vec::new() });
    assert_ne!(before, sampler.identity().unwrap());
    sampler
        .sample(&requests[..1], &mut |_, answer| {
            let answer = answer.unwrap();
            assert_eq!((answer.tokens, answer.finish_reason), (12, FinishReason::Length));
            Ok(())
        })
        .unwrap();
    let stopped = sampler.sample(&requests, &mut |_, _| anyhow::bail!("enough"));
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
}

#[test]
fn log_probs_are_those_of_the_forward_pass() {
    let Some(sampler) = open() else { return };
    let local = sampler.local().unwrap();
    let folder = local.folder();
    let encode =
        |text: &str| -> Vec<i64> { folder.tokenizer.encode(text, false).unwrap().into_iter().map(i64::from).collect() };
    let pairs: Vec<(Vec<i64>, Vec<i64>)> = [
        ("The capital of France is", " Paris, a city on the Seine."),
        ("The capital of France is", " a"),
        ("Once upon a time", " there was a sandbox"),
    ]
    .map(|(prompt, continuation)| (encode(prompt), encode(continuation)))
    .to_vec();
    let scores = local.log_probs(&pairs).unwrap();
    let _no_grad = tch::no_grad_guard();
    for ((prompt, continuation), scores) in pairs.iter().zip(&scores) {
        let whole = [&prompt[..], continuation].concat();
        let logits = folder.model.forward(&Tensor::from_slice(&whole).unsqueeze(0)).unwrap();
        let expected = logits.log_softmax(-1, Kind::Float);
        assert_eq!(scores.len(), continuation.len());
        for (place, (&id, score)) in continuation.iter().zip(scores).enumerate() {
            let expected = expected.double_value(&[0, (prompt.len() + place) as i64 - 1, id]);
            assert!((f64::from(*score) - expected).abs() < 5e-4, "{score} {expected}");
        }
    }
    assert!(local.log_probs(&[(vec![1], vec![])]).unwrap_err().to_string().contains("no tokens"));
    assert!(local.log_probs(&[(vec![1], vec![1 << 40])]).unwrap_err().to_string().contains("vocabulary"));
}

#[test]
fn a_last_turn_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    llama::NewModel { hidden: 32, layers: 1, context: 256, seed: 2 }.write(folder.path()).unwrap();
    let options = LocalOptions {
        adapter: None,
        max_num_seqs: 2,
        kind: Kind::Float,
        device: Device::Cpu,
        gpu_kernels: GpuKernels::Own,
        graphs: Graphs::On,
    };
    let mut sampler = Sampler::open_local(&folder.path().display().to_string(), options).unwrap();
    let messages = [Message::user("Hi"), Message::assistant("Sure, ")];
    let identity = sampler.identity().unwrap();
    let ids = |sampler: &Sampler| sampler.local().unwrap().encode_prompt(&messages, &[]);
    let begun = ids(&sampler).unwrap();
    sampler.set_turn(Turn { continues: true, ..Turn::default() });
    assert_ne!(sampler.identity().unwrap(), identity);
    let tokenizer = &sampler.local().unwrap().folder().tokenizer;
    let text =
        tokenizer.decode(&ids(&sampler).unwrap().iter().map(|&id| id as u32).collect::<Vec<_>>(), false).unwrap();
    assert_eq!(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSure, ");
    assert!(ids(&sampler).unwrap() != begun);
    // A conversation that ends with a user turn has nothing to continue.
    let mut failed = None;
    let request = SampleRequest::new(vec![Message::user("Hi")], 4);
    sampler
        .sample(&[request], &mut |_, answer| {
            failed = Some(answer);
            Ok(())
        })
        .unwrap();
    assert!(failed.unwrap().unwrap_err().to_string().contains("the last message is not the assistant's"));
}
