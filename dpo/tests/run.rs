//! Complete runs: what they learn and write, and what they refuse.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;
use std::io::Read;

use common::World;
use llama::Llama;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn sentence(result: anyhow::Result<()>) -> String {
    format!("{:#}", result.unwrap_err())
}

/// The figures of a run's record.
fn record(world: &World, run: &str) -> Value {
    run::Record::read(&world.path(run)).unwrap().unwrap().stage.figures
}

#[test]
fn a_run_learns_the_preference_and_leaves_what_the_design_says() {
    let world = World::new(80);
    let flags = "--epochs 6 --eval-fraction 0.2 --eval-steps 10";
    world.run("run", flags).unwrap();
    let run = world.path("run");
    let start: Value = serde_json::from_slice(&fs::read(run.join("eval_start.json")).unwrap()).unwrap();
    let end = &record(&world, "run")["report"]["evaluation"];
    let of = |evaluation: &Value, name: &str| evaluation["metrics"][name].as_f64().unwrap();
    // Before the first step, policy and reference are equal except for rounding: no margin, every pair a tie, the
    // loss is ln 2 + 0.2 NLL.
    assert!(of(&start, "rewards/margins").abs() < 1e-6 && of(&start, "kl") < 1e-6, "{start}");
    assert_eq!(of(&start, "rewards/accuracies"), 0.5);
    let expected = std::f64::consts::LN_2 + 0.2 * of(&start, "nll_loss");
    assert!((start["loss"].as_f64().unwrap() - expected).abs() < 1e-5);
    assert!(of(end, "rewards/accuracies") > 0.8, "{end}");
    assert!(of(end, "rewards/margins") > 0.1 && of(end, "kl") > 0.0, "{end}");
    // The NLL term preserves the chosen responses: they become more likely.
    assert!(of(end, "logps/chosen") > of(&start, "logps/chosen") && of(end, "logps/chosen_fell") < 0.2, "{end}");
    let metrics = trainer::metrics::read(&run.join("metrics.jsonl")).unwrap();
    assert!(metrics.iter().all(|m| m.metrics.contains_key("rewards/margins")));
    for file in
        ["config.toml", "report.html", "model/config.json", "model/tokenizer_config.json", "reference/reference.json"]
    {
        assert!(run.join(file).is_file(), "{file}");
    }
    llama::ModelFolder::load(&run.join("model"), None, Device::Cpu).unwrap();
    // A finished run is not repeated; another configuration is refused.
    world.run("run", flags).unwrap();
    let error = sentence(world.run("run", "--epochs 6 --eval-fraction 0.2 --eval-steps 10 --beta 0.2"));
    assert!(error.contains("beta: 0.1 before, 0.2 now"), "{error}");
}

#[test]
fn a_live_reference_and_shared_prompts_lead_to_the_same_weights() {
    let world = World::new(24);
    world.run("cached", "--epochs 2").unwrap();
    let load = |run: &str| Llama::load(&world.path(run).join("model"), None, Device::Cpu).unwrap().named_parameters();
    for (run, flags) in [
        ("live", "--epochs 2 --live-reference"),
        ("named", "--epochs 2 --reference @model"),
        ("apart", "--epochs 2 --share-prompt never --micro-batch-tokens 1024 --recompute"),
    ] {
        world.run(run, flags).unwrap();
        for ((name, a), (_, b)) in load(run).iter().zip(&load("cached")) {
            let error = common::relative(a, b);
            assert!(error < 1e-4, "{run}: {name} is off by {error}");
        }
    }
    assert!(!world.path("live/reference").exists());
}

#[test]
fn lora_writes_an_adapter_and_the_merged_model() {
    let world = World::new(24);
    world.run("run", "--epochs 2 --lora-rank 4 --merge").unwrap();
    let run = world.path("run");
    let mut adapted = Llama::load(&world.path("model"), None, Device::Cpu).unwrap();
    adapted.load_adapter(&run.join("adapter")).unwrap();
    let merged = Llama::load(&run.join("model"), None, Device::Cpu).unwrap();
    let base = Llama::load(&world.path("model"), None, Device::Cpu).unwrap();
    let ids = Tensor::arange(200, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let distance = |a: &Llama, b: &Llama| {
        let _no_grad = tch::no_grad_guard();
        f64::try_from((a.forward(&ids).unwrap() - b.forward(&ids).unwrap()).abs().max()).unwrap()
    };
    assert!(distance(&adapted, &merged) < 1e-4);
    assert!(distance(&base, &merged) > 1e-3, "training changed nothing");
    // A live reference under the adapter equals the cached one.
    world.run("live", "--epochs 2 --lora-rank 4 --merge --live-reference").unwrap();
    let live = Llama::load(&world.path("live/model"), None, Device::Cpu).unwrap();
    assert!(distance(&live, &merged) < 1e-4);
}

#[test]
fn a_cache_of_something_else_is_refused() {
    let world = World::new(16);
    let flags = "--max-steps 1 --reference-cache @cache";
    world.run("first", flags).unwrap();
    let made = fs::metadata(world.path("cache/reference.json")).unwrap().modified().unwrap();
    // Another run with the same model and data uses the cache.
    world.run("second", &format!("{flags} --beta 0.5 --formatting-tokens keep")).unwrap();
    assert_eq!(fs::metadata(world.path("cache/reference.json")).unwrap().modified().unwrap(), made);
    // Another model.
    common::model::write_model(&world.path("other"));
    let model = Llama::load(&world.path("other"), None, Device::Cpu).unwrap();
    common::nudge(&model, 1);
    model.save(&world.path("other"), None).unwrap();
    let error = sentence(world.run("third", &format!("{flags} --reference @other")));
    assert!(error.contains("are of another reference model"), "{error}");
    assert!(error.contains("choose another --reference-cache"), "{error}");
    // Another type, other data.
    let error = sentence(world.run("fourth", &format!("{flags} --dtype bf16")));
    assert!(error.contains("are of another --dtype (f32 instead of bf16)"), "{error}");
    common::write_data(&world.path("more.jsonl"), 17);
    let error = sentence(world.run("fifth", &format!("{flags} --data @more.jsonl")));
    assert!(error.contains("are of another data set"), "{error}");
    // Another chat template of the policy, with the same reference; the same pairs in another order.
    common::model::write_model(&world.path("worded"));
    let config = world.path("worded/tokenizer_config.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let template = tokenizer["chat_template"].as_str().unwrap().to_owned();
    tokenizer["chat_template"] = format!("{template}{{# reworded #}}").into();
    fs::write(&config, tokenizer.to_string()).unwrap();
    let error = sentence(world.run("worded-run", &format!("{flags} --model @worded --reference @model")));
    assert!(error.contains("are of another chat template"), "{error}");
    let error = sentence(world.run("other-order", &format!("{flags} --eval-fraction 0.5")));
    assert!(error.contains("are of another tokenisation or mask"), "{error}");
    // A damaged cache does not stop the run: it is computed again.
    let file = world.path("cache/log_probs.safetensors");
    let good = fs::read(&file).unwrap();
    let mut bytes = good.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    world.run("sixth", flags).unwrap();
    assert!(fs::read(&file).unwrap() == good);
}

#[test]
fn an_unfinished_cache_is_completed() {
    let world = World::new(16);
    let flags = "--max-steps 2 --reference-cache @cache";
    world.run("first", flags).unwrap();
    let (file, record) = (world.path("cache/log_probs.safetensors"), world.path("cache/reference.json"));
    let good = fs::read(&file).unwrap();
    // The state after a kill: the values of the last pairs are not known yet.
    let whole = Vec::<f32>::try_from(&trainer::state::read(&file).unwrap()[0].1).unwrap();
    let mut half = whole.clone();
    let middle = half.len() / 2;
    half[middle..].fill(f32::NAN);
    trainer::state::write(&file, &[("log_probs".to_owned(), tch::Tensor::from_slice(&half))]).unwrap();
    let mut text: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    text["sha256"] = dataset::digest::file(&file).unwrap().into();
    fs::write(&record, text.to_string()).unwrap();
    let mut child = world.spawn("second", flags);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains(" of 16 pairs from "), "{said}");
    assert!(fs::read(&file).unwrap() == good, "the completed cache differs");
    assert!(world.weights("first") == world.weights("second"));
}

#[test]
fn bad_pairs_stop_a_run_or_are_set_aside_and_counted() {
    let world = World::new(12);
    let path = world.path("train.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let long = "x".repeat(300);
    let bad = [
        (
            json!({"prompt": "q", "chosen": "a", "rejected": "a"}),
            "train.jsonl:13: chosen, rejected: have the same tokens",
        ),
        (json!({"prompt": "q", "chosen": "a", "rejected": " "}), "train.jsonl:13: rejected: the response is empty"),
        (
            json!({"prompt": "q", "chosen": "a", "rejected": "b", "rejected_finish_reason": "length"}),
            "train.jsonl:13: rejected: the response was cut off",
        ),
        (json!({"prompt": [], "chosen": "a", "rejected": "b"}), "train.jsonl:13: prompt: the list is empty"),
        (json!({"prompt": "q", "chosen": "a", "rejected": long}), "train.jsonl:13: the pair train.jsonl:13 has"),
    ];
    for (record, expected) in &bad {
        fs::write(&path, format!("{good}{record}\n")).unwrap();
        let error = sentence(world.run("strict", "--max-steps 1"));
        assert!(error.contains(expected), "{error}");
    }
    let lines: Vec<String> = bad.iter().map(|(record, _)| record.to_string()).collect();
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let prompt = [turn("system", "s"), turn("user", &"y".repeat(150)), turn("assistant", "z"), turn("user", "q")];
    let cut = json!({"prompt": prompt, "chosen": "a", "rejected": "b"});
    fs::write(&path, format!("{good}{}\n{cut}\n{{\n", lines.join("\n"))).unwrap();
    world.run("lenient", "--max-steps 1 --skip-bad --over-long truncate-prompt").unwrap();
    let ledger = record(&world, "lenient")["data"][0].clone();
    let counts =
        ["rows", "set_aside", "equal", "empty", "cut_off_by_the_sampler", "over_long", "truncated", "examples"];
    assert_eq!(counts.map(|name| ledger[name].as_u64().unwrap()), [19, 5, 1, 1, 1, 1, 1, 13], "{ledger}");
    let aside = fs::read_to_string(world.path("lenient/rejected-1.jsonl")).unwrap();
    assert_eq!(aside.lines().count(), 5);
    assert!(aside.contains("have the same tokens") && aside.contains("train.jsonl:13"), "{aside}");
}

#[test]
fn strengths_choose_pairs() {
    let world = World::new(4);
    let path = world.path("train.jsonl");
    let plain = fs::read_to_string(&path).unwrap();
    let level = |text: &str| json!({"prompt": "q", "chosen": "a", "rejected": "b", "strength": text}).to_string();
    fs::write(&path, format!("{plain}{}\n{}\n", level("better"), level("slightly_better"))).unwrap();
    world.run("run", "--max-steps 1 --strengths significantly_better better").unwrap();
    let ledger = record(&world, "run")["data"][0].clone();
    assert_eq!((&ledger["examples"], &ledger["of_other_strengths"]), (&5.into(), &1.into()));
    // Case, _ and - make no difference; the warning names a value that matches nothing, and the existing values.
    let mut child = world.spawn("spelled", "--max-steps 1 --strengths Slightly-Better best");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let expected = "--strengths \"best\" matches no record; the data has: \"better\" (1), \"slightly better\" (1)";
    assert!(said.contains(expected), "{said}");
    let ledger = record(&world, "spelled")["data"][0].clone();
    assert_eq!((&ledger["examples"], &ledger["of_other_strengths"]), (&5.into(), &1.into()));
}

#[test]
fn contradictions_are_sentences() {
    let world = World::new(4);
    for (flags, expected) in [
        ("--loss cdpo", "--loss cdpo needs --label-smoothing"),
        ("--label-smoothing 0.1", "--label-smoothing belongs to --loss cdpo"),
        ("--simpo-gamma 0.5", "--simpo-gamma belongs to --loss simpo"),
        ("--loss simpo --live-reference", "--loss simpo has no reference model"),
        ("--live-reference --reference-cache x", "exclude each other"),
        ("--beta 0", "--beta is 0; it must be more than 0"),
        ("--batch-tokens 100", "this stage counts its steps in pairs"),
        ("--micro-batch-tokens 200", "make the first at least the second"),
        ("--reference nowhere", "no model \"nowhere\""),
    ] {
        let error = sentence(world.run("run", flags));
        assert!(error.contains(expected), "{flags}: {error}");
    }
}

#[test]
fn every_loss_runs() {
    let world = World::new(16);
    for loss in ["length-normalised", "ipo", "cdpo --label-smoothing 0.1", "hinge", "simpo --simpo-gamma 0.5"] {
        let output = loss.split(' ').next().unwrap();
        world.run(output, &format!("--max-steps 2 --loss {loss}")).unwrap();
        let metrics = trainer::metrics::read(&world.path(output).join("metrics.jsonl")).unwrap();
        assert_eq!(metrics[1].metrics.contains_key("kl"), output != "simpo", "{loss}");
    }
}

#[test]
fn pairs_of_one_prompt_are_held_out_together() {
    let world = World::new(0);
    let line = |prompt: usize, n: usize| {
        let turn = |role: &str, content: String| json!([{"role": role, "content": content}]);
        let (chosen, rejected) = (turn("assistant", format!("Yes {n}.")), turn("assistant", format!("No {n}?")));
        let prompt = turn("user", format!("Is it {prompt}?"));
        json!({"id": format!("{n}"), "prompt": prompt, "chosen": chosen, "rejected": rejected}).to_string() + "\n"
    };
    let data: String = (0..12).map(|n| line(n / 4, n)).collect();
    fs::write(world.path("train.jsonl"), data).unwrap();
    world.run("run", "--epochs 1 --eval-fraction 0.25").unwrap();
    // Three prompts with four pairs each: a quarter of the pairs belong to one prompt.
    assert_eq!(record(&world, "run")["data"][0]["held_out"], 4);
    let one: String = (0..12).map(|n| line(0, n)).collect();
    fs::write(world.path("train.jsonl"), one).unwrap();
    world.run("one", "--epochs 1 --eval-fraction 0.25").unwrap();
    assert_eq!(record(&world, "one")["data"][0]["held_out"], 0, "one prompt cannot be on both sides");
}
