//! Shared parts of the tests: a small HTTP server on this machine, and the public data beside the checkout.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

/// Answers a request: its path and body to a status and a body.
type Handler = Arc<dyn Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + Sync>;

/// Starts a server in its own threads; returns its address, `http://127.0.0.1:PORT`.
pub fn serve(handler: impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + Sync + 'static) -> String {
    let handler: Handler = Arc::new(handler);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = handler.clone();
            std::thread::spawn(move || exchange(stream, &handler));
        }
    });
    address
}

fn exchange(stream: TcpStream, handler: &Handler) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = handler(&path, &body);
        write!(writer, "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", answer.len()).ok()?;
        writer.write_all(&answer).ok()?;
    }
}

/// A file of the public data; `None`, and the test is skipped, if it is missing.
#[track_caller]
pub fn data(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("data/{name}"))
}
