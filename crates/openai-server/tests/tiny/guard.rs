//! A guard in front of the model. Its verdicts are forced, so that what may leave is known.

use std::time::{Duration, Instant};

use ::guard::Asked;
use ::guard::guard::{Judge, Verdict};
use ::guard::worker::{Limits, Worker};
use openai_server::{Guarding, On, Reject};
use safety_text::policy::{Applies, Policy};
use serde_json::{Value, json};

use crate::common::Server;
use crate::{chat, complete, folder, merged, serve, served};

/// Tokens that are held back; a token is a byte here.
const WINDOW: usize = 6;
/// Letters of an answer.
const LENGTH: usize = 24;

/// The conversation controls the verdicts: `places N` makes an answer unsafe from a letter on that depends on N and on the answer's first
/// letter; `hang`, `die`, `fail` and `nonsense` take effect at the answer, with `early` at the prompt; a prompt with `forbidden` is
/// unsafe.
struct Forced(Policy);

impl Forced {
    fn new() -> anyhow::Result<Self> {
        let mut policy = Policy::builtin("herd-14").unwrap();
        policy.hold_back_tokens = WINDOW as u32;
        policy.refusal = "REFUSED".into();
        Ok(Self(policy))
    }
}

/// The letter from which on an answer is unsafe; beyond its length: never.
fn place(seed: usize, answer: &str) -> usize {
    let first = answer.bytes().next().map_or(0, |byte| usize::from(byte - b'a'));
    (seed * 7 + first) % (LENGTH + 4)
}

impl Judge for Forced {
    fn judge(&mut self, asked: &[Asked]) -> anyhow::Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for one in asked {
            let prompt = &one.turns()[0].text;
            let is_answer = one.side() == Applies::Response;
            let mut score = 0.0;
            if is_answer || prompt.contains("early") {
                match prompt.split(' ').next().unwrap() {
                    "hang" => std::thread::sleep(Duration::from_secs(2)),
                    "die" => panic!("as told"),
                    "fail" => anyhow::bail!("as told"),
                    "nonsense" => score = 7.0,
                    _ => {}
                }
            }
            if let Some(seed) = prompt.split("places ").nth(1).filter(|_| is_answer) {
                score = f64::from(u8::from(one.text().len() > place(seed.trim().parse()?, one.text())));
            }
            if !is_answer && prompt.contains("forbidden") {
                score = 1.0;
            }
            let is_unsafe = score >= 0.5;
            verdicts.push(Verdict {
                is_unsafe,
                score,
                mass: None,
                categories: [("S1".to_owned(), score)].into(),
                violated: is_unsafe.then(|| "S1".to_owned()).into_iter().collect(),
                threshold: 0.5,
                windows: 1,
                dropped_turns: 0,
                removed_characters: 0,
                empty: false,
            });
        }
        Ok(verdicts)
    }

    fn policy(&self) -> &Policy {
        &self.0
    }

    fn name(&self) -> &str {
        "forced"
    }
}

pub fn guarding(on: On, reject: Reject, fail_open: bool) -> Guarding {
    let limits = Limits { time: Duration::from_millis(300), queue: 64 };
    Guarding { worker: Worker::start(Forced::new, limits).unwrap(), on, reject, fail_open }
}

fn guarded(folder: &tempfile::TempDir, fail_open: bool) -> Server {
    Server::guarded(folder.path(), "tiny", Some(guarding(On::Both, Reject::Refusal, fail_open)))
}

/// The text and the finish reason of every choice, from a whole answer or from a stream's pieces.
fn choices(answers: &[Value], n: usize) -> Vec<(String, String)> {
    let mut all = vec![(String::new(), String::new()); n];
    for choice in answers.iter().flat_map(|answer| answer["choices"].as_array().unwrap()) {
        let one = &mut all[choice["index"].as_u64().unwrap() as usize];
        for text in [&choice["message"]["content"], &choice["delta"]["content"], &choice["text"]] {
            one.0.push_str(text.as_str().unwrap_or_default());
        }
        one.1.push_str(choice["finish_reason"].as_str().unwrap_or_default());
    }
    all
}

#[test]
fn no_unsafe_byte_leaves_in_a_thousand_answers() {
    let folder = folder(None);
    let (open, server) = (serve(folder.path()), guarded(&folder, false));
    let (mut answers, mut stopped, mut partial) = (0, 0, 0);
    let mut seed = 0;
    while answers < 1000 {
        seed += 1;
        let n = 1 + seed % 4;
        let (stream, is_chat, told) = (seed % 2 == 0, seed % 3 == 0, seed % 5 == 0);
        let text = format!("places {seed}");
        // Letters only, so that a letter is a token and a byte.
        let mut more = json!({"n": n, "seed": seed, "temperature": 1.5, "max_tokens": LENGTH,
            "guided_regex": format!("[a-z]{{{LENGTH}}}")});
        match is_chat {
            true => more["messages"] = json!([{"role": "user", "content": text}]),
            false => more["prompt"] = json!(text),
        }
        if told {
            more["logprobs"] = if is_chat { json!(true) } else { json!(2) };
        }
        let ask = |server: &Server, more: &Value| if is_chat { chat(server, more) } else { complete(server, more) };
        let whole = choices(&[served(&ask(&open, &more))], n);
        let response = ask(&server, &merged(more, &json!({"stream": stream})));
        let got = match stream {
            true => choices(&response.pieces(), n),
            false => choices(&[served(&response)], n),
        };
        for ((whole, _), (got, reason)) in whole.iter().zip(&got) {
            answers += 1;
            let bad = place(seed, whole);
            if bad >= LENGTH {
                assert_eq!((got, reason.as_str()), (whole, "length"), "{seed}");
                continue;
            }
            stopped += 1;
            assert_eq!(reason, "content_filter", "{seed}");
            let left = got.strip_suffix("REFUSED").unwrap_or_else(|| panic!("{seed}: {got:?}"));
            assert!(whole.starts_with(left), "{seed}: {left:?} of {whole:?}");
            if stream {
                // The window before the unsafe letter stays inside as well.
                assert!(left.is_empty() || left.len() + WINDOW <= bad, "{seed}: {left:?} of {whole:?}, {bad}");
                partial += usize::from(!left.is_empty());
            } else {
                assert_eq!(left, "", "{seed}");
            }
            // The rest of the response contains nothing of the withheld part, not even the tokens for the client.
            if told && n == 1 {
                let tokens: usize =
                    response.text.matches("\"token\":").count() + response.text.matches("\"text_offset\":[").count();
                assert!(tokens <= LENGTH, "{seed}: {}", response.text);
            }
        }
        if told && n == 1 && got[0].1 == "content_filter" && !stream {
            assert!(!response.text.contains("\"token_logprobs\":[-"), "{seed}: {}", response.text);
        }
    }
    assert!(stopped > 700 && partial > 50, "{stopped} stopped, {partial} of them in the middle");
    assert!(server.metric("herd_guard_responses_unsafe_total") >= f64::from(stopped));
}

#[test]
fn a_guard_without_a_verdict_is_503_in_time() {
    for what in ["hang", "die", "fail", "nonsense"] {
        let folder = folder(None);
        let server = guarded(&folder, false);
        for (stream, early) in [(false, ""), (true, ""), (false, " early"), (true, " early")] {
            let text = format!("{what}{early}");
            let start = Instant::now();
            let more = json!({"stream": stream, "max_tokens": 20, "guided_regex": "[a-z]{20}"});
            let response =
                chat(&server, &merged(more.clone(), &json!({"messages": [{"role": "user", "content": text}]})));
            assert_eq!(response.status, 503, "{text} {stream}: {}", response.text);
            assert!(response.error().starts_with("the guard is unavailable"), "{}", response.text);
            assert_eq!(response.json()["error"]["code"], "guard_unavailable");
            assert!(response.head.contains("retry-after"), "{}", response.head);
            assert!(start.elapsed() < Duration::from_millis(1500), "{text}: {:?}", start.elapsed());
            assert_eq!(complete(&server, &merged(more, &json!({"prompt": text}))).status, 503, "{text}");
            // A hanging guard has to come back before it is asked again.
            std::thread::sleep(Duration::from_millis(if what == "hang" { 2300 } else { 0 }));
        }
        assert!(server.metric("herd_guard_failures_total") >= 8.0);
        assert_eq!(server.metric("herd_guard_unjudged_total"), 0.0);
    }
}

#[test]
fn an_open_guard_says_what_it_did_not_judge() {
    let folder = folder(None);
    let server = guarded(&folder, true);
    let say = |text: &str, stream: bool| {
        let more = json!({"stream": stream, "max_tokens": 20, "guided_regex": "[a-z]{20}"});
        chat(&server, &merged(more, &json!({"messages": [{"role": "user", "content": text}]})))
    };
    let response = say("fail", false);
    assert!(response.status == 200 && response.head.contains("x-herd-guard: unavailable"), "{}", response.head);
    assert_eq!(choices(&[response.json()], 1)[0].0.len(), 20);
    let response = say("fail", true);
    assert!(response.status == 200 && response.text.contains(": x-herd-guard: unavailable"), "{}", response.text);
    assert_eq!(choices(&response.pieces(), 1)[0].0.len(), 20);
    assert!(say("fail early", true).head.contains("x-herd-guard: unavailable"));
    assert!(!say("fine", false).head.contains("x-herd-guard"));
    assert!(server.metric("herd_guard_unjudged_total") >= 3.0);
}

#[test]
fn an_unsafe_prompt_is_refused_on_every_route() {
    let folder = folder(None);
    let server = guarded(&folder, false);
    let user = |text: &str| json!({"role": "user", "content": text});
    for stream in [false, true] {
        for more in [
            json!({"messages": [user("something forbidden")]}),
            json!({"messages": [{"role": "system", "content": "forbidden"}, user("go on")]}),
            json!({"messages": [user("forbidden"), {"role": "assistant", "content": "Sure"}], "continue_final_message": true}),
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "forbidden"}]}], "n": 3}),
        ] {
            let n = more["n"].as_u64().unwrap_or(1) as usize;
            let response = chat(&server, &merged(more, &json!({"stream": stream})));
            let answers = if stream { response.pieces() } else { vec![served(&response)] };
            for (text, reason) in choices(&answers, n) {
                assert_eq!((text.as_str(), reason.as_str()), ("REFUSED", "content_filter"), "{}", response.text);
            }
        }
        let echo = complete(&server, &json!({"prompt": "forbidden", "echo": true, "stream": stream}));
        assert!(echo.status == 200 && !echo.text.contains("forbidden"), "{}", echo.text);
        let ids: Vec<i64> = "forbidden".bytes().map(i64::from).collect();
        for prompt in [json!("forbidden"), json!(["fine", "forbidden"]), json!(ids)] {
            let n = if prompt[0].is_string() { 2 } else { 1 };
            let response = complete(&server, &json!({"prompt": prompt, "stream": stream}));
            let answers = if stream { response.pieces() } else { vec![served(&response)] };
            assert!(choices(&answers, n).iter().all(|(text, reason)| text == "REFUSED" && reason == "content_filter"));
        }
    }
    let embedding = server.ask("/v1/embeddings", &json!({"input": ["fine", "forbidden"]}));
    assert_eq!((embedding.status, &embedding.json()["error"]["code"]), (400, &json!("content_filter")));
    assert_eq!(server.ask("/v1/embeddings", &json!({"input": "fine"})).status, 200);
    // Among several answers, the best one that was not stopped is returned.
    let more = json!({"prompt": "places 1", "best_of": 8, "n": 1, "temperature": 1.5, "seed": 1, "max_tokens": LENGTH,
        "guided_regex": format!("[a-z]{{{LENGTH}}}")});
    let best = choices(&[served(&complete(&server, &more))], 1);
    let all = choices(&[served(&complete(&server, &merged(more, &json!({"n": 8}))))], 8);
    let passed = all.iter().any(|(_, reason)| reason == "length");
    assert_eq!(best[0].1 == "length", passed, "{all:?}");

    let strict = Server::guarded(folder.path(), "tiny", Some(guarding(On::Input, Reject::Error, false)));
    let response = chat(&strict, &json!({"messages": [user("forbidden")]}));
    assert_eq!(response.status, 400);
    assert_eq!(response.error(), "messages: the guard found it unsafe: S1");
    assert_eq!(chat(&strict, &json!({"messages": [user("places 0")]})).status, 200, "answers are not judged");
    let output = Server::guarded(folder.path(), "tiny", Some(guarding(On::Output, Reject::Refusal, false)));
    assert_eq!(chat(&output, &json!({"messages": [user("forbidden")]})).status, 200);
}

#[test]
fn moderations_are_served_beside_the_model() {
    let folder = folder(None);
    let server = guarded(&folder, false);
    let answer = served(
        &server.ask("/v1/moderations", &json!({"input": ["fine", "forbidden"], "model": "omni-moderation-latest"})),
    );
    assert_eq!((&answer["results"][0]["flagged"], &answer["results"][1]["flagged"]), (&json!(false), &json!(true)));
    assert_eq!(answer["results"][1]["categories"]["violence"], true);
    assert_eq!(server.ask("/v1/moderations", &json!({"input": "fail early"})).status, 503);
    assert_eq!(server.ask("/v1/moderations", &json!({"inputs": "x"})).status, 400);
    assert_eq!(
        serve(folder.path()).ask("/v1/moderations", &json!({"input": "x"})).status,
        404,
        "without a guard there is none"
    );
}
