//! The server over loopback with a real model: answers, streams, faulty requests, hostile clients, draining. Skipped
//! if the model is not in the cache.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Response, Server, read};
use llama::{GpuKernels, Graphs, SamplingParams};
use sampler::{Endpoint, EndpointOptions, LocalOptions, SampleRequest, Sampler};
use serde_json::{Value, json};
use tch::{Device, Kind};

const MODEL: &str = "smollm2-135m-instruct";

/// `None`, and the test is skipped, if the model is not in the cache.
fn start(slots: usize, queue: usize) -> Option<Server> {
    let path = test_support::require(llama::locate::locate(MODEL))?;
    Some(Server::of(&path, "smol", slots, queue))
}

trait Chat {
    fn chat(&self, more: Value) -> Response;
}

impl Chat for Server {
    fn chat(&self, more: Value) -> Response {
        self.ask("/v1/chat/completions", &chat(more))
    }
}

/// A chat request with further fields.
fn chat(more: Value) -> Value {
    let mut body = json!({"model": "smol", "max_tokens": 12, "temperature": 0,
        "messages": [{"role": "user", "content": "What is the capital of France?"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn answers_are_those_of_a_local_model_with_the_same_seeds() {
    let Some(server) = start(4, 64) else { return };
    let questions = ["Say hi.", "Count to five.", "Name a colour.", "What is gravity?", "Why?"];
    let requests: Vec<SampleRequest> = (0..10)
        .map(|i| SampleRequest {
            seed: 1000 + i as u64,
            sampling: SamplingParams { temperature: 0.9, top_p: 0.95, ..SamplingParams::default() },
            ..SampleRequest::new(vec![dataset::Message::user(questions[i % 5])], 16)
        })
        .collect();
    let sample = |sampler: Sampler| {
        let mut answers = vec![None; requests.len()];
        let mut done = |index: usize, answer: Result<sampler::Answer, _>| {
            let answer = answer?;
            answers[index] = Some((answer.text, answer.finish_reason, answer.tokens, answer.token_logprobs));
            Ok(())
        };
        sampler.sample(&requests, &mut done).unwrap();
        answers
    };
    let options = LocalOptions {
        adapter: None,
        max_num_seqs: 3,
        kind: Kind::Float,
        device: Device::Cpu,
        gpu_kernels: GpuKernels::Own,
        graphs: Graphs::On,
    };
    let local = sample(Sampler::open_local(MODEL, options).unwrap());
    let options = EndpointOptions { logprobs: true, concurrency: 7, ..EndpointOptions::default() };
    let endpoint = Endpoint::open(&format!("http://{}", server.addr), options).unwrap();
    assert_eq!(endpoint.model(), "smol");
    assert_eq!(sample(Sampler::Endpoint(Box::new(endpoint))), local);
    assert!(server.metric("herd_cached_tokens_total") > 0.0);
}

#[test]
fn chat_whole_and_streamed() {
    let Some(server) = start(4, 64) else { return };
    let answer = server.chat(json!({"logprobs": true, "top_logprobs": 2}));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!(answer["object"], "chat.completion");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": "The capital of France is Paris."}));
    assert_eq!(choice["finish_reason"], "stop");
    let told = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(told.len() as u64, answer["usage"]["completion_tokens"].as_u64().unwrap());
    assert_eq!((&told[0]["token"], &told[0]["bytes"]), (&json!("The"), &json!([84, 104, 101])));
    assert_eq!(told[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(told[0]["top_logprobs"][0]["logprob"], told[0]["logprob"]);
    let total = answer["usage"]["prompt_tokens"].as_u64().unwrap() + told.len() as u64;
    assert_eq!(answer["usage"]["total_tokens"], total);

    // Several answers differ, and the stream of each equals the complete answer.
    let story = json!([{"role": "user", "content": "Tell me a story about a dragon."}]);
    let several = json!({"messages": story, "n": 3, "seed": 7, "temperature": 1.0, "stop": ["."]});
    let whole = server.chat(several.clone()).json();
    let texts: Vec<&str> = (0..3).map(|i| whole["choices"][i]["message"]["content"].as_str().unwrap()).collect();
    assert!(texts[0] != texts[1] || texts[1] != texts[2], "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains('.')));
    let mut streaming = several;
    streaming["stream"] = true.into();
    streaming["stream_options"] = json!({"include_usage": true});
    let response = server.chat(streaming);
    assert!(response.head.contains("content-type: text/event-stream"), "{}", response.head);
    let pieces = response.pieces();
    let mut streamed = vec![String::new(); 3];
    let mut reasons = vec![Value::Null; 3];
    for piece in &pieces {
        assert_eq!(piece["object"], "chat.completion.chunk");
        let Some(choice) = piece["choices"].get(0) else { continue };
        let index = choice["index"].as_u64().unwrap() as usize;
        streamed[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        if !choice["finish_reason"].is_null() {
            reasons[index] = choice["finish_reason"].clone();
        }
    }
    assert_eq!(streamed, texts);
    assert_eq!(reasons, (0..3).map(|i| whole["choices"][i]["finish_reason"].clone()).collect::<Vec<_>>());
    assert_eq!(pieces.last().unwrap()["usage"], whole["usage"]);
}

#[test]
fn completions_take_texts_and_ids() {
    let Some(server) = start(4, 64) else { return };
    let ask = |more: Value| {
        let mut body = json!({"model": "smol", "max_tokens": 4, "temperature": 0});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        server.ask("/v1/completions", &body)
    };
    let one = ask(json!({"prompt": "The capital of France is", "logprobs": 1})).json();
    assert_eq!(one["object"], "text_completion");
    let text = one["choices"][0]["text"].as_str().unwrap();
    assert!(text.starts_with(" Paris"), "{text:?}");
    let logprobs = &one["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"][0], " Paris");
    assert_eq!(logprobs["top_logprobs"][0][" Paris"], logprobs["token_logprobs"][0]);
    let tokenizer = chat::Tokenizer::from_dir(&llama::locate::locate(MODEL).unwrap()).unwrap();
    let ids = tokenizer.encode("The capital of France is", false).unwrap();
    assert_eq!(ask(json!({"prompt": ids})).json()["choices"][0]["text"], text);
    let both = ask(json!({"prompt": ["The capital of France is", "One two three"], "n": 2})).json();
    assert_eq!(both["choices"].as_array().unwrap().len(), 4);
    assert_eq!((&both["choices"][0]["text"], &both["choices"][1]["text"]), (&json!(text), &json!(text)));
    let cut = ask(json!({"prompt": "The capital of France is", "max_tokens": 1})).json();
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]),
        (&json!("length"), &json!(1))
    );
    let streamed = ask(json!({"prompt": "The capital of France is", "stream": true})).pieces();
    let joined: String = streamed.iter().map(|piece| piece["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
}

#[test]
fn mistakes_are_refused_and_the_server_goes_on() {
    let Some(server) = start(2, 8) else { return };
    for (more, status, sentence) in [
        (json!({"messages": []}), 400, "messages: must be"),
        (json!({"messages": "hi"}), 400, "messages: must be"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), 400, "messages: [0].role"),
        (json!({"messages": [{"role": "user"}]}), 400, "messages: [0].content"),
        (json!({"messages": [{"role": "user", "content": "word ".repeat(9000)}]}), 400, "tokens are too many"),
        (json!({"model": "gpt-5"}), 404, "there is no model \"gpt-5\""),
        (json!({"temperature": -1}), 400, "temperature must be"),
        (json!({"temperature": "hot"}), 400, "temperature: must be a number"),
        (json!({"top_p": 0}), 400, "top_p must be"),
        (json!({"n": 0}), 400, "n: must be at least 1"),
        (json!({"n": 100}), 400, "more than the queue holds (10)"),
        (json!({"n": -1}), 400, "n: must be"),
        (json!({"max_tokens": 0}), 400, "max_tokens: must be"),
        (json!({"max_tokens": 1.5}), 400, "max_tokens: must be"),
        (json!({"stop": [""]}), 400, "stop: "),
        (json!({"stop": 3}), 400, "stop: "),
        (json!({"top_logprobs": 3}), 400, "top_logprobs: needs"),
        (json!({"logprobs": true, "top_logprobs": 21}), 400, "top_logprobs: at most"),
        (json!({"tools": [{"type": "function"}]}), 400, "tools: [0].function.name"),
        (json!({"response_format": {"type": "xml"}}), 400, "response_format: type \"xml\" is not"),
        (json!({"presence_penalty": 3}), 400, "presence_penalty: must be between"),
        (json!({"logit_bias": {"99999999": 1}}), 400, "logit_bias: token id"),
        (json!({"temprature": 1}), 400, "\"temprature\" is not a field"),
        (json!({"seed": "x"}), 400, "seed: must be"),
    ] {
        let response = server.chat(more.clone());
        assert_eq!(response.status, status, "{more}: {}", response.text);
        assert!(response.error().contains(sentence), "{more}: {}", response.error());
    }
    for body in ["", "{", "[]", "\"x\"", "{\"messages\": [1]}", &"[".repeat(100_000), "{\"a\": 1}"] {
        let response = read(server.send("POST", "/v1/chat/completions", body));
        assert_eq!(response.status, 400, "{body:.20}");
        assert!(!response.error().is_empty());
    }
    let huge = read(server.send("POST", "/v1/chat/completions", &" ".repeat((1 << 20) + 1)));
    assert_eq!((huge.status, huge.error().as_str()), (413, "the body is larger than 1048576 bytes"));
    // A prompt of nearly a mebibyte: tokenised, then refused.
    let long = chat(json!({"messages": [{"role": "user", "content": "ab ".repeat(340_000)}]}));
    assert_eq!(server.ask("/v1/chat/completions", &long).status, 400);
    for ids in [json!([0, 1_i64 << 40]), json!([-1]), json!([[1, "x"]]), json!([]), json!([[]])] {
        let response = server.ask("/v1/completions", &json!({"prompt": ids}));
        assert!(response.status == 400 && response.error().starts_with("prompt: "), "{ids}: {}", response.text);
    }
    assert_eq!(server.get("/v1/nothing").status, 404);
    assert_eq!(server.get("/v1/chat/completions").status, 405);
    assert_eq!(server.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "smol");
    // Neutral values and fields without effect are accepted.
    let neutral = json!({"user": "me", "tools": [], "presence_penalty": 0, "response_format": {"type": "text"},
        "logit_bias": {}, "top_k": -1, "stop": null, "store": false});
    assert_eq!(server.chat(neutral).json()["choices"][0]["message"]["content"], "The capital of France is Paris.");
    // The numbers are updated after the step that sent the last token.
    server.wait_for("herd_sequences_running", 0.0);
}

/// A request with a very long answer.
fn endless(more: Value) -> String {
    let mut body = chat(json!({"ignore_eos": true, "max_tokens": 4000}));
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

#[test]
fn clients_that_go_away_free_their_places() {
    let Some(server) = start(2, 8) else { return };
    let path = "/v1/chat/completions";
    let mut streaming = server.send("POST", path, &endless(json!({"stream": true})));
    let mut byte = [0; 1];
    streaming.read_exact(&mut byte).unwrap();
    let waiting = server.send("POST", path, &endless(json!({})));
    server.wait_for("herd_sequences_running", 2.0);
    // One more request waits in the queue. It disconnects first, then the others, during their answers.
    let queued = server.send("POST", path, &endless(json!({})));
    server.wait_for("herd_sequences_waiting", 1.0);
    drop(queued);
    server.wait_for("herd_sequences_waiting", 0.0);
    drop(streaming);
    server.wait_for("herd_sequences_running", 1.0);
    drop(waiting);
    server.wait_for("herd_sequences_running", 0.0);
    assert_eq!(server.metric("herd_cancelled_total"), 3.0);
    assert_eq!(server.metric("worker_in_flight"), 0.0);
    assert_eq!(server.chat(json!({})).status, 200);
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let Some(server) = start(2, 8) else { return };
    let _slow = server.send("POST", "/v1/chat/completions", &endless(json!({"stream": true, "logprobs": true})));
    server.wait_for("herd_sequences_running", 1.0);
    for _ in 0..3 {
        assert_eq!(server.chat(json!({})).json()["choices"][0]["finish_reason"], "stop");
    }
}

#[test]
fn more_requests_than_the_queue_holds_are_429() {
    let Some(server) = start(1, 1) else { return };
    let path = "/v1/chat/completions";
    let running = server.send("POST", path, &endless(json!({})));
    server.wait_for("herd_sequences_running", 1.0);
    let waiting = server.send("POST", path, &chat(json!({})).to_string());
    server.wait_for("herd_sequences_waiting", 1.0);
    for more in [json!({}), json!({"stream": true}), json!({"n": 2})] {
        let refused = server.chat(more);
        assert_eq!((refused.status, refused.error().as_str()), (429, "the queue is full; try again later"));
        assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    }
    drop(running);
    assert_eq!(read(waiting).json()["choices"][0]["finish_reason"], "stop");
    assert_eq!(server.metric("worker_rejected_total"), 3.0);
    assert_eq!(server.chat(json!({})).status, 200);
}

#[test]
fn draining_finishes_answers_and_takes_none() {
    let Some(mut server) = start(2, 8) else { return };
    let path = "/v1/chat/completions";
    let more = json!({"ignore_eos": true, "max_tokens": 60});
    let whole = server.send("POST", path, &chat(more.clone()).to_string());
    let mut streaming = more;
    streaming["stream"] = true.into();
    let streamed = server.send("POST", path, &chat(streaming).to_string());
    server.wait_for("herd_sequences_running", 2.0);
    server.stop.take();
    let start = Instant::now();
    while server.get("/healthz").status != 503 {
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    let refused = server.chat(json!({}));
    assert!(refused.status == 503 && refused.error().contains("shutting down"), "{}", refused.text);
    assert_eq!(read(whole).json()["usage"]["completion_tokens"], 60);
    let pieces = read(streamed).pieces();
    assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "length");
    server.thread.take().unwrap().join().unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).is_err());
}
