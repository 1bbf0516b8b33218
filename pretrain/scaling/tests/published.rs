//! Fits against published ones: the runs and the constants that their authors found (`../shared/data/scaling`).

// Helpers of tests stand outside of test functions.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use scaling_laws::isoflop::{self, Run};
use scaling_laws::mix::{Law, rank_correlation};
use scaling_laws::parametric::{self, without_highest};
use scaling_laws::table::Table;

fn chinchilla(path: &Path) -> Vec<Run> {
    let table = Table::read(path).unwrap();
    let params = table.positive("Model Size").unwrap();
    let flops = table.positive("Training FLOP").unwrap();
    let loss = table.positive("loss").unwrap();
    let run =
        |at: usize| Run { flops: flops[at], params: params[at], tokens: flops[at] / 6.0 / params[at], loss: loss[at] };
    (0..table.len()).map(run).collect()
}

/// Besiroglu et al. 2024, equation 5 and its standard errors: 240 of Chinchilla's runs, without the five of highest loss.
#[test]
fn chinchillas_constants_within_their_standard_errors() {
    let Some(path) = test_support::shared("data/scaling/chinchilla.csv") else { return };
    let runs = chinchilla(&path);
    assert_eq!(runs.len(), 245);
    let fit = parametric::Fit::new(&without_highest(&runs, 5), 300, 0).unwrap();
    let all = parametric::Fit::new(&runs, 0, 0).unwrap();
    println!("240 runs: {:?}, objective {:.6e}\n245 runs: {:?}", fit.law, fit.objective, all.law);
    type Constant = (&'static str, fn(&parametric::Law) -> f64, f64, f64);
    let published: [Constant; 5] = [
        ("E", |law| law.e, 1.8169, 0.026),
        ("A", |law| law.a, 482.0, 124.0),
        ("B", |law| law.b, 2085.4, 1293.0),
        ("alpha", |law| law.alpha, 0.3478, 0.015),
        ("beta", |law| law.beta, 0.3658, 0.021),
    ];
    for (name, of, value, error) in published {
        let found = of(&fit.law);
        assert!((found - value).abs() <= error, "{name} is {found}, published {value} +- {error}");
        // Our own interval holds the published value, and our standard error is of the published size.
        let interval = fit.interval(of).unwrap();
        println!("{name} {found:.4} {interval:?}");
        assert!(interval.low < value && value < interval.high, "{name}: {interval:?}");
        assert!((0.5..2.0).contains(&(interval.standard_error / error)), "{name}: {interval:?}, published {error}");
    }
    // The five outliers move beta by 0.09, which is why they are left out.
    assert!(all.law.beta - fit.law.beta > 0.05, "{:?} {:?}", all.law, fit.law);
    assert!(fit.agreeing * 2 > fit.starts, "{} of {} starts", fit.agreeing, fit.starts);
}

/// Porian et al. 2024: the exponent of `N*(C)` in eleven settings.
#[test]
fn porians_exponents() {
    let Some(points) = test_support::shared("data/scaling/porian_isoflop.csv") else { return };
    let Some(published) = test_support::shared("data/scaling/porian_published.csv") else { return };
    let (points, published) = (Table::read(&points).unwrap(), Table::read(&published).unwrap());
    let of = |name| points.positive(name).unwrap();
    let (settings, flops, params, tokens, loss) =
        (points.texts("setting").unwrap(), of("flops"), of("params"), of("tokens"), of("loss"));
    let names = published.texts("setting").unwrap();
    let exponents = published.positive("n_exponent_basic").unwrap();
    assert_eq!(names.len(), 11);
    let mut close = 0;
    for (name, exponent) in names.iter().zip(exponents) {
        let runs: Vec<Run> = (0..points.len())
            .filter(|at| settings[*at] == *name)
            .map(|at| Run { flops: flops[at], params: params[at], tokens: tokens[at], loss: loss[at] })
            .collect();
        let fit = isoflop::Fit::new(&runs, 0.1, 200, 0).unwrap();
        let found = fit.laws.params.exponent;
        let interval = fit.interval(|laws| laws.params.exponent).unwrap();
        println!(
            "{name}: {found:.3} [{:.3}, {:.3}], published {exponent:.3}, {} budgets, {} refused",
            interval.low,
            interval.high,
            fit.budgets.len(),
            fit.refused.len()
        );
        close += usize::from((found - exponent).abs() <= 0.03);
    }
    assert!(close >= 8, "{close} of 11 within 0.03");
}

/// RegMix (Liu et al. 2024): laws of 512 models of 1M parameters predict the order of mixes at 1M, 60M and 1B.
#[test]
fn the_order_of_mixes_carries_over_to_a_thousand_times_the_size() {
    const TARGET: &str = "metric/the_pile_pile_cc_val_loss";
    let Some(folder) = test_support::shared("data/scaling") else { return };
    let read = |kind: &str, size: &str| {
        let mixtures = Table::read(&folder.join(format!("{kind}_mixture_{size}.csv"))).unwrap();
        let losses = Table::read(&folder.join(format!("{kind}_pile_loss_{size}.csv"))).unwrap();
        let (ids, loss_ids) = (mixtures.texts("index").unwrap(), losses.texts("index").unwrap());
        let sources: Vec<&String> = mixtures.columns().iter().filter(|name| *name != "index").collect();
        let columns: Vec<Vec<f64>> = sources.iter().map(|name| mixtures.numbers(name).unwrap()).collect();
        let loss = losses.positive(TARGET).unwrap();
        let (mut mixes, mut values): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
        for (row, id) in ids.iter().enumerate() {
            let Some(at) = loss_ids.iter().position(|other| other == id) else { continue };
            mixes.push(columns.iter().map(|column| column[row]).collect());
            values.push(loss[at]);
        }
        (mixes, values)
    };
    let (mixes, losses) = read("train", "1m");
    let shares = ndarray::Array2::from_shape_fn((mixes.len(), mixes[0].len()), |(run, source)| mixes[run][source]);
    let law = Law::fit(TARGET, &shares, &losses).unwrap();
    for (size, least) in [("1m", 0.95), ("60m", 0.94), ("1B", 0.95)] {
        let (mixes, losses) = read("test", size);
        let expected: Vec<f64> = mixes.iter().map(|mix| law.loss(mix)).collect();
        let correlation = rank_correlation(&expected, &losses).unwrap();
        println!("{size}: {correlation:.4} over {} runs", losses.len());
        assert!(correlation >= least, "{size}: {correlation}");
    }
}

fn scaling(words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_scaling")).args(words).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Runs of four budgets with their best sizes at `0.1 C^0.5`, as a table.
fn ladder(folder: &Path, sizes: std::ops::RangeInclusive<i32>) -> PathBuf {
    let path = folder.join("runs.csv");
    let mut text = "setting,flops,params,loss\n".to_owned();
    for (budget, flops) in [1e16, 4e16, 1.6e17, 6.4e17].into_iter().enumerate() {
        for step in sizes.clone() {
            let params = 0.11 * f64::sqrt(flops) * 1.5_f64.powi(step);
            let x = (params / (0.1 * f64::sqrt(flops))).ln();
            let wobble = 0.0005 * f64::from((step * 7 + budget as i32 * 3).rem_euclid(5) - 2);
            text += &format!("a,{flops:e},{params},{}\n", 4.0 - 0.3 * budget as f64 + 0.05 * x * x + wobble);
        }
    }
    text += "b,1e16,1e6,9\n";
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_commands_fit_repeat_and_predict() {
    let dir = tempfile::tempdir().unwrap();
    let table = ladder(dir.path(), -3..=3);
    let run = dir.path().join("run");
    let (table, run) = (table.to_str().unwrap(), run.to_str().unwrap());
    let words = ["fit", "isoflop", "--input", table, "--only", "setting=a", "--bootstrap", "100", "--output", run];
    let (good, text) = scaling(&words);
    assert!(good && text.contains("28 rows have setting=a; 1 are left out"), "{text}");
    assert!(text.contains("no column \"tokens\": tokens are compute / (6 x parameters)"), "{text}");
    let first = std::fs::read(dir.path().join("run/fit.json")).unwrap();
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), 3);
    // The same command again is finished; in another folder it makes the same bytes.
    assert!(scaling(&words).1.contains("is finished already"));
    let other = dir.path().join("other");
    let mut again = words;
    again[9] = other.to_str().unwrap();
    assert!(scaling(&again).0);
    assert_eq!(first, std::fs::read(other.join("fit.json")).unwrap());
    let (good, text) = scaling(&["predict", "--fit", run, "--flops", "1e20"]);
    let size = text.lines().find(|line| line.contains("best size")).unwrap_or_default();
    let number: f64 = size.split_whitespace().nth(3).unwrap_or_default().parse().unwrap();
    assert!(good && (number / 1e9 - 1.0).abs() < 0.1 && size.contains('['), "{text}");
    let (good, text) = scaling(&["predict", "--coefficient", "0.299", "--exponent", "0.537", "--flops", "3.8e25"]);
    assert!(good && text.contains("1.629"), "{text}");
}

/// Losses of a known law: its file is read again, and its prediction is the law's.
#[test]
fn a_parametric_law_predicts_the_loss_of_another_run() {
    let dir = tempfile::tempdir().unwrap();
    let loss = |params: f64, tokens: f64| 1.7 + 300.0 / params.powf(0.33) + 900.0 / tokens.powf(0.3);
    let mut text = "flops,params,tokens,loss\n".to_owned();
    for params in [1e6, 4e6, 1.6e7, 6.4e7] {
        for ratio in [5.0, 20.0, 80.0, 320.0] {
            let tokens = params * ratio;
            text += &format!("{:e},{params},{tokens},{}\n", 6.0 * params * tokens, loss(params, tokens));
        }
    }
    let (table, run) = (dir.path().join("runs.csv"), dir.path().join("run"));
    std::fs::write(&table, text).unwrap();
    let (table, run) = (table.to_str().unwrap(), run.to_str().unwrap());
    let (good, text) = scaling(&["fit", "parametric", "--input", table, "--bootstrap", "20", "--output", run]);
    assert!(good, "{text}");
    let (good, text) = scaling(&["predict", "--fit", run, "--params", "1e8", "--tokens", "2e9"]);
    assert!(good && text.contains(&format!("{:.4}", loss(1e8, 2e9))), "{text} {}", loss(1e8, 2e9));
}

#[test]
fn a_minimum_at_the_edge_stops_the_command() {
    let dir = tempfile::tempdir().unwrap();
    // All sizes are below the best: the largest one is the best of every budget.
    let table = ladder(dir.path(), -5..=-1);
    let run = dir.path().join("run");
    let (good, text) =
        scaling(&["fit", "isoflop", "--input", table.to_str().unwrap(), "--output", run.to_str().unwrap()]);
    assert!(!good && text.contains("its lowest loss is that of the largest model"), "{text}");
    assert!(!run.join("fit.json").exists());
}
