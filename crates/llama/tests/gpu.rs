//! The engine's GPU path, tested on the CPU emulation of its kernels: paged attention without copies, and sampling on the device.
//! The expected results come from libtorch's operators on a CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common;

use common::{fixture, generate_in, load, request};
use llama::{
    Choice, Engine, EngineOptions, GenerateError, GpuKernels, Graphs, Kernels, Llama, Next, Request, RequestId,
    Sampler, SamplingParams,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};
use torch_ext::{Drawing, OpError, Recorded, Recorder, Step, emulated, sample_tokens};

fn options(slots: usize) -> EngineOptions {
    EngineOptions { slots, kernels: Kernels::Tensors, ..EngineOptions::default() }
}

fn engine(model: &Llama, slots: usize) -> Engine {
    Engine::with_options(model, options(slots)).unwrap()
}

fn ids(all: &[Vec<Choice>]) -> Vec<Vec<i64>> {
    all.iter().map(|chosen| chosen.iter().map(|choice| choice.id).collect()).collect()
}

/// Greedy and sampled requests of several lengths. Two pairs have equal prompts.
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

/// All prompts of a step share one pass, and so do all sequences of a decode step. In a pass of this model, each layer launches
/// two norms, two rotations and a gate, and the final norm is one more launch. A decode step launches attention once more per
/// layer; a short sequence has one split, so no splits are joined. Every step launches one sampling kernel for all sequences.
#[test]
fn a_step_launches_each_kernel_once_for_all_sequences() {
    let model = load(&fixture("tiny/llama-gqa"));
    let layers = model.layers().len();
    let three: Vec<Request> = (0..3).map(|i| request(&[5, 6, 7 + i], SamplingParams::default(), 1, 5)).collect();
    let (chosen, launched) = emulated(|| generate_in(&mut engine(&model, 3), &three));
    assert!(chosen.iter().all(|chosen| chosen.len() == 5));
    let (prompts, step) = (5 * layers + 1, 6 * layers + 1);
    assert_eq!(launched, prompts + 4 * step + 5);
    // An emulation without work launches nothing, nor does a model without herd's own kernels.
    let (_, launched) = emulated(|| ());
    assert_eq!(launched, 0);
    let mut libtorchs = model.shallow_clone();
    libtorchs.set_gpu_kernels(GpuKernels::Libtorch);
    let (other, launched) = emulated(|| generate_in(&mut engine(&libtorchs, 3), &three));
    assert_eq!((ids(&other), launched), (ids(&chosen), 0));
}

/// Sequences with a repetition penalty or top log-probabilities use the CPU sampler, beside sequences that do not.
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

/// In steps with the same number of rows, the bits of a sequence do not depend on the other sequences, not even on longer ones:
/// attention splits every sequence at the same keys.
#[test]
fn a_sequence_has_the_same_bits_in_any_company() {
    let model = load(&fixture("tiny/llama-gqa"));
    let mine = request(&(3..40).collect::<Vec<i64>>(), SamplingParams::default(), 9, 6);
    // One prompt longer than a split of attention (256 keys), and a short one.
    let long: Vec<i64> = (0..280).map(|i| i * 7 % 300 + 1).collect();
    let others = [long, (50..53).collect()].map(|prompt: Vec<i64>| request(&prompt, SamplingParams::default(), 4, 6));
    let beside = |other: &Request| {
        // Prompts in one pass would change its number of rows, and with it the bits of the matrix products.
        let mut engine = engine(&model, 2);
        let mut chosen = vec![Vec::new(); 2];
        let mut each = |id: RequestId, choice: Result<Choice, GenerateError>| {
            chosen[id as usize].push(choice.unwrap());
            Next::Continue
        };
        engine.submit(mine.clone()).unwrap();
        engine.step(&mut each).unwrap();
        engine.submit(other.clone()).unwrap();
        while !engine.is_idle() {
            engine.step(&mut each).unwrap();
        }
        chosen
    };
    let ([beside_long, beside_short], _) = emulated(|| [beside(&others[0]), beside(&others[1])]);
    assert_eq!(beside_long[0], beside_short[0]);
    assert_ne!(ids(&beside_long)[1], ids(&beside_short)[1]);
}

/// A stand-in for CUDA graphs: it keeps a step as a closure, and a replay calls the closure on the recorded tensors.
#[derive(Debug, Clone, Default)]
struct Recordings {
    /// Number of calls of `record`.
    recorded: Arc<AtomicUsize>,
    /// Number of replays.
    replayed: Arc<AtomicUsize>,
    /// Number of recordings that are not dropped.
    alive: Arc<AtomicUsize>,
    /// Index of the first call of `record` that fails.
    fails_from: Option<usize>,
}

struct Recording {
    step: Step,
    of: Recordings,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.of.fmt(f)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.of.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Recorded for Recording {
    fn replay(&self) -> Result<(), OpError> {
        self.of.replayed.fetch_add(1, Ordering::Relaxed);
        (self.step)()
    }
}

impl Recorder for Recordings {
    fn fits(&self, _: Device) -> bool {
        true
    }

    fn record(&self, step: Step, _: &Tensor, beside: Option<&dyn Recorded>) -> Result<Box<dyn Recorded>, OpError> {
        let before = self.recorded.fetch_add(1, Ordering::Relaxed);
        if self.fails_from.is_some_and(|first| before >= first) {
            return Err(OpError::of("this stream does not record"));
        }
        assert_eq!(beside.is_some(), self.alive.fetch_add(1, Ordering::Relaxed) > 0);
        Ok(Box::new(Recording { step, of: self.clone() }))
    }
}

impl Recordings {
    fn numbers(&self) -> [usize; 3] {
        [&self.recorded, &self.replayed, &self.alive].map(|number| number.load(Ordering::Relaxed))
    }

    fn engine(&self, model: &Llama, slots: usize) -> Engine {
        let graphs = Graphs::By(Arc::new(self.clone()));
        Engine::with_options(model, EngineOptions { graphs, ..options(slots) }).unwrap()
    }
}

/// Sequences of several lengths come and go, so that steps use several buckets of rows, with 256 and with 512 keys. Replayed steps
/// give the same tokens and the same bits as steps without a recorder.
#[test]
fn recorded_steps_give_the_same_text() {
    let model = load(&fixture("tiny/llama-gqa"));
    let requests: Vec<Request> = (0_i64..)
        .zip([3, 20, 9, 250, 3, 40])
        .map(|(i, length)| {
            let prompt: Vec<i64> = (0..length).map(|token| (token * 7 + i * 13) % 300 + 1).collect();
            request(&prompt, SamplingParams::default(), i as u64, 3 + 3 * (i as usize % 4))
        })
        .collect();
    let off = || Engine::with_options(&model, EngineOptions { graphs: Graphs::Off, ..options(4) }).unwrap();
    let recordings = Recordings::default();
    let (expected, launched) = emulated(|| generate_in(&mut off(), &requests));
    let (found, repeated) = emulated(|| {
        let mut engine = recordings.engine(&model, 4);
        let found = generate_in(&mut engine, &requests);
        let [recorded, replayed, alive] = recordings.numbers();
        let steps = engine.counts().steps as usize;
        assert!(recorded >= 3 && alive == recorded, "{recorded} {alive}");
        assert!((recorded..steps).contains(&replayed), "{replayed} of {steps} steps");
        found
    });
    assert_eq!((found, repeated), (expected, launched));
    // Recordings do not outlive the engine.
    assert_eq!(recordings.numbers()[2], 0);
}

/// When the cache moves to other addresses, the engine drops the recordings with the old addresses.
#[test]
fn recordings_end_when_the_cache_moves() {
    let model = load(&fixture("tiny/llama-gqa"));
    let few = [request(&[5, 6, 7], SamplingParams::default(), 1, 6)];
    // Together they reserve more pages than the cache has at first. Each is stopped after six tokens.
    let many: Vec<Request> =
        (0..8).map(|i| request(&[8, 9, 3 + i], SamplingParams::default(), i as u64, 180)).collect();
    let recordings = Recordings::default();
    let six = |engine: &mut Engine, requests: &[Request]| {
        let mut chosen = vec![Vec::new(); requests.len()];
        let mut each = |index: usize, choice| {
            chosen[index].push(choice);
            if chosen[index].len() < 6 { Next::Continue } else { Next::Stop }
        };
        engine.generate(requests, &mut each).unwrap();
        chosen
    };
    let run = |engine: &mut Engine| [six(engine, &few), six(engine, &many), six(engine, &few)];
    let (expected, _) = emulated(|| {
        run(&mut Engine::with_options(&model, EngineOptions { graphs: Graphs::Off, ..options(8) }).unwrap())
    });
    let (found, _) = emulated(|| {
        let mut engine = recordings.engine(&model, 8);
        six(&mut engine, &few);
        assert_eq!(recordings.numbers()[2], 1);
        let found = run(&mut engine);
        let [recorded, _, alive] = recordings.numbers();
        assert!(alive < recorded, "{alive} of {recorded}");
        found
    });
    assert_eq!(found, expected);
}

#[test]
fn a_step_that_cannot_be_recorded_is_called() {
    let model = load(&fixture("tiny/llama-gqa"));
    let requests = &requests()[..3];
    let expected = emulated(|| generate_in(&mut engine(&model, 2), requests)).0;
    let recordings = Recordings { fails_from: Some(1), ..Recordings::default() };
    let found = emulated(|| generate_in(&mut recordings.engine(&model, 2), requests)).0;
    assert_eq!(found, expected);
    // The first bucket was recorded, the second one failed, and no further one was tried.
    let [recorded, replayed, _] = recordings.numbers();
    assert!(recorded == 2 && replayed > 0, "{recorded} {replayed}");
    // On a CPU without the emulation, no step is recorded.
    let none = Recordings::default();
    assert_eq!(ids(&generate_in(&mut none.engine(&model, 2), requests)), ids(&expected));
    assert_eq!(none.numbers(), [0, 0, 0]);
}

/// Compares [`sample_tokens`] on the emulation with [`Sampler`], for the first random number of each seed.
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

/// With the same random number, the GPU sampler chooses the CPU sampler's token and returns the same bits of its log-probability.
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
    // Without the emulation, a CPU has no such kernel.
    assert!(sample_tokens(&logits, &[drawing; 3]).is_err());
}
