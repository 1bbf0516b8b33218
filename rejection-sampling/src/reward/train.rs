//! `herd rejection-sampling train-rm`: a scalar head on a language model, trained on ranked responses.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chat::Tokenizer;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use trainer::stage::{
    self, Ending, Prepared, Setup, StageConfig, Training, TrainingArgs, batch_arithmetic, given, resolve, show_defaults,
};
use trainer::{Source, hold_out};

use super::calibration::Calibration;
use super::data::{self, Encoder, Ledger, Ranked};
use super::objective::{CALIBRATION, RewardObjective};

/// Arguments of `herd rejection-sampling train-rm`. Every flag but `--config` may also stand in the configuration file,
/// with `_` for `-`.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
#[command(defer(show_defaults::<Config>))]
pub struct Args {
    /// A TOML file with any of the keys below (`learning_rate = 2e-5`); flags win over it
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Show the data, the plan and the memory estimate, and stop before the first step
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingArgs,

    /// Leave out, and count, what is longer than --max-length, or in one row longer than --micro-batch-tokens, instead
    /// of stopping
    #[arg(long, help_heading = "Data")]
    drop_over_long: bool,
    /// Train on preferences of these strengths only, such as "significantly better" and "better"
    #[arg(long, num_args = 1.., value_name = "STRENGTH", help_heading = "Data")]
    strengths: Vec<String>,
}

/// Everything that decides a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that every training stage has.
    #[serde(flatten)]
    pub training: Training,
    /// Leave out what is too long.
    pub drop_over_long: bool,
    /// Strengths to train on; empty for all. Preferences without a strength are always taken.
    pub strengths: Vec<String>,
}

impl Default for Config {
    /// One epoch in steps of 64 prompts at 1e-5, as Llama 2 (Touvron et al. 2023, section 3.2.2) in smaller steps, with
    /// a twentieth held out.
    fn default() -> Self {
        let training = Training { batch_size: Some(64), eval_fraction: 0.05, ..Training::default() };
        Self { training, drop_over_long: false, strengths: Vec::new() }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Runs the stage as its flags and configuration file say, or goes on where it was stopped.
///
/// # Errors
/// As [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = resolve::<Config>(args.config.as_deref(), given(args)?)?;
    let ending = stage::run("train-rm", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))?;
    let calibration = resolved.config.training.output.join(CALIBRATION);
    if !matches!(ending, Ending::DryRun) && calibration.is_file() {
        let calibration: Calibration = serde_json::from_slice(&std::fs::read(&calibration)?)?;
        println!("{}", calibration.text());
    }
    Ok(())
}

fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<RewardObjective>> {
    let (model, training) = (setup.model, &config.training);
    let template = model.template.as_ref().with_context(|| {
        format!("{} has no chat template; give the folder a chat_template.jinja", model.path.display())
    })?;
    let encoder = Encoder {
        tokenizer: &model.tokenizer,
        template,
        max_length: training.max_length,
        row_tokens: training.micro_batch_tokens,
        drop_over_long: config.drop_over_long,
        strengths: &config.strengths,
    };
    let mut files = 0;
    let mut load = |path: &Path, weight: f64| -> anyhow::Result<(Vec<Ranked>, Ledger)> {
        files += 1;
        let rejects = training.skip_bad.then(|| setup.run.join(&format!("rejected-{files}.jsonl")));
        encoder.load(path, weight, rejects)
    };
    let (mut sources, mut ledgers) = (Vec::new(), Vec::new());
    for (path, weight) in training.sources()? {
        let (groups, ledger) = load(&path, weight)?;
        sources.push(groups);
        ledgers.push(ledger);
    }
    let mut held_out = Vec::new();
    if training.eval_fraction > 0.0 {
        let held = hold_out(&mut sources, |ranked| ranked.prompt, training.eval_fraction, training.seed);
        for (groups, ledger) in held.iter().zip(&mut ledgers) {
            ledger.held_out = groups.len() as u64;
            ledger.groups -= groups.len() as u64;
        }
        held_out.extend(held.into_iter().flatten());
    }
    for path in &training.eval_data {
        let (groups, ledger) = load(Path::new(path), 0.0)?;
        ledgers.push(Ledger { held_out: groups.len() as u64, groups: 0, ..ledger });
        held_out.extend(groups);
    }
    let lengths: Vec<Source> = sources
        .iter()
        .zip(&ledgers)
        .map(|(groups, ledger)| Source {
            lengths: groups.iter().map(|ranked| ranked.group.tokens()).collect(),
            weight: ledger.weight,
        })
        .collect();
    let plan = training.plan(&lengths);
    let ledger = data::table(&ledgers);
    ensure!(!plan.steps.is_empty(), "nothing to train on: no preference is left\n{ledger}");
    let pad = padding(&model.tokenizer, &model.stop_ids)?;
    let objective = RewardObjective {
        held_out,
        plan,
        micro_batch_tokens: training.micro_batch_tokens,
        device: setup.device,
        score: new_head(model.model.config().hidden_size, training.seed, setup.kind, setup.device),
        architecture: (model.model.config().family.classifier(), pad),
        calibration: None,
        sources,
    };
    let batch =
        batch_arithmetic(training, &objective.plan, &lengths, objective.micro_batches(), objective.held_out.len());
    let example = objective.sources.iter().flatten().next().map(|ranked| {
        let text = |ids: &[i64]| model.tokenizer.decode(&ids.iter().map(|&id| id as u32).collect::<Vec<_>>(), false);
        let mut shown = text(&ranked.group.prompt)?;
        for (rank, response) in ranked.group.responses.iter().enumerate() {
            shown += &format!("\n--- response {} of {}\n{}", rank + 1, ranked.group.responses.len(), text(response)?);
        }
        anyhow::Ok((format!("Example {} (shared beginning, then the responses, best first)", ranked.id), shown))
    });
    Ok(Prepared {
        objective,
        data: serde_json::to_value(&ledgers)?,
        identity: ledgers.iter().map(|ledger| serde_json::json!([ledger.sha256, ledger.weight])).collect(),
        example: example.transpose()?,
        ledger,
        batch,
    })
}

/// A head of small random weights (standard deviation 0.02, as transformers'), from the seed alone.
fn new_head(hidden: i64, seed: u64, kind: Kind, device: Device) -> Tensor {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    // Box and Muller.
    let normal = (0..hidden).map(|_| {
        let (a, b): (f64, f64) = (rng.random(), rng.random());
        (0.02 * (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    });
    Tensor::from_slice(&normal.collect::<Vec<_>>()).reshape([1, hidden]).to_device(device).to_kind(kind)
}

/// A padding token that ends no conversation. The model's own will do unless it is an end-of-turn token, as many models
/// have it: transformers would then take the token before for a text's last one.
fn padding(tokenizer: &Tokenizer, ends: &[i64]) -> anyhow::Result<u32> {
    let own = tokenizer.named_tokens().get("pad_token").and_then(|token| tokenizer.id_of(token));
    let special = tokenizer.special_tokens().iter().map(|(_, id)| *id);
    own.into_iter()
        .chain(special)
        .find(|&id| !ends.contains(&i64::from(id)))
        .context("the tokenizer has no special token to pad with that does not end a turn; give it a pad_token")
}
