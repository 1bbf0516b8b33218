//! `herd vision train`: trains an adapter and, optionally, the encoder, on conversations with pictures.

mod config;
mod data;
mod objective;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use pictures::Limits;
use run::Input;
use trainer::stage::sources::{self, Sources};
use trainer::stage::{self, Ending, Flags, Prepared, Setup};

use crate::adapter::{Adapter, AdapterConfig, Beneath, ENCODER};
use crate::encoder::load_encoder;
use crate::features::Features;
use crate::words::Words;
pub use config::{Config, Pictures};
pub use data::{Seeing, View, VisionEncoder, VisionExample};
pub use objective::{Batch, VisionObjective};

/// The flags of `herd vision train`: the keys of [`Config`], `--config` and `--dry-run`.
pub type Args = Flags<Config>;

/// Runs the stage with its flags and configuration file, or continues an interrupted run.
///
/// # Errors
/// See [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = args.resolve()?;
    stage::run("vision train", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))
}

fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<VisionObjective>> {
    ensure!(setup.world.is_alone(), "vision train runs in one process: start it without a launcher");
    let (training, text) = (&config.training, &setup.model.model);
    let words = Words::from_dir(&setup.model.path)?;
    let limits = Limits { max_pixels: config.max_pixels, ..Limits::default() };
    let before = config.from.as_deref().map(AdapterConfig::from_dir).transpose()?;
    let encoder_folder = config.encoder_folder()?;
    let options = before.as_ref().map_or_else(|| config.encoder_options(), |before| before.encoder.clone());
    let encoder = load_encoder(&encoder_folder, &options, Some(setup.kind), setup.device)?;
    let path = std::path::absolute(&setup.model.path).context("the model's folder")?;
    let sha256 = Input::model("model", &path)?.sha256;
    let layers = text.config().num_hidden_layers;
    let adapter_config = AdapterConfig {
        format: 1,
        language_model: Beneath { path, sha256 },
        layers_before: match &before {
            Some(before) => before.layers_before.clone(),
            None => AdapterConfig::layers_every(config.cross_every, layers),
        },
        feature_width: encoder.width(),
        encoder: options,
    };
    ensure!(
        !adapter_config.layers_before.is_empty(),
        "--cross-every is {}, and the language model has {layers} layers: no cross-attention layer would stand between them",
        config.cross_every
    );
    let adapter = match (&config.from, &before) {
        (Some(folder), Some(before)) if before.feature_width == encoder.width() => {
            Adapter::load(folder, &adapter_config, text)?
        }
        (Some(folder), Some(_)) => bail!("{}: adapter and encoder have other widths", folder.display()),
        _ => Adapter::new(&adapter_config, text, training.seed)?,
    };
    let folder = config.features.clone().unwrap_or_else(|| setup.run.join("features"));
    let features = Features::new((!config.train_encoder).then_some(folder.as_path()), encoder.as_ref())?;
    let row_encoder = VisionEncoder {
        words: &words,
        template: setup.template()?,
        limits: sources::Limits::new(training, setup),
        pictures: &limits,
    };
    let Sources { mut examples, account } = sources::load(training, setup, &row_encoder)?;
    if config.pictures == Pictures::Other {
        data::exchange_pictures(&mut examples.train, training.seed)?;
    }
    account.prepared(VisionObjective {
        examples: examples.map(|one| one.seeing).into(),
        adapter,
        encoder,
        features,
        trains_encoder: config.train_encoder,
        limits,
        device: setup.device,
        config: adapter_config,
        encoder_folder,
        is_new: before.is_none(),
    })
}

impl Config {
    /// The encoder to start from.
    fn encoder_folder(&self) -> anyhow::Result<PathBuf> {
        match (&self.encoder, &self.from) {
            (Some(folder), None) => llama::locate::locate(&folder.to_string_lossy()),
            (None, Some(folder)) => Ok(folder.join(ENCODER)),
            _ => bail!("--encoder and --from: exactly one of them is needed"),
        }
    }
}
