//! A byte model, texts, a server, and the program.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;

/// A generator for tests: the high bits of a linear congruence.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// A sentence of words of `x`, `y` and `z`: nothing that a needle has.
pub fn sentence(lcg: &mut Lcg) -> String {
    let words = 2 + lcg.below(2);
    let mut text = String::new();
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        for letter in 0..2 + lcg.below(3) {
            let c = char::from(b"xyz"[lcg.below(3)]);
            text.push(if word == 0 && letter == 0 { c.to_ascii_uppercase() } else { c });
        }
    }
    text + "."
}

/// Many sentences.
pub fn filler(lcg: &mut Lcg, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        if !text.is_empty() {
            text.push(' ');
        }
        text += &sentence(lcg);
    }
    text
}

/// Needles of four bytes, `<Q7>`, of which an answer begins with `<Q`.
pub const WORDING: &str = "statement = \"<{key}{value}>\"\nbefore = \"\"\nquestion = \"\"\nprefix = \"<{keys}\"\n\
                           before_several = \"\"\nquestion_several = \"\"\nprefix_several = \"{keys}: \"\n\
                           key = \"A\"\nvalue = \"9\"\nmax_new_tokens = 2\n";

pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A folder with `model` (random weights, a token for each byte), `texts.jsonl` and `wording.toml`.
    pub fn new(context: usize, hidden: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        torch_ext::init();
        llama::NewModel { hidden, layers: 2, context, seed: 3 }.write(&dir.path().join("model")).unwrap();
        std::fs::write(dir.path().join("wording.toml"), WORDING).unwrap();
        let mut lcg = Lcg(11);
        let mut lines = String::new();
        for _ in 0..40 {
            let text = filler(&mut lcg, 1500);
            writeln!(lines, "{}", serde_json::json!({"text": text})).unwrap();
        }
        std::fs::write(dir.path().join("texts.jsonl"), lines).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with the words of a line.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longctx-model"));
        command.current_dir(self.dir.path()).args(line.split_whitespace());
        command
    }

    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn good(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Runs a command that must fail.
    #[track_caller]
    pub fn bad(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{}", said(&output));
        said(&output)
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

pub fn records(path: &Path) -> Vec<Value> {
    String::from_utf8(bytes(path)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

type Reply = Arc<dyn Fn(&Value) -> (String, &'static str) + Send + Sync>;

/// A server of chat completions: `reply` gives the answer to a request and why it ended. Returns its address.
pub fn serve(reply: impl Fn(&Value) -> (String, &'static str) + Send + Sync + 'static) -> String {
    let reply: Reply = Arc::new(reply);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reply = reply.clone();
            std::thread::spawn(move || exchange(stream, &reply));
        }
    });
    address
}

fn exchange(stream: TcpStream, reply: &Reply) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
        let is_list = line.contains("/models");
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
        let answer = if is_list {
            serde_json::json!({"data": [{"id": "served"}]})
        } else {
            let (text, reason) = reply(&serde_json::from_slice(&body).ok()?);
            serde_json::json!({
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}],
                "usage": {"completion_tokens": 3}
            })
        };
        let answer = answer.to_string();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .ok()?;
    }
}
