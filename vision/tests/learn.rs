//! A tiny model learns colours, and text keeps its bits before and after.

use crate::common::{COLOURS, World};
use clap::Parser;
use llama::attention::Causal;
use llama::{Llama, Operators, Pass, SamplingParams, StopRules};
use pictures::{Limits, Source};
use run::Input;
use tch::{Device, Kind, Tensor};
use vision::describe::{ask, question};
use vision::{Answering, Composed, Sight, eval};

#[derive(Parser)]
struct EvalCli {
    #[command(flatten)]
    args: eval::Args,
}

fn positions(rows: i64, seq: i64) -> Tensor {
    Tensor::arange(seq, (Kind::Int64, Device::Cpu)).expand([rows, seq], true)
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.kind() == b.kind() && a.size() == b.size() && a.equal(b)
}

/// Text alone, text beside pictures and text before a picture have the logits of the language model alone, to the bit.
fn text_keeps_its_bits(folder: &std::path::Path, world: &World, is_trained: bool) {
    let _no_grad = tch::no_grad_guard();
    for (kind, operators) in [
        (Kind::Float, Operators::Plain),
        (Kind::Float, Operators::Fused),
        (Kind::BFloat16, Operators::Plain),
        (Kind::BFloat16, Operators::Fused),
    ] {
        let model = Composed::load(folder, None, Some(kind), Device::Cpu).unwrap();
        let alone = Llama::load(&world.path("model"), Some(kind), Device::Cpu).unwrap();
        let pass = Pass { operators, dropout: None };
        let of_alone = |ids: &Tensor| {
            let (rows, seq) = ids.size2().unwrap();
            let hidden = alone.hidden_states(ids, &positions(rows, seq), &mut Causal, pass).unwrap();
            alone.logits(&hidden).unwrap()
        };
        let seen = |ids: &Tensor, sight: Option<&Sight>| {
            let (rows, seq) = ids.size2().unwrap();
            let hidden = model.hidden_states(ids, &positions(rows, seq), &mut Causal, pass, sight).unwrap();
            model.text.model.logits(&hidden).unwrap()
        };
        for rows in [1, 16] {
            let ids =
                Tensor::from_slice(&(0..rows * 14).map(|at| 3 + at * 17 % 250).collect::<Vec<i64>>()).view([rows, 14]);
            assert!(same_bits(&seen(&ids, None), &of_alone(&ids)), "{kind:?} {operators:?}: {rows} rows of text");
        }
        // Every third row has a picture at token 9.
        let image = i64::from(model.words.image_id);
        let at = |row: i64, at: i64| if row % 3 == 1 && at == 9 { image } else { 3 + (row * 31 + at * 17) % 250 };
        let ids: Vec<i64> = (0..16).flat_map(|row| (0..14).map(move |place| at(row, place))).collect();
        let sources: Vec<Source> =
            (0..5).map(|number| Source::Path(world.path(&format!("pictures/test-{number}.png")))).collect();
        let features = model.look(&sources, &Limits::default()).unwrap();
        let sight = model.sight(&ids, 14, &features).unwrap().unwrap();
        let input = Tensor::from_slice(&ids).view([16, 14]);
        let found = seen(&input, Some(&sight));
        let expected = of_alone(&input.masked_fill(&input.eq(image), 5));
        for row in 0..16 {
            let unseeing = if row % 3 == 1 { 9 } else { 14 };
            let part = |logits: &Tensor| logits.get(row).narrow(0, 0, unseeing);
            assert!(same_bits(&part(&found), &part(&expected)), "{kind:?} {operators:?}: row {row}");
        }
        if is_trained {
            // The pictures are seen, so the test could fail.
            let other = model.look(&sources[1..2], &Limits::default()).unwrap();
            let exchanged = [&other, &other, &other, &other, &other].map(|states| states[0].shallow_clone());
            let other = seen(&input, Some(&model.sight(&ids, 14, &exchanged).unwrap().unwrap()));
            let apart = (found.get(1) - other.get(1)).abs().max().double_value(&[]);
            assert!(apart > 1e-2, "{kind:?}: {apart}");
        } else {
            // Gates at zero: the layers between those of the language model do nothing, whatever is seen.
            let other = model.look(&sources[4..5], &Limits::default()).unwrap();
            let exchanged = [&other, &other, &other, &other, &other].map(|states| states[0].shallow_clone());
            let other = seen(&input, Some(&model.sight(&ids, 14, &exchanged).unwrap().unwrap()));
            assert!(same_bits(&found, &other), "{kind:?}");
        }
    }
}

#[test]
fn colours_are_learnt_and_text_keeps_its_bits() {
    let world = World::new(240, 80);
    let before = Input::model("model", &world.path("model")).unwrap();

    // A step of length 0 leaves the gates at zero.
    world.run("untrained", "--max-steps 1 --learning-rate 0").unwrap();
    text_keeps_its_bits(&world.path("untrained/model"), &world, false);

    let flags = "--epochs 8 --batch-size 16 --learning-rate 3e-3 --micro-batch-tokens 1024 --schedule wsd";
    world.run("trained", flags).unwrap();
    text_keeps_its_bits(&world.path("trained/model"), &world, true);
    assert!(before.same(&Input::model("model", &world.path("model")).unwrap()), "the language model's files changed");
    assert!(!world.path("trained/model/config.json").exists(), "the language model is not written");

    // Half as long: there is nothing to learn but that all colours are equally frequent.
    world.run("blind", &format!("{} --pictures other", flags.replace("--epochs 8", "--epochs 4"))).unwrap();
    let words = |output: &str| {
        let path = |name: &str| world.path(name).display().to_string();
        let (model, blind, data, output) =
            (path("trained/model"), path("blind/model"), path("test.jsonl"), path(output));
        let words = ["eval", "--model", &model, "--blind", &blind, "--data", &data, "--output", &output];
        let words = words.into_iter().chain(["--dtype", "f32", "--device", "cpu", "--threads", "1"]);
        EvalCli::parse_from(words.map(str::to_owned)).args
    };
    eval::run(&words("eval")).unwrap();
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("eval/summary.json")).unwrap()).unwrap();
    let share = |column: &str| summary["rows"][0][column]["value"].as_f64().unwrap();
    println!("{summary}");
    assert!(share("right") >= 0.8, "{summary}");
    assert!(share("blind") <= 0.45 && share("other_picture") <= 0.45, "{summary}");
    assert_eq!((share("no_picture"), share("majority")), (0.0, 0.25), "{summary}");

    // The same by generation, token by token with a cache.
    let model = Composed::load(&world.path("trained/model"), None, Some(Kind::Float), Device::Cpu).unwrap();
    let answering = Answering {
        sampling: SamplingParams::greedy(),
        seed: 0,
        max_new_tokens: 12,
        top_logprobs: 0,
        stops: StopRules { ids: model.text.stop_ids.clone(), strings: vec![] },
    };
    let results = std::fs::read_to_string(world.path("eval/results.jsonl")).unwrap();
    for (number, line) in results.lines().enumerate().take(12) {
        let item: serde_json::Value = serde_json::from_str(line).unwrap();
        let turn = question(&[format!("pictures/test-{number}.png")], "Colour?");
        let answer = ask(&model, &[turn], world.dir.path(), &answering, |_| true).unwrap();
        assert_eq!(answer.text == COLOURS[number % 4].0, item["right"] == true, "{} {item}", answer.text);
    }
}

#[test]
fn the_language_model_beneath_must_be_the_one_that_was_trained_on() {
    let world = World::new(8, 1);
    world.run("run", "--max-steps 1").unwrap();
    let load = || Composed::load(&world.path("run/model"), None, None, Device::Cpu).map(drop).unwrap_err().to_string();
    let config = world.path("model/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n")).unwrap();
    let error = load();
    assert!(error.contains("has other files than those that this adapter was trained on"), "{error}");
    Composed::load(&world.path("run/model"), Some(&world.path("model")), None, Device::Cpu).unwrap();
    std::fs::rename(world.path("model"), world.path("moved")).unwrap();
    assert!(load().contains("is not there: name the right folder with --language-model"), "{}", load());
}
