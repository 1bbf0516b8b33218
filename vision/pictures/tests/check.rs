//! `herd vision check` on files of records.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use clap::Parser as _;
use dataset::jsonl;
use image::{DynamicImage, ImageFormat};
use pictures::command::{Args, run};
use serde_json::{Value, json};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn check(arguments: &[&str]) -> anyhow::Result<()> {
    run(&Cli::try_parse_from([&["vision", "check"], arguments].concat()).unwrap().args)
}

fn write(path: &Path, records: &[Value]) {
    jsonl::write_all(path, records).unwrap();
}

#[test]
fn every_picture_of_a_file_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let png = common::file(&DynamicImage::ImageRgb8(common::rgb(20, 10)), ImageFormat::Png);
    std::fs::create_dir(path("pictures")).unwrap();
    std::fs::write(path("pictures/a.png"), &png).unwrap();
    std::fs::write(path("pictures/cut.png"), &png[..png.len() / 2]).unwrap();
    let turns = |content: Value| json!([{"role": "user", "content": content}, {"role": "assistant", "content": "x"}]);
    let image = |path: &str| turns(json!([{"type": "image", "image": path}, {"type": "text", "text": "?"}]));
    let good = json!({"id": "a", "messages": image("pictures/a.png")});
    let listed = json!({"id": "b", "images": ["pictures/a.png"], "messages": turns(json!("What is <image>?"))});
    let text = json!({"id": "c", "messages": turns(json!("no picture"))});
    let file = path("good.jsonl");
    write(&file, &[good.clone(), listed, text]);
    check(&[file.to_str().unwrap()]).unwrap();

    let bad = path("bad.jsonl");
    let cut = json!({"id": "d", "messages": image("pictures/cut.png")});
    let missing = json!({"id": "e", "messages": image("pictures/none.png")});
    let two = json!({"id": "f", "images": ["pictures/a.png"], "messages": turns(json!("<image> and <image>"))});
    write(&bad, &[good, cut, missing, two]);
    let error = check(&[bad.to_str().unwrap()]).unwrap_err().to_string();
    let expected = format!("bad.jsonl:2: messages[0].content[0]: {}", path("pictures/cut.png").display());
    assert!(error.contains(&expected) && error.contains("PNG"), "{error}");

    let rejected = path("rejected.jsonl");
    check(&["--rejected", rejected.to_str().unwrap(), bad.to_str().unwrap()]).unwrap();
    let reasons: Vec<Value> = jsonl::read_all(&rejected).unwrap();
    let reasons: Vec<&str> = reasons.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[1].contains("none.png: cannot be read"), "{reasons:?}");
    assert!(reasons[2].contains("2 image marks and 1 images"), "{reasons:?}");
    assert!(
        check(&["--max-pixels", "199", file.to_str().unwrap()]).unwrap_err().to_string().contains("20 x 10 pixels")
    );
}
