//! `herd sft`: load, prepare, train, save.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::json;
use trainer::stage::{self, Ending, Prepared, Setup, batch_arithmetic, given, resolve};
use trainer::{Source, hold_out};

pub use crate::args::Args;
use crate::config::Config;
use crate::data::{self, Encoder, Ledger, Loaded, Prompted};
use crate::objective::SftObjective;

/// Runs the stage as its flags and configuration file say, or goes on where it was stopped.
///
/// # Errors
/// As [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    let resolved = resolve::<Config>(args.config.as_deref(), given(args)?)?;
    stage::run("sft", &resolved, args.dry_run, |setup| prepare(&resolved.config, setup))
}

/// Reads all files, holds out what is to be held out, and plans the steps.
fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<SftObjective>> {
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
    let (mut examples, mut ledgers, mut shown) = (Vec::new(), Vec::new(), None);
    for (path, weight) in training.sources()? {
        let loaded = load(&path, weight)?;
        shown = shown.or(loaded.shown);
        examples.push(loaded.examples);
        ledgers.push(loaded.ledger);
    }
    let mut held_out = Vec::new();
    if training.eval_fraction > 0.0 {
        // By prompt: two answers to it, or the parts of a conversation, are not to be learnt on one side and measured on the
        // other.
        let prompt = |prompted: &Prompted| prompted.prompt.clone();
        let held = hold_out(&mut examples, prompt, training.eval_fraction, training.seed);
        for (list, ledger) in held.iter().zip(&mut ledgers) {
            ledger.held_out = list.len() as u64;
        }
        held_out.extend(held.into_iter().flatten());
        let names = held_out.iter().map(|prompted: &Prompted| json!({"id": prompted.example.id}));
        dataset::jsonl::write_all(setup.run.join("held-out.jsonl"), names)?;
    }
    for path in &training.eval_data {
        let loaded = load(Path::new(path), 0.0)?;
        ledgers.push(Ledger { held_out: loaded.examples.len() as u64, ..loaded.ledger });
        held_out.extend(loaded.examples);
    }
    let bare = |examples: Vec<Prompted>| examples.into_iter().map(|prompted| prompted.example).collect::<Vec<_>>();
    let (examples, held_out): (Vec<_>, _) = (examples.into_iter().map(bare).collect(), bare(held_out));
    let lengths = examples.iter().zip(&ledgers).map(|(examples, ledger)| Source {
        lengths: examples.iter().map(|example| example.ids.len()).collect(),
        weight: ledger.weight,
    });
    let lengths: Vec<Source> = lengths.collect();
    let plan = training.plan(&lengths);
    let ledger = data::table(&ledgers);
    ensure!(
        !plan.steps.is_empty(),
        "nothing to train on: no example is left of {}\n{ledger}",
        training.data.join(", ")
    );
    let objective = SftObjective {
        sources: examples,
        held_out,
        plan,
        micro_batch_tokens: training.micro_batch_tokens,
        neftune_alpha: config.neftune_alpha,
        device: setup.device,
    };
    let batch =
        batch_arithmetic(training, &objective.plan, &lengths, objective.micro_batches(), objective.held_out.len());
    let colour = std::io::stdout().is_terminal();
    let legend = if colour { "trained tokens are coloured" } else { "trained tokens stand in ⟦ ⟧" };
    let example = shown.map(|(id, encoded)| {
        anyhow::Ok((format!("Example {id} ({legend})"), chat::show::tokens(&model.tokenizer, &encoded, colour)?))
    });
    Ok(Prepared {
        objective,
        ledger,
        data: serde_json::to_value(&ledgers)?,
        identity: data::identity(&ledgers),
        example: example.transpose()?,
        batch,
    })
}
