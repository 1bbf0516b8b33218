//! `herd sft`: load, prepare, train, save.

use trainer::stage::sources::{self, Limits};
use trainer::stage::{self, Ending, Prepared, Setup, given, resolve};

pub use crate::args::Args;
use crate::config::Config;
use crate::data::SftEncoder;
use crate::objective::SftObjective;

/// Runs the stage as its flags and configuration file say, or goes on where it was stopped.
///
/// # Errors
/// As [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = resolve::<Config>(args.config.as_deref(), given(args)?)?;
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
        examples: sources.examples.map(|one| one.example),
        neftune_alpha: config.neftune_alpha,
        device: setup.device,
    })
}
