//! nanoGPT's published check: tiny Shakespeare by bytes, 4 layers, 4 heads, width 128, context 64, 12 rows a step, 2,000 steps,
//! 1.88 nats on the last tenth of the text.

use std::io::Read;

use clap::Parser;
use token_shards::{ShardWriter, Tokenizer};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: pretrain::command::Args,
}

#[test]
#[ignore = "takes minutes; run it with --ignored --nocapture"]
fn tiny_shakespeare_as_nanogpt() {
    let Some(file) = test_support::shared("data/tinyshakespeare/input.txt.gz") else { return };
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_end(&mut text).unwrap();
    assert_eq!(text.len(), 1_115_394);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let model = dir.path().join("base");
    llama::NewModel { hidden: 128, layers: 4, context: 64, seed: 0 }.write(&model).unwrap();
    let (train, valid) = text.split_at(text.len() * 9 / 10);
    for (name, part) in [("train", train), ("valid", valid)] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let sha256 = dataset::digest::file(model.join("tokenizer.json")).unwrap();
        let tokenizer = Tokenizer { sha256, vocab_size: 256, ..Tokenizer::default() };
        let mut writer = ShardWriter::create(dir.path().join(name).join("0.ds"), tokenizer, name).unwrap();
        let ids: Vec<u32> = part.iter().map(|byte| u32::from(*byte)).collect();
        writer.push(&ids, Some(part.len() as u64)).unwrap();
        writer.finish().unwrap();
    }
    torch_ext::init();
    let config = test_support::root().join("recipes/configs/pretrain-tiny-shakespeare.toml").display().to_string();
    let mut flags = vec!["pretrain".to_owned(), "--config".into(), config, "--device".into(), "cpu".into()];
    for (flag, name) in [("--model", "base"), ("--data", "train"), ("--eval-data", "valid"), ("--output", "run")] {
        flags.extend([flag.to_owned(), path(name)]);
    }
    flags.extend(std::env::var("PRETRAIN_FLAGS").unwrap_or_default().split_whitespace().map(str::to_owned));
    trainer::keep_memory();
    pretrain::command::run(&Cli::parse_from(flags).args).unwrap();
    let metrics = std::fs::read_to_string(dir.path().join("run/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    println!("{last}");
    assert_eq!(last["step"], 2000);
    assert!(last["eval_loss"].as_f64().unwrap() <= 1.88, "{last}");
}
