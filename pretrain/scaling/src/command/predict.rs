//! `scaling predict`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{FIT, Fitted, mix, with_interval};
use crate::bootstrap::Interval;
use crate::power_law::PowerLaw;
use crate::table::Table;

/// Arguments of `scaling predict`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct PredictArgs {
    /// The folder of a fit, or its fit.json
    #[arg(long, required_unless_present = "coefficient")]
    fit: Option<PathBuf>,
    /// Compute budgets, in FLOP, separated by commas
    #[arg(long, value_delimiter = ',')]
    flops: Vec<f64>,
    /// With a parametric fit: number of parameters of a model, instead of --flops
    #[arg(long, requires = "tokens", conflicts_with = "flops")]
    params: Option<f64>,
    /// With a parametric fit: number of training tokens of that model
    #[arg(long, requires = "params")]
    tokens: Option<f64>,
    /// With a fit of mixes: a table of mixes whose columns are the sources
    #[arg(long)]
    mixtures: Option<PathBuf>,
    /// Use a published law A C^a instead of a fit: A
    #[arg(long, requires = "exponent", conflicts_with = "fit")]
    coefficient: Option<f64>,
    /// Use a published law A C^a instead of a fit: a
    #[arg(long, requires = "coefficient")]
    exponent: Option<f64>,
    /// Also write the predictions as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One number of a prediction.
struct Number {
    name: &'static str,
    value: f64,
    interval: Option<Interval>,
}

/// Runs `scaling predict`.
pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    ensure!(args.flops.iter().all(|flops| *flops > 0.0), "--flops must be above 0");
    let mut all: Vec<(String, Vec<Number>)> = Vec::new();
    let fitted = args.fit.as_deref().map(read).transpose()?;
    match (&fitted, args.coefficient.zip(args.exponent)) {
        (None, Some((coefficient, exponent))) => {
            let law = PowerLaw { coefficient, exponent };
            for flops in budgets(args)? {
                all.push((budget(flops), vec![Number { name: "A C^a", value: law.at(flops), interval: None }]));
            }
        }
        (Some(Fitted::Mix(fit)), _) => all = mixes(fit, args)?,
        (Some(Fitted::Parametric(fit)), _) if args.params.is_some() => {
            let (params, tokens) = args.params.zip(args.tokens).context("--params and --tokens belong together")?;
            ensure!(params > 0.0 && tokens > 0.0, "--params and --tokens must be above 0");
            let interval = fit.interval(|law| law.loss(params, tokens));
            let number = Number { name: "loss", value: fit.law.loss(params, tokens), interval };
            all.push((format!("{params:.3e} parameters, {tokens:.3e} tokens"), vec![number]));
        }
        (Some(fitted), _) => {
            for flops in budgets(args)? {
                all.push((budget(flops), at(fitted, flops)?));
            }
        }
        (None, None) => bail!("--fit is missing: name the folder of a fit"),
    }
    for (name, numbers) in &all {
        println!("{name}");
        for Number { name, value, interval } in numbers {
            println!("  {name:<28} {}", with_interval(*value, *interval, 4));
        }
    }
    if let Some(output) = &args.output {
        let number = |Number { name, value, interval }: &Number| {
            (name.to_string(), json!({"value": value, "interval": interval}))
        };
        let record = |(name, numbers): &(String, Vec<Number>)| json!({"of": name, "expected": numbers.iter().map(number).collect::<serde_json::Map<_, _>>()});
        let records: Vec<Value> = all.iter().map(record).collect();
        dataset::write_file(output, format!("{}\n", serde_json::to_string_pretty(&records)?).as_bytes())?;
        println!("written: {}", output.display());
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Fitted> {
    let path = if path.is_dir() { path.join(FIT) } else { path.to_owned() };
    let text = std::fs::read(&path).with_context(|| format!("--fit: cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no fit of `scaling fit`", path.display()))
}

fn budgets(args: &PredictArgs) -> anyhow::Result<Vec<f64>> {
    ensure!(!args.flops.is_empty(), "--flops is missing: name compute budgets, as 1e21,3.8e25");
    Ok(args.flops.clone())
}

fn budget(flops: f64) -> String {
    format!("{flops:.4e} FLOP")
}

/// The law's predictions for a budget.
fn at(fitted: &Fitted, flops: f64) -> anyhow::Result<Vec<Number>> {
    Ok(match fitted {
        Fitted::Isoflop(fit) => vec![
            Number {
                name: "best size, parameters",
                value: fit.laws.params.at(flops),
                interval: fit.interval(|laws| laws.params.at(flops)),
            },
            Number {
                name: "tokens",
                value: fit.laws.tokens.at(flops),
                interval: fit.interval(|laws| laws.tokens.at(flops)),
            },
        ],
        Fitted::Parametric(fit) => {
            let best = fit.law.optimum(flops);
            vec![
                Number {
                    name: "best size, parameters",
                    value: best.params,
                    interval: fit.interval(|law| law.optimum(flops).params),
                },
                Number { name: "tokens", value: best.tokens, interval: fit.interval(|law| law.optimum(flops).tokens) },
                Number { name: "loss", value: best.loss, interval: fit.interval(|law| law.optimum(flops).loss) },
            ]
        }
        Fitted::Downstream(fit) => {
            let accuracy = |law: &crate::downstream::Law| law.accuracy(law.nll(flops));
            vec![
                Number {
                    name: "negative log-likelihood",
                    value: fit.law.nll(flops),
                    interval: fit.interval(|law| law.nll(flops)),
                },
                Number { name: "accuracy", value: accuracy(&fit.law), interval: fit.interval(accuracy) },
            ]
        }
        Fitted::Mix(_) => bail!("a fit of mixes predicts from --mixtures, not from --flops"),
    })
}

fn mixes(fit: &mix::Fit, args: &PredictArgs) -> anyhow::Result<Vec<(String, Vec<Number>)>> {
    let path =
        args.mixtures.as_deref().context("--mixtures is missing: a fit of mixes predicts the losses of mixes")?;
    let table = Table::read(path)?;
    let columns = fit.sources.iter().map(|source| table.numbers(source)).collect::<anyhow::Result<Vec<_>>>()?;
    let weight: f64 = fit.laws.iter().map(|(weight, _)| weight).sum();
    let predicted = |row: usize| {
        let mix: Vec<f64> = columns.iter().map(|column| column[row]).collect();
        let sum: f64 = mix.iter().sum();
        ensure!(
            (sum - 1.0).abs() < 0.02 && mix.iter().all(|share| *share >= 0.0),
            "{}: the shares of mix {} add up to {sum:.3}; they must be 0 or more and add up to 1",
            path.display(),
            row + 1
        );
        let value = fit.laws.iter().map(|(weight, law)| weight * law.loss(&mix)).sum::<f64>() / weight;
        Ok((format!("mix {}", row + 1), vec![Number { name: "weighted loss", value, interval: None }]))
    };
    (0..table.len()).map(predicted).collect()
}
