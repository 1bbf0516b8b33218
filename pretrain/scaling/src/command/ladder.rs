//! `scaling run`: a ladder of small models as a pipeline, and the table of its results for `scaling fit`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ::run::{Class, Facts, Frame, Input, Session, from_flags};
use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::Pipeline;
use crate::ladder::{Ladder, Rung, Shape};

/// The file of the results.
const TABLE: &str = "ladder.csv";
/// The pipeline file.
const RECIPE: &str = "ladder.toml";
/// The folder of the pipeline's runs.
const RUNS: &str = "runs";
/// Vocabularies are padded to a multiple of this.
const VOCABULARY_STEP: u64 = 64;

/// Arguments of `scaling run`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub(crate) struct LadderArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    /// Token shards of a source and its share of the tokens, as in `herd pretrain`. Repeatable
    #[arg(long, required = true, num_args = 1.., value_name = "SHARDS[:WEIGHT]")]
    data: Vec<String>,
    /// Token shards of held-out text, on which the losses are measured
    #[arg(long, required = true, num_args = 1.., value_name = "SHARDS")]
    eval_data: Vec<PathBuf>,
    /// The folder of the tokenizer of the shards
    #[arg(long)]
    tokenizer: PathBuf,
    /// The folder for ladder.csv, the pipeline file and its runs; the same command continues where it stopped
    #[arg(long)]
    output: PathBuf,
    /// Compute budgets, in FLOP, separated by commas; the compute of a model is 6 x parameters x tokens
    #[arg(long, value_delimiter = ',', default_values_t = [3e11, 1e12, 3e12])]
    budgets: Vec<f64>,
    /// Number of models for each budget
    #[arg(long, default_value_t = 5)]
    sizes: usize,
    /// Ratio of the largest to the smallest model's parameters within a budget
    #[arg(long, default_value_t = 8.0)]
    spread: f64,
    /// Tokens per parameter of a budget's middle model
    #[arg(long, default_value_t = 20.0)]
    tokens_per_parameter: f64,
    /// Tokens of a row
    #[arg(long, default_value_t = 256)]
    sequence_length: u64,
    /// Tokens of an optimizer step
    #[arg(long, default_value_t = 2048)]
    batch_tokens: u64,
    /// Peak learning rate of all models
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Number of tokens of held-out text
    #[arg(long, default_value_t = 100_000)]
    eval_tokens: u64,
    /// Seed of the weights and of the data order
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn class(key: &str) -> Class {
    match key {
        // The inputs are compared by digest, or by the pipeline itself.
        "data" | "eval_data" | "tokenizer" | "output" => Class::Free,
        _ => Class::Course,
    }
}

/// Runs `scaling run`. Without a `pipeline`, it only writes the files, and the user runs them.
pub(crate) fn run(args: &LadderArgs, pipeline: Option<Pipeline>) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let rungs = rungs(args)?;
    println!("{}", table(&rungs));
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let facts = Facts { seed: Some(args.seed), inputs: inputs(args)?, ..Facts::new("scaling run", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let models = args.output.join("models");
    std::fs::create_dir_all(&models).with_context(|| format!("cannot create {}", models.display()))?;
    for rung in &rungs {
        let text = serde_json::to_string_pretty(&config(args, rung.shape))? + "\n";
        dataset::write_file(models.join(format!("{}.json", rung.shape.name())), text.as_bytes())?;
    }
    let recipe = args.output.join(RECIPE);
    dataset::write_file(&recipe, self::recipe(args, &rungs, &models).as_bytes())?;
    let Some(pipeline) = pipeline else {
        println!(
            "written: {0}\n`herd run {0}` runs it; `herd scaling run` does both and makes the table",
            recipe.display()
        );
        return Ok(());
    };
    pipeline(&recipe, &args.output.join(RUNS))?;
    let (rows, text) = results(args, &rungs)?;
    dataset::write_file(args.output.join(TABLE), rows.as_bytes())?;
    let summary = format!(
        "{text}\n{}: {} models at {} budgets",
        args.output.join(TABLE).display(),
        rungs.len(),
        args.budgets.len()
    );
    // The pipeline file contains this folder's path, so the same command with another folder writes another file.
    session.finish(&[TABLE], &summary, json!({"models": rungs.len(), "budgets": args.budgets}))?;
    println!("{summary}");
    Ok(())
}

/// The tokenizer, and the headers of the shards, which contain the digests of everything else.
fn inputs(args: &LadderArgs) -> anyhow::Result<Vec<Input>> {
    let mut inputs = vec![Input::file("tokenizer", &args.tokenizer.join("tokenizer.json"))?];
    let plain = |text: &String| match text.rsplit_once(':') {
        Some((path, _)) if !Path::new(text).exists() => PathBuf::from(path),
        _ => PathBuf::from(text),
    };
    let paths = args.data.iter().map(|text| ("data", plain(text)));
    for (key, path) in paths.chain(args.eval_data.iter().map(|path| ("eval_data", path.clone()))) {
        for header in headers(&path).with_context(|| format!("cannot read {}", path.display()))? {
            inputs.push(Input::file(key, &header)?);
        }
    }
    Ok(inputs)
}

/// The header of a shard, or those of all shards in a folder.
fn headers(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![PathBuf::from(format!("{}.json", path.display()))]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".ds.json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn rungs(args: &LadderArgs) -> anyhow::Result<Vec<Rung>> {
    for budget in &args.budgets {
        ensure!(budget.is_finite() && *budget > 0.0, "--budgets: {budget} is not above 0");
    }
    ensure!(args.sizes > 0 && args.batch_tokens > 0, "--sizes and --batch-tokens must be above 0");
    ensure!(args.spread >= 1.0, "--spread is {}; it must be at least 1", args.spread);
    ensure!(
        args.tokens_per_parameter > 0.0,
        "--tokens-per-parameter is {}; it must be above 0",
        args.tokens_per_parameter
    );
    let ladder = Ladder {
        budgets: args.budgets.clone(),
        sizes: args.sizes,
        middle: args.tokens_per_parameter,
        spread: args.spread,
        vocabulary: vocabulary(&args.tokenizer)?.next_multiple_of(VOCABULARY_STEP),
        batch_tokens: args.batch_tokens,
    };
    ladder.rungs().map_err(anyhow::Error::msg)
}

/// The number of token ids of a tokenizer.
fn vocabulary(folder: &Path) -> anyhow::Result<u64> {
    let path = folder.join("tokenizer.json");
    let text = std::fs::read(&path).with_context(|| format!("--tokenizer: cannot read {}", path.display()))?;
    let json: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let of_model = json["model"]["vocab"].as_object().into_iter().flatten().filter_map(|(_, id)| id.as_u64());
    let added = json["added_tokens"].as_array().into_iter().flatten().filter_map(|token| token["id"].as_u64());
    let highest = of_model.chain(added).max();
    Ok(highest.with_context(|| format!("{} has no vocabulary", path.display()))? + 1)
}

/// The configuration of a model in Hugging Face's format.
fn config(args: &LadderArgs, shape: Shape) -> Value {
    let (heads, key_value) = shape.heads();
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward(), "num_hidden_layers": shape.layers, "num_attention_heads": heads,
        "num_key_value_heads": key_value, "vocab_size": shape.vocabulary, "max_position_embeddings": args.sequence_length,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"
    })
}

/// Quotes a text for a pipeline file.
fn quoted(text: &str) -> String {
    Value::from(text.replace('{', "{{").replace('}', "}}")).to_string()
}

fn list<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> String {
    format!("[{}]", texts.map(|text| quoted(text.as_ref())).collect::<Vec<_>>().join(", "))
}

fn stage_name(rungs: &[Rung], at: usize) -> String {
    let mut budgets: Vec<f64> = rungs.iter().map(|rung| rung.budget).collect();
    budgets.dedup();
    let number = budgets.iter().position(|budget| *budget == rungs[at].budget).unwrap_or(0) + 1;
    format!("budget{number}-{}", rungs[at].shape.name())
}

/// The pipeline: makes each size once, and trains it at each of its budgets.
fn recipe(args: &LadderArgs, rungs: &[Rung], models: &Path) -> String {
    let mut text = format!(
        "# Made by `herd scaling run`: {} models at {} budgets.\nname = \"Ladder\"\noutput = {}\n",
        rungs.len(),
        args.budgets.len(),
        quoted(&args.output.join(RUNS).to_string_lossy())
    );
    let mut made: Vec<String> = Vec::new();
    for (at, rung) in rungs.iter().enumerate() {
        let size = rung.shape.name();
        if !made.contains(&size) {
            let config = models.join(format!("{size}.json"));
            write!(
                text,
                "\n[[stage]]\nname = \"new-{size}\"\n[stage.model.new]\nmodel_config = {}\ntokenizer = {}\nseed = {}\noutput = \
                 \"{{out}}/model\"\n",
                quoted(&config.to_string_lossy()),
                quoted(&args.tokenizer.to_string_lossy()),
                args.seed
            )
            .ok();
            made.push(size.clone());
        }
        let steps = rung.tokens / args.batch_tokens;
        write!(
            text,
            "\n[[stage]]\nname = \"{}\"\n[stage.pretrain]\nmodel = \"{{new-{size}}}/model\"\ndata = {}\neval_data = {}\neval_tokens = \
             {}\ntokens = {}\nsequence_length = {}\nbatch_tokens = {}\nlearning_rate = {:e}\nwarmup_steps = {}\nseed = {}\noutput = \
             \"{{out}}\"\n",
            stage_name(rungs, at),
            list(args.data.iter()),
            list(args.eval_data.iter().map(|path| path.to_string_lossy())),
            args.eval_tokens,
            rung.tokens,
            args.sequence_length,
            args.batch_tokens,
            args.learning_rate,
            // Warm-up: a tenth of a short run, 100 steps of a long one.
            (steps / 10).min(100),
            args.seed
        )
        .ok();
    }
    text
}

/// The results as a table for `scaling fit`, and as lines to print. Only the lines contain times, because a repetition must reproduce the
/// table.
fn results(args: &LadderArgs, rungs: &[Rung]) -> anyhow::Result<(String, String)> {
    let mut table = "flops,params,tokens,loss,bits_per_byte,width,layers\n".to_owned();
    let mut lines = vec!["      budget    model  parameters     tokens    loss  seconds".to_owned()];
    for (at, rung) in rungs.iter().enumerate() {
        let folder = stage_folder(&args.output.join(RUNS), &stage_name(rungs, at))?;
        let record = ::run::Record::read(&folder)?.with_context(|| format!("{} has no run.json", folder.display()))?;
        let report = &record.stage.figures["report"];
        let loss = report["evaluation"]["loss"].as_f64();
        let loss = loss.with_context(|| format!("{} has no held-out loss", folder.display()))?;
        let bits = report["evaluation"]["metrics"]["bits_per_byte"].as_f64();
        let bits = bits.map_or(String::new(), |bits| bits.to_string());
        let params = parameters(&folder.join("model"))?;
        let seconds = report["seconds"].as_f64().unwrap_or_default();
        let Shape { width, layers, .. } = rung.shape;
        writeln!(table, "{:e},{params},{},{loss},{bits},{width},{layers}", rung.budget, rung.tokens)?;
        lines.push(format!(
            "{:>12.3e} {:>8} {params:>11} {:>10} {loss:>7.4} {seconds:>8.1}",
            rung.budget,
            rung.shape.name(),
            rung.tokens
        ));
    }
    Ok((table, lines.join("\n")))
}

/// The folder of a pipeline's stage: its number and name.
fn stage_folder(runs: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(runs).with_context(|| format!("cannot read {}", runs.display()))?;
    for entry in entries {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.split_once('-').is_some_and(|(number, rest)| rest == name && number.parse::<u32>().is_ok()) {
            return Ok(path);
        }
    }
    anyhow::bail!("{} has no stage {name}", runs.display())
}

/// The number of weights in a model's folder.
fn parameters(folder: &Path) -> anyhow::Result<u64> {
    let checkpoint = weights::Checkpoint::open(folder)?;
    let mut count = 0;
    for name in checkpoint.names().map(str::to_owned).collect::<Vec<_>>() {
        count += checkpoint.tensor(&name)?.shape.iter().map(|size| *size as u64).product::<u64>();
    }
    Ok(count)
}

/// The ladder as a table, before training.
fn table(rungs: &[Rung]) -> String {
    let mut lines = vec!["      budget    model  parameters     tokens  tokens/parameter".to_owned()];
    for rung in rungs {
        let parameters = rung.shape.parameters();
        lines.push(format!(
            "{:>12.3e} {:>8} {parameters:>11} {:>10} {:>17.1}",
            rung.budget,
            rung.shape.name(),
            rung.tokens,
            rung.tokens as f64 / parameters as f64
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: LadderArgs,
    }

    fn args(more: &[&str]) -> LadderArgs {
        let words = ["x", "--data", "a:0.5", "b:0.5", "--eval-data", "held", "--output", "out", "--tokenizer"];
        Cli::parse_from([&words, more].concat()).args
    }

    #[test]
    fn a_pipeline_makes_each_size_once() {
        let place = tempfile::tempdir().unwrap();
        let tokenizer = r#"{"model": {"vocab": {"a": 0, "b": 299}}, "added_tokens": [{"id": 300}]}"#;
        std::fs::write(place.path().join("tokenizer.json"), tokenizer).unwrap();
        let folder = place.path().to_string_lossy().into_owned();
        let args =
            args(&[&folder, "--budgets", "1e11,2e11", "--sizes", "3", "--spread", "6", "--batch-tokens", "1024"]);
        let rungs = rungs(&args).unwrap();
        assert!(rungs.iter().all(|rung| rung.shape.vocabulary == 320));
        let text = recipe(&args, &rungs, Path::new("models"));
        let sizes: std::collections::BTreeSet<String> = rungs.iter().map(|rung| rung.shape.name()).collect();
        assert_eq!(text.matches("[stage.model.new]").count(), sizes.len());
        assert_eq!(text.matches("[stage.pretrain]").count(), 6);
        let first =
            format!("name = \"budget1-{0}\"\n[stage.pretrain]\nmodel = \"{{new-{0}}}/model\"", rungs[0].shape.name());
        assert!(text.contains(&first) && text.contains("data = [\"a:0.5\", \"b:0.5\"]"), "{text}");
        assert!(text.contains("name = \"budget2-"), "{text}");
        assert_eq!(table(&rungs).lines().count(), 7);
    }

    #[test]
    fn a_stage_is_found_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("02-budget1-32x1")).unwrap();
        std::fs::create_dir(place.path().join("12-budget1-32x12")).unwrap();
        assert!(stage_folder(place.path(), "budget1-32x1").unwrap().ends_with("02-budget1-32x1"));
        let error = stage_folder(place.path(), "budget3-32x1").unwrap_err().to_string();
        assert!(error.contains("has no stage budget3-32x1"), "{error}");
    }
}
