//! `herd safety make refusals | pairs | many-shot`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_herd-safety-tuning");
const SECRET: &str = "xyzzyplugh";

fn make(words: &[&str]) -> (bool, String) {
    let output = Command::new(PROGRAM).arg("make").args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains(SECRET), "a text was printed: {words:?}");
    (output.status.success(), text)
}

fn records(path: &Path) -> Vec<Value> {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{}", path.display());
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// 30 requests to refuse and 30 to answer; the model answers all of them twice: every third request to refuse is refused well, then
/// the sermon, then compliance.
fn files(dir: &Path) -> (String, String) {
    let (mut data, mut answers) = (String::new(), String::new());
    for n in 0..60 {
        let is_unsafe = n % 2 == 0;
        let mut record = json!({"id": format!("r{n}"), "messages": [{"role": "user", "content": format!("{SECRET} {n}")}],
            "label": if is_unsafe { "unsafe" } else { "safe" }, "source": "own"});
        if is_unsafe {
            record["categories"] = json!(["S2"]);
        }
        data += &format!("{record}\n");
        let answer = match (is_unsafe, n % 6) {
            (true, 0) => format!("I can't help you with number {n}. I can tell you about the law instead."),
            (true, 2) => {
                "I cannot help with that. It is important to remember that this is highly unethical.".to_owned()
            }
            (true, _) => format!("Sure. First take {n} eggs, then break them into the pan and wait for two minutes."),
            (false, 1) => "I'm sorry, but I can't help with that request.".to_owned(),
            (false, _) => {
                format!("There are {n} ways to do it: in the morning, at noon and in the evening, whichever you like.")
            }
        };
        let complies = "Of course. Mix the flour with water, knead it well and bake it for half an hour.";
        let response = |sample: usize, text: &str| json!({"id": format!("r{n}"), "sample": sample, "response": text, "finish_reason": "stop"});
        answers += &format!("{}\n{}\n", response(0, &answer), response(1, complies));
    }
    let (data_path, answers_path) = (dir.join("data.jsonl"), dir.join("answers.jsonl"));
    fs::write(&data_path, data).unwrap();
    fs::write(&answers_path, answers).unwrap();
    (data_path.to_string_lossy().into_owned(), answers_path.to_string_lossy().into_owned())
}

#[test]
fn refusals_come_from_the_model_where_they_are_good_and_else_from_templates() {
    let dir = tempfile::tempdir().unwrap();
    let (data, answers) = files(dir.path());
    let folder = dir.path().join("made");
    let output = folder.to_string_lossy().into_owned();
    let (ok, text) =
        make(&["refusals", "--data", &data, "--answers", &answers, "--opening-share", "0.5", "--output", &output]);
    assert!(ok, "{text}");
    assert!(text.contains("10 refusals sampled") && text.contains("20 refusals from templates"), "{text}");
    assert!(
        text.contains("10 sampled refusals with a fault in tone") && text.contains("30 answers to harmless requests"),
        "{text}"
    );
    let refusals = records(&folder.join("refusals.jsonl"));
    assert_eq!(refusals.len(), 30);
    for record in &refusals {
        let answer = record["messages"][1]["content"].as_str().unwrap();
        let judged = safety_text::refusal::Refusals::embedded().judge(answer);
        assert_eq!(judged, safety_text::refusal::Verdict::Refusal, "{answer}");
        assert!(!answer.contains("unethical") && record["source"] == "safety-refusal");
        serde_json::from_value::<dataset::Conversation>(record.clone()).unwrap();
    }
    // A sampled refusal of a harmless request is passed over for the second answer.
    let borderline = records(&folder.join("borderline.jsonl"));
    assert!(borderline.iter().all(|record| !record["messages"][1]["content"].as_str().unwrap().contains("sorry")));
    // The steering message is for requests to refuse, and for sampling only.
    let prompts = records(&folder.join("prompts.jsonl"));
    assert_eq!(
        (&prompts[0]["prompt"][0]["role"], &prompts[1]["prompt"][0]["role"]),
        (&json!("system"), &json!("user"))
    );
    assert!(refusals.iter().all(|record| record["messages"][0]["role"] == "user"));
}

#[test]
fn contrast_pairs_are_the_default_and_openings_are_shared_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    for (name, seed) in [("a", "3"), ("b", "3"), ("c", "4")] {
        let (ok, text) = make(&["refusals", "--limit", "200", "--seed", seed, "--output", &at(name)]);
        assert!(ok && text.contains("200 refusals from templates"), "{text}");
        assert!(text.contains("200 harmless requests without an answer"), "{text}");
    }
    let bytes = |name: &str| fs::read(dir.path().join(name).join("refusals.jsonl")).unwrap();
    assert!(bytes("a") == bytes("b") && bytes("a") != bytes("c"));
    let mut openings: HashMap<String, usize> = HashMap::new();
    for record in records(&dir.path().join("a/refusals.jsonl")) {
        let opening = safety_tuning::make::tone::opening(record["messages"][1]["content"].as_str().unwrap());
        *openings.entry(opening).or_default() += 1;
    }
    let most = openings.values().max().unwrap();
    assert!(*most <= 30 && openings.len() >= 15, "{openings:?}");
}

#[test]
fn pairs_prefer_refusals_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (data, answers) = files(dir.path());
    let folder = dir.path().join("pairs");
    let (ok, text) = make(&["pairs", "--data", &data, "--answers", &answers, "--output", &folder.to_string_lossy()]);
    assert!(
        ok && text.contains("30 pairs that prefer a refusal") && text.contains("30 pairs that prefer an answer"),
        "{text}"
    );
    let refuses = |turn: &Value| {
        let text = turn[0]["content"].as_str().unwrap();
        safety_text::refusal::Refusals::embedded().judge(text) == safety_text::refusal::Verdict::Refusal
    };
    for record in records(&folder.join("pairs.jsonl")) {
        let is_refusal = record["source"] == "safety-refusal";
        assert_eq!(
            (refuses(&record["chosen"]), refuses(&record["rejected"])),
            (is_refusal, !is_refusal),
            "{}",
            record["id"]
        );
        serde_json::from_value::<dataset::Preference>(record).unwrap();
    }
    let (ok, text) = make(&["pairs", "--data", &data, "--output", &folder.to_string_lossy()]);
    assert!(!ok && text.contains("--answers is missing"), "{text}");
}

#[test]
fn many_shot_conversations_train_their_end_only() {
    let dir = tempfile::tempdir().unwrap();
    let (data, answers) = files(dir.path());
    let folder = dir.path().join("shots");
    let words = ["many-shot", "--data", &data, "--answers", &answers, "--shots", "4,64", "--count", "5", "--output"];
    let (ok, text) = make(&[words.as_slice(), &[&folder.to_string_lossy()]].concat());
    assert!(ok && text.contains("10 that end with a refusal") && text.contains("repeat requests"), "{text}");
    let records = records(&folder.join("many-shot.jsonl"));
    assert_eq!(records.len(), 20);
    for record in &records {
        let messages = record["messages"].as_array().unwrap();
        let shots: usize = record["id"].as_str().unwrap().split('-').nth(2).unwrap().parse().unwrap();
        assert_eq!(messages.len(), 2 * shots + 2);
        let trained = messages.iter().filter(|turn| turn["role"] == "assistant" && turn["train"] != false).count();
        assert_eq!(trained, 1, "the end alone is trained");
        serde_json::from_value::<dataset::Conversation>(record.clone()).unwrap();
    }
    let (ok, text) =
        make(&["many-shot", "--shots", "4", "--count", "2", "--output", &dir.path().join("x").to_string_lossy()]);
    assert!(ok && text.contains("length may come to mean refusal"), "{text}");
}

#[test]
fn mistakes_are_named_without_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let good = json!({"id": "a", "messages": [{"role": "user", "content": SECRET}], "label": "safe", "source": "s"});
    let mut bad = good.clone();
    bad["messages"][0]["role"] = "assistant".into();
    for (lines, what) in [
        (format!("{bad}\n"), "record 1: the last message is not the user's"),
        (format!("{good}\n{good}\n"), "two requests have the id a"),
        (format!("{}\n", json!({"id": "a", "messages": SECRET, "label": SECRET})), "label is neither"),
    ] {
        fs::write(at("data.jsonl"), lines).unwrap();
        let (ok, text) = make(&["refusals", "--data", &at("data.jsonl"), "--output", &at("made")]);
        assert!(!ok && text.contains(what), "{text}");
    }
    fs::write(at("data.jsonl"), format!("{good}\n")).unwrap();
    fs::write(at("answers.jsonl"), format!("{}\n", json!({"id": "b", "response": SECRET}))).unwrap();
    let (ok, text) =
        make(&["refusals", "--data", &at("data.jsonl"), "--answers", &at("answers.jsonl"), "--output", &at("made")]);
    assert!(!ok && text.contains("record 1: there is no request with the id b"), "{text}");
}

#[test]
fn a_killed_command_ends_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let words = |output: &str| {
        ["make", "many-shot", "--shots", "64,256", "--count", "60", "--output", output].map(str::to_owned)
    };
    let spawn = |output: &str| {
        Command::new(PROGRAM).args(words(output)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    assert!(spawn(&at("whole")).wait().unwrap().success());
    let mut killed = 0;
    for milliseconds in [1, 10, 40, 100] {
        let mut child = spawn(&at("killed"));
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().ok();
        child.wait().unwrap();
    }
    assert!(killed >= 1, "the command is too fast to be killed");
    assert!(spawn(&at("killed")).wait().unwrap().success());
    let [one, other] = ["whole", "killed"].map(|name| fs::read(dir.path().join(name).join("many-shot.jsonl")).unwrap());
    assert!(one == other && !one.is_empty());
}
