//! `longctx mix`.

use crate::common::{Place, read, said};

/// Short conversations.
fn short(place: &Place, count: usize) {
    let line = |number: usize| {
        let (question, answer) = (format!("What is {number} and {number}?"), (number * 2).to_string());
        serde_json::json!({"id": number.to_string(), "messages": [
            {"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
        .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    std::fs::write(place.path("short.jsonl"), lines.join("\n")).unwrap();
}

fn place(short_count: usize) -> Place {
    let place = Place::new();
    let made = place.make("long", &["--buckets", "1k,2k", "--count", "60", "--seed", "1"]);
    assert!(made.status.success(), "{}", said(&made));
    short(&place, short_count);
    place
}

const FLAGS: [&str; 9] =
    ["mix", "--long", "long/train.jsonl", "--with", "short.jsonl", "--tokenizer", "tokenizer", "--output", "mix.toml"];

#[test]
fn the_share_is_of_examples_and_all_three_are_printed() {
    let place = place(1980);
    let mixed = place.run(&[&FLAGS[..], &["--share", "1%"]].concat());
    let text = said(&mixed);
    assert!(mixed.status.success(), "{text}");
    assert!(text.contains("mix.toml: 20 long examples in mix-long.jsonl"), "{text}");
    let share = |what: &str| -> f64 {
        let line = text.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
        line.rsplit(' ').next().unwrap().trim_end_matches('%').parse().unwrap()
    };
    assert!((share("examples") - 1.0).abs() < 0.001);
    // 20 records of 1,536 tokens against 1,980 of about 40.
    assert!((20.0..60.0).contains(&share("tokens")), "{text}");
    assert!(share("trained tokens") > 0.1, "{text}");
    assert!(!text.contains("warning"), "{text}");
    assert!(text.contains("no --decontaminate: nothing was compared"), "{text}");
    let chosen = read(&place.path("mix-long.jsonl"));
    assert_eq!(chosen.lines().count(), 20);
    let all = read(&place.path("long/train.jsonl"));
    assert!(chosen.lines().all(|line| all.contains(line)));
    let config = read(&place.path("mix.toml"));
    assert!(
        config.contains("short.jsonl\"") && config.contains("mix-long.jsonl\"") && config.contains("max_length = ")
    );
    // The same seed, the same choice.
    assert!(place.run(&[&FLAGS[..], &["--share", "1%"]].concat()).status.success());
    assert_eq!(read(&place.path("mix-long.jsonl")), chosen);
    assert!(place.run(&[&FLAGS[..], &["--share", "1%", "--seed", "3"]].concat()).status.success());
    assert_ne!(read(&place.path("mix-long.jsonl")), chosen);
}

#[test]
fn few_long_examples_are_told() {
    let place = place(500);
    let mixed = place.run(&FLAGS);
    let text = said(&mixed);
    assert!(text.contains("asked for: 0.1% of the examples"), "{text}");
    assert!(text.contains("warning: only 1 long examples. For 16 of them at this share --with needs 15,984"), "{text}");
}

#[test]
fn a_share_of_tokens_and_more_than_there_is() {
    let place = place(500);
    let mixed = place.run(&[&FLAGS[..], &["--share", "20%", "--by", "tokens"]].concat());
    let text = said(&mixed);
    let line = text.lines().find(|line| line.trim_start().starts_with("tokens")).unwrap();
    let share: f64 = line.rsplit(' ').next().unwrap().trim_end_matches('%').parse().unwrap();
    assert!((15.0..25.0).contains(&share), "{text}");
    let mixed = place.run(&[&FLAGS[..], &["--share", "30%"]].concat());
    let text = said(&mixed);
    // 500 * 3 / 7 = 214 of 60.
    assert!(text.contains("each is taken 3.57 times"), "{text}");
    assert!(read(&place.path("mix.toml")).contains("mix-long.jsonl:3.5667\""), "{}", read(&place.path("mix.toml")));
}

#[test]
fn what_evaluation_holds_is_refused_counted_and_named() {
    let place = place(1980);
    let long = read(&place.path("long/train.jsonl"));
    let record = |number: usize| serde_json::from_str::<serde_json::Value>(long.lines().nth(number).unwrap()).unwrap();
    let with_key = (0..60).map(record).find(|record| record["meta"]["keys"][0].is_string()).unwrap();
    let key = with_key["meta"]["keys"][0].as_str().unwrap().to_owned();
    let text = record(0)["messages"][0]["content"].as_str().unwrap().to_owned();
    let middle: Vec<&str> = text.split_whitespace().skip(100).take(13).collect();
    let evaluation = [
        serde_json::json!({"id": "k", "messages": [], "meta": {"keys": [key]}}),
        serde_json::json!({"id": "w", "messages": [{"role": "user", "content": middle.join(" ")}], "meta": {}}),
        serde_json::json!({"id": "t", "messages": [], "meta": {"templates": ["train/count-0"]}}),
    ];
    let lines: Vec<String> = evaluation.iter().map(ToString::to_string).collect();
    std::fs::write(place.path("held.jsonl"), lines.join("\n")).unwrap();
    let mixed = place.run(&[&FLAGS[..], &["--share", "1%", "--decontaminate", "held.jsonl"]].concat());
    let text = said(&mixed);
    assert!(mixed.status.success(), "{text}");
    assert!(text.contains(&format!("refused: {} shares a key: {key}", with_key["id"].as_str().unwrap())), "{text}");
    assert!(
        text.contains(&format!("refused: {} shares 13 words in a row: ", record(0)["id"].as_str().unwrap())),
        "{text}"
    );
    assert!(text.contains("shares a template: train/count-0"), "{text}");
    let total = text.lines().filter(|line| line.starts_with("refused: ")).count();
    assert!(
        text.contains(&format!("compared with 3 records of --decontaminate: {total} long examples refused")),
        "{text}"
    );
    // Evaluation records of the same kind share nothing.
    let made = place.make("other", &["--buckets", "1k,2k", "--count", "60", "--split", "evaluation"]);
    assert!(made.status.success(), "{}", said(&made));
    let mixed = place.run(&[&FLAGS[..], &["--share", "1%", "--decontaminate", "other/evaluation.jsonl"]].concat());
    assert!(
        said(&mixed).contains("compared with 60 records of --decontaminate: 0 long examples refused"),
        "{}",
        said(&mixed)
    );
    // They are no training data.
    let wrong = place.run(&[
        "mix",
        "--long",
        "other/evaluation.jsonl",
        "--with",
        "short.jsonl",
        "--tokenizer",
        "tokenizer",
        "--output",
        "x.toml",
    ]);
    assert!(said(&wrong).contains("is a record for evaluation"), "{}", said(&wrong));
}
