//! `scaling fit mix`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::run::{Cell, Column, Frame, Page};
use anyhow::{Context, bail, ensure};
use ndarray::Array2;
use rand::RngExt as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Common, Done, Fitted, with_interval};
use crate::bootstrap::{Interval, resample};
use crate::mix::{Law, best, rank_correlation};
use crate::table::Table;

/// Number of folds of the cross-validation.
const PARTS: usize = 5;

/// Arguments of `scaling fit mix`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct MixArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// Mixes of the runs: a table with the id of a run and the share of each source
    #[arg(long)]
    mixtures: PathBuf,
    /// Losses of the runs: a table with the id of a run and the loss on each validation set
    #[arg(long)]
    losses: PathBuf,
    /// The column of the run's id, in all tables
    #[arg(long, default_value = "index")]
    id_column: String,
    /// Columns of the validation sets for which the mix is optimised; all of them unless given
    #[arg(long, num_args = 1.., value_name = "COLUMN[:WEIGHT]")]
    targets: Vec<String>,
    /// Mixes of other runs, such as larger ones, to test how well the laws predict their ranking. Repeatable
    #[arg(long, value_name = "FILE")]
    test_mixtures: Vec<PathBuf>,
    /// Losses of these runs, one file for each of --test-mixtures
    #[arg(long, value_name = "FILE")]
    test_losses: Vec<PathBuf>,
    /// Maximum share of a source in the best mix [default: its maximum share in a run, since the laws do not extrapolate]
    #[arg(long)]
    max_share: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Number of resamples of the runs for the intervals of the best mix
    #[arg(long, default_value_t = 100)]
    bootstrap: usize,
}

/// The result of a fit of mixes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// The sources, in the order of the shares.
    pub sources: Vec<String>,
    /// The laws of the validation sets, with their weights.
    pub laws: Vec<(f64, Law)>,
    /// The best mix.
    pub best: Vec<f64>,
    /// The weighted loss that the laws predict for it.
    pub loss: f64,
    /// The weighted loss of the best measured run.
    pub best_run: f64,
    /// The best mixes for resampled runs.
    pub samples: Vec<Vec<f64>>,
}

/// Runs with their mixes and losses.
struct Runs {
    sources: Vec<String>,
    shares: Array2<f64>,
    targets: Vec<String>,
    /// The losses of the runs for each target.
    losses: Vec<Vec<f64>>,
    notes: Vec<String>,
}

impl Runs {
    fn read(mixtures: &Path, losses: &Path, id: &str) -> anyhow::Result<Self> {
        let (mixes, measured) = (Table::read(mixtures)?, Table::read(losses)?);
        let names = |table: &Table| table.columns().iter().filter(|name| *name != id).cloned().collect::<Vec<_>>();
        let (sources, targets) = (names(&mixes), names(&measured));
        let places: HashMap<String, usize> = measured.texts(id)?.into_iter().zip(0..).collect();
        ensure!(places.len() == measured.len(), "{}: two rows have the same {id}", losses.display());
        let rows: Vec<(usize, usize)> =
            mixes.texts(id)?.iter().enumerate().filter_map(|(row, id)| Some((row, *places.get(id)?))).collect();
        ensure!(!rows.is_empty(), "no {id} of {} is in {}", mixtures.display(), losses.display());
        let mut notes = vec![format!("{}: {} runs of {} sources", mixtures.display(), rows.len(), sources.len())];
        let lost = mixes.len() + measured.len() - 2 * rows.len();
        if lost > 0 {
            notes.push(format!("{lost} rows have no partner in the other table and are left out"));
        }
        let columns = sources.iter().map(|source| mixes.numbers(source)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut shares =
            Array2::from_shape_fn((rows.len(), sources.len()), |(run, source)| columns[source][rows[run].0]);
        for (run, mut mix) in shares.rows_mut().into_iter().enumerate() {
            let sum = mix.sum();
            if mix.iter().any(|share| *share < 0.0) || (sum - 1.0).abs() > 0.02 {
                bail!(
                    "{}: the shares of run {} add up to {sum:.3}; they must be 0 or more and add up to 1",
                    mixtures.display(),
                    run + 1
                );
            }
            mix.mapv_inplace(|share| share / sum);
        }
        let of = |target: &String| -> anyhow::Result<Vec<f64>> {
            let column = measured.positive(target)?;
            Ok(rows.iter().map(|(_, row)| column[*row]).collect())
        };
        let losses = targets.iter().map(of).collect::<anyhow::Result<_>>()?;
        Ok(Self { sources, shares, targets, losses, notes })
    }

    fn losses(&self, target: &str) -> Option<&Vec<f64>> {
        Some(&self.losses[self.targets.iter().position(|name| name == target)?])
    }

    fn mix(&self, run: usize) -> Vec<f64> {
        self.shares.row(run).to_vec()
    }

    fn count(&self) -> usize {
        self.shares.nrows()
    }

    /// Fits the laws to some of the runs.
    fn laws(&self, targets: &[(f64, String)], runs: &[usize]) -> Result<Vec<(f64, Law)>, String> {
        let shares = self.shares.select(ndarray::Axis(0), runs);
        let law = |(weight, target): &(f64, String)| {
            let losses = self.losses(target).ok_or_else(|| format!("there is no validation set {target:?}"))?;
            let losses: Vec<f64> = runs.iter().map(|run| losses[*run]).collect();
            Ok((*weight, Law::fit(target, &shares, &losses)?))
        };
        targets.par_iter().map(law).collect()
    }
}

/// Runs `scaling fit mix`.
pub(crate) fn run(args: &MixArgs) -> anyhow::Result<()> {
    ensure!(
        args.test_mixtures.len() == args.test_losses.len(),
        "--test-mixtures has {} files and --test-losses {}; give one for each",
        args.test_mixtures.len(),
        args.test_losses.len()
    );
    let mut inputs: Vec<(&str, &Path)> = vec![("mixtures", &args.mixtures), ("losses", &args.losses)];
    inputs.extend(args.test_mixtures.iter().map(|path| ("test_mixtures", path.as_path())));
    inputs.extend(args.test_losses.iter().map(|path| ("test_losses", path.as_path())));
    super::fit(("scaling fit mix", args, &args.frame, &args.common), &inputs, || work(args))
}

fn work(args: &MixArgs) -> anyhow::Result<Done> {
    let runs = Runs::read(&args.mixtures, &args.losses, &args.id_column)?;
    let targets = targets(args, &runs)?;
    let everything: Vec<usize> = (0..runs.count()).collect();
    let laws = runs.laws(&targets, &everything).map_err(anyhow::Error::msg)?;
    let limits = limits(args, &runs)?;
    let found = search(&laws, &limits)?;
    let samples = resample(args.bootstrap, args.common.seed, |generator| {
        let drawn: Vec<usize> = (0..runs.count()).map(|_| generator.random_range(0..runs.count())).collect();
        Some(search(&runs.laws(&targets, &drawn).ok()?, &limits).ok()?.shares)
    });
    let weight: f64 = targets.iter().map(|(weight, _)| weight).sum();
    let measured = |run: usize| {
        targets.iter().filter_map(|(weight, target)| Some(weight * runs.losses(target)?[run])).sum::<f64>() / weight
    };
    let best_run = everything.iter().map(|run| measured(*run)).fold(f64::INFINITY, f64::min);
    let mut tests = vec![("cross-validated".to_owned(), held_out(&runs, &targets)?)];
    let mut notes = runs.notes.clone();
    for (mixtures, losses) in args.test_mixtures.iter().zip(&args.test_losses) {
        let test = Runs::read(mixtures, losses, &args.id_column)?;
        ensure!(
            test.sources == runs.sources,
            "{} has other sources than {}, or another order of them",
            mixtures.display(),
            args.mixtures.display()
        );
        notes.extend(test.notes.clone());
        let name = mixtures.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tests.push((name, laws.iter().map(|(_, law)| correlation(law, &test)).collect()));
    }
    let fit =
        Fit { sources: runs.sources.clone(), laws, best: found.shares.clone(), loss: found.value, best_run, samples };
    let (text, page) = show(&fit, &notes, &tests, found.gap, &limits);
    let figures = json!({"best": fit.best, "loss": fit.loss, "best_run": fit.best_run, "rank_correlations": tests});
    Ok(Done { fitted: Fitted::Mix(fit), text, page, figures })
}

fn targets(args: &MixArgs, runs: &Runs) -> anyhow::Result<Vec<(f64, String)>> {
    if args.targets.is_empty() {
        return Ok(runs.targets.iter().map(|name| (1.0, name.clone())).collect());
    }
    let target = |text: &String| {
        let known = |name: &str| runs.targets.iter().any(|target| target == name);
        let (weight, name) = match text.rsplit_once(':') {
            Some((name, weight)) if !known(text) => {
                (weight.parse().with_context(|| format!("--targets {text}: {weight:?} is not a number"))?, name)
            }
            _ => (1.0, text.as_str()),
        };
        ensure!(
            known(name),
            "--targets {text}: the losses have no column {name:?}; they have {}",
            runs.targets.join(", ")
        );
        ensure!(weight > 0.0, "--targets {text}: the weight must be above 0");
        Ok((weight, name.to_owned()))
    };
    args.targets.iter().map(target).collect()
}

/// The maximum share of each source.
fn limits(args: &MixArgs, runs: &Runs) -> anyhow::Result<Vec<f64>> {
    match args.max_share {
        Some(most) => {
            ensure!(most > 0.0 && most <= 1.0, "--max-share is {most}; it must be above 0 and at most 1");
            Ok(vec![most; runs.sources.len()])
        }
        None => {
            Ok(runs.shares.columns().into_iter().map(|shares| shares.iter().copied().fold(0.0, f64::max)).collect())
        }
    }
}

fn search(laws: &[(f64, Law)], limits: &[f64]) -> anyhow::Result<crate::simplex::Shares> {
    let laws: Vec<(f64, &Law)> = laws.iter().map(|(weight, law)| (*weight, law)).collect();
    best(&laws, limits).with_context(|| {
        format!("the largest shares of all sources add up to {:.2}; raise --max-share", limits.iter().sum::<f64>())
    })
}

/// The rank correlation of a law's predictions with measured losses; `None` if there are none.
fn correlation(law: &Law, test: &Runs) -> Option<f64> {
    let expected: Vec<f64> = (0..test.count()).map(|run| law.loss(&test.mix(run))).collect();
    rank_correlation(&expected, test.losses(&law.target)?)
}

/// Rank correlations on held-out runs: each fold of a fifth is left out in turn.
fn held_out(runs: &Runs, targets: &[(f64, String)]) -> anyhow::Result<Vec<Option<f64>>> {
    let mut expected = vec![vec![0.0; runs.count()]; targets.len()];
    for part in 0..PARTS {
        let seen: Vec<usize> = (0..runs.count()).filter(|run| run % PARTS != part).collect();
        let Ok(laws) = runs.laws(targets, &seen) else { return Ok(vec![None; targets.len()]) };
        for (target, (_, law)) in laws.iter().enumerate() {
            for run in (part..runs.count()).step_by(PARTS) {
                expected[target][run] = law.loss(&runs.mix(run));
            }
        }
    }
    let one = |(expected, (_, target)): (&Vec<f64>, &(f64, String))| rank_correlation(expected, runs.losses(target)?);
    Ok(expected.iter().zip(targets).map(one).collect())
}

type Test = (String, Vec<Option<f64>>);

fn show(fit: &Fit, notes: &[String], tests: &[Test], gap: f64, limits: &[f64]) -> (String, Page) {
    let mut page = Page::new("Scaling laws: data mix");
    let mut text = notes.join("\n") + "\n\nRank correlation of expected and measured losses\n";
    let number = |value: &Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let mut rows = Vec::new();
    for (at, (_, law)) in fit.laws.iter().enumerate() {
        let values: Vec<String> = tests.iter().map(|(_, values)| number(&values[at])).collect();
        let named: Vec<String> =
            tests.iter().zip(&values).map(|((name, _), value)| format!("{name} {value}")).collect();
        text += &format!("  {:<44} {}\n", law.target, named.join(", "));
        rows.push(std::iter::once(Cell::from(&*law.target)).chain(values.into_iter().map(Cell::from)).collect());
    }
    let columns = std::iter::once(Column::text("validation set"));
    page.heading(2, "Rank correlation of expected and measured losses");
    page.table(columns.chain(tests.iter().map(|(name, _)| Column::number(name))).collect(), rows);
    let summary = format!(
        "Best mix: expected loss {:.4}, at most {gap:.1e} above the laws' minimum; the best run measured {:.4}",
        fit.loss, fit.best_run
    );
    text += &format!("\n{summary}\n");
    page.heading(2, "Best mix").paragraph(summary);
    let mut rows = Vec::new();
    for (source, name) in fit.sources.iter().enumerate() {
        let share = fit.best[source];
        let interval = Interval::of(fit.samples.iter().map(|sample| sample[source]));
        let shown = with_interval(share, interval, 3);
        let at_limit = if share > limits[source] - 1e-6 { "at its largest share" } else { "" };
        text += &format!("  {name:<44} {shown} {at_limit}\n");
        rows.push(vec![Cell::from(&**name), Cell::from(shown), Cell::from(at_limit)]);
    }
    page.table(vec![Column::text("source"), Column::number("share"), Column::text("")], rows);
    (text.trim_end().to_owned(), page)
}
