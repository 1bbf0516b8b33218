//! Runs `herd safety filter` and `herd safety make contrast` on files.

use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: safety_text::command::Args,
}

fn herd_safety(words: &[&str]) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from([&["safety"], words].concat())?;
    safety_text::command::run(&cli.args)
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_file_is_filtered_and_every_record_is_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let records = [
        json!({"id": "mail", "text": "Größe: jo@example.org", "url": "https://a.example/"}),
        json!({"id": "ads", "text": "buy", "url": "https://x.bad.example/1"}),
        json!({"id": "darn", "text": "darn darn darn", "url": "https://b.example/"}),
        json!({"id": "chat", "messages": [{"role": "user", "content": "call +49 30 901820"}, {"role": "assistant", "content": "ok"}]}),
        json!({"id": "plain", "text": "nothing", "url": "https://ok.bad.example/1", "n": 1}),
    ];
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(at("in.jsonl"), &input).unwrap();
    fs::write(at("ads.txt"), "bad.example\n").unwrap();
    fs::write(at("allow.txt"), "ok.bad.example\n").unwrap();
    fs::write(at("w.txt"), "darn\n").unwrap();
    let (input, output, removed, explain) = (at("in.jsonl"), at("out.jsonl.gz"), at("removed.jsonl"), at("why.jsonl"));
    let (ads, allow, words) = (at("ads.txt"), at("allow.txt"), at("w.txt"));
    let flags = [
        "filter",
        "--input",
        &input,
        "--output",
        &output,
        "--rules",
        "url,pii,words",
        "--redact",
        "--removed",
        &removed,
        "--explain",
        &explain,
        "--lists",
        &ads,
        "--allow",
        &allow,
        "--words",
        &words,
    ];
    herd_safety(&flags).unwrap();
    let kept: Vec<Value> = dataset::jsonl::read_all(&output).unwrap();
    assert_eq!(kept.iter().map(|record| record["id"].as_str().unwrap()).collect::<Vec<_>>(), ["mail", "chat", "plain"]);
    assert_eq!(kept[0]["text"], "Größe: <EMAIL>");
    assert_eq!(kept[1]["messages"][0]["content"], "call <PHONE>");
    assert_eq!(kept[2], records[4]);
    let removed = lines(Path::new(&removed));
    assert_eq!(removed[0]["dropped"], json!({"rule": "url:ads", "value": 1.0, "limit": 0.0, "detail": "bad.example"}));
    assert_eq!((&removed[1]["id"], &removed[1]["dropped"]["rule"]), (&json!("darn"), &json!("words")));
    let why = lines(Path::new(&explain));
    // Offsets in bytes and characters: `ö` and `ß` have two bytes each.
    assert_eq!(
        why[0],
        json!({"id": "mail", "field": "text[0]", "start": 9, "end": 23, "char_start": 7, "char_end": 21, "kind": "email",
            "rule": "email", "score": 0.9, "why": "email: local part, host with a top-level domain that exists"})
    );
    assert_eq!((why.len(), &why[1]["field"]), (2, &json!("messages[0]")));
    assert!(
        !fs::read_to_string(&explain).unwrap().contains("jo@example.org"),
        "the text stands in the file without --show-text"
    );
}

#[test]
fn mistakes_are_sentences_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    fs::write(at("in.jsonl"), "{\"text\": \"a\"}\n{\"text\": 3}\n").unwrap();
    fs::write(at("good.jsonl"), "{\"text\": \"a\"}\n").unwrap();
    let (bad, good, out) = (at("in.jsonl"), at("good.jsonl"), at("out.jsonl"));
    for (flags, sentence) in [
        (vec!["--input", &bad, "--output", &out], "in.jsonl:2: text is neither a text nor a list of messages"),
        (vec!["--input", &good, "--output", &good], "good.jsonl: the output must be another file than the input"),
        (vec!["--input", &good, "--output", &out, "--rules", "url"], "the filter url needs --lists"),
        (vec!["--input", &good, "--output", &out, "--rules", "words"], "the filter words needs --words"),
        (vec!["--input", &good, "--output", &out, "--rules", "toxicity"], "the filter toxicity needs --toxicity"),
        (vec!["--input", &good, "--output", &out, "--words", &good], "--words belongs to the filter words"),
        (
            vec!["--input", &good, "--output", &out, "--rules", "words", "--redact", "--words", &good],
            "--redact belongs to the filter pii",
        ),
    ] {
        let error = format!("{:#}", herd_safety(&[vec!["filter"], flags].concat()).unwrap_err());
        assert!(error.contains(sentence), "{error}");
        assert!(!Path::new(&out).exists());
    }
    assert_eq!(fs::read_to_string(&good).unwrap(), "{\"text\": \"a\"}\n");
    let rejected = at("rejected.jsonl");
    herd_safety(&["filter", "--input", &bad, "--output", &out, "--rejected", &rejected]).unwrap();
    assert_eq!((lines(Path::new(&out)).len(), lines(Path::new(&rejected)).len()), (1, 1));
}

#[test]
fn insecure_code_is_filtered_and_found_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let records = [
        json!({"id": "program", "code": "import os\nos.system(c)\n", "language": "python"}),
        json!({"id": "fine", "code": "print(1)\n", "language": "python"}),
        json!({"id": "block", "messages": [{"role": "assistant", "content": "Use\n```js\neval(x)\n```"}]}),
        json!({"id": "unknown", "code": "os.system(c)", "language": "cobol"}),
    ];
    fs::write(at("in.jsonl"), records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    let (input, output, removed, why) = (at("in.jsonl"), at("out.jsonl"), at("removed.jsonl"), at("why.jsonl"));
    let flags = ["filter", "--input", &input, "--output", &output, "--rules", "code", "--code-field", "code"];
    herd_safety(&[&flags[..], &["--removed", &removed, "--explain", &why]].concat()).unwrap();
    let ids =
        |path: &str| lines(Path::new(path)).iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&output), ids(&removed)),
        (vec!["fine".into(), "unknown".into()], vec!["program".into(), "block".into()])
    );
    assert_eq!(lines(Path::new(&removed))[0]["dropped"]["rule"], "code:py-os-command");
    let why = lines(Path::new(&why));
    assert_eq!((&why[0]["line"], &why[0]["field"], &why[0]["cwe"]), (&json!(2), &json!("code"), &json!(78)));
    assert_eq!((&why[1]["rule"], &why[1]["line"]), (&json!("js-eval"), &json!(3)));
    herd_safety(&[&flags[..], &["--max-code", "1"]].concat()).unwrap();
    assert_eq!(lines(Path::new(&output)).len(), 4);
    // Source files: the exit code shows whether there are findings.
    fs::write(at("a.py"), "eval(x)\n").unwrap();
    fs::write(at("b.py"), "print(1)\n").unwrap();
    let error = herd_safety(&["code", "--input", &at("a.py"), &at("b.py")]).unwrap_err().to_string();
    assert_eq!(error, "1 findings in 2 files");
    herd_safety(&["code", "--input", &at("b.py")]).unwrap();
    herd_safety(&["code", "--list-rules"]).unwrap();
}

#[test]
fn refusals_are_judged_and_calibrated() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let records = [
        json!({"id": 1, "response": "I'm sorry, but I can't help with that."}),
        json!({"id": 2, "response": "Sure! Boil the egg for six minutes, then put it into cold water."}),
        json!({"id": 3, "response": ""}),
    ];
    fs::write(at("in.jsonl"), records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    let (input, output) = (at("in.jsonl"), at("out.jsonl"));
    herd_safety(&["refusals", "judge", "--input", &input, "--output", &output]).unwrap();
    let judged = lines(Path::new(&output));
    let verdicts: Vec<&str> = judged.iter().map(|record| record["refusal"]["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["refusal", "answer", "empty"]);
    assert_eq!(judged[2]["refusal"]["probability"], json!(null));
    // A calibration on consistent labels; it only needs both kinds.
    let labels: String = (0..20)
        .map(|n| json!({"answer": format!("{} {n}", if n % 2 == 0 { "Never." } else { "Gladly." }), "refusal": n % 2 == 0}))
        .map(|label| format!("{label}\n"))
        .collect();
    fs::write(at("labels.jsonl"), labels).unwrap();
    let (labels, calibration) = (at("labels.jsonl"), at("calibration.json"));
    herd_safety(&["refusals", "calibrate", "--labels", &labels, "--output", &calibration]).unwrap();
    herd_safety(&["refusals", "judge", "--input", &input, "--output", &output, "--refusal-calibration", &calibration])
        .unwrap();
    let model = at("model.bin");
    herd_safety(&["refusals", "train", "--labels", &labels, "--output", &model, "--written", "40"]).unwrap();
    herd_safety(&["refusals", "check", "--labels", &labels, "--refusal-model", &model, "--calibrate-on", "8"]).unwrap();
    herd_safety(&["refusals", "check", "--labels", &labels, "--folds", "4", "--written", "40"]).unwrap();
    fs::write(at("bad.json"), "{\"a\": 1}").unwrap();
    let bad = at("bad.json");
    let flags = ["refusals", "judge", "--input", &input, "--output", &output, "--refusal-calibration", &bad];
    let error = format!("{:#}", herd_safety(&flags).unwrap_err());
    assert!(error.contains("bad.json: no calibration of `herd safety refusals calibrate`"), "{error}");
    let flags = ["refusals", "judge", "--input", &input, "--output", &output, "--field", "text"];
    let error = format!("{:#}", herd_safety(&flags).unwrap_err());
    assert!(error.contains("in.jsonl:1: the record has no text; --field names the field with the answer"), "{error}");
}

#[test]
fn contrast_data_is_the_same_twice_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str, more: &[&str]| {
        let output = dir.path().join(name).to_string_lossy().into_owned();
        herd_safety(&[&["make", "contrast", "--output", &output, "--seed", seed], more].concat())
    };
    make("a", "1", &[]).unwrap();
    make("b", "1", &[]).unwrap();
    make("c", "2", &["--train", "50", "--heldout", "21"]).unwrap();
    let read = |name: &str, file: &str| fs::read(dir.path().join(name).join(file)).unwrap();
    for file in ["train.jsonl", "heldout.jsonl"] {
        assert!(read("a", file) == read("b", file) && read("a", file) != read("c", file), "{file}");
        let mode = fs::metadata(dir.path().join("a").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let (train, held_out) = (lines(&dir.path().join("c/train.jsonl")), lines(&dir.path().join("c/heldout.jsonl")));
    assert_eq!((train.len(), held_out.len()), (100, 42));
    let of = |split: &str| held_out.iter().filter(|record| record["meta"]["split"] == split).count();
    assert_eq!((of("new-keys"), of("new-pairs")), (22, 20));
    // The record of the run contains files, counts and digests, but no prompt.
    let record = fs::read_to_string(dir.path().join("c/run.json")).unwrap();
    for line in train.iter().chain(&held_out) {
        assert!(!record.contains(line["messages"][0]["content"].as_str().unwrap()), "a prompt stands in run.json");
    }
    assert!(make("a", "2", &[]).unwrap_err().to_string().contains("seed: 1 before, 2 now"));
    let error = make("d", "1", &["--train", "1000000"]).unwrap_err().to_string();
    assert!(error.contains("--train is 1000000; there are ") && !dir.path().join("d").exists(), "{error}");
}
