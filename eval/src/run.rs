//! A run: samples missing answers, judges answers that are not judged yet, and summarises. It may be killed at any
//! moment; the same command continues.

use std::path::Path;
use std::time::Instant;

use ::run::progress::Progress;
use anyhow::{Context, bail, ensure};
use dataset::resume::OrderedOutput;
use llama::SamplingParams;
use rayon::prelude::*;
use sampler::{SampleError, SampleRequest, Sampler, sequence_seed};

use crate::items::Item;
use crate::record::{Response, Sample};
use crate::score::{self, CodeJudge, Grading};
use crate::{likelihood, record};

/// How answers are sampled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How tokens are sampled.
    pub sampling: SamplingParams,
    /// Seed of everything random.
    pub seed: u64,
    /// Number of answers to each item.
    pub samples: usize,
    /// Maximum number of tokens of an answer, instead of each benchmark's own.
    pub max_new_tokens: Option<usize>,
    /// Window for perplexity, in tokens.
    pub window: usize,
}

/// Number of programs judged between two writes.
const BATCH: usize = 64;

/// Runs items against a model and judges the answers: writes `responses.jsonl` and `samples.jsonl` in `folder`.
///
/// `fingerprint` is that of everything that the samples depend on: partial results with another one are refused.
/// `code` is called for the judge of programs only if there are programs.
///
/// # Errors
/// When the model does not answer, the sandbox is not set up, or the folder belongs to another run.
pub fn run(
    folder: &Path,
    fingerprint: &str,
    sampler: &Sampler,
    items: &[Item],
    settings: &Settings,
    code: &dyn Fn() -> anyhow::Result<CodeJudge>,
) -> anyhow::Result<Vec<Sample>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (responses, samples) = (folder.join("responses.jsonl"), folder.join("samples.jsonl"));
    if samples.exists() {
        eprintln!("{}: all answers exist; nothing is sampled again", folder.display());
        return record::read(folder);
    }
    let (asked, likely): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| !item.task.is_likelihood());
    // Find out before hours of sampling whether programs can be judged.
    let mut judge = None;
    if asked.iter().any(|item| matches!(item.grading, Grading::Code(_))) {
        judge = Some(code()?);
    }
    if !responses.exists() {
        sample(&responses, sampler, &asked, settings, fingerprint)?;
    }
    let mut output = OrderedOutput::open(&samples, fingerprint)?;
    judge_responses(&mut output, &responses, &asked, settings.samples, judge.as_ref())?;
    judge_likelihoods(&mut output, sampler, &likely, asked.len() * settings.samples, settings.window)?;
    output.finish(asked.len() * settings.samples + likely.len())?;
    record::read(folder)
}

fn sample(
    path: &Path,
    sampler: &Sampler,
    items: &[&Item],
    settings: &Settings,
    fingerprint: &str,
) -> anyhow::Result<()> {
    let mut output = OrderedOutput::open(path, fingerprint)?;
    let total = items.len() * settings.samples;
    let done = output.done();
    if done > 0 {
        eprintln!("{done} of {total} answers exist from an earlier run; continuing");
    }
    let request = |index: usize| {
        let (place, sample) = (index / settings.samples, index % settings.samples);
        SampleRequest {
            messages: items[place].messages.clone(),
            tools: Vec::new(),
            sampling: settings.sampling.clone(),
            seed: sequence_seed(settings.seed, place, sample),
            max_new_tokens: settings.max_new_tokens.unwrap_or(items[place].task.max_new_tokens()),
            stop: Vec::new(),
        }
    };
    let requests: Vec<SampleRequest> = (done..total).map(request).collect();
    let progress = Progress::new("answers", Some(total), done);
    let start = Instant::now();
    let mut tokens = 0;
    sampler.sample(&requests, &mut |index, answer| {
        let index = done + index;
        let item = items[index / settings.samples];
        let mut response = Response {
            task: item.task.name().into(),
            id: item.id.clone(),
            sample: index % settings.samples,
            response: String::new(),
            finish_reason: "error".into(),
            tokens: 0,
            error: None,
        };
        match answer {
            Ok(answer) => {
                response.finish_reason = Response::word(&answer.finish_reason);
                response.response = answer.text;
                response.tokens = answer.tokens;
            }
            // The item itself cannot be asked (its prompt is too long, for example): it counts as wrong, and is
            // reported.
            Err(SampleError::Request(reason)) => response.error = Some(reason),
            Err(other) => bail!("{} {}: {other}; run the same command again to continue", response.task, response.id),
        }
        tokens += response.tokens;
        progress.note(format!("{:.0} tokens/s", tokens as f64 / start.elapsed().as_secs_f64().max(1e-9)));
        progress.add(1);
        Ok(output.push(index, &response)?)
    })?;
    Ok(output.finish(total)?)
}

fn judge_responses(
    output: &mut OrderedOutput,
    responses: &Path,
    items: &[&Item],
    samples: usize,
    judge: Option<&CodeJudge>,
) -> anyhow::Result<()> {
    let responses: Vec<Response> = dataset::jsonl::read_all(responses)?;
    let total = items.len() * samples;
    ensure!(responses.len() == total, "responses.jsonl has {} lines where {total} are needed", responses.len());
    let is_code = |index: usize| matches!(items[index / samples].grading, Grading::Code(_));
    let progress = Progress::new("answers judged", Some(total), output.done().min(total));
    while output.done() < total {
        let start = output.done();
        let kind = is_code(start);
        let end = (start..total.min(start + BATCH)).find(|&i| is_code(i) != kind).unwrap_or(total.min(start + BATCH));
        let batch = &responses[start..end];
        let judgements = if kind {
            let jobs: Vec<_> = batch
                .iter()
                .enumerate()
                .filter_map(|(i, response)| match &items[(start + i) / samples].grading {
                    Grading::Code(task) => Some(task.answered(&response.response)),
                    _ => None,
                })
                .collect();
            let verdicts = judge.context("no judge of programs")?.run(&jobs)?;
            jobs.iter().zip(verdicts).map(|(job, verdict)| score::code::judgement(job, verdict)).collect()
        } else {
            let one = |(i, response): (usize, &Response)| {
                let grading = &items[(start + i) / samples].grading;
                score::judge(grading, &response.response).context("an item that has no judge")
            };
            batch.par_iter().enumerate().map(one).collect::<anyhow::Result<Vec<_>>>()?
        };
        for (i, (response, judgement)) in batch.iter().zip(judgements).enumerate() {
            let sample = Sample::new(items[(start + i) / samples], response.clone(), judgement);
            output.push(start + i, &sample)?;
            progress.add(1);
        }
    }
    Ok(())
}

fn judge_likelihoods(
    output: &mut OrderedOutput,
    sampler: &Sampler,
    items: &[&Item],
    offset: usize,
    window: usize,
) -> anyhow::Result<()> {
    let done = output.done() - offset;
    if items.len() == done {
        return Ok(());
    }
    let Some(model) = sampler.local() else {
        bail!(
            "{} needs the model's log-probabilities of given texts, which this server's chat interface does not give: \
             use --model",
            items[done].task.name()
        );
    };
    let progress = Progress::new("items scored", Some(items.len()), done);
    let rest: Vec<Item> = items[done..].iter().map(|item| (*item).clone()).collect();
    likelihood::judge(model, &rest, window, &mut |place, judgement| {
        let item = &rest[place];
        let response = Response {
            task: item.task.name().into(),
            id: item.id.clone(),
            sample: 0,
            response: String::new(),
            finish_reason: "likelihood".into(),
            tokens: 0,
            error: None,
        };
        progress.add(1);
        Ok(output.push(offset + done + place, &Sample::new(item, response, judgement))?)
    })?;
    Ok(())
}
