//! A classification head: saving and loading, and scores that depend only on the hidden state of the last token.

use crate::common;

use common::{TINY, fixture};
use llama::{Llama, SequenceClassifier};
use tch::{Device, Kind, Tensor};

fn classifier(folder: &std::path::Path) -> SequenceClassifier {
    let model = common::load(folder);
    let hidden = model.config().hidden_size;
    let score = (Tensor::arange(hidden, (Kind::Float, Device::Cpu)) * 0.7).sin().unsqueeze(0);
    SequenceClassifier { model, score }
}

#[test]
fn the_head_reads_hidden_states_and_the_folder_comes_back_whole() {
    for name in TINY {
        let folder = fixture(&format!("tiny/{name}"));
        let _no_grad = tch::no_grad_guard();
        let made = classifier(&folder);
        let saved = tempfile::tempdir().unwrap();
        made.save(saved.path(), Kind::Float, 0).unwrap();
        let again = SequenceClassifier::load(saved.path(), None, Device::Cpu).unwrap();
        for ((name, a), (other, b)) in made.named_parameters().iter().zip(&again.named_parameters()) {
            assert_eq!(name, other);
            assert!(a.equal(b), "{name}");
        }
        // The language model's own hidden states times the single row of the head.
        let ids = Tensor::from_slice(&[5_i64, 6, 7, 8]).unsqueeze(0);
        let positions = Tensor::arange(4, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let states = |model: &Llama| {
            model.hidden_states(&ids, &positions, &mut llama::attention::Causal, llama::Pass::default()).unwrap()
        };
        let expected =
            (states(&common::load(&folder)) * &made.score).sum_dim_intlist([-1].as_slice(), false, Kind::Float);
        let found = again.logits(&states(&again.model)).unwrap().squeeze_dim(-1);
        assert!(common::distance(&found, &expected) < 1e-5, "{name}");
        // Neither kind of folder loads as the other.
        let error = SequenceClassifier::load(&folder, None, Device::Cpu).err().unwrap().to_string();
        assert!(error.contains("score.weight") || error.contains("lm_head.weight"), "{error}");
        assert!(Llama::load(saved.path(), None, Device::Cpu).is_err());
    }
}
