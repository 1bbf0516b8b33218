//! `herd safety make contrast`: writes the pairs as labelled records into files that only their owner can read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use run::{Class, Facts, Frame, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Pair, Split, pairs};

const TRAIN: &str = "train.jsonl";
const HELD_OUT: &str = "heldout.jsonl";

/// Arguments of `herd safety make contrast`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The folder for train.jsonl, heldout.jsonl and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// Number of training pairs, each with a harmless and a harmful request [default: all]
    #[arg(long)]
    pub train: Option<usize>,
    /// Number of evaluation pairs: half with verbs and nouns that training lacks, half with known ones [default: all]
    #[arg(long)]
    pub heldout: Option<usize>,
    /// Seed of the pairing of requests, and of their order
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Runs `herd safety make contrast`. The same arguments give the same bytes. No prompt is printed.
///
/// # Errors
/// When more pairs are requested than exist, when the folder contains another run, or when a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let train = some(args.seed, Split::Train, args.train, "--train")?;
    let half = |part: usize| args.heldout.map(|all| if part == 0 { all - all / 2 } else { all / 2 });
    let new_keys = some(args.seed, Split::NewKeys, half(0), "half of --heldout")?;
    let new_pairs = some(args.seed, Split::NewPairs, half(1), "half of --heldout")?;
    let facts = Facts {
        seed: Some(args.seed),
        ..Facts::new("safety make contrast", |key| if key == "output" { Class::Free } else { Class::Course })
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    write(&args.output.join(TRAIN), &[(Split::Train, &train)])?;
    write(&args.output.join(HELD_OUT), &[(Split::NewKeys, &new_keys), (Split::NewPairs, &new_pairs)])?;
    let summary = format!(
        "{}: {} pairs{}\n{}: {} pairs with new keys, {} with known keys{}",
        args.output.join(TRAIN).display(),
        train.len(),
        counts(&train),
        args.output.join(HELD_OUT).display(),
        new_keys.len(),
        new_pairs.len(),
        counts(&[new_keys.as_slice(), new_pairs.as_slice()].concat()),
    );
    let figures = json!({"train": train.len(), "new_keys": new_keys.len(), "new_pairs": new_pairs.len()});
    session.finish(&[TRAIN, HELD_OUT], &summary, figures)?;
    println!("{summary}");
    Ok(())
}

/// The first `count` pairs of a split, or all pairs without a count.
fn some(seed: u64, split: Split, count: Option<usize>, flag: &str) -> anyhow::Result<Vec<Pair>> {
    let mut all = pairs(seed, split);
    if let Some(count) = count {
        ensure!(count <= all.len(), "{flag} is {count}; there are {} pairs of the split {}", all.len(), split.name());
        all.truncate(count);
    }
    Ok(all)
}

/// Writes a file with mode 0600, because it contains harmful requests.
fn write(path: &Path, parts: &[(Split, &[Pair])]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().context("a file without a folder")?;
    // Temporary files are created with mode 0600, and keep it after renaming.
    let mut file =
        tempfile::Builder::new().prefix(".contrast.").suffix(".tmp").tempfile_in(folder).with_context(cannot)?;
    for (split, pairs) in parts {
        for record in pairs.iter().flat_map(|pair| pair.records(*split)) {
            file.write_all(format!("{record}\n").as_bytes()).with_context(cannot)?;
        }
    }
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
}

/// Number of pairs in each category, as text: `; S1 120, S2 340`.
fn counts(pairs: &[Pair]) -> String {
    let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for pair in pairs {
        *counts.entry((pair.category.len(), pair.category)).or_default() += 1;
    }
    let all: Vec<String> = counts.iter().map(|((_, category), count)| format!("{category} {count}")).collect();
    format!("; {}", all.join(", "))
}
