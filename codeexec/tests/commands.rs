//! The binary: `run` with its resumption, `serve` under load with workers killed, `extract`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use codeexec::record::{Job, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

fn codeexec() -> Command {
    Command::new(env!("CARGO_BIN_EXE_codeexec"))
}

/// Right, wrong and hostile programs, mixed.
fn mixed(count: usize) -> Vec<Value> {
    let codes = [
        "def f(x):\n    return x + 1",
        "def f(x):\n    return x",
        "def f(x):\n    raise ValueError(x)",
        "def f(",
        "import os\nos._exit(0)",
    ];
    (0..count)
        .map(|i| {
            let code = if i % 20 == 19 { "def f(x):\n    while True: pass" } else { codes[i % codes.len()] };
            json!({"id": i.to_string(), "code": code, "tests": [format!("assert f({i}) == {i} + 1")], "timeout": 0.5})
        })
        .collect()
}

/// What must not depend on who ran it when.
fn gist(verdict: &Verdict) -> (String, bool, String, Vec<bool>) {
    let tests = verdict.tests.iter().map(|test| test.passed).collect();
    (verdict.id.clone(), verdict.passed, verdict.status.word().into(), tests)
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_the_same() {
    common::set_up();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("programs.jsonl");
    let lines: Vec<String> = mixed(120).iter().map(Value::to_string).collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let output = folder.path().join("verdicts.jsonl");
    let partial = folder.path().join("verdicts.jsonl.partial");
    let start = || {
        let mut command = codeexec();
        command.arg("run").arg("--input").arg(&input).arg("--output").arg(&output).arg("--workers").arg("2");
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut child = start();
    // Killed when some verdicts are there; whatever happened until then, the rest is right.
    for _ in 0..2000 {
        std::thread::sleep(Duration::from_millis(5));
        if std::fs::read_to_string(&partial).unwrap_or_default().lines().count() > 20 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!output.exists());
    assert!(start().wait().unwrap().success());
    let verdicts: Vec<Verdict> = dataset::jsonl::read_all(&output).unwrap();
    let jobs: Vec<Job> = mixed(120).into_iter().map(|value| Job::from_value(value).unwrap()).collect();
    let sequential = run_all(&common::pool(3.0), 1, &jobs).unwrap();
    assert_eq!(verdicts.iter().map(gist).collect::<Vec<_>>(), sequential.iter().map(gist).collect::<Vec<_>>());
}

#[test]
fn a_bad_line_stops_a_strict_run_and_is_set_aside_in_a_lenient_one() {
    common::set_up();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("programs.jsonl");
    std::fs::write(&input, "{\"code\": \"print(1)\"}\n{\"code\": 1}\n").unwrap();
    let run = |more: &[&str]| {
        let output = folder.path().join("verdicts.jsonl");
        codeexec().arg("run").arg("--input").arg(&input).arg("--output").arg(&output).args(more).output().unwrap()
    };
    let strict = run(&[]);
    assert_eq!(strict.status.code(), Some(1));
    let said = String::from_utf8_lossy(&strict.stderr).into_owned();
    assert!(said.contains("programs.jsonl:2"), "{said}");
    std::fs::remove_file(folder.path().join("verdicts.jsonl.partial")).ok();
    let lenient = run(&["--lenient"]);
    assert!(lenient.status.success(), "{}", String::from_utf8_lossy(&lenient.stderr));
    assert!(folder.path().join("rejected.jsonl").exists());
}

/// A request over a connection of its own.
fn post(port: u16, body: &Value) -> Option<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!("POST /run HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Resident memory of a process and its children, in MiB: the server, and the largest of its workers.
fn resident(server: u32) -> (u64, u64) {
    let of = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("0").to_owned();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    (of(server), children(server).into_iter().map(of).max().unwrap_or(0))
}

fn children(server: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{server}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// `CODEEXEC_SOAK=100000 cargo test -p codeexec --test commands serve -- --nocapture` for a long run.
#[test]
fn serve_loses_nothing_when_workers_are_killed() {
    let count = std::env::var("CODEEXEC_SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    common::set_up();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = codeexec()
        .args(["serve", "--workers", "2", "--addr", &format!("127.0.0.1:{port}")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let all = mixed(count);
    let mut answers: BTreeMap<usize, Value> = BTreeMap::new();
    std::thread::scope(|scope| {
        let senders: Vec<_> = all
            .chunks(count / 4)
            .map(|chunk| {
                scope
                    .spawn(move || chunk.chunks(10).map(|batch| post(port, &json!(batch)).unwrap()).collect::<Vec<_>>())
            })
            .collect();
        // Kill one of the server's children now and then while it works.
        let (mut kills, mut first) = (0, None);
        while !senders.iter().all(|sender| sender.is_finished()) {
            std::thread::sleep(Duration::from_millis(if count > 1000 { 3000 } else { 300 }));
            let workers = children(server.id());
            if let Some(worker) = workers.get(kills % 2) {
                Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap();
                kills += 1;
            }
            first = first.or(Some(resident(server.id())).filter(|_| kills > 4));
        }
        let (first, last) = (first.unwrap_or_default(), resident(server.id()));
        println!(
            "{count} programs, {kills} workers killed; server and worker: {first:?} MiB at first, {last:?} at last"
        );
        assert!(count < 1000 || last.0 < first.0 + 64, "the server's memory grows");
        for sender in senders {
            for value in sender.join().unwrap().into_iter().flat_map(|batch| batch.as_array().unwrap().clone()) {
                let id: usize = value["id"].as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap();
                assert!(answers.insert(id, value).is_none(), "{id} came twice");
            }
        }
    });
    Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(server.wait().unwrap().success());
    let jobs: Vec<Job> = all.into_iter().map(|value| Job::from_value(value).unwrap()).collect();
    let sequential = run_all(&common::pool(3.0), 1, &jobs).unwrap();
    assert_eq!(answers.len(), count);
    for (answer, verdict) in answers.into_values().zip(&sequential) {
        let answer: Verdict = serde_json::from_value(answer).unwrap();
        assert_eq!(gist(&answer), gist(verdict));
    }
}

#[test]
fn extract_reads_an_answer() {
    let mut child = codeexec().arg("extract").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Sure:\n```python\nx = 1\n```\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "x = 1\n");
}
