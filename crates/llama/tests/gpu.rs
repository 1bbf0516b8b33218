//! What the engine does on a GPU, on the emulation of its kernels: attention over pages in place, and the choice of tokens
//! where the logits are. The path of libtorch's operators on a processor gives what is expected.

use crate::common;

use common::{fixture, generate_in, load, request};
use llama::{Choice, Engine, EngineOptions, Kernels, Llama, Request, Sampler, SamplingParams};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};
use torch_ext::{Drawing, emulated, sample_tokens};

fn options(slots: usize) -> EngineOptions {
    EngineOptions { slots, kernels: Kernels::Tensors, ..EngineOptions::default() }
}

fn engine(model: &Llama, slots: usize) -> Engine {
    Engine::with_options(model, options(slots)).unwrap()
}

fn ids(all: &[Vec<Choice>]) -> Vec<Vec<i64>> {
    all.iter().map(|chosen| chosen.iter().map(|choice| choice.id).collect()).collect()
}

/// Greedy and sampled requests of several lengths, two of them with the same prompt.
fn requests() -> Vec<Request> {
    let sampling = [
        SamplingParams::greedy(),
        SamplingParams::default(),
        SamplingParams { temperature: 0.8, top_p: 0.9, ..SamplingParams::default() },
        SamplingParams { top_k: 7, min_p: 0.02, ..SamplingParams::default() },
    ];
    let prompt = |i: i64| (3..10 + 9 * (i % 4)).collect::<Vec<i64>>();
    (0..6).map(|i| request(&prompt(i), sampling[i as usize % 4].clone(), i as u64, 4 + 2 * i as usize)).collect()
}

/// The largest difference of log-probabilities.
fn apart(a: &[Vec<Choice>], b: &[Vec<Choice>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a.logprob - b.logprob).abs()).fold(0.0, f32::max)
}

#[test]
fn text_is_that_of_the_processor() {
    for name in ["llama-gqa", "mistral", "qwen3"] {
        let model = load(&fixture(&format!("tiny/{name}")));
        let expected = generate_in(&mut engine(&model, 3), &requests());
        let (found, launched) = emulated(|| generate_in(&mut engine(&model, 3), &requests()));
        assert_eq!(ids(&found), ids(&expected), "{name}");
        assert!(apart(&found, &expected) < 1e-4, "{name}: {}", apart(&found, &expected));
        assert!(launched > 0, "{name}");
    }
}

/// A prompt is computed by libtorch's attention. Each further token is one launch a layer, and every step one choice for all
/// sequences; no part of a short sequence is joined.
#[test]
fn a_step_launches_attention_in_each_layer_and_one_choice() {
    let model = load(&fixture("tiny/llama-gqa"));
    let layers = model.layers().len();
    let three: Vec<Request> = (0..3).map(|i| request(&[5, 6, 7 + i], SamplingParams::default(), 1, 5)).collect();
    let (chosen, launched) = emulated(|| generate_in(&mut engine(&model, 3), &three));
    assert!(chosen.iter().all(|chosen| chosen.len() == 5));
    assert_eq!(launched, 4 * layers + 5);
    // Nothing is launched outside of the emulation.
    let (_, launched) = emulated(|| ());
    assert_eq!(launched, 0);
}

/// Sequences with constraints, penalties or alternatives take the processor's sampler, beside others that do not.
#[test]
fn what_needs_the_processor_goes_there() {
    let model = load(&fixture("tiny/llama-gqa"));
    let mut mixed = requests();
    mixed[1].top_logprobs = 3;
    mixed[2].sampling.repetition_penalty = 1.3;
    let expected = generate_in(&mut engine(&model, 4), &mixed);
    let (found, _) = emulated(|| generate_in(&mut engine(&model, 4), &mixed));
    assert_eq!(ids(&found), ids(&expected));
    assert!(found[1].iter().all(|choice| choice.top.len() == 3));
    assert!(apart(&found, &expected) < 1e-4);
}

/// The bits of a sequence alone are those in company, of longer sequences too: parts begin at the same keys.
#[test]
fn a_sequence_has_the_same_bits_in_any_company() {
    let model = load(&fixture("tiny/llama-gqa"));
    let mine = request(&(3..40).collect::<Vec<i64>>(), SamplingParams::default(), 9, 6);
    // Longer than a part.
    let long: Vec<i64> = (0..280).map(|i| i * 7 % 300 + 1).collect();
    let other = request(&long, SamplingParams::default(), 4, 6);
    let (alone, _) = emulated(|| generate_in(&mut engine(&model, 2), std::slice::from_ref(&mine)));
    let ((both, expected), launched) = emulated(|| {
        let both = generate_in(&mut engine(&model, 2), &[mine.clone(), other.clone()]);
        (both, generate_in(&mut engine(&model, 2), std::slice::from_ref(&other)))
    });
    assert_eq!(both[0], alone[0]);
    assert_eq!(both[1], expected[0]);
    // The steps of both, and of the other alone: attention of two parts, their joining, and a choice.
    assert_eq!(launched, 2 * (5 * model.layers().len() * 2 + 6));
}

fn same(logits: &Tensor, params: &SamplingParams, seeds: std::ops::Range<u64>) {
    let vocab = logits.size()[1] as usize;
    let floats = Vec::<f32>::try_from(logits.to_kind(Kind::Float).flatten(0, 1)).unwrap();
    for seed in seeds {
        let point: f64 = ChaCha8Rng::seed_from_u64(seed).random();
        let SamplingParams { temperature, top_k, top_p, min_p, .. } = *params;
        let drawing = Drawing { temperature, top_k, top_p, min_p, point };
        let drawings = vec![drawing; logits.size()[0] as usize];
        let (sampled, launched) = emulated(|| sample_tokens(logits, &drawings).unwrap());
        assert_eq!(launched, 1);
        for (row, sampled) in floats.chunks(vocab).zip(sampled) {
            let expected = Sampler::new(params.clone(), seed, &[], vocab).choose(&mut row.to_vec(), 0);
            let (id, logprob) = sampled.unwrap();
            assert_eq!((id, logprob.to_bits()), (expected.id, expected.logprob.to_bits()), "{params:?} {seed}");
        }
    }
}

/// The same point gives the same token as the processor's sampler, and the same bits of its log-probability.
#[test]
fn choices_are_those_of_the_processors_sampler() {
    torch_ext::init();
    let base = SamplingParams::default();
    let all = [
        SamplingParams::greedy(),
        base.clone(),
        SamplingParams { temperature: 0.37, ..base.clone() },
        SamplingParams { temperature: 1e-3, ..base.clone() },
        SamplingParams { top_k: 1, ..base.clone() },
        SamplingParams { top_k: 40, temperature: 1.7, ..base.clone() },
        SamplingParams { top_k: 5000, top_p: 0.5, ..base.clone() },
        SamplingParams { top_p: 0.95, ..base.clone() },
        SamplingParams { top_p: 0.2, min_p: 0.05, ..base.clone() },
        SamplingParams { min_p: 0.1, temperature: 2.0, ..base.clone() },
        SamplingParams { top_k: 30, top_p: 0.9, min_p: 0.01, temperature: 0.7, ..base },
    ];
    let places = |count: i64| Tensor::arange(count, (Kind::Float, Device::Cpu));
    for (vocab, kind) in [(2_003, Kind::Float), (700, Kind::BFloat16), (9, Kind::Float)] {
        // In bfloat16 many logits are equal.
        let logits = ((places(2 * vocab) * 12.9898).sin() * 43.7).frac() * 9.0;
        let logits = logits.reshape([2, vocab]).to_kind(kind);
        for params in &all {
            same(&logits, params, 0..4);
        }
    }
    let equal = Tensor::full([1, 600], 2.5, (Kind::Float, Device::Cpu));
    all.iter().for_each(|params| same(&equal, params, 0..2));
}

#[test]
fn logits_that_are_not_finite_have_no_choice() {
    torch_ext::init();
    let logits = Tensor::zeros([3, 20], (Kind::Float, Device::Cpu));
    let _ = logits.get(1).narrow(0, 4, 1).fill_(f64::INFINITY);
    let drawing = Drawing { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, point: 0.5 };
    let (found, _) = emulated(|| sample_tokens(&logits, &[drawing; 3]).unwrap());
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let few = emulated(|| sample_tokens(&logits, &[drawing; 2])).0.unwrap_err().to_string();
    assert!(few.contains("2 choices from logits [3, 20]"), "{few}");
    // On a processor there is no such kernel.
    assert!(sample_tokens(&logits, &[drawing; 3]).is_err());
}
