//! `herd data make`: problems and worked solutions in files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::ensure;
use dataset::jsonl;
use run::{Class, Facts, Frame, Session, counted, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use crate::family::{Difficulty, Topic};
use crate::maker::{Made, Maker, Split};

/// The worked solutions of the training problems, as conversations.
const SOLUTIONS: &str = "train-solutions.jsonl";

/// Arguments of `herd data make`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The folder for train.jsonl, heldout.jsonl and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// The topics of the problems
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Topic::Words, Topic::Arithmetic, Topic::Algebra, Topic::Code])]
    pub topics: Vec<Topic>,
    /// The difficulties of the problems
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard])]
    pub difficulties: Vec<Difficulty>,
    /// Number of training problems
    #[arg(long, default_value_t = 2000)]
    pub train: usize,
    /// Number of held-out problems: half from known templates with new numbers, half from templates that the training
    /// problems do not use
    #[arg(long, default_value_t = 200)]
    pub heldout: usize,
    /// Also write the training problems with worked solutions as conversations: train-solutions.jsonl
    #[arg(long)]
    pub with_solutions: bool,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Runs `herd data make`. The same arguments give the same bytes.
///
/// # Errors
/// When more problems are requested than exist, when the folder holds another run, or when a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.train + args.heldout > 0, "--train and --heldout are both 0: nothing to make");
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let facts = Facts { seed: Some(args.seed), ..Facts::new("data make", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let train = make(args, Split::Train, args.train)?;
    let mut held_out = make(args, Split::HeldOutNumbers, args.heldout - args.heldout / 2)?;
    held_out.extend(make(args, Split::HeldOutFamilies, args.heldout / 2)?);
    let (mut lines, mut records) = (Vec::new(), BTreeMap::new());
    let mut write = |name: &'static str, problems: &[Made]| -> anyhow::Result<()> {
        let path = args.output.join(name);
        if name == SOLUTIONS {
            jsonl::write_all(&path, problems.iter().map(Made::conversation))?;
        } else {
            jsonl::write_all(&path, problems.iter().map(Made::record))?;
        }
        lines.push(match problems.is_empty() {
            true => format!("written: {}: empty, since no such problems were asked for", path.display()),
            false => format!("written: {}: {}{}", path.display(), counted(problems.len(), "problem"), counts(problems)),
        });
        records.insert(name, problems.len());
        Ok(())
    };
    write("heldout.jsonl", &held_out)?;
    write("train.jsonl", &train)?;
    if args.with_solutions {
        write(SOLUTIONS, &train)?;
    } else if args.output.join(SOLUTIONS).is_file() {
        std::fs::remove_file(args.output.join(SOLUTIONS))?;
    }
    let summary = lines.join("\n");
    session.finish(&["train.jsonl", "heldout.jsonl", SOLUTIONS], &summary, json!({"records": records}))?;
    println!("{summary}");
    Ok(())
}

fn class(key: &str) -> Class {
    match key {
        "output" => Class::Free,
        // An additional file beside the others.
        "with_solutions" => Class::Output,
        _ => Class::Course,
    }
}

fn make(args: &Args, split: Split, count: usize) -> anyhow::Result<Vec<Made>> {
    let mut maker = Maker::new(args.seed, split);
    (0..count).map(|_| maker.next(&args.topics, &args.difficulties)).collect()
}

/// The number of problems for each topic: `, 300 code, 600 words`.
fn counts(problems: &[Made]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for made in problems {
        let meta = made.record().meta.unwrap_or_default();
        *counts.entry(meta["topic"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    counts.into_iter().map(|(topic, n)| format!(", {n} {topic}")).collect()
}
