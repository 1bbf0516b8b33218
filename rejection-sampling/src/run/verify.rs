//! Verdicts on samples, from this process or from servers. If a verifier hangs or gives an invalid response, only its
//! own samples are affected: their verdict is `unverified` with the cause. If a server dies, the others get its work.
//! If no server is left, the run stops, and continues when it is started again with a server available.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use codeexec::record::Job;
use dataset::{Kind, Problem, Verdict};
use sampler::{RemoteOptions, RetryPolicy, Service, WORKER_TOKEN, Workers};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dialog::{Turn, UNVERIFIED};
use super::{maths, programs};

/// Flags of the verifiers.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct VerifyArgs {
    /// Verify mathematical answers with the `mathverify serve` services at these addresses, separated by commas,
    /// instead of in this process. Repeatable
    #[arg(long, value_name = "URL", value_delimiter = ',', help_heading = "Verification")]
    pub math_url: Vec<String>,
    /// Run programs with the `codeexec serve` services at these addresses, separated by commas, instead of in worker
    /// processes on this machine. Repeatable
    #[arg(long, value_name = "URL", value_delimiter = ',', help_heading = "Verification")]
    pub code_url: Vec<String>,
    /// The environment variable that holds the servers' token; it is sent only if it is set
    #[arg(long, default_value = WORKER_TOKEN, value_name = "VARIABLE", help_heading = "Verification")]
    pub worker_token_env: String,
    /// Timeout of a request to a verifier's server, in seconds, for each attempt
    #[arg(long, default_value_t = 30.0, help_heading = "Verification")]
    pub verify_timeout: f64,
    /// Number of retries after a failed attempt
    #[arg(long, default_value_t = 3, help_heading = "Verification")]
    pub verify_retries: u32,
    /// Number of samples verified at a time [default: one for each core; 16 at each server]
    #[arg(long, help_heading = "Verification")]
    pub verify_workers: Option<usize>,
    /// Time limit of a program with its tests, in seconds
    #[arg(long, default_value_t = 5.0, help_heading = "Verification")]
    pub code_timeout: f64,
}

/// One sample to verify.
pub struct Task<'a> {
    /// The key, returned with the verdict.
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
    maths: Option<Workers>,
    programs: Programs,
    workers: usize,
}

enum Programs {
    Pool(Box<Pool>),
    /// Servers, and the time limit of a program in seconds.
    Remote(Box<Workers>, f64),
}

impl Verifiers {
    /// Creates the verifiers from the flags. `launcher` starts the worker processes for programs.
    ///
    /// # Errors
    /// When an address or a number is invalid.
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
            bearer: std::env::var(&args.worker_token_env).ok().filter(|token| !token.is_empty()),
        };
        let wall = seconds("--code-timeout", args.code_timeout)?;
        let limits = Limits::within(wall);
        let remote = |flag, name, urls: &[String]| {
            let token_env = args.worker_token_env.clone();
            let service = Service { flag, name, version: env!("CARGO_PKG_VERSION"), token_env };
            (!urls.is_empty()).then(|| Workers::new(service, urls, options.clone())).transpose()
        };
        Ok(Self {
            maths: remote("--math-url", "mathverify", &args.math_url)?,
            programs: match remote("--code-url", "codeexec", &args.code_url)? {
                Some(workers) => Programs::Remote(Box::new(workers), args.code_timeout),
                None => Programs::Pool(Box::new(Pool::new(launcher, workers, limits, 0))),
            },
            workers,
        })
    }

    /// Checks, before sampling starts, that the servers for these kinds of problems answer.
    ///
    /// # Errors
    /// See [`Workers::check`].
    pub fn check(&self, kinds: &[Kind]) -> anyhow::Result<()> {
        if let (Some(workers), true) = (&self.maths, kinds.contains(&Kind::Math)) {
            workers.check()?;
        }
        if let (Programs::Remote(workers, _), true) = (&self.programs, kinds.contains(&Kind::Code)) {
            workers.check()?;
        }
        Ok(())
    }

    /// Verifies all samples. Each verdict is passed with its key to `done` as soon as it is known.
    ///
    /// # Errors
    /// Errors that `done` returns; when no server is left.
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
            Some(workers) => maths_at(workers, &maths, &mut done)?,
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
            Programs::Remote(workers, seconds) => programs_at(workers, *seconds, &programs, &mut done),
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
                    // A closed channel means that the receiver has failed, so no further work is needed.
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

/// The final answer and the steps are two requests to the server; the verdict needs both responses.
fn maths_at(
    workers: &Workers,
    tasks: &[&Task],
    done: &mut dyn FnMut(u64, Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let questions = tasks.iter().flat_map(|task| {
        let (response, gold) = (task.response(), task.problem.answer.as_deref().unwrap_or_default());
        [("/check", json!({"pred": response, "gold": gold})), ("/steps", json!({"solution": response}))]
    });
    let mut halves: Vec<[Option<Result<Value, String>>; 2]> = tasks.iter().map(|_| [None, None]).collect();
    workers.ask_all(questions, Ok, &mut |place, answer| {
        let index = place / 2;
        halves[index][place % 2] = Some(answer.map_err(|error| error.to_string()));
        let [check @ Some(_), steps @ Some(_)] = &mut halves[index] else { return Ok(()) };
        let verdict = match (check.take(), steps.take()) {
            (Some(Ok(check)), Some(Ok(steps))) => {
                let both = serde_json::from_value(check).and_then(|check| Ok((check, serde_json::from_value(steps)?)));
                match both {
                    Ok((check, steps)) => maths::verdict(&check, &steps),
                    Err(error) => unverified(format!("the verifier's answer is not a verdict: {error}")),
                }
            }
            (Some(Err(cause)), _) | (_, Some(Err(cause))) => unverified(cause),
            _ => unverified("the verifier's answer was lost"),
        };
        done(tasks[index].key, verdict)
    })
}

fn programs_at(
    workers: &Workers,
    seconds: f64,
    tasks: &[&Task],
    done: &mut dyn FnMut(u64, Verdict) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut questions, mut keys) = (Vec::new(), Vec::new());
    for task in tasks {
        // The limit is part of the job, since the server's default may differ.
        let job = programs::job(task.problem, &task.turns).map(|job| Job { timeout: Some(seconds), ..job });
        match job.and_then(|job| Ok(serde_json::to_value(job)?)) {
            Ok(job) => {
                questions.push(("/run", job));
                keys.push(task.key);
            }
            Err(error) => done(task.key, unverified(format!("{error:#}")))?,
        }
    }
    workers.ask_all(questions, Ok, &mut |place, answer| {
        let answer = answer.map_err(|error| error.to_string());
        let verdict = answer.and_then(|value| programs::verdict(value).map_err(|error| format!("{error:#}")));
        done(keys[place], verdict.unwrap_or_else(unverified))
    })
}
