//! `herd safety filter`: filters files of records, and counts the effect of each rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dataset::Invalid;
use dataset::jsonl::{self, AtomicWriter, OnBadLine};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Dropped, Filters, Limits, fields};
use crate::code::{Issue, Language, Level};
use crate::domains::Domains;
use crate::pii::{Finding, Kind, Pii};
use crate::toxicity::Toxicity;
use crate::words::Words;

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Hosts and addresses of lists (--lists, --allow)
    Url,
    /// Personal data and keys
    Pii,
    /// A list of words (--words)
    Words,
    /// Insecure code in code blocks, and in programs (--code-field)
    Code,
    /// A linear model of toxic comments (--toxicity)
    Toxicity,
}

/// Arguments of `herd safety filter`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Files of records, one record a line; several files form one set
    #[arg(long, num_args = 1.., required = true, value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// Output file for kept records; the name selects .gz, .zst or .parquet
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The filters
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Rule::Pii])]
    pub rules: Vec<Rule>,
    /// Record fields to read: texts, or lists of messages
    #[arg(long = "field", value_delimiter = ',', default_values_t = [String::from("text"), String::from("messages")])]
    pub fields: Vec<String>,
    /// Output file for dropped records, each with `dropped`: rule, value, limit, detail
    #[arg(long, value_name = "FILE")]
    pub removed: Option<PathBuf>,
    /// Write invalid lines to this file instead of stopping
    #[arg(long, value_name = "FILE")]
    pub rejected: Option<PathBuf>,

    /// Lists of hosts: files, or folders with NAME.txt or NAME/domains and NAME/urls
    #[arg(long, num_args = 1.., value_name = "PATH", help_heading = "Addresses")]
    pub lists: Vec<PathBuf>,
    /// Hosts that no list blocks
    #[arg(long, value_name = "FILE", help_heading = "Addresses")]
    pub allow: Option<PathBuf>,
    /// The field with a record's address
    #[arg(long, default_value = "url", help_heading = "Addresses")]
    pub url_field: String,

    /// Replace personal data by <EMAIL>, <PHONE>, <CARD>, <IBAN>, <SSN>, <ID>, <IP>, <SECRET>
    #[arg(long, help_heading = "Personal data")]
    pub redact: bool,
    /// Kinds of personal data to find. Names and postal addresses have no fixed form and are not found
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL, help_heading = "Personal data")]
    pub kinds: Vec<Kind>,
    /// Leave out findings with a lower score (0.3 to 1)
    #[arg(long, default_value_t = 0.0, help_heading = "Personal data")]
    pub min_score: f32,
    /// Write every finding of personal data and insecure code to this file, with its place and the reason
    #[arg(long, value_name = "FILE")]
    pub explain: Option<PathBuf>,
    /// Add the text of each finding to --explain
    #[arg(long, requires = "explain", help_heading = "Personal data")]
    pub show_text: bool,

    /// A list of words, one on each line
    #[arg(long, value_name = "FILE", help_heading = "Words")]
    pub words: Option<PathBuf>,
    /// A table of weights (docs/safety.md explains how to make it)
    #[arg(long, value_name = "FILE", help_heading = "Words")]
    pub toxicity: Option<PathBuf>,

    /// Fields that contain programs; code blocks are searched in the fields of --field
    #[arg(long = "code-field", value_delimiter = ',', value_name = "NAME", help_heading = "Insecure code")]
    pub code_fields: Vec<String>,
    /// Language of the programs, for records that do not name it
    #[arg(long, value_enum, help_heading = "Insecure code")]
    pub code_language: Option<Language>,
    /// The field with a record's language
    #[arg(long, default_value = "language", value_name = "NAME", help_heading = "Insecure code")]
    pub language_field: String,
    /// The lowest severity that counts
    #[arg(long, value_enum, default_value_t = Level::Warning, help_heading = "Insecure code")]
    pub code_level: Level,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub limits: Limits,
}

/// Counts of a run.
#[derive(Debug, Default, Serialize)]
struct Counts {
    records: u64,
    kept: u64,
    /// For each rule: records and bytes of text dropped.
    dropped: BTreeMap<String, (u64, u64)>,
    /// Number of records without a text; they are kept unchanged.
    without_text: u64,
    /// Number of records with a program in an unknown language.
    without_language: u64,
    /// Number of records without an address, if addresses are filtered.
    without_address: u64,
    /// Number of findings in kept records, by kind.
    found: BTreeMap<&'static str, u64>,
    with_findings: u64,
    bad: u64,
}

/// Runs `herd safety filter`.
///
/// # Errors
/// An error names `file:line` and the fault in a record, a list or a flag. Output files are either complete or absent.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(!args.rules.is_empty(), "--rules names no filter");
    for input in &args.input {
        let same = |path: &Path| std::fs::canonicalize(path).ok().zip(std::fs::canonicalize(input).ok());
        let outputs = [Some(&args.output), args.removed.as_ref(), args.explain.as_ref(), args.rejected.as_ref()];
        for output in outputs.into_iter().flatten() {
            let is_input = same(output).is_some_and(|(one, other)| one == other);
            ensure!(!is_input, "{}: the output must be another file than the input", output.display());
        }
    }
    let filters = filters(args)?;
    let mut out = AtomicWriter::create(&args.output)?;
    let mut removed = args.removed.as_ref().map(AtomicWriter::create).transpose()?;
    let mut explain = args.explain.as_ref().map(AtomicWriter::create).transpose()?;
    let mut counts = Counts::default();
    for (number, path) in args.input.iter().enumerate() {
        let on_bad = match &args.rejected {
            None => OnBadLine::Error,
            Some(rejects) if number == 0 => OnBadLine::SetAside(rejects.clone()),
            Some(rejects) => OnBadLine::SetAside(numbered(rejects, number)),
        };
        let mut reader = jsonl::read::<Value>(path, on_bad)?;
        while let Some(record) = reader.next() {
            let mut record = record?;
            let outcome = match one(args, &filters, &mut record, &mut counts) {
                Ok(outcome) => outcome,
                Err(what) => {
                    reader.reject(Invalid(what), &record)?;
                    continue;
                }
            };
            counts.records += 1;
            let id = record.get("id").cloned().unwrap_or_else(|| reader.place().to_string().into());
            if let Some(explain) = &mut explain {
                for mut line in outcome.lines {
                    line["id"] = id.clone();
                    explain.write(&line)?;
                }
            }
            match outcome.dropped {
                None => {
                    counts.kept += 1;
                    out.write(&record)?;
                }
                Some(dropped) => {
                    let count = counts.dropped.entry(dropped.rule.clone()).or_default();
                    *count = (count.0 + 1, count.1 + outcome.bytes);
                    if let Some(removed) = &mut removed {
                        record["dropped"] = serde_json::to_value(&dropped)?;
                        removed.write(&record)?;
                    }
                }
            }
        }
        counts.bad += reader.bad();
    }
    out.finish()?;
    removed.map(AtomicWriter::finish).transpose()?;
    explain.map(AtomicWriter::finish).transpose()?;
    let gone: u64 = counts.dropped.values().map(|count| count.0).sum();
    ensure!(gone + counts.kept == counts.records, "a record was lost");
    print(args, &counts);
    Ok(())
}

/// The path for the file with index `number`: `rejected.jsonl` becomes `rejected-1.jsonl`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

/// Result of filtering a record.
struct Outcome {
    dropped: Option<Dropped>,
    /// Size of its texts in bytes.
    bytes: u64,
    /// Findings for --explain.
    lines: Vec<Value>,
}

fn one(args: &Args, filters: &Filters, record: &mut Value, counts: &mut Counts) -> Result<Outcome, String> {
    if !record.is_object() {
        return Err("the line is no object".into());
    }
    let address = record.get(&args.url_field).and_then(Value::as_str).map(str::to_owned);
    if filters.domains.is_some() && address.is_none() {
        counts.without_address += 1;
    }
    let mut parts: Vec<String> = Vec::new();
    for field in &args.fields {
        parts.extend(fields::texts(record, field)?.into_iter().flatten().map(|text| text.clone()));
    }
    let programs = programs(args, filters, record, counts)?;
    counts.without_text += u64::from(parts.is_empty() && programs.is_empty());
    let whole = parts.join("\n\n");
    let bytes = whole.len() + programs.iter().map(|(_, _, program)| program.len()).sum::<usize>();
    let judged = filters.judge(&whole, address.as_deref());
    let mut outcome = Outcome { dropped: judged.dropped, bytes: bytes as u64, lines: Vec::new() };
    if filters.code.is_some() {
        // Offsets in the concatenated texts of the fields, which are joined by two line breaks.
        let texts = if args.fields.len() == 1 { args.fields[0].clone() } else { args.fields.join("+") };
        outcome.lines.extend(judged.code.iter().map(|issue| code_line(&texts, issue)));
        for (field, language, program) in programs {
            let (issues, dropped) = filters.judge_code(language, &program);
            outcome.lines.extend(issues.iter().map(|issue| code_line(&field, issue)));
            outcome.dropped = outcome.dropped.or(dropped);
        }
    }
    if outcome.dropped.is_some() || filters.pii.is_none() {
        return Ok(outcome);
    }
    let mut any = false;
    for field in &args.fields {
        for (at, text) in fields::texts(record, field)?.into_iter().flatten().enumerate() {
            let redacted = filters.redact(text);
            any |= !redacted.findings.is_empty();
            for finding in &redacted.findings {
                *counts.found.entry(finding.kind().name()).or_default() += 1;
                if args.explain.is_some() {
                    outcome.lines.push(line(text, &format!("{field}[{at}]"), finding, args.show_text));
                }
            }
            if args.redact {
                *text = redacted.text;
            }
        }
    }
    counts.with_findings += u64::from(any);
    Ok(outcome)
}

/// The programs of a record: field, language, text.
fn programs(
    args: &Args,
    filters: &Filters,
    record: &mut Value,
    counts: &mut Counts,
) -> Result<Vec<(String, Language, String)>, String> {
    let mut all = Vec::new();
    if filters.code.is_none() {
        return Ok(all);
    }
    let named = record.get(&args.language_field).and_then(Value::as_str).map(Language::named);
    let language = named.filter(|language| *language != Language::Other).or(args.code_language);
    for field in &args.code_fields {
        for program in fields::texts(record, field)?.into_iter().flatten() {
            all.push((field.clone(), language.unwrap_or(Language::Other), program.clone()));
        }
    }
    counts.without_language += u64::from(!all.is_empty() && language.is_none());
    Ok(all)
}

/// A finding of insecure code in the format of `--explain`.
fn code_line(field: &str, issue: &Issue) -> Value {
    let Issue { start, end, line, rule, level } = issue;
    json!({
        "id": null, "field": field, "line": line, "start": start, "end": end, "kind": "code", "rule": rule.id,
        "cwe": rule.cwe, "level": level.name(), "why": rule.message,
    })
}

/// A finding of personal data in the format of `--explain`: offsets in bytes and in characters.
fn line(text: &str, field: &str, finding: &Finding, show: bool) -> Value {
    let characters = text[..finding.start].chars().count();
    let found = &text[finding.start..finding.end];
    let mut line = json!({
        "id": null, "field": field, "start": finding.start, "end": finding.end, "char_start": characters,
        "char_end": characters + found.chars().count(), "kind": finding.kind().name(), "rule": finding.rule.name,
        "score": (f64::from(finding.score()) * 100.0).round() / 100.0, "why": finding.explain(),
    });
    if show {
        line["text"] = found.into();
    }
    line
}

fn filters(args: &Args) -> anyhow::Result<Filters> {
    let has = |rule: Rule| args.rules.contains(&rule);
    let mut filters = Filters::new(args.limits.clone());
    if has(Rule::Url) {
        ensure!(!args.lists.is_empty(), "the filter url needs --lists: files of hosts, or folders of them");
        let mut domains = Domains::new();
        for path in &args.lists {
            if path.is_dir() {
                domains.add_folder(path)?;
            } else {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = name.split('.').next().unwrap_or_default().to_owned();
                domains.add_file(&name, path)?;
            }
        }
        if let Some(path) = &args.allow {
            domains.allow_file(path)?;
        }
        for (name, counts) in domains.lists().chain([("allow", domains.allowed())]) {
            let bad = match counts.bad {
                0 => String::new(),
                bad => format!("; {bad} lines are no host, the first is line {}", counts.first_bad),
            };
            if counts.hosts + counts.paths > 0 {
                println!("list {name}: {} hosts, {} addresses{bad}", counts.hosts, counts.paths);
            }
        }
        filters.domains = Some(domains);
    } else if !args.lists.is_empty() || args.allow.is_some() {
        bail!("--lists and --allow belong to the filter url; add it to --rules");
    }
    if has(Rule::Pii) {
        filters.pii = Some(Pii::new(&args.kinds).min_score(args.min_score));
    } else if args.redact {
        bail!("--redact belongs to the filter pii; add it to --rules");
    } else if args.explain.is_some() && !has(Rule::Code) {
        bail!("--explain belongs to the filters pii and code; add one of them to --rules");
    }
    if has(Rule::Code) {
        filters.code = Some(args.code_level);
    } else if !args.code_fields.is_empty() || args.code_language.is_some() {
        bail!("--code-field and --code-language belong to the filter code; add it to --rules");
    }
    match (has(Rule::Words), &args.words) {
        (true, Some(path)) => filters.words = Some(Words::from_file(path)?),
        (true, None) => {
            bail!("the filter words needs --words: a file with a word or phrase a line (docs/safety.md names lists)")
        }
        (false, Some(_)) => bail!("--words belongs to the filter words; add it to --rules"),
        (false, None) => {}
    }
    match (has(Rule::Toxicity), &args.toxicity) {
        (true, Some(path)) => {
            let model = Toxicity::from_file(path).context("--toxicity")?;
            println!("toxicity: {} words of {}", model.words(), model.source());
            filters.toxicity = Some(model);
        }
        (true, None) => {
            bail!("the filter toxicity needs --toxicity: a table of weights (docs/safety.md says how it is made)")
        }
        (false, Some(_)) => bail!("--toxicity belongs to the filter toxicity; add it to --rules"),
        (false, None) => {}
    }
    Ok(filters)
}

fn print(args: &Args, counts: &Counts) {
    println!("{} records, {} kept: {}", counts.records, counts.kept, args.output.display());
    for (rule, (records, bytes)) in &counts.dropped {
        println!("  dropped by {rule}: {records} records, {bytes} bytes");
    }
    if args.rules.contains(&Rule::Pii) {
        let kinds: Vec<String> = counts.found.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let found = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        let what = if args.redact { "redacted" } else { "found" };
        println!("  personal data {what} in {} kept records: {found}", counts.with_findings);
    }
    for (count, what) in [
        (counts.without_text, format!("have none of the fields {}", args.fields.join(", "))),
        (counts.without_language, "have a program of no known language: only keys and tokens were looked for".into()),
        (counts.without_address, format!("have no {}: no list was asked", args.url_field)),
        (counts.bad, "lines were set aside".into()),
    ] {
        if count > 0 {
            println!("  {count} {what}");
        }
    }
}
