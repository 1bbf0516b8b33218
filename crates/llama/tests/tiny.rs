//! Compares the six tiny models with transformers: logits, loss, gradients, packed rows, greedy continuations, LoRA, saving.

use crate::common;

use common::{TINY, distance, fixture, forward_log_probs, generate, ids, load, reference, request};
use llama::{Kernels, SamplingParams};
use tch::{Kind, Tensor};

#[test]
fn logits_equal_transformers() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let file = folder.join("reference.safetensors");
        let _no_grad = tch::no_grad_guard();
        let logits = load(&folder).forward(&reference(&file, "input_ids")).unwrap();
        let error = distance(&logits, &reference(&file, "logits"));
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn loss_and_gradients_equal_transformers() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let file = folder.join("reference.safetensors");
        let model = load(&folder);
        let parameters = model.named_parameters();
        for (_, parameter) in &parameters {
            let _ = parameter.set_requires_grad(true);
        }
        let labels = reference(&file, "labels");
        let logits = model.forward(&reference(&file, "input_ids")).unwrap();
        let vocab = logits.size()[2];
        let shifted = logits.narrow(1, 0, 47).reshape([-1, vocab]);
        let loss = shifted.cross_entropy_loss::<Tensor>(
            &labels.narrow(1, 1, 47).reshape([-1]),
            None,
            tch::Reduction::Mean,
            -100,
            0.0,
        );
        let (found, expected) =
            (f64::try_from(&loss).unwrap(), f64::try_from(reference(&file, "loss").squeeze()).unwrap());
        assert!(((found - expected) / expected).abs() < 1e-5, "{name}: loss {found} against {expected}");
        loss.backward();
        let mut compared = 0;
        for (parameter, tensor) in &parameters {
            let checkpoint = weights::Checkpoint::open(&file).unwrap();
            let key = format!("grad.{parameter}");
            if checkpoint.names().any(|name| name == key) {
                let expected = reference(&file, &key);
                let error = f64::try_from((tensor.grad() - &expected).norm() / expected.norm()).unwrap();
                assert!(error < 1e-4, "{name}: gradient of {parameter} off by {error}");
                compared += 1;
            }
        }
        assert_eq!(compared, 6, "{name}");
    }
}

#[test]
fn a_packed_row_gives_what_its_documents_give_apart() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let file = folder.join("reference.safetensors");
        let input = reference(&file, "input_ids");
        let row = Tensor::cat(&[input.get(0).narrow(0, 0, 30), input.get(1).narrow(0, 0, 18)], 0);
        let padded = Tensor::cat(&[row, Tensor::zeros([5], (Kind::Int64, tch::Device::Cpu))], 0).unsqueeze(0);
        let _no_grad = tch::no_grad_guard();
        let logits = load(&folder).forward_packed(&padded, &[vec![30, 18]]).unwrap();
        for (start, length, key) in [(0, 30, "doc_a_logits"), (30, 18, "doc_b_logits")] {
            let error = distance(&logits.narrow(1, start, length), &reference(&file, key));
            assert!(error < 1e-4, "{name} {key}: {error}");
        }
    }
}

#[test]
fn greedy_continuations_equal_transformers() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let greedy = ids(&reference(&folder.join("reference.safetensors"), "greedy"));
        let model = load(&folder);
        // The batch has prompts of several lengths, and more requests than slots.
        let params = SamplingParams::greedy;
        let requests = [
            request(&greedy[..5], params(), 0, 9),
            request(&greedy[..12], params(), 0, 16),
            request(&greedy[..12], params(), 0, 16),
            request(&greedy[..2], params(), 0, 40),
        ];
        for (kernels, slots) in [(Kernels::Auto, 1), (Kernels::Auto, 4), (Kernels::Tensors, 1), (Kernels::Tensors, 2)] {
            let chosen = generate(&model, kernels, slots, &requests);
            for same in [1, 2] {
                let found: Vec<i64> = chosen[same].iter().map(|choice| choice.id).collect();
                assert_eq!(found, greedy[12..], "{name} with {slots} slots, {kernels:?}");
            }
            assert_eq!(chosen[3].len(), 40);
        }
    }
}

#[test]
fn a_sliding_window_is_the_same_in_prefill_and_decoding() {
    let folder = fixture("tiny/mistral");
    let copy = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    std::fs::write(copy.path().join("config.json"), text.replace("\"sliding_window\": null", "\"sliding_window\": 8"))
        .unwrap();
    std::fs::copy(folder.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
    let model = load(copy.path());
    assert_eq!(model.config().sliding_window, [Some(8); 3]);
    let prompt: Vec<i64> = (3..24).collect();
    for kernels in [Kernels::Auto, Kernels::Tensors] {
        let chosen = &generate(&model, kernels, 2, &[request(&prompt, SamplingParams::greedy(), 0, 20)])[0];
        for (place, logprob) in forward_log_probs(&model, &prompt, chosen).into_iter().enumerate() {
            assert!((chosen[place].logprob - logprob).abs() < 1e-4, "{kernels:?}");
        }
    }
    let chosen = &generate(&model, Kernels::Auto, 2, &[request(&prompt, SamplingParams::greedy(), 0, 20)])[0];
    let mut whole = prompt.clone();
    whole.extend(chosen.iter().map(|choice| choice.id));
    let _no_grad = tch::no_grad_guard();
    let input = Tensor::from_slice(&whole).unsqueeze(0);
    let logits = model.forward(&input).unwrap();
    // The window matters: three layers with window 8 reach 22 tokens back, so a change at the start has no effect at the end.
    let changed = Tensor::cat(&[input.narrow(1, 0, 1) + 1, input.narrow(1, 1, 40)], 1);
    let moved = model.forward(&changed).unwrap();
    assert_eq!(distance(&logits.narrow(1, 30, 11), &moved.narrow(1, 30, 11)), 0.0);
    assert!(distance(&logits.narrow(1, 0, 20), &moved.narrow(1, 0, 20)) > 1e-3);
}

#[test]
fn lora_equals_peft_apart_and_merged() {
    let folder = fixture("tiny/llama-gqa");
    let _no_grad = tch::no_grad_guard();
    let mut model = load(&folder);
    let config = model.load_adapter(&folder.join("lora")).unwrap();
    let file = folder.join("lora_reference.safetensors");
    let input = reference(&file, "input_ids");
    assert!(distance(&model.forward(&input).unwrap(), &reference(&file, "logits")) < 1e-4);

    let saved = tempfile::tempdir().unwrap();
    model.save_adapter(saved.path(), &config).unwrap();
    let mut again = load(&folder);
    again.load_adapter(saved.path()).unwrap();
    assert_eq!(distance(&model.forward(&input).unwrap(), &again.forward(&input).unwrap()), 0.0);

    model.merge_adapter();
    let merged = reference(&folder.join("lora_merged_reference.safetensors"), "logits");
    assert!(distance(&model.forward(&input).unwrap(), &merged) < 1e-4);
    assert!(distance(&load(&folder).forward(&input).unwrap(), &merged) > 1e-2, "the adapter does nothing");
}

#[test]
fn saving_and_loading_is_bit_exact() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let model = llama::Llama::load(&folder, Some(kind), tch::Device::Cpu).unwrap();
            let saved = tempfile::tempdir().unwrap();
            model.save(saved.path(), None).unwrap();
            let again = load(saved.path());
            assert_eq!(again.kind(), kind);
            let (before, after) = (model.named_parameters(), again.named_parameters());
            assert_eq!(before.len(), after.len());
            for ((name, before), (other, after)) in before.iter().zip(&after) {
                assert_eq!(name, other);
                assert!(before.equal(after), "{name}");
            }
        }
    }
}
