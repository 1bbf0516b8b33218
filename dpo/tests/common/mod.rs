//! Pairs of the fixtures, and runs of the stage on a tiny model.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use dpo::pairs::{Pair, Part, Sequence};
use llama::Llama;
use serde_json::json;
use tch::{Kind, Tensor};

#[path = "../../../crates/llama/tests/common/mod.rs"]
pub mod fixtures;
#[path = "../../../sft/tests/common/model.rs"]
pub mod model;

/// A sequence whose response starts at `prompt`: a header of `header` tokens, content, and a terminator of one token.
pub fn sequence(ids: &[i64], prompt: usize, header: usize) -> Sequence {
    let part = |place: usize| match place {
        place if place < prompt => Part::Context,
        place if place < prompt + header || place == ids.len() - 1 => Part::Formatting,
        _ => Part::Content,
    };
    Sequence { ids: ids.iter().map(|&id| id as u32).collect(), parts: (0..ids.len()).map(part).collect() }
}

/// Six pairs for a vocabulary of 320, with different lengths; some share the start of their responses.
pub fn six() -> Vec<Pair> {
    let id = |a: usize, b: usize| (3 + (a * 7919 + b * 104_729 + a * b * 31) % 317) as i64;
    (0..6)
        .map(|n| {
            let (prompt, same) = (4 + 3 * n, 4 + 3 * n + 1 + n % 3);
            let side = |salt: usize, length: usize| {
                let ids: Vec<i64> =
                    (0..prompt + length).map(|place| id(if place < same { n } else { salt }, place)).collect();
                sequence(&ids, prompt, 1)
            };
            Pair { id: format!("pair-{n}"), chosen: side(100 + n, 9 + n), rejected: side(200 + n, 14 - n) }
        })
        .collect()
}

/// |a - b| / |b|
pub fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm()).unwrap()
}

/// Changes every weight of a model a little, so that it differs from its reference.
pub fn nudge(model: &Llama, seed: i64) {
    let _no_grad = tch::no_grad_guard();
    tch::manual_seed(seed);
    for (_, mut weight) in model.named_parameters() {
        let noise = weight.randn_like() * 0.01;
        let _ = weight.g_add_(&noise);
    }
}

/// Writes preferences about sums: the chosen answer is a plain sentence, the rejected one hedges.
pub fn write_data(path: &Path, count: usize) {
    let lines: Vec<String> = (0..count)
        .map(|n| {
            let (a, b) = (n % 7, n * 3 % 11);
            let mut prompt = vec![json!({"role": "user", "content": format!("What is {a} + {b}?")})];
            if n % 3 == 0 {
                prompt.splice(
                    0..0,
                    [
                        json!({"role": "user", "content": "Do you add?"}),
                        json!({"role": "assistant", "content": "I do."}),
                    ],
                );
            }
            let answer = |end: &str| json!([{"role": "assistant", "content": format!("It is {}{end}", a + b)}]);
            json!({"id": format!("sum-{n}"), "prompt": prompt, "chosen": answer("."), "rejected": answer(", or so?")})
                .to_string()
        })
        .collect();
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// A model, data and a folder for runs.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new(pairs: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        model::write_model(&dir.path().join("model"));
        write_data(&dir.path().join("train.jsonl"), pairs);
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of a short run into `output`.
    pub fn flags(&self, output: &str, more: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut flags = vec!["--output".into(), path(output)];
        let usual = [
            ("--model", path("model")),
            ("--data", path("train.jsonl")),
            ("--dtype", "f32".into()),
            ("--device", "cpu".into()),
            ("--threads", "1".into()),
            ("--learning-rate", "1e-3".into()),
            ("--batch-size", "8".into()),
            ("--micro-batch-tokens", "256".into()),
            ("--max-length", "128".into()),
        ];
        for (flag, value) in usual.into_iter().filter(|(flag, _)| !more.split(' ').any(|word| word == *flag)) {
            flags.extend([flag.to_owned(), value]);
        }
        // `@name` is a path in this world.
        flags.extend(more.split_whitespace().map(|word| word.strip_prefix('@').map_or(word.to_owned(), path)));
        flags
    }

    /// A run in this process.
    pub fn run(&self, output: &str, more: &str) -> anyhow::Result<()> {
        run(&self.flags(output, more))
    }

    /// A run in a child process.
    pub fn spawn(&self, output: &str, more: &str) -> Child {
        self.child(output, more).spawn().unwrap()
    }

    /// The command of a child process.
    pub fn child(&self, output: &str, more: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env("DPO_CHILD", self.flags(output, more).join("\n"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
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
    args: dpo::command::Args,
}

pub fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    let cli = Cli::try_parse_from(std::iter::once("dpo".to_owned()).chain(flags.iter().cloned()))?;
    dpo::command::run(&cli.args).map(|_| ())
}

/// The body of the test `child`: it does nothing unless [`World::spawn`] started the program.
pub fn be_a_child() {
    let Ok(flags) = std::env::var("DPO_CHILD") else { return };
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if let Err(error) = run(&flags) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}
