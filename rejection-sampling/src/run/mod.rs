//! `herd rejection-sampling run`: sample, verify, score, select.

mod args;
mod dialog;
mod maths;
mod plan;
mod problems;
mod programs;
mod results;
mod select;
mod state;
mod verify;
mod work;

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use codeexec::pool::Launcher;
use dataset::digest::{self, Fingerprint};
use dataset::journal::Journal;
use llama::locate;
use serde_json::{Value, json};
use trainer::{RunFolder, stage};

pub use args::Args;
pub use results::Counts;
use results::FILES;
use state::State;
use verify::Verifiers;

use crate::judge::{Rubric, builtin};
use crate::reward::RewardModel;

/// Runs the stage, or goes on where it was stopped. `launcher` starts the worker processes that run programs.
///
/// # Errors
/// A sentence on what is wrong with flags, problems, models or the folder. Samples and verdicts that could not be got
/// are no error: they are recorded with their cause and counted.
pub fn run(args: &Args, launcher: Launcher) -> anyhow::Result<()> {
    args.check()?;
    let columns = problems::Columns {
        format: args.format,
        prompt: &args.prompt_column,
        answer: &args.answer_column,
        max_solution_steps: args.max_solution_steps,
    };
    let loaded = problems::load(&args.problems, &columns, args.skip, args.limit)?;
    let styles = args.styles.as_deref().map(plan::styles).transpose()?.unwrap_or_default();
    let checkpoints = args.checkpoints();
    let seeding = (args.seed, args.skip);
    let slots = plan::lay_out(&loaded.problems, args.k, &checkpoints, &styles, &args.temperature, seeding)?;
    println!(
        "{} problems of {} rows ({} not for training, {} with too many steps), {} samples",
        loaded.problems.len(),
        loaded.rows,
        loaded.not_for_training,
        loaded.too_long,
        slots.len()
    );
    let (quality, code) = (
        Rubric::load(args.judge.judge_prompt.as_deref(), builtin::QUALITY)?,
        Rubric::load(args.judge.judge_code_prompt.as_deref(), builtin::CODE)?,
    );
    let run = RunFolder::open(&args.output)?;

    let mut sampling = Fingerprint::new()
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("settings", &args.identity().to_string())
        .text("problems", &serde_json::to_string(&loaded.problems)?)
        .text("styles", &serde_json::to_string(&styles)?);
    for checkpoint in &checkpoints {
        sampling = sampling.text("checkpoint", &checkpoint_identity(args, checkpoint)?);
    }
    let sampling = sampling.finish();
    let rewarding = match &args.reward_model {
        None => None,
        Some(folder) => {
            let compute = serde_json::to_string(&args.sampler.compute)?;
            let print = Fingerprint::new().text("sampling", &sampling).text("compute", &compute);
            Some(stage::model_folder(print, &locate::locate(&folder.to_string_lossy())?)?.finish())
        }
    };
    let judging = args.judge.is_given().then(|| {
        let who = json!([args.judge.judge_model, args.judge.judge_endpoint, args.judge.judge_endpoint_model]);
        let prints = Fingerprint::new().text("sampling", &sampling).text("judge", &who.to_string());
        prints.text("quality", &quality.text).text("code", &code.text).finish()
    });
    let fingerprint = Fingerprint::new()
        .text("sampling", &sampling)
        .text("rewarding", rewarding.as_deref().unwrap_or_default())
        .text("judging", judging.as_deref().unwrap_or_default())
        .text("rules", &serde_json::to_string(&args.rules())?)
        .text("files", &json!([args.keep_style, args.any_language]).to_string())
        .finish();
    if !args.retry_failed
        && let Some(summary) = finished(&run, &fingerprint)?
    {
        println!("{} is finished already:\n{summary}", run.path().display());
        return Ok(());
    }

    let all = (&loaded.problems[..], &slots[..], &styles[..]);
    let mut state = State::open(&run, &sampling, all, args.rules_of_programs())?;
    if state.answers() > 0 {
        println!("{} answers are there from an earlier run; going on", state.answers());
    }
    if args.retry_failed {
        state.forget_failures();
    }
    work::sample_and_verify(&mut state, args, &checkpoints, &Verifiers::new(&args.verify, launcher)?)?;
    if let (Some(folder), Some(fingerprint)) = (&args.reward_model, &rewarding) {
        let mut journal = Journal::open(run.join("rewards.journal"), fingerprint)?;
        if args.retry_failed {
            journal.retain(|_, rewards: &Vec<state::Reward>| {
                rewards.iter().all(|reward| matches!(reward, state::Reward::Score(_)))
            });
        }
        let (device, kind) = args.sampler.compute.resolve()?;
        let model = RewardModel::load(&locate::locate(&folder.to_string_lossy())?, kind, device)?;
        work::score(&mut state, journal, &model, args.k as usize)?;
    }
    if let Some(fingerprint) = &judging {
        let mut journal = Journal::open(run.join("judgements.journal"), fingerprint)?;
        if args.retry_failed {
            journal.retain(|_, judgement| !matches!(judgement, crate::judge::Judgement::Unjudged(_)));
        }
        work::judge(&mut state, journal, &args.judge.open(&args.sampler)?, (&quality, &code))?;
    }
    let counts = results::write(&state, args, &checkpoints, run.path())?;
    let summary = counts.text();
    record(&run, args, &loaded, &checkpoints, &counts, &summary, &fingerprint)?;
    println!("{summary}\nwritten: {}", run.path().display());
    Ok(())
}

/// What a checkpoint's answers depend on: its files, its adapter, the type it computes in and the batch size; of a
/// server only its address and the model's name.
fn checkpoint_identity(args: &Args, checkpoint: &plan::Checkpoint) -> anyhow::Result<String> {
    let sampler = args.sampler_of(checkpoint);
    if let Some(url) = &sampler.endpoint {
        return Ok(json!([checkpoint.capability, url, sampler.endpoint_model]).to_string());
    }
    let (device, kind) = sampler.compute.resolve()?;
    let print = Fingerprint::new()
        .text("capability", &checkpoint.capability)
        .text("compute", &format!("{kind:?} {device:?} {}", sampler.batch_size));
    let mut print = stage::model_folder(print, &locate::locate(&checkpoint.model)?)?;
    if let Some(adapter) = &sampler.adapter {
        print = stage::model_folder(print.text("adapter", ""), adapter)?;
    }
    Ok(print.finish())
}

/// The summary of a run that is finished with these settings and whose files are whole.
fn finished(run: &RunFolder, fingerprint: &str) -> anyhow::Result<Option<String>> {
    let path = run.join("run.json");
    if !path.is_file() {
        return Ok(None);
    }
    let record: Value = serde_json::from_slice(&fs::read(&path)?)
        .with_context(|| format!("{} is damaged; remove it to make it again", path.display()))?;
    if record["fingerprint"] != fingerprint {
        return Ok(None);
    }
    for name in FILES {
        let file = run.join(name);
        if !file.is_file() || record["outputs"][name] != digest::file(&file)?.as_str() {
            eprintln!("warning: {} is missing or changed; it is made again", file.display());
            return Ok(None);
        }
    }
    Ok(Some(record["summary"].as_str().unwrap_or_default().to_owned()))
}

/// `run.json`: the settings, the ledger and the digests of the files.
fn record(
    run: &RunFolder,
    args: &Args,
    loaded: &problems::Loaded,
    checkpoints: &[plan::Checkpoint],
    counts: &Counts,
    summary: &str,
    fingerprint: &str,
) -> anyhow::Result<()> {
    let mut outputs = BTreeMap::new();
    for name in FILES {
        outputs.insert(name, digest::file(run.join(name))?);
    }
    ensure!(counts.problems == loaded.problems.len(), "a problem was lost");
    let record = json!({
        "stage": "rejection-sampling",
        "version": env!("CARGO_PKG_VERSION"),
        "fingerprint": fingerprint,
        "problems": {"file": args.problems, "rows": loaded.rows, "not_for_training": loaded.not_for_training,
                     "sha256": digest::file(&args.problems)?},
        "settings": args.identity(),
        "checkpoints": checkpoints,
        "selection": args.rules(),
        "reward_model": args.reward_model,
        "counts": counts,
        "summary": summary,
        "outputs": outputs,
    });
    let text = format!("{}\n", serde_json::to_string_pretty(&record)?);
    Ok(dataset::write_file(run.join("run.json"), text.as_bytes())?)
}
