//! Makes a guard from labelled records: divides them, trains the tiers, weights them and sets the threshold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::digest;
use run::{Class, Facts, Flags, Input, Resolved, Session};
use safety_text::policy::{Applies, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_quality::normal::collapsed;

use crate::card::{CARD, Card, LINEAR, POLICY, Rates, Trained, policy_toml};
use crate::fusion::{Fusion, Tiers, probability, threshold_at};
use crate::guard::{Guard, Scorer};
use crate::linear::{C, Linear};
use crate::prompt::Format;
use crate::record::{Asked, Labelled, read};
use crate::split;

/// The file with digests of the texts that a guard was trained or calibrated on, so that it is not measured on them.
pub const SEEN: &str = "seen.txt";
/// Maximum number of problems of a kind that a message names.
const NAMED: usize = 5;

/// The keys that all guards share.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Policy file, or the name of a built-in policy
    #[arg(long, help_heading = "Guard")]
    pub policy: String,
    /// Labelled records to hold out for calibration: they set the weights of the tiers and the threshold
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Guard")]
    pub calibrate: Vec<PathBuf>,
    /// Share of the groups of --data that is held out too
    #[arg(long, help_heading = "Guard")]
    pub calibrate_share: f64,
    /// Labelled records for later measurements; a record that is also in --data is an error
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Guard")]
    pub test_data: Vec<PathBuf>,
    /// Leave records out of training that are in --test-data, or near copies of such records
    #[arg(long, help_heading = "Guard")]
    pub drop_overlap: bool,
    /// Train even if all records have the same label, or all records of a language or a length are unsafe
    #[arg(long, help_heading = "Guard")]
    pub allow_unbalanced: bool,
    /// Share of plain safe texts that may be flagged; it sets the threshold
    #[arg(long, help_heading = "Guard")]
    pub fpr: f64,
    /// Share of safe texts from --borderline-sources that may be flagged; the higher of the two thresholds is used
    #[arg(long, help_heading = "Guard")]
    pub borderline_fpr: f64,
    /// Sources of borderline texts: safe texts that look unsafe
    #[arg(long, num_args = 1.., value_name = "SOURCE", help_heading = "Guard")]
    pub borderline_sources: Vec<String>,
    /// Inverse strength of the linear tier's penalty on weights
    #[arg(long, help_heading = "Guard")]
    pub c: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: "herd-14".into(),
            calibrate: Vec::new(),
            calibrate_share: 0.15,
            test_data: Vec::new(),
            drop_overlap: false,
            allow_unbalanced: false,
            fpr: 0.02,
            borderline_fpr: 0.15,
            borderline_sources: vec!["contrast".into()],
            c: C,
        }
    }
}

impl Options {
    /// Checks the keys.
    ///
    /// # Errors
    /// When a key is invalid; the error names the flag.
    pub fn check(&self) -> anyhow::Result<()> {
        for (flag, share) in [("--fpr", self.fpr), ("--borderline-fpr", self.borderline_fpr)] {
            ensure!((0.0..1.0).contains(&share), "{flag} is {share}; it must be at least 0 and below 1");
        }
        let share = self.calibrate_share;
        ensure!((0.0..=0.9).contains(&share), "--calibrate-share is {share}; it must lie between 0 and 0.9");
        ensure!(
            share > 0.0 || !self.calibrate.is_empty(),
            "nothing is held out to set a threshold on; give --calibrate, or a --calibrate-share above 0"
        );
        ensure!(self.c > 0.0 && self.c.is_finite(), "--c is {}; it must be more than 0", self.c);
        Ok(())
    }

    /// The input files other than `--data`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        let mut inputs = Vec::new();
        for (key, files) in [("calibrate", &self.calibrate), ("test_data", &self.test_data)] {
            for file in files {
                inputs.push(Input::file(key, file)?);
            }
        }
        if !safety_text::policy::BUILTIN.contains(&self.policy.as_str()) {
            inputs.push(Input::file("policy", Path::new(&self.policy))?);
        }
        Ok(inputs)
    }
}

/// The records, divided into training and calibration.
#[derive(Debug)]
pub struct Plan {
    /// The policy.
    pub policy: Policy,
    /// The training records.
    pub train: Vec<Labelled>,
    /// The records that set the tiers' weights and the threshold.
    pub calibrate: Vec<Labelled>,
    /// What was done with the records, as sentences to print.
    pub account: Vec<String>,
}

impl Plan {
    /// Reads the records and divides them.
    ///
    /// # Errors
    /// When a record is invalid or is in `--test-data` too, when all records have the same label, or when none is left for the threshold.
    pub fn load(data: &[PathBuf], seed: u64, options: &Options) -> anyhow::Result<Self> {
        ensure!(!data.is_empty(), "--data is missing: files of labelled records");
        let policy = Policy::load(&options.policy)?;
        let mut account = Vec::new();
        let mut records = read(data, &policy)?;
        account.push(format!("{} records of --data, {} of them unsafe", records.len(), unsafe_of(&records)));
        if !options.test_data.is_empty() {
            let test = read(&options.test_data, &policy)?;
            let gone = retain(&mut records, &test);
            ensure!(
                gone.is_empty() || options.drop_overlap,
                "{} records of --data are in --test-data too, in a group or as near copies: {}; --drop-overlap leaves them out",
                gone.len(),
                some(&gone)
            );
            account.push(format!("{} records left out of --data, since they are in --test-data too", gone.len()));
        }
        let all: Vec<&Labelled> = records.iter().collect();
        let groups = split::groups(&all);
        let out = split::held_out(&all, &groups, options.calibrate_share, seed);
        let distinct: BTreeSet<usize> = groups.iter().copied().collect();
        let (mut train, mut calibrate) = (Vec::new(), Vec::new());
        for (record, out) in records.into_iter().zip(out) {
            if out { calibrate.push(record) } else { train.push(record) }
        }
        account.push(format!(
            "{} groups; {} records held out by --calibrate-share, {} trained on",
            distinct.len(),
            calibrate.len(),
            train.len()
        ));
        if !options.calibrate.is_empty() {
            let mut more = read(&options.calibrate, &policy)?;
            let all = more.len();
            let gone = retain(&mut more, &train);
            account.push(format!(
                "{} of {all} records of --calibrate left out, since they are trained on too",
                gone.len()
            ));
            calibrate.extend(more);
        }
        let problems = split::unbalanced(&train.iter().collect::<Vec<_>>());
        ensure!(
            problems.is_empty() || options.allow_unbalanced,
            "{}: the guard would learn that instead of what is meant. Add safe records of the same kind, or --allow-unbalanced",
            problems.join("; ")
        );
        account.extend(problems.into_iter().map(|problem| format!("warning: {problem}")));
        Ok(Self { policy, train, calibrate, account })
    }

    /// Trains the linear tier.
    #[must_use]
    pub fn linear(&self, c: f64) -> Linear {
        Linear::train(&self.train.iter().collect::<Vec<_>>(), c)
    }

    /// The counts by label, category and source.
    #[must_use]
    pub fn trained(&self) -> Trained {
        let mut trained = Trained::default();
        for record in &self.train {
            let side = match record.asked.side() {
                Applies::Prompt => &mut trained.prompts,
                Applies::Response => &mut trained.responses,
            };
            let source = trained.sources.entry(record.source.clone()).or_default();
            for counts in [side, source] {
                counts.0 += 1;
                counts.1 += usize::from(record.is_unsafe);
            }
            if record.is_unsafe && record.categories.is_empty() {
                *trained.categories.entry("unknown".into()).or_default() += 1;
            }
            for id in &record.categories {
                *trained.categories.entry(id.clone()).or_default() += 1;
            }
        }
        trained
    }
}

fn unsafe_of(records: &[Labelled]) -> usize {
    records.iter().filter(|record| record.is_unsafe).count()
}

/// Removes the records that share a group with `others` or are near copies of them; returns their ids.
fn retain(records: &mut Vec<Labelled>, others: &[Labelled]) -> Vec<String> {
    let is_in = split::overlapping(&records.iter().collect::<Vec<_>>(), &others.iter().collect::<Vec<_>>());
    let mut gone = Vec::new();
    let mut place = is_in.into_iter();
    records.retain(|record| {
        let is_in = place.next().unwrap_or(false);
        if is_in {
            gone.push(record.id.clone());
        }
        !is_in
    });
    gone
}

fn some(ids: &[String]) -> String {
    let more = if ids.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", ids[..ids.len().min(NAMED)].join(", "))
}

/// Fits the tiers' weights, sets the threshold, and writes the guard's files into `folder`, the card last. Returns a summary.
///
/// # Errors
/// When the held-out records have only one label or no plain safe record, when the language model is not a guard, or when a file cannot
/// be written.
pub fn finish(
    folder: &Path,
    plan: &Plan,
    options: &Options,
    linear: Linear,
    model: Option<Box<dyn Scorer>>,
    format: Format,
) -> anyhow::Result<String> {
    let has_model = model.is_some();
    let bytes = linear.to_bytes();
    let unweighed = Fusion { bias: 0.0, linear: 1.0, model: f64::from(u8::from(has_model)) };
    let mut guard = Guard::new(String::new(), plan.policy.clone(), 0.5, unweighed, Some(linear), model);
    let asked: Vec<&Asked> = plan.calibrate.iter().map(|record| &record.asked).collect();
    let tiers: Vec<(Tiers, bool)> = guard
        .tiers(&asked)?
        .into_iter()
        .zip(&plan.calibrate)
        .map(|((tiers, _), record)| (tiers, record.is_unsafe))
        .collect();
    let fusion = Fusion::fit(&tiers).context("--calibrate and --calibrate-share")?;
    let scores: Vec<f64> = tiers.iter().map(|(tiers, _)| fusion.log_odds(*tiers)).collect();
    let of = |is: &dyn Fn(&Labelled) -> bool| -> Vec<f64> {
        plan.calibrate.iter().zip(&scores).filter(|(record, _)| is(record)).map(|(_, score)| *score).collect()
    };
    let is_borderline = |record: &Labelled| options.borderline_sources.contains(&record.source);
    let plain = of(&|record| !record.is_unsafe && !is_borderline(record));
    let borderline = of(&|record| !record.is_unsafe && is_borderline(record));
    let unsafe_ = of(&|record| record.is_unsafe);
    ensure!(
        !plain.is_empty(),
        "no plain safe record is held out, and the threshold would have nothing to go by; raise --calibrate-share, or give \
         such records in --calibrate"
    );
    let threshold = threshold_at(&plain, options.fpr).max(threshold_at(&borderline, options.borderline_fpr));
    let flagged = |scores: &[f64]| (scores.len(), scores.iter().filter(|score| **score >= threshold).count());
    let rates = Rates {
        fpr: options.fpr,
        borderline_fpr: options.borderline_fpr,
        borderline: options.borderline_sources.clone(),
        plain: flagged(&plain),
        borderline_safe: flagged(&borderline),
        unsafe_: flagged(&unsafe_),
    };
    let card = Card {
        version: 1,
        policy: plan.policy.name.clone(),
        policy_sha256: plan.policy.digest(),
        format,
        has_model,
        threshold: probability(threshold),
        rates,
        fusion,
        trained: plan.trained(),
    };
    dataset::write_file(folder.join(LINEAR), &bytes)?;
    dataset::write_file(folder.join(POLICY), policy_toml(&plan.policy).as_bytes())?;
    let seen: BTreeSet<String> = plan.train.iter().chain(&plan.calibrate).map(|record| seen(&record.asked)).collect();
    dataset::write_file(folder.join(SEEN), (seen.into_iter().collect::<Vec<_>>().join("\n") + "\n").as_bytes())?;
    card.write(folder)?;
    Ok(summary(&card, plan))
}

/// The digest of a judged text, ignoring case and spaces.
#[must_use]
pub fn seen(asked: &Asked) -> String {
    digest::bytes(collapsed(asked.text()).as_bytes())[..32].to_owned()
}

fn summary(card: &Card, plan: &Plan) -> String {
    let share = |(all, flagged): (usize, usize)| match all {
        0 => "none".to_owned(),
        _ => format!("{flagged} of {all} ({})", stats::proportion(flagged, all).percent()),
    };
    let mut lines = plan.account.clone();
    let categories: Vec<String> = card.trained.categories.iter().map(|(id, count)| format!("{id} {count}")).collect();
    lines.push(format!("unsafe records by category: {}", categories.join(", ")));
    let Fusion { bias, linear, model } = card.fusion;
    lines.push(format!("log-odds: {bias:.3} + {linear:.3} * linear tier + {model:.3} * language model"));
    lines.push(format!("threshold {:.4}: flagged of the held-out records", card.threshold));
    lines.push(format!("  plain safe {} (asked for: at most {})", share(card.rates.plain), card.rates.fpr));
    let borderline = share(card.rates.borderline_safe);
    lines.push(format!("  borderline safe {borderline} (asked for: at most {})", card.rates.borderline_fpr));
    lines.push(format!("  unsafe {}", share(card.rates.unsafe_)));
    lines.join("\n")
}

/// The configuration of a guard with only a linear tier.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearConfig {
    /// Files of labelled records
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// The guard's folder
    #[arg(long)]
    pub output: PathBuf,
    /// Seed of the held-out selection
    #[arg(long)]
    pub seed: u64,
    /// The keys that all guards share.
    #[command(flatten)]
    #[serde(flatten)]
    pub options: Options,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { data: Vec::new(), output: "runs/guard".into(), seed: 0, options: Options::default() }
    }
}

/// Makes a guard with only a linear tier. The same command gives the same bytes.
///
/// # Errors
/// See [`Plan::load`] and [`finish`]; also when the folder belongs to another run.
pub fn run(flags: &Flags<LinearConfig>) -> anyhow::Result<()> {
    let resolved = flags.resolve()?;
    run_linear(&resolved, &resolved.config, flags.dry_run)
}

/// The same for a command with more keys: `resolved` is recorded, `config` is used.
///
/// # Errors
/// See [`run`].
pub fn run_linear<C: Serialize>(resolved: &Resolved<C>, config: &LinearConfig, dry_run: bool) -> anyhow::Result<()> {
    config.options.check()?;
    if dry_run {
        let plan = Plan::load(&config.data, config.seed, &config.options)?;
        println!("{}\n\nConfiguration\n{}", plan.account.join("\n"), resolved.table()?);
        return Ok(());
    }
    let mut inputs = config.options.inputs()?;
    for file in &config.data {
        inputs.push(Input::file("data", file)?);
    }
    let facts = Facts {
        seed: Some(config.seed),
        inputs,
        ..Facts::new("safety guard train", |key| if key == "output" { Class::Free } else { Class::Course })
    };
    let Some(mut session) = Session::open(&config.output, resolved, facts)? else { return Ok(()) };
    let plan = Plan::load(&config.data, config.seed, &config.options)?;
    session.start(Value::Null)?;
    let linear = plan.linear(config.options.c);
    let summary = finish(&config.output, &plan, &config.options, linear, None, Format::Herd)?;
    let counts: BTreeMap<&str, usize> =
        [("train", plan.train.len()), ("calibrate", plan.calibrate.len())].into_iter().collect();
    session.finish(&[LINEAR, POLICY, SEEN, CARD], &summary, json!({"records": counts}))?;
    println!("{summary}\nwritten: {}", config.output.display());
    Ok(())
}
