//! A server over loopback, and its client.

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use llama::{EngineOptions, ModelFolder};
use openai_server::{Eyes, Generator, GeneratorOptions, Guarding, guarded_routes};
use serde_json::Value;
use tch::{Device, Kind};
use tokio::sync::oneshot;

pub struct Server {
    pub addr: SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub thread: Option<JoinHandle<Result<(), http_service::Error>>>,
}

impl Server {
    /// Serves the model of a folder as `name`.
    pub fn of(folder: &Path, name: &str, slots: usize, queue: usize) -> Self {
        Self::with(folder, name, EngineOptions { slots, ..EngineOptions::default() }, queue, None)
    }

    /// Serves the model behind a guard.
    pub fn guarded(folder: &Path, name: &str, guarding: Option<Guarding>) -> Self {
        Self::all(folder, name, EngineOptions { slots: 4, ..EngineOptions::default() }, 64, None, (guarding, None))
    }

    /// Serves the model with another one that sees.
    pub fn seeing(folder: &Path, name: &str, eyes: Eyes, guarding: Option<Guarding>) -> Self {
        Self::all(folder, name, EngineOptions::default(), 64, None, (guarding, Some(eyes)))
    }

    pub fn with(folder: &Path, name: &str, engine: EngineOptions, queue: usize, cors: Option<&'static str>) -> Self {
        Self::all(folder, name, engine, queue, cors, (None, None))
    }

    fn all(
        folder: &Path,
        name: &str,
        engine: EngineOptions,
        queue: usize,
        cors: Option<&'static str>,
        (guarding, eyes): (Option<Guarding>, Option<Eyes>),
    ) -> Self {
        torch_ext::init();
        let folder = ModelFolder::load(folder, Some(Kind::Float), Device::Cpu).unwrap();
        let mut generator = Generator::start(folder, GeneratorOptions { name: name.into(), engine, queue }).unwrap();
        if let Some(eyes) = eyes {
            generator = generator.with_eyes(eyes).unwrap();
        }
        let options = http_service::Options {
            addr: ([127, 0, 0, 1], 0).into(),
            threads: 1,
            max_body_bytes: 1 << 20,
            ..http_service::Options::default()
        };
        let routes = guarded_routes(&Arc::new(generator), guarding).cors(cors.map(HeaderValue::from_static));
        let worker = http_service::Worker::bind(options, routes).unwrap();
        let addr = worker.addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::spawn(move || worker.run_until(async move { drop(stopped.await) }, std::future::pending()));
        Self { addr, stop: Some(stop), thread: Some(thread) }
    }

    pub fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A refusal may arrive before the whole body is read.
        let _ = stream.write_all(body.as_bytes());
        stream
    }

    pub fn ask(&self, path: &str, body: &Value) -> Response {
        read(self.send("POST", path, &body.to_string()))
    }

    pub fn get(&self, path: &str) -> Response {
        read(self.send("GET", path, ""))
    }

    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub fn wait_for(&self, name: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name) != value {
            assert!(start.elapsed() < Duration::from_secs(60), "{name} is {}, not {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn error(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The pieces of a stream; the last line must be `[DONE]`.
    pub fn pieces(&self) -> Vec<Value> {
        let mut data: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.text);
        data.into_iter().map(|piece| serde_json::from_str(piece).unwrap()).collect()
    }
}

pub fn read(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    Response { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), text: body.to_owned() }
}
