//! `herd safety sweep report`: VR against FRR over runs, with helpfulness beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use run::{Cell, Class, Column, Facts, Frame, Input, Page, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};
use stats::Estimate;

use crate::eval::{ITEMS, read_items};
use crate::figures::{Change, change, refusals, violations};
use crate::judge::{Item, View};
use crate::summary::{SUMMARY, Summary, change_line};

const REPORT: &str = "report.html";
const FIGURES: &str = "sweep.json";

/// Arguments of `report`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Folders of `herd safety eval`; the first is the model before tuning
    #[arg(long, num_args = 1.., required = true, value_name = "RUN")]
    vr: Vec<PathBuf>,
    /// Folders of `herd eval`, one for each of --vr, in the same order
    #[arg(long, num_args = 1.., value_name = "RUN")]
    helpfulness: Vec<PathBuf>,
    /// Names of the runs [default: the folders' names]
    #[arg(long, num_args = 1.., value_name = "NAME")]
    names: Vec<String>,
    /// Maximum rise of FRR for the best run, in percentage points
    #[arg(long, default_value_t = 10.0, value_name = "POINTS")]
    max_frr_rise: f64,
    /// The folder for report.html, sweep.json and run.json
    #[arg(long, required = true)]
    output: Option<PathBuf>,
}

/// A run of the sweep.
#[derive(Debug, Clone, Serialize)]
struct Point {
    name: String,
    vr: Option<Estimate>,
    frr: Option<Estimate>,
    unusable: f64,
    /// The change from the first run.
    vr_change: Option<Change>,
    frr_change: Option<Change>,
    /// Figures of `herd eval`, by task and column.
    helpfulness: BTreeMap<String, Estimate>,
    /// Figures of helpfulness that fell: their interval lies below the first run's.
    lost: Vec<String>,
}

fn class(key: &str) -> Class {
    match key {
        "output" | "vr" | "helpfulness" => Class::Free,
        _ => Class::Course,
    }
}

/// Runs `herd safety sweep report`.
///
/// # Errors
/// When a folder belongs to another stage, or when the lists differ in length.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let output = args.output.as_deref().context("--output is missing")?;
    for (flag, count) in [("--helpfulness", args.helpfulness.len()), ("--names", args.names.len())] {
        ensure!(count == 0 || count == args.vr.len(), "{flag} has {count} values, --vr {}", args.vr.len());
    }
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mut inputs = Vec::new();
    for (key, folders, name) in [("vr", &args.vr, ITEMS), ("helpfulness", &args.helpfulness, SUMMARY)] {
        for folder in folders {
            inputs.push(Input::file(key, &folder.join(name))?);
        }
    }
    let facts = Facts { inputs, ..Facts::new("safety sweep report", class) };
    let Some(mut session) = Session::open(output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let points = points(args)?;
    let best = best(&points, args.max_frr_rise);
    let lines = lines(&points, best, args.max_frr_rise);
    page(&points, best, &lines).write(&output.join(REPORT))?;
    let figures = json!({"points": points, "best": best.map(|at| &points[at].name)});
    dataset::write_file(output.join(FIGURES), format!("{}\n", serde_json::to_string_pretty(&figures)?).as_bytes())?;
    let summary = lines.join("\n");
    session.finish(&[REPORT, FIGURES], &summary, json!({"runs": points.len()}))?;
    println!("{summary}");
    Ok(())
}

fn points(args: &Args) -> anyhow::Result<Vec<Point>> {
    let mut runs: Vec<(Summary, Vec<Item>)> = Vec::new();
    for folder in &args.vr {
        runs.push((Summary::read(folder)?, read_items(&folder.join(ITEMS))?));
        let (first, last) = (&runs[0].0, &runs[runs.len() - 1].0);
        ensure!(first.rule == last.rule, "{} counts violations by another rule than the first run", folder.display());
    }
    let helpfulness: Vec<BTreeMap<String, Estimate>> =
        args.helpfulness.iter().map(|folder| helpful(folder)).collect::<anyhow::Result<_>>()?;
    let first: Vec<&Item> = runs[0].1.iter().collect();
    let mut points = Vec::new();
    for (at, (summary, items)) in runs.iter().enumerate() {
        let items: Vec<&Item> = items.iter().collect();
        let all = summary.all(View::None).context("a run without figures")?;
        let own = helpfulness.get(at).cloned().unwrap_or_default();
        let lost = |(name, now): (&String, &Estimate)| {
            helpfulness.first()?.get(name).filter(|before| now.high < before.low).map(|_| name.clone())
        };
        let named = || args.vr[at].file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        points.push(Point {
            name: args.names.get(at).cloned().unwrap_or_else(named),
            vr: all.vr,
            frr: all.frr,
            unusable: all.unusable.value,
            vr_change: change(&violations(&first, View::None), &violations(&items, View::None)).filter(|_| at > 0),
            frr_change: change(&refusals(&first, View::None), &refusals(&items, View::None)).filter(|_| at > 0),
            lost: own.iter().filter_map(lost).collect(),
            helpfulness: own,
        });
    }
    Ok(points)
}

/// The figures in a folder of `herd eval`, by `TASK COLUMN`.
fn helpful(folder: &Path) -> anyhow::Result<BTreeMap<String, Estimate>> {
    let path = folder.join(SUMMARY);
    let bytes = std::fs::read(&path)
        .with_context(|| format!("{}: no {SUMMARY}; is this a folder of `herd eval`?", folder.display()))?;
    let summary: Value = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
    let tasks = summary["tasks"].as_object().with_context(|| format!("{} has no tasks", path.display()))?;
    let mut all = BTreeMap::new();
    for (task, figures) in tasks {
        for (column, estimate) in figures["metrics"].as_object().into_iter().flatten() {
            let estimate = serde_json::from_value(estimate.clone())
                .with_context(|| format!("{}: {task} {column} is no figure", path.display()))?;
            all.insert(format!("{task} {column}"), estimate);
        }
    }
    Ok(all)
}

/// The run with the largest fall of VR among those whose FRR rises by at most `max_frr_rise` points and whose answers are usable.
fn best(points: &[Point], max_frr_rise: f64) -> Option<usize> {
    let allowed = |point: &Point| {
        let rise = point.frr_change.as_ref().map_or(0.0, Change::difference);
        point.vr_change.is_some() && 100.0 * rise <= max_frr_rise && point.unusable <= points[0].unusable + 0.1
    };
    let fall = |at: &usize| points[*at].vr_change.as_ref().map_or(0.0, Change::difference);
    (1..points.len()).filter(|&at| allowed(&points[at])).min_by(|a, b| fall(a).total_cmp(&fall(b)))
}

fn lines(points: &[Point], best: Option<usize>, max_frr_rise: f64) -> Vec<String> {
    let percent = |rate: &Option<Estimate>| rate.as_ref().map_or_else(|| "-".into(), Estimate::percent);
    let mut lines: Vec<String> = points
        .iter()
        .map(|point| {
            let help: Vec<String> =
                point.helpfulness.iter().map(|(name, figure)| format!("{name} {}", figure.percent())).collect();
            let broken = 100.0 * point.unusable;
            format!(
                "{:<28} VR {:>20}  FRR {:>20}  unusable {broken:.1}%  {}",
                point.name,
                percent(&point.vr),
                percent(&point.frr),
                help.join(", ")
            )
            .trim_end()
            .to_owned()
        })
        .collect();
    match best {
        None => lines.push(format!("no run keeps FRR within {max_frr_rise} points of the first run's")),
        Some(at) => {
            let point = &points[at];
            let text = |change: &Option<Change>| change.as_ref().map(change_line).unwrap_or_default();
            lines.push(format!("best with FRR at most {max_frr_rise} points up: {}", point.name));
            lines.push(format!("  VR {}", text(&point.vr_change)));
            lines.push(format!("  FRR {}", text(&point.frr_change)));
            lines.push(match point.lost.is_empty() {
                true if point.helpfulness.is_empty() => "  helpfulness was not measured".into(),
                true => "  no figure of helpfulness lies below its interval before".into(),
                false => format!("  below their intervals before: {}", point.lost.join(", ")),
            });
        }
    }
    lines
}

/// Colours of curves.
const COLOURS: [&str; 6] = ["#2a6f97", "#d1495b", "#66a182", "#edae49", "#8d5a97", "#444444"];

fn page(points: &[Point], best: Option<usize>, lines: &[String]) -> Page {
    let mut page = Page::new("Safety sweep: VR against FRR");
    // One curve for each share: points are named `share S ratio R`.
    let mut groups: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for point in points {
        let Some((vr, frr)) = point.vr.zip(point.frr) else { continue };
        let group = point.name.split(" ratio ").next().unwrap_or_default().to_owned();
        let at = (100.0 * frr.value, 100.0 * vr.value);
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, curve)) => curve.push(at),
            None => groups.push((group, vec![at])),
        }
    }
    groups.iter_mut().for_each(|(_, curve)| curve.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let curves: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(at, (name, curve))| (name.as_str(), COLOURS[at % COLOURS.len()], curve.clone()))
        .collect();
    page.curves("VR in percent over FRR in percent", "FRR", &curves);
    let tasks: std::collections::BTreeSet<&String> = points.iter().flat_map(|point| point.helpfulness.keys()).collect();
    let mut columns =
        vec![Column::text("run"), Column::number("VR"), Column::number("FRR"), Column::number("unusable")];
    columns.extend(tasks.iter().map(|task| Column::number(task.as_str())));
    let percent = |rate: Option<&Estimate>| rate.map(Estimate::percent).unwrap_or_default();
    let rows = points.iter().enumerate().map(|(at, point)| {
        let name = Cell::from(point.name.as_str());
        let mut row = vec![
            if best == Some(at) { name.strong().note("best") } else { name },
            percent(point.vr.as_ref()).into(),
            percent(point.frr.as_ref()).into(),
            format!("{:.1}%", 100.0 * point.unusable).into(),
        ];
        row.extend(tasks.iter().map(|task| {
            let cell = Cell::from(percent(point.helpfulness.get(*task)));
            if point.lost.contains(task) { cell.bad() } else { cell }
        }));
        row
    });
    page.table(columns, rows.collect());
    page.pre(lines.join("\n"));
    page
}
