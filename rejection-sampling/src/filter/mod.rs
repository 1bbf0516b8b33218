//! `herd rejection-sampling filter`: quality control of any set of conversations (the Llama 3 paper, section 4.2.3),
//! with a ledger of removed records and reasons.

mod signals;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::run::{Class, Facts, Frame, Hardware, Input, Session, from_flags};
use anyhow::ensure;
use curation::embed::{self, EmbedArgs};
use curation::{JudgeArgs, quality};
use dataset::digest::Fingerprint;
use dataset::jsonl::{self, AtomicWriter, OnBadLine};
use dataset::{Conversation, check};
use llama::{device, locate};
use sampler::SamplerArgs;
use serde::Serialize;
use serde_json::json;
use text_quality::prompts::EvaluationPrompts;
use text_quality::{duplicates, rules};

use signals::Signals;

/// Arguments of `herd rejection-sampling filter`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Conversations, one per line; several files are treated as one set
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// The folder for kept.jsonl, removed.jsonl and the record; the same command continues where it stopped
    #[arg(long, value_name = "RUN")]
    pub output: PathBuf,
    /// Evaluation sets; conversations with one of their prompts are removed
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Rules")]
    pub decontaminate: Vec<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub limits: rules::Limits,

    /// Score with this reward model; records that already have a reward keep it
    #[arg(long, value_name = "FOLDER", help_heading = "Quality")]
    pub reward_model: Option<PathBuf>,
    /// The share of conversations, by reward, that counts as good
    #[arg(long, default_value_t = 0.25, help_heading = "Quality")]
    pub top_share: f64,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub judge: JudgeArgs,
    /// Only add scores; do not remove conversations of low quality
    #[arg(long, help_heading = "Quality")]
    pub keep_quality: bool,

    /// Maximum cosine similarity of two kept conversations of a cluster; 1 or more keeps all
    #[arg(long, default_value_t = 0.95, help_heading = "Deduplication")]
    pub max_cosine: f32,
    /// Number of clusters; conversations are compared within a cluster [default: one for each 1000 conversations]
    #[arg(long, help_heading = "Deduplication")]
    pub clusters: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub embed: EmbedArgs,
    /// Seed of the initial cluster centres
    #[arg(long, default_value_t = 0, help_heading = "Deduplication")]
    pub seed: u64,
    /// Settings of the judge and of local models
    #[command(flatten)]
    #[serde(flatten)]
    pub sampler: JudgeSampler,
}

/// The sampler's flags that a judge and local models need.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct JudgeSampler {
    /// Number of sequences that the judge decodes together
    #[arg(long, alias = "batch-size", default_value_t = 16)]
    pub max_num_seqs: usize,
    /// Maximum number of open requests to the judge's server
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
    /// Timeout of a request to the judge's server, in seconds, for each attempt
    #[arg(long, alias = "timeout", default_value_t = 600.0)]
    pub endpoint_timeout: f64,
    /// Number of retries after a failed attempt
    #[arg(long, alias = "retries", default_value_t = 6)]
    pub endpoint_retries: u32,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub compute: llama::device::Compute,
}

impl JudgeSampler {
    /// Converts to the flags of the sampler.
    #[must_use]
    pub fn args(&self) -> SamplerArgs {
        SamplerArgs {
            max_num_seqs: self.max_num_seqs,
            concurrency: self.concurrency,
            endpoint_timeout: self.endpoint_timeout,
            endpoint_retries: self.endpoint_retries,
            compute: self.compute.clone(),
            ..SamplerArgs::default()
        }
    }
}

/// The reason why a conversation is removed.
struct Removed {
    by: &'static str,
    why: String,
}

/// The inputs of the run, and the other facts for its record.
fn facts(args: &Args) -> anyhow::Result<Facts<'static>> {
    let mut inputs = Vec::new();
    for path in &args.input {
        inputs.push(Input::file("input", path)?);
    }
    for path in &args.decontaminate {
        inputs.push(Input::file("decontaminate", path)?);
    }
    for (key, model) in [
        ("reward_model", args.reward_model.as_ref().map(|folder| folder.to_string_lossy().into_owned())),
        ("judge_model", args.judge.judge_model.clone()),
        ("embed_model", args.embed.embed_model.clone()),
    ] {
        if let Some(model) = model {
            inputs.push(Input::model(key, &locate::locate(&model)?)?);
        }
    }
    let servers = args.judge.judge_endpoint.iter().chain(&args.embed.embed_endpoint);
    let computes = inputs.iter().any(|input| input.key.ends_with("_model"));
    Ok(Facts {
        seed: Some(args.seed),
        hardware: if computes {
            let (device, kind) = args.sampler.compute.resolve()?;
            device::hardware(device, kind)
        } else {
            Hardware::here()
        },
        inputs,
        libtorch: computes.then_some(device::LIBTORCH),
        notes: servers.map(|url| format!("answers came from the server {url}")).collect(),
        ..Facts::new("rejection-sampling filter", class)
    })
}

/// The class of each key. The answers of models are kept in journals under digests of the models, so every rule can
/// change and only the selection is repeated.
fn class(key: &str) -> Class {
    match key {
        // Compared by content.
        "input" | "output" => Class::Free,
        _ => match SamplerArgs::class(key) {
            Some(class) => class,
            None => Class::Output,
        },
    }
}

/// Filters conversations, or continues an interrupted run.
///
/// # Errors
/// When a record is faulty (with `file:line`), or a model cannot be loaded. A judge that gives no answer is not an
/// error: its conversations count as not judged.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!((0.0..=1.0).contains(&args.top_share), "--top-share is {}; it must lie between 0 and 1", args.top_share);
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let conversations = read(&args.input)?;
    if args.frame.shows(&resolved)? {
        println!("{} conversations", conversations.len());
        return Ok(());
    }
    let Some(mut session) = Session::open(&args.output, &resolved, facts(args)?)? else { return Ok(()) };
    session.start(json!({"conversations": conversations.len()}))?;
    let print = Fingerprint::new().text("run", session.fingerprint());
    let evaluation = EvaluationPrompts::load(&args.decontaminate)?;
    println!("{} conversations; {} prompts of evaluation sets", conversations.len(), evaluation.len());
    let mut removed: Vec<Option<Removed>> = Vec::with_capacity(conversations.len());
    for conversation in &conversations {
        let messages = &conversation.messages;
        let eval = evaluation.contains(messages).map(|set| ("decontamination", format!("a prompt of {set}")));
        let broken = || rules::broken(messages, &args.limits).map(|why| ("rules", why));
        removed.push(eval.or_else(broken).map(|(by, why)| Removed { by, why }));
    }
    let left = |removed: &[Option<Removed>]| -> Vec<usize> {
        (0..removed.len()).filter(|&index| removed[index].is_none()).collect()
    };
    // Models are asked only about the remaining conversations.
    let signals = Signals::collect(args, session.folder(), print, &conversations, &left(&removed))?;
    if signals.have_quality && !args.keep_quality {
        let open = left(&removed);
        let scores: Vec<_> = open.iter().map(|&index| signals.scores[index]).collect();
        for (&index, is_good) in open.iter().zip(quality::good(&scores, args.top_share)) {
            if !is_good {
                let shown = json!({"reward": signals.scores[index].reward, "judged": signals.scores[index].judged});
                removed[index] = Some(Removed { by: "quality", why: shown.to_string() });
            }
        }
    }
    let open = left(&removed);
    let ranks = quality::ranks(&open.iter().map(|&index| signals.scores[index]).collect::<Vec<_>>());
    rebalance(args, &conversations, &mut removed, &open, &ranks);
    let clusters = deduplicate(args, &conversations, &mut removed, &signals)?;
    write(args, session, &conversations, &removed, &signals, clusters)
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Conversation>> {
    let mut all = Vec::new();
    for path in paths {
        let mut reader = jsonl::read::<Conversation>(path, OnBadLine::Error)?;
        while let Some(conversation) = reader.next() {
            let mut conversation = conversation?;
            check::fill_id(&mut conversation.id, &reader.place());
            if let Err(why) = check::has_answer(&conversation.messages) {
                reader.reject(why, &conversation)?;
            }
            all.push(conversation);
        }
    }
    ensure!(!all.is_empty(), "--input holds no conversation");
    Ok(all)
}

/// Limits the answers that open with an apology to the allowed share; the best of them stay.
fn rebalance(
    args: &Args,
    conversations: &[Conversation],
    removed: &mut [Option<Removed>],
    open: &[usize],
    ranks: &[f64],
) {
    let mut sorry: Vec<usize> =
        (0..open.len()).filter(|&place| rules::apologises(&conversations[open[place]].messages)).collect();
    let others = open.len() - sorry.len();
    // s / (s + others) <= share
    let share = args.limits.max_apologies.clamp(0.0, 1.0);
    let allowed = if share >= 1.0 { sorry.len() } else { (share / (1.0 - share) * others as f64).floor() as usize };
    sorry.sort_by(|&a, &b| ranks[b].total_cmp(&ranks[a]));
    for &place in sorry.iter().skip(allowed) {
        let why = format!("opens with an apology; {allowed} of {} may", sorry.len());
        removed[open[place]] = Some(Removed { by: "apologies", why });
    }
}

/// Removes near-duplicates and keeps the better of two. Returns the number of clusters.
fn deduplicate(
    args: &Args,
    conversations: &[Conversation],
    removed: &mut [Option<Removed>],
    signals: &Signals,
) -> anyhow::Result<usize> {
    let open: Vec<usize> = (0..removed.len()).filter(|&index| removed[index].is_none()).collect();
    let clusters = args.clusters.unwrap_or(open.len().div_ceil(1000)).max(1);
    if args.max_cosine >= 1.0 {
        return Ok(0);
    }
    let texts: Vec<String> = open.iter().map(|&index| embed::text(&conversations[index].messages)).collect();
    let embeddings = args.embed.embed(&texts, &args.sampler.compute)?;
    let ranks = quality::ranks(&open.iter().map(|&index| signals.scores[index]).collect::<Vec<_>>());
    for duplicate in duplicates::duplicates(&embeddings, &ranks, clusters, args.max_cosine, args.seed) {
        let of = &conversations[open[duplicate.of]].id;
        let why = format!("cosine {:.3} to {of}", duplicate.cosine);
        removed[open[duplicate.item]] = Some(Removed { by: "duplicate", why });
    }
    Ok(clusters)
}

/// Writes the kept and removed conversations, each with its annotations, and the ledger.
fn write(
    args: &Args,
    session: Session,
    conversations: &[Conversation],
    removed: &[Option<Removed>],
    signals: &Signals,
    clusters: usize,
) -> anyhow::Result<()> {
    let run = session.folder();
    let mut kept_out = AtomicWriter::create(run.join("kept.jsonl"))?;
    let mut removed_out = AtomicWriter::create(run.join("removed.jsonl"))?;
    let mut ledger: BTreeMap<&str, u64> = BTreeMap::new();
    let mut topics: BTreeMap<String, u64> = BTreeMap::new();
    let mut kept = 0;
    for (index, conversation) in conversations.iter().enumerate() {
        let mut record = conversation.clone();
        let known = signals.annotations(index);
        if !known.is_null() {
            record.extra.insert("quality_control".into(), known);
        }
        match &removed[index] {
            None => {
                *topics.entry(signals.topic(index).to_owned()).or_default() += 1;
                kept += 1;
                kept_out.write(&record)?;
            }
            Some(Removed { by, why }) => {
                *ledger.entry(by).or_default() += 1;
                record.extra.insert("removed".into(), json!({"by": by, "why": why}));
                removed_out.write(&record)?;
            }
        }
    }
    kept_out.finish()?;
    removed_out.finish()?;
    let gone: u64 = ledger.values().sum();
    ensure!(gone + kept == conversations.len() as u64, "a conversation was lost");
    let list = |counts: Vec<String>| if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    let removed_by = list(ledger.iter().map(|(by, count)| format!("{count} by {by}")).collect());
    let topics_text = list(topics.iter().map(|(topic, count)| format!("{count} {topic}")).collect());
    let embeddings = if clusters == 0 { "not asked for".to_owned() } else { args.embed.name() };
    let summary = format!(
        "{} conversations, {kept} kept; removed: {removed_by}\nquality: {}\ndeduplication: {embeddings}, {clusters} \
         clusters\ntopics of what is kept ({}): {topics_text}",
        conversations.len(),
        signals.describe(),
        signals.topics_by()
    );
    let figures = json!({
        "embeddings": embeddings, "clusters": clusters, "conversations": conversations.len(), "kept": kept,
        "removed": ledger, "topics": topics, "unjudged": signals.unjudged, "unscored": signals.unscored,
    });
    session.finish(&["kept.jsonl", "removed.jsonl"], &summary, figures)?;
    println!("{summary}\nwritten: {}", args.output.display());
    Ok(())
}
