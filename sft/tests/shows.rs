//! What a run prints before its first step, how it reacts to flags, and which data it refuses.

// Clippy's setting for tests does not cover helpers outside of test functions.
use crate::common;

use std::fs;
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

use common::{World, shown};
use serde_json::{Value, json};

fn write(world: &World, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(world.path("train.jsonl"), lines.concat()).unwrap();
}

fn sentence(result: anyhow::Result<()>) -> String {
    format!("{:#}", result.unwrap_err())
}

fn wait_for(child: &mut Child, what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn everything_is_shown_before_the_first_step() {
    let world = World::new(6);
    let text = shown(&world, "--lora-rank 4 --eval-fraction 0.2");
    for part in [
        "6 rows: 0 set aside, 0 too long, 0 with a cut prompt (0 tokens)",
        "5 examples to train on, 1 held out: ",
        "beginnings of text",
        "trained ends of turns",
        "the longest may have 256 tokens",
        "Example sum-",
        "⟦It is 0.<|im_end|>⟧",
        "1 epoch, 5 examples, ",
        "micro-batches of at most 256 tokens",
        "learning_rate        0.003                          flag",
        "lora_rank            4                              flag",
        "beta2                0.95                           default",
        "weights trained, ",
        "memory estimate ",
        "\n    moments ",
        ", all layers kept\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(
        !world.path("dry").exists(),
        "a dry run left {:?}",
        fs::read_dir(world.path("dry")).unwrap().collect::<Vec<_>>()
    );
}

#[test]
fn a_dry_run_counts_the_records_that_skip_bad_sets_aside_by_reason() {
    let world = World::new(3);
    let path = world.path("train.jsonl");
    let unanswered = |text: &str| json!({"messages": [{"role": "user", "content": text}]}).to_string();
    let bad = ["{".to_owned(), unanswered("a"), unanswered("b"), unanswered("c")].join("\n");
    fs::write(&path, format!("{}{bad}\n", fs::read_to_string(&path).unwrap())).unwrap();
    let text = shown(&world, "--skip-bad --epochs 2");
    let (file, rejected) = (path.display(), world.path("dry/rejected-1.jsonl"));
    for part in [
        "7 rows: 4 set aside, ".to_owned(),
        format!("set aside in {}:\n    3 x messages: there is no assistant turn", rejected.display()),
        format!(" (first: {file}:5)\n    1 x not valid JSON: "),
        format!(" (first: {file}:4)\n"),
        "  2 epochs, 6 examples, ".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in\n{text}");
    }
    assert_eq!(dataset::jsonl::read_all::<Value>(&rejected).unwrap().len(), 4);
}

#[test]
fn tool_calls_are_trained_and_tool_results_are_not() {
    let world = World::new(1);
    let template = "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.tool_calls %}{% for call in \
                    message.tool_calls %}<call>{{ call.function.name }}{{ call.function.arguments | tojson }}</call>\
                    {% endfor %}{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}\
                    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    fs::write(world.path("model/chat_template.jinja"), template).unwrap();
    let call = json!({"type": "function", "function": {"name": "add", "arguments": {"a": 2}}});
    write(
        &world,
        &[json!({"id": "tools", "messages": [
            {"role": "user", "content": "2 + 3?"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "content": "5"},
            {"role": "assistant", "content": "It is 5."},
        ]})],
    );
    let text = shown(&world, "");
    assert!(text.contains("⟦<call>add{\"a\": 2}</call><|im_end|>⟧"), "{text}");
    assert!(text.contains("<|im_start|>tool⏎\n5<|im_end|>⏎"), "{text}");
    assert!(text.contains("⟦It is 5.<|im_end|>⟧"), "{text}");
    // Only the last turn, on request.
    let text = shown(&world, "--train-on last-turn");
    assert!(!text.contains("⟦<call>") && text.contains("⟦It is 5.<|im_end|>⟧"), "{text}");
    world.run("run", "").unwrap();
}

#[test]
fn a_template_that_rewrites_earlier_turns_is_refused_or_trained_turn_by_turn() {
    let world = World::new(4);
    let template = "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' and not \
                    loop.last %}(cut){% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}\
                    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    fs::write(world.path("model/chat_template.jinja"), template).unwrap();
    let error = sentence(world.run("run", ""));
    assert!(error.contains("train.jsonl:1") && error.contains("--train-on each-turn"), "{error}");
    let text = shown(&world, "--train-on each-turn --eval-fraction 0.4");
    // Four conversations, two of them with two answers. Each answer is an example, and a conversation is held out as
    // a whole.
    assert!(text.contains("4 rows: ") && text.contains(" held out"), "{text}");
    world.run("run", "--train-on each-turn").unwrap();
    let record: Value = serde_json::from_slice(&fs::read(world.path("run/run.json")).unwrap()).unwrap();
    assert_eq!(record["stage"]["figures"]["data"][0]["examples"], 6);
}

#[test]
fn parts_of_a_conversation_are_held_out_together() {
    let world = World::new(30);
    world.run("run", "--train-on each-turn --eval-fraction 0.3 --max-steps 1").unwrap();
    let held: Vec<Value> = dataset::jsonl::read_all(world.path("run/held-out.jsonl")).unwrap();
    let ids: Vec<&str> = held.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert!(ids.len() >= 9, "{ids:?}");
    for number in (0..30).step_by(3) {
        let parts = [0, 1].map(|part| ids.contains(&format!("sum-{number}#{part}").as_str()));
        assert_eq!(parts[0], parts[1], "sum-{number} is torn apart");
    }
}

#[test]
fn answers_to_one_prompt_are_held_out_together() {
    let world = World::new(1);
    let record = |number: usize| {
        let messages = json!([
            {"role": "user", "content": format!("What is {} + 1?", number / 3)},
            {"role": "assistant", "content": format!("Answer {number}.")},
        ]);
        json!({"id": number.to_string(), "messages": messages})
    };
    write(&world, &(0..30).map(record).collect::<Vec<_>>());
    world.run("run", "--eval-fraction 0.3 --max-steps 1").unwrap();
    let held: Vec<Value> = dataset::jsonl::read_all(world.path("run/held-out.jsonl")).unwrap();
    let mut prompts = [0; 10];
    for line in &held {
        prompts[line["id"].as_str().unwrap().parse::<usize>().unwrap() / 3] += 1;
    }
    assert_eq!(held.len(), 9);
    assert!(prompts.iter().all(|&answers| answers == 0 || answers == 3), "{prompts:?}");
}

#[test]
fn evaluation_prompts_that_are_trained_on_are_counted() {
    let world = World::new(1);
    let record = |prompt: &str, answer: &str| json!({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]});
    write(&world, &[record("What is new?", "Nothing."), record(" Is it?\n", "Other answer."), record("Who?", "I.")]);
    fs::rename(world.path("train.jsonl"), world.path("eval.jsonl")).unwrap();
    write(&world, &[record("Is it?", "Yes."), record("Was it?", "No.")]);
    let flags = format!("--max-steps 1 --eval-data {}", world.path("eval.jsonl").display());
    let mut child = world.spawn("run", &flags);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("1 of the 3 evaluation examples of ") && said.contains("is trained on too"), "{said}");
    let record: Value = serde_json::from_slice(&fs::read(world.path("run/run.json")).unwrap()).unwrap();
    assert_eq!(
        (&record["stage"]["figures"]["data"][1]["overlap"], &record["stage"]["figures"]["data"][1]["held_out"]),
        (&1.into(), &3.into())
    );
    assert_eq!(record["stage"]["figures"]["data"][0]["overlap"], 0);
}

#[test]
fn a_share_that_holds_nothing_out_is_said() {
    let world = World::new(1);
    let mut child = world.spawn("run", "--max-steps 1 --eval-fraction 0.5");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("warning: --eval-fraction 0.5 holds nothing out"), "{said}");
}

#[test]
fn the_text_of_safety_records_is_not_shown() {
    let world = World::new(1);
    let messages = json!([{"role": "user", "content": "Something bad"}, {"role": "assistant", "content": "I refuse."}]);
    for field in ["kind", "capability"] {
        write(&world, &[json!({"id": "probe", field: "safety", "messages": messages})]);
        let text = shown(&world, "");
        assert!(text.contains("Example probe (a safety record: its text is not printed)"), "{text}");
        assert!(!text.contains("Something bad") && !text.contains("I refuse"), "{text}");
        assert!(text.contains("conversation: 43 tokens; in the loss: 32..42"), "{text}");
    }
}

#[test]
fn a_step_without_a_trainable_token_names_its_examples() {
    let world = World::new(1);
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let record = |id: &str, weight: i64| json!({"id": id, "messages": messages, "weight": weight});
    write(&world, &[record("good", 1), record("empty", 0)]);
    let error = sentence(world.run("run", "--batch-size 1"));
    assert!(error.contains("has no trainable token; its examples are empty"), "{error}");
    // In one step with other examples, it has no effect.
    world.run("both", "").unwrap();
}

#[test]
fn a_checkpoint_on_request_and_by_time() {
    let world = World::new(40);
    let mut child = world.spawn("asked", "--epochs 2000");
    wait_for(&mut child, || world.steps_done("asked") >= 2);
    let saved = || {
        fs::read_dir(world.path("asked/checkpoints"))
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse::<usize>().ok())
    };
    assert_eq!(saved().count(), 0);
    // SAFETY: the signal goes to our own child process, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGUSR1) }, 0);
    wait_for(&mut child, || saved().count() == 1);
    let step = saved().max().unwrap();
    wait_for(&mut child, || world.steps_done("asked") > step);
    child.kill().unwrap();
    child.wait().unwrap();
    world.run("timed", "--max-steps 5 --checkpoint-minutes 0.0000001").unwrap();
    assert_eq!(fs::read_dir(world.path("timed/checkpoints")).unwrap().count(), 2, "the last two");
}

#[test]
fn a_file_that_grows_while_it_is_read() {
    let world = World::new(3000);
    let path = world.path("train.jsonl");
    let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned() + "\n";
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut file = fs::File::options().append(true).open(path).unwrap();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            file.write_all(line.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let error = sentence(world.run("run", "--max-steps 1"));
    stop.send(()).unwrap();
    writer.join().unwrap();
    assert!(error.contains("train.jsonl changed while it was read; wait until it is complete"), "{error}");
}

#[test]
fn dropout_depends_on_the_seed_and_not_on_recomputation() {
    // In child processes, since masks come from libtorch's generator, which tests in one process share.
    let world = World::new(20);
    let adapter = |output: &str, flags: &str| {
        let flags = format!("--epochs 2 --lora-rank 4 {flags}");
        assert!(world.spawn(output, &flags).wait().unwrap().success());
        let read = trainer::WeightsFile::Adapter.read(&world.path(output).join("adapter")).unwrap();
        tch::Tensor::cat(&read.into_iter().map(|(_, tensor)| tensor.flatten(0, -1)).collect::<Vec<_>>(), 0)
    };
    let distance = |a: &tch::Tensor, b: &tch::Tensor| f64::try_from((a - b).norm() / b.norm()).unwrap();
    let dropped = adapter("dropped", "--lora-dropout 0.2");
    assert_eq!(distance(&adapter("recomputed", "--lora-dropout 0.2 --recompute"), &dropped), 0.0);
    assert!(distance(&adapter("plain", ""), &dropped) > 1e-2);
    let config = fs::read_to_string(world.path("dropped/adapter/adapter_config.json")).unwrap();
    assert!(config.contains("\"lora_dropout\": 0.2"), "{config}");
}
