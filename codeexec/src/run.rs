//! `codeexec run`: runs a file of programs and writes a file of verdicts in input order. It reads the input as a stream
//! and continues an interrupted run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use dataset::Reasons;
use dataset::digest::Fingerprint;
use dataset::jsonl::{self, OnBadLine};
use dataset::resume::OrderedOutput;
use run::counted;
use run::progress::Progress;

use crate::pool::Pool;
use crate::record::{Checked, Job, Status, Verdict};

/// How many programs may be read beyond the last verdict written: a limit on verdicts that wait for an earlier one.
const MAX_AHEAD: usize = 1000;

/// The summary of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of verdicts of this command by status, without those of an interrupted run that it continued.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Number of verdicts from the interrupted run that this command continued.
    pub resumed: usize,
    /// Number of input lines that were rejected.
    pub bad: u64,
    /// Why lines were rejected, with counts.
    pub reasons: Reasons,
    /// Names of the fields that codeexec did not read.
    pub unread: BTreeSet<String>,
}

/// Runs every program of `input` and writes its verdict to `output`. `options` is the text of all settings on which
/// verdicts depend: an interrupted run continues only with the same input, options and version.
///
/// # Errors
/// When a line is faulty (unless `skip_bad`), a file cannot be read, or a language is not set up.
pub fn run(
    pool: &Pool,
    workers: usize,
    input: &Path,
    output: &Path,
    options: &str,
    skip_bad: bool,
) -> anyhow::Result<Summary> {
    let fingerprint = Fingerprint::new()
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("options", options)
        .file("input", input)?
        .finish();
    let mut out = OrderedOutput::open(output, &fingerprint)?;
    let mut summary = Summary { resumed: out.done(), ..Summary::default() };
    let on_bad = if skip_bad { OnBadLine::SetAside(rejects(output)) } else { OnBadLine::Error };
    let mut reader = jsonl::read::<Checked>(input, on_bad)?;
    for _ in 0..out.done() {
        reader.next().context("the input is shorter than what was done before")??;
    }
    let progress = Progress::new("programs", count(input), out.done());
    let source = Mutex::new((reader, out.done()));
    let unread = Mutex::new(BTreeSet::new());
    let (written, stop) = (AtomicUsize::new(out.done()), AtomicBool::new(false));
    let (send, receive) = mpsc::channel::<anyhow::Result<(usize, Verdict)>>();
    let total = std::thread::scope(|scope| -> anyhow::Result<usize> {
        for _ in 0..workers.max(1) {
            let send = send.clone();
            scope.spawn(|| {
                let send = send;
                while let Some(next) = next_job(&source, &written, &stop) {
                    let result = next.and_then(|(index, job)| {
                        unread.lock().map(|mut unread| unread.extend(job.meta.keys().cloned())).ok();
                        let place = || {
                            let (file, record) = (input.display(), index + 1);
                            format!("{file}, record {record}, id {:?} (the verdicts so far are kept; the same command continues)", job.id)
                        };
                        Ok((index, pool.run(&job).with_context(place)?))
                    });
                    let failed = result.is_err();
                    if send.send(result).is_err() || failed {
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
        drop(send);
        for result in receive {
            let (index, verdict) = result?;
            *summary.statuses.entry(verdict.status.word()).or_default() += 1;
            out.push(index, &verdict)?;
            written.store(out.done(), Ordering::Relaxed);
            progress.add(1);
        }
        Ok(out.done())
    })?;
    if let Ok((reader, _)) = source.into_inner() {
        summary.bad = reader.bad();
        summary.reasons = reader.reasons();
    }
    summary.unread = unread.into_inner().unwrap_or_default();
    out.finish(total)?;
    Ok(summary)
}

/// The next job with its index. Waits while the reader is [`MAX_AHEAD`] programs ahead of the output. `None` at the end
/// of the input or after an error in another thread.
fn next_job(
    source: &Mutex<(jsonl::Reader<Checked>, usize)>,
    written: &AtomicUsize,
    stop: &AtomicBool,
) -> Option<anyhow::Result<(usize, Job)>> {
    let mut source = source.lock().ok()?;
    while source.1 >= written.load(Ordering::Relaxed) + MAX_AHEAD && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(2));
    }
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    let (reader, index) = &mut *source;
    let job = reader.next()?;
    *index += 1;
    let index = *index - 1;
    Some(job.map(|Checked(job)| (index, job)).map_err(anyhow::Error::from))
}

/// The file for the bad lines of a run with `--skip-bad`: `rejected.jsonl` beside the output.
fn rejects(output: &Path) -> PathBuf {
    output.with_file_name("rejected.jsonl")
}

/// The number of programs, for the progress display; `None` if a line is not JSON (the run itself reports such lines).
fn count(input: &Path) -> Option<usize> {
    let mut count = 0;
    for line in jsonl::read::<serde::de::IgnoredAny>(input, OnBadLine::Error).ok()? {
        line.ok()?;
        count += 1;
    }
    Some(count)
}

/// Runs a list of jobs on `workers` threads and returns the verdicts in the order of the jobs.
///
/// # Errors
/// See [`Pool::run`].
pub fn run_all(pool: &Pool, workers: usize, jobs: &[Job]) -> anyhow::Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let progress = Progress::new("programs", Some(jobs.len()), 0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(vec![None; jobs.len()]);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let work = || -> anyhow::Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(index) else { return Ok(()) };
                let verdict = pool.run(job)?;
                progress.add(1);
                if let Ok(mut verdicts) = verdicts.lock() {
                    verdicts[index] = Some(verdict);
                }
            }
        };
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the pool panicked"))??;
        }
        Ok(())
    })?;
    let verdicts = verdicts.into_inner().map_err(|_| anyhow::anyhow!("a thread of the pool panicked"))?;
    verdicts.into_iter().map(|verdict| verdict.context("a program without a verdict")).collect()
}

impl Summary {
    /// The summary as text for the user: one line, and a line for each reason why input lines were rejected.
    pub fn text(&self, output: &Path, start: Instant) -> String {
        let total: u64 = self.statuses.values().sum();
        let words: Vec<String> = self.statuses.iter().map(|(status, n)| format!("{n} {status}")).collect();
        let passed = self.statuses.get(Status::Passed.word()).copied().unwrap_or(0);
        let mut text = format!(
            "{}: {} in {:.1} s, {passed} passed ({})",
            output.display(),
            counted(total, "program"),
            start.elapsed().as_secs_f64(),
            words.join(", ")
        );
        if self.resumed > 0 {
            text.push_str(&format!("; {} more were there from an interrupted run", self.resumed));
        }
        if !self.unread.is_empty() {
            let names: Vec<&str> = self.unread.iter().map(String::as_str).collect();
            text.push_str(&format!("; fields that hold no tests were not read: {}", names.join(", ")));
        }
        if self.bad > 0 {
            let reasons = self.reasons.to_string().replace('\n', "\n  ");
            text.push_str(&format!(
                "; {} set aside in {}:\n  {reasons}",
                counted(self.bad, "line"),
                rejects(output).display()
            ));
        }
        text
    }
}
