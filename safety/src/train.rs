//! `herd safety guard train`: trains a guard from a base model and labelled records.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use guard::card::CARD;
use guard::prompt::Format;
use guard::train::{LinearConfig, Plan, finish, run_linear};
use guard_model::Prompts;
use run::Flags;
use trainer::stage::sources::{self, Limits, Sources};
use trainer::stage::{self, Ending, Prepared, Setup, StageConfig as _};

use crate::config::{Config, Head};
use crate::data::{GuardEncoder, variants};
use crate::objective::GuardObjective;

/// Runs the stage, or resumes it. The folder is a guard once its last file, `guard.toml`, exists.
///
/// # Errors
/// See [`Plan::load`], [`stage::run`] and [`finish`].
pub fn run(flags: &Flags<Config>) -> anyhow::Result<()> {
    let resolved = flags.resolve()?;
    let config = &resolved.config;
    let training = &config.training;
    let data: Vec<PathBuf> = training.sources()?.into_iter().map(|(path, _)| path).collect();
    if config.head == Head::Linear {
        config.check()?;
        anyhow::ensure!(!training.output.as_os_str().is_empty(), "--output is missing: name a folder for the run");
        let linear = LinearConfig {
            data,
            output: training.output.clone(),
            seed: training.seed,
            options: config.options.clone(),
        };
        return run_linear(&resolved, &linear, flags.dry_run);
    }
    training.check()?;
    config.check()?;
    let plan = Plan::load(&data, training.seed, &config.options)?;
    println!("Records\n{}\n", plan.account.join("\n"));
    let ending = stage::run("safety guard train", &resolved, flags.dry_run, |setup| prepare(config, &plan, setup))?;
    let card = training.output.join(CARD);
    match ending {
        // With several processes, the first one makes the guard.
        Ending::DryRun | Ending::Helped => return Ok(()),
        Ending::Already(..) if card.is_file() => return Ok(()),
        _ => {}
    }
    // A card of an earlier training does not belong to this model.
    if card.is_file() {
        std::fs::remove_file(&card)?;
    }
    let model = guard_model::open(&training.output.join(guard::card::MODEL), Format::Herd)?;
    let linear = plan.linear(config.options.c);
    let summary = finish(&training.output, &plan, &config.options, linear, Some(model), Format::Herd)?;
    println!("{summary}\nguard: {}", training.output.display());
    Ok(())
}

fn prepare(config: &Config, plan: &Plan, setup: &Setup) -> anyhow::Result<Prepared<GuardObjective>> {
    let training = &config.training;
    let model = setup.model;
    let prompts = Prompts::new(model, Format::Herd)?;
    let variants = variants(&model.tokenizer, &prompts, &plan.policy, config.variants, training.seed)?;
    let before = variants.iter().flat_map(|variant| variant.prefix.values()).map(Vec::len).max().unwrap_or(0);
    let encoder = GuardEncoder {
        tokenizer: &model.tokenizer,
        prompts: &prompts,
        policy: &plan.policy,
        before,
        train: plan.train.iter().map(|record| record.place.clone()).collect::<HashSet<_>>(),
        limits: Limits::new(training, setup),
    };
    let Sources { examples, account } = sources::load(training, setup, &encoder)?;
    let mut codes = BTreeMap::new();
    for category in &plan.policy.categories {
        codes.insert(category.id.clone(), model.tokenizer.encode_plain(&category.id)?);
    }
    account.prepared(GuardObjective {
        examples: examples.into(),
        variants: variants.into(),
        prompts,
        codes,
        row_tokens: training.micro_batch_tokens,
        seed: training.seed,
        device: setup.device,
    })
}
