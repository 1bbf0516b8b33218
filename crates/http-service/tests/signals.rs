//! SIGTERM and SIGINT in a child process: this test binary runs itself as the server.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_service::{BadRequest, Options, Routes};
use serde_json::{Value, json};

const SERVER: &str = "WORKER_TEST_SERVER";

/// The child's part; in an ordinary run of the tests it does nothing.
#[test]
fn server() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    let options = Options { addr: ([127, 0, 0, 1], 0).into(), threads: 1, queue: 10, ..Options::default() };
    let routes = Routes::new().post("/sleep", |item: Value| {
        std::thread::sleep(Duration::from_millis(item.as_u64().unwrap_or(0)));
        Ok::<_, BadRequest>(json!("slept"))
    });
    if let Err(e) = http_service::serve(options, routes) {
        eprintln!("{e}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

fn start() -> (Child, SocketAddr, BufReader<impl Read>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server", "--nocapture"])
        .env(SERVER, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    (child, addr, stderr)
}

fn post(addr: SocketAddr, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    let request = format!("POST /sleep HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn in_flight(addr: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.contains("worker_in_flight 1\n")
}

fn kill(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_drains_and_the_exit_code_is_0() {
    for signal in ["-TERM", "-INT"] {
        let (mut child, addr, _stderr) = start();
        let mut running = post(addr, "700");
        while !in_flight(addr) {
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(signal, &child);
        let mut answer = String::new();
        running.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"slept\""), "{signal}: {answer}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn an_idle_worker_ends_at_once_though_clients_stay_connected() {
    let (mut child, addr, _stderr) = start();
    let _idle = TcpStream::connect(addr).unwrap();
    kill("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it() {
    let (mut child, addr, mut stderr) = start();
    let _running = post(addr, "60000");
    while !in_flight(addr) {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill("-TERM", &child);
    std::thread::sleep(Duration::from_millis(100));
    kill("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert!(text.contains("1 requests were given up"), "{text}");
}
