//! Measures the speed of the filters on one core, and counts their findings on real texts.
//!
//!     cargo bench -p safety-text --bench filters                       # the texts of ../shared/data
//!     cargo bench -p safety-text --bench filters -- FILE ...           # .txt, .jsonl (field text), plain or .gz
//!     LABELLED=docs.jsonl cargo bench -p safety-text --bench filters   # {"text", "entities": [{"start", "end", "kind"}]}
//!     DOMAINS=FILE cargo bench -p safety-text --bench filters          # load time, memory, look-ups of a list of hosts
//!
//! Texts are not printed, except for findings with `SHOW=1`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use safety_text::domains::Domains;
use safety_text::pii::Pii;
use serde_json::Value;

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|ending| ending != "gz") {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// The texts of a file: one per line of a `.jsonl` file (its text fields joined), otherwise the whole file.
fn texts(path: &Path) -> Vec<String> {
    let whole = read(path);
    if !path.to_string_lossy().contains(".jsonl") {
        return vec![whole];
    }
    let record = |line: &str| -> Option<String> {
        let record: Value = serde_json::from_str(line).ok()?;
        let fields = ["text", "question", "answer", "prompt", "canonical_solution", "code", "completion"];
        Some(fields.iter().filter_map(|field| record[*field].as_str()).collect::<Vec<_>>().join("\n"))
    };
    whole.lines().filter_map(record).collect()
}

fn main() {
    let arguments: Vec<PathBuf> =
        std::env::args().skip(1).filter(|word| word != "--bench").map(PathBuf::from).collect();
    if let Some(path) = std::env::var_os("DOMAINS") {
        domains(Path::new(&path));
    }
    if let Some(path) = std::env::var_os("LABELLED") {
        labelled(Path::new(&path));
    }
    if std::env::var_os("DOMAINS").is_some() || std::env::var_os("LABELLED").is_some() {
        return;
    }
    let files = if arguments.is_empty() { shared() } else { arguments };
    let pii = Pii::default();
    for path in files {
        let texts = texts(&path);
        let bytes: usize = texts.iter().map(String::len).sum();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            let count: usize = texts.iter().map(|text| pii.find(text).len()).sum();
            best = best.min(start.elapsed().as_secs_f64());
            std::hint::black_box(count);
        }
        let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
        for text in &texts {
            for finding in pii.find(text) {
                *rules.entry(finding.rule.name).or_default() += 1;
                if std::env::var_os("SHOW").is_some() {
                    let from = text[..finding.start].char_indices().rev().nth(40).map_or(0, |at| at.0);
                    println!("    {:<20} {:?}", finding.rule.name, &text[from..finding.end]);
                }
            }
        }
        let megabytes = bytes as f64 / 1e6;
        println!("{:>8.2} MB {:>7.0} MB/s  {} {rules:?}", megabytes, megabytes / best, path.display());
    }
}

fn shared() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let mut all = Vec::new();
    for folder in ["jane_austen", "gsm8k", "rust_docs", "udhr", "mbpp", "humaneval", "tinyshakespeare"] {
        let Ok(entries) = std::fs::read_dir(data.join(folder)) else { continue };
        all.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".gz")));
    }
    all.sort();
    all
}

/// Precision and recall on documents that another program labelled.
fn labelled(path: &Path) {
    let pii = Pii::default();
    let mut table: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let show = std::env::var_os("SHOW").is_some();
    for line in read(path).lines() {
        let record: Value = serde_json::from_str(line).expect("a record a line");
        let text = record["text"].as_str().expect("a text");
        let entities: Vec<(usize, usize, &str)> = record["entities"]
            .as_array()
            .expect("entities")
            .iter()
            .map(|e| {
                let at = |key: &str| e[key].as_u64().expect("an offset in bytes") as usize;
                (at("start"), at("end"), e["kind"].as_str().expect("a kind"))
            })
            .collect();
        let findings = pii.find(text);
        let agrees = |f: &safety_text::pii::Finding, e: &(usize, usize, &str)| {
            let common = f.end.min(e.1).saturating_sub(f.start.max(e.0));
            f.kind().name() == e.2 && common * 5 >= (f.end.max(e.1) - f.start.min(e.0)) * 4
        };
        let before = |at: usize| text[..at].char_indices().rev().nth(30).map_or(0, |at| at.0);
        for f in &findings {
            let right = entities.iter().any(|e| agrees(f, e));
            for kind in [f.kind().name(), "all"] {
                let row = table.entry(kind.into()).or_default();
                row[0] += usize::from(right);
                row[1] += 1;
            }
            if !right && show {
                println!("false  {:<20} {:?}", f.rule.name, &text[before(f.start)..f.end]);
            }
        }
        for e in &entities {
            let found = findings.iter().any(|f| agrees(f, e));
            for kind in [e.2, "all"] {
                let row = table.entry(kind.into()).or_default();
                row[2] += usize::from(found);
                row[3] += 1;
            }
            if !found && show {
                println!("missed {:<20} {:?}", e.2, &text[before(e.0)..e.1]);
            }
        }
    }
    for (kind, [right, findings, found, data]) in table {
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        println!(
            "{kind:<8} precision {:.4} ({right} of {findings})  recall {:.4} ({found} of {data})",
            share(right, findings),
            share(found, data)
        );
    }
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    of("VmRSS:") * 1024.0
}

fn domains(path: &Path) {
    let before = resident();
    let mut lists = Domains::new();
    let start = Instant::now();
    let counts = lists.add_file("list", path).expect("the list");
    let seconds = start.elapsed().as_secs_f64();
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
    println!(
        "{counts:?}\nloaded in {seconds:.2} s; entries {:.1} MB, resident {:.1} MB more; {peak}",
        lists.bytes() as f64 / 1e6,
        (resident() - before) / 1e6
    );
    // Subdomains of listed hosts, and hosts that are in no list.
    let mut hosts: Vec<String> = Vec::new();
    for (number, line) in read(path).lines().step_by(41).take(100_000).enumerate() {
        hosts.push(format!("www.{}", line.trim()));
        hosts.push(format!("page{number}.unlisted-{number}.example.com"));
    }
    let start = Instant::now();
    let found = hosts.iter().filter(|host| lists.find(host).is_some()).count();
    let seconds = start.elapsed().as_secs_f64();
    println!("{} look-ups, {found} found: {:.2} million a second", hosts.len(), hosts.len() as f64 / seconds / 1e6);
}
