//! A tiny model with a byte-level tokenizer, and runs of the stage in this process and in others.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use llama::{Llama, LlamaConfig};
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes.
fn byte_characters() -> Vec<char> {
    let printable =
        |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || (174..=255).contains(&byte);
    let mut next = 256;
    (0..256)
        .map(|byte| {
            let code = if printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap()
        })
        .collect()
}

/// Writes a model folder: two layers of width 32, random weights, one token a byte, ChatML.
pub fn write_model(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string()).unwrap();
    write(
        "config.json",
        &json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 260,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "hidden_act": "silu", "bos_token_id": 256, "eos_token_id": 257
        }),
    );
    let mut vocab: Map<String, Value> =
        byte_characters().iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    let special = ["<|im_start|>", "<|im_end|>"];
    vocab.extend(special.iter().enumerate().map(|(n, token)| ((*token).to_owned(), json!(256 + n))));
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(n, token)| {
            json!({"id": 256 + n, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    write(
        "tokenizer.json",
        &json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                      "vocab": vocab, "merges": []}
        }),
    );
    write(
        "tokenizer_config.json",
        &json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}),
    );
    torch_ext::init();
    // Not libtorch's generator, which tests that run at the same time share.
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
    let config = LlamaConfig::from_dir(folder).unwrap();
    let model = Llama::build::<()>(config, |name, shape| {
        let options = (Kind::Float, Device::Cpu);
        if name.contains("norm") {
            return Ok(Tensor::ones(shape, options));
        }
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.17..0.17)).collect();
        Ok(Tensor::from_slice(&values).reshape(shape))
    });
    model.unwrap().save(folder, None).unwrap();
}

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

/// A model, data and room for runs.
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
        let mut flags = vec!["--model".into(), path("model"), "--data".into(), path("train.jsonl")];
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

    /// A run in a process of its own.
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

/// This test program again, doing one run: see [`be_a_child`].
pub fn child(program: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "child", "--nocapture"]).env("SFT_CHILD", flags.join("\n"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// What the test `child` does: nothing unless started by [`child`].
pub fn be_a_child() {
    let Ok(flags) = std::env::var("SFT_CHILD") else { return };
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if let Err(error) = run(&flags) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}
