//! The reward model: its scores, its training, its folder.

use crate::common;
use crate::ranks;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use common::{World, finish, run, spawn, words};
use dataset::Message;
use llama::attention::Causal;
use llama::{Pass, SequenceClassifier};
use rejection_sampling::reward::{Group, RewardModel};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

#[test]
fn company_packing_and_padding_do_not_change_a_score() {
    let world = World::new();
    let folder = world.reward_model();
    let model = RewardModel::load(folder.as_ref(), Kind::Float, Device::Cpu).unwrap();
    let answers = ["Four.", "It is 4, since two and two make four.", "5"];
    let ids = |prompt: &str, answer: &str| {
        model.encode(&[Message::user(prompt), Message::assistant(answer)], vec![]).unwrap()
    };
    let conversations: Vec<Vec<i64>> = answers.iter().map(|answer| ids("What is 2 + 2?", answer)).collect();
    let other = Group::new(&[ids("Hi", "Hello!"), ids("Hi", "Go away.")]);
    let alone: Vec<f64> = conversations
        .iter()
        .flat_map(|ids| model.score(&[&Group::new(std::slice::from_ref(ids))]).unwrap().concat())
        .collect();
    let group = Group::new(&conversations);
    assert!(group.prompt.len() > 20, "the prompt is shared");
    let together = model.score(&[&group]).unwrap().concat();
    let packed = model.score(&[&other, &group, &other]).unwrap();
    // Rows padded on the right, in one batch: the score is read at the last real token.
    let classifier = SequenceClassifier::load(folder.as_ref(), None, Device::Cpu).unwrap();
    let _no_grad = tch::no_grad_guard();
    let longest = conversations.iter().map(Vec::len).max().unwrap() + 9;
    let rows: Vec<Tensor> = conversations
        .iter()
        .map(|ids| {
            let mut padded = ids.clone();
            padded.resize(longest, 256);
            Tensor::from_slice(&padded)
        })
        .collect();
    let positions = Tensor::arange(longest as i64, (Kind::Int64, Device::Cpu)).expand([3, longest as i64], true);
    let hidden =
        classifier.model.hidden_states(&Tensor::stack(&rows, 0), &positions, &mut Causal, Pass::default()).unwrap();
    for (row, expected) in alone.iter().enumerate() {
        let last = conversations[row].len() as i64 - 1;
        let padded = classifier.logits(&hidden.get(row as i64).narrow(0, last, 1)).unwrap().double_value(&[0, 0]);
        for found in [together[row], packed[1][row], padded] {
            assert!((found - expected).abs() < 1e-4, "{row}: {found} {expected}");
        }
    }
    assert!((alone[0] - alone[2]).abs() > 1e-2, "the scores tell nothing apart");
}

/// Preferences for the polite answer; every third one has an edited answer that is better still.
fn preferences(world: &World, count: usize) -> String {
    let lines: Vec<Value> = (0..count)
        .map(|n| {
            let mut preference = json!({"id": format!("p-{n}"), "prompt": format!("Number {n}?"),
                "chosen": format!("Gladly: {n}."), "rejected": format!("No, {n} bah.")});
            if n % 3 == 0 {
                preference["edited"] = format!("Very gladly, dear: {n}.").into();
            }
            if n % 10 == 9 {
                preference["strength"] = "slightly better".into();
            }
            preference
        })
        .collect();
    world.write("preferences.jsonl", &lines)
}

fn train(world: &World, output: &str, more: &str) -> Vec<String> {
    let rate = if more.contains("--learning-rate") { "" } else { "--learning-rate 3e-3" };
    words(&format!(
        "train-rm --model {} --data {} --output {} {rate} --batch-size 8 --micro-batch-tokens 512 \
         --max-length 256 --dtype f32 --device cpu --threads 1 --eval-fraction 0.2 {more}",
        world.text("model"),
        world.text("preferences.jsonl"),
        world.text(output)
    ))
}

#[test]
fn training_learns_the_preference_and_writes_a_classifier() {
    let world = World::new();
    world.model();
    preferences(&world, 60);
    run(&train(&world, "run", "--epochs 6")).unwrap();
    let record = world.record("run");
    let ledger = &record["data"][0];
    // 60 preferences, 20 of them with three answers; 12 held out.
    assert_eq!((&ledger["rows"], &ledger["pairs"], &ledger["held_out"]), (&json!(60), &json!(100), &json!(12)));
    let apart = ledger["tokens_with_a_prompt_for_each_response"].as_u64().unwrap();
    assert!(ledger["tokens"].as_u64().unwrap() < apart, "{ledger}");
    let calibration: Value = serde_json::from_slice(&fs::read(world.path("run/calibration.json")).unwrap()).unwrap();
    let accuracy = calibration["accuracy"]["value"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{calibration}");
    assert!(calibration["loss"].as_f64().unwrap() < 0.4, "{calibration}");
    // The folder identifies itself, and scores as training did.
    let config: Value = serde_json::from_slice(&fs::read(world.path("run/model/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"], json!(["LlamaForSequenceClassification"]));
    assert_eq!((&config["id2label"], &config["pad_token_id"]), (&json!({"0": "LABEL_0"}), &json!(256)));
    let scored = words(&format!(
        "score --model {} --input {} --output {} --dtype f32 --device cpu --micro-batch-tokens 300",
        world.text("run/model"),
        world.text("preferences.jsonl"),
        world.text("scored.jsonl")
    ));
    run(&scored).unwrap();
    let lines = world.lines("scored.jsonl");
    let ranked = lines
        .iter()
        .filter(|line| line["rewards"]["chosen"].as_f64().unwrap() > line["rewards"]["rejected"].as_f64().unwrap());
    assert!(ranked.count() >= 54, "of 60");
    assert_eq!(lines.len(), 60);
    // A weak preference is left out if only others are selected.
    run(&[train(&world, "strong", "--max-steps 1"), vec!["--strengths".into(), "significantly better".into()]].concat())
        .unwrap();
    assert_eq!(world.record("strong")["data"][0]["of_other_strengths"], 6);
}

#[test]
fn equal_answers_are_set_aside_and_long_ones_follow_the_policy() {
    let world = World::new();
    world.model();
    let record = |chosen: &str, rejected: &str, edited: Option<&str>| {
        let mut record = json!({"prompt": "q", "chosen": chosen, "rejected": rejected});
        edited.into_iter().for_each(|edited| record["edited"] = edited.into());
        record
    };
    // The edited answer equals the one that it should beat: a contradiction.
    let contradiction = record("a", "b", Some("b"));
    // An edit without changes leaves one pair.
    let unchanged = record("a", "b", Some("a"));
    let long = record(&"x".repeat(300), "b", None);
    let train = |output: &str, more: &str| run(&train(&world, output, &format!("--max-steps 1 {more}")));
    world.write("preferences.jsonl", &[contradiction.clone(), unchanged.clone()]);
    let error = format!("{:#}", train("strict", "").unwrap_err());
    assert!(error.contains("preferences.jsonl:1: edited, rejected: have the same tokens"), "{error}");
    world.write("preferences.jsonl", &[contradiction, unchanged, long]);
    let error = format!("{:#}", train("strict", "--skip-bad").unwrap_err());
    assert!(error.contains("preferences.jsonl:3: the preference preferences.jsonl:3 has"), "{error}");
    assert!(error.contains("choose --over-long drop"), "{error}");
    train("run", "--skip-bad --over-long drop").unwrap();
    let ledger = world.record("run")["data"][0].clone();
    let names = ["rows", "set_aside", "with_equal_answers", "over_long", "examples", "pairs"];
    assert_eq!(names.map(|name| ledger[name].as_u64().unwrap()), [3, 1, 1, 1, 1, 1], "{ledger}");
    assert_eq!(ledger["with_an_edited_answer_equal_to_the_chosen_one"], 1, "{ledger}");
    let error = format!("{:#}", train("old", "--drop-over-long").unwrap_err());
    assert_eq!(error, "--drop-over-long is now --over-long drop");
}

#[test]
fn tools_reach_the_model_in_training() {
    let world = World::new();
    world.model();
    let template = "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for message in messages \
                    %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if \
                    add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    fs::write(world.path("model/chat_template.jinja"), template).unwrap();
    let tokens = |output: &str, tools: Value| {
        world.write("preferences.jsonl", &[json!({"prompt": "q", "chosen": "a", "rejected": "b", "tools": tools})]);
        run(&train(&world, output, "--max-steps 1")).unwrap();
        world.record(output)["data"][0]["tokens"].as_u64().unwrap()
    };
    let tool = json!({"type": "function", "function": {"name": "add"}});
    assert!(tokens("with", json!([tool])) > tokens("without", json!([])) + 40);
}

#[test]
fn lora_makes_the_same_kind_of_folder() {
    let world = World::new();
    world.model();
    preferences(&world, 40);
    run(&train(&world, "run", "--epochs 4 --lora-rank 8 --merge --learning-rate 1e-2")).unwrap();
    let adapter: Value =
        serde_json::from_slice(&fs::read(world.path("run/adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&adapter["task_type"], &adapter["modules_to_save"]), (&json!("SEQ_CLS"), &json!(["score"])));
    RewardModel::load(&world.path("run/model"), Kind::Float, Device::Cpu).unwrap();
    let calibration: Value = serde_json::from_slice(&fs::read(world.path("run/calibration.json")).unwrap()).unwrap();
    assert!(calibration["accuracy"]["value"].as_f64().unwrap() > 0.8, "{calibration}");
    // The adapter is itself a reward model: on its base model, it scores as the merged one does.
    let scores = |model: &str| {
        let scored = words(&format!(
            "score --model {} --input {} --output {} --dtype f32 --device cpu",
            world.text(model),
            world.text("preferences.jsonl"),
            world.text(&format!("{}.jsonl", model.replace('/', "-")))
        ));
        run(&scored).unwrap();
        let lines = world.lines(&format!("{}.jsonl", model.replace('/', "-")));
        lines.iter().map(|line| line["rewards"]["chosen"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let of_adapter = scores("run/adapter");
    for (adapter, merged) in of_adapter.iter().zip(scores("run/model")) {
        assert!((adapter - merged).abs() < 1e-4, "{adapter} {merged}");
    }
    // Served, it gives the same scores.
    let lines = world.lines("preferences.jsonl");
    let mut served = Served::start(&world.text("run/adapter"));
    let (status, answer) = served.score(&Value::Array(lines.clone()));
    assert_eq!((status, answer.as_array().unwrap().len()), (200, lines.len()), "{answer}");
    for (answer, expected) in answer.as_array().unwrap().iter().zip(&of_adapter) {
        assert!((answer["rewards"]["chosen"].as_f64().unwrap() - expected).abs() < 1e-4, "{answer} {expected}");
    }
    let conversation = json!({"messages": [{"role": "user", "content": "Number 0?"},
        {"role": "assistant", "content": "Gladly: 0."}]});
    let (_, answer) = served.score(&conversation);
    assert!((answer["reward"].as_f64().unwrap() - of_adapter[0]).abs() < 1e-4, "{answer}");
    let (status, answer) = served.score(&json!({"id": "p", "response": "a", "finish_reason": "stop", "model": "m"}));
    assert_eq!(
        (status, answer["error"].as_str().unwrap().starts_with("a sample has no prompt")),
        (400, true),
        "{answer}"
    );
    let (status, _) = served.score(&json!({"messages": []}));
    assert_eq!(status, 400);
    served.stop();
}

/// `serve-rm` in a child process.
struct Served {
    child: Child,
    addr: String,
}

impl Served {
    fn start(model: &str) -> Self {
        let mut child = spawn(&words(&format!("serve-rm --model {model} --addr 127.0.0.1:0 --dtype f32 --device cpu")));
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let addr = lines.find_map(|line| line.unwrap().strip_prefix("listening on http://").map(str::to_owned));
        Self { child, addr: addr.unwrap() }
    }

    /// The status and the body of `POST /score`.
    fn score(&mut self, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        let head = format!(
            "POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// SIGTERM ends it with exit code 0.
    fn stop(mut self) {
        let killed = std::process::Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn different_answers_have_different_scores_in_bfloat16() {
    let world = World::new();
    let model = RewardModel::load(world.reward_model().as_ref(), Kind::BFloat16, Device::Cpu).unwrap();
    let ids = |n: usize| {
        model.encode(&[Message::user("Which number is it?"), Message::assistant(format!("{n}."))], vec![]).unwrap()
    };
    let group = Group::new(&(1..=64).map(ids).collect::<Vec<_>>());
    let mut scores = model.score(&[&group]).unwrap().concat();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    assert_eq!(scores.len(), 64, "{scores:?}");
}

#[test]
fn sigkill_changes_no_byte_of_the_training() {
    let world = World::new();
    world.model();
    preferences(&world, 60);
    let flags = |output: &str| train(&world, output, "--epochs 6 --checkpoint-steps 2");
    finish(spawn(&flags("whole"))).unwrap();
    for goal in [3, 9, 20] {
        let mut child = spawn(&flags("killed"));
        let steps = || fs::read_to_string(world.path("killed/metrics.jsonl")).map_or(0, |text| text.lines().count());
        let start = Instant::now();
        while steps() < goal && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().ok();
        child.wait().unwrap();
    }
    finish(spawn(&flags("killed"))).unwrap();
    let weights = |run: &str| fs::read(world.path(run).join("model/model.safetensors")).unwrap();
    assert!(weights("whole") == weights("killed"), "the weights differ");
}

#[test]
fn scoring_goes_on_after_a_kill_with_the_same_bytes() {
    let world = World::new();
    world.model();
    let (rm, input) = (world.reward_model(), preferences(&world, 400));
    let flags = |output: &str| {
        words(&format!(
            "score --model {rm} --input {input} --output {} --dtype f32 --device cpu --threads 1 --micro-batch-tokens 300",
            world.text(output)
        ))
    };
    finish(spawn(&flags("whole.jsonl"))).unwrap();
    for goal in [20, 100, 250] {
        let mut child = spawn(&flags("killed.jsonl"));
        let lines = || fs::read_to_string(world.path("killed.jsonl.partial")).map_or(0, |text| text.lines().count());
        while lines() < goal && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().ok();
        child.wait().unwrap();
    }
    finish(spawn(&flags("killed.jsonl"))).unwrap();
    let bytes = |name: &str| fs::read(world.path(name)).unwrap();
    assert!(bytes("whole.jsonl") == bytes("killed.jsonl"), "the files differ");
}

#[test]
fn records_that_the_template_refuses_are_set_aside_and_the_row_decides_the_course() {
    let world = World::new();
    world.model();
    let template = "{% for message in messages %}{% if message.content == 'odd' %}{{ message.content.no.such }}{% endif %}\
                    <|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt \
                    %}<|im_start|>assistant\n{% endif %}";
    fs::write(world.path("model/chat_template.jinja"), template).unwrap();
    let record = |prompt: &str| json!({"prompt": prompt, "chosen": "a", "rejected": "b"});
    world.write("preferences.jsonl", &[record("q"), record("odd"), record("r"), record("s"), record("t")]);
    let error = format!("{:#}", run(&train(&world, "strict", "--max-steps 1")).unwrap_err());
    assert!(error.contains("preferences.jsonl:2: ") && error.contains("chat template"), "{error}");
    let flags = train(&world, "run", "--max-steps 1 --skip-bad");
    run(&flags).unwrap();
    let ledger = world.record("run")["data"][0].clone();
    assert_eq!((&ledger["rows"], &ledger["set_aside"]), (&json!(5), &json!(1)), "{ledger}");
    // This setting decides which groups are too long.
    let other: Vec<String> =
        flags.into_iter().map(|word| if word == "512" { "1024".to_owned() } else { word }).collect();
    let error = format!("{:#}", run(&other).unwrap_err());
    assert!(error.contains("micro_batch_tokens: 512 before, 1024 now"), "{error}");
}

#[test]
fn processes_end_with_the_bytes_of_one() {
    let world = World::new();
    world.model();
    preferences(&world, 60);
    for (name, flags) in [("full", "--epochs 1 --checkpoint-steps 3"), ("lora", "--epochs 1 --lora-rank 4")] {
        run(&train(&world, &format!("{name}-1"), flags)).unwrap();
        let together = format!("{name}-4");
        ranks::succeed(&world.path("store"), 4, |_| common::child(&train(&world, &together, flags)));
        let bytes = |output: String| ranks::bytes(&world.path(&output));
        assert_eq!(bytes(together), bytes(format!("{name}-1")), "{name}");
    }
}
