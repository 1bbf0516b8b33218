//! Runs programs, in worker processes of this machine or on `codeexec serve` servers.

use std::time::Duration;

use anyhow::Context;
use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use codeexec::record::{Job, Verdict};
use codeexec::run::run_all;
use sampler::{RemoteOptions, RetryPolicy, Service, Workers};
use serde_json::Value;

use super::Judgement;

/// The judge of programs.
pub enum CodeJudge {
    /// Worker processes of this machine, and their number.
    Pool(Box<Pool>, usize),
    /// Servers that share the programs.
    Servers(Box<Workers>),
}

/// Time limit of a program with its tests: processor time plus sleep. HumanEval's own harness has 3 s.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time to wait for a server's verdict: a queue, a compiler, and the wall-time backstop.
const ANSWER: Duration = Duration::from_secs(300);

impl CodeJudge {
    /// Worker processes started by `launcher`.
    #[must_use]
    pub fn pool(launcher: Launcher, workers: usize) -> Self {
        let limits = Limits::within(TIMEOUT);
        Self::Pool(Box::new(Pool::new(launcher, workers, limits, 0)), workers)
    }

    /// Servers, such as `http://host:8080`. They must answer, accept the token in the variable `token_env` if it is
    /// set, and have this program's version.
    ///
    /// # Errors
    /// See [`Workers::new`] and [`Workers::check`].
    pub fn servers(urls: &[String], token_env: &str) -> anyhow::Result<Self> {
        let token_env = token_env.to_owned();
        let options = RemoteOptions {
            concurrency: 16,
            timeout: ANSWER,
            retry: RetryPolicy { retries: 3, ..RetryPolicy::default() },
            bearer: std::env::var(&token_env).ok().filter(|token| !token.is_empty()),
        };
        let service = Service { flag: "--code-url", name: "codeexec", version: env!("CARGO_PKG_VERSION"), token_env };
        let workers = Workers::new(service, urls, options)?;
        workers.check()?;
        Ok(Self::Servers(Box::new(workers)))
    }

    /// Runs programs, and returns the verdicts in order.
    ///
    /// # Errors
    /// When Python is not set up, no server is left, or a program gets no verdict.
    pub fn run(&self, jobs: &[Job]) -> anyhow::Result<Vec<Verdict>> {
        match self {
            Self::Pool(pool, workers) => run_all(pool, *workers, jobs),
            Self::Servers(workers) => {
                let mut questions = Vec::new();
                for job in jobs {
                    // The limit is part of the job, since the server's default may differ.
                    let timeout = job.timeout.or(Some(TIMEOUT.as_secs_f64()));
                    questions.push(("/run", serde_json::to_value(Job { timeout, ..job.clone() })?));
                }
                let mut verdicts: Vec<Option<Verdict>> = jobs.iter().map(|_| None).collect();
                workers.ask_all(questions, read, &mut |place, verdict| {
                    let verdict = verdict.with_context(|| format!("no verdict on {}", jobs[place].id))?;
                    verdicts[place] = Some(verdict);
                    Ok(())
                })?;
                let missing = || "a program was not judged";
                verdicts.into_iter().map(|verdict| verdict.with_context(missing)).collect()
            }
        }
    }
}

fn read(answer: Value) -> Result<Verdict, String> {
    serde_json::from_value(answer).map_err(|error| format!("this is not a verdict: {error}"))
}

/// Converts a verdict to a judgement.
pub(crate) fn judgement(job: &Job, verdict: Verdict) -> Judgement {
    let mut judgement = Judgement::new(verdict.passed, verdict.status.word(), "accuracy");
    judgement.extracted = Some(job.code.clone());
    judgement.detail = verdict.detail;
    judgement
}
