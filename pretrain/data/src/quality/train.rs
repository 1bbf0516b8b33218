//! `herd data classifier train`: trains a quality classifier, calibrates it, and measures it on held-out documents.
//!
//! The labels are a judge's scores, or the documents' sources: reference texts, such as pages that Wikipedia cites, against random
//! documents of a crawl.

use std::path::PathBuf;

use ::run::{Cell, Class, Column, Facts, Frame, Input, Page, Session, from_flags};
use anyhow::ensure;
use dataset::jsonl;
use serde::Serialize;
use serde_json::Value;

use super::judge::Verdict;
use super::measure::{Measured, measure};
use super::model::{Classifier, FILE};
use super::select::{key, select};

const REPORT: &str = "report.html";
const FIGURES: &str = "measured.json";
/// Number of wrongly scored documents of each kind in the report.
const SHOWN: usize = 8;

/// Arguments of `herd data classifier`.
#[derive(clap::Args)]
pub struct ClassifierArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Train a classifier on a judge's verdicts, or on reference documents against random ones
    Train(Box<Args>),
}

/// Runs `herd data classifier`.
///
/// # Errors
/// When an input cannot be read, the folder holds another run, or a file cannot be written.
pub fn classifier(args: &ClassifierArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Train(args) => run(args),
    }
}

/// Arguments of `herd data classifier train`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Verdicts of `herd data judge`: records with `text` and `score`
    #[arg(long, num_args = 1.., required_unless_present = "reference", conflicts_with_all = ["reference", "random"])]
    pub verdicts: Vec<PathBuf>,
    /// Minimum points of a good document
    #[arg(long, default_value_t = 3)]
    pub min_points: u64,
    /// Files of good documents: reference texts, such as pages that Wikipedia cites
    #[arg(long, num_args = 1.., requires = "random")]
    pub reference: Vec<PathBuf>,
    /// Files of random documents of the corpus
    #[arg(long, num_args = 1.., requires = "reference")]
    pub random: Vec<PathBuf>,
    /// Number of documents of each kind to draw by --seed
    #[arg(long, default_value_t = 100_000)]
    pub documents: usize,
    /// The folder for classifier.bin, report.html, measured.json and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// The name of the score in `meta` of a document
    #[arg(long, default_value = "quality")]
    pub name: String,
    /// Number of words of a document that are read
    #[arg(long, default_value_t = 1000)]
    pub max_words: usize,
    /// Inverse strength of the penalty
    #[arg(long, default_value_t = 10.0)]
    pub c: f64,
    /// Seed of the draw, and of the parts for training, calibration and measuring
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// A labelled document.
struct Row {
    id: String,
    text: String,
    is_good: bool,
}

/// The part of a row: 70% training, 15% calibration, 15% measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Calibrate,
    Measure,
}

impl Part {
    fn of(seed: u64, id: &str) -> Self {
        match key(seed ^ 0x7061_7274, id) % 100 {
            0..70 => Self::Train,
            70..85 => Self::Calibrate,
            _ => Self::Measure,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Calibrate => "calibration",
            Self::Measure => "measuring",
        }
    }
}

fn as_label(row: &Row) -> (&str, bool) {
    (&row.text, row.is_good)
}

fn class(key: &str) -> Class {
    // The files are compared by digest.
    if ["verdicts", "reference", "random", "output"].contains(&key) { Class::Free } else { Class::Course }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    ensure!(args.c > 0.0 && args.c.is_finite(), "--c is {}; it must be above 0", args.c);
    ensure!(args.max_words > 0 && args.documents > 0, "--max-words and --documents must be above 0");
    let named = !args.name.is_empty() && args.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    ensure!(
        named && args.name != "language",
        "--name {:?}: use letters, digits, - and _, and not \"language\"",
        args.name
    );
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mut inputs = Vec::new();
    for (key, paths) in [("verdicts", &args.verdicts), ("reference", &args.reference), ("random", &args.random)] {
        inputs.extend(paths.iter().map(|path| Input::file(key, path)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let facts = Facts { seed: Some(args.seed), inputs, ..Facts::new("data classifier train", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let (rows, repeated) = rows(args)?;
    let of = |part: Part| rows.iter().filter(|row| Part::of(args.seed, &row.id) == part).collect::<Vec<_>>();
    let parts = [Part::Train, Part::Calibrate, Part::Measure].map(|part| (part, of(part)));
    for (part, rows) in &parts {
        let good = rows.iter().filter(|row| row.is_good).count();
        ensure!(
            good >= 2 && rows.len() - good >= 2,
            "{good} good documents and {} others are for {}: each part needs at least two of both; label more documents, or \
             change --min-points",
            rows.len() - good,
            part.name()
        );
    }
    let [train, calibrate, test] = parts.map(|(_, rows)| rows);
    let train: Vec<(&str, bool)> = train.into_iter().map(as_label).collect();
    let calibrate: Vec<(&str, bool)> = calibrate.into_iter().map(as_label).collect();
    let model = Classifier::train(&args.name, &train, args.c, args.max_words).calibrated(&calibrate);
    let scored: Vec<(f64, &Row)> = test.iter().map(|row| (model.score(&row.text), *row)).collect();
    let measured = measure(&scored.iter().map(|(score, row)| (*score, row.is_good)).collect::<Vec<_>>());
    dataset::write_file(args.output.join(FILE), &model.to_bytes())?;
    dataset::write_file(args.output.join(FIGURES), (serde_json::to_string_pretty(&measured)? + "\n").as_bytes())?;
    page(args, &measured, &scored).write(&args.output.join(REPORT))?;
    let mut summary = format!(
        "{}: {} n-grams, trained on {} documents, calibrated on {}, measured on {} ({} good)",
        args.output.join(FILE).display(),
        model.buckets(),
        train.len(),
        calibrate.len(),
        measured.documents,
        measured.good
    );
    if repeated > 0 {
        summary += &format!("\n{repeated} documents were left out because their id or text came up before");
    }
    summary += &format!("\n{}", figures(&measured));
    session.finish(&[FILE, FIGURES, REPORT], &summary, serde_json::to_value(&measured)?)?;
    println!("{summary}");
    Ok(())
}

/// The labelled documents, and the number of those that are repeated.
fn rows(args: &Args) -> anyhow::Result<(Vec<Row>, usize)> {
    let mut all = Vec::new();
    for path in &args.verdicts {
        for verdict in jsonl::read_all::<Verdict>(path)? {
            all.push(Row { id: verdict.id, text: verdict.text, is_good: verdict.score >= args.min_points });
        }
    }
    for (paths, is_good) in [(&args.reference, true), (&args.random, false)] {
        let selected = select(paths, args.documents, args.seed)?.documents;
        all.extend(selected.into_iter().map(|document| Row { id: document.id, text: document.text, is_good }));
    }
    let before = all.len();
    // A text in both parts of the split would be measured on memorised content.
    let (mut ids, mut texts) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    all.retain(|row| ids.insert(row.id.clone()) & texts.insert(crate::hash::bytes(row.text.as_bytes())));
    let repeated = before - all.len();
    Ok((all, repeated))
}

/// The figures as lines to print.
fn figures(measured: &Measured) -> String {
    let (auc, low, high) = measured.auc;
    let mut text = format!(
        "area under the curve {auc:.3} [{low:.3}, {high:.3}], agreement {}, Brier score {:.3}",
        measured.agreement.percent(),
        measured.brier
    );
    for kept in &measured.kept {
        text += &format!(
            "\nthe best {:>2.0}%: precision {}, recall {}",
            100.0 * kept.share,
            kept.precision.percent(),
            kept.recall.percent()
        );
    }
    for group in &measured.groups {
        text += &format!("\npredicted {:>5.1}%, observed {}", 100.0 * group.predicted, group.observed.percent());
    }
    text
}

fn page(args: &Args, measured: &Measured, scored: &[(f64, &Row)]) -> Page {
    let mut page = Page::new(format!("Classifier {}", args.name));
    let (auc, low, high) = measured.auc;
    page.paragraph(format!(
        "{} held-out documents, {} of them good. Area under the curve {auc:.3} (95% interval {low:.3} to {high:.3}), agreement {}, \
         Brier score {:.3}.",
        measured.documents,
        measured.good,
        measured.agreement.percent(),
        measured.brier
    ));
    let percent = |value: f64| Cell::from(format!("{:.1}%", 100.0 * value));
    page.heading(2, "What a share keeps").table(
        vec![Column::number("share"), Column::number("precision"), Column::number("recall")],
        (measured.kept.iter())
            .map(|kept| vec![percent(kept.share), kept.precision.percent().into(), kept.recall.percent().into()])
            .collect(),
    );
    page.heading(2, "Calibration").table(
        vec![Column::number("predicted"), Column::number("observed")],
        (measured.groups.iter()).map(|group| vec![percent(group.predicted), group.observed.percent().into()]).collect(),
    );
    page.heading(2, "Documents on the wrong side");
    for (is_good, title) in
        [(false, "High scores of documents that are not good"), (true, "Low scores of good documents")]
    {
        let mut wrong: Vec<&(f64, &Row)> = scored.iter().filter(|(_, row)| row.is_good == is_good).collect();
        wrong.sort_by(|a, b| if is_good { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) });
        page.heading(3, title);
        for (score, row) in wrong.into_iter().take(SHOWN) {
            let mut inner = ::run::Blocks::default();
            inner.pre(row.text.chars().take(600).collect::<String>());
            page.details(format!("{score:.3} {}", row.id), inner);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_about_70_15_15_and_depend_on_the_seed() {
        let count = |seed: u64, part: Part| (0..4000).filter(|id| Part::of(seed, &id.to_string()) == part).count();
        for (part, low, high) in [(Part::Train, 2700, 2900), (Part::Calibrate, 530, 670), (Part::Measure, 530, 670)] {
            assert!((low..high).contains(&count(1, part)), "{}: {}", part.name(), count(1, part));
        }
        assert!((0..100).any(|id: u32| Part::of(1, &id.to_string()) != Part::of(2, &id.to_string())));
    }

    #[test]
    fn figures_have_a_line_for_each_share_and_group() {
        let scored: Vec<(f64, bool)> = (0..100).map(|at| (f64::from(at) / 100.0, at % 3 == 0 || at > 80)).collect();
        let text = figures(&measure(&scored));
        assert_eq!(text.lines().count(), 11, "{text}");
        let json = serde_json::json!(measure(&scored));
        assert!(json["kept"][0]["precision"]["low"].is_number(), "{json}");
    }
}
