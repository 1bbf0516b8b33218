//! `longctx make --tasks qa,summary`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::common::{Lcg, Place, bytes, filler, records, serve};

/// A writer that finds `Number 123 is 456.` in a chunk: one question that stands, one that everybody can answer, one whose answer it
/// gives otherwise the second time, and one whose quote is invented.
fn writes(request: &Value) -> (String, &'static str) {
    let prompt = request["messages"][0]["content"].as_str().unwrap();
    let found = |text: &str| {
        let at = text.find("Number ")?;
        let sentence = &text[at..at + text[at..].find('.')? + 1];
        let mut words = sentence.trim_end_matches('.').split(' ');
        Some((words.nth(1)?.to_owned(), words.nth(1)?.to_owned(), sentence.to_owned()))
    };
    if prompt.starts_with("Below is a part") {
        let Some((key, value, quote)) = found(prompt.split("Part of the document:").nth(1).unwrap()) else {
            return ("Nothing here.".into(), "stop");
        };
        let text = format!(
            "Question: What is number {key}?\nAnswer: {value}\nQuote: {quote}\n\nQuestion: What is the capital of France?\nAnswer: \
             Paris\nQuote: {quote}\n\nQuestion: What is moody {key}?\nAnswer: {value}\nQuote: {quote}\n\nQuestion: What is not \
             there?\nAnswer: 7\nQuote: These words are not in the text."
        );
        return (text, "stop");
    }
    if prompt.starts_with("Summarise") || prompt.starts_with("The following are summaries") {
        let parts = prompt.matches("part").count();
        return (format!("A part. {parts}"), "stop");
    }
    let has_text = prompt.contains("from the text above");
    let answer = if prompt.contains("capital of France") {
        "Paris".to_owned()
    } else if prompt.contains("moody") || !has_text {
        "I do not know.".to_owned()
    } else {
        found(prompt).unwrap().1
    };
    (answer, "stop")
}

fn texts(place: &Place) {
    let mut lcg = Lcg(9);
    let documents: Vec<String> = (0..12)
        .map(|document| {
            let paragraphs = (0..12).map(|paragraph| {
                let number = document * 100 + paragraph + 100;
                format!("{} Number {number} is {}. {}", filler(&mut lcg, 60), number * 7, filler(&mut lcg, 60))
            });
            let text = paragraphs.collect::<Vec<_>>().join("\n\n");
            serde_json::json!({"text": text, "license": "CC0-1.0"}).to_string()
        })
        .collect();
    std::fs::write(place.path("books.jsonl"), documents.join("\n")).unwrap();
}

const MAKE: &str = "make --tasks qa,summary --texts books.jsonl --tokenizer model --buckets 2k --chunk 400 --count 8 --seed 3 --samples 2";

#[test]
fn only_verified_questions_are_kept_and_nothing_is_asked_twice() {
    let place = Place::new(512, 16);
    texts(&place);
    let asked = Arc::new(AtomicUsize::new(0));
    let url = serve({
        let asked = asked.clone();
        move |request| {
            asked.fetch_add(1, Ordering::SeqCst);
            writes(request)
        }
    });
    let line = format!("{MAKE} --endpoint {url} --output one");
    let said = place.good(&line);
    for part in [
        "8 records about 8 passages, written by served",
        "questions: 16 written, 4 kept",
        "4 quote not in the chunk",
        "4 answered otherwise from the chunk",
        "4 answered alike without the chunk",
        "summaries: 4 kept",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let made = records(&place.path("one/train.jsonl"));
    let qa: Vec<&Value> = made.iter().filter(|record| record["meta"]["task"] == "qa").collect();
    assert_eq!(qa.len(), 4);
    for record in qa {
        let meta = &record["meta"];
        let (text, answer) =
            (record["messages"][0]["content"].as_str().unwrap(), record["messages"][1]["content"].as_str().unwrap());
        let place = &meta["evidence"][0];
        let quote = &text[place[0].as_u64().unwrap() as usize..place[1].as_u64().unwrap() as usize];
        assert!(quote.starts_with("Number ") && quote.ends_with(&format!(" is {answer}.")), "{quote}: {answer}");
        assert!(meta["length_tokens"].as_u64().unwrap() <= 2048 && meta["licences"][0] == "CC0-1.0");
        assert!(meta["verified_by"].as_str().unwrap().contains("written by served"));
    }
    let summary = made.iter().find(|record| record["meta"]["task"] == "summary").unwrap();
    assert!(summary["messages"][1]["content"].as_str().unwrap().starts_with("A part."));
    let checked = place.good("verify one/train.jsonl --tokenizer model");
    assert!(checked.contains("8 right") && checked.contains("0 wrong"), "{checked}");
    // The records again from the journal alone: the server is asked nothing more.
    let first = bytes(&place.path("one/train.jsonl"));
    let before = asked.load(Ordering::SeqCst);
    std::fs::remove_file(place.path("one/train.jsonl")).unwrap();
    place.good(&line);
    assert_eq!((asked.load(Ordering::SeqCst), bytes(&place.path("one/train.jsonl")) == first), (before, true));
}

#[test]
fn a_writer_must_be_named() {
    let place = Place::new(512, 16);
    let make =
        |tasks: &str| place.bad(&format!("make --texts texts.jsonl --tokenizer model --output none --tasks {tasks}"));
    assert!(make("qa").contains("give the model that writes, --model NAME or --endpoint URL"));
    assert!(make("qa,count --model model").contains("--tasks count: qa and summary are written by a model"));
    assert!(make("count --model model").contains("--model and --endpoint are for --tasks qa,summary"));
    assert!(make("qa --model model --agree 4").contains("--agree is 4"));
}
