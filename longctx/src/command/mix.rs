//! `longctx mix`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use chat::locate_tokenizer;
use dataset::Conversation;
use dataset::jsonl::{self, OnBadLine};
use rayon::prelude::*;
use run::grouped;
use serde_json::Value;

use super::make::see;
use crate::counter::Counter;
use crate::draw::Draw;
use crate::record::{self, Meta};
use crate::split::Split;
use crate::windows::Windows;

/// With fewer long examples than this, a mix hardly teaches anything; the user is warned.
const FEW: usize = 16;
/// Number of conversations encoded in one batch.
const BATCH: usize = 256;

/// Arguments of `longctx mix`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Records that `longctx make` wrote
    #[arg(long, required = true, num_args = 1..)]
    pub long: Vec<PathBuf>,
    /// Conversations to mix them with
    #[arg(long = "with", required = true, num_args = 1.., value_name = "FILE")]
    pub short: Vec<PathBuf>,
    /// Share of long examples in the mix
    #[arg(long, default_value = "0.1%")]
    pub share: String,
    /// Unit of the share
    #[arg(long, value_enum, default_value_t = By::Examples)]
    pub by: By,
    /// Tokenizer with chat template, to count the conversations: a model's folder or name
    #[arg(long)]
    pub tokenizer: String,
    /// Records for evaluation: long examples that share a document, a key, a template or 13 consecutive words with them are refused
    #[arg(long, num_args = 1..)]
    pub decontaminate: Vec<PathBuf>,
    /// Seed of the choice
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Output: a configuration for `herd sft --config`; the chosen long examples are written beside it
    #[arg(long)]
    pub output: PathBuf,
}

/// The unit of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// A share of the examples, as in the Llama 3 paper.
    Examples,
    /// A share of all tokens.
    Tokens,
}

/// Numbers of examples, tokens and trained tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    examples: u64,
    tokens: u64,
    trained: u64,
}

impl Sum {
    fn add(&mut self, tokens: usize, trained: usize) {
        self.examples += 1;
        self.tokens += tokens as u64;
        self.trained += trained as u64;
    }
}

/// Contents of the evaluation files.
#[derive(Default)]
struct Held {
    haystacks: BTreeSet<String>,
    keys: BTreeSet<String>,
    templates: BTreeSet<String>,
    windows: Windows,
}

/// Runs `longctx mix`.
///
/// # Errors
/// When the share is invalid, when no long example is left, or when a file cannot be read or written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let share = share(&args.share)?;
    let counter = Counter::open(&locate_tokenizer(&args.tokenizer)?)?;
    let (mut held, mut compared) = (Held::default(), 0);
    for path in &args.decontaminate {
        compared += held.read(path)?;
    }
    if args.decontaminate.is_empty() {
        println!("no --decontaminate: nothing was compared with what the model will be evaluated on");
    }
    let (long, refused) = read_long(&args.long, &held)?;
    if !args.decontaminate.is_empty() {
        let total: usize = refused.values().sum();
        println!("compared with {compared} records of --decontaminate: {total} long examples refused");
        refused.iter().for_each(|(why, count)| println!("  {count} share {why}"));
    }
    ensure!(!long.is_empty(), "no long example is left to mix");
    let short = count_short(&args.short, &counter)?;
    ensure!(short.examples > 0, "--with holds no conversation");
    let mut order: Vec<usize> = (0..long.len()).collect();
    Draw::new(args.seed, 0, 0, Split::Train).shuffle(&mut order);
    let wanted = wanted(share, args.by, &short, &order, &long);
    let mut chosen: Vec<usize> = order.iter().copied().take(wanted).collect();
    chosen.sort_unstable();
    // The mix needs more than there are: each example is repeated.
    let times = (wanted as f64 / chosen.len().max(1) as f64).max(1.0);
    let mut sum = Sum::default();
    let mut buckets: BTreeMap<usize, Sum> = BTreeMap::new();
    for at in &chosen {
        let meta = &long[*at].1;
        sum.add(meta.length_tokens, meta.trained_tokens);
        buckets.entry(meta.bucket).or_default().add(meta.length_tokens, meta.trained_tokens);
    }
    let records = beside(&args.output);
    jsonl::write_all(&records, chosen.iter().map(|at| &long[*at].0))?;
    let longest = chosen.iter().map(|at| long[*at].1.length_tokens).max().unwrap_or_default();
    let config = config(args, &records, times, longest)?;
    dataset::write_file(&args.output, config.as_bytes())?;
    println!("{}: {} long examples in {}", args.output.display(), sum.examples, records.display());
    if times > 1.0 {
        println!(
            "there are fewer long examples than the share needs: each is taken {times:.2} times (--data FILE:{times:.4})"
        );
    }
    let table = shares(&short, &sum, times);
    println!("asked for: {} of the {}", args.share, if args.by == By::Examples { "examples" } else { "tokens" });
    println!("{table}");
    for (bucket, of) in &buckets {
        let tokens = grouped(of.tokens);
        println!(
            "  bucket {}: {} examples, {tokens} tokens, {} trained",
            grouped(*bucket as u64),
            of.examples,
            grouped(of.trained)
        );
    }
    if sum.examples < FEW as u64 {
        println!("warning: only {} long examples. {}", sum.examples, advice(share, args.by, &short));
    }
    Ok(())
}

/// Parses `0.1%` or `0.001`.
fn share(text: &str) -> anyhow::Result<f64> {
    let (number, factor) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let share = number.trim().parse::<f64>().with_context(|| format!("--share {text}: give 0.1% or 0.001"))? * factor;
    ensure!(share > 0.0 && share < 1.0, "--share {text}: more than 0 and less than 1 (100%)");
    Ok(share)
}

/// The number of long examples that makes up the share. With `--by tokens`, they are taken in the given order.
fn wanted(share: f64, by: By, short: &Sum, order: &[usize], long: &[(Conversation, Meta)]) -> usize {
    let ratio = share / (1.0 - share);
    match by {
        By::Examples => ((short.examples as f64 * ratio).round() as usize).max(1),
        By::Tokens => {
            let target = short.tokens as f64 * ratio;
            let (mut tokens, mut count) = (0.0, 0);
            let lengths: Vec<f64> = order.iter().map(|at| long[*at].1.length_tokens as f64).collect();
            let all: f64 = lengths.iter().sum();
            if all > 0.0 && target > all {
                return (target / all * lengths.len() as f64).round() as usize;
            }
            for length in lengths {
                // The last example is included if that comes closer to the target.
                if tokens + length / 2.0 > target && count > 0 {
                    break;
                }
                tokens += length;
                count += 1;
            }
            count
        }
    }
}

fn advice(share: f64, by: By, short: &Sum) -> String {
    match by {
        By::Examples => {
            let needed = (FEW as f64 * (1.0 - share) / share).round() as u64;
            let larger = FEW as f64 / (FEW as f64 + short.examples as f64) * 100.0;
            format!(
                "For {FEW} of them at this share --with needs {} conversations; with the {} that it has, --share {larger:.2}%",
                grouped(needed),
                grouped(short.examples)
            )
        }
        By::Tokens => "Give a larger share, or shorter buckets".to_owned(),
    }
}

/// The three shares, a line each.
fn shares(short: &Sum, long: &Sum, times: f64) -> String {
    let line = |what: &str, of: fn(&Sum) -> u64| {
        let (few, many) = (of(long) as f64 * times, of(short) as f64);
        format!(
            "  {what:<15}{:>16} long {:>16} short   {:.3}%",
            grouped(few.round() as u64),
            grouped(of(short)),
            few / (few + many).max(1.0) * 100.0
        )
    };
    [line("examples", |s| s.examples), line("tokens", |s| s.tokens), line("trained tokens", |s| s.trained)].join("\n")
}

/// The path of the records beside a configuration: `mix.toml` has them in `mix-long.jsonl`.
fn beside(config: &Path) -> PathBuf {
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    config.with_file_name(format!("{stem}-long.jsonl"))
}

fn config(args: &Args, records: &Path, times: f64, longest: usize) -> anyhow::Result<String> {
    let quoted = |path: &Path| -> anyhow::Result<String> {
        let path = std::path::absolute(path)?;
        let text = path.to_str().with_context(|| format!("{}: a name that is not UTF-8", path.display()))?;
        Ok(serde_json::to_string(text)?)
    };
    let mut files: Vec<String> = args.short.iter().map(|path| quoted(path)).collect::<anyhow::Result<_>>()?;
    let mut last = quoted(records)?;
    if times > 1.0 {
        last.insert_str(last.len() - 1, &format!(":{times:.4}"));
    }
    files.push(last);
    Ok(format!(
        "# herd sft --config {} --model NAME --output RUN\n# {} of the {} are long; made by `longctx mix`, seed {}\ndata = [\n  {},\n]\n\
         max_length = {longest}\n",
        args.output.file_name().unwrap_or_default().to_string_lossy(),
        args.share,
        if args.by == By::Examples { "examples" } else { "tokens" },
        args.seed,
        files.join(",\n  ")
    ))
}

/// The long examples that share nothing with evaluation, and the numbers of refused ones by reason.
#[allow(clippy::type_complexity)]
fn read_long(
    paths: &[PathBuf],
    held: &Held,
) -> anyhow::Result<(Vec<(Conversation, Meta)>, BTreeMap<&'static str, usize>)> {
    let (mut kept, mut refused) = (Vec::new(), BTreeMap::new());
    for path in paths {
        let mut reader = jsonl::read::<Conversation>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let record = record?;
            let place = reader.place();
            let meta = match record::meta(&record) {
                Ok(meta) => meta,
                Err(why) => bail!("{place}: {why}; --long wants a file that `longctx make` wrote"),
            };
            ensure!(meta.split == Split::Train, "{place}: {} is a record for evaluation", record.id);
            match held.shares(&record, &meta) {
                None => kept.push((record, meta)),
                Some((why, what)) => {
                    println!("refused: {} shares {why}: {what}", record.id);
                    *refused.entry(why).or_default() += 1;
                }
            }
        }
    }
    Ok((kept, refused))
}

impl Held {
    /// Adds a file; returns its number of records.
    fn read(&mut self, path: &Path) -> anyhow::Result<usize> {
        let mut count = 0;
        for record in jsonl::read::<Value>(path, OnBadLine::Error)? {
            count += 1;
            let record = record?;
            for (field, set) in
                [("haystacks", &mut self.haystacks), ("keys", &mut self.keys), ("templates", &mut self.templates)]
            {
                let values = record["meta"][field].as_array();
                set.extend(values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            }
        }
        see(path, &mut self.windows)?;
        Ok(count)
    }

    /// The first thing that a long example shares with evaluation.
    fn shares(&self, record: &Conversation, meta: &Meta) -> Option<(&'static str, String)> {
        let in_set = |list: &[String], set: &BTreeSet<String>| list.iter().find(|item| set.contains(*item)).cloned();
        if let Some(found) = in_set(&meta.haystacks, &self.haystacks) {
            return Some(("a document", found));
        }
        if let Some(found) = in_set(&meta.keys, &self.keys) {
            return Some(("a key", found));
        }
        if let Some(found) = in_set(&meta.templates, &self.templates) {
            return Some(("a template", found));
        }
        let window = record.messages.iter().find_map(|message| self.windows.shared(message.text()));
        window.map(|window| ("13 words in a row", window))
    }
}

fn count_short(paths: &[PathBuf], counter: &Counter) -> anyhow::Result<Sum> {
    let mut sum = Sum::default();
    for path in paths {
        let mut reader = jsonl::read::<Conversation>(path, OnBadLine::Error)?;
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(record) = reader.next()
            {
                batch.push((reader.place(), record?));
            }
            if batch.is_empty() {
                break;
            }
            let lengths: Vec<_> = batch.par_iter().map(|(_, record)| counter.conversation(&record.messages)).collect();
            for ((place, record), length) in batch.iter().zip(lengths) {
                let length = length.with_context(|| format!("{place}: {}", record.id))?;
                sum.add(length.tokens, length.trained);
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_is_said() {
        assert_eq!((share("0.1%").unwrap(), share("0.25").unwrap()), (0.001, 0.25));
        assert!(share("0").unwrap_err().to_string().contains("more than 0 and less than 1"));
        assert!(share("few").unwrap_err().to_string().contains("--share few: give 0.1% or 0.001"));
        let short = Sum { examples: 9990, tokens: 999_000, trained: 9990 };
        assert_eq!(wanted(0.001, By::Examples, &short, &[], &[]), 10);
        let text = shares(&short, &Sum { examples: 10, tokens: 1_000_000, trained: 10 }, 1.0);
        let shares: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(shares, ["0.100%", "50.025%", "0.100%"]);
        let advice = advice(0.001, By::Examples, &short);
        assert!(advice.contains("needs 15,984 conversations") && advice.contains("--share 0.16%"), "{advice}");
    }
}
