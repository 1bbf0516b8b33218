//! Fields that change sampling.

use serde_json::json;

use crate::{END, chat, complete, content, folder, serve, served};

#[test]
fn biases_move_tokens() {
    let folder = folder(None);
    let server = serve(folder.path());
    let favoured = served(&chat(&server, &json!({"logit_bias": {"65": 100}})));
    assert_eq!(content(&favoured), "A".repeat(8));
    // The returned log-probability stays that of the model.
    let told = served(&chat(
        &server,
        &json!({"logit_bias": {"65": 100}, "logprobs": true, "top_logprobs": 1, "max_tokens": 1}),
    ));
    let plain = served(&complete(&server, &json!({"max_tokens": 1, "logprobs": 20})));
    assert!(told["choices"][0]["logprobs"]["content"][0]["logprob"].as_f64().unwrap() < -0.5, "{told}");
    assert!(plain["choices"][0]["logprobs"]["token_logprobs"][0].as_f64().unwrap() < 0.0);
    let first = plain["choices"][0]["text"].as_str().unwrap().bytes().next().unwrap();
    let without = served(&complete(&server, &json!({"max_tokens": 1, "logit_bias": {first.to_string(): -100}})));
    assert_ne!(without["choices"][0]["text"].as_str().unwrap().bytes().next(), Some(first));
    for bad in [json!({"1000": 1}), json!({"x": 1}), json!({"65": 101}), json!({"65": "high"}), json!([1])] {
        assert_eq!(chat(&server, &json!({"logit_bias": bad})).status, 400, "{bad}");
    }
}

#[test]
fn a_least_length_holds_the_end_back() {
    let folder = folder(None);
    let server = serve(folder.path());
    let ends = json!({END.to_string(): 100});
    let at_once = served(&chat(&server, &json!({"logit_bias": ends, "max_tokens": 20})));
    assert_eq!(
        (&at_once["usage"]["completion_tokens"], &at_once["choices"][0]["finish_reason"]),
        (&json!(1), &json!("stop"))
    );
    let later = served(&chat(&server, &json!({"logit_bias": ends, "max_tokens": 20, "min_tokens": 5})));
    assert_eq!(
        (&later["usage"]["completion_tokens"], &later["choices"][0]["finish_reason"]),
        (&json!(6), &json!("stop"))
    );
    assert_eq!(chat(&server, &json!({"min_tokens": 9})).status, 400);
}

#[test]
fn penalties_make_room_for_other_tokens() {
    let folder = folder(None);
    let server = serve(folder.path());
    let biases = json!({"65": 100, "66": 80});
    let text = |more: serde_json::Value| {
        let more = crate::merged(json!({"logit_bias": biases, "max_tokens": 40}), &more);
        content(&served(&chat(&server, &more))).to_owned()
    };
    assert_eq!(text(json!({})), "A".repeat(40));
    let penalised = text(json!({"frequency_penalty": 2}));
    assert!(penalised.contains('B') && penalised.starts_with('A'), "{penalised}");
    // The presence penalty is subtracted once, however often a token occurs.
    assert_eq!(text(json!({"presence_penalty": 2})), "A".repeat(40));
    let near = json!({"65": 100, "66": 99});
    let both = served(&chat(
        &server,
        &json!({"logit_bias": near, "presence_penalty": 2, "frequency_penalty": 2, "max_tokens": 40}),
    ));
    let both = content(&both);
    assert!(both.contains("AB") || both.contains("BA"), "{both}");
    for bad in [json!({"presence_penalty": 3}), json!({"frequency_penalty": -2.5}), json!({"presence_penalty": "x"})] {
        assert_eq!(chat(&server, &bad).status, 400, "{bad}");
    }
}

#[test]
fn the_best_of_several_is_the_likeliest() {
    let folder = folder(None);
    let server = serve(folder.path());
    let more = json!({"temperature": 1.5, "seed": 5, "max_tokens": 6, "logprobs": 0, "prompt": ["one", "two"]});
    let all = served(&complete(&server, &crate::merged(more.clone(), &json!({"n": 4}))));
    let best = served(&complete(&server, &crate::merged(more.clone(), &json!({"n": 1, "best_of": 4}))));
    let mean = |choice: &serde_json::Value| {
        let list = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        list.iter().map(|x| x.as_f64().unwrap()).sum::<f64>() / list.len() as f64
    };
    for prompt in 0..2 {
        let group = &all["choices"].as_array().unwrap()[4 * prompt..4 * prompt + 4];
        let likeliest = group.iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
        assert_eq!(best["choices"][prompt]["text"], likeliest["text"]);
    }
    assert_eq!(best["choices"].as_array().unwrap().len(), 2);
    // All generated tokens are counted.
    assert_eq!(best["usage"], all["usage"]);
    assert_eq!(complete(&server, &json!({"n": 2, "best_of": 1})).status, 400);
    assert_eq!(complete(&server, &json!({"best_of": 2, "stream": true})).status, 400);
}
