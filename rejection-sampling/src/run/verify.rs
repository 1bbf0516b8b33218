//! Verdicts on samples, from this process or from servers. A verifier that hangs, dies or talks nonsense costs its own
//! samples their verdict, which is then `unverified` with the cause, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use dataset::{Kind, Problem, Verdict};
use sampler::{Remote, RemoteOptions, RetryPolicy};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dialog::{Turn, UNVERIFIED};
use super::{maths, programs};

/// Where samples are verified.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct VerifyArgs {
    /// Verify mathematical answers at this `mathverify serve` instead of in this process
    #[arg(long, value_name = "URL", help_heading = "Verification")]
    pub math_url: Option<String>,
    /// Run programs at this `codeexec serve` instead of in worker processes of this one
    #[arg(long, value_name = "URL", help_heading = "Verification")]
    pub code_url: Option<String>,
    /// Seconds to wait for a verifier's server, for each attempt
    #[arg(long, default_value_t = 30.0, help_heading = "Verification")]
    pub verify_timeout: f64,
    /// Further attempts after a failed one
    #[arg(long, default_value_t = 3, help_heading = "Verification")]
    pub verify_retries: u32,
    /// Samples verified at a time [default: one for each core; 16 at a server]
    #[arg(long, help_heading = "Verification")]
    pub verify_workers: Option<usize>,
    /// Seconds that a program may run with its tests
    #[arg(long, default_value_t = 5.0, help_heading = "Verification")]
    pub code_timeout: f64,
}

/// One sample to verify.
pub struct Task<'a> {
    /// Its key, handed back with the verdict.
    pub key: u64,
    /// The problem.
    pub problem: &'a Problem,
    /// The model's turns; the last one is verified.
    pub turns: Vec<&'a Turn>,
}

impl Task<'_> {
    fn response(&self) -> &str {
        match self.turns.last() {
            Some(Turn::Answer(answer)) => &answer.text,
            _ => "",
        }
    }
}

/// The verifiers of a run.
pub struct Verifiers {
    maths: Option<Remote>,
    programs: Programs,
    workers: usize,
}

enum Programs {
    Pool(Box<Pool>),
    Remote(Remote),
}

impl Verifiers {
    /// As the flags say. `launcher` starts the worker processes for programs.
    ///
    /// # Errors
    /// When an address or a number makes no sense.
    pub fn new(args: &VerifyArgs, launcher: Launcher) -> anyhow::Result<Self> {
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .ok()
                .filter(|time| !time.is_zero())
                .with_context(|| format!("{name} must be above 0 seconds"))
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = args.verify_workers.unwrap_or(cores).max(1);
        let options = RemoteOptions {
            concurrency: args.verify_workers.unwrap_or(16),
            timeout: seconds("--verify-timeout", args.verify_timeout)?,
            retry: RetryPolicy { retries: args.verify_retries, ..RetryPolicy::default() },
            bearer: None,
        };
        let wall = seconds("--code-timeout", args.code_timeout)?;
        let limits = Limits::within(wall);
        let remote = |flag: &str, url: &Option<String>| {
            url.as_ref().map(|url| Remote::new(flag, url, options.clone())).transpose()
        };
        Ok(Self {
            maths: remote("--math-url", &args.math_url)?,
            programs: match remote("--code-url", &args.code_url)? {
                Some(remote) => Programs::Remote(remote),
                None => Programs::Pool(Box::new(Pool::new(launcher, workers, limits, 0))),
            },
            workers,
        })
    }

    /// Verifies all samples and hands each verdict with its key to `done` as it comes.
    ///
    /// # Errors
    /// What `done` returns.
    pub fn verify(
        &self,
        tasks: &[Task],
        mut done: impl FnMut(u64, Verdict) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let of = |kind: Kind| tasks.iter().filter(move |task| task.problem.kind == kind).collect::<Vec<_>>();
        let (maths, programs) = (of(Kind::Math), of(Kind::Code));
        match &self.maths {
            None => {
                let judge = |task: &Task| maths::verify(task.problem, task.response());
                in_threads(&maths, self.workers, judge, &mut done)?;
            }
            Some(remote) => maths_at(remote, &maths, &mut done)?,
        }
        match &self.programs {
            Programs::Pool(pool) => {
                let judge = |task: &Task| {
                    let verdict = programs::job(task.problem, &task.turns)
                        .and_then(|job| pool.run(&job))
                        .and_then(|verdict| programs::verdict(serde_json::to_value(verdict)?));
                    verdict.unwrap_or_else(|error| unverified(format!("{error:#}")))
                };
                in_threads(&programs, self.workers, judge, &mut done)
            }
            Programs::Remote(remote) => programs_at(remote, &programs, &mut done),
        }
    }
}

/// The verdict on a sample that could not be verified.
#[must_use]
pub fn unverified(cause: impl Into<String>) -> Verdict {
    Verdict { passed: false, status: UNVERIFIED.into(), detail: Some(cause.into()), extra: Map::new() }
}

fn in_threads(
    tasks: &[&Task],
    workers: usize,
    judge: impl Fn(&Task) -> Verdict + Sync,
    done: &mut dyn FnMut(u64, Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers.min(tasks.len()) {
            let send = send.clone();
            scope.spawn(|| {
                let send = send;
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A closed channel means that the receiver has met an error: there is nobody left to work for.
                    if send.send((task.key, judge(task))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let receive = receive;
        receive.iter().try_for_each(|(key, verdict)| done(key, verdict))
    })
}

/// Answers and steps are two questions to the server; the verdict is made when both are answered.
fn maths_at(
    remote: &Remote,
    tasks: &[&Task],
    done: &mut dyn FnMut(u64, Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let questions = tasks.iter().flat_map(|task| {
        let (response, gold) = (task.response(), task.problem.answer.as_deref().unwrap_or_default());
        [("/check", json!({"pred": response, "gold": gold})), ("/steps", json!({"solution": response}))]
    });
    let mut halves: Vec<[Option<Result<Value, String>>; 2]> = tasks.iter().map(|_| [None, None]).collect();
    remote.ask_all(questions, Ok, &mut |place, answer| {
        let index = place / 2;
        halves[index][place % 2] = Some(answer.map_err(|error| error.to_string()));
        let [check @ Some(_), steps @ Some(_)] = &mut halves[index] else { return Ok(()) };
        let verdict = match (check.take(), steps.take()) {
            (Some(Ok(check)), Some(Ok(steps))) => {
                let both = serde_json::from_value(check).and_then(|check| Ok((check, serde_json::from_value(steps)?)));
                match both {
                    Ok((check, steps)) => maths::verdict(&check, &steps),
                    Err(error) => unverified(format!("the verifier's answer is no verdict: {error}")),
                }
            }
            (Some(Err(cause)), _) | (_, Some(Err(cause))) => unverified(cause),
            _ => unverified("the verifier's answer was lost"),
        };
        done(tasks[index].key, verdict)
    })
}

fn programs_at(
    remote: &Remote,
    tasks: &[&Task],
    done: &mut dyn FnMut(u64, Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut questions, mut keys) = (Vec::new(), Vec::new());
    for task in tasks {
        match programs::job(task.problem, &task.turns).and_then(|job| Ok(serde_json::to_value(job)?)) {
            Ok(job) => {
                questions.push(("/run", job));
                keys.push(task.key);
            }
            Err(error) => done(task.key, unverified(format!("{error:#}")))?,
        }
    }
    remote.ask_all(questions, Ok, &mut |place, answer| {
        let answer = answer.map_err(|error| error.to_string());
        let verdict = answer.and_then(|value| programs::verdict(value).map_err(|error| format!("{error:#}")));
        done(keys[place], verdict.unwrap_or_else(unverified))
    })
}
