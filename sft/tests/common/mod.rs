//! A tiny model with a byte-level tokenizer, and runs of the stage in this process and in child processes.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use serde_json::json;

mod model;

pub use model::write_model;

/// Writes conversations of one or two turns about sums.
pub fn write_data(path: &Path, count: usize) {
    let lines: Vec<String> = (0..count)
        .map(|n| {
            let (a, b) = (n % 7, n * 3 % 11);
            let mut messages = vec![
                json!({"role": "user", "content": format!("What is {a} + {b}?")}),
                json!({"role": "assistant", "content": format!("It is {}.", a + b)}),
            ];
            if n % 3 == 0 {
                messages.push(json!({"role": "user", "content": "Sure?"}));
                messages.push(json!({"role": "assistant", "content": format!("Yes, {}.", a + b)}));
            }
            json!({"id": format!("sum-{n}"), "messages": messages}).to_string()
        })
        .collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// A model, data and a folder for runs.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new(conversations: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_model(&dir.path().join("model"));
        write_data(&dir.path().join("train.jsonl"), conversations);
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of a short run into `output`.
    pub fn flags(&self, output: &str, more: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut flags = vec!["--data".into(), path("train.jsonl")];
        if !more.contains("--model ") {
            flags.extend(["--model".into(), path("model")]);
        }
        flags.extend(["--output".into(), path(output)]);
        let usual = [
            ("--dtype", "f32"),
            ("--device", "cpu"),
            ("--threads", "1"),
            ("--learning-rate", "3e-3"),
            ("--batch-tokens", "400"),
            ("--micro-batch-tokens", "256"),
            ("--max-length", "256"),
        ];
        for (flag, value) in usual.iter().filter(|(flag, _)| !more.split(' ').any(|word| word == *flag)) {
            flags.extend([(*flag).to_owned(), (*value).to_owned()]);
        }
        flags.extend(more.split_whitespace().map(str::to_owned));
        flags
    }

    /// A run in this process.
    pub fn run(&self, output: &str, more: &str) -> anyhow::Result<()> {
        run(&self.flags(output, more))
    }

    /// A run in a child process.
    pub fn spawn(&self, output: &str, more: &str) -> Child {
        child(&std::env::current_exe().unwrap(), &self.flags(output, more)).spawn().unwrap()
    }

    pub fn weights(&self, output: &str) -> Vec<u8> {
        fs::read(self.path(output).join("model/model.safetensors")).unwrap()
    }

    pub fn steps_done(&self, output: &str) -> usize {
        fs::read_to_string(self.path(output).join("metrics.jsonl")).map_or(0, |text| text.lines().count())
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: sft::command::Args,
}

pub fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::parse_from(std::iter::once("sft".to_owned()).chain(flags.iter().cloned()));
    sft::command::run(&cli.args).map(drop)
}

/// The standard output of a run with `--dry-run`, without the marks between tokens.
pub fn shown(world: &World, flags: &str) -> String {
    let flags = world.flags("dry", &format!("--dry-run {flags}"));
    let output = child(&std::env::current_exe().unwrap(), &flags).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).replace('·', "")
}

/// This test program again, as a child that does one run: see [`be_a_child`].
pub fn child(program: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "child", "--nocapture"]).env("SFT_CHILD", flags.join("\n"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The body of the test `child`: it does nothing unless [`child`] started the program.
pub fn be_a_child() {
    let Ok(flags) = std::env::var("SFT_CHILD") else { return };
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if let Err(error) = run(&flags) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}
