//! `herd longctx eval`.

use std::path::PathBuf;
use std::time::Instant;

use ::run::{Class, Facts, Frame, Input, Session, from_flags};
use anyhow::{Context as _, bail, ensure};
use llama::{LlamaConfig, locate};
use longctx::command::tokens;
use longctx::needles::Wording;
use sampler::SamplerArgs;
use serde::Serialize;
use serde_json::json;

use crate::eval::items::{Counts, Maker, Task, depths, plan};
use crate::eval::protocol::{LENGTH_COUNTS, PREFILLED, Protocol, SCORE, VERSION};
use crate::eval::{Passages, ask, figures, picture};
use crate::world::{Read, tokenizer_digest};

/// Arguments of `herd longctx eval`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub sampler: SamplerArgs,
    /// Tasks: niah (one needle, by length and depth), multi-needle (four needles, two asked for), ruler (RULER's eleven text tasks) or
    /// ruler:NAME, repo (questions about held-out packages), ppl-by-position (the loss by context length)
    #[arg(long, value_delimiter = ',', default_value = "niah,multi-needle")]
    pub tasks: Vec<String>,
    /// Prompt lengths in tokens, including chat template and answer; k is 1,024 [default: 4k, doubled up to the model's context]
    #[arg(long, value_delimiter = ',')]
    pub lengths: Vec<String>,
    /// Texts for haystacks: .txt, .md, .rst (also .gz), .jsonl or .parquet with a field text, or folders of them; only the fifth of the
    /// documents that `longctx make` keeps for evaluation is used
    #[arg(long, num_args = 1..)]
    pub texts: Vec<PathBuf>,
    /// Python packages for repo: wheels, sdists, folders of sources, folders of archives; only a fifth of them, chosen by name, is used
    #[arg(long, num_args = 1..)]
    pub repositories: Vec<PathBuf>,
    /// Records or texts that the model was trained on: documents that share a run of 13 words with them are left out
    #[arg(long, num_args = 1..)]
    pub decontaminate: Vec<PathBuf>,
    /// Tokenizer with chat template, to count lengths for --endpoint: a model's folder or name [default: the model's own]
    #[arg(long)]
    pub tokenizer: Option<String>,
    /// Depths of the grid, at equal distances from the start of the text to its end
    #[arg(long, default_value_t = 10)]
    pub depths: usize,
    /// Haystacks of the grid for each length; each has a needle at every depth
    #[arg(long, default_value_t = 5)]
    pub haystacks: u64,
    /// Samples of every other task for each length; RULER publishes 500
    #[arg(long, default_value_t = 20)]
    pub samples: u64,
    /// Put one needle into each prompt, as in published pictures, instead of the needles of all depths into one text; every prompt is
    /// then computed from its start
    #[arg(long)]
    pub one_needle: bool,
    /// A TOML file with another wording of the needles
    #[arg(long, value_name = "FILE")]
    pub wording: Option<PathBuf>,
    /// Score that a length must reach to count as effective; the default is RULER's, the score of Llama 2 7B at 4K
    #[arg(long, default_value_t = 0.856)]
    pub threshold: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The run folder: samples.jsonl, summary.json, protocol.json, report.html, run.json
    #[arg(long)]
    pub output: PathBuf,
}

fn class(key: &str) -> Class {
    match key {
        // These keys are compared by the content of their files.
        "output" | "texts" | "repositories" | "decontaminate" | "tokenizer" | "wording" => Class::Free,
        // Changes only figures computed from the same answers.
        "threshold" => Class::Output,
        _ => SamplerArgs::class(key).unwrap_or(Class::Course),
    }
}

/// Needles that multi-needle inserts, and needles that it asks for (the Llama 3 paper, section 5.2.3).
const SEVERAL: (usize, usize) = (4, 2);
/// The shortest length when none is given.
const SHORTEST: usize = 4096;

/// Runs `herd longctx eval`, or resumes a run that was killed.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let tasks = Task::parse(&args.tasks)?;
    ensure!(!tasks.is_empty(), "--tasks names none");
    ensure!(args.depths > 0 && args.haystacks > 0, "--depths and --haystacks must be at least 1");
    ensure!(args.samples > 0, "--samples must be at least 1");
    ensure!((0.0..=1.0).contains(&args.threshold), "--threshold is {}; it must lie between 0 and 1", args.threshold);
    if let (Some(task), true) = (tasks.iter().find(|task| task.needs_texts()), args.texts.is_empty()) {
        bail!("--tasks {}: give --texts, or a task that needs none (repo, ruler:vt, ruler:cwe, ...)", task.name());
    }
    ensure!(
        !tasks.contains(&Task::Repo) || !args.repositories.is_empty(),
        "--tasks repo: give --repositories with wheels, sdists or folders"
    );
    ensure!(
        !tasks.contains(&Task::PplByPosition) || args.sampler.endpoint.is_none(),
        "--tasks ppl-by-position needs the log-probabilities of given texts, which a server's chat interface does not give: use \
         --model"
    );
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let (folder, context) = match &args.sampler.model {
        Some(model) => {
            let folder = locate::locate(model)?;
            let context = usize::try_from(LlamaConfig::from_dir(&folder)?.max_position_embeddings)?;
            (args.tokenizer.as_deref().map_or(Ok(folder), chat::locate_tokenizer)?, Some(context))
        }
        None => {
            let name = args.tokenizer.as_deref();
            let name =
                name.context("--endpoint: give --tokenizer too, the model's folder or name, to count lengths with")?;
            (chat::locate_tokenizer(name)?, None)
        }
    };
    let lengths = lengths(&args.lengths, context)?;
    let wording = args.wording.as_deref().map_or_else(|| Ok(Wording::default()), Wording::read)?;
    let read = Read::new(&args.texts, &args.repositories)?;
    let mut inputs = args.sampler.inputs()?;
    inputs.extend(longctx::command::make::tokenizer_inputs(&folder)?);
    inputs.extend(read.inputs("texts", "repositories")?);
    for file in &args.decontaminate {
        inputs.push(Input::file("decontaminate", file)?);
    }
    if let Some(file) = &args.wording {
        inputs.push(Input::file("wording", file)?);
    }
    let counts = Counts {
        lengths: lengths.clone(),
        depths: depths(args.depths),
        haystacks: args.haystacks,
        samples: args.samples,
    };
    let plan = plan(&tasks, &counts);
    let items: usize = plan.iter().map(|bundle| bundle.items).sum();
    if args.frame.shows(&resolved)? {
        println!("{items} items at {lengths:?} tokens, into {}", args.output.display());
        return Ok(());
    }
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        hardware: args.sampler.hardware()?,
        libtorch: args.sampler.endpoint.is_none().then_some(llama::device::LIBTORCH),
        notes: args.sampler.notes(),
        ..Facts::new("longctx eval", class)
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let held = read.held(&folder, &args.decontaminate)?;
    if !held.summary.is_empty() {
        eprintln!("{}", held.summary);
    }
    let passages = match tasks.contains(&Task::PplByPosition) {
        true => {
            let tokenizer = chat::Tokenizer::from_dir(&folder)?;
            let passages = Passages::new(&held.documents, &tokenizer, &lengths, args.samples)?;
            if passages.too_short > 0 {
                eprintln!("ppl-by-position: {} documents are too short for the longest length", passages.too_short);
            }
            Some(passages)
        }
        false => None,
    };
    let protocol = Protocol {
        version: VERSION.to_owned(),
        tasks: tasks.iter().map(|task| task.name()).collect(),
        lengths,
        length_counts: LENGTH_COUNTS.to_owned(),
        depths: counts.depths.iter().map(|depth| (1000.0 * depth).round() / 10.0).collect(),
        haystacks: args.haystacks,
        needles: if args.one_needle { "one" } else { "shared" }.to_owned(),
        multi_needle: SEVERAL.into(),
        samples: args.samples,
        wording: wording.clone(),
        prefilled: PREFILLED.to_owned(),
        score: SCORE.to_owned(),
        predicted_tokens: passages.as_ref().map(|passages| passages.target),
        temperature: 0.0,
        seed: args.seed,
        tokenizer: tokenizer_digest(&folder)?,
        texts: held.texts.clone(),
        repositories: held.repositories.clone(),
    };
    session.start(json!({"protocol": protocol}))?;
    let write = |name: &str, value: &serde_json::Value| {
        let text = format!("{}\n", serde_json::to_string_pretty(value)?);
        anyhow::Ok(dataset::write_file(args.output.join(name), text.as_bytes())?)
    };
    write("protocol.json", &serde_json::to_value(&protocol)?)?;
    let mut sampler = args.sampler.open()?;
    eprintln!("{items} items with {}", sampler.describe());
    let maker = Maker {
        world: &held.world,
        passages: passages.as_ref(),
        wording: &wording,
        depths: &counts.depths,
        shared: !args.one_needle,
        several: SEVERAL,
        seed: args.seed,
    };
    let path = args.output.join("samples.jsonl");
    let samples = ask::ask(&path, session.fingerprint(), &mut sampler, &plan, &maker)?;
    let found = figures::figures(&samples);
    let effective: serde_json::Map<String, serde_json::Value> = found
        .iter()
        .filter(|(task, _)| !figures::is_loss(task))
        .map(|(task, cells)| (task.clone(), figures::effective(cells, args.threshold).into()))
        .collect();
    let summary = json!({
        "model": sampler.name(),
        "protocol": protocol,
        "threshold": args.threshold,
        "effective_length": effective,
        "tasks": found,
    });
    write("summary.json", &summary)?;
    let title = format!("{}: long context", sampler.name());
    picture::report(&args.output.join("report.html"), &title, (&found, args.threshold), &protocol, &samples)?;
    let grid = figures::grid(&samples);
    if !grid.is_empty() {
        dataset::write_file(args.output.join("grid.svg"), picture::svg(&grid).as_bytes())?;
    }
    let table = figures::table(&found, args.threshold);
    let figures = json!({"protocol": protocol, "effective_length": effective, "tasks": found});
    session.finish(&["samples.jsonl", "summary.json", "protocol.json"], table.trim_end(), figures)?;
    print!("{table}");
    println!("{:.0} s -> {}", start.elapsed().as_secs_f64(), args.output.display());
    Ok(())
}

/// The lengths in rising order, each once; by default from 4,096 doubled up to the model's context.
fn lengths(given: &[String], context: Option<usize>) -> anyhow::Result<Vec<usize>> {
    let mut lengths = given.iter().map(|text| tokens(text)).collect::<anyhow::Result<Vec<_>>>().context("--lengths")?;
    if lengths.is_empty() {
        let context = context.context("--endpoint: give --lengths too, up to the server's context")?;
        lengths =
            std::iter::successors(Some(SHORTEST), |length| Some(2 * length)).take_while(|l| *l <= context).collect();
        if lengths.is_empty() {
            lengths.push(context);
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    let longest = lengths.last().copied().unwrap_or_default();
    if let Some(context) = context {
        ensure!(
            longest <= context,
            "--lengths: {longest} tokens are more than the model's context of {context}; leave them out, or extend the context \
             (herd longctx extend)"
        );
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_end_at_the_context() {
        let of = |given: &[&str], context| {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            lengths(&given, context)
        };
        assert_eq!(of(&[], Some(20_000)).unwrap(), [4096, 8192, 16_384]);
        assert_eq!(of(&[], Some(512)).unwrap(), [512]);
        assert_eq!(of(&["2k", "1k", "1024"], None).unwrap(), [1024, 2048]);
        assert!(
            of(&["16k"], Some(8192))
                .unwrap_err()
                .to_string()
                .contains("16384 tokens are more than the model's context")
        );
        assert!(of(&[], None).unwrap_err().to_string().contains("give --lengths too"));
    }
}
