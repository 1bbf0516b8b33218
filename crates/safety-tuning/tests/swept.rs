//! `herd safety sweep plan` and `report`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::commands::{Place, answers};

const PROGRAM: &str = env!("CARGO_BIN_EXE_herd-safety-tuning");

fn sweep(words: &[&str]) -> (bool, String) {
    let output = Command::new(PROGRAM).arg("sweep").args(words).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_plan_is_a_recipe_with_a_mix_for_each_share_and_ratio() {
    let place = Place::new();
    for (name, count) in [("general", 1000), ("refusals", 50), ("borderline", 40)] {
        fs::write(place.at(name), (0..count).map(|n| format!("{{\"id\": {n}}}\n")).collect::<String>()).unwrap();
    }
    let words = [
        "plan",
        "--model",
        "m",
        "--general",
        &place.word("general"),
        "--refusals",
        &place.word("refusals"),
        "--borderline",
        &place.word("borderline"),
        "--shares",
        "0.1",
        "--ratios",
        "0,1",
        "--sets",
        "xstest,strongreject",
        "--tasks",
        "ifeval",
        "--output",
        &place.word("sweep.toml"),
    ];
    let (ok, text) = sweep(&words);
    assert!(ok && text.contains("2 mixes of 1000 general, 50 refusing and 40 borderline records"), "{text}");
    let recipe: toml::Table = toml::from_str(&fs::read_to_string(place.at("sweep.toml")).unwrap()).unwrap();
    let stages = recipe["stage"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["vr-0", "help-0", "tune-1", "vr-1", "help-1", "tune-2", "vr-2", "help-2", "report"]);
    let data = |stage: usize| stages[stage]["sft"]["data"].as_array().unwrap();
    // 111 records of safety beside 1,000: 111 / 50 refusals, or half of it and as many look-alikes.
    assert!(data(2)[1].as_str().unwrap().ends_with("refusals:2.2222") && data(2).len() == 2);
    assert!(
        data(5)[1].as_str().unwrap().ends_with("refusals:1.1111")
            && data(5)[2].as_str().unwrap().ends_with("borderline:1.3889")
    );
    assert_eq!(stages[6]["safety"]["eval"]["model"].as_str(), Some("{tune-2}/model"));
    assert_eq!(stages[8]["safety"]["sweep"]["report"]["vr"].as_array().unwrap().len(), 3);
    let (ok, text) = sweep(&[&words[..10], &["1.5"], &words[11..]].concat());
    assert!(!ok && text.contains("it must lie between 0 and 1"), "{text}");
}

#[test]
fn the_report_names_the_best_mix_and_what_it_costs() {
    let place = Place::new();
    let runs = [
        ("before", answers(50, 2, 0), 0.50),
        ("naive", answers(3, 30, 0), 0.49),
        ("mixed", answers(10, 4, 0), 0.48),
        ("broken", answers(0, 0, 55), 0.05),
    ];
    let (mut folders, mut helpful) = (Vec::new(), Vec::new());
    for (name, answers, accuracy) in &runs {
        assert_eq!(place.eval(name, answers, &[]).status, 0);
        folders.push(place.word(name));
        let folder = place.at(&format!("help-{name}"));
        fs::create_dir(&folder).unwrap();
        let figure = json!({"value": accuracy, "low": accuracy - 0.04, "high": accuracy + 0.04, "items": 500, "interval": "wilson"});
        fs::write(
            folder.join("summary.json"),
            json!({"model": "m", "tasks": {"ifeval": {"metrics": {"strict": figure}}}}).to_string(),
        )
        .unwrap();
        helpful.push(folder.to_string_lossy().into_owned());
    }
    let output = place.word("report");
    let mut words: Vec<&str> = vec!["report", "--vr"];
    words.extend(folders.iter().map(String::as_str));
    words.push("--helpfulness");
    words.extend(helpful.iter().map(String::as_str));
    words.extend(["--output", &output]);
    let (ok, text) = sweep(&words);
    assert!(ok, "{text}");
    // 50 to 10 of 60; the naive mix refuses 30 of 40 harmless requests, and the broken model is no candidate.
    assert!(
        text.contains("best with FRR at most 10 points up: mixed") && text.contains("VR 83.3% to 16.7% (-80%)"),
        "{text}"
    );
    assert!(text.contains("no figure of helpfulness lies below"), "{text}");
    let figures: Value = serde_json::from_slice(&fs::read(place.at("report/sweep.json")).unwrap()).unwrap();
    assert_eq!((&figures["best"], &figures["points"][3]["lost"]), (&json!("mixed"), &json!(["ifeval strict"])));
    let html = fs::read_to_string(place.at("report/report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("mixed"));
    let (ok, text) = sweep(&["report", "--vr", &folders[0], "--names", "a", "b", "--output", &place.word("x")]);
    assert!(!ok && text.contains("--names has 2 values, --vr 1"), "{text}");
}
