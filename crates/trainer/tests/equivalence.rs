//! Variants of one step that must agree: packed or unpacked, one or many micro-batches, activations kept or recomputed, float32
//! or bfloat16, full or low-rank.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

mod common;

/// Uses the same operators as transformers; `fused.rs` runs the same tests with the fused operators.
#[allow(dead_code)]
const FUSED: bool = false;

use common::fixtures::{TINY, fixture};
use common::{Fixed, eight, how, load, relative};
use llama::{Llama, LoraConfig, TargetModules};
use tch::{Kind, Tensor};
use trainer::{
    Computation, Named, Objective, Optimizer, OptimizerSettings, RngPosition, Schedule, ScheduleKind, forward_backward,
};

const SETTINGS: OptimizerSettings = OptimizerSettings {
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    decay_norms_and_biases: false,
    max_grad_norm: Some(1.0),
};

fn schedule() -> Schedule {
    Schedule {
        kind: ScheduleKind::Constant,
        peak: 1e-3,
        warmup_steps: 0,
        total_steps: 4,
        final_ratio: 0.0,
        decay_steps: 0,
    }
}

/// The mean loss of one step, and its gradients in the order of `trained`.
fn gradients(model: &Llama, trained: &Named, micro_batch: usize, how: Computation) -> (f64, Vec<Tensor>) {
    let objective = Fixed { examples: eight(), micro_batch, steps: 1 };
    for (_, tensor) in trained {
        let mut grad = tensor.set_requires_grad(true).grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
    }
    let batches = objective.batches(0);
    let normaliser: f64 = batches.iter().map(|batch| objective.normaliser(batch)).sum();
    let moment = RngPosition { seed: 0, step: 0, micro_batch: 0 };
    let losses = batches
        .iter()
        .map(|batch| forward_backward(&objective, model, batch, moment, normaliser, how).unwrap().0 / normaliser);
    let loss = losses.sum();
    (loss, trained.iter().map(|(_, tensor)| tensor.grad().copy()).collect())
}

#[track_caller]
fn same(name: &str, found: &(f64, Vec<Tensor>), expected: &(f64, Vec<Tensor>), tolerance: f64) {
    assert!((found.0 / expected.0 - 1.0).abs() < tolerance, "{name}: loss {} instead of {}", found.0, expected.0);
    for (found, expected) in found.1.iter().zip(&expected.1) {
        let error = relative(found, expected);
        assert!(error < tolerance, "{name}: gradient off by {error}");
    }
}

#[test]
fn packing_accumulation_and_recomputation_change_nothing() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let model = load(&folder);
        let trained = model.named_parameters();
        let apart = gradients(&model, &trained, 1, how(0));
        for micro_batch in [2, 4, 8] {
            same(name, &gradients(&model, &trained, micro_batch, how(0)), &apart, 1e-5);
        }
        let kept = gradients(&model, &trained, 8, how(0));
        for layers in 1..=model.layers().len() {
            let again = gradients(&model, &trained, 8, how(layers));
            assert!(again.0 == kept.0 && again.1 == kept.1, "{name}: {layers} layers computed again are other bits");
        }
    }
}

#[test]
fn one_loss_over_all_tokens_not_a_mean_of_means() {
    // The reference is the formula on unpacked rows, with libtorch's own cross-entropy.
    let folder = fixture("tiny/llama-tied");
    let model = load(&folder);
    let trained = model.named_parameters();
    let found = gradients(&model, &trained, 3, how(0));
    for (_, tensor) in &trained {
        let _ = tensor.grad().zero_();
    }
    let (mut sum, mut count) = (Tensor::from(0.0_f32), 0);
    for example in eight() {
        let ids: Vec<i64> = example.ids.iter().map(|&id| i64::from(id)).collect();
        let labels: Vec<i64> =
            (1..ids.len()).map(|place| if example.trained[place] { ids[place] } else { -100 }).collect();
        count += labels.iter().filter(|&&label| label != -100).count();
        let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap().squeeze_dim(0);
        let logits = logits.narrow(0, 0, labels.len() as i64);
        let labels = Tensor::from_slice(&labels);
        sum += logits.cross_entropy_loss::<Tensor>(&labels, None, tch::Reduction::Sum, -100, 0.0);
    }
    let loss = sum / count as f64;
    loss.backward();
    let expected = trained.iter().map(|(_, tensor)| tensor.grad().copy()).collect();
    same("llama-tied", &found, &(f64::try_from(loss.detach()).unwrap(), expected), 1e-5);
}

/// The weights after four steps.
fn train(model: &Llama, trained: Named, micro_batch: usize, how: Computation) -> Named {
    let objective = Fixed { examples: eight(), micro_batch, steps: 4 };
    let mut optimizer = Optimizer::new(trained, &|_| Ok(None), SETTINGS, schedule()).unwrap();
    for step in 0..4 {
        let batches = objective.batches(step);
        let normaliser: f64 = batches.iter().map(|batch| objective.normaliser(batch)).sum();
        for batch in &batches {
            let moment = RngPosition { seed: 0, step, micro_batch: 0 };
            forward_backward(&objective, model, batch, moment, normaliser, how).unwrap();
            optimizer.gather().unwrap();
        }
        optimizer.step().unwrap();
    }
    optimizer.masters()
}

#[test]
fn eight_by_one_is_two_by_four() {
    let folder = fixture("tiny/llama-gqa");
    let run = |micro_batch| {
        let model = load(&folder);
        let parameters = model.named_parameters();
        train(&model, parameters, micro_batch, how(0))
    };
    for ((name, a), (_, b)) in run(1).iter().zip(&run(4)) {
        let error = relative(a, b);
        assert!(error < 1e-5, "{name} is off by {error}");
    }
}

#[test]
fn bf16_compute_follows_float32_with_float32_masters() {
    let folder = fixture("tiny/llama-tied");
    torch_ext::init();
    // Both runs start from weights that are exact in bfloat16.
    let start = |kind: Kind| {
        let model = Llama::load(&folder, Some(kind), tch::Device::Cpu).unwrap();
        let _no_grad = tch::no_grad_guard();
        for (_, mut weight) in model.named_parameters() {
            let rounded = weight.to_kind(Kind::BFloat16);
            weight.copy_(&rounded);
        }
        model
    };
    let run = |kind| {
        let model = start(kind);
        let parameters = model.named_parameters();
        let masters = train(&model, parameters, 4, Computation { operators: llama::Operators::Fused, recompute: 0 });
        for ((_, master), (_, weight)) in masters.iter().zip(model.named_parameters()) {
            assert_eq!(master.kind(), Kind::Float);
            assert_eq!(weight.kind(), kind);
            assert!(relative(&weight, &master.to_kind(kind)) == 0.0, "the model computes with the rounded master");
        }
        masters
    };
    let (narrow, wide, start) = (run(Kind::BFloat16), run(Kind::Float), start(Kind::Float).named_parameters());
    let square = |x: Tensor| f64::try_from(x.square().sum(Kind::Double)).unwrap();
    let (mut apart, mut way) = (0.0, 0.0);
    for (((_, narrow), (_, wide)), (_, start)) in narrow.iter().zip(&wide).zip(&start) {
        apart += square(narrow - wide);
        way += square(wide - start);
    }
    // Both runs move in the same direction: their distance is small compared with the distance from the start.
    let error = (apart / way).sqrt();
    assert!(error < 0.5, "off by {error} of the way");
}

fn adapter(model: &mut Llama) -> Named {
    let config = LoraConfig {
        peft_type: "LORA".into(),
        task_type: None,
        base_model_name_or_path: None,
        r: 4,
        lora_alpha: 8.0,
        lora_dropout: 0.0,
        use_rslora: false,
        target_modules: TargetModules::Pattern("all-linear".into()),
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        bias: "none".into(),
        modules_to_save: None,
        use_dora: false,
        fan_in_fan_out: false,
        inference_mode: false,
        scope: Default::default(),
    };
    tch::manual_seed(2);
    let options = (Kind::Float, tch::Device::Cpu);
    model.add_adapter(&config, |_, shape, bound| Ok((Tensor::rand(shape, options) - 0.5) * (2.0 * bound))).unwrap();
    let mut named = Vec::new();
    for (name, linear) in model.linears_mut() {
        let lora = linear.lora.as_mut().unwrap();
        lora.b = Tensor::randn(lora.b.size(), options) * 0.02;
        named.push((format!("{name}.lora_A.weight"), lora.a.shallow_clone()));
        named.push((format!("{name}.lora_B.weight"), lora.b.shallow_clone()));
    }
    named
}

#[test]
fn low_rank_gradients_are_those_of_merged_finite_differences() {
    let folder = fixture("tiny/llama-gqa");
    let mut model = load(&folder);
    let trained = adapter(&mut model);
    let (plain, again) = (gradients(&model, &trained, 8, how(0)), gradients(&model, &trained, 8, how(usize::MAX)));
    assert!(again.0 == plain.0 && again.1 == plain.1, "recomputed");
    assert!(model.named_parameters().iter().all(|(_, weight)| !weight.grad().defined()), "the base model is frozen");
    // The derivative of the loss along a random direction of all low-rank weights, compared below with finite differences of
    // the merged model's loss in float64.
    tch::manual_seed(4);
    let directions: Vec<Tensor> = trained.iter().map(|(_, tensor)| tensor.randn_like()).collect();
    let slope: f64 = directions
        .iter()
        .zip(&plain.1)
        .map(|(direction, gradient)| f64::try_from((direction * gradient).sum(Kind::Double)).unwrap())
        .sum();
    let loss_at = |share: f64| {
        let mut merged = Llama::load(&folder, Some(Kind::Double), tch::Device::Cpu).unwrap();
        let scale = 8.0 / 4.0;
        for (index, (_, linear)) in merged.linears_mut().enumerate() {
            let moved =
                |at: usize| trained[at].1.detach().to_kind(Kind::Double) + directions[at].to_kind(Kind::Double) * share;
            linear.weight = &linear.weight + moved(2 * index + 1).matmul(&moved(2 * index)) * scale;
        }
        let _no_grad = tch::no_grad_guard();
        let (mut sum, mut count) = (0.0, 0);
        for example in eight() {
            let ids: Vec<i64> = example.ids.iter().map(|&id| i64::from(id)).collect();
            let logits = merged.forward(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap();
            let log_probs = logits.squeeze_dim(0).log_softmax(-1, Kind::Double);
            for place in (1..ids.len()).filter(|&place| example.trained[place]) {
                sum -= log_probs.double_value(&[place as i64 - 1, ids[place]]);
                count += 1;
            }
        }
        sum / f64::from(count)
    };
    let h = 1e-4;
    let difference = (loss_at(h) - loss_at(-h)) / (2.0 * h);
    assert!((slope / difference - 1.0).abs() < 1e-2, "{slope} against {difference}");
}
