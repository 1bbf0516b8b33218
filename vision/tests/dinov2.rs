//! The tiny DINOv2 against transformers (`tests/fixtures/vision/make_dinov2.py`).

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use test_support::fixture;
use vision::Dinov2;
use weights::Checkpoint;

fn reference(name: &str) -> Tensor {
    let checkpoint = Checkpoint::open(fixture("vision/dinov2/reference.safetensors")).unwrap();
    let view = checkpoint.tensor(name).unwrap();
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data, &shape, Kind::Float)
}

fn load() -> Dinov2 {
    torch_ext::init();
    Dinov2::load(&fixture("vision/dinov2"), None, Device::Cpu).unwrap()
}

#[test]
fn states_equal_transformers_at_two_sizes() {
    let _no_grad = tch::no_grad_guard();
    let encoder = load();
    for size in ["own", "other"] {
        let (last, chosen) = encoder.forward(&reference(&format!("{size}.pixels")), &[1]).unwrap();
        for (found, name) in [(&last, "last"), (&chosen[0], "layer_2")] {
            let expected = reference(&format!("{size}.{name}"));
            assert_eq!(found.size(), expected.size());
            let error = (found - expected).abs().max().double_value(&[]);
            assert!(error < 1e-4, "{size} {name}: {error}");
        }
    }
}

#[test]
fn what_does_not_fit_is_a_sentence() {
    let encoder = load();
    let pixels = |height: i64| Tensor::zeros([1, 3, height, 56], (Kind::Float, Device::Cpu));
    let error = encoder.forward(&pixels(55), &[]).unwrap_err().to_string();
    assert!(error.contains("pictures are 55 x 56; both must be multiples of 14"), "{error}");
    let error = encoder.forward(&pixels(56), &[3]).unwrap_err().to_string();
    assert!(error.contains("layer 3 is asked for, and there are 3"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("vision/dinov2");
    std::fs::copy(source.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    for (name, value, sentence) in [
        ("use_swiglu_ffn", json!(true), "use_swiglu_ffn is true"),
        ("model_type", json!("vit"), "model_type is \"vit\""),
        ("num_hidden_layers", json!(2), "tensors have no place in this architecture"),
        ("mlp_ratio", json!(4), "config.json asks for [128, 32]"),
    ] {
        let mut config = config.clone();
        config[name] = value;
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let error = Dinov2::load(folder.path(), None, Device::Cpu).err().unwrap().to_string();
        assert!(error.contains(sentence), "{error}");
    }
}
