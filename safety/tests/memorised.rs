//! `herd safety memorisation`: a small model that is trained many epochs on a text is found out, a fresh one is not.

use std::fs;
use std::path::Path;

use llama::{ModelFolder, NewModel};
use safety::memorised::continuations;
use safety_tuning::memorisation::Index;
use safety_tuning::memorisation::figures::{Figures, draw};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::herd_safety;

/// Tokens of a run, and of the rows that the model is trained on.
const N: usize = 16;
const ROW: i64 = 48;

/// A text of bytes without much repetition: what a model can only know by heart.
fn text() -> String {
    let words = [
        "oak", "river", "lamp", "seven", "quiet", "stone", "under", "glass", "wolf", "paper", "blue", "market", "salt",
        "engine",
    ];
    (0..90u64).map(|n| format!("{} ", words[(n * n * 7 + n * 3 + n / 5) as usize % words.len()])).collect()
}

/// Adam (Kingma and Ba 2015) on all rows of the text at once.
fn train(model: &llama::Llama, tokens: &[i64], epochs: i32) -> f64 {
    let rows = tokens.len() as i64 / ROW;
    let ids = Tensor::from_slice(&tokens[..(rows * ROW) as usize]).view([rows, ROW]);
    // Half a row further on, so that no place of the text is at the start of every row that has it.
    let shifted =
        Tensor::from_slice(&tokens[(ROW / 2) as usize..((rows - 1) * ROW + ROW / 2) as usize]).view([rows - 1, ROW]);
    let ids = Tensor::cat(&[ids, shifted], 0);
    let parameters: Vec<Tensor> =
        model.named_parameters().into_iter().map(|(_, parameter)| parameter.set_requires_grad(true)).collect();
    let mut moments: Vec<(Tensor, Tensor)> = parameters.iter().map(|p| (p.zeros_like(), p.zeros_like())).collect();
    let mut last = f64::NAN;
    for step in 1..=epochs {
        let logits = model.forward(&ids).unwrap().narrow(1, 0, ROW - 1).flatten(0, 1);
        let loss = logits.cross_entropy_for_logits(&ids.narrow(1, 1, ROW - 1).flatten(0, 1));
        loss.backward();
        last = loss.double_value(&[]);
        tch::no_grad(|| {
            for (parameter, (mean, square)) in parameters.iter().zip(&mut moments) {
                let gradient = parameter.grad();
                *mean = &*mean * 0.9 + &gradient * 0.1;
                *square = &*square * 0.99 + &gradient * &gradient * 0.01;
                let (mean, square) = (&*mean / (1.0 - 0.9f64.powi(step)), &*square / (1.0 - 0.99f64.powi(step)));
                let mut parameter = parameter.shallow_clone();
                let _ = parameter.g_sub_(&(mean / (square.sqrt() + 1e-8) * 5e-3));
                let _ = parameter.grad().zero_();
            }
        });
    }
    parameters.into_iter().for_each(|parameter| drop(parameter.set_requires_grad(false)));
    last
}

#[test]
fn a_parrot_is_found_out_and_a_fresh_model_is_at_zero() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    torch_ext::init();
    NewModel { hidden: 64, layers: 2, context: 64, seed: 5 }.write(Path::new(&at("model"))).unwrap();
    fs::write(at("corpus.jsonl"), format!("{}\n{}\n", json!({"text": text()}), json!({"text": "short"}))).unwrap();
    let n = N.to_string();
    herd_safety(&[
        "memorisation",
        "index",
        "--input",
        &at("corpus.jsonl"),
        "--tokenizer",
        &at("model"),
        "--ngram",
        &n,
        "--output",
        &at("index"),
    ])
    .unwrap();
    let index = Index::open(Path::new(&at("index"))).unwrap();
    assert_eq!((index.head().documents, index.head().short), (2, 1));

    // The fresh model, by the command.
    let probe = |output: &str, more: &[&str]| {
        let words = [
            "memorisation",
            "probe",
            "--model",
            &at("model"),
            "--index",
            &at("index"),
            "--count",
            "60",
            "--dtype",
            "f32",
        ];
        herd_safety(&[words.as_slice(), &["--output", output], more].concat())
    };
    probe(&at("fresh"), &[]).unwrap();
    let fresh: Value = serde_json::from_slice(&fs::read(at("fresh/memorisation.json")).unwrap()).unwrap();
    assert_eq!((&fresh["figures"]["exact"]["value"], &fresh["figures"]["any"]["value"]), (&json!(0.0), &json!(0.0)));
    assert!(!fs::read_to_string(at("fresh/report.html")).unwrap().contains("oak"), "the report holds the text");

    // The same model after many epochs on the text.
    let folder = ModelFolder::load(Path::new(&at("model")), Some(Kind::Float), Device::Cpu).unwrap();
    let tokens: Vec<i64> = folder.tokenizer.encode_plain(&text()).unwrap().into_iter().map(i64::from).collect();
    let loss = train(&folder.model, &tokens, 160);
    let windows = draw(&index, 60, N, 0).unwrap();
    let figures = Figures::of(&index, &windows, &continuations(&folder, &windows, 8).unwrap()).unwrap();
    assert!(figures.exact.value > 0.5, "loss {loss}: {}", figures.text());
    assert!(figures.any.unwrap().value >= figures.exact.value);

    let error = probe(&at("long"), &["--max-new-tokens", "60"]).unwrap_err().to_string();
    assert!(error.contains("the model's context is 64"), "{error}");
    fs::write(at("model/tokenizer.json"), fs::read_to_string(at("model/tokenizer.json")).unwrap() + " ").unwrap();
    let error = probe(&at("other"), &[]).unwrap_err().to_string();
    assert!(error.contains("another tokenizer"), "{error}");
}
