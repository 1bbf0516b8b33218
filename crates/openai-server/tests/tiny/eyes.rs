//! Conversations with pictures, answered by a stand-in for the model that sees.

use dataset::{Content, FinishReason, Message, Part};
use llama::Choice;
use openai_server::{Eyes, Heard, Look, Looking, On, Reject};
use serde_json::{Value, json};

use crate::common::Server;
use crate::{chat, folder, served};

/// Says how many pictures it got, letter by letter, up to the maximum.
fn eyes() -> Eyes {
    let prepare = |messages: &[Message]| {
        let parts = messages.iter().filter_map(|message| match &message.content {
            Some(Content::Parts(parts)) => Some(parts.parts().to_vec()),
            _ => None,
        });
        let pictures: Vec<Part> = parts.flatten().filter(|part| matches!(part, Part::Other { .. })).collect();
        if pictures.len() > 2 {
            return Err(format!("{} pictures are too many", pictures.len()));
        }
        Ok(Look { prompt: vec![7; 3 + pictures.len()], pictures: vec![b"x".to_vec(); pictures.len()] })
    };
    let answer = |looking: &Looking, each: Heard| {
        let text = format!("{} seen", looking.look.pictures.len());
        for letter in text.bytes().take(looking.max_new_tokens) {
            let choice = Choice { id: i64::from(letter), logprob: -0.5, top: Vec::new() };
            if !each(choice, char::from(letter).to_string()) {
                return Ok(FinishReason::Stop);
            }
        }
        Ok(if text.len() > looking.max_new_tokens { FinishReason::Length } else { FinishReason::Stop })
    };
    Eyes { prepare: Box::new(prepare), answer: Box::new(answer) }
}

fn asked(pictures: usize) -> Value {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let parts: Vec<Value> =
        std::iter::repeat_n(image, pictures).chain([json!({"type": "text", "text": "?"})]).collect();
    json!([{"role": "user", "content": parts}])
}

#[test]
fn a_conversation_with_pictures_goes_to_the_model_that_sees() {
    let folder = folder(None);
    let server = Server::seeing(folder.path(), "tiny", eyes(), None);
    let answer = served(&chat(&server, &json!({"messages": asked(2), "n": 2, "logprobs": true})));
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("2 seen"), &json!("stop")));
        assert_eq!(
            choice["logprobs"]["content"][0],
            json!({"token": "2", "logprob": -0.5, "bytes": [50], "top_logprobs": []})
        );
    }
    assert_eq!(answer["usage"], json!({"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}));
    let short = served(&chat(&server, &json!({"messages": asked(1), "max_tokens": 3})));
    assert_eq!(short["choices"][0]["message"]["content"], "1 s");
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    let streamed = chat(&server, &json!({"messages": asked(1), "stream": true}));
    let pieces: String = streamed
        .text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(pieces, "1 seen");
    // Text has the engine's answer.
    let text = served(&chat(&server, &json!({})));
    assert_eq!(text, served_alone(folder.path(), &text));
}

/// The answer of a server without eyes, with the id and the time of another one.
fn served_alone(folder: &std::path::Path, other: &Value) -> Value {
    let mut answer = served(&chat(&crate::serve(folder), &json!({})));
    for name in ["id", "created"] {
        answer[name] = other[name].clone();
    }
    answer
}

#[test]
fn what_pictures_do_not_go_with_is_refused() {
    let folder = folder(None);
    let server = Server::seeing(folder.path(), "tiny", eyes(), None);
    let refused = |more: Value| {
        let response = chat(&server, &more);
        assert_eq!(response.status, 400, "{}", response.text);
        response.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(refused(json!({"messages": asked(3)})).contains("3 pictures are too many"));
    for more in [json!({"presence_penalty": 1.0}), json!({"guided_regex": "a"}), json!({"min_tokens": 2})] {
        let mut body = json!({"messages": asked(1)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert!(refused(body).contains("an answer about pictures has no given form"), "{more}");
    }
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    assert!(refused(json!({"messages": asked(1), "tools": tools})).contains("has no tools"));
    let blind = crate::serve(folder.path());
    let response = chat(&blind, &json!({"messages": asked(1)}));
    assert!(
        response.status == 400
            && response.text.contains("a part of type \\\"image_url\\\" cannot be used by this model"),
        "{}",
        response.text
    );
}

#[test]
fn a_guard_lets_no_picture_pass() {
    let folder = folder(None);
    let guarding = crate::guard::guarding(On::Both, Reject::Refusal, false);
    let server = Server::seeing(folder.path(), "tiny", eyes(), Some(guarding));
    let response = chat(&server, &json!({"messages": asked(1)}));
    assert!(
        response.status == 400 && response.text.contains("guard judges texts, so pictures are refused"),
        "{}",
        response.text
    );
    served(&chat(&server, &json!({})));
}
