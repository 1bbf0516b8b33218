//! `herd pretrain probe`: what a set of data is worth (the Llama 3 paper, section 3.4.3, after Blakeney et al. 2024).
//!
//! A half-trained model is annealed once on the default mix, and once for each candidate on 30% of the candidate and 70% of the
//! default mix. The differences of the held-out losses say what the candidate adds. They are paired by row of held-out text.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use llama::Llama;
use llama::device::{self, Compute};
use pretrain_stream::corpus::{self, Expected, Source};
use pretrain_stream::plan::Plan;
use pretrain_stream::reader::Reader;
use run::{Cell, Column, Facts, Input, Page, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stats::Estimate;
use trainer::stage::{Class, Flags, Resolved, StageConfig, Training};
use trainer::{TrainSettings, World, evaluate};

use crate::anneal::Anneal;
use crate::command::anneal;
use crate::config::Config;
use crate::held_out::HeldOut;
use crate::objective::{Names, PretrainObjective, Windows};

/// The name of the run without a candidate.
const DEFAULT: &str = "default";
/// The file with the differences.
const TABLE: &str = "probe.json";
/// The folder of the runs.
const RUNS: &str = "runs";

/// The keys of annealing, and the candidates.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The keys of annealing; `data` is the default mix.
    #[command(flatten)]
    #[serde(flatten)]
    pub anneal: Anneal,
    /// A set of data to try, as NAME=SHARDS. Repeatable
    #[arg(long, num_args = 1.., value_name = "NAME=SHARDS", help_heading = "Data")]
    pub candidate: Vec<String>,
    /// Share of the tokens that a candidate gets; the default mix gets the rest
    #[arg(long, help_heading = "Data")]
    pub candidate_share: f64,
}

impl Default for Probe {
    fn default() -> Self {
        Self { anneal: Anneal::default(), candidate: Vec::new(), candidate_share: 0.3 }
    }
}

impl StageConfig for Probe {
    fn training(&self) -> &Training {
        self.anneal.training()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.anneal.check()?;
        let share = self.candidate_share;
        ensure!(share > 0.0 && share < 1.0, "--candidate-share is {share}; it must be between 0 and 1");
        let config = &self.anneal.config;
        ensure!(!config.eval_data.is_empty(), "--eval-data is missing: a probe compares losses on held-out text");
        ensure!(
            config.reweight.is_empty(),
            "--reweight does not go with a probe: the candidate's share is the same all the time"
        );
        self.candidates().map(drop)
    }

    fn class(key: &str) -> Class {
        Anneal::class(key)
    }

    fn adjust(&self, settings: &mut TrainSettings) {
        self.anneal.adjust(settings);
    }
}

impl Probe {
    /// Names and shards of the candidates.
    fn candidates(&self) -> anyhow::Result<Vec<(&str, &str)>> {
        ensure!(!self.candidate.is_empty(), "--candidate is missing: name shards to try, as code=shards/code");
        let mut found: Vec<(&str, &str)> = Vec::new();
        for text in &self.candidate {
            let (name, shards) =
                text.split_once('=').with_context(|| format!("--candidate {text}: write NAME=SHARDS"))?;
            let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            ensure!(
                is_plain && name != DEFAULT,
                "--candidate {text}: a name has letters, digits, - and _, and is not {DEFAULT}"
            );
            ensure!(found.iter().all(|(other, _)| *other != name), "--candidate {text}: the name comes twice");
            found.push((name, shards));
        }
        Ok(found)
    }

    /// The annealing run of a candidate, or of the default mix.
    fn trial(&self, name: &str, candidate: Option<&str>) -> anyhow::Result<Anneal> {
        let mut anneal = self.anneal.clone();
        anneal.config.output = self.anneal.config.output.join(RUNS).join(name);
        if let Some(shards) = candidate {
            let (paths, weights) = self.anneal.config.sources()?;
            let sum: f64 = weights.iter().sum();
            let rest = 1.0 - self.candidate_share;
            anneal.config.data = (paths.iter().zip(weights))
                .map(|(path, weight)| format!("{}:{}", path.display(), weight / sum * rest))
                .chain([format!("{shards}:{}", self.candidate_share)])
                .collect();
        }
        Ok(anneal)
    }
}

/// Runs the probe, or goes on where it was stopped.
///
/// # Errors
/// As [`trainer::stage::run`].
pub fn run(flags: &Flags<Probe>) -> anyhow::Result<()> {
    let resolved = flags.resolve()?;
    let probe = &resolved.config;
    probe.check()?;
    ensure!(
        distributed::Place::from_env()?.is_none(),
        "a probe runs in one process: start it without a launcher, or run its annealing runs by themselves"
    );
    let mut trials = vec![(DEFAULT, probe.trial(DEFAULT, None)?)];
    for (name, shards) in probe.candidates()? {
        trials.push((name, probe.trial(name, Some(shards))?));
    }
    if flags.dry_run {
        print!("Configuration\n{}", resolved.table()?);
        for (name, trial) in &trials {
            println!("{name}: {}", trial.config.data.join(" "));
        }
        return Ok(());
    }
    let config = &probe.anneal.config;
    let mut inputs = vec![Input::model("model", &llama::locate::locate(&config.model.to_string_lossy())?)?];
    let window = config.course()?.window();
    let data = shards(probe)?.into_iter().map(|path| ("data", path));
    for (key, path) in data.chain(config.eval_data.iter().map(|path| ("eval_data", path.clone()))) {
        // One by one: two candidates may share shards.
        for shard in corpus::open(&[path], window)?.iter().flat_map(|source| &source.shards) {
            inputs.push(Input::file(key, format!("{}.json", shard.path.display()).as_ref())?);
        }
    }
    let facts = Facts {
        seed: Some(config.seed),
        inputs,
        libtorch: Some(device::LIBTORCH),
        ..Facts::new("pretrain probe", class)
    };
    let Some(mut session) = Session::open(&config.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let mut measured: Vec<(&str, Vec<Row>)> = Vec::new();
    for (name, trial) in trials {
        println!("\n{name}: {}", trial.config.data.join(" "));
        let mut trial = Resolved { config: trial, origins: Default::default(), defaults: Map::new() };
        anneal(&mut trial, false)?;
        measured.push((name, rows(&trial.config.config)?));
    }
    let sources: Vec<String> =
        corpus::open(&config.eval_data, window)?.iter().map(|source| source.name.clone()).collect();
    let deltas = deltas(&measured, &sources);
    let text = table(&deltas);
    let folder = session.folder();
    dataset::write_file(folder.join(TABLE), (serde_json::to_string_pretty(&deltas)? + "\n").as_bytes())?;
    page(&deltas).write(&folder.join("report.html"))?;
    session.finish(&[TABLE], &text, json!({"deltas": deltas}))?;
    println!("\n{text}");
    Ok(())
}

/// As in every training stage, and beyond that as annealing.
fn class(key: &str) -> Class {
    Training::class(key).unwrap_or_else(|| Probe::class(key))
}

/// The shards of the default mix and of the candidates.
fn shards(probe: &Probe) -> anyhow::Result<Vec<PathBuf>> {
    let (mut paths, _) = probe.anneal.config.sources()?;
    paths.extend(probe.candidates()?.iter().map(|(_, shards)| PathBuf::from(shards)));
    Ok(paths)
}

/// The loss on a row of held-out text.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    source: usize,
    /// `Σ nll`, in nats.
    nll: f64,
    tokens: u64,
}

/// The losses of a run's result on the rows of the held-out text, in order.
fn rows(config: &Config) -> anyhow::Result<Vec<Row>> {
    let course = config.course()?;
    let window = course.window();
    // The runs have compared tokenizer, ids and digests.
    let expected = Expected { tokenizer: None, vocabulary: u64::MAX, digests: false };
    let held_out = HeldOut::open(&config.eval_data, course.longest(), config.eval_tokens, expected)?;
    let sources = corpus::open(&config.sources()?.0, window)?;
    let plan = Plan::new(course, sources.iter().map(Source::windows).collect()).map_err(anyhow::Error::msg)?;
    let (device, kind) = Compute { dtype: config.dtype, device: config.device, threads: None }.resolve()?;
    let model = Llama::load(&config.output.join("model"), Some(kind), device)?;
    let of: Vec<usize> = held_out.sources().collect();
    let objective = PretrainObjective {
        names: sources.iter().map(|source| Names::of(&source.name)).collect(),
        windows: Arc::new(Windows {
            plan,
            reader: Reader::new(sources),
            micro_batch_tokens: config.micro_batch_tokens as u64,
            cross_documents: config.cross_documents,
            device,
        }),
        held_out: Some(held_out),
        z_loss: 0.0,
    };
    let mut rows = Vec::with_capacity(of.len());
    let world = World::single();
    let held_out = objective.held_out.as_ref().context("held-out text")?;
    for (source, batch) in of.into_iter().zip(held_out.batches(1, config.cross_documents, device)) {
        // A row of one token predicts nothing.
        if let Some(found) = evaluate(&objective, &model, &world, [batch?])? {
            rows.push(Row { source, nll: found.loss * found.tokens as f64, tokens: found.tokens });
        }
    }
    Ok(rows)
}

/// The difference of a candidate to the default mix on a held-out source.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Delta {
    candidate: String,
    /// The held-out source; empty for all together.
    source: String,
    /// Held-out loss after the default mix, in nats per token.
    default: f64,
    /// The same with the candidate.
    loss: f64,
    /// Their difference; below 0 the candidate helps.
    delta: Estimate,
}

impl Delta {
    fn verdict(&self) -> &'static str {
        match () {
            () if self.delta.high < 0.0 => "better",
            () if self.delta.low > 0.0 => "worse",
            () => "no difference shown",
        }
    }
}

fn deltas(measured: &[(&str, Vec<Row>)], sources: &[String]) -> Vec<Delta> {
    let Some(((_, default), candidates)) = measured.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    let each = (0..sources.len()).filter(|_| sources.len() > 1).map(Some);
    let groups: Vec<Option<usize>> = std::iter::once(None).chain(each).collect();
    for (name, rows) in candidates {
        for group in &groups {
            let pairs = || default.iter().zip(rows).filter(|(row, _)| group.is_none_or(|group| row.source == group));
            let mean = |of: fn(&(&Row, &Row)) -> f64| {
                let (nll, tokens) = pairs().fold((0.0, 0), |sum, pair| (sum.0 + of(&pair), sum.1 + pair.0.tokens));
                nll / tokens.max(1) as f64
            };
            let items: Vec<(f64, f64)> =
                pairs().map(|(default, row)| (row.nll - default.nll, row.tokens as f64)).collect();
            all.push(Delta {
                candidate: (*name).to_owned(),
                source: group.map_or(String::new(), |group| sources[group].clone()),
                default: mean(|(default, _)| default.nll),
                loss: mean(|(_, row)| row.nll),
                delta: stats::ratio(&items),
            });
        }
    }
    all
}

/// What the interval covers.
const NOTE: &str =
    "In brackets: 95% interval over rows of held-out text. It does not cover another seed of the training.";

fn cells(delta: &Delta) -> [String; 6] {
    let source = if delta.source.is_empty() { "all" } else { &delta.source };
    let Estimate { value, low, high, .. } = delta.delta;
    [
        delta.candidate.clone(),
        source.to_owned(),
        format!("{:.4}", delta.default),
        format!("{:.4}", delta.loss),
        format!("{value:+.4} [{low:+.4}, {high:+.4}]"),
        delta.verdict().to_owned(),
    ]
}

const HEADINGS: [&str; 6] = ["candidate", "held out", "default", "with it", "difference", "verdict"];

fn table(deltas: &[Delta]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(deltas.iter().map(cells));
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    format!("{}\n{NOTE}", rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn page(deltas: &[Delta]) -> Page {
    let mut page = Page::new("What data are worth");
    let columns = HEADINGS.map(Column::text).to_vec();
    page.table(columns, deltas.iter().map(|delta| cells(delta).map(Cell::from).to_vec()).collect()).paragraph(NOTE);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_gives_the_candidate_its_share() {
        let mut probe = Probe { candidate: vec!["code=shards/code".into()], ..Probe::default() };
        probe.anneal.config.data = vec!["text:3".into(), "books:1".into()];
        probe.anneal.config.output = "out".into();
        let trial = probe.trial("code", Some("shards/code")).unwrap().config;
        assert_eq!(trial.output, PathBuf::from("out/runs/code"));
        let (paths, weights) = trial.sources().unwrap();
        assert_eq!(paths, ["text", "books", "shards/code"].map(PathBuf::from));
        for (weight, expected) in weights.iter().zip([0.525, 0.175, 0.3]) {
            assert!((weight - expected).abs() < 1e-12, "{weights:?}");
        }
        assert_eq!(probe.trial(DEFAULT, None).unwrap().config.data, ["text:3", "books:1"]);
        for (text, sentence) in
            [("code", "write NAME=SHARDS"), ("default=x", "is not default"), ("a b=x", "a name has letters")]
        {
            probe.candidate = vec![text.into()];
            assert!(probe.candidates().unwrap_err().to_string().contains(sentence), "{text}");
        }
    }

    #[test]
    fn differences_are_paired_by_row() {
        let row = |source: usize, nll: f64| Row { source, nll, tokens: 10 };
        // The rows differ much more from each other than the runs do.
        let default: Vec<Row> = (0..40).map(|at| row(at % 2, 10.0 + f64::from(at as u32))).collect();
        let better: Vec<Row> = default
            .iter()
            .enumerate()
            .map(|(at, row)| Row { nll: row.nll - 1.0 - (at % 3) as f64 / 10.0, ..*row })
            .collect();
        let sources = ["a".to_owned(), "b".to_owned()];
        let found = deltas(&[("default", default.clone()), ("good", better), ("same", default)], &sources);
        assert_eq!(found.len(), 6);
        assert_eq!(
            (found[0].candidate.as_str(), found[0].source.as_str(), found[2].source.as_str()),
            ("good", "", "b")
        );
        assert!((found[0].delta.value + 0.1098).abs() < 1e-3 && found[0].delta.high < -0.1, "{:?}", found[0]);
        assert!((found[0].loss - found[0].default - found[0].delta.value).abs() < 1e-12);
        let verdicts: Vec<&str> = found.iter().map(Delta::verdict).collect();
        assert_eq!(
            verdicts,
            ["better", "better", "better", "no difference shown", "no difference shown", "no difference shown"]
        );
        let text = table(&found);
        assert!(text.contains("candidate  held out  default") && text.contains("good       all"), "{text}");
    }
}
