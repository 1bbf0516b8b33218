//! nanoGPT's published check: tiny Shakespeare by bytes, 4 layers, 4 heads, width 128, context 64, 12 rows a step, 2,000 steps,
//! 1.88 nats on the last tenth of the text. `cargo bench -p pretrain --bench torch` runs it beside PyTorch.

use clap::Parser;

#[path = "common/shakespeare.rs"]
mod shakespeare;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: pretrain::command::Args,
}

#[test]
#[ignore = "takes minutes; run it with --ignored --nocapture"]
fn tiny_shakespeare_as_nanogpt() {
    let Some(file) = test_support::shared("data/tinyshakespeare/input.txt.gz") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    shakespeare::place(dir.path(), &file).unwrap();
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
