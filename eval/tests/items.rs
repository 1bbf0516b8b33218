//! Reads benchmarks: the public files, if available, and the other published formats.

use crate::common;

use std::path::Path;

use eval::items::{Item, read};
use eval::prompts::Prompts;
use eval::score::{Grading, Verdict, has_refusal_phrase, refusal};
use eval::task::Task;

fn items(task: Task, path: &Path) -> Vec<Item> {
    read(task, path, &Prompts::load(None).unwrap(), None).unwrap()
}

#[test]
fn the_public_files_are_complete() {
    for (task, count) in [
        (Task::Gsm8k, 1319),
        (Task::Svamp, 1000),
        (Task::Humaneval, 164),
        (Task::HumanevalPlus, 164),
        (Task::Mbpp, 257),
        (Task::MbppPlus, 378),
        (Task::Ifeval, 541),
        (Task::Xstest, 450),
    ] {
        let Some(folder) = common::data("") else { return };
        let found = items(task, &task.locate(&folder).unwrap());
        assert_eq!(found.len(), count, "{task:?}");
        assert!(found.iter().all(|item| !item.question.is_empty() && !item.messages.is_empty()), "{task:?}");
        if task == Task::Xstest {
            let safe = found.iter().filter(|item| matches!(item.grading, Grading::Refusal { safe: true })).count();
            assert_eq!(safe, 250);
        }
    }
}

#[test]
fn a_limit_spreads_over_sets_that_are_ordered_by_kind() {
    let Some(path) = common::data("xstest/xstest_prompts.csv.gz") else { return };
    let prompts = Prompts::load(None).unwrap();
    let some = read(Task::Xstest, &path, &prompts, Some(45)).unwrap();
    let safe = some.iter().filter(|item| matches!(item.grading, Grading::Refusal { safe: true })).count();
    assert_eq!((some.len(), safe), (45, 27));
    // The ids are those of the set, so that runs with different limits share items.
    let all = items(Task::Xstest, &path);
    assert!(some.iter().all(|item| all.iter().any(|other| other.id == item.id && other.question == item.question)));
}

#[test]
fn multiple_choice_in_three_formats() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let official = r#"{"id":"M1","question":{"stem":"Why?","choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]},"answerKey":"B"}"#;
    let hub = r#"{"id":"M1","question":"Why?","choices":{"text":["a","b","c"],"label":["1","2","3"]},"answerKey":"2"}"#;
    for (name, text) in [("a.jsonl", official), ("b.jsonl", hub)] {
        let found = items(Task::Arc, &write(name, text));
        assert_eq!(found[0].messages[0].text(), "Question: Why?\nAnswer:");
        let Grading::Choice { choices, right } = &found[0].grading else { panic!() };
        assert_eq!((choices[*right].as_str(), *right), (" b", 1));
    }
    let mmlu = r#"{"question":"2+2? ","subject":"maths","choices":["3","4","5","6"],"answer":1}"#;
    let found = items(Task::Mmlu, &write("c.jsonl", mmlu));
    assert_eq!(found[0].messages[0].text(), "2+2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:");
    let Grading::Choice { choices, right } = &found[0].grading else { panic!() };
    assert_eq!((choices[*right].as_str(), found[0].groups["subject"].as_str()), (" B", "maths"));
}

#[test]
fn mistakes_name_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let prompts = Prompts::load(None).unwrap();
    for (task, text, wrong) in [
        (Task::Gsm8k, "{\"question\": \"q\", \"answer\": \"1\"}\n{\"question\": \"q\"}", "record 2: answer is missing"),
        (
            Task::Math,
            "{\"problem\": \"q\", \"id\": 1, \"answer\": 1}\n{\"problem\": \"q\", \"id\": 1, \"answer\": 1}",
            "\"1\" is given twice",
        ),
        (
            Task::Ifeval,
            "{\"prompt\": \"q\", \"instruction_id_list\": [\"x:y\"], \"kwargs\": [{}]}",
            "is none of the 25",
        ),
        (Task::Arc, "{\"question\": \"q\", \"choices\": [\"a\"], \"answer\": \"Z\"}", "is not a choice of"),
        (Task::Problems, "{\"kind\": \"chat\", \"prompt\": \"q\"}", "only problems of kind math and code"),
        (Task::Svamp, "", "no items for svamp"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = format!("{:#}", read(task, &path, &prompts, None).unwrap_err());
        assert!(error.contains(wrong), "{error}");
    }
    let error = Task::Mmlu.locate(folder.path()).unwrap_err().to_string();
    assert!(error.contains("herd data get mmlu") && error.contains("mmlu/test.jsonl"), "{error}");
}

/// XSTest's human labels of two models' answers: how often the refusal model and the phrases agree. The model was trained on
/// these answers; its figures on held-out ones are in safety-text's tests.
#[test]
fn refusals_agree_with_human_labels() {
    for (file, least, least_by_phrases) in [("mistralguard", 0.93, 0.75), ("mistralinstruct", 0.93, 0.85)] {
        let Some(path) = common::data(&format!("xstest/xstest_v2_completions_{file}.csv.gz")) else { return };
        let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
        let headers = reader.headers().unwrap().clone();
        let at = |name: &str| headers.iter().position(|header| header == name).unwrap();
        let (mut agree, mut by_phrases, mut n) = (0, 0, 0);
        for record in reader.records().map(Result::unwrap) {
            let refused = record[at("final_label")].starts_with("2") || record[at("final_label")].starts_with("3");
            agree += usize::from((refusal(&record[at("completion")]) == Verdict::Refusal) == refused);
            by_phrases += usize::from(has_refusal_phrase(&record[at("completion")]) == refused);
            n += 1;
        }
        println!("{file}: {agree} of {n} answers as people label them, {by_phrases} by phrases");
        assert!(agree as f64 / n as f64 > least, "{file}: {agree} of {n}");
        assert!(by_phrases as f64 / n as f64 > least_by_phrases, "{file}: {by_phrases} of {n}");
    }
}
