//! `herd pretrain probe`: measures the value of a data set (the Llama 3 paper, section 3.4.3, after Blakeney et al. 2024).
//!
//! A half-trained model is annealed once on the default mix, and once for each candidate on 30% of the candidate and 70% of the default
//! mix. The differences of the held-out losses, paired by row of held-out text, show the candidate's contribution.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use llama::device::{self, Compute};
use pretrain_stream::corpus;
use run::{Facts, Input, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use trainer::TrainSettings;
use trainer::stage::{Class, Flags, Resolved, StageConfig, Training};

use crate::anneal::Anneal;
use crate::command::anneal;
use crate::config::Config;
use crate::losses::{HeldOutText, Row, Words, differences, page, rows, table};

/// The name of the run without a candidate.
const DEFAULT: &str = "default";
/// The file with the differences.
const TABLE: &str = "probe.json";
/// The folder of the runs.
const RUNS: &str = "runs";
/// The terms of the table.
const WORDS: Words = Words { title: "What data are worth", name: "candidate", base: "default", loss: "with it" };

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

/// Runs the probe, or resumes it.
///
/// # Errors
/// The same as [`trainer::stage::run`].
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
        // One by one, because two candidates may share shards.
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
        let Config { eval_data, eval_tokens, cross_documents, dtype, device, output, .. } = &trial.config.config;
        let text = HeldOutText {
            shards: eval_data,
            length: trial.config.config.course()?.longest(),
            tokens: *eval_tokens,
            cross_documents: *cross_documents,
        };
        let compute = Compute { dtype: *dtype, device: *device, threads: None };
        measured.push((name, rows(&text, &output.join("model"), &compute)?));
    }
    let sources: Vec<String> =
        corpus::open(&config.eval_data, window)?.iter().map(|source| source.name.clone()).collect();
    let found = differences(&measured, &sources);
    let text = table(&WORDS, &found);
    let folder = session.folder();
    dataset::write_file(folder.join(TABLE), (serde_json::to_string_pretty(&found)? + "\n").as_bytes())?;
    page(&WORDS, &found).write(&folder.join("report.html"))?;
    session.finish(&[TABLE], &text, json!({"differences": found}))?;
    println!("\n{text}");
    Ok(())
}

/// The class of a key: that of annealing, otherwise that of every training stage.
fn class(key: &str) -> Class {
    Training::class(key).unwrap_or_else(|| Probe::class(key))
}

/// The shards of the default mix and of the candidates.
fn shards(probe: &Probe) -> anyhow::Result<Vec<PathBuf>> {
    let (mut paths, _) = probe.anneal.config.sources()?;
    paths.extend(probe.candidates()?.iter().map(|(_, shards)| PathBuf::from(shards)));
    Ok(paths)
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
}
