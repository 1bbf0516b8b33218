//! Long rows: no tensor of a training step grows with the square of the row, and feed-forward blocks in pieces change nothing.

#![allow(clippy::unwrap_used)]

use llama::attention::{Layout, PromptGroup};
use llama::{Llama, LlamaConfig, Pass, Recompute};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use torch_ext::{Allocations, OpError, take_grad};

const CONTEXT: i64 = 32_768;
const WIDEST: i64 = 64;

/// A model with random weights that all ask for a gradient.
fn model(layers: usize, window: Option<i64>) -> Llama {
    torch_ext::init();
    tch::manual_seed(3);
    let raw = json!({"architectures": ["MistralForCausalLM"], "hidden_size": 32, "intermediate_size": WIDEST,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": WIDEST,
        "max_position_embeddings": CONTEXT, "sliding_window": window, "tie_word_embeddings": true});
    let config = LlamaConfig::from_json(raw.as_object().unwrap().clone()).unwrap();
    let weight = |_: &str, shape: &[i64]| {
        let weight = Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.3;
        Ok::<_, OpError>(weight.set_requires_grad(true))
    };
    Llama::build(config, weight).unwrap()
}

fn ids(tokens: i64) -> Tensor {
    (Tensor::arange(tokens, (Kind::Int64, Device::Cpu)) * 37).remainder(WIDEST).unsqueeze(0)
}

/// Loss and gradients of a row, in the order of the parameters.
fn step(model: &Llama, mut layout: Layout, tokens: i64, recompute: bool) -> (f64, Vec<Tensor>) {
    let (ids, positions) = (ids(tokens), layout.positions(tokens));
    let embedded = model.embed(&ids).unwrap();
    let labels = ids.squeeze_dim(0);
    let loss = |hidden: &Tensor| {
        let sum = torch_ext::linear_cross_entropy_sum(&hidden.squeeze_dim(0), model.head(), &labels, None, Some(4096))?;
        Ok::<_, OpError>(sum / tokens as f64)
    };
    let value = if recompute {
        let pass = Recompute::forward(model, embedded, &positions, &mut layout, Pass::fused()).unwrap();
        pass.backward(&mut layout, loss).unwrap()
    } else {
        let value = loss(&model.hidden_states_of(embedded, &positions, &mut layout, Pass::fused()).unwrap()).unwrap();
        value.backward();
        value
    };
    let gradients = model.named_parameters().into_iter().map(|(_, weight)| take_grad(&weight).unwrap().unwrap());
    (f64::try_from(value).unwrap(), gradients.collect())
}

#[test]
fn no_tensor_of_a_step_grows_with_the_square_of_the_row() {
    let whole = [vec![CONTEXT]];
    let groups = [vec![
        PromptGroup { prompt: 9000, responses: vec![4000, 3000] },
        PromptGroup { prompt: 8000, responses: vec![8768] },
    ]];
    for (window, layout) in [
        (None, Layout::Packed(&whole)),
        (Some(2000), Layout::Packed(&whole)),
        (None, Layout::SharedPrompt(&groups)),
        (Some(2000), Layout::SharedPrompt(&groups)),
    ] {
        let model = model(1, window);
        let ((loss, _), taken) = Allocations::of(|| step(&model, layout, CONTEXT, true)).unwrap();
        assert!(loss.is_finite());
        let row = (CONTEXT * WIDEST * 4) as u64;
        // A mask of one byte a pair would be 1.07 GB, 128 times such a row.
        assert!(taken.largest <= row && taken.most <= 12 * row, "window {window:?}: {taken:?}, a row is {row}");
    }
}

/// More tokens than a piece of a feed-forward block, in two rows of documents.
#[test]
fn recomputation_in_pieces_gives_the_gradients_of_the_whole() {
    let tokens = 9001;
    let model = model(2, Some(300));
    let documents = [vec![4000, 1, 700, 4300]];
    let (expected_loss, expected) = step(&model, Layout::Packed(&documents), tokens, false);
    let (loss, found) = step(&model, Layout::Packed(&documents), tokens, true);
    assert!((loss - expected_loss).abs() < 1e-6, "{loss} against {expected_loss}");
    for ((name, _), (found, expected)) in model.named_parameters().iter().zip(found.iter().zip(&expected)) {
        let error = f64::try_from((found - expected).norm() / expected.norm()).unwrap();
        assert!(error < 1e-5, "gradient of {name} off by {error}");
    }
}
