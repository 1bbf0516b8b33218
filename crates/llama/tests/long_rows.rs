//! Long rows: no tensor of a training step grows with the square of the row length. Feed-forward blocks in pieces, recomputed
//! layers and given positions do not change the results.

use llama::attention::{Attend, LayerContext, Layout, PromptGroup};
use llama::{Llama, LlamaConfig, Pass, Recompute};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use torch_ext::{Allocations, OpError, QuerySegment, take_grad};

const CONTEXT: i64 = 32_768;
const WIDEST: i64 = 64;

/// A model with random weights that all require a gradient.
fn model(layers: usize, window: Option<i64>) -> Llama {
    model_of(Kind::Float, layers, window)
}

fn model_of(kind: Kind, layers: usize, window: Option<i64>) -> Llama {
    torch_ext::init();
    tch::manual_seed(3);
    let raw = json!({"architectures": ["MistralForCausalLM"], "hidden_size": 32, "intermediate_size": WIDEST,
        "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": WIDEST,
        "max_position_embeddings": CONTEXT, "sliding_window": window, "tie_word_embeddings": true});
    let config = LlamaConfig::from_json(raw.as_object().unwrap().clone()).unwrap();
    let weight = |_: &str, shape: &[i64]| {
        let weight = (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.3).to_kind(kind);
        Ok::<_, OpError>(weight.set_requires_grad(true))
    };
    Llama::build(config, weight).unwrap()
}

fn ids(tokens: i64) -> Tensor {
    (Tensor::arange(tokens, (Kind::Int64, Device::Cpu)) * 37).remainder(WIDEST).unsqueeze(0)
}

/// Loss and gradients of a row, the gradients in the order of the parameters. The first `recompute` layers are recomputed.
fn step(model: &Llama, layout: Layout, tokens: i64, recompute: usize) -> (f64, Vec<Tensor>) {
    step_on(model, layout, &ids(tokens), recompute)
}

fn step_on(model: &Llama, mut layout: Layout, ids: &Tensor, recompute: usize) -> (f64, Vec<Tensor>) {
    let tokens = ids.size()[1];
    let positions = layout.positions(tokens);
    let embedded = model.embed(ids).unwrap();
    let labels = ids.squeeze_dim(0);
    let loss = |hidden: &Tensor| {
        let sum = {
            let (hidden, head) = (hidden.squeeze_dim(0), model.head());
            torch_ext::linear_cross_entropy_sum(&hidden, head.weight, &labels, None, Some(4096), head.on_gpu)?
        };
        Ok::<_, OpError>(sum / 1e4)
    };
    let value = if recompute > 0 {
        let pass =
            Recompute::forward_first(recompute, model, embedded, &positions, &mut layout, Pass::fused()).unwrap();
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
        let ((loss, _), taken) = Allocations::of(|| step(&model, layout, CONTEXT, usize::MAX)).unwrap();
        assert!(loss.is_finite());
        let row = (CONTEXT * WIDEST * 4) as u64;
        // A mask of one byte per pair would take 1.07 GB, 128 times as much as such a row.
        assert!(taken.largest <= row && taken.most <= 12 * row, "window {window:?}: {taken:?}, a row is {row}");
    }
}

/// A row with more tokens than a feed-forward piece gives the summed loss and gradients of separate shorter rows.
#[test]
fn feed_forward_blocks_in_pieces_change_nothing() {
    let model = model(2, Some(300));
    let texts = [vec![4000, 1], vec![700, 3300], vec![1000]];
    let tokens: i64 = texts.iter().flatten().sum();
    let (loss, found) = step(&model, Layout::Packed(&[texts.concat()]), tokens, 0);
    let (mut expected_loss, mut expected, mut start) = (0.0, Vec::<Tensor>::new(), 0);
    for row in texts {
        let length: i64 = row.iter().sum();
        let (own, gradients) = step_on(&model, Layout::Packed(&[row]), &ids(tokens).narrow(1, start, length), 0);
        expected_loss += own;
        expected = match expected.len() {
            0 => gradients,
            _ => expected.iter().zip(&gradients).map(|(sum, more)| sum + more).collect(),
        };
        start += length;
    }
    assert!((loss / expected_loss - 1.0).abs() < 1e-6, "{loss} against {expected_loss}");
    for ((name, _), (found, expected)) in model.named_parameters().iter().zip(found.iter().zip(&expected)) {
        let error = f64::try_from((found - expected).norm() / expected.norm()).unwrap();
        assert!(error < 1e-5, "gradient of {name} off by {error}");
    }
}

/// Recomputes some layers or all, in rows shorter and longer than a feed-forward piece, in float32 and bfloat16.
#[test]
fn recomputation_changes_no_bit() {
    for (kind, tokens) in [(Kind::Float, 9001), (Kind::Float, 700), (Kind::BFloat16, 5000), (Kind::BFloat16, 300)] {
        let model = model_of(kind, 3, Some(300));
        let documents = [vec![tokens / 2, 1, tokens - tokens / 2 - 1]];
        let (expected_loss, expected) = step(&model, Layout::Packed(&documents), tokens, 0);
        for layers in [1, 2, 3, usize::MAX] {
            let (loss, found) = step(&model, Layout::Packed(&documents), tokens, layers);
            assert!(loss == expected_loss, "{kind:?}, {tokens} tokens, {layers} layers: {loss}, not {expected_loss}");
            for ((name, _), (found, expected)) in model.named_parameters().iter().zip(found.iter().zip(&expected)) {
                assert!(found == expected, "{kind:?}, {tokens} tokens, {layers} layers: gradient of {name}");
            }
        }
    }
}

/// Position-skipping training: tokens at the positions of a longer row get the same output as in that row, if the tokens
/// between are hidden from them.
#[test]
fn given_positions_are_those_of_a_longer_row() {
    struct Hidden([i64; 3]);
    impl Attend for Hidden {
        fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
            let [before, between, behind] = self.0;
            let segments = [
                QuerySegment::text(0, before),
                QuerySegment::text(before, between),
                QuerySegment::behind(before + between, behind, (0, before)),
            ];
            let flat = |x: &Tensor| x.flatten(0, 1);
            Ok(torch_ext::range_attention(&flat(q), &flat(k), &flat(v), &segments, context.window)?.view_as(q))
        }
    }
    let model = model(2, None);
    let [before, between, behind] = [70, 5000, 90];
    let long = before + between + behind;
    let arange = Tensor::arange(long, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let seen = |x: &Tensor| Tensor::cat(&[x.narrow(1, 0, before), x.narrow(1, before + between, behind)], 1);
    let ids = ids(long);
    let whole = model.hidden_states(&ids, &arange, &mut Hidden([before, between, behind]), Pass::fused()).unwrap();
    let expected = model.logits(&seen(&whole)).unwrap();
    let (documents, positions) = ([vec![before + behind]], [(0..before).chain(before + between..long).collect()]);
    let mut layout = Layout::PackedAt { documents: &documents, positions: &positions };
    assert_eq!(layout.tokens_and_pairs().0, before + behind);
    let at = layout.positions(before + behind);
    assert!(at == seen(&arange));
    let logits = |positions: &Tensor, layout: &mut Layout| {
        model.logits(&model.hidden_states(&seen(&ids), positions, layout, Pass::fused()).unwrap()).unwrap()
    };
    let apart = |found: &Tensor| f64::try_from((found - &expected).abs().max() / expected.abs().max()).unwrap();
    assert!(apart(&logits(&at, &mut layout)) < 1e-5);
    // With the positions of the short row, the output differs.
    let near = Layout::Packed(&documents).positions(before + behind);
    assert!(apart(&logits(&near, &mut layout)) > 1e-3);
}
