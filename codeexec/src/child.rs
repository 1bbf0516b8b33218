//! The worker process: programs in by standard input, verdicts out by standard output, one JSON object a line, one at a
//! time. It is this same binary, started by [`crate::pool::Pool`].

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::python::{runtime::Python, session};
use crate::record::{Job, Status, Verdict};
use crate::sandbox::{Machine, Profile, Settings, THREAD_STACK};

/// What a worker process is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The program.
    pub job: Job,
    /// Its limits.
    pub limits: Limits,
    /// Seed of its randomness.
    pub seed: u64,
}

/// Serves orders until standard input ends.
///
/// # Errors
/// When a language is not set up, or the pipe breaks.
pub fn serve() -> anyhow::Result<()> {
    // Interpreters recurse deeper than a main thread's stack allows.
    let thread = std::thread::Builder::new().name("guest".into()).stack_size(THREAD_STACK).spawn(serve_orders)?;
    thread.join().map_err(|_| anyhow::anyhow!("the worker panicked"))?
}

fn serve_orders() -> anyhow::Result<()> {
    let machine = Machine::new(Settings { profile: Profile::Programs, max_memory: 4 << 30 })?;
    let python = Python::open(&machine)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let verdict = run(&machine, &python, &order)?;
        let mut line = serde_json::to_vec(&verdict)?;
        line.push(b'\n');
        out.write_all(&line)?;
        out.flush()?;
    }
    Ok(())
}

fn run(machine: &Machine, python: &Python, order: &Order) -> anyhow::Result<Verdict> {
    match order.job.language.as_str() {
        "python" | "python3" | "py" => session::run(machine, python, &order.job, &order.limits, order.seed),
        other => {
            let sentence = format!("language {other:?} is not known; use python");
            Ok(Verdict::without_run(&order.job.id, Status::Error, sentence))
        }
    }
}
