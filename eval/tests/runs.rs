//! Complete runs against a server on this machine that answers by rule.

use crate::common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use codeexec::pool::Launcher;
use eval::items::{Item, read};
use eval::prompts::Prompts;
use eval::record::Sample;
use eval::run::{Settings, run};
use eval::score::CodeJudge;
use eval::summary::summarise;
use eval::task::Task;
use llama::SamplingParams;
use sampler::{Sampler, SamplerArgs};
use serde_json::{Value, json};

/// A server that answers an addition; it refuses all requests after a given number.
fn model(after: usize) -> String {
    let count = AtomicUsize::new(0);
    common::serve(move |path, body| {
        if path.ends_with("/models") {
            return (200, json!({"data": [{"id": "adder"}]}).to_string().into_bytes());
        }
        if count.fetch_add(1, Ordering::Relaxed) >= after {
            return (400, b"{\"error\": \"enough\"}".to_vec());
        }
        let request: Value = serde_json::from_slice(body).unwrap();
        let question = request["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
        let numbers: Vec<i64> = question.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let sum: i64 = numbers.iter().take(2).sum();
        // Every fifth question gets a wrong answer, and samples differ by seed.
        let sum = if numbers[0] % 5 == 0 { sum + 1 } else { sum };
        let text = format!("{} and {}. The final answer is {sum}", numbers[0], request["seed"]);
        let reply = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {"completion_tokens": 9}});
        (200, reply.to_string().into_bytes())
    })
}

fn sampler(url: &str) -> Sampler {
    let args = SamplerArgs {
        endpoint: Some(format!("{url}/v1")),
        endpoint_retries: 0,
        concurrency: 4,
        ..SamplerArgs::default()
    };
    args.open().unwrap()
}

fn items(folder: &Path, n: usize) -> Vec<Item> {
    let lines: Vec<String> = (1..=n)
        .map(|i| json!({"question": format!("{i} + 3 = ?"), "answer": format!("#### {}", i + 3)}).to_string())
        .collect();
    let path = folder.join("test.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    read(Task::Gsm8kZeroShot, &path, &Prompts::load(None).unwrap(), None).unwrap()
}

fn settings(samples: usize) -> Settings {
    Settings { sampling: SamplingParams::default(), seed: 3, samples, max_new_tokens: Some(50), window: 16 }
}

fn no_programs() -> anyhow::Result<CodeJudge> {
    anyhow::bail!("no programs here")
}

#[test]
fn figures_of_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(folder.path(), 30);
    let samples =
        run(&folder.path().join("run"), "f", &sampler(&model(1000)), &items, &settings(2), &no_programs).unwrap();
    assert_eq!(samples.len(), 60);
    assert_eq!((samples[0].id.as_str(), samples[1].id.as_str(), samples[1].sample), ("0", "0", 1));
    assert_ne!(samples[0].response, samples[1].response);
    let summary = summarise(&samples, &[1, 2]);
    let metrics = &summary["gsm8k-0shot"].metrics;
    for column in ["accuracy", "strict", "flexible", "pass@1", "pass@2"] {
        assert!((metrics[column].value - 0.8).abs() < 1e-12, "{column}");
    }
    assert_eq!((summary["gsm8k-0shot"].items, summary["gsm8k-0shot"].tokens), (30, 540));
}

#[test]
fn a_broken_run_goes_on_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(folder.path(), 40);
    // The address is part of the identity, so one server is used: it is interrupted by a limit that another test run
    // removes.
    let limit = Arc::new(AtomicUsize::new(25));
    let (count, now) = (AtomicUsize::new(0), limit.clone());
    let healthy = model(10_000);
    let url = {
        let client = forward(healthy);
        common::serve(move |path, body| {
            if !path.ends_with("/models") && count.fetch_add(1, Ordering::Relaxed) >= now.load(Ordering::Relaxed) {
                return (503, Vec::new());
            }
            client(path, body)
        })
    };
    let (broken, whole) = (folder.path().join("broken"), folder.path().join("whole"));
    let error = run(&broken, "f", &sampler(&url), &items, &settings(1), &no_programs).unwrap_err().to_string();
    assert!(error.contains("run the same command again"), "{error}");
    assert!(!broken.join("samples.jsonl").exists());
    let partial = std::fs::read_to_string(broken.join("responses.jsonl.partial")).unwrap();
    assert!(partial.lines().count() >= 20, "{}", partial.lines().count());
    // Partial results of another run are refused.
    let error = run(&broken, "g", &sampler(&url), &items, &settings(1), &no_programs).unwrap_err().to_string();
    assert!(error.contains("with other options"), "{error}");
    // A kill in the middle of a line.
    std::fs::write(broken.join("responses.jsonl.partial"), &partial[..partial.len() - 7]).unwrap();

    limit.store(usize::MAX, Ordering::Relaxed);
    run(&broken, "f", &sampler(&url), &items, &settings(1), &no_programs).unwrap();
    run(&whole, "f", &sampler(&url), &items, &settings(1), &no_programs).unwrap();
    for name in ["responses.jsonl", "samples.jsonl"] {
        assert_eq!(std::fs::read(broken.join(name)).unwrap(), std::fs::read(whole.join(name)).unwrap(), "{name}");
    }
    // Complete: no new requests.
    limit.store(0, Ordering::Relaxed);
    assert_eq!(run(&whole, "f", &sampler(&url), &items, &settings(1), &no_programs).unwrap().len(), 40);
}

/// Forwards a request to another server on this machine.
fn forward(url: String) -> impl Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + Sync {
    move |path, body| {
        use std::io::{Read as _, Write as _};
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(body).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

#[test]
fn programs_are_judged_by_the_sandbox() {
    let Some(worker) = test_support::program("codeexec") else { return };
    let status = std::process::Command::new(&worker).arg("setup").status().unwrap();
    assert!(status.success(), "codeexec setup failed");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("problems.jsonl");
    let problem = |id: &str, name: &str| {
        json!({"id": id, "kind": "code", "prompt": format!("Write {name}"), "entry_point": name,
            "tests": [format!("assert {name}(2) == 3"), format!("assert {name}(-1) == 0")], "meta": {"difficulty": "easy"}})
    };
    std::fs::write(&path, format!("{}\n{}\n", problem("a", "inc"), problem("b", "add_one"))).unwrap();
    let items = read(Task::Problems, &path, &Prompts::load(None).unwrap(), None).unwrap();
    // The model writes `inc`, whatever the question.
    let url = common::serve(|path, _| {
        if path.ends_with("/models") {
            return (200, json!({"data": [{"id": "coder"}]}).to_string().into_bytes());
        }
        let text = "Sure:\n```python\ndef inc(x):\n    return x + 1\n```";
        let reply = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]});
        (200, reply.to_string().into_bytes())
    });
    let code = || -> anyhow::Result<CodeJudge> {
        Ok(CodeJudge::pool(Launcher { program: worker.clone(), arguments: vec!["child".into()] }, 1))
    };
    let samples: Vec<Sample> =
        run(&folder.path().join("run"), "f", &sampler(&url), &items, &settings(1), &code).unwrap();
    assert_eq!(samples.iter().map(|s| s.passed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(samples[0].extracted.as_deref(), Some("def inc(x):\n    return x + 1\n"));
    assert!(samples[1].detail.as_deref().unwrap().contains("add_one"), "{:?}", samples[1].detail);
}

#[test]
fn likelihoods_are_refused_where_a_server_gives_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, "Some text.").unwrap();
    let items = read(Task::Perplexity, &path, &Prompts::load(None).unwrap(), None).unwrap();
    let error =
        run(&folder.path().join("run"), "f", &sampler(&model(9)), &items, &settings(1), &no_programs).unwrap_err();
    assert!(error.to_string().contains("use --model"), "{error}");
}
