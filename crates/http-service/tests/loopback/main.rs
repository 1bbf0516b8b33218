//! The worker over loopback: responses, limits, hostile clients, draining.
#![allow(clippy::unwrap_used)]

mod client;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use client::{Server, connect, read_response, wait_until};
use http_service::{BadRequest, Error, Failure, Options, Routes, Worker};
use serde_json::{Value, json};

fn double(item: Value) -> Result<Value, BadRequest> {
    let n = item["n"].as_i64().ok_or_else(|| BadRequest("n: must be a whole number".into()))?;
    Ok(json!({"n": 2 * n}))
}

/// A handler that waits until the test opens the gate, and counts its calls.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Gate {
    fn routes(&self) -> Routes {
        let gate = self.clone();
        Routes::new().post("/wait", move |item: Value| {
            let (open, changed, calls) = &*gate.0;
            calls.fetch_add(1, Ordering::SeqCst);
            let _open = changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap();
            Ok::<_, BadRequest>(item)
        })
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn calls(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }
}

fn small(threads: usize, queue: usize) -> Options {
    Options { threads, queue, ..Options::default() }
}

#[test]
fn single_and_batch() {
    let server = Server::start(small(2, 100), Routes::new().post("/double", double));
    let r = server.post("/double", r#"{"n": 4}"#);
    assert_eq!((r.status, r.json()), (200, json!({"n": 8})));
    assert!(r.head.contains("content-type: application/json"), "{}", r.head);
    let batch: Vec<Value> = (0..100).map(|n| if n == 7 { json!({}) } else { json!({"n": n}) }).collect();
    let r = server.post("/double", &json!(batch).to_string());
    let expected: Vec<Value> = (0..100)
        .map(|n| if n == 7 { json!({"error": "n: must be a whole number"}) } else { json!({"n": 2 * n}) })
        .collect();
    assert_eq!((r.status, r.json()), (200, json!(expected)));
    assert_eq!(server.post("/double", "[]").json(), json!([]));
    let r = server.post("/double", r#"{"n": "4"}"#);
    assert_eq!((r.status, r.error().as_str()), (400, "n: must be a whole number"));
    assert_eq!(server.metric(r#"worker_items_total{outcome="done",path="/double"}"#), 100.0);
    assert_eq!(server.metric(r#"worker_items_total{outcome="bad_request",path="/double"}"#), 2.0);
}

#[test]
fn one_connection_serves_many_requests() {
    let server = Server::start(small(1, 10), Routes::new().post("/double", double));
    let mut stream = connect(server.addr);
    for n in 0..50 {
        let body = json!({"n": n}).to_string();
        let request = format!("POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_response(&mut stream).unwrap().json(), json!({"n": 2 * n}));
    }
}

#[test]
fn bad_json_has_a_position() {
    let server = Server::start(small(1, 10), Routes::new().post("/double", double));
    let r = server.post("/double", "{\"n\": 1,\n \"m\" 2}");
    assert_eq!(r.status, 400);
    assert!(r.error().contains("not valid JSON") && r.error().contains("line 2 column 6"), "{}", r.error());
    for bad in ["", "{", "\u{0}", &"[".repeat(100_000), "{\"n\": 1} x"] {
        let r = server.post("/double", bad);
        assert!(r.status == 400 && r.error().contains("not valid JSON"), "{r:?}");
    }
    let mut stream = connect(server.addr);
    stream.write_all(b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"n\":\xFF1}").unwrap();
    assert_eq!(read_response(&mut stream).unwrap().status, 400);
    assert_eq!(server.post("/double", r#"{"n": 1}"#).status, 200);
}

#[test]
fn wrong_path_and_method() {
    let server = Server::start(small(1, 10), Routes::new().post("/double", double));
    let r = server.post("/triple", "{}");
    assert!(r.status == 404 && r.error().starts_with("there is nothing at /triple; there is /health"), "{}", r.error());
    let r = server.get("/double");
    assert_eq!((r.status, r.error().as_str()), (405, "/double does not answer GET"));
}

#[test]
fn a_full_queue_is_429_and_nothing_is_lost() {
    let gate = Gate::default();
    let server = Server::start(small(1, 2), gate.routes());
    let mut waiting: Vec<_> = (0..3).map(|n| server.send("/wait", &n.to_string())).collect();
    server.wait_for("worker_items", 3.0);
    let r = server.post("/wait", "9");
    assert_eq!((r.status, r.error().as_str()), (429, "the queue is full; try again later"));
    assert!(r.head.contains("retry-after: 1\r\n"), "{}", r.head);
    // A batch that can never fit is refused in another way.
    let r = server.post("/wait", "[1,2,3,4]");
    assert_eq!(r.status, 413);
    assert!(r.error().contains("at most 3"), "{}", r.error());
    assert_eq!(server.metric("worker_rejected_total"), 1.0);
    assert_eq!(server.metric("worker_in_flight"), 3.0);
    gate.open();
    for (n, stream) in waiting.iter_mut().enumerate() {
        assert_eq!(read_response(stream).unwrap().json(), json!(n));
    }
    assert_eq!(server.post("/wait", "[1,2,3]").json(), json!([1, 2, 3]));
    assert_eq!(gate.calls(), 6);
    server.wait_for("worker_items", 0.0);
}

#[test]
fn too_large_bodies_are_413() {
    let options = Options { max_body_bytes: 1000, ..small(1, 10) };
    let server = Server::start(options, Routes::new().post("/double", double));
    let exact = format!("{{\"n\": 1{}}}", " ".repeat(1000 - 8));
    assert_eq!(exact.len(), 1000);
    assert_eq!(server.post("/double", &exact).status, 200);
    for size in [1001, 4000] {
        let r = server.post("/double", &" ".repeat(size));
        assert_eq!((r.status, r.error().as_str()), (413, "the body is larger than 1000 bytes"));
        assert!(r.head.contains("connection: close"), "{}", r.head);
    }
    // Without a length, in chunks.
    let mut stream = connect(server.addr);
    stream.write_all(b"POST /double HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..4 {
        stream.write_all(format!("1f4\r\n{}\r\n", "x".repeat(500)).as_bytes()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream).unwrap().status, 413);
    // An endless body: the server stops reading.
    let mut stream = connect(server.addr);
    stream.write_all(b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").unwrap();
    let mut sent = 0;
    while stream.write_all(&[b' '; 4096]).is_ok() && sent < 256 << 20 {
        sent += 4096;
    }
    assert!(sent < 256 << 20, "the server read on");
    assert_eq!(server.post("/double", r#"{"n": 1}"#).status, 200);
}

#[test]
fn slow_clients_are_sent_away() {
    let options = Options {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        max_connections: 4,
        ..small(1, 10)
    };
    let server = Server::start(options, Routes::new().post("/double", double));
    // Half a header, nothing at all, and an idle connection after a request: each connection is closed.
    let mut idle = connect(server.addr);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut idle).unwrap().status, 200);
    let mut half = connect(server.addr);
    half.write_all(b"POST /double HT").unwrap();
    let mut silent = connect(server.addr);
    for stream in [&mut half, &mut silent, &mut idle] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    // Half a body.
    let mut half = connect(server.addr);
    half.write_all(b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"n\"").unwrap();
    let r = read_response(&mut half).unwrap();
    assert_eq!((r.status, r.error().as_str()), (408, "the body did not arrive within 0.2 seconds"));
    // More silent clients than connections: the next one waits and is served.
    let _silent: Vec<_> = (0..8).map(|_| connect(server.addr)).collect();
    assert_eq!(server.post("/double", r#"{"n": 1}"#).status, 200);
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let options = Options { write_timeout: Duration::from_millis(200), ..small(1, 10) };
    let routes = Routes::new().post("/long", |_| Ok::<_, BadRequest>(json!("x".repeat(64 << 20))));
    let server = Server::start(options, routes);
    let mut stream = server.send("/long", "{}");
    server.wait_for(r#"worker_requests_total{path="/long",status="200"}"#, 1.0);
    // Longer than the timeout: the buffered data can be read, the rest never arrives.
    std::thread::sleep(Duration::from_millis(1000));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "{} bytes", rest.len());
}

#[test]
fn the_items_of_a_client_that_has_gone_are_not_run() {
    let gate = Gate::default();
    let server = Server::start(small(1, 100), gate.routes());
    let mut first = server.send("/wait", "1");
    wait_until("the first item runs", || gate.calls() == 1);
    let gone = server.send("/wait", "[2,2,2,2]");
    server.wait_for("worker_items", 5.0);
    drop(gone);
    server.wait_for("worker_in_flight", 1.0);
    gate.open();
    assert_eq!(read_response(&mut first).unwrap().json(), json!(1));
    server.wait_for("worker_items", 0.0);
    assert_eq!(gate.calls(), 1);
    // In the middle of a body.
    let mut stream = connect(server.addr);
    stream.write_all(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 80\r\n\r\n[1").unwrap();
    drop(stream);
    assert_eq!(server.post("/wait", "3").json(), json!(3));
    server.wait_for("worker_in_flight", 0.0);
}

#[test]
fn a_panic_is_500_and_the_worker_goes_on() {
    let routes = Routes::new().post("/p", |item: Value| match item.as_i64() {
        Some(0) => panic!("zero (this panic belongs to the test)"),
        Some(1) => Err(Failure::Internal("out of paper".into())),
        _ => Ok(item),
    });
    let server = Server::start(small(1, 10), routes);
    for _ in 0..3 {
        let r = server.post("/p", "0");
        assert!(r.status == 500 && r.error().contains("panicked"), "{r:?}");
    }
    let r = server.post("/p", "1");
    assert_eq!((r.status, r.error().as_str()), (500, "out of paper"));
    let r = server.post("/p", "[0, 1, 2]").json();
    assert!(r[0]["error"].as_str().unwrap().contains("panicked"));
    assert_eq!((&r[1]["error"], &r[2]), (&json!("out of paper"), &json!(2)));
    assert_eq!(server.metric("worker_panics_total"), 4.0);
}

#[test]
fn health_and_metrics() {
    let routes = Routes::new().post("/double", double).gauge("codeexec_workers", "Live processes.", || 2.5);
    let server = Server::start(small(1, 10), routes);
    assert_eq!((server.get("/healthz").status, server.get("/healthz").json()), (200, json!({"status": "ok"})));
    server.post("/double", r#"{"n": 1}"#);
    server.post("/double", "x");
    let r = server.get("/metrics");
    assert!(r.head.contains("content-type: text/plain; version=0.0.4"), "{}", r.head);
    for line in [
        r#"worker_requests_total{path="/double",status="200"} 1"#,
        r#"worker_requests_total{path="/double",status="400"} 1"#,
        r#"worker_request_seconds_count{path="/double"} 2"#,
        r#"worker_request_seconds_bucket{path="/double",le="+Inf"} 2"#,
        "worker_rejected_total 0",
        "worker_in_flight 0",
        "worker_items 0",
        "worker_panics_total 0",
        "# TYPE codeexec_workers gauge",
        "codeexec_workers 2.5",
    ] {
        assert!(r.text.lines().any(|l| l == line), "{line} is not in\n{}", r.text);
    }
}

#[test]
fn draining_finishes_what_runs_and_takes_nothing_new() {
    let gate = Gate::default();
    let server = Server::start(small(1, 10), gate.routes());
    let mut running: Vec<_> = (0..3).map(|n| server.send("/wait", &n.to_string())).collect();
    server.wait_for("worker_items", 3.0);
    server.stop();
    wait_until("healthz says 503", || server.get("/healthz").status == 503);
    let r = server.post("/wait", "9");
    assert_eq!(r.status, 503);
    assert!(r.error().contains("shutting down"), "{}", r.error());
    gate.open();
    for (n, stream) in running.iter_mut().enumerate() {
        assert_eq!(read_response(stream).unwrap().json(), json!(n));
    }
    let addr = server.addr;
    server.join().unwrap();
    assert!(std::net::TcpStream::connect(addr).is_err());
    assert_eq!(gate.calls(), 3);
}

#[test]
fn draining_has_an_end() {
    let gate = Gate::default();
    let server = Server::start(Options { drain_timeout: Duration::from_millis(100), ..small(1, 10) }, gate.routes());
    let _running = server.send("/wait", "1");
    server.wait_for("worker_items", 1.0);
    server.stop();
    assert!(matches!(server.join(), Err(Error::DrainTimeout { requests: 1, .. })));
    gate.open();

    let gate = Gate::default();
    let server = Server::start(small(1, 10), gate.routes());
    let _running = server.send("/wait", "1");
    server.wait_for("worker_items", 1.0);
    server.stop();
    server.stop_now();
    assert!(matches!(server.join(), Err(Error::SecondSignal { requests: 1 })));
    gate.open();
}

#[test]
fn a_taken_address_is_a_sentence() {
    let server = Server::start(small(1, 1), Routes::new());
    let Err(e) = Worker::bind(Options { addr: server.addr, ..small(1, 1) }, Routes::new()) else {
        panic!("the address was free");
    };
    assert!(e.to_string().starts_with(&format!("cannot listen on {}: ", server.addr)), "{e}");
}

#[test]
fn a_token_is_asked_for_and_health_says_who_this_is() {
    let routes = Routes::new().post("/double", double).identity("doubler", "1.2.3");
    let server = Server::start(Options { token: Some("secret".into()), ..small(1, 10) }, routes);
    let health = server.get("/healthz");
    let says = json!({"status": "ok", "service": "doubler", "version": "1.2.3", "needs_token": true});
    assert_eq!((health.status, health.json()), (200, says));
    assert_eq!(server.get("/metrics").status, 200);
    let with = |method: &str, path: &str, token: &str| {
        let mut stream = connect(server.addr);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 8\r\n\r\n{{\"n\": 4}}");
        stream.write_all(head.as_bytes()).unwrap();
        read_response(&mut stream).unwrap().status
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(with("POST", "/double", &bearer("secret")), 200);
    for wrong in ["", "secre", "secrets", "Secret", "secreu"] {
        assert_eq!(with("POST", "/double", &bearer(wrong)), 401, "{wrong:?}");
        assert_eq!(with("GET", "/healthz", &bearer(wrong)), 401, "{wrong:?}");
    }
    assert_eq!(with("POST", "/double", ""), 401);
    assert_eq!(server.post("/double", "{}").json()["error"], "the bearer token is missing or wrong");
    assert_eq!(Server::start(small(1, 10), Routes::new()).get("/healthz").json(), json!({"status": "ok"}));
}
