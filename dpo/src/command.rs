//! `herd dpo`: load, prepare, train, save.

use dataset::digest;
use llama::device;
use llama::locate;
use trainer::stage::sources::{self, Limits, Strengths};
use trainer::stage::{self, Ending, Flags, Prepared, Setup, Sources};

use crate::config::Config;
use crate::data::PairEncoder;
use crate::objective::{DpoObjective, Reference, RowLayout};
use crate::pairs::Pair;
use crate::reference::{Identity, mask_digest, model_digest};

/// The flags of `herd dpo`: the keys of [`Config`], `--config` and `--dry-run`.
pub type Args = Flags<Config>;

/// Runs the stage with its flags and configuration file, or continues an interrupted run.
///
/// # Errors
/// See [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = args.resolve()?;
    stage::run("dpo", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))
}

/// Loads the pairs and selects the source of the reference's log-probs.
fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<DpoObjective>> {
    let training = &config.training;
    let encoder = PairEncoder {
        tokenizer: &setup.model.tokenizer,
        template: setup.template()?,
        config,
        limits: Limits::new(training, setup),
        strengths: Strengths::new(&config.strengths),
    };
    let sources = sources::load(training, setup, &encoder)?;
    let reference = reference(config, setup, &sources)?;
    let layout = RowLayout {
        formatting: config.formatting_tokens,
        share: config.share_prompt,
        micro_batch_tokens: training.micro_batch_tokens,
        device: setup.device,
    };
    let Sources { examples, account } = sources;
    let objective = DpoObjective::new(examples, config.loss(), layout, reference, training.lora_rank > 0);
    account.prepared(objective)
}

/// The source of the reference's log-probs.
fn reference(config: &Config, setup: &Setup, sources: &Sources<Pair>) -> anyhow::Result<Reference> {
    if !config.loss.has_reference() {
        return Ok(Reference::None);
    }
    let folder = config.reference.as_ref().map(|r| locate::locate(&r.to_string_lossy())).transpose()?;
    if config.live_reference {
        return Ok(Reference::Live { folder });
    }
    let files: Vec<&str> = sources.account.ledgers.iter().map(|ledger| ledger.sha256.as_str()).collect();
    let all: Vec<&Pair> = sources.examples.train.iter().flatten().chain(&sources.examples.held_out).collect();
    let identity = Identity {
        model: model_digest(folder.as_deref().unwrap_or(&setup.model.path))?,
        data: digest::bytes(files.join(" ").as_bytes()),
        template: digest::bytes(setup.template()?.source().as_bytes()),
        mask: mask_digest(&all),
        dtype: device::name(setup.kind).into(),
    };
    let cache = config.reference_cache.clone().unwrap_or_else(|| setup.run.join("reference"));
    Ok(Reference::Cached { folder, cache, identity })
}
