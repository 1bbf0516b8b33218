//! Runs one program in its own interpreter and its tests in a second one, the judge's, and passes the calls between
//! them.

use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};

use super::marshal;
use super::runtime::{Snapshot, call_harness};

use crate::languages::tests_of;
use crate::limits::Limits;
use crate::record::{Finding, Job, Status, TestKind, Verdict};
use crate::sandbox::guest::HostChannel;
use crate::sandbox::{Clock, Ending, Instance, Stop};
use crate::verdicts::{self, Report};

/// The messages between a program's interpreter and the host.
#[derive(Default)]
struct Mailbox {
    /// The reply to the program's next question.
    to_program: Vec<u8>,
    /// The program's last message: `L` with the result of running its source, `R` with a reply.
    from_program: Option<Vec<u8>>,
}

/// A program in its interpreter.
struct Program {
    instance: Instance,
    mailbox: Arc<Mutex<Mailbox>>,
    /// Why the interpreter can no longer run; `None` while it can.
    ended: Option<Ending>,
}

/// The result of running a program's source.
enum Loaded {
    /// It completed: the names that it defines, as JSON.
    Done(Value),
    /// An exception: the class's name and the traceback.
    Raised(String, String),
    /// The interpreter ended.
    Ended(Ending),
}

/// Runs one job and returns its verdict. Each case of standard input runs the whole program again.
pub fn run(python: &Snapshot, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
    if job.test_kind() == Some(TestKind::Stdin) {
        return verdicts::stdin_cases(job, limits, |job, limits| Session { python, job, limits, seed }.one_run());
    }
    Session { python, job, limits, seed }.one_run()
}

/// Runs pyflakes on a program's source, in a separate interpreter, and returns the findings.
pub fn lint(python: &Snapshot, code: &str) -> anyhow::Result<Vec<Finding>> {
    let limits = Limits::default();
    let (job, found) = (json!({"kind": "lint", "code": code}).to_string().into_bytes(), Arc::new(Mutex::new(None)));
    let shared = found.clone();
    let mut guest = python.guest(&limits, Clock::start(&limits), Vec::new(), 0)?;
    guest.door = Some(Box::new(move |_, message| match message.split_first() {
        Some((b'T', _)) => Ok(job.clone()),
        Some((b'F', content)) => {
            if let Ok(mut found) = shared.lock() {
                *found = serde_json::from_slice(content).ok();
            }
            Ok(Vec::new())
        }
        _ => Ok(Vec::new()),
    }));
    let ended = Instance::start(&python.module, guest).and_then(|mut judge| call_harness(&mut judge, "judge"));
    let found = found.lock().ok().and_then(|mut found| found.take());
    let sentence = |ending: &dyn std::fmt::Display| format!("the linter did not come to its end: {ending}");
    Ok(found.unwrap_or_else(|| {
        let message = ended.as_ref().map_or_else(|ending| sentence(ending), |()| sentence(&"it gave nothing"));
        vec![Finding { line: 1, column: 1, code: "NotLinted".into(), message }]
    }))
}

struct Session<'a> {
    python: &'a Snapshot,
    job: &'a Job,
    limits: &'a Limits,
    seed: u64,
}

impl Session<'_> {
    /// Starts an interpreter whose messages to the host go to `door`.
    fn start(&self, clock: Clock, stdin: &str, door: HostChannel) -> anyhow::Result<Result<Instance, Ending>> {
        let mut guest = self.python.guest(self.limits, clock, stdin.as_bytes().to_vec(), self.seed)?;
        guest.door = Some(door);
        Ok(Instance::start(&self.python.module, guest))
    }

    fn program(&self, clock: Clock, stdin: &str) -> anyhow::Result<Result<Program, Ending>> {
        let mailbox = Arc::new(Mutex::new(Mailbox::default()));
        let job = json!({"code": self.job.code, "argv": ["program.py"]}).to_string().into_bytes();
        let shared = mailbox.clone();
        let door: HostChannel = Box::new(move |_, message| {
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

    /// Runs the program, then its tests, once.
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
                if let Some(kind) = tests_of(job, names) {
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
                verdict.status = if may_exit { Status::Passed } else { verdicts::status_of(&ending) };
                verdict.detail = (!may_exit).then(|| ending.to_string());
            }
        }
        program.measure(&mut verdict);
        let checked = if verdict.status == Status::Passed { self.checked(&verdict.stdout)? } else { None };
        verdicts::compare_output(&mut verdict, job, checked);
        verdicts::finish(&mut verdict, program.instance.guest().memory_refused);
        Ok(verdict)
    }

    /// Runs the record's checker on an output, in a separate interpreter with a separate time limit. `None`: the record
    /// has no checker; `Some(None)`: it accepts; `Some(Some(message))`: it refuses or fails.
    fn checked(&self, stdout: &str) -> anyhow::Result<Option<Option<String>>> {
        let (Some(checker), Some(expected)) = (&self.job.checker, &self.job.expected_stdout) else { return Ok(None) };
        let stdin = self.job.stdin.as_deref().unwrap_or("");
        let asked =
            json!({"kind": "checker", "checker": checker, "stdin": stdin, "stdout": stdout, "expected": expected});
        let (asked, reports) = (asked.to_string().into_bytes(), Arc::new(Mutex::new(Vec::<Report>::new())));
        let said = reports.clone();
        let door: HostChannel = Box::new(move |_, message| match message.split_first() {
            Some((b'T', _)) => Ok(asked.clone()),
            Some((b'D', content)) => {
                if let Ok(mut said) = said.lock() {
                    said.extend(serde_json::from_slice::<Report>(content));
                }
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        });
        let limits = Limits { memory: self.limits.memory, ..Limits::default() };
        let mut guest = self.python.guest(&limits, Clock::start(&limits), Vec::new(), self.seed)?;
        guest.door = Some(door);
        let ended = Instance::start(&self.python.module, guest).and_then(|mut judge| call_harness(&mut judge, "judge"));
        let report = reports.lock().ok().and_then(|mut reports| reports.pop());
        Ok(Some(match (ended, report) {
            (Ok(()), Some(report)) => (!report.passed).then_some(report.message),
            (Ok(()), None) => Some("the checker gave no answer".into()),
            (Err(ending), _) => Some(format!("the checker did not come to its end: {ending}")),
        }))
    }

    /// Runs the tests in the judge's interpreter, against a loaded program.
    fn judged(&self, mut program: Program, job: &Value, mut verdict: Verdict) -> anyhow::Result<Verdict> {
        let clock = program.instance.guest().clock.clone();
        let before = std::mem::take(&mut program.instance.guest().stdout);
        let program = Arc::new(Mutex::new(program));
        let reports = Arc::new(Mutex::new((Vec::<Report>::new(), false)));
        let (job, ours, said) = (job.to_string().into_bytes(), program.clone(), reports.clone());
        let door: HostChannel = Box::new(move |clock, message| {
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
                let ended = call_harness(&mut judge, "judge");
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

    /// Computes the verdict from the judge's reports.
    fn conclude(
        &self,
        program: &mut Program,
        reports: Vec<Report>,
        done: bool,
        ending: Option<Ending>,
        verdict: &mut Verdict,
    ) {
        for report in &reports {
            if let Some(traceback) = &report.traceback {
                program.instance.guest().stderr.extend_from_slice(traceback.as_bytes());
            }
        }
        verdicts::conclude(verdict, reports, done, program.ended.clone().or(ending));
        let stdout = std::mem::take(&mut verdict.stdout);
        program.measure(verdict);
        verdict.stdout = stdout;
        verdicts::finish(verdict, program.instance.guest().memory_refused);
    }
}

impl Program {
    /// Runs the program's source.
    fn load(&mut self) -> Loaded {
        if let Err(ending) = call_harness(&mut self.instance, "start") {
            self.ended = Some(ending.clone());
            return Loaded::Ended(ending);
        }
        let message = self.mailbox.lock().ok().and_then(|mut mailbox| mailbox.from_program.take());
        let Some(Ok(said)) =
            message.as_deref().and_then(|m| m.strip_prefix(b"L")).map(serde_json::from_slice::<LoadReport>)
        else {
            return Loaded::Raised("Error".into(), "the program ended the harness before its own end\n".into());
        };
        match said {
            LoadReport::Loaded(names) => Loaded::Done(names),
            LoadReport::Raised { class, traceback } => Loaded::Raised(class, traceback),
        }
    }

    /// Passes a request of the judge to the program. The reply is `0`, the length of the program's new output (4 bytes,
    /// little-endian), that output and a checked value; or `1` and a message if the program has ended.
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
        let result = call_harness(&mut self.instance, "step");
        *clock = self.instance.guest().clock.clone();
        if let Err(ending) = result {
            self.ended = Some(ending.clone());
            return match ending {
                Ending::Stopped(stop @ (Stop::Wall | Stop::Time)) => Err(stop),
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

    /// Copies the program's output streams, times and memory size so far to the verdict.
    fn measure(&mut self, verdict: &mut Verdict) {
        verdict.peak_memory_bytes = self.instance.memory_size() as u64;
        let guest = self.instance.guest();
        verdict.stdout = String::from_utf8_lossy(&guest.stdout).into_owned();
        verdict.stderr = String::from_utf8_lossy(&guest.stderr).into_owned();
        verdict.wall_ms = guest.clock.wall_time().as_secs_f64() * 1e3;
        verdict.cpu_ms = guest.clock.cpu_time().as_secs_f64() * 1e3;
        verdict.slept_ms = guest.clock.slept().as_secs_f64() * 1e3;
    }
}

/// The program's own report of how its source ran. If there are tests, this report alone never makes them pass.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum LoadReport {
    Loaded(Value),
    Raised { class: String, traceback: String },
}

fn last_line(traceback: &str, class: &str) -> String {
    traceback.trim_end().lines().last().unwrap_or(class).to_owned()
}
