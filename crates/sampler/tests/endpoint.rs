//! The client against servers that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampler::{Endpoint, EndpointOptions, RetryPolicy, SampleError, SampleRequest, Sampler};
use serde_json::{Value, json};

/// The reaction of a server to the n-th request with a body.
type Behaviour = Arc<dyn Fn(usize, &Value, &mut TcpStream) + Send + Sync>;

/// A server with one thread per connection, which records its requests.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    most: Arc<AtomicUsize>,
}

fn serve(behaviour: impl Fn(usize, &Value, &mut TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let behaviour: Behaviour = Arc::new(behaviour);
    let server = Server { url, seen: seen.clone(), most: most.clone() };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (behaviour, seen, now, most) = (behaviour.clone(), seen.clone(), now.clone(), most.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while let Some((head, body)) = read_request(&mut stream) {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        let before = seen.iter().filter(|(_, other)| *other == body).count();
                        seen.push((head, body.clone()));
                        before
                    };
                    behaviour(before, &body, &mut stream);
                    now.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    server
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes());
}

fn answer(stream: &mut TcpStream, text: &str) {
    let body = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}});
    respond(stream, "200 OK", "", &body.to_string());
}

fn options() -> EndpointOptions {
    EndpointOptions {
        model: Some("m".into()),
        timeout: Duration::from_millis(400),
        retry: RetryPolicy { retries: 3, first: Duration::from_millis(5), longest: Duration::from_millis(400) },
        ..EndpointOptions::default()
    }
}

fn requests(count: usize) -> Vec<SampleRequest> {
    (0..count).map(|i| SampleRequest::new(vec![dataset::Message::user(format!("q{i}"))], 8)).collect()
}

/// The user's question in a body.
fn question(body: &Value) -> &str {
    body["messages"][0]["content"].as_str().unwrap()
}

fn sample(url: &str, options: EndpointOptions, requests: &[SampleRequest]) -> Vec<Result<String, SampleError>> {
    let sampler = Sampler::Endpoint(Box::new(Endpoint::open(url, options).unwrap()));
    let mut results: Vec<Option<Result<String, SampleError>>> = vec![None; requests.len()];
    sampler
        .sample(requests, &mut |index, answer| {
            assert!(results[index].is_none(), "{index} came twice");
            results[index] = Some(answer.map(|answer| answer.text));
            Ok(())
        })
        .unwrap();
    results.into_iter().map(Option::unwrap).collect()
}

#[test]
fn every_request_is_answered_or_reported_whatever_the_server_does() {
    let server = serve(|before, body, stream| match (question(body), before) {
        // Each succeeds in the end, after a different kind of failure.
        ("q0", 0) => respond(stream, "429 Too Many Requests", "Retry-After: 0\r\n", "{\"error\": \"busy\"}"),
        ("q1", 0..=2) => respond(stream, "503 Service Unavailable", "", "starting"),
        ("q2", 0) => respond(stream, "200 OK", "", "<html>a proxy's page</html>"),
        ("q3", 0) => stream.shutdown(std::net::Shutdown::Both).unwrap(),
        ("q4", 0) => std::thread::sleep(Duration::from_millis(900)),
        ("q5", 0) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"choices\"");
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
        // These always fail.
        ("q6", _) => respond(stream, "400 Bad Request", "", r#"{"error": {"message": "the prompt is too long"}}"#),
        ("q7", _) => respond(stream, "500 Internal Server Error", "", "out of order"),
        ("q8", _) => std::thread::sleep(Duration::from_millis(900)),
        (question, _) => answer(stream, &format!("answer to {question}")),
    });
    let found = sample(&server.url, options(), &requests(12));
    for index in [0, 1, 2, 3, 4, 5, 9, 10, 11] {
        assert_eq!(found[index], Ok(format!("answer to q{index}")));
    }
    let asked = |name: &str| server.seen.lock().unwrap().iter().filter(|(_, body)| question(body) == name).count();
    assert!(
        matches!(&found[6], Err(SampleError::Refused { reason, .. })
        if reason == "400 Bad Request: the prompt is too long"),
        "{:?}",
        found[6]
    );
    assert_eq!(asked("q6"), 1, "what is refused is not asked again");
    assert!(
        matches!(&found[7], Err(SampleError::NoAnswer { attempts: 4, reason, .. })
        if reason == "500 Internal Server Error: out of order"),
        "{:?}",
        found[7]
    );
    assert_eq!(asked("q7"), 4);
    assert!(
        matches!(&found[8], Err(SampleError::NoAnswer { attempts: 4, reason, .. })
        if reason.starts_with("no answer in time")),
        "{:?}",
        found[8]
    );
}

#[test]
fn a_dead_server_is_reported_for_each_request() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let found = sample(&format!("http://{address}"), options(), &requests(3));
    for answer in found {
        assert!(
            matches!(&answer, Err(SampleError::NoAnswer { attempts: 4, reason, .. })
            if reason.to_lowercase().contains("connect")),
            "{answer:?}"
        );
    }
}

#[test]
fn retry_after_is_kept() {
    let server = serve(|before, _, stream| match before {
        0 => respond(stream, "429 Too Many Requests", "Retry-After: 0.3\r\n", ""),
        _ => answer(stream, "yes"),
    });
    let start = Instant::now();
    assert_eq!(sample(&server.url, options(), &requests(1)), [Ok("yes".to_owned())]);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn concurrency_has_its_limit_and_the_key_is_sent() {
    let server = serve(|_, _, stream| {
        std::thread::sleep(Duration::from_millis(20));
        answer(stream, "x");
    });
    let options = EndpointOptions { concurrency: 3, api_key: Some("secret".into()), ..options() };
    assert_eq!(sample(&server.url, options, &requests(20)).len(), 20);
    assert_eq!(server.most.load(Ordering::SeqCst), 3);
    let seen = server.seen.lock().unwrap();
    assert!(seen.iter().all(|(head, _)| head.to_lowercase().contains("authorization: bearer secret")));
    assert!(seen.iter().all(|(head, _)| head.starts_with("POST /v1/chat/completions ")));
}

#[test]
fn an_error_of_the_caller_ends_the_sampling() {
    let server = serve(|_, _, stream| answer(stream, "x"));
    let sampler = Sampler::Endpoint(Box::new(Endpoint::open(&server.url, options()).unwrap()));
    let mut calls = 0;
    let result = sampler.sample(&requests(50), &mut |_, _| {
        calls += 1;
        anyhow::bail!("the disk is full")
    });
    assert_eq!((result.unwrap_err().to_string().as_str(), calls), ("the disk is full", 1));
}

#[test]
fn the_only_model_is_found_and_others_are_named() {
    let list = |names: &'static [&'static str]| {
        serve(move |_, _, stream| {
            let data: Vec<Value> = names.iter().map(|name| json!({"id": name})).collect();
            respond(stream, "200 OK", "", &json!({"data": data}).to_string());
        })
    };
    let open = |server: &Server| Endpoint::open(&server.url, EndpointOptions { model: None, ..options() });
    assert_eq!(open(&list(&["only"])).unwrap().model(), "only");
    let error = open(&list(&["a", "b"])).err().unwrap().to_string();
    assert!(error.contains("--endpoint-model: a, b"), "{error}");
    assert!(open(&list(&[])).err().unwrap().to_string().contains("lists no model"));
    for bad in ["localhost:8000", "ftp://x", "", "http://"] {
        assert!(Endpoint::open(bad, options()).err().unwrap().to_string().contains("--endpoint"), "{bad}");
    }
}
