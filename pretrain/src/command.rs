//! `herd pretrain`: load, plan, train, save.

use std::sync::Arc;

use anyhow::{Context, ensure};
use llama::{LlamaConfig, locate};
use pretrain_stream::corpus::{self, Expected, Source};
use pretrain_stream::plan::Plan;
use pretrain_stream::reader::Reader;
use run::counted;
use serde_json::json;
use trainer::stage::{self, Flags, Prepared, Resolved, Setup, StageConfig};

use crate::anneal::Anneal;
use crate::compare::{self, Compare};
use crate::config::Config;
use crate::held_out::HeldOut;
use crate::objective::{Names, PretrainObjective, Windows};
use crate::probe::{self, Probe};

/// Maximum size of shards, in bytes, whose digests are compared before the first step by default.
const VERIFIED: u64 = 8_000_000_000;

/// Arguments of `herd pretrain`: the keys of [`Config`], `--config` and `--dry-run`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags<Config>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Decay the learning rate of a trained model to 0 on good data, and average the weights
    Anneal(Box<Flags<Anneal>>),
    /// Anneal a half-trained model with each of several candidate sets of data, and compare the held-out losses
    Probe(Box<Flags<Probe>>),
    /// Compare the held-out losses of several base models on the same rows
    Compare(Box<Compare>),
}

/// Runs the stage as configured, or resumes it.
///
/// # Errors
/// The same as [`stage::run`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        None => begin("pretrain", &mut args.flags.resolve()?, args.flags.dry_run),
        Some(Command::Anneal(flags)) => anneal(&mut flags.resolve()?, flags.dry_run),
        Some(Command::Probe(flags)) => probe::run(flags),
        Some(Command::Compare(args)) => compare::run(args),
    }
}

/// Anneals, or resumes annealing.
pub(crate) fn anneal(resolved: &mut Resolved<Anneal>, dry_run: bool) -> anyhow::Result<()> {
    begin("pretrain anneal", resolved, dry_run)
}

fn begin<C: StageConfig + AsRef<Config> + AsMut<Config>>(
    stage: &str,
    resolved: &mut Resolved<C>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let config = resolved.config.as_mut();
    let window = config.course()?.window();
    let (paths, weights) = config.sources()?;
    let sources = corpus::open(&paths, window)?;
    let headers = |source: &Source| {
        source.shards.iter().map(|shard| format!("{}.json", shard.path.display())).collect::<Vec<_>>()
    };
    let sum: f64 = weights.iter().sum();
    let data = sources
        .iter()
        .zip(weights)
        .flat_map(|(source, weight)| {
            headers(source).into_iter().map(move |header| format!("{header}:{}", weight / sum))
        })
        .collect();
    let held_out = corpus::open(&config.eval_data, window)?.iter().flat_map(headers).collect();
    config.settle(data, held_out)?;
    let context = LlamaConfig::from_dir(&locate::locate(&config.model.to_string_lossy())?)?.max_position_embeddings;
    let longest = config.course()?.longest();
    ensure!(
        i64::try_from(longest)? <= context,
        "a row has {longest} tokens, but the context of {} is {context}: make --sequence-length and --ramp shorter, or take a \
         model with a longer context",
        config.model.display()
    );
    stage::run(stage, resolved, dry_run, |setup| prepare(resolved.config.as_ref(), sources, setup)).map(drop)
}

fn prepare(config: &Config, sources: Vec<Source>, setup: &Setup) -> anyhow::Result<Prepared<PretrainObjective>> {
    let course = config.course()?;
    let tokenizer = dataset::digest::file(setup.model.path.join("tokenizer.json"))?;
    let bytes: u64 = sources.iter().flat_map(|source| &source.shards).map(corpus::ShardFacts::bytes).sum();
    let digests = config.verify_data || bytes <= VERIFIED;
    let vocabulary = u64::try_from(setup.model.model.config().vocab_size)?;
    let expected = Expected { tokenizer: Some(&tokenizer), vocabulary, digests };
    for (source, name) in sources.iter().zip(&config.data) {
        source.check(expected)?;
        ensure!(
            source.windows() > 0,
            "--data {name}: it has a weight but not one window of {} tokens ({} tokens in all)",
            course.window(),
            source.tokens()
        );
    }
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let plan = Plan::new(course, sources.iter().map(Source::windows).collect()).map_err(anyhow::Error::msg)?;
    let epochs = plan.epochs(plan.steps());
    let mut ledger = String::new();
    let mut data = Vec::new();
    for (source, epochs) in sources.iter().zip(&epochs) {
        let documents: u64 = source.shards.iter().map(|shard| shard.header.documents).sum();
        ledger += &format!(
            "  {}: {} tokens of {documents} documents in {} shards, {} windows; {} tokens at the ends of shards are not seen; \
             {epochs:.3} epochs\n",
            source.name,
            source.tokens(),
            source.shards.len(),
            source.windows(),
            source.left_over()
        );
        let unknown = source.shards.iter().filter(|shard| shard.header.tokenizer.sha256.is_empty()).count();
        if unknown > 0 {
            ledger +=
                &format!("    {unknown} shards do not know their tokenizer: nothing shows that it is the model's\n");
        }
        data.push(json!({"source": source.name, "tokens": source.tokens(), "documents": documents,
            "windows": source.windows(), "left_over": source.left_over(), "epochs": epochs}));
    }
    if !digests {
        ledger += &format!(
            "  {:.1} GB of shards: lengths were compared, digests only with --verify-data\n",
            bytes as f64 / 1e9
        );
    }
    let held_out = (!config.eval_data.is_empty())
        .then(|| HeldOut::open(&config.eval_data, plan.course().longest(), config.eval_tokens, expected))
        .transpose()
        .context("--eval-data")?;
    ledger += held_out.as_ref().map_or("", |held_out| &held_out.text);
    let rounded = plan.mixings().iter().filter(|mixing| !mixing.is_exact()).count();
    let mut batch = plan.describe(&names);
    if rounded > 0 {
        batch += "  weights without a common denominator are rounded to a hundred-thousandth\n";
    }
    let (steps, tokens) = (counted(plan.steps(), "step"), counted(plan.tokens(plan.steps()), "token"));
    batch += &format!("  {steps}, {tokens}");
    let objective = PretrainObjective {
        names: names.iter().map(|name| Names::of(name)).collect(),
        windows: Some(Arc::new(Windows {
            plan,
            reader: Reader::new(sources),
            micro_batch_tokens: config.micro_batch_tokens as u64,
            cross_documents: config.cross_documents,
            device: setup.device,
        })),
        held_out,
        z_loss: config.z_loss,
    };
    Ok(Prepared { objective, ledger: ledger.trim_end().to_owned(), data: data.into(), example: None, batch })
}
