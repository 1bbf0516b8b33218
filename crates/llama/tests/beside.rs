//! Models with different settings run at the same time in one process: each gives the same bits as alone.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

use std::sync::Barrier;

use llama::attention::Causal;
use llama::{Llama, LoraConfig, NewModel, Operators, Pass, TargetModules};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

const TURNS: usize = 12;

/// A model in bfloat16, where the operators differ in their last bits, with low-rank updates and a dropout rate of one half.
fn model(seed: u64) -> Llama {
    let folder = tempfile::tempdir().unwrap();
    NewModel { hidden: 64, layers: 2, context: 64, seed }.write(folder.path()).unwrap();
    let mut model = Llama::load(folder.path(), Some(Kind::BFloat16), Device::Cpu).unwrap();
    let config: LoraConfig = serde_json::from_value(serde_json::json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "lora_dropout": 0.5, "target_modules": "all-linear"
    }))
    .unwrap();
    assert!(matches!(config.target_modules, TargetModules::Pattern(_)));
    let mut random = Generator::new(Device::Cpu, seed).unwrap();
    model.add_adapter(&config, |_, shape, _| Ok(random.uniform(&shape)? - 0.5)).unwrap();
    for (_, linear) in model.linears_mut() {
        let lora = linear.lora.as_mut().unwrap();
        lora.b = (random.uniform(&lora.b.size()).unwrap() - 0.5).to_kind(Kind::BFloat16);
    }
    model
}

/// The hidden states of several passes with the same settings.
fn passes(model: &Llama, pass: Pass, mut before: impl FnMut()) -> Vec<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let ids = (Tensor::arange(48, (Kind::Int64, Device::Cpu)) * 5 + 1).unsqueeze(0);
    let positions = Tensor::arange(48, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    (0..TURNS)
        .map(|_| {
            before();
            model.hidden_states(&ids, &positions, &mut Causal, pass).unwrap()
        })
        .collect()
}

#[test]
fn passes_with_different_settings_do_not_meet() {
    torch_ext::init();
    let settings = [
        Pass { operators: Operators::Plain, dropout: None },
        Pass { operators: Operators::Fused, dropout: None },
        Pass { operators: Operators::Plain, dropout: Some(3) },
        Pass { operators: Operators::Fused, dropout: Some(4) },
    ];
    let alone: Vec<Tensor> = settings
        .iter()
        .enumerate()
        .map(|(n, &pass)| passes(&model(n as u64 / 2), pass, || ()).swap_remove(0))
        .collect();
    assert_ne!(alone[0], alone[1]);
    assert_ne!(alone[2], alone[3]);
    // One after another on one model, in any order.
    let one = model(0);
    for place in [1, 0, 1] {
        assert_eq!(passes(&one, settings[place], || ())[0], alone[place], "{:?}", settings[place]);
    }
    // At the same time, synchronised by a barrier.
    let barrier = Barrier::new(settings.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = settings
            .iter()
            .enumerate()
            .map(|(n, &pass)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    // The bits of a pass may depend on its number of threads, and on nothing else.
                    let model = model(n as u64 / 2);
                    passes(&model, pass, || {
                        barrier.wait();
                    })
                })
            })
            .collect();
        for (n, thread) in threads.into_iter().enumerate() {
            for found in thread.join().unwrap() {
                assert_eq!(found, alone[n], "{:?}", settings[n]);
            }
        }
    });
}

#[test]
fn faults_of_shape_are_errors() {
    torch_ext::init();
    let model = model(5);
    let positions = Tensor::arange(4, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let ids = Tensor::from_slice(&[1_i64, 2, 3, 4]).unsqueeze(0);
    let states = |ids: &Tensor, positions: &Tensor| {
        let error = model.hidden_states(ids, positions, &mut Causal, Pass::default()).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() < 300, "{error}");
        error
    };
    let error = states(&(&ids + 1000), &positions);
    assert!(
        error.starts_with("token ids, which must lie in the vocabulary of 260: libtorch: index out of range"),
        "{error}"
    );
    let error = states(&ids, &(&positions + 62));
    assert!(error.contains("below the model's context of 64: libtorch: index out of range"), "{error}");
    assert!(states(&ids.squeeze_dim(0), &positions).contains("layer 0: libtorch: "));
    for operators in [Operators::Plain, Operators::Fused] {
        let narrow = Tensor::zeros([1, 4, 32], (Kind::BFloat16, Device::Cpu));
        let pass = Pass { operators, dropout: None };
        let error = model.hidden_states_of(narrow, &positions, &mut Causal, pass).unwrap_err().to_string();
        assert!(error.contains("layer 0: ") && error.contains("32") && !error.contains('\n'), "{error}");
    }
    let error = model.logits(&Tensor::zeros([1, 32], (Kind::BFloat16, Device::Cpu))).unwrap_err().to_string();
    assert!(error.starts_with("linear of x [1, 32] BFloat16 and w [260, 64] BFloat16: libtorch: "), "{error}");
    assert!(model.forward(&Tensor::from_slice(&[1_i64])).is_err(), "one dimension");
}
