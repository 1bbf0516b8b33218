//! `longctx verify` finds what is wrong.

use crate::common::{Place, read, said};

#[test]
fn planted_wrong_answers_are_found() {
    let place = Place::new();
    let made = place.make("out", &["--buckets", "2k,4k", "--count", "200", "--seed", "9"]);
    assert!(made.status.success(), "{}", said(&made));
    let text = read(&place.path("out/train.jsonl"));
    let mut records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut planted = Vec::new();
    for (number, record) in records.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
        let is_fact = record["meta"]["task"] == "facts";
        let messages = record["messages"].as_array_mut().unwrap();
        let last = messages.len() - 1;
        let answer = messages[last]["content"].as_str().unwrap().to_owned();
        // The planted faults are a wrong answer, a changed fact in the text, or the answer of the other kind.
        let is_said = answer != "The text does not say.";
        match number % 9 {
            0 => messages[last]["content"] = wrong(&answer).into(),
            3 if is_said && is_fact => {
                let context = messages[0]["content"].as_str().unwrap().replace(&answer, &wrong(&answer));
                messages[0]["content"] = context.into();
            }
            _ => messages[last]["content"] = if is_said { "The text does not say." } else { "48213" }.into(),
        }
        planted.push(record["id"].as_str().unwrap().to_owned());
    }
    let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
    std::fs::write(place.path("planted.jsonl"), lines.join("\n")).unwrap();
    let checked = place.run(&["verify", "planted.jsonl", "--show", "1000"]);
    assert!(!checked.status.success());
    for id in &planted {
        assert!(said(&checked).contains(id), "{id} passed");
    }
    assert!(said(&checked).contains(&format!("{} wrong", planted.len())), "{}", said(&checked));
}

/// An answer that differs in its last letter or digit but one.
fn wrong(answer: &str) -> String {
    let mut letters: Vec<char> = answer.chars().collect();
    let at = letters.len().saturating_sub(2);
    letters[at] = if letters[at] == 'x' { 'y' } else { 'x' };
    letters.into_iter().collect()
}
