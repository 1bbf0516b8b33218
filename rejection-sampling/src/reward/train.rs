//! `herd rejection-sampling train-rm`: trains a scalar head on a language model with ranked responses.

use ::run::Class;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use trainer::stage::sources::{self, Limits, Strengths};
use trainer::stage::{self, Ending, Flags, Prepared, Setup, Sources, StageConfig, Training};

use super::calibration::Calibration;
use super::data::RankEncoder;
use super::objective::{CALIBRATION, RewardObjective};

/// The flags of `herd rejection-sampling train-rm`: the keys of [`Config`], `--config` and `--dry-run`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(flatten)]
    flags: Flags<Config>,
    /// Renamed to --over-long drop
    #[arg(long, hide = true)]
    drop_over_long: bool,
}

/// The configuration of a run.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that every training stage has.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: Training,
    /// Train only on preferences of these strengths, such as "significantly better" and "better"; records without a
    /// strength always count; case, _ and - make no difference
    #[arg(long, num_args = 1.., value_name = "STRENGTH", help_heading = "Data")]
    pub strengths: Vec<String>,
}

impl Default for Config {
    /// One epoch in steps of 64 prompts at learning rate 1e-5: as for Llama 2 (Touvron et al. 2023, section 3.2.2),
    /// but with smaller steps. One twentieth of the data is held out.
    fn default() -> Self {
        let training = Training { batch_size: Some(64), eval_fraction: 0.05, ..Training::default() };
        Self { training, strengths: Vec::new() }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// A group must fit into one row, so the tokens of a row decide which groups are too long, and therefore which
    /// are trained on.
    fn common_class(key: &str) -> Option<Class> {
        (key == "micro_batch_tokens").then_some(Class::Course)
    }
}

/// Runs the stage with its flags and configuration file, or continues an interrupted run.
///
/// # Errors
/// See [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(!args.drop_over_long, "--drop-over-long is now --over-long drop");
    let resolved = args.flags.resolve()?;
    let ending = stage::run("rejection-sampling train-rm", &resolved, args.flags.dry_run, |setup| {
        prepare(&resolved.config, setup)
    })?;
    let calibration = resolved.config.training.output.join(CALIBRATION);
    if !matches!(ending, Ending::DryRun | Ending::Helped) && calibration.is_file() {
        let calibration: Calibration = serde_json::from_slice(&std::fs::read(&calibration)?)?;
        println!("{}", calibration.text());
    }
    Ok(())
}

fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<RewardObjective>> {
    let (model, training) = (setup.model, &config.training);
    let encoder = RankEncoder {
        tokenizer: &model.tokenizer,
        template: setup.template()?,
        limits: Limits::new(training, setup),
        row_tokens: training.micro_batch_tokens,
        strengths: Strengths::new(&config.strengths),
    };
    let Sources { examples, account } = sources::load(training, setup, &encoder)?;
    let pad = model
        .padding()
        .context("the tokenizer has no special token to pad with that does not end a turn; give it a pad_token")?;
    account.prepared(RewardObjective {
        examples: examples.into(),
        device: setup.device,
        score: new_head(model.model.config().hidden_size, training.seed, setup.device),
        architecture: (model.model.config().family.classifier(), pad),
        calibration: None,
    })
}

/// A head of small random weights (standard deviation 0.02, as in transformers), which depend only on the seed.
fn new_head(hidden: i64, seed: u64, device: Device) -> Tensor {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    // The Box-Muller transform.
    let normal = (0..hidden).map(|_| {
        let (a, b): (f64, f64) = (rng.random(), rng.random());
        (0.02 * (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    });
    Tensor::from_slice(&normal.collect::<Vec<_>>()).reshape([1, hidden]).to_device(device)
}
