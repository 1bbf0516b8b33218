//! Different ways to compute one step that must give the same result: pairs in one row or separate, prompts shared or
//! not, the reference cached or live, the base model under an adapter or a separate model.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use common::fixtures::{TINY, fixture, load};
use common::{nudge, relative, six};
use dpo::config::{FormattingTokens, SharePrompt};
use dpo::losses::{Loss, LossKind};
use dpo::objective::{DpoObjective, Reference, RowLayout};
use dpo::pairs::Pair;
use dpo::reference::{Identity, mask_digest};
use llama::{Llama, LoraConfig, Operators, TargetModules};
use tch::{Device, Kind, Tensor};
use trainer::stage::sources::Examples;
use trainer::{Computation, Objective, Plan, RngPosition, RunFolder, Source, StepSize, forward_backward};

fn loss(kind: LossKind) -> Loss {
    Loss { kind, beta: 0.5, label_smoothing: 0.1, simpo_gamma: 0.3, nll_weight: 0.2 }
}

fn layout(micro_batch_tokens: usize, share: SharePrompt) -> RowLayout {
    RowLayout { formatting: FormattingTokens::Mask, share, micro_batch_tokens, device: Device::Cpu }
}

fn objective(kind: LossKind, layout: RowLayout, reference: Reference) -> DpoObjective {
    let pairs = six();
    let lengths = pairs.iter().map(Pair::longest).collect();
    let plan = Plan::new(&[Source { lengths, weight: 1.0 }], 1, None, StepSize::Examples(6), 0);
    let examples = Examples::new(vec![pairs], Vec::new(), plan, Pair::longest, 0);
    DpoObjective::new(examples, loss(kind), layout, reference, false)
}

fn identity() -> Identity {
    let text = || "x".to_owned();
    let mask = mask_digest(&six().iter().collect::<Vec<_>>());
    Identity { model: text(), data: text(), template: text(), mask, dtype: "f32".into() }
}

/// The loss of one step, its gradients by name, and the means of its metrics.
fn gradients(model: &Llama, trained: &[Tensor], objective: &DpoObjective, recompute: usize) -> (f64, Vec<Tensor>) {
    for tensor in trained {
        let mut grad = tensor.set_requires_grad(true).grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
    }
    let batches = objective.batches(0);
    let moment = RngPosition { seed: 0, step: 0, micro_batch: 0 };
    let how = Computation { operators: Operators::Fused, recompute };
    let sum: f64 =
        batches.iter().map(|batch| forward_backward(objective, model, batch, moment, 6.0, how).unwrap().0).sum();
    (sum / 6.0, trained.iter().map(|tensor| tensor.grad().copy()).collect())
}

#[track_caller]
fn same(what: &str, found: &(f64, Vec<Tensor>), expected: &(f64, Vec<Tensor>), tolerance: f64) {
    assert!((found.0 / expected.0 - 1.0).abs() < tolerance, "{what}: loss {} instead of {}", found.0, expected.0);
    for (found, expected) in found.1.iter().zip(&expected.1) {
        let error = relative(found, expected);
        assert!(error < tolerance, "{what}: gradient off by {error}");
    }
}

/// A model that differs from the reference in `folder`, and its weights.
fn moved(folder: &std::path::Path) -> (Llama, Vec<Tensor>) {
    let policy = load(folder);
    nudge(&policy, 3);
    let weights = policy.named_parameters().into_iter().map(|(_, tensor)| tensor).collect();
    (policy, weights)
}

#[test]
fn rows_and_shared_prompts_change_nothing() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::open(dir.path()).unwrap();
        let (policy, weights) = moved(&folder);
        let step = |micro_batch_tokens: usize, share: SharePrompt, recompute: usize| {
            let reference = Reference::Live { folder: Some(folder.clone()) };
            let mut objective = objective(LossKind::Sigmoid, layout(micro_batch_tokens, share), reference);
            objective.begin(&policy, &run, &trainer::World::single()).unwrap();
            gradients(&policy, &weights, &objective, recompute)
        };
        // The plain way: one row per pair, and every sequence separate.
        let apart = step(1, SharePrompt::Never, 0);
        same(name, &step(1000, SharePrompt::Never, 0), &apart, 1e-4);
        same(name, &step(1, SharePrompt::Always, 0), &apart, 1e-4);
        same(name, &step(1000, SharePrompt::Always, 0), &apart, 1e-4);
        same(name, &step(90, SharePrompt::Auto, usize::MAX), &apart, 1e-4);
    }
}

#[test]
fn a_cached_reference_is_a_live_one_for_every_loss() {
    let folder = fixture("tiny/llama-gqa");
    let (policy, weights) = moved(&folder);
    for kind in [LossKind::Sigmoid, LossKind::LengthNormalised, LossKind::Ipo, LossKind::Cdpo, LossKind::Hinge] {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::open(&dir.path().join("run")).unwrap();
        let step = |reference: Reference| {
            let mut objective = objective(kind, layout(90, SharePrompt::Always), reference);
            objective.begin(&policy, &run, &trainer::World::single()).unwrap();
            gradients(&policy, &weights, &objective, 0)
        };
        let live = step(Reference::Live { folder: Some(folder.clone()) });
        let cached = || Reference::Cached {
            folder: Some(folder.clone()),
            cache: dir.path().join("cache"),
            identity: identity(),
        };
        same("computed", &step(cached()), &live, 1e-6);
        assert!(dir.path().join("cache/reference.json").is_file());
        same("read", &step(cached()), &live, 1e-6);
    }
}

/// Puts an adapter with an effect on a model.
fn adapt(model: &mut Llama) -> Vec<Tensor> {
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
    let options = (Kind::Float, Device::Cpu);
    model.add_adapter(&config, |_, shape, bound| Ok((Tensor::rand(shape, options) - 0.5) * (2.0 * bound))).unwrap();
    let mut factors = Vec::new();
    for (_, linear) in model.linears_mut() {
        let lora = linear.lora.as_mut().unwrap();
        lora.b = Tensor::randn(lora.b.size(), options) * 0.02;
        factors.extend([lora.a.shallow_clone(), lora.b.shallow_clone()]);
    }
    factors
}

#[test]
fn the_base_model_under_an_adapter_is_the_explicit_reference() {
    let folder = fixture("tiny/llama-gqa");
    let mut policy = load(&folder);
    let factors = adapt(&mut policy);
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(&dir.path().join("run")).unwrap();
    let step = |reference: Reference| {
        let mut objective = objective(LossKind::Sigmoid, layout(90, SharePrompt::Always), reference);
        objective.begin(&policy, &run, &trainer::World::single()).unwrap();
        gradients(&policy, &factors, &objective, 0)
    };
    let explicit = step(Reference::Live { folder: Some(folder.clone()) });
    same("live", &step(Reference::Live { folder: None }), &explicit, 1e-6);
    let cached = Reference::Cached { folder: None, cache: dir.path().join("cache"), identity: identity() };
    same("cached", &step(cached), &explicit, 1e-6);
    // It is a view of the policy's own weights, not a copy.
    let base = policy.without_adapter();
    let storage = |model: &Llama| model.named_parameters().iter().map(|(_, t)| t.data_ptr()).collect::<Vec<_>>();
    assert_eq!(storage(&policy), storage(&base));
    // The adapter has an effect that the reference does not have.
    let ids = Tensor::arange(20, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let logits = |model: &Llama| model.forward(&ids).unwrap().detach();
    assert!(relative(&logits(&policy), &logits(&base)) > 1e-3);
}

#[test]
fn simpo_needs_no_reference() {
    let folder = fixture("tiny/llama-tied");
    let (policy, weights) = moved(&folder);
    let dir = tempfile::tempdir().unwrap();
    let run = RunFolder::open(dir.path()).unwrap();
    let step = |tokens: usize, share: SharePrompt| {
        let mut objective = objective(LossKind::Simpo, layout(tokens, share), Reference::None);
        objective.begin(&policy, &run, &trainer::World::single()).unwrap();
        gradients(&policy, &weights, &objective, 0)
    };
    same("simpo", &step(1000, SharePrompt::Always), &step(1, SharePrompt::Never), 1e-4);
}
