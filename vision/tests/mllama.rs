//! The tiny Mllama against transformers (`tests/fixtures/vision/make_mllama.py`), and the promise about text.

use std::collections::HashMap;
use std::path::Path;

use llama::attention::{Causal, Packed, packed_positions};
use llama::{Engine, EngineOptions, Kernels, Llama, Next, Operators, Pass, Request, SamplingParams};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use test_support::fixture;
use vision::{Mllama, Pixels, Sight, VisionError};
use weights::{Checkpoint, DType, SafetensorsWriter};

const IMAGE: i64 = 256;

/// A tensor of the reference file.
fn reference(name: &str) -> Tensor {
    let checkpoint = Checkpoint::open(fixture("vision/mllama/reference.safetensors")).unwrap();
    let view = checkpoint.tensor(name).unwrap();
    let kind = if view.dtype == DType::I64 { Kind::Int64 } else { Kind::Float };
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data, &shape, kind)
}

fn load(kind: Kind) -> Mllama {
    torch_ext::init();
    Mllama::load(&fixture("vision/mllama"), Some(kind), Device::Cpu).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max().double_value(&[])
}

/// The same without what stands at padding, which transformers masks as keys and herd does not compute for anybody.
fn distance_of_tokens(a: &Tensor, b: &Tensor) -> f64 {
    let keep = reference("attention_mask").eq(1).flatten(0, 1).nonzero().squeeze_dim(1);
    assert_eq!(keep.size(), [25]);
    let tokens = |logits: &Tensor| logits.flatten(0, 1).index_select(0, &keep);
    distance(&tokens(a), &tokens(b))
}

fn numbers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// The first `count` of the fixture's four pictures: of 1, 2 and 2 tiles, and an absent one.
fn pixels(count: i64) -> Pixels {
    Pixels {
        values: reference("pixel_values").flatten(0, 1).narrow(0, 0, count),
        ratio_ids: reference("aspect_ratio_ids").flatten(0, 1).narrow(0, 0, count),
        tiles: [1, 2, 2, 1][..count as usize].to_vec(),
    }
}

fn positions(rows: i64, seq: i64) -> Tensor {
    Tensor::arange(seq, (Kind::Int64, Device::Cpu)).expand([rows, seq], true)
}

/// Logits of rows that each hold one document, whose pictures are the fixture's first ones.
fn logits(model: &Mllama, ids: &Tensor, operators: Operators) -> Tensor {
    let (rows, seq) = ids.size2().unwrap();
    let all = numbers(ids);
    let count = all.iter().filter(|id| **id == IMAGE).count() as i64;
    let states = model.states(&pixels(count)).unwrap();
    let sight = Sight::of_rows(&all, seq as usize, IMAGE, states).unwrap();
    let pass = Pass { operators, dropout: None };
    let hidden = model.hidden_states(ids, &positions(rows, seq), &mut Causal, pass, Some(&sight)).unwrap();
    model.text().logits(&hidden).unwrap()
}

#[test]
fn features_logits_and_loss_equal_transformers() {
    let model = load(Kind::Float);
    let _no_grad = tch::no_grad_guard();
    let features = model.tower().forward(&pixels(4)).unwrap();
    let error = distance(&features, &reference("vision").flatten(0, 1));
    assert!(error < 1e-5, "vision {error}");
    let found = logits(&model, &reference("input_ids"), Operators::Plain);
    let error = distance_of_tokens(&found, &reference("logits"));
    assert!(error < 1e-4, "logits {error}");
    // transformers' own order of the mask lets tokens before a picture see it: the two differ there.
    assert!(distance_of_tokens(&found, &reference("logits_transformers")) > 0.1);
    let first = logits(&model, &reference("image_first_ids"), Operators::Plain);
    let error = distance_of_tokens(&first, &reference("image_first_logits"));
    assert!(error < 1e-4, "image first {error}");
    let fused = logits(&model, &reference("input_ids"), Operators::Fused);
    let error = distance_of_tokens(&fused, &reference("logits"));
    assert!(error < 1e-4, "operators of training {error}");
}

#[test]
fn loss_and_gradients_equal_transformers() {
    for operators in [Operators::Plain, Operators::Fused] {
        let model = load(Kind::Float);
        let parameters: HashMap<String, Tensor> = model.named_parameters().into_iter().collect();
        for tensor in parameters.values() {
            let _ = tensor.set_requires_grad(true);
        }
        let logits = logits(&model, &reference("input_ids"), operators);
        let seq = logits.size()[1];
        let shifted = logits.narrow(1, 0, seq - 1).flatten(0, 1);
        let labels = reference("labels").narrow(1, 1, seq - 1).flatten(0, 1);
        let loss = shifted.cross_entropy_loss::<Tensor>(&labels, None, tch::Reduction::Mean, -100, 0.0);
        let (found, expected) = (loss.double_value(&[]), reference("loss").double_value(&[0]));
        assert!((found - expected).abs() < 1e-5 * expected, "loss {found} against {expected}");
        loss.backward();
        let checkpoint = Checkpoint::open(fixture("vision/mllama/reference.safetensors")).unwrap();
        let names: Vec<&str> = checkpoint.names().filter_map(|name| name.strip_prefix("grad.model.")).collect();
        assert_eq!(names.len(), 11);
        for name in names {
            // The fixture has the names of transformers' modules.
            let on_disk = name.strip_prefix("language_model.").map(|rest| format!("language_model.model.{rest}"));
            let on_disk = on_disk.unwrap_or_else(|| name.to_owned());
            let expected = reference(&format!("grad.model.{name}"));
            let error = ((parameters[&on_disk].grad() - &expected).norm() / expected.norm()).double_value(&[]);
            assert!(error < 1e-4, "{operators:?}: gradient of {on_disk} off by {error}");
        }
    }
}

#[test]
fn greedy_tokens_equal_transformers() {
    let model = load(Kind::Float);
    let _no_grad = tch::no_grad_guard();
    let expected = numbers(&reference("greedy_row0"));
    let mut ids = numbers(&reference("input_ids").get(0));
    while ids.len() < expected.len() {
        let logits = logits(&model, &Tensor::from_slice(&ids).unsqueeze(0), Operators::Plain);
        ids.push(logits.get(0).get(-1).argmax(0, false).int64_value(&[]));
    }
    assert_eq!(ids, expected);
}

/// The folder of the fixture's language model alone, made from its files without this crate.
fn language_model_alone(folder: &Path) {
    let source = fixture("vision/mllama");
    let config: Value = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    let mut text = config["text_config"].clone();
    text["architectures"] = json!(["LlamaForCausalLM"]);
    text["model_type"] = json!("llama");
    text["num_hidden_layers"] = json!(3);
    std::fs::write(folder.join("config.json"), text.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&source).unwrap();
    let mut tensors = Vec::new();
    for name in checkpoint.names() {
        let Some(rest) = name.strip_prefix("language_model.") else { continue };
        let view = checkpoint.tensor(name).unwrap();
        let (mut shape, mut data) = (view.shape.to_vec(), view.data);
        let mut alone = rest.to_owned();
        if let Some(rest) = rest.strip_prefix("model.layers.") {
            let (number, rest) = rest.split_once('.').unwrap();
            let Some(number) = [0, 2, 4].iter().position(|own| own.to_string() == number) else { continue };
            alone = format!("model.layers.{number}.{rest}");
        }
        if alone == "model.embed_tokens.weight" {
            shape[0] -= 8;
            data = &data[..shape[0] * shape[1] * 4];
        }
        tensors.push((alone, shape, data));
    }
    let declared = tensors.iter().map(|(name, shape, _)| (name.clone(), DType::F32, shape.clone())).collect();
    let mut writer = SafetensorsWriter::create(folder, declared).unwrap();
    for (name, _, data) in &tensors {
        writer.write(name, data).unwrap();
    }
    writer.finish().unwrap();
}

/// Whether two tensors have the same bits.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.kind() == b.kind() && a.size() == b.size() && a.equal(b)
}

#[test]
fn text_has_the_bits_of_the_language_model_alone() {
    let folder = tempfile::tempdir().unwrap();
    language_model_alone(folder.path());
    let _no_grad = tch::no_grad_guard();
    for (kind, operators) in [
        (Kind::Float, Operators::Plain),
        (Kind::Float, Operators::Fused),
        (Kind::BFloat16, Operators::Plain),
        (Kind::BFloat16, Operators::Fused),
    ] {
        let model = load(kind);
        let alone = Llama::load(folder.path(), Some(kind), Device::Cpu).unwrap();
        let pass = Pass { operators, dropout: None };
        let of_alone = |ids: &Tensor| {
            let (rows, seq) = ids.size2().unwrap();
            let hidden = alone.hidden_states(ids, &positions(rows, seq), &mut Causal, pass).unwrap();
            alone.logits(&hidden).unwrap()
        };
        // Text only: the model itself, without a picture, and with pictures that no token sees.
        let text = reference("text_only_ids");
        let expected = of_alone(&text);
        let hidden = model.hidden_states(&text, &positions(2, 14), &mut Causal, pass, None).unwrap();
        assert!(same_bits(&model.text().logits(&hidden).unwrap(), &expected), "{kind:?} {operators:?}");
        if kind == Kind::Float {
            assert!(distance_of_tokens(&expected, &reference("text_only_logits")) < 1e-4);
        }

        // Sixteen rows, of which every third has a picture at token 9: rows without one, and tokens before it.
        let mut ids = Vec::new();
        for row in 0..16 {
            ids.extend((0..14).map(|at| if row % 3 == 1 && at == 9 { IMAGE } else { 3 + (row * 31 + at * 17) % 250 }));
        }
        let seeing = Tensor::from_slice(&ids).view([16, 14]);
        let count = ids.iter().filter(|id| **id == IMAGE).count();
        let three = model.states(&pixels(3)).unwrap();
        let places = (0..count).map(|i| three.places[i % 3]).collect();
        let starts = [0, three.places[0], three.places[0] + three.places[1]];
        let pieces: Vec<Tensor> =
            (0..count).map(|i| three.values.narrow(0, starts[i % 3], three.places[i % 3])).collect();
        let states = vision::States { values: Tensor::cat(&pieces, 0), places };
        let sight = Sight::of_rows(&ids, 14, IMAGE, states).unwrap();
        let hidden = model.hidden_states(&seeing, &positions(16, 14), &mut Causal, pass, Some(&sight)).unwrap();
        let found = model.text().logits(&hidden).unwrap();
        let expected = of_alone(&seeing.masked_fill(&seeing.eq(IMAGE), 5));
        for row in 0..16 {
            let unseeing = if row % 3 == 1 { 9 } else { 14 };
            let part = |logits: &Tensor| logits.get(row).narrow(0, 0, unseeing);
            assert!(same_bits(&part(&found), &part(&expected)), "{kind:?} {operators:?}: row {row}");
            if row % 3 == 1 {
                // The picture is seen, so the test could fail.
                assert!(distance(&found.get(row).get(10), &expected.get(row).get(10)) > 1e-2, "row {row}");
            }
        }
    }
}

#[test]
fn a_packed_row_gives_what_its_documents_give_apart() {
    let model = load(Kind::Float);
    let _no_grad = tch::no_grad_guard();
    let ids = reference("input_ids");
    // The second row's document without its padding, then a text, then the first row's document.
    let (a, b) = (ids.get(1).narrow(0, 0, 11), ids.get(0));
    let text = Tensor::from_slice(&[7_i64, 8, 9]);
    let row = Tensor::cat(&[&a, &text, &b, &Tensor::zeros([4], (Kind::Int64, Device::Cpu))], 0);
    let three = pixels(3);
    let order = Tensor::from_slice(&[2_i64, 0, 1]);
    let moved = Pixels {
        values: three.values.index_select(0, &order),
        ratio_ids: three.ratio_ids.index_select(0, &order),
        tiles: vec![2, 1, 2],
    };
    let documents = [vec![11, 3, 14]];
    let states = model.states(&moved).unwrap();
    let sight = Sight::of_documents(&numbers(&row), 32, &documents, IMAGE, states).unwrap();
    let input = row.unsqueeze(0);
    let mut attend = Packed { documents: &documents };
    let positions = packed_positions(&documents, 32);
    let hidden = model.hidden_states(&input, &positions, &mut attend, Pass::default(), Some(&sight)).unwrap();
    let packed = model.text().logits(&hidden).unwrap().get(0);
    let apart = reference("logits");
    assert!(distance(&packed.narrow(0, 14, 14), &apart.get(0)) < 1e-4);
    assert!(distance(&packed.narrow(0, 0, 11), &apart.get(1).narrow(0, 0, 11)) < 1e-4);
    // The text between them sees neither picture.
    let alone = model.text().forward_packed(&input.masked_fill(&input.eq(IMAGE), 5), &documents).unwrap();
    assert!(same_bits(&packed.narrow(0, 11, 3), &alone.get(0).narrow(0, 11, 3)));
}

#[test]
fn the_engine_of_the_text_is_that_of_the_language_model() {
    let folder = tempfile::tempdir().unwrap();
    language_model_alone(folder.path());
    for kind in [Kind::Float, Kind::BFloat16] {
        let alone = Llama::load(folder.path(), Some(kind), Device::Cpu).unwrap();
        let generate = |model: &Llama, slots: usize| {
            let requests: Vec<Request> = (0..16)
                .map(|i| Request {
                    prompt: (0..5 + i % 3).map(|at| 3 + (i * 29 + at * 13) % 250).collect(),
                    sampling: SamplingParams::greedy(),
                    seed: 0,
                    max_new_tokens: 8,
                    top_logprobs: 0,
                })
                .collect();
            let options = EngineOptions { slots, kernels: Kernels::Auto, ..EngineOptions::default() };
            let mut chosen = vec![Vec::new(); requests.len()];
            let mut engine = Engine::with_options(model, options).unwrap();
            let each = |index: usize, choice: llama::Choice| {
                chosen[index].push((choice.id, choice.logprob.to_bits()));
                Next::Continue
            };
            engine.generate(&requests, each).unwrap();
            chosen
        };
        let model = load(kind);
        for slots in [1, 16] {
            assert_eq!(generate(model.text(), slots), generate(&alone, slots), "{kind:?} with {slots} slots");
        }
    }
}

#[test]
fn a_written_folder_has_the_tensors_that_were_read() {
    let source = fixture("vision/mllama");
    let folder = tempfile::tempdir().unwrap();
    load(Kind::Float).save(folder.path(), None).unwrap();
    let (read, written) = (Checkpoint::open(&source).unwrap(), Checkpoint::open(folder.path()).unwrap());
    assert_eq!(read.names().collect::<Vec<_>>(), written.names().collect::<Vec<_>>());
    for name in read.names() {
        let (a, b) = (read.tensor(name).unwrap(), written.tensor(name).unwrap());
        assert_eq!((a.dtype, a.shape, a.data), (b.dtype, b.shape, b.data), "{name}");
    }
    let json = |folder: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    assert_eq!(json(folder.path()), json(&source));
}

/// `HERD_PEER_PYTHON=.../bin/python cargo test -p vision -- --ignored transformers_computes`
#[test]
#[ignore = "needs HERD_PEER_PYTHON, a Python with transformers"]
fn transformers_computes_the_same_bits_from_a_written_folder() {
    const SCRIPT: &str = r#"
import sys, torch
from safetensors.torch import load_file
from transformers import MllamaForConditionalGeneration
read, written = sys.argv[1:]
fixture = load_file(f"{read}/reference.safetensors")
def logits(folder):
    model = MllamaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    names = ["pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"]
    with torch.no_grad():
        return model(input_ids=fixture["image_first_ids"], cross_attention_mask=fixture["image_first_cross_attention_mask"],
                     attention_mask=fixture["attention_mask"], **{name: fixture[name] for name in names}).logits
a, b = logits(read), logits(written)
assert a.isfinite().all() and torch.equal(a, b), (a - b).abs().max()
print("far", (a - fixture["image_first_logits"]).abs().max().item())
"#;
    let python = std::env::var_os("HERD_PEER_PYTHON").expect("HERD_PEER_PYTHON: a Python with transformers");
    let folder = tempfile::tempdir().unwrap();
    load(Kind::Float).save(folder.path(), None).unwrap();
    let mut command = std::process::Command::new(python);
    let output = command.args(["-c", SCRIPT]).arg(fixture("vision/mllama")).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let far: f64 = text.trim().strip_prefix("far ").unwrap().parse().unwrap();
    assert!(far < 1e-4, "the fixture's logits differ by {far}");
}

/// The fixture with other names and another configuration.
fn changed(folder: &Path, name: impl Fn(&str) -> String, change: impl Fn(&mut Value)) {
    let source = fixture("vision/mllama");
    let mut config: Value = serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&source).unwrap();
    let views: Vec<_> = checkpoint.names().map(|name| checkpoint.tensor(name).unwrap()).collect();
    let declared = views.iter().map(|view| (name(view.name), view.dtype, view.shape.to_vec())).collect();
    let mut writer = SafetensorsWriter::create(folder, declared).unwrap();
    for view in &views {
        writer.write(&name(view.name), view.data).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn names_of_the_second_style_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let second = |name: &str| match (name.strip_prefix("language_model.model."), name.strip_prefix("language_model.")) {
        (Some(rest), _) => format!("model.language_model.{rest}"),
        (_, Some(rest)) => rest.to_owned(),
        _ => format!("model.{name}"),
    };
    changed(folder.path(), second, |_| ());
    let model = Mllama::load(folder.path(), None, Device::Cpu).unwrap();
    for ((name, a), (_, b)) in model.named_parameters().iter().zip(load(Kind::Float).named_parameters()) {
        assert!(same_bits(a, &b), "{name}");
    }
}

#[test]
fn faults_of_a_folder_are_sentences() {
    let same = |name: &str| name.to_owned();
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|c| c["architectures"] = json!(["LlamaForCausalLM"]), "architecture \"LlamaForCausalLM\" has no vision"),
        (
            |c| c["text_config"]["cross_attention_layers"] = json!([3, 1]),
            "text_config.cross_attention_layers is [3, 1]",
        ),
        (|c| c["vision_config"]["vision_output_dim"] = json!(95), "vision_config.vision_output_dim is 95"),
        (|c| c["vision_config"]["hidden_act"] = json!("relu"), "vision_config.hidden_act is \"relu\""),
        (|c| c["image_token_index"] = json!(255), "image_token_index is 255"),
        (|c| c["text_config"]["intermediate_size"] = json!(64), "shape [128, 64], but config.json asks for [64, 64]"),
    ];
    for (change, sentence) in cases {
        let folder = tempfile::tempdir().unwrap();
        changed(folder.path(), same, change);
        let error = Mllama::load(folder.path(), None, Device::Cpu).err().unwrap().to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let other = |name: &str| name.replace("vision_model.class_embedding", "vision_model.class");
    changed(folder.path(), other, |_| ());
    let error = Mllama::load(folder.path(), None, Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("vision_model.class_embedding"), "{error}");
}

#[test]
fn pictures_that_do_not_fit_are_sentences() {
    let model = load(Kind::Float);
    let mut wrong = pixels(1);
    wrong.values = wrong.values.narrow(3, 0, 14);
    let error = model.states(&wrong).err().unwrap().to_string();
    assert!(error.contains("pixels are [1, 4, 3, 14, 28], [1, 4, 3, 28, 28] are expected"), "{error}");
    let states = model.states(&pixels(2)).unwrap();
    let error = Sight::of_rows(&[1, IMAGE, 2], 3, IMAGE, states).err().unwrap();
    assert!(matches!(error, VisionError::Pictures(_)));
    let error = model.embed(&Tensor::from_slice(&[IMAGE + 8]).unsqueeze(0)).unwrap_err().to_string();
    assert!(error.contains("must lie below 264"), "{error}");
}
