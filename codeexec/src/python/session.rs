//! One program: its own interpreter, a judge's interpreter beside it, and the calls between the two.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::marshal;
use super::runtime::Python;
use crate::limits::Limits;
use crate::record::{Job, Status, TestKind, TestResult, Verdict, same_output};
use crate::sandbox::guest::Door;
use crate::sandbox::{Clock, Ending, Instance, Machine, Stop};

/// What the judge says of a test.
#[derive(Deserialize)]
struct Report {
    name: String,
    passed: bool,
    message: String,
    kind: String,
    #[serde(default)]
    traceback: Option<String>,
}

/// What passes between a program's interpreter and the host.
#[derive(Default)]
struct Mailbox {
    /// The answer to the program's next question.
    to_program: Vec<u8>,
    /// What it said last: `L` and how its text ran, `R` and a reply.
    from_program: Option<Vec<u8>>,
}

/// A program in its interpreter.
struct Program {
    instance: Instance,
    mailbox: Arc<Mutex<Mailbox>>,
    /// Why it can run no more.
    ended: Option<Ending>,
}

/// How a program's text ran.
enum Loaded {
    /// To its end: the names that it defines, as JSON.
    Done(Value),
    /// An exception: the class's name and the traceback.
    Raised(String, String),
    /// The interpreter ended.
    Ended(Ending),
}

/// Runs a job from its start to its verdict.
pub fn run(machine: &Machine, python: &Python, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
    let mut limits = limits.clone();
    if let Some(seconds) = job.timeout {
        limits.wall = Duration::from_secs_f64(seconds);
        limits.cpu = limits.wall;
    }
    let session = Session { machine, python, job, limits: &limits, seed };
    if job.test_kind() == Some(TestKind::Stdin) { session.stdin_cases() } else { session.one_run() }
}

struct Session<'a> {
    machine: &'a Machine,
    python: &'a Python,
    job: &'a Job,
    limits: &'a Limits,
    seed: u64,
}

impl Session<'_> {
    /// Starts an interpreter with an entry function of the harness and a door.
    fn start(&self, clock: Clock, stdin: &str, door: Door) -> anyhow::Result<Result<Instance, Ending>> {
        let mut guest = self.python.guest(self.limits, clock, stdin.as_bytes().to_vec(), self.seed)?;
        guest.door = Some(door);
        Ok(self.machine.start(&self.python.module, guest))
    }

    fn program(&self, clock: Clock, stdin: &str) -> anyhow::Result<Result<Program, Ending>> {
        let mailbox = Arc::new(Mutex::new(Mailbox::default()));
        let job = json!({"code": self.job.code, "argv": ["program.py"]}).to_string().into_bytes();
        let shared = mailbox.clone();
        let door: Door = Box::new(move |_, message| {
            let Ok(mut mailbox) = shared.lock() else { return Ok(Vec::new()) };
            match message.first() {
                Some(b'P') => Ok(job.clone()),
                Some(b'N') => Ok(std::mem::take(&mut mailbox.to_program)),
                Some(b'L' | b'R') => {
                    mailbox.from_program = Some(message.to_vec());
                    Ok(Vec::new())
                }
                _ => Ok(Vec::new()),
            }
        });
        let instance = self.start(clock, stdin, door)?;
        Ok(instance.map(|instance| Program { instance, mailbox, ended: None }))
    }

    /// A run of the whole program, then its tests.
    fn one_run(&self) -> anyhow::Result<Verdict> {
        let job = self.job;
        let clock = Clock::start(self.limits);
        let mut verdict = Verdict::without_run(&job.id, Status::Error, "");
        let mut program = match self.program(clock, job.stdin.as_deref().unwrap_or(""))? {
            Ok(program) => program,
            Err(ending) => {
                verdict.detail = Some(ending.to_string());
                return Ok(verdict);
            }
        };
        let loaded = program.load();
        verdict.parses = match &loaded {
            Loaded::Raised(class, _) => {
                Some(!["SyntaxError", "IndentationError", "TabError"].contains(&class.as_str()))
            }
            _ => Some(true),
        };
        match loaded {
            Loaded::Done(names) => {
                if let Some(kind) = self.judge_job(names) {
                    return self.judged(program, &kind, verdict);
                }
                verdict.status = Status::Passed;
            }
            Loaded::Raised(class, traceback) if class == "MemoryError" => {
                verdict.status = Status::Memory;
                verdict.detail = Some(last_line(&traceback, &class));
                program.instance.guest().stderr.extend_from_slice(traceback.as_bytes());
            }
            Loaded::Raised(class, traceback) => {
                // A program that is judged by its output may end by `sys.exit()`.
                let may_exit = job.expected_stdout.is_some() && class == "SystemExit";
                verdict.status = if may_exit { Status::Passed } else { Status::Error };
                verdict.detail = (!may_exit).then(|| last_line(&traceback, &class));
                if !may_exit {
                    program.instance.guest().stderr.extend_from_slice(traceback.as_bytes());
                }
            }
            Loaded::Ended(ending) => {
                let may_exit = job.expected_stdout.is_some() && matches!(ending, Ending::Stopped(Stop::Exit(_)));
                verdict.status = if may_exit { Status::Passed } else { status_of(&ending) };
                verdict.detail = (!may_exit).then(|| ending.to_string());
            }
        }
        program.measure(&mut verdict);
        if let (Status::Passed, Some(expected)) = (verdict.status, &job.expected_stdout)
            && !same_output(&verdict.stdout, expected)
        {
            verdict.status = Status::Failed;
            verdict.detail = Some("standard output is not what was expected".into());
        }
        finish(&mut program, &mut verdict);
        Ok(verdict)
    }

    /// What the judge is told, or nothing where there is nothing to judge.
    fn judge_job(&self, names: Value) -> Option<Value> {
        let job = self.job;
        if let Some(reference) = &job.reference {
            return Some(json!({
                "kind": "reference", "names": names, "entry_point": job.entry_point, "reference": reference.code,
                "inputs": reference.inputs, "atol": reference.atol, "rule": reference.rule,
            }));
        }
        if let Some(test) = &job.test {
            return Some(json!({"kind": "script", "names": names, "test": test, "entry_point": job.entry_point}));
        }
        Some(match job.test_kind()? {
            TestKind::Assert => json!({"kind": "asserts", "names": names, "setup": job.setup, "tests": job.tests}),
            _ => json!({"kind": "table", "names": names, "entry_point": job.entry_point, "rows": job.tests}),
        })
    }

    /// Lets the judge run the tests against a program that has been loaded.
    fn judged(&self, mut program: Program, job: &Value, mut verdict: Verdict) -> anyhow::Result<Verdict> {
        let clock = program.instance.guest().clock.clone();
        let before = std::mem::take(&mut program.instance.guest().stdout);
        let program = Arc::new(Mutex::new(program));
        let reports = Arc::new(Mutex::new((Vec::<Report>::new(), false)));
        let (job, ours, said) = (job.to_string().into_bytes(), program.clone(), reports.clone());
        let door: Door = Box::new(move |clock, message| {
            let Some((kind, content)) = message.split_first() else { return Ok(Vec::new()) };
            match kind {
                b'T' => return Ok(job.clone()),
                b'C' => {
                    let Ok(mut program) = ours.lock() else { return Ok(b"1".to_vec()) };
                    return program.ask(clock, content);
                }
                _ => {}
            }
            if let Ok(mut said) = said.lock() {
                match kind {
                    b'D' => said.0.extend(serde_json::from_slice::<Report>(content)),
                    b'E' => said.1 = true,
                    _ => {}
                }
            }
            Ok(Vec::new())
        });
        let ending = match self.start(clock, "", door)? {
            Ok(mut judge) => {
                let ended = judge.call_harness("judge");
                let guest = judge.guest();
                verdict.stdout = String::from_utf8_lossy(&before).into_owned();
                verdict.stdout.push_str(&String::from_utf8_lossy(&guest.stdout));
                if let Ok(mut program) = program.lock() {
                    let rest = std::mem::take(&mut program.instance.guest().stdout);
                    verdict.stdout.push_str(&String::from_utf8_lossy(&rest));
                    program.instance.guest().clock = guest.clock.clone();
                    program.instance.guest().stdout.clear();
                    program.instance.guest().stderr.extend_from_slice(&guest.stderr);
                }
                ended.err()
            }
            Err(ending) => Some(ending),
        };
        let (reports, done) = match Arc::try_unwrap(reports) {
            Ok(reports) => reports.into_inner().unwrap_or_default(),
            Err(shared) => shared.lock().map(|mut held| std::mem::take(&mut *held)).unwrap_or_default(),
        };
        let Ok(mut program) = program.lock() else { anyhow::bail!("the program's state was lost") };
        self.conclude(&mut program, reports, done, ending, &mut verdict);
        Ok(verdict)
    }

    /// From the judge's reports to the verdict.
    fn conclude(
        &self,
        program: &mut Program,
        reports: Vec<Report>,
        done: bool,
        ending: Option<Ending>,
        verdict: &mut Verdict,
    ) {
        let all_passed = !reports.is_empty() && reports.iter().all(|report| report.passed);
        if let Some(ended) = program.ended.clone().or(ending) {
            verdict.status = status_of(&ended);
            verdict.detail = Some(ended.to_string());
        } else if !done {
            verdict.status = Status::Error;
            verdict.detail = Some("the tests were not run to their end".into());
        } else if all_passed {
            verdict.status = Status::Passed;
        } else if let Some(first) = reports.iter().find(|report| !report.passed) {
            verdict.status = match first.kind.as_str() {
                "failed" => Status::Failed,
                _ if first.message.starts_with("MemoryError") => Status::Memory,
                _ => Status::Error,
            };
            verdict.detail = Some(first.message.clone());
        } else {
            verdict.detail = Some("there was no test".into());
        }
        for report in reports {
            if let Some(traceback) = &report.traceback {
                program.instance.guest().stderr.extend_from_slice(traceback.as_bytes());
            }
            verdict.tests.push(TestResult { name: report.name, passed: report.passed, message: report.message });
        }
        let stdout = std::mem::take(&mut verdict.stdout);
        program.measure(verdict);
        verdict.stdout = stdout;
        finish(program, verdict);
    }

    /// Each case a run of its own, within one budget of time.
    fn stdin_cases(&self) -> anyhow::Result<Verdict> {
        let mut total = Verdict::without_run(&self.job.id, Status::Passed, "");
        total.detail = None;
        for (i, case) in self.job.tests.iter().enumerate() {
            let text = |name: &str| case.get(name).and_then(Value::as_str).map(str::to_owned);
            let job = Job {
                tests: Vec::new(),
                stdin: text("stdin"),
                expected_stdout: text("expected_stdout"),
                ..self.job.clone()
            };
            let spent = Duration::from_secs_f64(total.wall_ms / 1000.0);
            let limits = Limits { wall: self.limits.wall.saturating_sub(spent), ..self.limits.clone() };
            let one = Session { job: &job, limits: &limits, ..*self }.one_run()?;
            total.tests.push(TestResult {
                name: text("name").unwrap_or_else(|| format!("case {}", i + 1)),
                passed: one.passed,
                message: one.detail.clone().unwrap_or_default(),
            });
            total.wall_ms += one.wall_ms;
            total.cpu_ms += one.cpu_ms;
            total.peak_memory_bytes = total.peak_memory_bytes.max(one.peak_memory_bytes);
            total.parses = one.parses;
            if i == 0 || (total.status == Status::Passed && !one.passed) {
                (total.status, total.detail) = (one.status, one.detail);
                (total.stdout, total.stderr) = (one.stdout, one.stderr);
            }
            if one.status == Status::Timeout {
                break;
            }
        }
        total.passed = total.status == Status::Passed && total.tests.len() == self.job.tests.len();
        Ok(total)
    }
}

impl Program {
    /// Runs the program's text.
    fn load(&mut self) -> Loaded {
        if let Err(ending) = self.instance.call_harness("start") {
            self.ended = Some(ending.clone());
            return Loaded::Ended(ending);
        }
        let message = self.mailbox.lock().ok().and_then(|mut mailbox| mailbox.from_program.take());
        let Some(Ok(said)) = message.as_deref().and_then(|m| m.strip_prefix(b"L")).map(serde_json::from_slice::<Said>)
        else {
            return Loaded::Raised("Error".into(), "the program ended the harness before its own end\n".into());
        };
        match said {
            Said::Loaded(names) => Loaded::Done(names),
            Said::Raised { class, traceback } => Loaded::Raised(class, traceback),
        }
    }

    /// Passes a request of the judge's on; the reply is a `0`, what the program printed with its length before it, and a
    /// value that has been checked. A `1` and a sentence where the program has ended.
    fn ask(&mut self, clock: &mut Clock, request: &[u8]) -> Result<Vec<u8>, Stop> {
        let ended = |ending: &Ending| Ok([b"1", ending.to_string().as_bytes()].concat());
        if let Some(ending) = &self.ended {
            return ended(ending);
        }
        if let Ok(mut mailbox) = self.mailbox.lock() {
            mailbox.to_program = request.to_vec();
            mailbox.from_program = None;
        }
        self.instance.guest().clock = clock.clone();
        let result = self.instance.call_harness("step");
        *clock = self.instance.guest().clock.clone();
        if let Err(ending) = result {
            self.ended = Some(ending.clone());
            return match ending {
                Ending::Stopped(stop @ (Stop::Wall | Stop::Cpu)) => Err(stop),
                other => ended(&other),
            };
        }
        let reply = self.mailbox.lock().ok().and_then(|mut mailbox| mailbox.from_program.take());
        let Some(value) = reply.as_deref().and_then(|reply| reply.strip_prefix(b"R")).filter(|v| marshal::is_plain(v))
        else {
            let ending = Ending::Trap("the program's interpreter gave no proper reply".into());
            self.ended = Some(ending.clone());
            return ended(&ending);
        };
        let stdout = std::mem::take(&mut self.instance.guest().stdout);
        let length = (stdout.len() as u32).to_le_bytes();
        Ok([b"0", length.as_slice(), &stdout, value].concat())
    }

    /// Streams, times and memory so far.
    fn measure(&mut self, verdict: &mut Verdict) {
        verdict.peak_memory_bytes = self.instance.memory_size() as u64;
        let guest = self.instance.guest();
        verdict.stdout = String::from_utf8_lossy(&guest.stdout).into_owned();
        verdict.stderr = String::from_utf8_lossy(&guest.stderr).into_owned();
        verdict.wall_ms = guest.clock.wall_time().as_secs_f64() * 1e3;
        verdict.cpu_ms = guest.clock.cpu_time().as_secs_f64() * 1e3;
    }
}

/// How the program's text ran, in the program's own words: a claim that decides nothing where there are tests.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Loaded(Value),
    Raised { class: String, traceback: String },
}

/// The last words: memory, and the rule that only `passed` passes.
fn finish(program: &mut Program, verdict: &mut Verdict) {
    if verdict.status != Status::Passed
        && program.instance.guest().memory_refused
        && !matches!(verdict.status, Status::Timeout | Status::OutputLimit | Status::Failed)
    {
        verdict.status = Status::Memory;
        verdict.detail = Some("the limit of memory was reached".into());
    }
    verdict.passed = verdict.status == Status::Passed;
    if verdict.passed {
        verdict.detail = None;
    }
}

fn status_of(ending: &Ending) -> Status {
    match ending {
        Ending::Stopped(Stop::Exit(_)) | Ending::Stack => Status::Error,
        Ending::Stopped(Stop::Wall | Stop::Cpu) => Status::Timeout,
        Ending::Stopped(Stop::Output) => Status::OutputLimit,
        Ending::Trap(_) => Status::Crashed,
    }
}

fn last_line(traceback: &str, class: &str) -> String {
    traceback.trim_end().lines().last().unwrap_or(class).to_owned()
}
