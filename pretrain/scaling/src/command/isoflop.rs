//! `scaling fit isoflop`.

use ::run::{Cell, Column, Frame, Page};
use anyhow::ensure;
use serde::Serialize;
use serde_json::json;

use super::{Columns, Common, Done, Fitted, with_interval};
use crate::isoflop::{Fit, Run};
use crate::report;

/// Arguments of `scaling fit isoflop`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct IsoflopArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    columns: Columns,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Maximum loss of a run above the lowest loss of its budget, in nats, for the fit of the parabola; the nearest four runs are always
    /// used
    #[arg(long, default_value_t = 0.1)]
    loss_window: f64,
    /// Leave out budgets whose minimum lies at the edge of their runs, instead of stopping
    #[arg(long)]
    drop_edge: bool,
    /// Number of resamples for the intervals
    #[arg(long, default_value_t = 1000)]
    bootstrap: usize,
}

/// Runs `scaling fit isoflop`.
pub(crate) fn run(args: &IsoflopArgs) -> anyhow::Result<()> {
    ensure!(args.loss_window > 0.0, "--loss-window is {}; it must be above 0", args.loss_window);
    let frame = ("scaling fit isoflop", args, &args.frame, &args.common);
    super::fit(frame, &[("input", &args.columns.input)], || {
        let (runs, notes) = args.columns.runs()?;
        let fit = Fit::new(&runs, args.loss_window, args.bootstrap, args.common.seed).map_err(anyhow::Error::msg)?;
        let reasons: Vec<String> =
            fit.refused.iter().map(|(flops, why)| format!("budget {flops:.3e}: {why}")).collect();
        ensure!(
            args.drop_edge || reasons.is_empty(),
            "{} of {} budgets have no minimum; --drop-edge leaves them out\n  {}",
            reasons.len(),
            reasons.len() + fit.budgets.len(),
            reasons.join("\n  ")
        );
        let mut text = notes.join("\n") + "\n\n" + &table(&fit);
        reasons.iter().for_each(|reason| text += &format!("left out: {reason}\n"));
        text += "\n";
        for line in laws(&fit) {
            text += &format!("{line}\n");
        }
        if fit.samples_with_refusals > 0 {
            let (count, all) = (fit.samples_with_refusals, fit.samples.len());
            text += &format!("in {count} of {all} resamplings a budget had no minimum and was left out\n");
        }
        let page = page(&runs, &fit, &text);
        let figures =
            json!({"laws": fit.laws, "budgets": fit.budgets.len(), "refused": fit.refused.len(), "runs": runs.len()});
        Ok(Done { fitted: Fitted::Isoflop(fit), text: text.trim_end().to_owned(), page, figures })
    })
}

const HEADINGS: [&str; 7] = ["budget", "runs", "best size", "tokens", "tokens/size", "loss", "twice the size"];

fn rows(fit: &Fit) -> impl Iterator<Item = [String; 7]> + '_ {
    fit.budgets.iter().map(|budget| {
        [
            format!("{:.3e}", budget.flops),
            format!("{} of {}", budget.used, budget.runs),
            format!("{:.3e}", budget.params),
            format!("{:.3e}", budget.tokens),
            format!("{:.1}", budget.tokens / budget.params),
            format!("{:.4}", budget.loss),
            // The flatness of the curve: the loss of a model that is too large or too small by a factor of two.
            format!("+{:.4}", budget.curvature * 2_f64.ln().powi(2)),
        ]
    })
}

fn table(fit: &Fit) -> String {
    let line = |cells: [String; 7]| cells.iter().map(|cell| format!("{cell:>14}")).collect::<String>() + "\n";
    std::iter::once(HEADINGS.map(str::to_owned)).chain(rows(fit)).map(line).collect()
}

fn laws(fit: &Fit) -> Vec<String> {
    let law = |name: &str, of: fn(&crate::isoflop::Laws) -> crate::power_law::PowerLaw| {
        let coefficient = with_interval(of(&fit.laws).coefficient, fit.interval(|laws| of(laws).coefficient), 4);
        let exponent = with_interval(of(&fit.laws).exponent, fit.interval(|laws| of(laws).exponent), 4);
        format!("{name} = A C^a: A = {coefficient}, a = {exponent}")
    };
    vec![law("N*(C)", |laws| laws.params), law("D*(C)", |laws| laws.tokens)]
}

fn page(runs: &[Run], fit: &Fit, text: &str) -> Page {
    let mut page = Page::new("Scaling laws: IsoFLOP parabolas");
    laws(fit).into_iter().for_each(|line| _ = page.paragraph(line));
    page.heading(2, "Budgets");
    let cells = rows(fit).map(|row| row.map(Cell::from).into()).collect();
    page.table(HEADINGS.map(Column::number).into(), cells);
    for (flops, why) in &fit.refused {
        page.failure(format!("Left out: budget {flops:.3e}: {why}"));
    }
    let names: Vec<String> = fit.budgets.iter().map(|budget| format!("{:.2e}", budget.flops)).collect();
    let mut measured = Vec::new();
    let mut fitted = Vec::new();
    for (at, budget) in fit.budgets.iter().enumerate() {
        let mut points: Vec<(f64, f64)> = runs
            .iter()
            .filter(|run| (run.flops / budget.flops - 1.0).abs() <= 0.011)
            .map(|run| (run.params.log10(), run.loss))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (low, high) = (points[0].0, points[points.len() - 1].0);
        let curve = |step: usize| {
            let x = low + (high - low) * step as f64 / 60.0;
            (x, budget.loss + budget.curvature * ((x - budget.params.log10()) * 10_f64.ln()).powi(2))
        };
        let window = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        fitted.push((names[at].as_str(), report::colour(at), (0..=60).map(curve).filter(|p| p.1 <= window).collect()));
        measured.push((names[at].as_str(), report::colour(at), points));
    }
    page.curves("Loss, measured, by budget", "log10 of parameters", &measured);
    page.curves("Loss, parabolas, by budget", "log10 of parameters", &fitted);
    let over = |value: fn(&crate::isoflop::Parabola) -> f64| -> Vec<(f64, f64)> {
        fit.budgets.iter().map(|budget| (budget.flops.log10(), value(budget).log10())).collect()
    };
    let law = |law: crate::power_law::PowerLaw| -> Vec<(f64, f64)> {
        fit.budgets.iter().map(|budget| (budget.flops.log10(), law.at(budget.flops).log10())).collect()
    };
    let curves = [
        ("parameters, minima", report::colour(0), over(|budget| budget.params)),
        ("parameters, law", report::colour(1), law(fit.laws.params)),
        ("tokens, minima", report::colour(2), over(|budget| budget.tokens)),
        ("tokens, law", report::colour(3), law(fit.laws.tokens)),
    ];
    page.curves("log10 of the best size and tokens", "log10 of FLOP", &curves);
    page.heading(2, "As printed").columns(text);
    page
}
