//! `herd safety guard eval`: figures of a guard on labelled records.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use run::{Cell, Class, Column, Facts, Frame, Input, Page, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use super::{OpenModel, Which};
use crate::guard::{Guard, Judge, Verdict};
use crate::measure::{Figures, Judged};
use crate::record::{Asked, Labelled, read, write_private};
use crate::robust::{SPELLINGS, spelled, suffix_flip};
use crate::train::{SEEN, seen};

const ITEMS: &str = "items.jsonl";
const REPORT: &str = "report.json";
const PAGE: &str = "report.html";
/// Number of records judged in one batch.
const BATCH: usize = 64;

/// Arguments of `herd safety guard eval`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    which: Which,
    /// Labelled records
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The folder for report.json, report.html and items.jsonl (ids and verdicts, no texts)
    #[arg(long)]
    output: PathBuf,
    /// Also measure records that the guard was trained on
    #[arg(long)]
    allow_seen: bool,
    /// Switch off each category with labelled records in turn, and count the verdicts that change
    #[arg(long)]
    toggles: bool,
    /// Number of unsafe records to test with harmless words at the end and other spellings; 0 for none
    #[arg(long, default_value_t = 0, value_name = "N")]
    robustness: usize,
    /// Maximum number of harmless words
    #[arg(long, default_value_t = 10, value_name = "N")]
    suffix_words: usize,
}

/// Measures a guard. No text is printed or written.
///
/// # Errors
/// When the guard cannot be opened, a record is invalid or was trained on, or a file cannot be written.
pub fn run(args: &Args, open: OpenModel) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let folder = args.which.guard.clone().context("--guard is missing: the folder of a guard")?;
    let mut inputs = Vec::new();
    for name in [crate::card::CARD, crate::card::LINEAR] {
        if folder.join(name).is_file() {
            inputs.push(Input::file("guard", &folder.join(name))?);
        }
    }
    for path in &args.data {
        inputs.push(Input::file("data", path)?);
    }
    let facts = Facts {
        inputs,
        ..Facts::new("safety guard eval", |key| if key == "output" { Class::Free } else { Class::Course })
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let (mut guard, _) = args.which.open(open)?;
    let records = read(&args.data, guard.policy())?;
    let known = std::fs::read_to_string(folder.join(SEEN)).unwrap_or_default();
    let known: std::collections::HashSet<&str> = known.lines().collect();
    let trained: Vec<&str> =
        records.iter().filter(|r| known.contains(seen(&r.asked).as_str())).map(|r| r.id.as_str()).collect();
    ensure!(
        trained.is_empty() || args.allow_seen,
        "{} of {} records were trained or calibrated on, the first is {}; leave them out, or give --allow-seen",
        trained.len(),
        records.len(),
        trained.first().unwrap_or(&"")
    );
    session.start(Value::Null)?;
    let verdicts = judge(&mut guard, &records.iter().map(|record| record.asked.clone()).collect::<Vec<_>>())?;
    let items: String = records.iter().zip(&verdicts).map(|(record, verdict)| item(record, verdict) + "\n").collect();
    write_private(&args.output.join(ITEMS), items.as_bytes())?;
    let parts = parts(&records, &verdicts);
    let mut lines: Vec<String> = parts.iter().map(|(name, figures)| format!("{name}: {}", figures.line())).collect();
    lines.push(format!("{} records were trained or calibrated on", trained.len()));
    let toggles = if args.toggles { toggles(&mut guard, &records, &verdicts)? } else { Vec::new() };
    lines.extend(toggles.iter().map(|toggle| format!("without {}", toggle.line())));
    let robustness = robustness(&mut guard, &records, &verdicts, args)?;
    lines.extend(robustness.iter().map(|(name, part)| format!("turned safe by {name}: {}", part.percent())));
    let report = json!({
        "parts": parts.iter().map(|(name, figures)| json!({"name": name, "figures": figures})).collect::<Vec<_>>(),
        "toggles": toggles,
        "robustness": robustness.iter().map(|(name, part)| json!({"name": name, "turned": part})).collect::<Vec<_>>(),
    });
    dataset::write_file(args.output.join(REPORT), serde_json::to_string_pretty(&report)?.as_bytes())?;
    page(&parts, &lines).write(&args.output.join(PAGE))?;
    let summary = lines.join("\n");
    session.finish(&[ITEMS, REPORT, PAGE], &summary, json!({"records": records.len()}))?;
    println!("{summary}");
    Ok(())
}

fn judge(guard: &mut Guard, asked: &[Asked]) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::with_capacity(asked.len());
    for batch in asked.chunks(BATCH) {
        verdicts.extend(guard.judge(batch)?);
    }
    Ok(verdicts)
}

/// The output line of a record, without its text.
fn item(record: &Labelled, verdict: &Verdict) -> String {
    let round = |score: f64| (score * 1e6).round() / 1e6;
    let categories: BTreeMap<&String, f64> = verdict.categories.iter().map(|(id, score)| (id, round(*score))).collect();
    json!({"id": record.id, "source": record.source, "language": record.language,
        "expected": if record.is_unsafe { "unsafe" } else { "safe" }, "expected_categories": record.categories,
        "label": if verdict.is_unsafe { "unsafe" } else { "safe" }, "score": round(verdict.score), "mass": verdict.mass.map(round),
        "categories": categories, "violated": verdict.violated, "windows": verdict.windows})
    .to_string()
}

/// The figures of all records, and by source, language and category (each category against all safe records).
fn parts(records: &[Labelled], verdicts: &[Verdict]) -> Vec<(String, Figures)> {
    let mut of: BTreeMap<(u8, String), Vec<Judged>> = BTreeMap::new();
    for (record, verdict) in records.iter().zip(verdicts) {
        let judged = Judged { score: verdict.score, flagged: verdict.is_unsafe, is_unsafe: record.is_unsafe };
        let language = record.language.clone().unwrap_or_else(|| "unnamed".into());
        let mut keys =
            vec![(0, "all".to_owned()), (1, format!("source {}", record.source)), (2, format!("language {language}"))];
        keys.extend(record.categories.iter().map(|id| (3, format!("category {id}"))));
        keys.into_iter().for_each(|key| of.entry(key).or_default().push(judged.clone()));
    }
    of.into_iter().map(|((_, name), judged)| (name, Figures::of(&judged.iter().collect::<Vec<_>>()))).collect()
}

/// The effect of switching a category off.
#[derive(Debug, Clone, Serialize)]
struct Toggle {
    category: String,
    /// Number of flagged records with only this category, and of those that become safe.
    own: (usize, usize),
    /// Number of other records, and of those that keep their verdict.
    others: (usize, usize),
}

impl Toggle {
    fn line(&self) -> String {
        let share = |(all, part): (usize, usize)| match all {
            0 => "none".to_owned(),
            _ => format!("{part} of {all} ({})", stats::proportion(part, all).percent()),
        };
        format!(
            "{}: of its own flagged records turn safe {}, of the others keep their verdict {}",
            self.category,
            share(self.own),
            share(self.others)
        )
    }
}

fn toggles(guard: &mut Guard, records: &[Labelled], verdicts: &[Verdict]) -> anyhow::Result<Vec<Toggle>> {
    let policy = guard.policy().clone();
    let asked: Vec<Asked> = records.iter().map(|record| record.asked.clone()).collect();
    let mut toggles = Vec::new();
    for category in &policy.categories {
        let only = |record: &Labelled| record.categories == [category.id.clone()];
        if !category.enabled || !records.iter().any(only) {
            continue;
        }
        let mut without = policy.clone();
        without.categories.iter_mut().filter(|other| other.id == category.id).for_each(|other| other.enabled = false);
        guard.set_policy(without);
        let (mut own, mut others) = ((0, 0), (0, 0));
        for ((record, before), after) in records.iter().zip(verdicts).zip(judge(guard, &asked)?) {
            if only(record) && before.is_unsafe {
                own = (own.0 + 1, own.1 + usize::from(!after.is_unsafe));
            } else if !record.categories.contains(&category.id) {
                others = (others.0 + 1, others.1 + usize::from(after.is_unsafe == before.is_unsafe));
            }
        }
        toggles.push(Toggle { category: category.id.clone(), own, others });
    }
    guard.set_policy(policy);
    Ok(toggles)
}

/// The shares of the first flagged unsafe records whose verdict changes.
fn robustness(
    guard: &mut Guard,
    records: &[Labelled],
    verdicts: &[Verdict],
    args: &Args,
) -> anyhow::Result<Vec<(String, stats::Estimate)>> {
    let flagged = records.iter().zip(verdicts).filter(|(record, verdict)| record.is_unsafe && verdict.is_unsafe);
    let tried: Vec<Asked> = flagged.map(|(record, _)| record.asked.clone()).take(args.robustness).collect();
    if tried.is_empty() {
        return Ok(Vec::new());
    }
    let mut turned = 0;
    for asked in &tried {
        turned += usize::from(suffix_flip(guard, asked, args.suffix_words)?.is_some());
    }
    let share = |turned: usize| stats::proportion(turned, tried.len());
    let mut all = vec![(format!("at most {} harmless words at the end", args.suffix_words), share(turned))];
    for spelling in SPELLINGS {
        let other: Vec<Asked> = tried.iter().map(|asked| spelled(asked, spelling)).collect();
        let turned = judge(guard, &other)?.iter().filter(|verdict| !verdict.is_unsafe).count();
        all.push((spelling.to_owned(), share(turned)));
    }
    Ok(all)
}

fn page(parts: &[(String, Figures)], lines: &[String]) -> Page {
    let mut page = Page::new("herd safety guard eval");
    let columns =
        ["safe", "unsafe", "FPR", "recall", "F1", "AUPRC"].iter().fold(vec![Column::text("part")], |mut all, name| {
            all.push(Column::number(*name));
            all
        });
    let percent = |share: &Option<stats::Estimate>| share.as_ref().map_or(String::new(), stats::Estimate::percent);
    let number = |figure: Option<f64>| figure.map_or(String::new(), |figure| format!("{figure:.3}"));
    let rows = parts.iter().map(|(name, figures)| {
        [
            name.clone(),
            figures.safe.to_string(),
            figures.unsafe_.to_string(),
            percent(&figures.fpr),
            percent(&figures.recall),
            number(figures.f1),
            number(figures.auprc),
        ]
        .into_iter()
        .map(Cell::from)
        .collect()
    });
    page.table(columns, rows.collect());
    page.pre(lines.join("\n"));
    page
}
