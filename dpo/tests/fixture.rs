//! Compares with PyTorch's numbers for two pairs with a formatting mask and 0.2 NLL (`tests/fixtures/make_tiny.py`).

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::path::Path;

use common::fixtures::{distance, fixture, ids, load, reference};
use common::{relative, sequence};
use dpo::batch::PairBatch;
use dpo::config::{Config, FormattingTokens, SharePrompt};
use dpo::measure::measure;
use dpo::pairs::{Pair, Part};
use dpo::reference::log_probs;
use llama::{Llama, LlamaConfig};
use tch::{Device, Kind, Tensor};
use weights::Checkpoint;

/// The model of `folder` with the weights of another file.
fn with_weights(folder: &Path, file: &Path) -> Llama {
    let checkpoint = Checkpoint::open(file).unwrap();
    Llama::build::<()>(LlamaConfig::from_dir(folder).unwrap(), |name, shape| {
        let view = checkpoint.tensor(name).unwrap();
        Ok(Tensor::from_data_size(view.data, shape, Kind::Float).set_requires_grad(true))
    })
    .unwrap()
}

fn pairs(file: &Path) -> Vec<Pair> {
    let (chosen, rejected) = (reference(file, "chosen"), reference(file, "rejected"));
    let prompts = ids(&reference(file, "prompt_len"));
    let pair = |row: usize| {
        let side = |tensor: &Tensor| sequence(&ids(&tensor.get(row as i64)), prompts[row] as usize, 2);
        Pair { id: row.to_string(), chosen: side(&chosen), rejected: side(&rejected) }
    };
    vec![pair(0), pair(1)]
}

#[test]
fn the_mask_of_the_fixture_is_the_one_that_is_meant() {
    let folder = fixture("tiny/llama-gqa");
    let file = folder.join("dpo_reference.safetensors");
    let checkpoint = Checkpoint::open(&file).unwrap();
    let mask = checkpoint.tensor("formatting_mask").unwrap().data;
    let formatting = pairs(&file).into_iter().flat_map(|pair| pair.chosen.parts);
    assert!(formatting.zip(mask).all(|(part, &mask)| (part == Part::Formatting) == (mask == 1)));
}

#[test]
fn log_probs_loss_and_gradients_are_pytorchs() {
    let folder = fixture("tiny/llama-gqa");
    let file = folder.join("dpo_reference.safetensors");
    let pairs = pairs(&file);
    let initial = load(&folder);
    for share in [SharePrompt::Always, SharePrompt::Never] {
        let policy = with_weights(&folder, &folder.join("adamw_after_8.safetensors"));
        let batch = PairBatch::new(&pairs.iter().collect::<Vec<_>>(), FormattingTokens::Mask, share, Device::Cpu);
        let expect = |name: &str| reference(&file, name);
        let reference_log_probs = log_probs(&initial, &batch).unwrap();
        let (chosen, rejected) = batch.counted(&reference_log_probs);
        assert!(distance(&chosen, &expect("ref_chosen_logps")) < 1e-4);
        assert!(distance(&rejected, &expect("ref_rejected_logps")) < 1e-4);
        let mut layout = batch.layout();
        let positions = layout.positions(batch.tokens as i64);
        let hidden = policy.hidden_states(&batch.input_ids, &positions, &mut layout, llama::Pass::fused()).unwrap();
        let found = batch.log_probs(&hidden, policy.head()).unwrap();
        let (chosen, rejected) = batch.counted(&found);
        assert!(distance(&chosen, &expect("policy_chosen_logps")) < 1e-4);
        assert!(distance(&rejected, &expect("policy_rejected_logps")) < 1e-4);
        // The recipe's loss is the default.
        let loss = measure(&Config::default().loss(), &batch, &found, Some(&reference_log_probs));
        let mean = |name: &str| {
            let metric = loss.metrics.iter().find(|metric| metric.name == name).unwrap();
            metric.sum.number() / metric.weight
        };
        let expected_mean = |name: &str| expect(name).mean(Kind::Double).double_value(&[]);
        let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        close(mean("preference_loss"), expected_mean("dpo_loss"));
        close(mean("nll_loss"), expected_mean("chosen_nll"));
        let total = loss.sum / 2.0;
        close(total.double_value(&[]), expected_mean("loss"));
        total.backward();
        for name in ["model.layers.0.self_attn.q_proj.weight", "lm_head.weight"] {
            let (_, weight) = policy.named_parameters().into_iter().find(|(own, _)| own == name).unwrap();
            let error = relative(&weight.grad(), &expect(&format!("grad.{name}")));
            assert!(error < 1e-4, "{share:?}: gradient of {name} off by {error}");
        }
    }
}
