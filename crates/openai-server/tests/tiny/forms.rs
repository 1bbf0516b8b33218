//! Answers with a given form: JSON, schemas, expressions, choices, grammars.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{chat, complete, content, folder, serve, served};

/// A schema whose answers are short, so that a random model ends them.
fn schema() -> Value {
    json!({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 999},
        "side": {"enum": ["left", "right"]}, "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}},
        "required": ["age", "side", "tags"], "additionalProperties": false})
}

fn fits(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let object = value.as_object().unwrap();
    assert_eq!(object.keys().map(String::as_str).collect::<BTreeSet<_>>(), ["age", "side", "tags"].into(), "{text}");
    assert!(object["age"].as_u64().is_some_and(|age| age <= 999), "{text}");
    assert!(["left", "right"].contains(&object["side"].as_str().unwrap()), "{text}");
    assert!(object["tags"].as_array().unwrap().iter().all(Value::is_boolean), "{text}");
}

#[test]
fn every_answer_fits_its_schema() {
    let folder = folder(None);
    let server = serve(folder.path());
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema()}});
    let more = json!({"response_format": format, "n": 16, "temperature": 1, "seed": 3, "max_tokens": 600});
    let answer = served(&chat(&server, &more));
    let mut texts = BTreeSet::new();
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!(choice["finish_reason"], "stop");
        fits(choice["message"]["content"].as_str().unwrap());
        texts.insert(choice["message"]["content"].clone().to_string());
    }
    assert!(texts.len() > 4, "{texts:?}");

    // The seed gives the same answer alone and in a batch, complete and streamed, through every kind of request.
    let first = answer["choices"][0]["message"]["content"].clone();
    let alone = crate::merged(more, &json!({"n": 1}));
    assert_eq!(content(&served(&chat(&server, &alone))), first);
    let streamed = chat(&server, &crate::merged(alone.clone(), &json!({"stream": true}))).pieces();
    let text = |piece: &Value| piece["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned();
    assert_eq!(streamed.iter().map(text).collect::<String>(), first);
    for way in [
        json!({"guided_json": schema()}),
        json!({"guided_json": schema().to_string()}),
        json!({"structured_outputs": {"json": schema()}}),
    ] {
        let more = crate::merged(crate::merged(alone.clone(), &json!({"response_format": null})), &way);
        assert_eq!(content(&served(&chat(&server, &more))), first, "{way}");
    }
}

#[test]
fn a_cut_answer_says_so_and_an_object_is_an_object() {
    let folder = folder(None);
    let server = serve(folder.path());
    let object =
        json!({"response_format": {"type": "json_object"}, "temperature": 1, "max_tokens": 60, "n": 12, "seed": 1});
    let mut whole = 0;
    for choice in served(&chat(&server, &object))["choices"].as_array().unwrap() {
        let text = choice["message"]["content"].as_str().unwrap();
        assert!(text.starts_with('{'), "{text:?}");
        if choice["finish_reason"] == "stop" {
            whole += 1;
            assert!(serde_json::from_str::<Value>(text).unwrap().is_object(), "{text:?}");
        } else {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text:?}");
        }
    }
    assert!(whole > 0);
    let cut = served(&chat(&server, &json!({"guided_json": schema(), "max_tokens": 5})));
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
}

#[test]
fn expressions_choices_and_grammars() {
    let folder = folder(None);
    let server = serve(folder.path());
    let texts = |more: Value| -> Vec<String> {
        let more = crate::merged(json!({"temperature": 1, "seed": 2, "n": 8, "max_tokens": 40}), &more);
        let answer = served(&complete(&server, &more));
        let choices = answer["choices"].as_array().unwrap().clone();
        assert!(choices.iter().all(|choice| choice["finish_reason"] == "stop"), "{answer}");
        choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect()
    };
    for expression in ["[a-c]{2}-[0-9]{3}", "^[a-c]{2}-[0-9]{3}$"] {
        for text in texts(json!({"guided_regex": expression})) {
            let (letters, digits) = text.split_once('-').unwrap();
            assert!(letters.len() == 2 && letters.chars().all(|c| ('a'..='c').contains(&c)), "{text}");
            assert!(digits.len() == 3 && digits.chars().all(|c| c.is_ascii_digit()), "{text}");
        }
    }
    let choices = ["yes", "no", "a \"quoted\" / one\n", "nope"];
    let chosen: BTreeSet<String> = texts(json!({"guided_choice": choices})).into_iter().collect();
    assert!(chosen.len() > 1 && chosen.iter().all(|text| choices.contains(&text.as_str())), "{chosen:?}");
    let grammar = "start: \"(\" NUMBER (\"+\" NUMBER)? \")\"\nNUMBER: /[0-9]/";
    for text in texts(json!({"guided_grammar": grammar})) {
        assert!(text.starts_with('(') && text.ends_with(')') && [3, 5].contains(&text.len()), "{text}");
    }
    let unicode = texts(json!({"guided_choice": ["żółć", "日本"]}));
    assert!(unicode.iter().all(|text| ["żółć", "日本"].contains(&text.as_str())), "{unicode:?}");
}

#[test]
fn forms_that_make_no_sense_are_refused() {
    let folder = folder(None);
    let server = serve(folder.path());
    for (more, field) in [
        (json!({"response_format": {"type": "json_schema"}}), "response_format"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}}),
            "response_format",
        ),
        (json!({"guided_json": {"type": "object", "properties": 5}}), "guided_json"),
        (json!({"guided_regex": "[a"}), "guided_regex"),
        (json!({"guided_choice": []}), "guided_choice"),
        (json!({"guided_grammar": "begin: \"a\""}), "guided_grammar"),
        (json!({"guided_json": {"type": "integer"}, "guided_regex": "a"}), "guided_regex"),
        (json!({"guided_regex": "a", "ignore_eos": true}), "ignore_eos"),
        (json!({"guided_regex": "a", "min_tokens": 2}), "min_tokens"),
        (json!({"structured_outputs": {"structural_tag": "x"}}), "structured_outputs"),
    ] {
        let response = chat(&server, &more);
        assert_eq!(response.status, 400, "{more}: {}", response.text);
        assert_eq!(response.json()["error"]["param"], field, "{more}: {}", response.text);
        assert!(!response.error().contains('\n'), "{}", response.error());
    }
}
