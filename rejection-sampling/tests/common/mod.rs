//! Tiny models, problems, fake servers, and runs of the commands in this process and in child processes.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use clap::Parser;
use llama::{Llama, SequenceClassifier};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

#[path = "../../../sft/tests/common/model.rs"]
mod model;

pub use model::write_model;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: rejection_sampling::cli::Args,
}

/// A command in this process.
pub fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::try_parse_from(std::iter::once("rejection-sampling".to_owned()).chain(flags.iter().cloned()))?;
    rejection_sampling::cli::run(&cli.args, &["codeexec"])
}

/// A command in a child process: this test program again, see [`be_a_child`].
pub fn spawn(flags: &[String]) -> Child {
    child(flags).spawn().unwrap()
}

/// The command of a child process.
pub fn child(flags: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("RS_CHILD", flags.join("\n"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Waits for a child and returns its standard error, if it failed.
pub fn finish(mut child: Child) -> Result<(), String> {
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    if child.wait().unwrap().success() { Ok(()) } else { Err(errors) }
}

/// The body of the test `child`: it does nothing unless [`spawn`] started the program.
pub fn be_a_child() {
    let Ok(flags) = std::env::var("RS_CHILD") else { return };
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if let Err(error) = run(&flags) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// A folder for a test.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, lines: &[Value]) -> String {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The figures of a run's record.
    pub fn record(&self, run: &str) -> Value {
        ::run::Record::read(&self.path(run)).unwrap().unwrap().stage.figures
    }

    /// A language model.
    pub fn model(&self) -> String {
        write_model(&self.path("model"));
        self.text("model")
    }

    /// A reward model on the language model's decoder, with a head of random weights.
    pub fn reward_model(&self) -> String {
        let base = self.path("model");
        if !base.is_dir() {
            write_model(&base);
        }
        let folder = self.path("rm");
        write_reward_model(&base, &folder);
        folder.display().to_string()
    }
}

pub fn write_reward_model(base: &Path, folder: &Path) {
    torch_ext::init();
    fs::create_dir_all(folder).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(base.join(file), folder.join(file)).unwrap();
    }
    let model = Llama::load(base, Some(Kind::Float), Device::Cpu).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let head: Vec<f32> = (0..model.config().hidden_size).map(|_| rng.random_range(-1.0..1.0)).collect();
    let score = Tensor::from_slice(&head).unsqueeze(0);
    SequenceClassifier { model, score }.save(folder, Kind::Float, 256).unwrap();
}

/// Words of a command line.
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The reaction of a server to the n-th request with this body.
type Behaviour = dyn Fn(usize, &str, &Value) -> Reply + Send + Sync;

/// A server's reply.
pub enum Reply {
    /// A status and a body.
    Send(u16, Value),
    /// Never a reply.
    Hang,
}

/// A server that records its requests.
pub struct Server {
    pub url: String,
    pub seen: Arc<Mutex<Vec<(String, Value)>>>,
}

/// A server with one thread per connection.
pub fn serve(behaviour: impl Fn(usize, &str, &Value) -> Reply + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (behaviour, kept): (Arc<Behaviour>, _) = (Arc::new(behaviour), seen.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (behaviour, seen) = (behaviour.clone(), kept.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while let Some((path, body)) = read_request(&mut stream) {
                    if path == "/healthz" {
                        let head = "HTTP/1.1 200 x\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
                        if stream.write_all(head.as_bytes()).is_err() {
                            return;
                        }
                        continue;
                    }
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        let before = seen.iter().filter(|(_, other)| *other == body).count();
                        seen.push((path.clone(), body.clone()));
                        before
                    };
                    match behaviour(before, &path, &body) {
                        Reply::Hang => loop {
                            std::thread::park();
                        },
                        Reply::Send(status, body) => {
                            let body = body.to_string();
                            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
                            if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    Server { url, seen }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// An answer in the form of an OpenAI-compatible server.
pub fn says(text: &str) -> Reply {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    Reply::Send(200, json!({"choices": [choice], "usage": {"completion_tokens": 5}}))
}
