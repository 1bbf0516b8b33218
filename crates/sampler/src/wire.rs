//! The wire format of chat completions, as in OpenAI, vLLM, SGLang and llama.cpp.

use dataset::FinishReason;
use serde_json::{Map, Value, json};

use crate::request::{Answer, SampleRequest, StopTokens, Turn};

/// The differences between servers.
pub(crate) struct Dialect {
    /// The field name of the maximum length.
    pub length_field: &'static str,
    /// Whether to request log-probabilities.
    pub logprobs: bool,
    /// Whether to send the seed.
    pub seed: bool,
}

/// The body of a request for one answer. Fields that OpenAI does not have are included only if they are not neutral.
pub(crate) fn body(
    request: &SampleRequest,
    model: &str,
    dialect: &Dialect,
    stop_tokens: &StopTokens,
    turn: &Turn,
) -> Value {
    let sampling = &request.sampling;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("messages".into(), json!(request.messages));
    if !request.tools.is_empty() {
        body.insert("tools".into(), json!(request.tools));
    }
    body.insert("temperature".into(), sampling.temperature.into());
    body.insert("top_p".into(), sampling.top_p.into());
    body.insert(dialect.length_field.into(), request.max_new_tokens.into());
    let mut add = |unless: bool, name: &str, value: Value| {
        if !unless {
            body.insert(name.into(), value);
        }
    };
    add(request.stop.is_empty(), "stop", json!(request.stop));
    add(!dialect.seed, "seed", request.seed.into());
    add(!dialect.logprobs, "logprobs", true.into());
    add(sampling.top_k == 0, "top_k", sampling.top_k.into());
    add(sampling.min_p == 0.0, "min_p", sampling.min_p.into());
    add(sampling.repetition_penalty == 1.0, "repetition_penalty", sampling.repetition_penalty.into());
    add(!stop_tokens.ignore_eos, "ignore_eos", true.into());
    add(stop_tokens.ids.is_empty(), "stop_token_ids", json!(stop_tokens.ids));
    add(!turn.continues, "continue_final_message", true.into());
    add(!turn.continues, "add_generation_prompt", false.into());
    add(turn.variables.is_empty(), "chat_template_kwargs", json!(turn.variables));
    Value::Object(body)
}

/// The answer in a response, or the fault of the response.
pub(crate) fn answer(response: &Value) -> Result<Answer, String> {
    let choice = response["choices"].get(0).ok_or("the response has no choices[0]")?;
    let text = match &choice["message"]["content"] {
        Value::String(text) => text.clone(),
        // An answer that calls tools, or that was truncated during reasoning, has no text.
        Value::Null if choice["message"].is_object() => String::new(),
        Value::Array(parts) => joined(parts)?,
        _ => return Err("choices[0].message.content is not a text".into()),
    };
    let finish_reason = choice["finish_reason"].as_str().ok_or("choices[0].finish_reason is missing")?;
    let logprobs: Option<Vec<f64>> = choice["logprobs"]["content"]
        .as_array()
        .map(|tokens| tokens.iter().map(|token| token["logprob"].as_f64().ok_or("a logprob is not a number")).collect())
        .transpose()?;
    let told = response["usage"]["completion_tokens"].as_u64();
    Ok(Answer {
        text,
        finish_reason: FinishReason::from(finish_reason.to_owned()),
        logprob: logprobs.as_ref().map(|logprobs| logprobs.iter().sum()),
        tokens: told.or(logprobs.as_ref().map(|logprobs| logprobs.len() as u64)).unwrap_or(0),
        token_ids: None,
        token_logprobs: logprobs.map(|logprobs| logprobs.into_iter().map(|logprob| logprob as f32).collect()),
    })
}

/// The text of an answer that is given in parts, as some gateways do. Parts of other kinds (such as `thinking`) do
/// not belong to the answer's text.
fn joined(parts: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    for part in parts {
        match (part.as_str(), part["type"].as_str()) {
            (Some(plain), _) => text.push_str(plain),
            (None, Some("text" | "output_text")) => {
                text.push_str(part["text"].as_str().ok_or("a text part of choices[0].message.content has no text")?);
            }
            (None, Some(_)) => {}
            (None, None) => return Err("a part of choices[0].message.content has no type".into()),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_values_stay_at_home() {
        let mut request = SampleRequest::new(vec![dataset::Message::user("hi")], 7);
        let dialect = Dialect { length_field: "max_tokens", logprobs: false, seed: true };
        let plain = body(&request, "m", &dialect, &StopTokens::default(), &Turn::default());
        assert_eq!(
            plain,
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 1.0, "top_p": 1.0,
                   "max_tokens": 7, "seed": 0})
        );
        request.sampling.top_k = 5;
        request.stop = vec!["END".into()];
        let dialect = Dialect { length_field: "max_completion_tokens", logprobs: true, seed: false };
        let turn = Turn { continues: true, variables: [("x".to_owned(), json!(false))].into_iter().collect() };
        let more = body(&request, "m", &dialect, &StopTokens { ignore_eos: true, ids: vec![3] }, &turn);
        assert_eq!(
            (&more["top_k"], &more["stop"], &more["logprobs"], &more["ignore_eos"], &more["stop_token_ids"]),
            (&json!(5), &json!(["END"]), &json!(true), &json!(true), &json!([3]))
        );
        assert_eq!((more.get("seed"), more.get("max_tokens")), (None, None));
        assert_eq!((&more["continue_final_message"], &more["add_generation_prompt"]), (&json!(true), &json!(false)));
        assert_eq!(more["chat_template_kwargs"], json!({"x": false}));
        assert_eq!(more["max_completion_tokens"], 7);
    }

    #[test]
    fn answers_are_read_and_defects_named() {
        let full = json!({"choices": [{"message": {"content": "4"}, "finish_reason": "stop",
            "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.25}]}}], "usage": {"completion_tokens": 2}});
        let found = answer(&full).unwrap();
        assert_eq!((found.text.as_str(), found.tokens, found.logprob), ("4", 2, Some(-0.75)));
        assert_eq!(found.finish_reason, FinishReason::Stop);
        let bare = json!({"choices": [{"message": {"content": null}, "finish_reason": "tool_calls"}]});
        let found = answer(&bare).unwrap();
        assert_eq!((found.text.as_str(), found.tokens, found.logprob), ("", 0, None));
        let parts = json!([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "The answer "},
            {"type": "text", "text": "is 18"}]);
        let parts = json!({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]});
        assert_eq!(answer(&parts).unwrap().text, "The answer is 18");
        for bad in [json!({}), json!({"choices": []}), json!({"choices": [{"message": {"content": "x"}}]}), json!([1])]
        {
            assert!(answer(&bad).is_err(), "{bad}");
        }
    }
}
