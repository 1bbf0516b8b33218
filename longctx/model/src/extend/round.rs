//! A round of training: the frame of all training stages around [`StageObjective`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use run::{Class, Input, Resolved};
use serde::{Deserialize, Serialize};
use serde_json::json;
use trainer::Source;
use trainer::stage::{self, Ending, Prepared, Setup, StageConfig, Training, batch_arithmetic};

use super::data::{self, Texts, short_weight};
use super::objective::{Positions, StageObjective};

/// The configuration of a round, stored as its `config.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoundConfig {
    /// The keys that all training stages share; `data` are the files of the long documents.
    #[serde(flatten)]
    pub training: Training,
    /// The stage's context in tokens.
    pub length: usize,
    /// The longest example in tokens: the stage's length, or one row with skipped positions.
    pub row: usize,
    /// The positions of the tokens.
    pub positions: Positions,
    /// Files of the short documents.
    pub short: Vec<String>,
    /// Share of the tokens that short documents have.
    pub short_share: f64,
}

impl Default for RoundConfig {
    fn default() -> Self {
        Self {
            training: Training::default(),
            length: 0,
            row: 0,
            positions: Positions::Full,
            short: Vec::new(),
            short_share: 0.0,
        }
    }
}

impl StageConfig for RoundConfig {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (0.0..1.0).contains(&self.short_share),
            "--short-share is {}; it must be 0 or more, and below 1",
            self.short_share
        );
        Ok(())
    }

    fn class(key: &str) -> Class {
        // Compared by content.
        if key == "short" { Class::Free } else { Class::Course }
    }

    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.short.iter().map(|file| Input::file("short", file.as_ref())).collect()
    }
}

/// Trains a round, or resumes it; returns the number of tokens trained on and the folder of the model.
///
/// # Errors
/// When training fails, or when a signal stopped it.
pub fn train(config: &RoundConfig, long: &Texts, short: &Texts) -> anyhow::Result<(u64, PathBuf)> {
    let defaults = serde_json::to_value(RoundConfig::default())?;
    let defaults = defaults.as_object().cloned().context("a configuration without keys")?;
    let resolved = Resolved { config: config.clone(), origins: BTreeMap::new(), defaults };
    match stage::run("longctx extend (round)", &resolved, false, |setup| prepare(config, setup, long, short))? {
        Ending::Trained(report, folder) | Ending::Already(report, folder) => Ok((report.tokens, folder)),
        Ending::DryRun | Ending::Helped => anyhow::bail!("extend trains in one process"),
    }
}

fn prepare(
    config: &RoundConfig,
    setup: &Setup,
    long: &Texts,
    short: &Texts,
) -> anyhow::Result<Prepared<StageObjective>> {
    let training = &config.training;
    let (tokenizer, template) = (&setup.model.tokenizer, setup.model.template.as_ref());
    let (long, long_account) = data::encode(long, tokenizer, template, setup.max_length)?;
    let (short, short_account) = data::encode(short, tokenizer, template, setup.max_length)?;
    let weight = short_weight(long_account.tokens, short_account.tokens, config.short_share)?;
    let source = |examples: &[trainer::Example], weight| Source {
        lengths: examples.iter().map(|example| example.ids.len()).collect(),
        weight,
    };
    let lengths = [source(&long, 1.0), source(&short, weight)];
    let plan = training.plan(&lengths);
    ensure!(!plan.steps.is_empty(), "nothing to train on: --texts has no document that is not kept for gates");
    let seen = |source: usize| {
        let picks = plan.steps.iter().flatten().filter(|pick| pick.0 == source);
        picks.map(|&(source, example)| lengths[source].lengths[example]).sum::<usize>()
    };
    let (seen_long, seen_short) = (seen(0), seen(1));
    let ledger = format!(
        "{}\n{}\n  seen in this round: {seen_long} long tokens, {seen_short} short ones ({:.1}%), {:.2} epochs of the long ones",
        long_account.text("long"),
        short_account.text("short"),
        100.0 * seen_short as f64 / (seen_long + seen_short).max(1) as f64,
        seen_long as f64 / long_account.tokens.max(1) as f64,
    );
    let objective = StageObjective {
        sources: vec![long, short].into(),
        plan: plan.into(),
        micro_batch_tokens: training.micro_batch_tokens,
        skip_to: (config.positions == Positions::Skip).then_some(config.length),
        seed: training.seed,
        device: setup.device,
    };
    let batch = batch_arithmetic(training, &objective.plan, &lengths, objective.micro_batches(), 0);
    Ok(Prepared {
        objective,
        ledger,
        data: json!({"long": long_account, "short": short_account, "seen": {"long": seen_long, "short": seen_short}}),
        example: None,
        batch,
    })
}
