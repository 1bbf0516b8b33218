//! `herd sft`: load, prepare, train, save.

use std::sync::Arc;

use trainer::stage::sources::{self, Limits};
use trainer::stage::{self, Ending, Flags, Prepared, Setup};

use crate::config::Config;
use crate::data::SftEncoder;
use crate::objective::SftObjective;

/// The flags of `herd sft`: the keys of [`Config`], `--config` and `--dry-run`.
pub type Args = Flags<Config>;

/// Runs the stage with its flags and configuration file, or continues an interrupted run.
///
/// # Errors
/// See [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = args.resolve()?;
    stage::run("sft", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))
}

fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<SftObjective>> {
    let training = &config.training;
    let encoder = SftEncoder {
        tokenizer: &setup.model.tokenizer,
        template: setup.template()?,
        config,
        limits: Limits::new(training, setup),
        unread: Default::default(),
    };
    let sources = sources::load(training, setup, &encoder)?;
    sources.account.prepared(SftObjective {
        examples: Arc::new(sources.examples.map(|one| one.example)),
        neftune_alpha: config.neftune_alpha,
        device: setup.device,
    })
}
