//! Runs a program in one guest and its tests in another, the judge. The host passes the judge's calls to the program,
//! and checks each reply before the judge reads it. The program cannot reach the tests, and can affect the verdict only
//! by the values that it returns.
//!
//! A message is one byte for its kind, then the content. `?` marks a question: the sender waits for the reply.
//!
//! | sender | kind | content, and the reply |
//! |---|---|---|
//! | program | `P?` | -> `{"code"}` |
//! | program | `L` | `{"loaded": data for the judge}` or `{"raised": {"class", "traceback"}}` |
//! | program | `N?` | -> the next request; empty: end |
//! | program | `R` | the reply to that request |
//! | judge | `T?` | -> the tests |
//! | judge | `C?` | a request to the program -> `0` and the reply, or `1` and a message if the program has ended |
//! | judge | `D` | a report on one test |
//! | judge | `E` | the tests ran to their end |

use serde::Deserialize;
use serde_json::{Value, json};

use super::packed;
use super::peer::{GuestEvent, Outcome, Peer, Role};
use crate::limits::Limits;
use crate::record::{Job, Status, TestKind, Verdict};
use crate::sandbox::{Clock, Ending, Stop};
use crate::verdicts::{self, Report};

/// Creates the two guests, and defines the format of the values that they exchange.
pub trait Stage {
    /// Starts the guest for a role.
    ///
    /// # Errors
    /// When the sandbox itself fails.
    fn peer(&self, role: Role, clock: &Clock, limits: &Limits, stdin: &str) -> anyhow::Result<Peer>;

    /// Checks a reply of the program before the judge reads it; `None` if the reply is not plain data.
    fn checked(&self, reply: &[u8]) -> Option<Vec<u8>>;

    /// Whether an exception of that class means that the source does not parse.
    fn is_syntax_error(&self, class: &str) -> bool;

    /// Whether calls with expected values (`tests` with `args`) are compared here, in Rust, rather than by the judge.
    fn compares_here(&self) -> bool;
}

/// The program's own report of how its source ran. If there are tests, this report alone never makes them pass.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Loaded {
    Loaded(Value),
    Raised { class: String, traceback: String },
}

/// Runs one job and returns its verdict. Each case of standard input runs the whole program again.
///
/// # Errors
/// When the sandbox itself fails.
pub fn run(stage: &dyn Stage, job: &Job, limits: &Limits) -> anyhow::Result<Verdict> {
    if job.test_kind() == Some(TestKind::Stdin) {
        return verdicts::stdin_cases(job, limits, |job, limits| one_run(stage, job, limits));
    }
    one_run(stage, job, limits)
}

/// The program's guest, and how it ended, if it has.
struct Program {
    peer: Peer,
    ended: Option<Ending>,
}

impl Program {
    /// Waits for the program's next message, skipping `N`: [`Program::ask`] sends the reply to that one.
    fn listen(&mut self) -> Result<(u8, Vec<u8>), Ending> {
        loop {
            match self.peer.listen() {
                GuestEvent::Message(b'N', _) => {}
                GuestEvent::Message(kind, content) => return Ok((kind, content)),
                GuestEvent::Ended(ended) => {
                    // The guest returned although it was not told to end: this counts as an exit with code 0.
                    let ending = ended.err().unwrap_or(Ending::Stopped(Stop::Exit(0)));
                    self.ended = Some(ending.clone());
                    return Err(ending);
                }
            }
        }
    }

    /// Sends the program a request and returns its checked reply.
    fn ask(&mut self, stage: &dyn Stage, request: Vec<u8>) -> Result<Vec<u8>, Ending> {
        if let Some(ending) = &self.ended {
            return Err(ending.clone());
        }
        self.peer.reply(request);
        let (kind, content) = self.listen()?;
        match stage.checked(&content).filter(|_| kind == b'R') {
            Some(reply) => Ok(reply),
            None => {
                let ending = Ending::Trap("the program's interpreter gave no proper reply".into());
                self.ended = Some(ending.clone());
                Err(ending)
            }
        }
    }
}

/// Runs the program, then its tests, once.
fn one_run(stage: &dyn Stage, job: &Job, limits: &Limits) -> anyhow::Result<Verdict> {
    let clock = Clock::start(limits);
    let mut verdict = Verdict::without_run(&job.id, Status::Error, "");
    let peer = stage.peer(Role::Program, &clock, limits, job.stdin.as_deref().unwrap_or(""))?;
    let mut program = Program { peer, ended: None };
    let loaded = load(&mut program, job);
    let (mut reports, mut done, mut judge_outcome) = (Vec::new(), true, Outcome::default());
    let mut judged = false;
    verdict.parses = Some(!matches!(&loaded, Ok(Loaded::Raised { class, .. }) if stage.is_syntax_error(class)));
    match loaded {
        Ok(Loaded::Loaded(names)) => match tests_of(job, names) {
            Some(_) if job.test_kind() == Some(TestKind::Call) && stage.compares_here() => {
                judged = true;
                reports = table(stage, &mut program, job);
            }
            Some(tests) => {
                judged = true;
                let judge = stage.peer(Role::Judge, &clock, limits, "")?;
                let ended;
                (reports, done, ended) = listen_to(stage, &judge, &mut program, tests);
                judge_outcome = judge.dismiss();
                program.ended = program.ended.or(ended);
            }
            None => verdict.status = Status::Passed,
        },
        Ok(Loaded::Raised { class, traceback }) => {
            verdict.status = Status::Error;
            // CPython's last line describes the error; for the other languages, the first line does.
            let line = traceback.lines().rev().find(|line| line.starts_with(&class)).unwrap_or(&class);
            verdict.detail = Some(line.to_owned());
            if class == "SystemExit" && job.expected_stdout.is_some() {
                (verdict.status, verdict.detail) = (Status::Passed, None);
            } else if class == "MemoryError" || line.contains("out of memory") {
                verdict.status = Status::Memory;
            }
            reports.push(Report { traceback: Some(traceback), ..Report::default() });
        }
        Err(ending) => {
            let may_exit = job.expected_stdout.is_some() && matches!(ending, Ending::Stopped(Stop::Exit(_)));
            verdict.status = if may_exit { Status::Passed } else { verdicts::status_of(&ending) };
            verdict.detail = (!may_exit).then(|| ending.to_string());
        }
    }
    let ended = program.ended.clone();
    if ended.is_none() {
        // An empty reply means that no more requests follow: the harness returns and flushes its buffers.
        program.peer.reply(Vec::new());
        if !judged
            && let Some(Err(ending)) = await_end(&program.peer)
            && verdict.status == Status::Passed
        {
            verdict.status = verdicts::status_of(&ending);
            verdict.detail = Some(ending.to_string());
        }
    }
    let outcome = program.peer.dismiss();
    verdict.wall_ms = clock.wall_time().as_secs_f64() * 1e3;
    verdict.slept_ms = clock.slept().as_secs_f64() * 1e3;
    verdict.cpu_ms = (clock.cpu_time().as_secs_f64() + outcome.cpu + judge_outcome.cpu) * 1e3;
    verdict.peak_memory_bytes = outcome.peak_memory;
    verdict.stdout = lossy(&[outcome.stdout, judge_outcome.stdout].concat());
    verdict.stderr = lossy(&[outcome.stderr, judge_outcome.stderr].concat());
    for report in &mut reports {
        verdict.stderr.push_str(&report.traceback.take().unwrap_or_default());
    }
    if judged {
        verdicts::conclude(&mut verdict, reports, done, ended);
    } else {
        verdicts::compare_output(&mut verdict, job, None);
    }
    verdicts::finish(&mut verdict, outcome.memory_refused);
    Ok(verdict)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until a guest that was told to end has ended. Returns how it ended; `None` after an exit with any code.
fn await_end(peer: &Peer) -> Option<Result<(), Ending>> {
    loop {
        match peer.listen() {
            GuestEvent::Ended(Err(Ending::Stopped(Stop::Exit(_) | Stop::Dismissed))) => return None,
            GuestEvent::Ended(ended) => return Some(ended),
            GuestEvent::Message(..) => {}
        }
    }
}

/// Serves the program until it reports that its source completed or raised an exception.
fn load(program: &mut Program, job: &Job) -> Result<Loaded, Ending> {
    loop {
        let (kind, content) = program.listen()?;
        match kind {
            b'P' => program.peer.reply(json!({"code": job.code, "argv": ["program.py"]}).to_string().into_bytes()),
            b'L' => {
                let garbled =
                    || Loaded::Raised { class: "Error".into(), traceback: "the harness was garbled\n".into() };
                return Ok(serde_json::from_slice(&content).unwrap_or_else(|_| garbled()));
            }
            _ => {
                let ending = Ending::Trap("the program's interpreter spoke out of turn".into());
                program.ended = Some(ending.clone());
                return Err(ending);
            }
        }
    }
}

/// The tests as the JSON message for the judge; `None` if the job has no tests.
pub fn tests_of(job: &Job, names: Value) -> Option<Value> {
    if let Some(reference) = &job.reference {
        return Some(json!({
            "kind": "reference", "names": names, "entry_point": job.entry_point, "reference": reference.code,
            "inputs": reference.inputs, "atol": reference.atol, "rule": reference.rule,
        }));
    }
    if let Some(test) = &job.test {
        let (setup, entry_point) = (&job.setup, &job.entry_point);
        return Some(
            json!({"kind": "script", "names": names, "setup": setup, "test": test, "entry_point": entry_point}),
        );
    }
    let entry_point = &job.entry_point;
    Some(match job.test_kind()? {
        TestKind::Assert => json!({"kind": "asserts", "names": names, "setup": job.setup, "tests": job.tests,
            "entry_point": entry_point}),
        _ => json!({"kind": "table", "names": names, "entry_point": entry_point, "rows": job.tests}),
    })
}

/// Answers the judge's messages until it ends or a time limit is reached. Returns the reports, whether the tests ran to
/// their end, and, if they did not, how the judge ended.
fn listen_to(
    stage: &dyn Stage,
    judge: &Peer,
    program: &mut Program,
    tests: Value,
) -> (Vec<Report>, bool, Option<Ending>) {
    let (mut reports, mut done) = (Vec::new(), false);
    loop {
        match judge.listen() {
            GuestEvent::Ended(ended) => return (reports, done, ended.err().filter(|_| !done)),
            GuestEvent::Message(b'T', _) => judge.reply(tests.to_string().into_bytes()),
            GuestEvent::Message(b'C', request) => match program.ask(stage, request) {
                Ok(reply) => judge.reply([b"0", reply.as_slice()].concat()),
                Err(ending @ Ending::Stopped(Stop::Wall | Stop::Time)) => return (reports, false, Some(ending)),
                Err(ending) => judge.reply(format!("1{ending}").into_bytes()),
            },
            GuestEvent::Message(b'D', report) => reports.extend(serde_json::from_slice::<Report>(&report)),
            GuestEvent::Message(b'E', _) => done = true,
            GuestEvent::Message(..) => {}
        }
    }
}

/// Runs tests that are calls with expected values: sends each call to the program and compares the result here.
fn table(stage: &dyn Stage, program: &mut Program, job: &Job) -> Vec<Report> {
    let entry_point = job.entry_point.as_deref().unwrap_or("");
    let mut reports = Vec::new();
    for row in &job.tests {
        let args: Vec<Value> = row["args"].as_array().cloned().unwrap_or_default();
        let shown: Vec<String> = args.iter().map(|arg| packed::short(&arg.to_string(), 60)).collect();
        let name = row["name"].as_str().map_or_else(|| format!("{entry_point}({})", shown.join(", ")), str::to_owned);
        let mut request = json!({"op": "call", "name": entry_point, "args": packed::pack_all(&args)});
        if let Some(kwargs) = row.get("kwargs").filter(|kwargs| !kwargs.is_null()) {
            request["kwargs"] = packed::pack(kwargs);
        }
        let report = match program.ask(stage, request.to_string().into_bytes()) {
            Err(ending) => Report::error(&name, ending.to_string()),
            Ok(reply) => verdict_of_call(&name, entry_point, &shown.join(", "), &reply, row),
        };
        let is_over = program.ended.is_some();
        reports.push(report);
        if is_over {
            break;
        }
    }
    reports
}

fn verdict_of_call(name: &str, entry_point: &str, shown: &str, reply: &[u8], row: &Value) -> Report {
    let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
    if let Some(raised) = reply.get("raised") {
        let text = |field: &str| raised[field].as_str().unwrap_or("").to_owned();
        let mut report = Report::error(name, format!("{}: {}", text("class"), text("message")));
        report.traceback = Some(text("traceback"));
        return report;
    }
    let Some(value) = reply.get("value") else { return Report::error(name, "the program gave no value") };
    let got = packed::unpack(value);
    if packed::equal(&got, &row["expected"], row["atol"].as_f64().unwrap_or(0.0)) {
        return Report { name: name.to_owned(), passed: true, kind: "passed".into(), ..Report::default() };
    }
    let (expected, got) = (packed::short(&row["expected"].to_string(), 200), packed::short(&got.to_string(), 200));
    let message = format!("expected {expected}; {entry_point}({shown}) returned {got}");
    Report { name: name.to_owned(), message, kind: "failed".into(), ..Report::default() }
}
