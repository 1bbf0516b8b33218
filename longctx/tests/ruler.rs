//! RULER's tasks, through the program.

use crate::common::{Place, read, said};

fn records(place: &Place, output: &str) -> Vec<serde_json::Value> {
    let text = read(&place.path(output).join("evaluation.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn all_tasks_fill_their_bucket_and_are_found_again() {
    let place = Place::new();
    let made = place.make("ruler", &["--tasks", "ruler", "--buckets", "3k,6k", "--count", "88", "--seed", "4"]);
    assert!(made.status.success(), "{}", said(&made));
    let checked = place.run(&["verify", "ruler/evaluation.jsonl", "--tokenizer", "tokenizer"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains("ruler:fwe: 8 right") && said(&checked).contains("88 right"), "{}", said(&checked));
    let records = records(&place, "ruler");
    for record in &records {
        let meta = &record["meta"];
        let count = meta["ruler"]["outputs"].as_array().unwrap().len();
        let expected = match meta["task"].as_str().unwrap() {
            "ruler:niah_multivalue" | "ruler:niah_multiquery" => 4,
            "ruler:vt" => 5,
            "ruler:cwe" => 10,
            "ruler:fwe" => 3,
            _ => 1,
        };
        assert_eq!(count, expected, "{}", meta["task"]);
        assert_eq!(meta["split"], "evaluation");
    }
    // Wrong outputs are found.
    let mut wrong = records;
    for record in &mut wrong {
        let outputs = record["meta"]["ruler"]["outputs"].as_array_mut().unwrap();
        outputs[0] = "1234567x".into();
    }
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    std::fs::write(place.path("wrong.jsonl"), lines.join("\n")).unwrap();
    assert!(said(&place.run(&["verify", "wrong.jsonl"])).contains("88 wrong"));
}

#[test]
fn needles_stand_at_all_depths() {
    let place = Place::new();
    let flags = ["--tasks", "ruler:niah_single_2,ruler:niah_single_1", "--buckets", "4k", "--count", "400"];
    let made = place.make("ruler", &flags);
    assert!(made.status.success(), "{}", said(&made));
    for task in ["ruler:niah_single_1", "ruler:niah_single_2"] {
        let mut tenths = [0; 10];
        for record in records(&place, "ruler").iter().filter(|record| record["meta"]["task"] == task) {
            let at = |name: &str, i: usize| record["meta"][name][i].as_f64().unwrap();
            let (start, end) = (at("context", 0), at("context", 1));
            let needle = record["meta"]["evidence"][0][0].as_f64().unwrap();
            tenths[(((needle - start) / (end - start)) * 10.0) as usize] += 1;
        }
        // 200 samples: 20 in every tenth, but for chance.
        assert!(tenths.iter().all(|count| (8..=34).contains(count)), "{task}: {tenths:?}");
    }
}

#[test]
fn they_are_for_evaluation_only() {
    let place = Place::new();
    let sentence = |more: &[&str]| said(&place.make("none", more));
    assert!(sentence(&["--tasks", "ruler:vt,count"]).contains("RULER's tasks are for evaluation only"));
    assert!(
        sentence(&["--tasks", "ruler:vt", "--split", "train"])
            .contains("--split train: RULER's tasks are for evaluation")
    );
    assert!(
        sentence(&["--tasks", "ruler:qa_1"])
            .contains("--tasks ruler:qa_1: known are ruler and ruler: with niah_single_1")
    );
    assert!(sentence(&["--tasks", "ruler:cwe", "--buckets", "300"]).contains("ruler:cwe does not fit into 300 tokens"));
}
