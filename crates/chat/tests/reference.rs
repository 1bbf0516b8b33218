//! Compares 48 conversations and 40 texts of four real models with transformers.

use crate::common;

use chat::{ChatError, RenderOptions, encode_prompt};
use dataset::Message;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    case: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    tools: Option<Vec<Value>>,
    text: Option<String>,
    input_ids: Option<Vec<u32>>,
    error: Option<String>,
}

#[test]
fn conversations_render_and_tokenise_as_in_transformers() {
    let Some(cases) = common::fixture::<Vec<Case>>("cases.json") else { return };
    for name in common::ALL {
        let Some((tokenizer, template)) = common::pair(name) else { continue };
        let mut compared = 0;
        for case in cases.iter().filter(|case| case.tokenizer == name) {
            let place = format!("{name}, {}, generation prompt {}", case.case, case.add_generation_prompt);
            let mut options = RenderOptions {
                add_generation_prompt: case.add_generation_prompt,
                tools: case.tools.clone().unwrap_or_default(),
                ..RenderOptions::default()
            };
            options.variables.insert("date_string".into(), json!("26 Jul 2024"));
            let rendered = template.render(&tokenizer, &case.messages, &options);
            compared += 1;
            let Some(text) = &case.text else {
                let error = rendered.unwrap_err().to_string();
                assert!(case.error.is_some(), "{place}: {error}");
                continue;
            };
            assert_eq!(rendered.as_ref().unwrap(), text, "{place}");
            let expected = case.input_ids.as_ref().unwrap();
            assert_eq!(&tokenizer.encode(text, false).unwrap(), expected, "{place}");
            if case.add_generation_prompt {
                match encode_prompt(&tokenizer, &template, &case.messages, &options) {
                    Ok(ids) => assert_eq!(&ids, expected, "{place}"),
                    // Some templates do not write tools, which transformers ignores.
                    Err(ChatError::NotWritten { .. }) => {
                        assert!(case.tools.is_some() && !text.contains("get_weather"), "{place}");
                    }
                    Err(error) => panic!("{place}: {error}"),
                }
            }
        }
        assert_eq!(compared, 12, "{name}");
    }
}

#[derive(Deserialize)]
struct Text {
    tokenizer: String,
    text: String,
    ids: Vec<u32>,
    ids_with_special: Vec<u32>,
}

#[test]
fn texts_tokenise_as_in_transformers() {
    let Some(cases) = common::fixture::<Vec<Text>>("tokenize_cases.json") else { return };
    for name in common::ALL {
        let Some((tokenizer, _)) = common::pair(name) else { continue };
        let mut compared = 0;
        for case in cases.iter().filter(|case| case.tokenizer == name) {
            assert_eq!(tokenizer.encode(&case.text, false).unwrap(), case.ids, "{name}: {:?}", case.text);
            assert_eq!(tokenizer.encode(&case.text, true).unwrap(), case.ids_with_special, "{name}: {:?}", case.text);
            let mut stream = tokenizer.decode_stream(false);
            let mut streamed: String = case.ids.iter().map(|&id| stream.push(id)).collect();
            streamed += &stream.finish();
            assert_eq!(streamed, tokenizer.decode(&case.ids, false).unwrap(), "{name}: {:?}", case.text);
            compared += 1;
        }
        assert_eq!(compared, 10, "{name}");
    }
}
