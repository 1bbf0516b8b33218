//! The worker process. It reads one program per line (JSON) from standard input, runs it, and writes one verdict per
//! line to standard output. [`crate::pool::Pool`] starts it from the same binary.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::languages::python;
use crate::languages::{self, Language, Runner};
use crate::limits::{Limits, backstop};
use crate::native::{Backend, Native};
use crate::record::{Job, Status, Verdict};
use crate::sandbox::{Machine, THREAD_STACK};

/// A request to a worker process: one JSON line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The program with its tests.
    pub job: Job,
    /// The program's limits; `job.timeout` overrides the time limit.
    pub limits: Limits,
    /// Seed of the random numbers that the program reads.
    pub seed: u64,
    /// The backend that runs the program.
    pub backend: Backend,
}

/// Serves requests until standard input ends.
///
/// # Errors
/// When a language is not set up, or the pipe breaks.
pub fn serve() -> anyhow::Result<()> {
    // Interpreters recurse deeper than the stack of the main thread allows.
    let thread = std::thread::Builder::new().name("guest".into()).stack_size(THREAD_STACK).spawn(serve_orders)?;
    thread.join().map_err(|_| anyhow::anyhow!("the worker panicked"))?
}

fn serve_orders() -> anyhow::Result<()> {
    let mut worker = Worker { machine: languages::machine()?, open: HashMap::new(), native: None };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let verdict = worker.run(&order)?;
        let mut line = serde_json::to_vec(&verdict)?;
        line.push(b'\n');
        out.write_all(&line)?;
        out.flush()?;
    }
    Ok(())
}

/// Removes the UTF-8 byte-order mark from the start of the program, `test`, `setup` and each text in `tests`.
fn without_marks(job: &Job) -> Job {
    let bare = |text: &String| text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let tests = job.tests.iter().map(|test| match test {
        Value::String(text) => Value::String(bare(text)),
        other => other.clone(),
    });
    Job {
        code: bare(&job.code),
        test: job.test.as_ref().map(bare),
        setup: job.setup.as_ref().map(bare),
        tests: tests.collect(),
        ..job.clone()
    }
}

struct Worker {
    machine: Machine,
    /// The languages that this worker has opened, by name.
    open: HashMap<&'static str, Box<dyn Runner>>,
    native: Option<Native>,
}

impl Worker {
    fn run(&mut self, order: &Order) -> anyhow::Result<Verdict> {
        let job = &order.job;
        let Some(language) = languages::find(&job.language) else {
            return Ok(Verdict::without_run(&job.id, Status::Error, languages::unknown(&job.language)));
        };
        // The job may not come from [`Job::from_value`], so its tests are checked here too.
        if let Err(sentence) = job.check() {
            return Ok(Verdict::without_run(&job.id, Status::Error, sentence));
        }
        let has_checker = job.checker.is_some() || job.tests.iter().any(|test| test.get("checker").is_some());
        if has_checker && (language.name() != "python" || order.backend == Backend::Native) {
            let sentence = "checker: is for Python programs in the sandbox; use compare, atol and rtol elsewhere";
            return Ok(Verdict::without_run(&job.id, Status::Error, sentence));
        }
        let job = &without_marks(job);
        let mut limits = order.limits.clone();
        if let Some(seconds) = job.timeout {
            limits.time = Duration::from_secs_f64(seconds);
            limits.wall = backstop(limits.time);
        }
        if language.name() == "python" {
            limits.time += python::import_time(job);
        }
        let mut verdict = match order.backend {
            Backend::Native => self.run_native(language.name(), job, &limits, order.seed)?,
            Backend::Wasm => self.opened(language)?.run(job, &limits, order.seed)?,
        };
        if job.lint {
            verdict.lint = self.opened(language)?.lint(&job.code)?;
        }
        Ok(verdict)
    }

    fn opened(&mut self, language: &'static dyn Language) -> anyhow::Result<&dyn Runner> {
        if !self.open.contains_key(language.name()) {
            self.open.insert(language.name(), language.open(&self.machine)?);
        }
        Ok(&*self.open[language.name()])
    }

    fn run_native(&mut self, language: &str, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
        let mut verdict = if language == "python" {
            if self.native.is_none() {
                self.native = Some(Native::open()?);
            }
            match &self.native {
                Some(native) => native.run(job, limits, seed)?,
                None => Verdict::without_run(&job.id, Status::Error, "the native backend is not open"),
            }
        } else {
            let sentence = format!("the native backend runs python only, not {language}");
            Verdict::without_run(&job.id, Status::Error, sentence)
        };
        verdict.backend = Backend::Native;
        Ok(verdict)
    }
}
