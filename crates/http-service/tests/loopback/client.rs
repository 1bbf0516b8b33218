//! A raw HTTP/1.1 client, with which tests control every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_service::{Error, Options, Routes, Worker};
use serde_json::Value;
use tokio::sync::Notify;

/// A worker on a free port, in a thread of this process.
pub struct Server {
    pub addr: SocketAddr,
    stop: Arc<Notify>,
    stop_now: Arc<Notify>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub fn start(options: Options, routes: Routes) -> Self {
        let worker = Worker::bind(Options { addr: ([127, 0, 0, 1], 0).into(), ..options }, routes).unwrap();
        let addr = worker.addr().unwrap();
        let (stop, stop_now) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (first, second) = (stop.clone(), stop_now.clone());
        let thread = std::thread::spawn(move || {
            worker.run_until(async move { first.notified().await }, async move { second.notified().await })
        });
        Self { addr, stop, stop_now, thread }
    }

    /// Acts as the first signal.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Acts as the second signal.
    pub fn stop_now(&self) {
        self.stop_now.notify_one();
    }

    /// The result of `run`.
    pub fn join(self) -> Result<(), Error> {
        self.thread.join().unwrap()
    }

    pub fn get(&self, path: &str) -> Response {
        get(self.addr, path)
    }

    pub fn post(&self, path: &str, body: &str) -> Response {
        let mut stream = self.send(path, body);
        read_response(&mut stream).unwrap()
    }

    /// Sends a request and does not wait for the answer.
    pub fn send(&self, path: &str, body: &str) -> TcpStream {
        let mut stream = connect(self.addr);
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    }

    /// The value of one line of `/metrics`, 0 if it is missing.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits at most 20 s until a metric has a value.
    pub fn wait_for(&self, name: &str, value: f64) {
        wait_until(&format!("{name} = {value}"), || self.metric(name) == value);
    }
}

/// Waits at most 20 s until a condition holds.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not reached: {what}");
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

pub fn get(addr: SocketAddr, path: &str) -> Response {
    let mut stream = connect(addr);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    read_response(&mut stream).unwrap()
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// Reads one response with a Content-Length; `None` if the connection ends before it.
pub fn read_response(stream: &mut TcpStream) -> Option<Response> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: "))?.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let status = head[9..12].parse().unwrap();
    Some(Response { status, head, text: String::from_utf8(body).unwrap() })
}
