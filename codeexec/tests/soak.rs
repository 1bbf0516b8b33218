//! Sends mixed programs, one in twenty hostile, to `serve` while workers and the server itself are killed. No program
//! may be lost or answered twice, the server's memory must stay below 200 MiB, and every verdict must equal that of a
//! sequential run.
//!
//! 200 programs run with the other tests. A long run can be split: each call of this command continues where the last
//! one ended.
//!
//! ```text
//! CODEEXEC_SOAK=100000 CODEEXEC_SOAK_STATE=/tmp/soak CODEEXEC_SOAK_SECONDS=400 \
//!     cargo test -p codeexec --test main soak -- --nocapture
//! ```

use crate::common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use codeexec::record::{Job, Verdict};
use serde_json::{Value, json};

/// Number of programs per request.
const BATCH: usize = 10;

/// The program with number `i`, the same in every run.
fn program(i: usize) -> Value {
    // Programs that compute until the time limit get 0.1 s. The others end earlier and get 10 s, which is enough on a
    // busy machine.
    const HOSTILE: [(&str, f64); 10] = [
        ("def f(x):\n    while True: pass", 0.1),
        ("import os\ndef f(x): os._exit(0)", 10.0),
        ("def f(x):\n    a = []\n    while True: a.append(bytes(10**6))", 10.0),
        ("def f(x): return f(x)", 10.0),
        ("while True: print('x' * 10000)", 10.0),
        ("import time\ndef f(x): time.sleep(10**6)", 10.0),
        ("import re\ndef f(x): return re.match('(a+)+$', 'a' * 40 + '!')", 0.1),
        (
            "import builtins\nbuiltins.isinstance = lambda *a: True\nclass A:\n    def __eq__(s, o): return True\ndef f(x): return A()",
            10.0,
        ),
        ("import os\nos.abort()", 10.0),
        ("def f(x): return open('/etc/passwd').read()", 10.0),
    ];
    const PYTHON: [&str; 5] = [
        "def f(x):\n    return x + 1",
        "import typing, collections\ndef f(x: int) -> int:\n    c = collections.Counter(range(x % 50))\n    return x + 1 + sum(c.values()) * 0",
        "def f(x):\n    return x",
        "def f(x):\n    raise ValueError(x)",
        "def f(",
    ];
    let id = i.to_string();
    if i % 20 == 19 {
        let (code, seconds) = HOSTILE[i / 20 % HOSTILE.len()];
        return json!({"id": id, "code": code, "tests": [format!("assert f({i}) == {i} + 1")], "timeout": seconds});
    }
    match i % 10 {
        0 | 2 | 4 | 6 => {
            let codes = ["const f = x => x + 1", "function f(x) { return x }", "function f(x) { throw new Error(x) }"];
            let test = format!("console.assert(f({i}) === {i} + 1)");
            json!({"id": id, "language": "javascript", "code": codes[i / 10 % 3], "tests": [test], "timeout": 10})
        }
        8 => {
            let codes = ["<?php function f($x) { return $x + 1; }", "<?php function f($x) { return $x; }"];
            let test = format!("assert(f({i}) === {i} + 1);");
            json!({"id": id, "language": "php", "code": codes[i / 10 % 2], "tests": [test], "timeout": 10})
        }
        _ => {
            let code = PYTHON[i % PYTHON.len()];
            json!({"id": id, "code": code, "tests": [format!("assert f({i}) == {i} + 1"), "assert f(1) == 2"], "timeout": 10})
        }
    }
}

/// The part of a verdict that must be the same on every machine and in every run.
fn gist(verdict: &Verdict) -> String {
    let tests: String = verdict.tests.iter().map(|test| if test.passed { '+' } else { '-' }).collect();
    format!("{} {} {tests}", verdict.passed, verdict.status.word())
}

/// Verdicts by program number, also appended to a file as they arrive.
struct Answers {
    held: Mutex<(BTreeMap<usize, String>, std::fs::File)>,
    /// Number of programs that got a second verdict.
    twice: AtomicUsize,
}

impl Answers {
    fn open(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // A line that a kill cut off has no newline, and is dropped.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let lines = whole.lines().filter_map(|line| line.split_once(' '));
        let known = lines.map(|(id, gist)| (id.parse().unwrap(), gist.to_owned())).collect();
        std::fs::write(path, whole).unwrap();
        let file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        Self { held: Mutex::new((known, file)), twice: AtomicUsize::new(0) }
    }

    fn has(&self, id: usize) -> bool {
        self.held.lock().unwrap().0.contains_key(&id)
    }

    fn put(&self, verdict: &Verdict) {
        let id: usize = verdict.id.parse().unwrap();
        let mut held = self.held.lock().unwrap();
        let gist = gist(verdict);
        writeln!(held.1, "{id} {gist}").unwrap();
        if held.0.insert(id, gist).is_some() {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> usize {
        self.held.lock().unwrap().0.len()
    }
}

/// A running `codeexec serve` process.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let addr = format!("127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_codeexec"));
        command.args(["serve", "--workers", "2", "--timeout", "10s", "--addr", &addr]).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }
}

/// Posts a request over a new connection; `None` if the server is killed before its complete answer.
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

/// Resident memory of a process in MiB; 0 if the process has ended.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("0").to_owned();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Process ids of the server's workers.
fn children(server: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{server}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Load average of the last minute per core, at least 1.
fn slowness() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = load.split(' ').next().unwrap().parse().unwrap();
    (load / std::thread::available_parallelism().unwrap().get() as f64).max(1.0)
}

fn kill(id: u32, signal: &str) {
    Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
}

/// Sends the programs that have no verdict yet, until `end`, and kills workers and servers meanwhile. Returns the
/// numbers of killed workers and servers, and samples of the resident MiB of the server and of the largest worker.
fn serve(count: usize, answers: &Answers, end: Instant) -> (usize, usize, Vec<(u64, u64)>) {
    let server = RwLock::new(Server::start());
    let next = AtomicUsize::new(0);
    let (mut workers_killed, mut servers_killed, mut memory) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        let send = || {
            while Instant::now() < end {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return;
                }
                let ids: Vec<usize> = (first..count.min(first + BATCH)).filter(|id| !answers.has(*id)).collect();
                if ids.is_empty() {
                    continue;
                }
                let batch = Value::Array(ids.iter().map(|id| program(*id)).collect());
                // Without an answer, the server was killed: sends the batch again to the new one.
                let reply = loop {
                    let port = server.read().unwrap().port;
                    match post(port, &batch) {
                        Some(reply) => break reply,
                        None => std::thread::sleep(Duration::from_millis(50)),
                    }
                };
                let verdicts: Vec<Verdict> = reply
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|v| serde_json::from_value(v.clone()).unwrap_or_else(|e| panic!("{e}: {v}")))
                    .collect();
                assert_eq!(verdicts.len(), ids.len());
                verdicts.iter().for_each(|verdict| answers.put(verdict));
            }
        };
        let senders: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        // The pool gives up a program after five kills of its worker, so a slower machine gets longer pauses.
        let pause = Duration::from_millis(if count > 1000 { 2000 } else { 250 }).mul_f64(slowness());
        let mut round = 0;
        while !senders.iter().all(|sender| sender.is_finished()) {
            std::thread::sleep(pause);
            round += 1;
            let id = server.read().unwrap().child.id();
            let workers = children(id);
            if round % 5 == 0 {
                memory.push((resident(id), workers.iter().map(|id| resident(*id)).max().unwrap_or(0)));
            }
            if round % 12 == 2 {
                let mut held = server.write().unwrap();
                held.child.kill().unwrap();
                held.child.wait().unwrap();
                *held = Server::start();
                servers_killed += 1;
            } else if let Some(worker) = workers.get(round % 2) {
                kill(*worker, "-9");
                workers_killed += 1;
            }
        }
    });
    let mut server = server.into_inner().unwrap();
    kill(server.child.id(), "-TERM");
    assert!(server.child.wait().unwrap().success(), "the server does not drain");
    (workers_killed, servers_killed, memory)
}

/// Runs the programs that have no verdict yet one after the other, until `end`.
fn sequential(count: usize, answers: &Answers, end: Instant) {
    let pool = common::pool(10.0);
    for id in 0..count {
        if Instant::now() > end {
            return;
        }
        if !answers.has(id) {
            answers.put(&pool.run(&Job::from_value(program(id)).unwrap()).unwrap());
        }
    }
}

#[test]
fn serve_loses_nothing_when_workers_and_servers_are_killed() {
    common::set_up();
    common::set_up_language("javascript,php");
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok());
    let count = number("CODEEXEC_SOAK").unwrap_or(200);
    let end = Instant::now() + Duration::from_secs(number("CODEEXEC_SOAK_SECONDS").unwrap_or(3600) as u64);
    let scratch = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("CODEEXEC_SOAK_STATE").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let (served, in_order) = (Answers::open(&folder.join("served")), Answers::open(&folder.join("sequential")));
    let (start, before) = (Instant::now(), served.count());
    if served.count() < count {
        let (workers, servers, memory) = serve(count, &served, end);
        let seconds = start.elapsed().as_secs_f64();
        let now = served.count() - before;
        println!(
            "{now} programs in {seconds:.0} s, {:.0}/s; {workers} workers and {servers} servers killed",
            now as f64 / seconds
        );
        if let (Some(first), Some(last)) = (memory.first(), memory.last()) {
            let most = memory.iter().fold((0, 0), |most, now| (most.0.max(now.0), most.1.max(now.1)));
            println!("MiB of server and largest worker: {first:?} at first, {last:?} at last, {most:?} at most");
            assert!(most.0 < 200, "the server's memory grows");
        }
    }
    sequential(count, &in_order, end);
    println!("{} of {count} served, {} in order", served.count(), in_order.count());
    assert_eq!(
        (served.twice.load(Ordering::Relaxed), in_order.twice.load(Ordering::Relaxed)),
        (0, 0),
        "answered twice"
    );
    if Instant::now() > end {
        println!("to be continued: run the same command again");
        return;
    }
    assert_eq!((served.count(), in_order.count()), (count, count), "lost");
    let (served, in_order) = (served.held.into_inner().unwrap().0, in_order.held.into_inner().unwrap().0);
    let differ: Vec<_> = served.iter().filter(|(id, gist)| in_order.get(id) != Some(gist)).collect();
    for (id, gist) in &differ {
        println!("{id}: {gist} served, {} in order", in_order[id]);
    }
    let mut kinds = BTreeMap::<&str, usize>::new();
    for gist in served.values() {
        *kinds.entry(gist.split(' ').nth(1).unwrap()).or_default() += 1;
    }
    println!("{count} programs: {kinds:?}; {} verdicts differ from the sequential run's", differ.len());
    assert!(differ.is_empty());
}
