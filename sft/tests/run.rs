//! Complete runs: what they write, and what they refuse.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;
use std::process::Command;

use common::World;
use llama::Llama;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn sentence(result: anyhow::Result<()>) -> String {
    format!("{:#}", result.unwrap_err())
}

#[test]
fn a_run_learns_and_leaves_what_the_design_says() {
    let world = World::new(60);
    world.run("run", "--epochs 12 --eval-fraction 0.1 --eval-steps 10").unwrap();
    let run = world.path("run");
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let start: Value = serde_json::from_slice(&fs::read(run.join("eval_start.json")).unwrap()).unwrap();
    let (before, after) =
        (start["loss"].as_f64().unwrap(), record["stage"]["figures"]["report"]["evaluation"]["loss"].as_f64().unwrap());
    assert!(after < 0.6 * before, "held-out loss {before} to {after}");
    assert_eq!(record["stage"]["figures"]["data"][0]["rows"], 60);
    assert_eq!(record["stage"]["figures"]["data"][0]["held_out"], 6);
    for file in ["config.toml", "metrics.jsonl", "report.html", "model/config.json", "model/tokenizer_config.json"] {
        assert!(run.join(file).is_file(), "{file}");
    }
    assert_eq!(fs::read_dir(run.join("tensorboard")).unwrap().count(), 1);
    let metrics = trainer::metrics::read(&run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.len() as u64, record["stage"]["figures"]["report"]["steps"].as_u64().unwrap());
    assert!(metrics.iter().enumerate().all(|(n, m)| m.step == n as u64 + 1));
    // The result is a model folder, and so is a checkpoint.
    llama::ModelFolder::load(&run.join("model"), None, Device::Cpu).unwrap();
    let checkpoint = run.join(format!("checkpoints/step-{}", metrics.len()));
    llama::ModelFolder::load(&checkpoint, None, Device::Cpu).unwrap();
    // A finished run is not repeated; another configuration is refused.
    world.run("run", "--epochs 12 --eval-fraction 0.1 --eval-steps 10").unwrap();
    let error = sentence(world.run("run", "--epochs 13 --eval-fraction 0.1"));
    assert!(error.contains("epochs: 12 before, 13 now"), "{error}");
}

#[test]
fn micro_batches_are_memory_not_mathematics() {
    let world = World::new(40);
    world.run("one", "--max-steps 6").unwrap();
    world.run("many", "--max-steps 6 --micro-batch-tokens 1024").unwrap();
    let load = |run: &str| Llama::load(&world.path(run).join("model"), None, Device::Cpu).unwrap().named_parameters();
    for ((name, a), (_, b)) in load("one").iter().zip(&load("many")) {
        let error = f64::try_from((a - b).norm() / b.norm()).unwrap();
        assert!(error < 1e-4, "{name} is off by {error}");
    }
}

#[test]
fn lora_writes_an_adapter_and_the_merged_model() {
    let world = World::new(40);
    world.run("run", "--epochs 3 --lora-rank 4 --merge").unwrap();
    let run = world.path("run");
    let mut adapted = Llama::load(&world.path("model"), None, Device::Cpu).unwrap();
    let config = adapted.load_adapter(&run.join("adapter")).unwrap();
    assert_eq!((config.r, config.lora_alpha), (4, 8.0));
    let merged = Llama::load(&run.join("model"), None, Device::Cpu).unwrap();
    let base = Llama::load(&world.path("model"), None, Device::Cpu).unwrap();
    let _no_grad = tch::no_grad_guard();
    let ids = Tensor::arange(200, (Kind::Int64, Device::Cpu)).unsqueeze(0);
    let distance = |a: &Llama, b: &Llama| {
        f64::try_from((a.forward(&ids).unwrap() - b.forward(&ids).unwrap()).abs().max()).unwrap()
    };
    assert!(distance(&adapted, &merged) < 1e-4);
    assert!(distance(&base, &merged) > 1e-2, "training changed nothing");
}

#[test]
fn one_run_in_a_folder_at_a_time() {
    let world = World::new(10);
    let _held = run::RunFolder::open(&world.path("run")).unwrap();
    let error = sentence(world.run("run", ""));
    assert!(error.contains("belongs to a run that is in progress"), "{error}");
}

#[test]
fn a_run_does_not_go_on_with_other_data() {
    let world = World::new(40);
    let flags = "--epochs 50 --checkpoint-steps 1";
    let mut child = world.spawn("run", flags);
    while world.steps_done("run") < 3 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    common::write_data(&world.path("train.jsonl"), 41);
    let error = sentence(world.run("run", flags));
    assert!(error.contains("another configuration, model or data"), "{error}");
}

#[test]
fn mistakes_in_the_data_are_sentences_with_a_place() {
    let world = World::new(3);
    let path = world.path("train.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let long = "x".repeat(300);
    for (line, expected) in [
        ("{".to_owned(), "train.jsonl:4: "),
        (
            r#"{"messages": [{"role": "user", "content": "Hi"}]}"#.into(),
            "train.jsonl:4: messages: there is no assistant",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "a"}]}"#
                .into(),
            "train.jsonl:4: message 0 contains the special token <|im_end|>",
        ),
        (
            format!(r#"{{"prompt": "{long}", "completion": "a"}}"#),
            "has 322 tokens, --max-length allows 256; raise that, or choose --over-long",
        ),
    ] {
        fs::write(&path, format!("{good}{line}\n")).unwrap();
        let error = sentence(world.run("run", ""));
        assert!(error.contains(expected), "{error}");
    }
    world.run("dropped", "--over-long drop").unwrap();
    let record = |run: &str| -> Value {
        serde_json::from_slice::<Value>(&fs::read(world.path(run).join("run.json")).unwrap()).unwrap()["stage"]["figures"]["data"][0]
            .clone()
    };
    assert_eq!((&record("dropped")["over_long"], &record("dropped")["examples"]), (&1.into(), &3.into()));
    world.run("cut", "--over-long truncate-prompt").unwrap();
    // The long turn is the whole prompt: cutting it would leave half a text.
    assert_eq!((&record("cut")["over_long"], &record("cut")["truncated"]), (&1.into(), &0.into()));
    fs::write(&path, format!("{good}{{\n")).unwrap();
    world.run("lenient", "--skip-bad").unwrap();
    assert_eq!((&record("lenient")["set_aside"], &record("lenient")["rows"]), (&1.into(), &4.into()));
    assert!(fs::read_to_string(world.path("lenient/rejected-1.jsonl")).unwrap().contains("train.jsonl:4"));
}

#[test]
fn long_conversations_lose_whole_turns_and_keep_the_system_turn() {
    let world = World::new(1);
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let messages = [
        turn("system", "Be short."),
        turn("user", &"x".repeat(200)),
        turn("assistant", "First."),
        turn("user", "Next?"),
        turn("assistant", "Second."),
    ];
    fs::write(world.path("train.jsonl"), json!({"id": "long", "messages": messages}).to_string() + "\n").unwrap();
    world.run("cut", "--over-long truncate-prompt").unwrap();
    let record: Value = serde_json::from_slice(&fs::read(world.path("cut/run.json")).unwrap()).unwrap();
    let ledger = &record["stage"]["figures"]["data"][0];
    let of = |name: &str| ledger[name].as_u64().unwrap();
    assert_eq!((of("examples"), of("truncated"), of("over_long")), (1, 1, 0), "{ledger}");
    // "First.<|im_end|>" was trained, and is cut with the rest of its exchange.
    assert_eq!(of("trained_tokens_cut_off"), 7, "{ledger}");
    let shown = common::shown(&world, "--over-long truncate-prompt");
    assert!(shown.contains("<|im_start|>system⏎\nBe short.<|im_end|>⏎\n<|im_start|>user⏎\nNext?<|im_end|>"), "{shown}");
    assert!(!shown.contains("xxx") && !shown.contains("First"), "{shown}");
}

#[test]
fn the_context_of_the_model_limits_the_length() {
    let world = World::new(3);
    let path = world.path("train.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let long = json!({"prompt": "x".repeat(600), "completion": "a"});
    fs::write(&path, format!("{good}{long}\n")).unwrap();
    // The model reads 512 tokens. A length beyond that is told before the size of a row is.
    let error = sentence(world.run("run", "--max-length 20000"));
    assert!(error.contains("--max-length is 20000, but the context of"), "{error}");
    let flags = "--micro-batch-tokens 4096 --max-length 513";
    let error = sentence(world.run("run", flags));
    assert!(error.contains("--max-length is 513, but the context of"), "{error}");
    assert!(error.contains("lower --max-length to 512") && error.contains("extend the model's context"), "{error}");
    let without: Vec<String> = world.flags("run", "--micro-batch-tokens 4096");
    let at = without.iter().position(|flag| flag == "--max-length").unwrap();
    let without = [&without[..at], &without[at + 2..]].concat();
    let error = sentence(common::run(&without));
    assert!(error.contains("train.jsonl:4: the conversation train.jsonl:4 has 622 tokens"), "{error}");
    assert!(error.contains("allows 512, the model's whole context; choose --over-long drop"), "{error}");
    common::run(&[without, vec!["--over-long".into(), "drop".into()]].concat()).unwrap();
}

#[test]
fn columns_of_other_names() {
    let world = World::new(1);
    fs::write(world.path("train.jsonl"), "{\"question\": \"1+1?\", \"answer\": \"2\"}\n").unwrap();
    world.run("run", "--prompt-column question --answer-column answer").unwrap();
    let error = sentence(world.run("other", "--prompt-column query --answer-column answer"));
    assert!(error.contains("train.jsonl:1: query: is missing; the record has question, answer"), "{error}");
}

#[test]
fn an_example_that_breaks_the_numbers_is_named() {
    let world = World::new(4);
    let folder = world.path("model");
    let model = Llama::load(&folder, None, Device::Cpu).unwrap();
    let (_, weight) = model.named_parameters().into_iter().find(|(name, _)| name.contains("1.mlp.up")).unwrap();
    let _ = weight.get(0).fill_(f64::INFINITY);
    let _ = weight.get(0).get(0).fill_(f64::NAN);
    model.save(&folder, None).unwrap();
    let error = sentence(world.run("run", ""));
    assert!(error.contains("the loss of step 1 is not finite; the examples are sum-"), "{error}");
    assert!(error.contains("the first non-finite value is the weight model.layers.1.mlp.up_proj.weight"), "{error}");
}

#[test]
fn a_full_disk_loses_nothing() {
    // A limit on file sizes simulates a full disk: the first checkpoint fits, later files do not.
    let world = World::new(40);
    let flags = "--epochs 4 --checkpoint-steps 2";
    world.run("whole", flags).unwrap();
    let program = std::env::current_exe().unwrap();
    let limited = |kilobytes: u32| {
        let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" --exact child --nocapture");
        let flags = world.flags("full", flags).join("\n");
        let output = Command::new("bash").args(["-c", &script]).arg(&program).env("SFT_CHILD", flags).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, errors) = limited(64);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("cannot save the checkpoint") && errors.contains("File too large"), "{errors}");
    assert_eq!(fs::read_dir(world.path("full/checkpoints")).unwrap().count(), 0, "nothing half written is left");
    world.run("full", flags).unwrap();
    assert!(world.weights("whole") == world.weights("full"), "the weights differ");
}

#[test]
fn an_output_that_cannot_be_written() {
    let world = World::new(4);
    fs::write(world.path("file"), "").unwrap();
    let error = sentence(world.run("file/run", ""));
    assert!(error.contains("cannot create the run folder"), "{error}");
}
