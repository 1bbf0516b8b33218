//! `herd rejection-sampling run`: sample, verify, score, select.

mod args;
mod config;
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

use ::run::{Facts, Session, counted, from_flags, model_folder};
use anyhow::ensure;
use codeexec::pool::Launcher;
use curation::judge::{Rubric, builtin};
use dataset::digest::Fingerprint;
use dataset::journal::Journal;
use llama::device::LIBTORCH;
use llama::locate;
use serde_json::json;

pub use args::Args;
use config::Config;
pub use results::Counts;
use results::FILES;
use state::State;
use verify::Verifiers;

use crate::reward::RewardModel;

/// Runs the stage, or continues an interrupted run. `launcher` starts the worker processes that run programs.
///
/// # Errors
/// When flags, problems, models or the folder are faulty. A failed sample or verdict is not an error: it is recorded
/// with its cause and counted.
pub fn run(args: &Args, launcher: Launcher) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let config = Config::new(args)?;
    let loaded = problems::load(&args.problems, &config.columns, args.skip, args.limit)?;
    let seeding = (args.seed, args.skip);
    let slots =
        plan::lay_out(&loaded.problems, args.samples, &config.checkpoints, &config.styles, &args.temperature, seeding)?;
    println!(
        "{} of {} ({} not for training, {} with too many steps), {}",
        counted(loaded.problems.len(), "problem"),
        counted(loaded.rows, "row"),
        loaded.not_for_training,
        loaded.too_long,
        counted(slots.len(), "sample")
    );
    let (quality, code) = (
        Rubric::load(args.judge.judge_prompt.as_deref(), builtin::QUALITY)?,
        Rubric::load(args.judge.judge_code_prompt.as_deref(), builtin::CODE)?,
    );
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let questions = [("judge_prompt", &*quality.text), ("judge_code_prompt", &*code.text)];
    let mut notes = args.sampler.notes();
    notes.extend(args.judge.judge_endpoint.iter().map(|url| format!("judgements came from the server {url}")));
    let facts = Facts {
        seed: Some(args.seed),
        inputs: config::inputs(args, &config, &questions)?,
        hardware: args.sampler.hardware()?,
        libtorch: args.sampler.endpoint.is_none().then_some(LIBTORCH),
        notes,
        ..Facts::new("rejection-sampling run", config::class)
    };
    let Some(mut session) = Session::open_again(&args.output, &resolved, facts, args.retry_failed)? else {
        return Ok(());
    };
    let rows =
        json!({"rows": loaded.rows, "not_for_training": loaded.not_for_training, "problems": loaded.problems.len()});
    session.start(rows.clone())?;

    let run = session.folder();
    let sampling = session.fingerprint().to_owned();
    let all = (&loaded.problems[..], &slots[..], &config.styles[..]);
    let mut state = State::open(run, &sampling, all, config.programs)?;
    if state.answers() > 0 {
        println!("{} answers exist from an earlier run; continuing", state.answers());
    }
    if args.retry_failed {
        state.forget_failures();
    }
    let verifiers = Verifiers::new(&args.verify, launcher)?;
    verifiers.check(&state.kinds_to_verify())?;
    work::sample_and_verify(&mut state, &config, &verifiers)?;
    if let Some(folder) = &args.reward_model {
        let folder = locate::locate(&folder.to_string_lossy())?;
        let fingerprint = model_folder(Fingerprint::new().text("sampling", &sampling), &folder)?.finish();
        let mut journal = Journal::open(run.join("rewards.journal"), &fingerprint)?;
        if args.retry_failed {
            journal.retain(|_, rewards: &Vec<state::Reward>| {
                rewards.iter().all(|reward| matches!(reward, state::Reward::Score(_)))
            });
        }
        let (device, kind) = args.sampler.compute.resolve()?;
        let mut model = RewardModel::load(&folder, kind, device)?;
        model.set_gpu_kernels(args.sampler.compute.gpu_kernels()?);
        work::score(&mut state, journal, &model, config.files.k)?;
    }
    if args.judge.is_given() {
        let (_, who) = args.judge.who();
        let print = Fingerprint::new().text("sampling", &sampling).text("judge", &who);
        let fingerprint = print.text("quality", &quality.text).text("code", &code.text).finish();
        let mut journal = Journal::open(run.join("judgements.journal"), &fingerprint)?;
        if args.retry_failed {
            journal.retain(|_, judgement| !matches!(judgement, curation::judge::Judgement::Unjudged(_)));
        }
        work::judge(&mut state, journal, &args.judge.open(&args.sampler)?, (&quality, &code))?;
    }
    let counts = results::write(&state, &config.files, &config.checkpoints, run.path())?;
    ensure!(counts.problems == loaded.problems.len(), "a problem was lost");
    let summary = counts.text();
    let mut figures = json!({"checkpoints": config.checkpoints, "counts": counts});
    if let (Some(figures), Some(rows)) = (figures.as_object_mut(), rows.as_object()) {
        figures.extend(rows.clone());
    }
    session.finish(&FILES, &summary, figures)?;
    println!("{summary}\nwritten: {}", args.output.display());
    Ok(())
}
