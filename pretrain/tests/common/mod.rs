//! A tiny model, token shards, and runs of the stage in this process and in others.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use token_shards::{ShardWriter, Tokenizer};

/// A model, shards of two sources and of held-out text, and room for runs.
pub struct World {
    pub dir: tempfile::TempDir,
}

/// Text with something to learn: sums, or rhymes.
pub fn text(kind: usize, number: usize) -> String {
    let (a, b) = (number % 17, number * 7 % 23);
    match kind {
        0 => format!("{a} and {b} make {}. ", a + b).repeat(2 + number % 3),
        _ => format!("Row {a} of the rhyme ends in {b}, and {b} it is.\n").repeat(1 + number % 2),
    }
}

/// Writes texts as a shard of their bytes, with the model's tokenizer; the end of a document is token 257.
pub fn write_shard(path: &Path, model: &Path, texts: &[String]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let tokenizer = Tokenizer {
        sha256: dataset::digest::file(model.join("tokenizer.json")).unwrap(),
        vocab_size: 258,
        begin_token: None,
        end_token: Some(257),
    };
    let mut writer = ShardWriter::create(path, tokenizer, "test").unwrap();
    for text in texts {
        let mut ids: Vec<u32> = text.bytes().map(u32::from).collect();
        ids.push(257);
        writer.push(&ids, Some(text.len() as u64)).unwrap();
    }
    writer.finish().unwrap();
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        llama::NewModel { hidden: 32, layers: 2, context: 128, seed: 17 }.write(&model).unwrap();
        let texts =
            |kind: usize, from: usize, to: usize| (from..to).map(|number| text(kind, number)).collect::<Vec<_>>();
        write_shard(&dir.path().join("sums/00000.ds"), &model, &texts(0, 0, 60));
        write_shard(&dir.path().join("sums/00001.ds"), &model, &texts(0, 60, 100));
        write_shard(&dir.path().join("rhymes/00000.ds"), &model, &texts(1, 0, 50));
        write_shard(&dir.path().join("held-out/00000.ds"), &model, &[texts(0, 100, 110), texts(1, 60, 66)].concat());
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of a short run into `output`: usual ones unless `more` has them.
    pub fn flags(&self, output: &str, more: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let words: Vec<String> = more.split_whitespace().map(|word| word.replace("DIR", &path(""))).collect();
        let sources = format!("{}:0.7 {}:0.3", path("sums"), path("rhymes"));
        let usual = [
            ("--model", path("model")),
            ("--data", sources),
            ("--eval-data", path("held-out")),
            ("--tokens", "6000".into()),
            ("--sequence-length", "32".into()),
            ("--batch-tokens", "256".into()),
            ("--micro-batch-tokens", "128".into()),
            ("--warmup-steps", "3".into()),
            ("--learning-rate", "3e-3".into()),
            ("--dtype", "f32".into()),
            ("--device", "cpu".into()),
            ("--threads", "1".into()),
        ];
        let mut flags = vec!["--output".to_owned(), path(output)];
        for (flag, value) in usual {
            if !words.iter().any(|word| word == flag) {
                flags.push(flag.to_owned());
                flags.extend(value.split(' ').map(str::to_owned));
            }
        }
        flags.extend(words);
        flags
    }

    /// A run in this process.
    pub fn run(&self, output: &str, more: &str) -> anyhow::Result<()> {
        run(&self.flags(output, more))
    }

    /// A run in a process of its own.
    pub fn spawn(&self, output: &str, more: &str) -> Child {
        child(&self.flags(output, more)).spawn().unwrap()
    }

    pub fn weights(&self, output: &str) -> Vec<u8> {
        fs::read(self.path(output).join("model/model.safetensors")).unwrap()
    }

    pub fn metrics(&self, output: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path(output).join("metrics.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: pretrain::command::Args,
}

pub fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::parse_from(std::iter::once("pretrain".to_owned()).chain(flags.iter().cloned()));
    pretrain::command::run(&cli.args)
}

/// A process with one run.
pub fn child(flags: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pretrain"));
    command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
