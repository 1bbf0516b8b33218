//! A prompt with several responses in one row: each response gets the same output as in its own row.

use crate::common;

use common::{TINY, distance, fixture, load};
use llama::attention::{Layout, PromptGroup, SharedPrompt, shared_positions};
use llama::{Llama, Pass};
use tch::{Device, Kind, Tensor};

const PROMPT: [i64; 7] = [3, 14, 15, 92, 65, 35, 89];
const RESPONSES: [&[i64]; 3] = [&[79, 32, 38, 46, 26], &[43], &[38, 32, 79, 50, 28, 84, 19, 71, 69]];
const LONE: [i64; 4] = [9, 8, 7, 6];

/// A row with the group, an independent document, and three tokens of padding.
fn row() -> (Tensor, Vec<Vec<PromptGroup>>) {
    let mut ids = PROMPT.to_vec();
    ids.extend(RESPONSES.concat());
    ids.extend(LONE);
    ids.extend([1, 1, 1]);
    let shared = PromptGroup { prompt: 7, responses: RESPONSES.iter().map(|response| response.len() as i64).collect() };
    let lone = PromptGroup { prompt: 4, responses: vec![] };
    (Tensor::from_slice(&ids).unsqueeze(0), vec![vec![shared, lone]])
}

/// Hidden states of a document in its own row, `[tokens, hidden]`.
fn alone(model: &Llama, ids: &[i64]) -> Tensor {
    let input = Tensor::from_slice(ids).unsqueeze(0);
    let positions = Tensor::arange(ids.len() as i64, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    model.hidden_states(&input, &positions, &mut llama::attention::Causal, Pass::default()).unwrap().squeeze_dim(0)
}

fn shared(model: &Llama) -> Tensor {
    let (input, groups) = row();
    let positions = shared_positions(&groups, input.size()[1]);
    let mut attend = SharedPrompt { groups: &groups };
    model.hidden_states(&input, &positions, &mut attend, Pass::default()).unwrap().squeeze_dim(0)
}

fn compare(name: &str, model: &Llama) {
    let _no_grad = tch::no_grad_guard();
    let found = shared(model);
    assert!(distance(&found.narrow(0, 0, 7), &alone(model, &PROMPT)) < 1e-4, "{name}: the prompt");
    let mut start = 7;
    for response in RESPONSES {
        let whole = alone(model, &[&PROMPT, response].concat());
        let length = response.len() as i64;
        let error = distance(&found.narrow(0, start, length), &whole.narrow(0, 7, length));
        assert!(error < 1e-4, "{name}: the response at {start} is off by {error}");
        start += length;
    }
    assert!(distance(&found.narrow(0, start, 4), &alone(model, &LONE)) < 1e-4, "{name}: the other document");
}

#[test]
fn responses_equal_rows_of_their_own() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        compare(name, &load(&folder));
    }
}

#[test]
fn under_a_sliding_window_too() {
    let folder = fixture("tiny/mistral");
    let copy = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    std::fs::write(copy.path().join("config.json"), text.replace("\"sliding_window\": null", "\"sliding_window\": 4"))
        .unwrap();
    std::fs::copy(folder.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
    let model = load(copy.path());
    assert_eq!(model.config().sliding_window, [Some(4); 3]);
    compare("a window of 4", &model);
}

/// The gradients of a fixed combination of the hidden states of all responses.
fn gradients(model: &Llama, hidden: impl Fn(&Llama) -> Vec<Tensor>) -> Vec<(String, Tensor)> {
    let mut parameters = model.named_parameters();
    parameters.retain(|(name, _)| name != "lm_head.weight");
    for (_, parameter) in &parameters {
        let mut grad = parameter.set_requires_grad(true).grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
    }
    let terms = hidden(model).into_iter().enumerate().map(|(n, x)| {
        let weights = Tensor::arange(x.numel() as i64, (Kind::Float, Device::Cpu)).reshape(x.size());
        ((weights * (0.1 * (n + 1) as f64)).sin() * x).sum(Kind::Float)
    });
    terms.fold(Tensor::from(0.0_f32), |sum, term| sum + term).backward();
    parameters.iter().map(|(name, parameter)| (name.clone(), parameter.grad().copy())).collect()
}

#[test]
fn gradients_are_the_sum_over_the_rows() {
    let folder = fixture("tiny/llama-gqa");
    let model = load(&folder);
    let packed = gradients(&model, |model| {
        let hidden = shared(model);
        let mut start = 7;
        RESPONSES
            .iter()
            .map(|response| {
                start += response.len() as i64;
                hidden.narrow(0, start - response.len() as i64, response.len() as i64)
            })
            .collect()
    });
    let apart = gradients(&model, |model| {
        let rows = RESPONSES
            .iter()
            .map(|response| alone(model, &[&PROMPT, *response].concat()).narrow(0, 7, response.len() as i64));
        rows.collect()
    });
    for ((name, a), (_, b)) in packed.iter().zip(&apart) {
        let (difference, norm) = (f64::try_from((a - b).norm()).unwrap(), f64::try_from(b.norm()).unwrap());
        assert!(difference <= 1e-4 * norm + 1e-6, "{name}: {difference} of {norm}");
    }
}

#[test]
fn a_layout_counts_what_sees_what() {
    let (_, groups) = row();
    // (query, key) pairs by hand: 7·8/2 for the prompt; 7·5 + 15, 7·1 + 1, 7·9 + 45 for the responses; 4·5/2 for the document.
    assert_eq!(Layout::SharedPrompt(&groups).tokens_and_pairs(), (26, 28 + 50 + 8 + 108 + 10));
    assert_eq!(Layout::Packed(&[vec![7, 4], vec![2]]).tokens_and_pairs(), (13, 28 + 10 + 3));
    let positions: Vec<i64> = Vec::try_from(shared_positions(&groups, 29).flatten(0, -1)).unwrap();
    let mut expected: Vec<i64> = (0..7).chain(7..12).chain(7..8).chain(7..16).chain(0..4).collect();
    expected.extend([0, 0, 0]);
    assert_eq!(positions, expected);
}
