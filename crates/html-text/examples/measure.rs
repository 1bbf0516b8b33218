//! Accuracy and speed on the pages of `shared/data/html_extraction`, compared with peers whose texts are in files.
//!
//!     cargo run -p html-text --example measure -- DATA [PEER.json ...] [--out TEXTS.json]
//!
//! The score is that of scrapinghub's article-extraction-benchmark: shingles of four words, counts by page, mean
//! precision and mean recall over the pages, F1 of the two means. Intervals are by bootstrap over pages (seeded),
//! paired for comparisons. Half of the pages (by the last digit of their id) are held out: no rule was made from
//! their content.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use html_text::{Kind, Options, extract};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const DRAWS: usize = 2_000;

fn main() -> anyhow::Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let out = args.iter().position(|arg| arg == "--out").and_then(|at| args.drain(at..at + 2).nth(1));
    let (data, peers) = args.split_first().context("usage: measure DATA [PEER.json ...] [--out TEXTS.json]")?;
    let data = Path::new(data);
    let truth: Value = serde_json::from_reader(std::fs::File::open(data.join("ground-truth.json"))?)?;
    let truth: BTreeMap<String, String> = truth
        .as_object()
        .context("ground-truth.json is not an object")?
        .iter()
        .map(|(id, page)| (id.clone(), page["articleBody"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let mut pages = Vec::new();
    for id in truth.keys() {
        let mut html = String::new();
        GzDecoder::new(std::fs::File::open(data.join(format!("html/{id}.html.gz")))?).read_to_string(&mut html)?;
        pages.push((id.clone(), html));
    }
    let options = Options::default();
    let mut texts = BTreeMap::new();
    let mut seconds = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for (id, html) in &pages {
            texts.insert(id.clone(), extract(html, &options).text);
        }
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let bytes: usize = pages.iter().map(|(_, html)| html.len()).sum();
    println!("{} pages, {:.1} MB, one thread, fastest of 5 passes", pages.len(), bytes as f64 / 1e6);
    println!("html-text: {:.0} pages/s, {:.0} MB/s", pages.len() as f64 / seconds, bytes as f64 / 1e6 / seconds);

    let score_all = |texts: &BTreeMap<String, String>| -> Vec<Score> {
        truth.iter().map(|(id, truth)| score(truth, texts.get(id).map_or("", String::as_str))).collect()
    };
    let held: Vec<bool> = truth.keys().map(|id| held_out(id)).collect();
    let ours = score_all(&texts);
    report("html-text", &ours, &held, None);
    let mut others = BTreeMap::new();
    for path in peers {
        let peer: Value = serde_json::from_reader(std::fs::File::open(path).with_context(|| path.clone())?)?;
        let texts: BTreeMap<String, String> = serde_json::from_value(peer["texts"].clone())?;
        let name = Path::new(path).file_stem().map_or(path.clone(), |stem| stem.to_string_lossy().into_owned());
        report(&name, &score_all(&texts), &held, Some(&ours));
        if let Some(theirs) = peer["seconds"].as_f64() {
            println!(
                "    {:.1} pages/s; html-text is {:.1} times as fast",
                pages.len() as f64 / theirs,
                theirs / seconds
            );
        }
        others.insert(name, texts);
    }
    web_main_bench(data, &others, &mut texts)?;
    if let Some(out) = out {
        std::fs::write(out, json!({"seconds": seconds, "texts": texts}).to_string())?;
    }
    Ok(())
}

fn held_out(id: &str) -> bool {
    id.chars().last().and_then(|c| c.to_digit(16)).is_some_and(|digit| digit % 2 == 1)
}

/// Precision and recall of a page; `None` if there is nothing to count.
type Score = (Option<f64>, Option<f64>);

fn score(truth: &str, text: &str) -> Score {
    let (truth, text) = (shingles(truth), shingles(text));
    let common: usize = truth.iter().map(|(shingle, count)| count.min(text.get(shingle).unwrap_or(&0))).sum();
    let share = |all: usize| (all > 0).then(|| common as f64 / all as f64);
    (share(text.values().sum()), share(truth.values().sum()))
}

fn shingles(text: &str) -> HashMap<Vec<&str>, usize> {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
    let mut counts = HashMap::new();
    for at in 0..(words.len().max(4) - 3).min(words.len()) {
        *counts.entry(words[at..words.len().min(at + 4)].to_vec()).or_insert(0) += 1;
    }
    counts
}

fn f1(scores: impl Iterator<Item = Score> + Clone) -> (f64, f64, f64) {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let precision = mean(scores.clone().filter_map(|score| score.0).collect());
    let recall = mean(scores.filter_map(|score| score.1).collect());
    (precision, recall, 2.0 * precision * recall / (precision + recall))
}

fn report(name: &str, scores: &[Score], held: &[bool], ours: Option<&[Score]>) {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let (mut own, mut difference) = (Vec::new(), Vec::new());
    for _ in 0..DRAWS {
        let drawn: Vec<usize> = (0..scores.len()).map(|_| random.random_range(0..scores.len())).collect();
        let one = f1(drawn.iter().map(|&at| scores[at])).2;
        own.push(one);
        if let Some(ours) = ours {
            difference.push(f1(drawn.iter().map(|&at| ours[at])).2 - one);
        }
    }
    let part =
        |wanted: bool| f1(scores.iter().zip(held).filter(move |(_, held)| **held == wanted).map(|(score, _)| *score)).2;
    let (precision, recall, all) = f1(scores.iter().copied());
    println!(
        "{name}: F1 {all:.4} {} P {precision:.4} R {recall:.4}; dev half {:.4}, held-out half {:.4}",
        interval(&mut own),
        part(false),
        part(true)
    );
    if let Some(ours) = ours {
        println!("    html-text minus {name}: {:+.4} {}", f1(ours.iter().copied()).2 - all, interval(&mut difference));
    }
}

fn interval(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("[{:.4}, {:.4}]", at(0.025), at(0.975))
}

/// A table of the WebMainBench pages: F1 by shingles of four characters (the pages are in several scripts) and, if
/// the reference has code blocks, the edit similarity of all code. A peer's code is the text between lines of
/// backticks.
fn web_main_bench(
    data: &Path,
    peers: &BTreeMap<String, BTreeMap<String, String>>,
    texts: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    // The reference of this benchmark includes the title.
    let options = Options { title: true, ..Options::default() };
    let file = GzDecoder::new(std::fs::File::open(data.join("webmainbench_sample.jsonl.gz"))?);
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let page: Value = serde_json::from_str(&line?)?;
        let truth = page["groundtruth_content"].as_str().unwrap_or_default();
        let id = format!("webmainbench-{index}");
        println!("{id}: {} ({} characters)", page["url"].as_str().unwrap_or_default(), truth.chars().count());
        let found = extract(page["html"].as_str().unwrap_or_default(), &options);
        let code: Vec<&str> = found
            .spans
            .iter()
            .filter(|span| span.kind == Kind::Code)
            .map(|span| &found.text[span.range.clone()])
            .collect();
        row("html-text", truth, &found.text, &code.join("\n"));
        for (name, texts) in peers {
            let text = texts.get(&id).map_or("", String::as_str);
            row(name, truth, text, &fenced(text));
        }
        texts.insert(id, found.text);
    }
    Ok(())
}

fn row(name: &str, truth: &str, text: &str, code: &str) {
    let wanted = fenced(truth);
    let (precision, recall) = characters(truth, text);
    let code = if wanted.is_empty() && code.is_empty() {
        "no code".to_owned()
    } else {
        format!("code {:.3}", strsim::normalized_levenshtein(&wanted, code))
    };
    let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    println!("    {name}: F1 {f1:.3} (P {precision:.3} R {recall:.3}), {code}");
}

fn characters(truth: &str, text: &str) -> (f64, f64) {
    let grams = |text: &str| {
        let letters: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).collect();
        let mut counts: HashMap<Vec<char>, usize> = HashMap::new();
        for gram in letters.windows(4) {
            *counts.entry(gram.to_vec()).or_insert(0) += 1;
        }
        counts
    };
    let (truth, text) = (grams(truth), grams(text));
    let common: usize = truth.iter().map(|(gram, count)| count.min(text.get(gram).unwrap_or(&0))).sum();
    let share = |all: usize| if all == 0 { 0.0 } else { common as f64 / all as f64 };
    (share(text.values().sum()), share(truth.values().sum()))
}

/// The text between lines of three backticks.
fn fenced(text: &str) -> String {
    let (mut inside, mut lines) = (false, Vec::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line);
        }
    }
    lines.join("\n")
}
