//! Given texts: their log-probabilities, their embeddings, turns to continue, fields of messages.

use llama::ModelFolder;
use llama::attention::{Packed, packed_positions};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::{chat, complete, content, folder, serve, served};

fn floats(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
    }
}

#[test]
fn the_log_probabilities_of_a_text_are_those_of_the_forward_pass() {
    let folder = folder(None);
    let server = serve(folder.path());
    let model = ModelFolder::load(folder.path(), Some(Kind::Float), Device::Cpu).unwrap().model;
    let expected = |text: &str| -> Vec<f64> {
        let ids: Vec<i64> = text.bytes().map(i64::from).collect();
        let scores = llama::log_probs(&model, &[(ids[..1].to_vec(), ids[1..].to_vec())]).unwrap();
        scores[0].iter().map(|&score| f64::from(score)).collect()
    };
    // Longer than one block of rows.
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    let answer =
        served(&complete(&server, &json!({"prompt": ["Hello", long], "max_tokens": 0, "echo": true, "logprobs": 1})));
    for (index, text) in ["Hello", &long].into_iter().enumerate() {
        let choice = &answer["choices"][index];
        assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(text), &json!("length")));
        let told = &choice["logprobs"];
        assert_eq!((&told["token_logprobs"][0], &told["top_logprobs"][0]), (&Value::Null, &Value::Null));
        let own = told["token_logprobs"].as_array().unwrap()[1..].to_vec();
        assert_near(&floats(&own.into()), &expected(text));
        assert_eq!(told["text_offset"], json!((0..text.len()).collect::<Vec<_>>()));
        // The most likely token and the text's own token are among the top ones.
        for (place, top) in told["top_logprobs"].as_array().unwrap().iter().enumerate().skip(1) {
            let top = top.as_object().unwrap();
            let own = &told["token_logprobs"][place];
            assert!(top.values().any(|logprob| logprob == own) && top.len() <= 2, "{top:?} {own}");
            assert!(top.values().all(|logprob| logprob.as_f64() >= own.as_f64()), "{top:?} {own}");
        }
    }
    assert_eq!(answer["usage"], json!({"prompt_tokens": 905, "completion_tokens": 0, "total_tokens": 905}));
}

#[test]
fn an_echoed_prompt_stands_before_its_answer() {
    let folder = folder(None);
    let server = serve(folder.path());
    let plain = served(&complete(&server, &json!({"logprobs": 2})));
    let (text, tokens) = (plain["choices"][0]["text"].as_str().unwrap(), &plain["choices"][0]["logprobs"]["tokens"]);
    let echoed = served(&complete(&server, &json!({"logprobs": 2, "echo": true})));
    let choice = &echoed["choices"][0];
    assert_eq!(choice["text"], format!("Hello{text}"));
    let told = &choice["logprobs"];
    assert_eq!(told["tokens"].as_array().unwrap()[5..], tokens.as_array().unwrap()[..]);
    assert_eq!((&told["text_offset"][4], &told["text_offset"][5]), (&json!(4), &json!(5)));
    assert_eq!(plain["choices"][0]["logprobs"]["text_offset"][0], 0);
    // Ids, without log-probabilities, in pieces.
    let ids: Vec<i64> = "Hello".bytes().map(i64::from).collect();
    assert_eq!(served(&complete(&server, &json!({"prompt": ids, "echo": true})))["choices"][0]["text"], choice["text"]);
    for more in [json!({"echo": true, "stream": true}), json!({"echo": true, "stream": true, "logprobs": 2})] {
        let pieces = complete(&server, &more).pieces();
        let joined: String = pieces.iter().map(|piece| piece["choices"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(joined, choice["text"].as_str().unwrap(), "{more}");
        let told: Vec<&Value> =
            pieces.iter().filter_map(|p| p["choices"][0]["logprobs"]["text_offset"].as_array()).flatten().collect();
        assert!(more.get("logprobs").is_none() || told.len() == 13, "{told:?}");
        assert!(told.iter().enumerate().all(|(place, offset)| place >= 5 || **offset == json!(place)), "{told:?}");
    }
    assert_eq!(complete(&server, &json!({"max_tokens": 0})).status, 400);
    assert_eq!(chat(&server, &json!({"echo": true})).status, 400);
}

#[test]
fn an_embedding_is_the_mean_of_the_last_hidden_states() {
    let folder = folder(None);
    let server = serve(folder.path());
    let model = ModelFolder::load(folder.path(), Some(Kind::Float), Device::Cpu).unwrap().model;
    let mean = |text: &str| -> Vec<f64> {
        let _no_grad = tch::no_grad_guard();
        let ids: Vec<i64> = text.bytes().map(i64::from).collect();
        let documents = [vec![ids.len() as i64]];
        let positions = packed_positions(&documents, ids.len() as i64);
        let input = Tensor::from_slice(&ids).unsqueeze(0);
        let hidden = model
            .hidden_states(&input, &positions, &mut Packed { documents: &documents }, llama::Pass::default())
            .unwrap();
        let mean = hidden.squeeze_dim(0).mean_dim([0].as_slice(), false, Kind::Double);
        Vec::try_from(mean).unwrap()
    };
    let long = "long ".repeat(130);
    let answer = served(&server.ask("/v1/embeddings", &json!({"model": "tiny", "input": ["Hello", long]})));
    assert_eq!((&answer["object"], &answer["usage"]["prompt_tokens"]), (&json!("list"), &json!(655)));
    for (index, text) in ["Hello", &long].into_iter().enumerate() {
        assert_eq!(answer["data"][index]["index"], index);
        assert_near(&floats(&answer["data"][index]["embedding"]), &mean(text));
    }
    // The same in base64, which the openai library asks for, and from ids.
    let ids: Vec<i64> = "Hello".bytes().map(i64::from).collect();
    let encoded = served(&server.ask("/v1/embeddings", &json!({"input": ids, "encoding_format": "base64"})));
    use base64::Engine as _;
    let text = encoded["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let numbers: Vec<f64> =
        bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
    assert_near(&numbers, &floats(&answer["data"][0]["embedding"]));
    for bad in [
        json!({}),
        json!({"input": ""}),
        json!({"input": []}),
        json!({"input": "x", "dimensions": 7}),
        json!({"input": "x", "encoding_format": "int8"}),
        json!({"input": "x".repeat(3000)}),
        json!({"input": "x", "foo": 1}),
    ] {
        assert_eq!(server.ask("/v1/embeddings", &bad).status, 400, "{bad}");
    }
}

#[test]
fn a_last_turn_is_continued() {
    let folder = folder(None);
    let server = serve(folder.path());
    let user = json!({"role": "user", "content": "Hi"});
    let messages = json!([user, {"role": "assistant", "content": "Sure, "}]);
    let more = json!({"messages": messages, "continue_final_message": true, "add_generation_prompt": false});
    let answer = served(&chat(&server, &more));
    let text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSure, ";
    let same = served(&complete(&server, &json!({"prompt": text})));
    assert_eq!(content(&answer), same["choices"][0]["text"]);
    assert_eq!(answer["usage"], same["usage"]);
    let alone = served(&chat(&server, &json!({"messages": messages, "continue_final_message": true})));
    assert_eq!(content(&alone), content(&answer));
    for bad in [
        json!({"messages": [user], "continue_final_message": true}),
        json!({"messages": messages, "continue_final_message": true, "add_generation_prompt": true}),
    ] {
        assert_eq!(chat(&server, &bad).status, 400, "{bad}");
    }
    // Without the start of a turn, the model continues after the end of the last message.
    let bare = served(&chat(&server, &json!({"messages": [user], "add_generation_prompt": false})));
    let text = served(&complete(&server, &json!({"prompt": "<|im_start|>user\nHi<|im_end|>\n"})));
    assert_eq!(bare["usage"], text["usage"]);
}

#[test]
fn a_template_that_trims_contents_is_continued_too() {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[end]{% endfor %}";
    let folder = folder(Some(template));
    let server = serve(folder.path());
    let messages = json!([{"role": "user", "content": " Hi "}, {"role": "assistant", "content": " Sure,  "}]);
    let asked = served(&server.ask("/tokenize", &json!({"messages": messages, "continue_final_message": true})));
    let text = served(&server.ask("/detokenize", &json!({"tokens": asked["tokens"]})));
    assert_eq!(text["prompt"], "[user]Hi[end][assistant]Sure,");
}

#[test]
fn variables_reach_the_template() {
    let template = "{% if enable_thinking is defined and not enable_thinking %}(no thinking){% endif %}\
                    {% for m in messages %}{{ m.content }}{% endfor %}";
    let folder = folder(Some(template));
    let server = serve(folder.path());
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let text = |more: Value| {
        let asked = served(&server.ask("/tokenize", &crate::merged(json!({"messages": messages}), &more)));
        served(&server.ask("/detokenize", &json!({"tokens": asked["tokens"]})))["prompt"].as_str().unwrap().to_owned()
    };
    assert_eq!(text(json!({})), "Hi");
    assert_eq!(text(json!({"chat_template_kwargs": {"enable_thinking": false}})), "(no thinking)Hi");
    assert_eq!(text(json!({"chat_template_kwargs": {"enable_thinking": true, "other": 1}})), "Hi");
    for bad in [
        json!({"chat_template_kwargs": []}),
        json!({"chat_template_kwargs": {"messages": []}}),
        json!({"documents": [{"text": "x"}]}),
    ] {
        assert_eq!(chat(&server, &bad).status, 400, "{bad}");
    }
}

#[test]
fn messages_of_openais_schema_pass_and_others_are_refused() {
    let folder = folder(None);
    let server = serve(folder.path());
    let user = json!({"role": "user", "content": "Hi"});
    let with = |first: Value| chat(&server, &json!({"messages": [first, user]}));
    let system = served(&with(json!({"role": "system", "content": "x"})));
    let developer = served(&with(json!({"role": "developer", "content": "x"})));
    assert_eq!((&developer["choices"], &developer["usage"]), (&system["choices"], &system["usage"]));
    let full = json!({"role": "assistant", "content": "x", "refusal": null, "annotations": [], "audio": null,
        "function_call": null, "tool_calls": null, "reasoning_content": ""});
    assert_eq!(served(&with(full))["usage"], served(&with(json!({"role": "assistant", "content": "x"})))["usage"]);
    for field in ["foo", "reasoning_content", "weight"] {
        let mut message = json!({"role": "user", "content": "x"});
        message[field] = json!(1);
        let refused = with(message);
        assert!(refused.status == 400 && refused.error().contains(&format!("[0].{field}")), "{}", refused.text);
    }
    // Unknown fields at the top level are not ignored either.
    for (field, value) in [
        ("reasoning_effort", json!("low")),
        ("use_beam_search", json!(true)),
        ("foo", json!(false)),
        ("bad_words", json!(["x"])),
        ("allowed_token_ids", json!([1])),
        ("prompt_logprobs", json!(1)),
    ] {
        assert_eq!(chat(&server, &json!({field: value})).status, 400, "{field}");
    }
    let neutral = json!({"reasoning_effort": null, "use_beam_search": false, "bad_words": [], "length_penalty": 1.0,
        "skip_special_tokens": true, "modalities": ["text"], "user": "me", "service_tier": "auto", "logprobs": null,
        "stream_options": null, "n": 1, "functions": [], "tool_choice": "auto", "parallel_tool_calls": true});
    served(&chat(&server, &neutral));
}
