//! `herd data tokenizer report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::jsonl::{self, OnBadLine};
use run::{Cell, Class, Column, Facts, Frame, Page, Session, from_flags, grouped};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{inputs, tokenizer_file};
use crate::encode::{Encoder, Pool};
use crate::report::{Checked, Grouped, Measured, Sums, check, rare, shown};

/// Arguments of `herd data tokenizer report`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The tokenizer: its folder or tokenizer.json
    #[arg(long)]
    pub tokenizer: PathBuf,
    /// Other tokenizers to compare with
    #[arg(long, num_args = 1..)]
    pub against: Vec<PathBuf>,
    /// Files of documents: records with `text`, or one text per file (.txt)
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The key by which texts are grouped, such as their language or domain; texts without the key are grouped by
    /// file
    #[arg(long, default_value = "language")]
    pub by: String,
    /// The folder for report.json, report.html and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// A token that occurs fewer times than this is rare
    #[arg(long, default_value_t = 1)]
    pub rare: u64,
    /// Threads that encode; 0 means one per core
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

const JSON: &str = "report.json";
const HTML: &str = "report.html";
/// Texts are measured in batches of about this many bytes.
const BATCH: usize = 16 << 20;
/// Number of printed groups; the files have all.
const PRINTED: usize = 24;

fn class(key: &str) -> Class {
    if ["tokenizer", "against", "input", "output", "threads"].contains(&key) { Class::Free } else { Class::Course }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let mut files = vec![tokenizer_file(&args.tokenizer).context("--tokenizer")?];
    for path in &args.against {
        files.push(tokenizer_file(path).context("--against")?);
    }
    let mut read = vec![run::Input::file("tokenizer", &files[0])?];
    read.extend(inputs("against", &files[1..])?);
    read.extend(inputs("input", &args.input)?);
    let facts = Facts { inputs: read, ..Facts::new("data tokenizer report", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let encoders: Vec<(Encoder, Pool)> =
        files.iter().map(|file| Ok((Encoder::open(file)?, Pool::new(args.threads)?))).collect::<anyhow::Result<_>>()?;
    let measured = measure(args, &encoders)?;
    ensure!(measured.all.bytes > 0, "the input has no text: nothing to measure");
    let checked = encoders[0].0.vocabulary().map(check);
    let names = names(&files);
    let json = figures(args, &encoders[0].0, &names, &measured, checked.as_ref());
    dataset::write_file(args.output.join(JSON), (serde_json::to_string_pretty(&json)? + "\n").as_bytes())?;
    page(&names, &measured, &json)?.write(&args.output.join(HTML))?;
    let summary = table(&names, &measured, &json);
    session.finish(&[JSON, HTML], &summary, json!({"all": json["all"], "vocabulary": json["vocabulary"]["counts"]}))?;
    println!("{summary}");
    Ok(())
}

/// Texts with their groups, measured batch by batch.
fn measure(args: &Args, encoders: &[(Encoder, Pool)]) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let (mut batch, mut size) = (Vec::new(), 0);
    for path in &args.input {
        let stem = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = stem.split('.').next().unwrap_or_default().to_owned();
        let mut take = |text: String, group: Option<String>| -> anyhow::Result<()> {
            size += text.len();
            batch.push(Grouped { group: group.unwrap_or_else(|| stem.clone()), text });
            if size >= BATCH {
                measured.add(&batch, encoders)?;
                batch.clear();
                size = 0;
            }
            Ok(())
        };
        if path.extension().is_some_and(|ending| ending == "txt") {
            take(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?, None)?;
            continue;
        }
        let mut reader = jsonl::read::<Map<String, Value>>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let mut record = record?;
            let Some(Value::String(text)) = record.remove("text") else {
                anyhow::bail!("{}: text: a record needs a text", reader.place());
            };
            let group = match record.get(&args.by) {
                None | Some(Value::Null) => None,
                Some(Value::String(group)) => Some(group.clone()),
                Some(other) => Some(other.to_string()),
            };
            take(text, group)?;
        }
    }
    measured.add(&batch, encoders)?;
    Ok(measured)
}

/// Short names that distinguish the tokenizers: of the folder, or of the file.
fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |file: &Path| {
        let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem == "tokenizer" { folder.unwrap_or(stem) } else { stem }
    };
    files.iter().map(|file| name(file)).collect()
}

fn rounded(value: f64) -> Value {
    ((value * 1e4).round() / 1e4).into()
}

fn row(sums: &Sums) -> Value {
    let per = |of: &dyn Fn(usize) -> f64| (0..sums.tokens.len()).map(|at| rounded(of(at))).collect::<Vec<_>>();
    json!({"texts": sums.texts, "chars": sums.chars, "bytes": sums.bytes, "words": sums.words, "tokens": sums.tokens,
        "bytes_per_token": per(&|at| sums.bytes_per_token(at)), "chars_per_token": per(&|at| sums.chars_per_token(at)),
        "tokens_per_word": per(&|at| sums.tokens_per_word(at))})
}

fn figures(args: &Args, encoder: &Encoder, names: &[String], measured: &Measured, checked: Option<&Checked>) -> Value {
    let groups: Map<String, Value> = measured.groups.iter().map(|(group, sums)| (group.clone(), row(sums))).collect();
    let vocabulary = match encoder.vocabulary().zip(checked) {
        None => {
            json!({"counts": {}, "note": "not a byte-level BPE with Llama 3's split: its vocabulary is not looked at"})
        }
        Some((vocabulary, checked)) => {
            let rare = rare(vocabulary, measured, checked, args.rare);
            let list = |ids: &[u32]| -> Vec<Value> {
                ids.iter().map(|id| json!([id, shown(vocabulary.bytes(*id).unwrap_or_default())])).collect()
            };
            json!({
                "counts": {"tokens": vocabulary.len(), "merges": vocabulary.merges().len(), "added": vocabulary.added().len(),
                    "unreachable": checked.unreachable.len(), "rare": rare.len(), "rare_below": args.rare,
                    "every_byte_comes_back": checked.every_byte_comes_back, "texts_that_do_not_come_back": measured.lost},
                "unreachable": list(&checked.unreachable),
                "rare": list(&rare),
            })
        }
    };
    json!({"tokenizers": names, "by": args.by, "all": row(&measured.all), "groups": groups, "vocabulary": vocabulary})
}

/// The first lines of the report, for a terminal.
fn table(names: &[String], measured: &Measured, json: &Value) -> String {
    let mut lines = vec![format!(
        "{} texts, {} bytes, {} groups; for each tokenizer bytes a token and tokens a word",
        grouped(measured.all.texts),
        grouped(measured.all.bytes),
        measured.groups.len()
    )];
    let heads: Vec<String> =
        names.iter().map(|name| format!("{:>18}", name.chars().take(18).collect::<String>())).collect();
    lines.push(format!("{:24}{}", "", heads.join("")));
    let line = |group: &str, sums: &Sums| {
        let group: String = group.chars().take(23).collect();
        let cells: Vec<String> = (0..names.len())
            .map(|at| format!("{:>10.2}{:>8.2}", sums.bytes_per_token(at), sums.tokens_per_word(at)))
            .collect();
        format!("{group:24}{}", cells.join(""))
    };
    let mut groups: Vec<(&String, &Sums)> = measured.groups.iter().collect();
    groups.sort_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then_with(|| a.0.cmp(b.0)));
    lines.extend(groups.iter().take(PRINTED).map(|(group, sums)| line(group, sums)));
    if groups.len() > PRINTED {
        lines.push(format!("{} more groups in {HTML}", groups.len() - PRINTED));
    }
    lines.push(line("all", &measured.all));
    let counts = &json["vocabulary"]["counts"];
    if counts["tokens"].is_number() {
        lines.push(format!(
            "{} tokens: {} unreachable, {} others that came up fewer than {} times; texts that do not come back from their \
             ids: {}",
            counts["tokens"], counts["unreachable"], counts["rare"], counts["rare_below"], counts["texts_that_do_not_come_back"]
        ));
    }
    lines.join("\n")
}

/// The report as a page.
fn page(names: &[String], measured: &Measured, json: &Value) -> anyhow::Result<Page> {
    let mut page = Page::new(format!("Tokenizer {}", names[0]));
    let mut columns = vec![Column::text("group"), Column::number("texts"), Column::number("bytes")];
    for name in names {
        columns.extend([
            Column::number(format!("{name}: bytes a token")),
            Column::number("characters a token"),
            Column::number("tokens a word"),
        ]);
    }
    let line = |group: &str, sums: &Sums| {
        let mut cells: Vec<Cell> = vec![group.into(), grouped(sums.texts).into(), grouped(sums.bytes).into()];
        for at in 0..names.len() {
            let figures = [sums.bytes_per_token(at), sums.chars_per_token(at), sums.tokens_per_word(at)];
            cells.extend(figures.map(|figure| Cell::from(format!("{figure:.2}"))));
        }
        cells
    };
    let mut rows = vec![line("all", &measured.all).into_iter().map(Cell::strong).collect::<Vec<_>>()];
    rows.extend(measured.groups.iter().map(|(group, sums)| line(group, sums)));
    page.heading(2, "Compression").paragraph(
        "A word is what stands between white space: languages that are written without spaces have few, and their tokens a word \
         say nothing.",
    );
    page.table(columns, rows);
    page.heading(2, "Vocabulary");
    page.columns(serde_json::to_string_pretty(&json["vocabulary"]["counts"])?);
    for (key, what) in [("unreachable", "tokens that no text has"), ("rare", "rare tokens in these texts")] {
        let list: Vec<String> = (json["vocabulary"][key].as_array().into_iter().flatten())
            .take(2000)
            .map(|entry| format!("{} {}", entry[0], entry[1].as_str().unwrap_or_default()))
            .collect();
        if !list.is_empty() {
            let mut inner = run::Blocks::default();
            inner.pre(list.join("\n"));
            page.details(format!("{what} (the first {})", list.len()), inner);
        }
    }
    Ok(page)
}
