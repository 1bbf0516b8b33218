//! `herd vision make`, by its arguments.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[path = "common/font.rs"]
mod font;

use clap::Parser;
use pictures::command::make;
use serde_json::{Value, json};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: make::Args,
}

fn run(flags: &str, output: &Path) -> anyhow::Result<()> {
    let words = ["make", "--output", output.to_str().unwrap()].into_iter().chain(flags.split(' '));
    // A bare `-` stands for an empty word.
    make::run(&Cli::parse_from(words.map(|word| if word == "-" { "" } else { word })).args)
}

fn records(output: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Three sets of twelve squares.
fn drawings(folder: &Path) -> PathBuf {
    let names: Vec<String> = (b'a'..=b'l').map(|letter| format!("thing{}", char::from(letter))).collect();
    for (set, colour) in [("noto", "red"), ("fluent-emoji-flat", "green"), ("twemoji", "blue")] {
        let body = json!({"body": format!(r#"<path fill="{colour}" d="M0 0h8v8h-8z"/>"#)});
        let icons: BTreeMap<&String, &Value> = names.iter().map(|name| (name, &body)).collect();
        let path = folder.join("sets").join(set);
        std::fs::create_dir_all(&path).unwrap();
        for (file, value) in [
            ("icons.json", json!({"icons": icons, "width": 8, "height": 8})),
            ("metadata.json", json!({"categories": {"Objects": names}})),
            ("info.json", json!({"name": set, "author": {"name": "A"}, "license": {"spdx": "MIT"}})),
        ] {
            std::fs::write(path.join(file), value.to_string()).unwrap();
        }
    }
    folder.join("sets")
}

#[test]
fn conversations_have_several_questions_about_sound_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let sets = drawings(folder.path());
    let flags = format!(
        "--tasks count,colour,shape --train 50 --test 15 --questions 3 --system - --things 5 --drawings {} --seed 4",
        sets.display()
    );
    let output = folder.path().join("a");
    run(&flags, &output).unwrap();
    let mut questions = BTreeMap::new();
    for (name, most) in [("train.jsonl", 3), ("test.jsonl", 1), ("composition.jsonl", 1)] {
        let mut longest = 0;
        for record in records(&output, name) {
            let messages = record["messages"].as_array().unwrap();
            assert_eq!(messages[0], json!({"role": "system", "content": ""}));
            longest = longest.max((messages.len() - 1) / 2);
            let picture = messages[1]["content"][0]["image"].as_str().unwrap();
            let bytes = std::fs::read(output.join(picture)).unwrap();
            assert_eq!(record["meta"]["picture"], dataset::digest::bytes(&bytes));
            let decoded = pictures::decode(&bytes, &pictures::Limits::default()).unwrap();
            assert_eq!((decoded.width, decoded.height), (224, 224));
            let task = record["meta"]["task"].as_str().unwrap().to_owned();
            let answer = messages[2]["content"].as_str().unwrap();
            assert!(record["meta"]["answers"].as_array().unwrap().iter().any(|one| one == answer), "{record}");
            *questions.entry((name, task)).or_insert(0) += 1;
        }
        assert_eq!(longest, most, "{name}");
    }
    let of = |name: &'static str, task: &str| questions.get(&(name, task.to_owned())).copied();
    let all = |name: &'static str| ["count", "colour", "shape", "thing", "naming"].map(|task| of(name, task));
    assert_eq!((all("train.jsonl"), all("test.jsonl")), ([Some(10); 5], [Some(3); 5]));
    assert_eq!(all("composition.jsonl"), [None, Some(5), Some(5), Some(5), None]);
    let names = |name: &str| -> BTreeSet<String> {
        let all = records(&output, name).into_iter();
        all.filter_map(|record| Some(record["meta"]["drawing"]["name"].as_str()?.to_owned())).collect()
    };
    assert!(names("test.jsonl").is_subset(&names("train.jsonl")));
    assert!(names("composition.jsonl").is_disjoint(&names("train.jsonl")));
    let credits: Value = serde_json::from_slice(&std::fs::read(output.join("credits.json")).unwrap()).unwrap();
    assert_eq!(credits.as_array().unwrap().len(), 3);

    // The same arguments give the same bytes; one question in a conversation gives the same scenes.
    let (again, single) = (folder.path().join("b"), folder.path().join("c"));
    run(&flags, &again).unwrap();
    run(&flags.replace("--questions 3", "--questions 1"), &single).unwrap();
    let bytes = |output: &Path| std::fs::read(output.join("train.jsonl")).unwrap();
    assert_eq!(bytes(&output), bytes(&again));
    let shown = |output: &Path| -> Vec<Value> {
        records(output, "train.jsonl").into_iter().map(|record| record["meta"]["picture"].clone()).collect()
    };
    assert_eq!(shown(&output), shown(&single));
    assert!(records(&single, "train.jsonl").iter().all(|record| record["messages"].as_array().unwrap().len() == 3));
}

#[test]
fn words_are_asked_beside_things_and_scenes() {
    let folder = tempfile::tempdir().unwrap();
    let (sets, fonts) = (drawings(folder.path()), folder.path().join("fonts"));
    std::fs::create_dir(&fonts).unwrap();
    for font in &pictures::drawings::FONTS {
        std::fs::write(fonts.join(format!("{}.ttf", font.name)), font::font(26)).unwrap();
    }
    let output = folder.path().join("a");
    let (sets, fonts) = (sets.display(), fonts.display());
    run(
        &format!("--tasks collage --train 25 --test 10 --things 5 --drawings {sets} --written-words 6 --fonts {fonts}"),
        &output,
    )
    .unwrap();
    let of = |name: &str| {
        let mut tasks = BTreeMap::new();
        for record in records(&output, name) {
            *tasks.entry(record["meta"]["task"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        Vec::from_iter(tasks)
    };
    let each = |count: i32| ["collage", "naming", "reading", "thing", "word"].map(|task| (task.to_owned(), count));
    assert_eq!((of("train.jsonl"), of("test.jsonl")), (each(5).to_vec(), each(2).to_vec()));
    assert_eq!(of("composition.jsonl"), [("thing".to_owned(), 5), ("word".to_owned(), 5)]);
    let credits: Value = serde_json::from_slice(&std::fs::read(output.join("credits.json")).unwrap()).unwrap();
    assert_eq!(credits.as_array().unwrap().len(), 3 + pictures::drawings::FONTS.len());
}

#[test]
fn mistakes_are_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let sets = drawings(folder.path());
    let sets = sets.display();
    for (flags, sentence) in [
        ("--questions 0".to_owned(), "--questions is 0"),
        (format!("--drawings {sets}"), "--drawings is given, and --things is 0"),
        (format!("--things 3 --drawings {sets}"), "--things is 3; a choice of four needs 4 or more"),
        (format!("--things 13 --drawings {sets}"), "--things is 13, and there are 12 names"),
        ("--things 4 --drawings /nowhere".to_owned(), "/nowhere"),
        ("--fonts /nowhere".to_owned(), "--fonts is given, and --written-words is 0"),
        ("--written-words 4 --fonts /nowhere".to_owned(), "/nowhere"),
    ] {
        let error = format!("{:#}", run(&flags, &folder.path().join("out")).unwrap_err());
        assert!(error.contains(sentence), "{flags}: {error}");
        assert!(!folder.path().join("out/train.jsonl").exists());
    }
}
