//! `herd dpo`: load, prepare, train, save.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, ensure};
use dataset::digest;
use llama::device;
use llama::locate;
use serde_json::{Value, json};
use trainer::stage::{self, Ending, Prepared, Setup, batch_arithmetic, given, resolve};
use trainer::{Source, hold_out};

pub use crate::args::Args;
use crate::batch::row_tokens;
use crate::config::{Config, FormattingTokens};
use crate::data::{self, Encoder, Ledger, Loaded};
use crate::objective::{DpoObjective, Reference, RowLayout};
use crate::pairs::{self, Pair};
use crate::reference::{Identity, mask_digest, model_digest};

/// Runs the stage as its flags and configuration file say, or goes on where it was stopped.
///
/// # Errors
/// As [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = resolve::<Config>(args.config.as_deref(), given(args)?)?;
    stage::run("dpo", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))
}

/// Reads all files, holds out what is to be held out, plans the steps and says where the reference comes from.
fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<DpoObjective>> {
    let (model, training) = (setup.model, &config.training);
    let template = model.template.as_ref().with_context(|| {
        format!("{} has no chat template; give the folder a chat_template.jinja", model.path.display())
    })?;
    let encoder = Encoder { tokenizer: &model.tokenizer, template, config };
    let mut files = 0;
    let mut load = |path: &Path, weight: f64| -> anyhow::Result<Loaded> {
        files += 1;
        encoder.load(path, weight, setup.run.join(&format!("rejected-{files}.jsonl")))
    };
    let (mut sources, mut ledgers) = (Vec::new(), Vec::new());
    for (path, weight) in training.sources()? {
        let loaded = load(&path, weight)?;
        sources.push(loaded.pairs);
        ledgers.push(loaded.ledger);
    }
    let mut held_out = Vec::new();
    if training.eval_fraction > 0.0 {
        // By prompt: the pairs of a prompt share their answers.
        let prompt = |pair: &Pair| pair.chosen.ids[..pair.chosen.prompt_tokens()].to_vec();
        let held = hold_out(&mut sources, prompt, training.eval_fraction, training.seed);
        for (pairs, ledger) in held.iter().zip(&mut ledgers) {
            ledger.held_out = pairs.len() as u64;
        }
        held_out.extend(held.into_iter().flatten());
    }
    for path in &training.eval_data {
        let loaded = load(Path::new(path), 0.0)?;
        ledgers.push(Ledger { held_out: loaded.pairs.len() as u64, ..loaded.ledger });
        held_out.extend(loaded.pairs);
    }
    let lengths: Vec<Source> = sources
        .iter()
        .zip(&ledgers)
        .map(|(pairs, ledger)| Source {
            lengths: pairs.iter().map(|pair| row_tokens(pair, config.share_prompt)).collect(),
            weight: ledger.weight,
        })
        .collect();
    let plan = training.plan(&lengths);
    let ledger = data::table(&ledgers);
    ensure!(!plan.steps.is_empty(), "nothing to train on: no pair is left of {}\n{ledger}", training.data.join(", "));
    let shown = sources.iter().flatten().next().or(held_out.first());
    let example = shown.map(|pair| example(config, &model.tokenizer, pair)).transpose()?;
    let identity = data::identity(&ledgers);
    let files: Vec<&str> = ledgers.iter().map(|ledger| ledger.sha256.as_str()).collect();
    let reference_folder = config.reference.as_ref().map(|r| locate::locate(&r.to_string_lossy())).transpose()?;
    let all: Vec<&Pair> = sources.iter().flatten().chain(&held_out).collect();
    let (reference, reference_model) = if !config.loss.has_reference() {
        (Reference::None, Value::Null)
    } else {
        let model_digest = model_digest(reference_folder.as_deref().unwrap_or(&model.path))?;
        let reference = if config.live_reference {
            Reference::Live { folder: reference_folder }
        } else {
            let identity = Identity {
                model: model_digest.clone(),
                data: digest::bytes(files.join(" ").as_bytes()),
                template: digest::bytes(template.source().as_bytes()),
                mask: mask_digest(&all),
                dtype: device::name(setup.kind).into(),
            };
            let cache = config.reference_cache.clone().unwrap_or_else(|| setup.run.join("reference"));
            Reference::Cached { folder: reference_folder, cache, identity }
        };
        (reference, model_digest.into())
    };
    let layout = RowLayout {
        formatting: config.formatting_tokens,
        share: config.share_prompt,
        micro_batch_tokens: training.micro_batch_tokens,
        device: setup.device,
    };
    let held = held_out.len();
    let objective = DpoObjective::new(sources, held_out, plan.clone(), config.loss(), layout, reference);
    let batch = batch_arithmetic(training, &plan, &lengths, objective.micro_batches(), held);
    Ok(Prepared {
        objective,
        ledger,
        data: serde_json::to_value(&ledgers)?,
        identity: json!({"files": identity, "reference": reference_model}),
        example: Some(example.context("there is no pair to show")?),
        batch,
    })
}

/// A pair for the eye, with a legend.
fn example(config: &Config, tokenizer: &chat::Tokenizer, pair: &Pair) -> anyhow::Result<(String, String)> {
    let colour = std::io::stdout().is_terminal();
    let effect = match config.formatting_tokens {
        FormattingTokens::Mask => "formatting, left out of the preference loss",
        FormattingTokens::Keep => "formatting, in the preference loss too",
    };
    let legend = if colour {
        format!("green chosen, red rejected, yellow {effect}")
    } else {
        format!("⟦ ⟧ counts in the preference loss, ⟨ ⟩ {effect}")
    };
    Ok((format!("Pair {} ({legend})", pair.id), pairs::show(tokenizer, pair, colour)?))
}
