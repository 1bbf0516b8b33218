//! C and C++: Clang and wasm-ld run in the sandbox, and the compiled program runs in another guest.
//!
//! Tests use the program's types, so the two are compiled together and share memory. The host calls the tests as a
//! function whose name is random in each run. The tests pass only if that call returns zero, and the result of each
//! `assert` leaves the guest as an argument of an import. So a program cannot pass by ending early, by defining its own
//! `main`, `assert` or macros over the tests, or by printing a marker.

mod tests;
mod toolchain;
mod weak;

use std::time::{Duration, Instant};

use serde_json::json;

use self::tests::Unit;
use self::toolchain::{Dialect, Failure, Toolchain};
use super::{Language, Runner, not_set_up};
use crate::limits::{Limits, backstop};
use crate::record::{Job, Status, TestKind, Verdict};
use crate::sandbox::{Clock, Ending, Files, Guest, Instance, Linked, Machine, Setup, Stop};
use crate::verdicts::{self, Report};

/// The compiler and linker for both languages.
pub const INTERPRETER: &str = "Clang 22 with wasi-libc and libc++";

/// C or C++.
pub struct Compiled {
    name: &'static str,
    aliases: &'static [&'static str],
    dialect: Dialect,
}

/// C.
pub static C: Compiled = Compiled { name: "c", aliases: &["c17", "gnu17", "h"], dialect: Dialect::C };
/// C++.
pub static CPP: Compiled =
    Compiled { name: "cpp", aliases: &["c++", "cc", "cxx", "cplusplus", "hpp"], dialect: Dialect::Cpp };

impl Language for Compiled {
    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    fn interpreter(&self) -> &'static str {
        INTERPRETER
    }

    fn preparation(&self) -> Duration {
        3 * backstop(toolchain::COMPILE_TIME)
    }

    fn is_set_up(&self, machine: &Machine) -> anyhow::Result<bool> {
        Toolchain::is_set_up(machine)
    }

    fn set_up(&self, machine: &Machine) -> anyhow::Result<()> {
        Toolchain::set_up(machine)
    }

    fn open(&'static self, machine: &Machine) -> anyhow::Result<Box<dyn Runner>> {
        if !self.is_set_up(machine)? {
            return Err(not_set_up(self));
        }
        Ok(Box::new(Open { language: self, toolchain: Toolchain::open(machine)? }))
    }
}

struct Open {
    language: &'static Compiled,
    toolchain: Toolchain,
}

impl Runner for Open {
    fn run(&self, job: &Job, limits: &Limits, seed: u64) -> anyhow::Result<Verdict> {
        let mut verdict = Verdict::without_run(&job.id, Status::Error, "");
        if job.test_kind() == Some(TestKind::Call) || job.reference.is_some() {
            let sentence =
                "tests with args and references cannot be compiled; use asserts, a test with main, or stdin cases";
            verdict.detail = Some(sentence.into());
            return Ok(verdict);
        }
        let unit = Unit::new(job, self.language.dialect);
        let start = Instant::now();
        let built = self.toolchain.build(self.language.dialect, unit.files(), &unit.main, unit.entry.as_deref())?;
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        verdict.extra.insert("compile_ms".into(), json!(compile_ms));
        let module = match built {
            Ok(module) => module,
            Err(failure) => return Ok(not_built(verdict, failure, &unit)),
        };
        let run = Run { module: &module, limits, seed };
        let mut verdict = match (job.test_kind(), &unit.entry) {
            (Some(TestKind::Stdin), _) => {
                verdicts::stdin_cases(job, limits, |job, limits| Run { limits, ..run }.whole(job))?
            }
            (_, None) => run.whole(job)?,
            (_, Some(entry)) => run.tests(job, entry, &unit.tests)?,
        };
        verdict.extra.insert("compile_ms".into(), json!(compile_ms));
        verdict.parses = Some(true);
        Ok(verdict)
    }
}

/// The verdict on a program that was not built.
fn not_built(mut verdict: Verdict, failure: Failure, unit: &Unit) -> Verdict {
    match failure {
        Failure::Errors(said) => {
            let said = unit.without_secrets(&said);
            let error = said.lines().find(|line| line.contains("error: ")).or(said.lines().next()).unwrap_or("");
            verdict.parses = Some(!error.starts_with("program."));
            verdict.detail = Some(format!("it does not compile: {error}"));
            verdict.stderr = said;
        }
        Failure::Ended(ending) => {
            verdict.status = verdicts::status_of(&ending);
            verdict.detail = Some(format!("the compiler was stopped: {ending}"));
        }
    }
    verdict
}

#[derive(Clone, Copy)]
struct Run<'a> {
    module: &'a Linked,
    limits: &'a Limits,
    seed: u64,
}

impl Run<'_> {
    fn start(&self, clock: Clock, stdin: &str) -> anyhow::Result<Result<Instance, Ending>> {
        let mut files = Files::new(1 << 16);
        let made = files.make_folders("/tmp");
        made.map_err(|errno| anyhow::anyhow!("cannot lay out the files (errno {errno})"))?;
        files.set_limit(self.limits.disk);
        let setup = Setup {
            files,
            preopened: vec!["/".into()],
            arguments: vec!["program".into()],
            environment: Vec::new(),
            stdin: stdin.as_bytes().to_vec(),
            seed: self.seed,
        };
        Ok(Instance::start(self.module, Guest::new(setup, self.limits, clock)))
    }

    /// Runs a program with its own `main`, and compares its output with the expected output.
    fn whole(&self, job: &Job) -> anyhow::Result<Verdict> {
        let clock = Clock::start(self.limits);
        let mut verdict = Verdict::without_run(&job.id, Status::Passed, "");
        let ended = match self.start(clock.clone(), job.stdin.as_deref().unwrap_or(""))? {
            Ok(mut instance) => {
                let ended = instance.call_named::<(), ()>("_start", ());
                measure(&mut verdict, &mut instance);
                ended
            }
            Err(ending) => Err(ending),
        };
        match ended {
            Ok(()) => {}
            Err(Ending::Stopped(Stop::Exit(code))) if code == 0 || job.expected_stdout.is_some() => {}
            Err(ending) => {
                verdict.status = verdicts::status_of(&ending);
                verdict.detail = Some(ending.to_string());
            }
        }
        verdicts::compare_output(&mut verdict, job, None);
        verdict.wall_ms = clock.wall_time().as_secs_f64() * 1e3;
        verdict.cpu_ms = clock.cpu_time().as_secs_f64() * 1e3;
        verdict.slept_ms = clock.slept().as_secs_f64() * 1e3;
        let refused = verdict.extra.remove("refused").is_some();
        verdicts::finish(&mut verdict, refused);
        Ok(verdict)
    }

    /// Runs the tests by calling `entry`, whose name only the host knows: a single test source, or each entry of a list
    /// in its own instance.
    fn tests(&self, job: &Job, entry: &str, names: &[String]) -> anyhow::Result<Verdict> {
        let clock = Clock::start(self.limits);
        let mut verdict = Verdict::without_run(&job.id, Status::Error, "");
        let (mut reports, mut done, mut stopped, mut refused) = (Vec::new(), true, None, false);
        let is_list = job.test_kind() == Some(TestKind::Assert);
        for (i, name) in names.iter().enumerate() {
            let mut instance = match self.start(clock.clone(), job.stdin.as_deref().unwrap_or(""))? {
                Ok(instance) => instance,
                Err(ending) => {
                    stopped = Some(ending);
                    break;
                }
            };
            let result = instance.call_named::<i32, i32>(entry, i as i32);
            measure(&mut verdict, &mut instance);
            refused |= verdict.extra.remove("refused").is_some();
            let checks = std::mem::take(&mut instance.guest().checks);
            let of_tests: Vec<_> = checks.iter().filter(|check| check.is_test).collect();
            let failed = of_tests.iter().find(|check| !check.passed);
            let is_judged = of_tests.iter().any(|check| weak::judges(&check.text, &job.code));
            let report = match (&result, failed) {
                (_, Some(check)) => failed_report(name, &check.text),
                (Ok(0), None) if !tests::use_program(job) => {
                    Report::error(name, "the tests use nothing that the program defines, so nothing was judged")
                }
                (Ok(0), None) if is_judged || decides(job, if is_list { name } else { "" }) => {
                    Report { name: name.clone(), passed: true, kind: "passed".into(), ..Report::default() }
                }
                (Ok(0), None) => Report::error(
                    name,
                    "no test was reached: no comparison was evaluated (an assert), so nothing was judged",
                ),
                (Ok(code), None) => failed_report(name, &format!("the tests returned {code}")),
                (Err(ending), None) => match checks.iter().find(|check| !check.is_test) {
                    Some(check) => Report::error(name, check.text.clone()),
                    None => Report::error(name, ending.to_string()),
                },
            };
            // A failed assertion or an uncaught exception explains the trap that follows it.
            let is_explained = failed.is_some() || checks.iter().any(|check| !check.is_test && !check.passed);
            if is_list || of_tests.is_empty() {
                reports.push(report);
            } else {
                reports.extend(of_tests.iter().map(|check| Report {
                    name: check.text.clone(),
                    passed: check.passed,
                    message: if check.passed { String::new() } else { "the assertion is false".into() },
                    kind: if check.passed { "passed" } else { "failed" }.into(),
                    traceback: None,
                }));
                if !report.passed && failed.is_none() {
                    reports.push(report);
                }
            }
            if let Err(ending) = result {
                let is_limit = matches!(ending, Ending::Stopped(Stop::Wall | Stop::Time | Stop::Output));
                done &= is_explained;
                if is_limit || !is_explained {
                    stopped = stopped.or(Some(ending.clone()));
                }
                if is_limit {
                    break;
                }
            }
        }
        verdict.wall_ms = clock.wall_time().as_secs_f64() * 1e3;
        verdict.cpu_ms = clock.cpu_time().as_secs_f64() * 1e3;
        verdict.slept_ms = clock.slept().as_secs_f64() * 1e3;
        verdicts::conclude(&mut verdict, reports, done, stopped);
        verdicts::finish(&mut verdict, refused);
        Ok(verdict)
    }
}

fn failed_report(name: &str, message: &str) -> Report {
    Report { name: name.to_owned(), message: message.to_owned(), kind: "failed".into(), ..Report::default() }
}

/// Whether tests without an `assert` can detect a wrong program: they compare, and then abort, exit, throw or return
/// a value other than 0. An entry of a list cannot return a value.
fn decides(job: &Job, entry: &str) -> bool {
    let text = tests::without_comments(if entry.is_empty() { job.test.as_deref().unwrap_or("") } else { entry });
    if tests::words(&text).any(|word| word == "assert") {
        return false;
    }
    let compares = ["==", "!=", "<", ">", "if", "!"].iter().any(|sign| text.contains(sign));
    let stops = tests::words(&text).any(|word| ["abort", "exit", "_Exit", "throw", "__builtin_trap"].contains(&word));
    // Only the values that `main` returns count: `main` may ignore those of other functions.
    let own = tests::body_of(&text, "main").unwrap_or(&text);
    let mut returned = own.split("return").skip(1).filter_map(|rest| rest.split(';').next()).map(str::trim);
    let answers = returned.any(|value| !["", "0", "EXIT_SUCCESS", "(0)"].contains(&value));
    compares && (stops || entry.is_empty() && answers)
}

fn measure(verdict: &mut Verdict, instance: &mut Instance) {
    verdict.peak_memory_bytes = verdict.peak_memory_bytes.max(instance.memory_size() as u64);
    let guest = instance.guest();
    verdict.stdout.push_str(&String::from_utf8_lossy(&guest.stdout));
    verdict.stderr.push_str(&String::from_utf8_lossy(&guest.stderr));
    if guest.memory_refused {
        verdict.extra.insert("refused".into(), json!(true));
    }
}
