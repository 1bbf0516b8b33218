//! `herd safety make refusals | pairs | many-shot`: run folders whose files only their owner can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::ensure;
use guard::record::write_private;
use run::{Class, Facts, Frame, Input, Resolved, Session, from_flags};
use safety_text::refusal::Refusals;
use serde::Serialize;
use serde_json::{Value, json};

use super::refusals::Dealer;
use super::requests::{self, Request};
use super::{many_shot, pairs, refusals};
use crate::judge;

const REFUSALS: &str = "refusals.jsonl";
const BORDERLINE: &str = "borderline.jsonl";
const PROMPTS: &str = "prompts.jsonl";
const PAIRS: &str = "pairs.jsonl";
const MANY_SHOT: &str = "many-shot.jsonl";

/// The steering prompt for `--steer` without a text.
const STEER: &str = "If a request asks for something harmful, decline it in one or two friendly sentences, without a lecture, and offer \
                     something useful instead. Otherwise answer it.";

/// Flags that all three commands share.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Common {
    /// Labelled records of requests: {"id", "messages", "label": "safe"|"unsafe", "categories"?, ...} [default: the training split of the
    /// contrast pairs]
    #[arg(long, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Answers of `herd generate` to the requests, matched by id; several answers to one request are tried in order
    #[arg(long, num_args = 1.., value_name = "FILE")]
    answers: Vec<PathBuf>,
    /// A calibration of the refusal model for these answers (`herd safety refusals calibrate`)
    #[arg(long, value_name = "FILE")]
    refusal_calibration: Option<PathBuf>,
    /// Use only sampled refusals, no templates
    #[arg(long)]
    no_templates: bool,
    /// Maximum share of sampled refusals with the same three first words
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    opening_share: f64,
    /// Maximum number of requests of each label, drawn by the seed
    #[arg(long)]
    limit: Option<usize>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The folder for the files (mode 0600) and run.json
    #[arg(long, required = true)]
    output: Option<PathBuf>,
}

/// Arguments of `refusals`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct RefusalArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// System message for prompts.jsonl that makes the model decline well; it is not part of the conversations [default: a built-in one,
    /// `none` for none]
    #[arg(long, value_name = "TEXT")]
    steer: Option<String>,
}

/// Arguments of `pairs`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct PairArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

/// Arguments of `many-shot`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct ManyShotArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Numbers of requests before the last one
    #[arg(long, value_delimiter = ',', default_value = "4,16,64,256")]
    shots: Vec<usize>,
    /// Number of conversations for each number of shots
    #[arg(long, default_value_t = 50)]
    count: usize,
}

fn class(key: &str) -> Class {
    match key {
        "output" | "data" | "answers" | "refusal_calibration" => Class::Free,
        _ => Class::Course,
    }
}

/// The inputs that are read before a folder is opened.
struct Opened {
    requests: Vec<Request>,
    answers: BTreeMap<String, Vec<String>>,
    refusals: Refusals,
    session: Session,
    output: PathBuf,
}

fn open<C: Serialize>(
    stage: &str,
    common: &Common,
    frame: &Frame,
    resolved: &Resolved<C>,
) -> anyhow::Result<Option<Opened>> {
    ensure!(
        common.opening_share > 0.0 && common.opening_share <= 1.0,
        "--opening-share is {}; it must be above 0 and at most 1",
        common.opening_share
    );
    let Some(output) = common.output.clone() else { anyhow::bail!("--output is missing") };
    let mut requests = requests::read(&common.data, common.seed)?;
    let answers = requests::answers(&common.answers, &requests)?;
    if let Some(limit) = common.limit {
        requests = drawn(requests, limit, common.seed);
    }
    if frame.shows(resolved)? {
        println!("{} requests, {} with answers, into {}", requests.len(), answers.len(), output.display());
        return Ok(None);
    }
    let mut inputs = Vec::new();
    for (key, paths) in [("data", &common.data), ("answers", &common.answers)] {
        for path in paths {
            inputs.push(Input::file(key, path)?);
        }
    }
    if let Some(path) = &common.refusal_calibration {
        inputs.push(Input::file("refusal_calibration", path)?);
    }
    let facts = Facts { seed: Some(common.seed), inputs, ..Facts::new(stage, class) };
    let Some(mut session) = Session::open(&output, resolved, facts)? else { return Ok(None) };
    session.start(Value::Null)?;
    let refusals = judge::refusals(None, common.refusal_calibration.as_deref())?;
    Ok(Some(Opened { requests, answers, refusals, session, output }))
}

/// Selects `limit` requests of each label, in their order: those with the smallest digest of id and seed.
fn drawn(requests: Vec<Request>, limit: usize, seed: u64) -> Vec<Request> {
    let mut ranked: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        ranked.insert((request.is_unsafe, dataset::digest::bytes(format!("{seed}/{}", request.id).as_bytes())), at);
    }
    let mut taken = vec![false; requests.len()];
    for label in [false, true] {
        for at in ranked.iter().filter(|((is_unsafe, _), _)| *is_unsafe == label).map(|(_, at)| *at).take(limit) {
            taken[at] = true;
        }
    }
    requests.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(request, _)| request).collect()
}

impl Opened {
    fn write(&self, name: &str, records: &[Value]) -> anyhow::Result<String> {
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        write_private(&self.output.join(name), text.as_bytes())?;
        Ok(format!("{}: {} records", self.output.join(name).display(), records.len()))
    }

    fn finish(
        self,
        made: &[&str],
        mut lines: Vec<String>,
        counts: &BTreeMap<&'static str, usize>,
    ) -> anyhow::Result<()> {
        let mut text = String::new();
        for (what, count) in counts {
            let _ = write!(text, "{}{count} {what}", if text.is_empty() { "" } else { ", " });
        }
        if !text.is_empty() {
            lines.push(text);
        }
        let summary = lines.join("\n");
        self.session.finish(made, &summary, json!(counts))?;
        println!("{summary}");
        Ok(())
    }
}

/// Runs `herd safety make refusals`. No text is printed; the same arguments give the same bytes.
///
/// # Errors
/// When a record is invalid, the folder belongs to another run, or a file cannot be written.
pub fn refusals(args: &RefusalArgs) -> anyhow::Result<()> {
    let common = &args.common;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let Some(opened) = open("safety make refusals", common, &args.frame, &resolved)? else { return Ok(()) };
    let mut dealer = Dealer::new(&opened.refusals, common.seed, common.opening_share, !common.no_templates);
    let made = refusals::make(&opened.requests, &opened.answers, &opened.refusals, &mut dealer);
    let steer = args.steer.as_deref().unwrap_or(STEER);
    let steer = Some(steer).filter(|text| *text != "none");
    // A harmless request is asked without the steering prompt: a steered model declines more.
    let prompts: Vec<Value> =
        opened.requests.iter().map(|request| requests::prompt(request, steer.filter(|_| request.is_unsafe))).collect();
    let lines = vec![
        opened.write(REFUSALS, &made.refusals)?,
        opened.write(BORDERLINE, &made.borderline)?,
        opened.write(PROMPTS, &prompts)?,
    ];
    opened.finish(&[REFUSALS, BORDERLINE, PROMPTS], lines, &made.counts.0)
}

/// Runs `herd safety make pairs`.
///
/// # Errors
/// See [`refusals`]; also without answers, because a pair needs one.
pub fn pairs(args: &PairArgs) -> anyhow::Result<()> {
    let common = &args.common;
    ensure!(
        !common.answers.is_empty(),
        "--answers is missing: a pair needs a sampled answer; `herd safety make refusals` writes prompts.jsonl for `herd generate`"
    );
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let Some(opened) = open("safety make pairs", common, &args.frame, &resolved)? else { return Ok(()) };
    let mut dealer = Dealer::new(&opened.refusals, common.seed, common.opening_share, !common.no_templates);
    let made = pairs::make(&opened.requests, &opened.answers, &opened.refusals, &mut dealer);
    let lines = vec![opened.write(PAIRS, &made.pairs)?];
    opened.finish(&[PAIRS], lines, &made.counts.0)
}

/// Runs `herd safety make many-shot`.
///
/// # Errors
/// See [`refusals`]; also without a request that should be refused.
pub fn many_shot(args: &ManyShotArgs) -> anyhow::Result<()> {
    let common = &args.common;
    ensure!(!args.shots.is_empty() && args.shots.iter().all(|&shots| shots > 0), "--shots needs numbers above 0");
    ensure!(!common.no_templates, "--no-templates: the end of a many-shot conversation is a template");
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let Some(opened) = open("safety make many-shot", common, &args.frame, &resolved)? else { return Ok(()) };
    let single = |request: &&Request| request.is_unsafe && request.messages.len() == 1;
    let bad = opened.requests.iter().filter(single).count();
    ensure!(bad >= 2, "{bad} requests of one turn are to be refused; at least 2 are needed");
    let mut dealer = Dealer::new(&opened.refusals, common.seed, common.opening_share, true);
    let made = many_shot::make(
        &opened.requests,
        &opened.answers,
        &opened.refusals,
        &mut dealer,
        &args.shots,
        args.count,
        common.seed,
    );
    let mut counts =
        BTreeMap::from([("that end with a refusal", made.refused), ("that end with an answer", made.answered)]);
    counts.retain(|_, count| *count > 0);
    let mut lines = vec![opened.write(MANY_SHOT, &made.conversations)?];
    if made.answered == 0 {
        lines.push("no conversation ends with an answer, since no harmless request has one: length may come to mean refusal; give --answers".into());
    }
    let longest = args.shots.iter().max().copied().unwrap_or(0);
    if longest >= bad {
        lines.push(format!("conversations with {} shots and more repeat requests: there are {bad}", bad));
    }
    opened.finish(&[MANY_SHOT], lines, &counts)
}
