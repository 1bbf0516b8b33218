//! `herd data make`: problems and worked solutions in files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use dataset::{digest, jsonl, write_file};
use serde_json::json;

use crate::family::{Difficulty, Topic};
use crate::maker::{Made, Maker, Split};

/// Arguments of `herd data make`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// The folder for train.jsonl, heldout.jsonl and made.json
    #[arg(long)]
    pub output: PathBuf,
    /// What the problems are about
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Topic::Words, Topic::Arithmetic, Topic::Algebra, Topic::Code])]
    pub topics: Vec<Topic>,
    /// How hard they are
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard])]
    pub difficulties: Vec<Difficulty>,
    /// Problems to train on
    #[arg(long, default_value_t = 2000)]
    pub train: usize,
    /// Problems to evaluate on: half from known templates with new numbers, half from templates that train has none of
    #[arg(long, default_value_t = 200)]
    pub heldout: usize,
    /// Also write the training problems with worked solutions as conversations: train-solutions.jsonl
    #[arg(long)]
    pub with_solutions: bool,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Runs `herd data make`. The same arguments give the same bytes.
///
/// # Errors
/// When more problems are asked for than there are, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.train + args.heldout > 0, "--train and --heldout are both 0: nothing to make");
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let train = make(args, Split::Train, args.train)?;
    let mut held_out = make(args, Split::HeldOutNumbers, args.heldout - args.heldout / 2)?;
    held_out.extend(make(args, Split::HeldOutFamilies, args.heldout / 2)?);

    let mut files = BTreeMap::new();
    let mut write = |name: &str, problems: &[Made]| -> anyhow::Result<()> {
        let path = args.output.join(name);
        if name.ends_with("solutions.jsonl") {
            jsonl::write_all(&path, problems.iter().map(Made::conversation))?;
        } else {
            jsonl::write_all(&path, problems.iter().map(Made::record))?;
        }
        let sha256 = digest::file(&path)?;
        println!("{}: {} problems{}", path.display(), problems.len(), counts(problems));
        files.insert(name.to_owned(), json!({"records": problems.len(), "sha256": sha256}));
        Ok(())
    };
    write("train.jsonl", &train)?;
    write("heldout.jsonl", &held_out)?;
    if args.with_solutions {
        write("train-solutions.jsonl", &train)?;
    }
    let made = json!({
        "version": env!("CARGO_PKG_VERSION"), "seed": args.seed,
        "topics": args.topics.iter().map(|t| t.name()).collect::<Vec<_>>(),
        "difficulties": args.difficulties.iter().map(|d| d.name()).collect::<Vec<_>>(),
        "files": files,
    });
    write_file(args.output.join("made.json"), format!("{made:#}\n").as_bytes())?;
    Ok(())
}

fn make(args: &Args, split: Split, count: usize) -> anyhow::Result<Vec<Made>> {
    let mut maker = Maker::new(args.seed, split);
    (0..count).map(|_| maker.next(&args.topics, &args.difficulties)).collect()
}

/// How many there are of each topic: `, 300 code, 600 words`.
fn counts(problems: &[Made]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for made in problems {
        let meta = made.record().meta.unwrap_or_default();
        *counts.entry(meta["topic"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    counts.into_iter().map(|(topic, n)| format!(", {n} {topic}")).collect()
}
