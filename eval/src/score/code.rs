//! Programs: run by worker processes of this machine, or by a `codeexec serve` elsewhere.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use codeexec::record::{Job, Verdict};
use codeexec::run::run_all;
use tokio::runtime::Runtime;

use super::Judgement;

/// Who runs programs.
pub enum CodeJudge {
    /// Worker processes of this machine: so many.
    Pool(Box<Pool>, usize),
    /// A server's address.
    Server(Box<Runtime>, reqwest::Client, String),
}

/// Time of a program with its tests: processor time and sleep. HumanEval's own harness has 3 s.
pub const TIMEOUT: Duration = Duration::from_secs(10);

impl CodeJudge {
    /// Worker processes started by `launcher`.
    #[must_use]
    pub fn pool(launcher: Launcher, workers: usize) -> Self {
        let limits = Limits::within(TIMEOUT);
        Self::Pool(Box::new(Pool::new(launcher, workers, limits, 0)), workers)
    }

    /// A server, such as `http://host:8080`.
    ///
    /// # Errors
    /// When the address is no HTTP address.
    pub fn server(url: &str) -> anyhow::Result<Self> {
        ensure!(url.starts_with("http://") || url.starts_with("https://"), "--code-url: {url} is no http address");
        let (runtime, client) = crate::data::http()?;
        Ok(Self::Server(Box::new(runtime), client, format!("{}/run", url.trim_end_matches('/'))))
    }

    /// Runs programs; the verdicts in order.
    ///
    /// # Errors
    /// When Python is not set up, or the server does not answer.
    pub fn run(&self, jobs: &[Job]) -> anyhow::Result<Vec<Verdict>> {
        match self {
            Self::Pool(pool, workers) => run_all(pool, *workers, jobs),
            Self::Server(runtime, client, url) => runtime.block_on(async {
                let response =
                    client.post(url).body(serde_json::to_vec(jobs)?).header("content-type", "application/json");
                let response = response.send().await.with_context(|| format!("no answer from {url}"))?;
                let status = response.status();
                let text = response.text().await?;
                if !status.is_success() {
                    bail!("{url} answers {status}: {}", text.chars().take(300).collect::<String>());
                }
                let verdicts: Vec<Verdict> =
                    serde_json::from_str(&text).with_context(|| format!("{url}: no verdicts"))?;
                ensure!(verdicts.len() == jobs.len(), "{url}: {} verdicts for {} programs", verdicts.len(), jobs.len());
                Ok(verdicts)
            }),
        }
    }
}

/// A verdict as a judgement.
pub(crate) fn judgement(job: &Job, verdict: Verdict) -> Judgement {
    let mut judgement = Judgement::new(verdict.passed, verdict.status.word(), "accuracy");
    judgement.extracted = Some(job.code.clone());
    judgement.detail = verdict.detail;
    judgement
}
