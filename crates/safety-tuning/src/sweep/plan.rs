//! `herd safety sweep plan`: a recipe for `herd run`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use toml::{Table, Value};

use super::weights;
use crate::rows;

/// Arguments of `plan`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// The model to tune: a folder, or a name in the cache
    #[arg(long)]
    model: String,
    /// General conversations; each has weight 1
    #[arg(long, value_name = "FILE")]
    general: PathBuf,
    /// Refusals (`herd safety make refusals`)
    #[arg(long, value_name = "FILE")]
    refusals: PathBuf,
    /// Answers to harmless look-alikes (the same command's borderline.jsonl)
    #[arg(long, value_name = "FILE")]
    borderline: PathBuf,
    /// Shares of safety data among all records
    #[arg(long, value_delimiter = ',', default_value = "0.01,0.05,0.1")]
    shares: Vec<f64>,
    /// Number of harmless look-alikes for each refusal; 0 is the naive mix, for comparison
    #[arg(long, value_delimiter = ',', default_value = "0,0.5,1,2")]
    ratios: Vec<f64>,
    /// A file with more keys of `herd sft`
    #[arg(long, value_name = "FILE")]
    sft_config: Option<PathBuf>,
    /// Sets of probes, as `herd safety eval` takes them
    #[arg(long, value_delimiter = ',', required = true, value_name = "SET")]
    sets: Vec<String>,
    /// The folder of the sets that are given by name
    #[arg(long, value_name = "DIR")]
    sets_dir: Option<PathBuf>,
    /// The folder of a guard that judges answers
    #[arg(long, value_name = "FOLDER")]
    judge: Option<PathBuf>,
    /// A file with more keys of `herd safety eval`
    #[arg(long, value_name = "FILE")]
    eval_config: Option<PathBuf>,
    /// Benchmarks of helpfulness, as `herd eval` takes them
    #[arg(long, value_delimiter = ',', value_name = "TASK")]
    tasks: Vec<String>,
    /// Problems for the task `problems`
    #[arg(long, value_name = "FILE")]
    problems: Option<PathBuf>,
    /// The folder of the pipeline
    #[arg(long, default_value = "runs/sweep", value_name = "FOLDER")]
    runs: PathBuf,
    /// The output file for the recipe
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

fn word(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

/// The nested tables of one stage: `name`, and the command's keys.
fn stage(name: &str, about: &str, command: &[&str], keys: Table) -> Value {
    let (last, outer) = command.split_last().unwrap_or((&"", &[]));
    let mut table = Table::from_iter([((*last).to_owned(), Value::Table(keys))]);
    for name in outer.iter().rev() {
        table = Table::from_iter([((*name).to_owned(), Value::Table(table))]);
    }
    let mut stage = Table::new();
    stage.insert("name".into(), name.into());
    stage.insert("about".into(), about.into());
    stage.extend(table);
    Value::Table(stage)
}

impl Args {
    fn measure(&self, number: usize, model: &str, stages: &mut Vec<Value>) {
        let mut keys = Table::new();
        keys.insert("model".into(), model.into());
        keys.insert("sets".into(), self.sets.clone().into());
        for (key, path) in [("sets_dir", &self.sets_dir), ("judge", &self.judge), ("config", &self.eval_config)] {
            if let Some(path) = path {
                keys.insert(key.into(), word(path));
            }
        }
        keys.insert("output".into(), "{out}".into());
        stages.push(stage(&format!("vr-{number}"), "Violations and false refusals.", &["safety", "eval"], keys));
        if !self.tasks.is_empty() {
            let mut keys = Table::new();
            keys.insert("model".into(), model.into());
            keys.insert("tasks".into(), self.tasks.clone().into());
            if let Some(problems) = &self.problems {
                keys.insert("problems".into(), word(problems));
            }
            keys.insert("output".into(), "{out}".into());
            stages.push(stage(&format!("help-{number}"), "Helpfulness.", &["eval"], keys));
        }
    }
}

/// Writes the recipe.
///
/// # Errors
/// When a file cannot be read or has no records, or when a share and a ratio are impossible.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(!args.shares.is_empty() && !args.ratios.is_empty(), "--shares and --ratios need at least one number each");
    let count = |path: &Path| Ok::<usize, anyhow::Error>(rows::read(path)?.len());
    let counts = (count(&args.general)?, count(&args.refusals)?, count(&args.borderline)?);
    let (mut stages, mut names) = (Vec::new(), vec!["before".to_owned()]);
    args.measure(0, "{model}", &mut stages);
    for &share in &args.shares {
        for &ratio in &args.ratios {
            let number = names.len();
            let weights = weights(counts.0, counts.1, counts.2, share, ratio)?;
            let weighed = |path: &Path, weight: f64| Value::from(format!("{}:{weight}", path.display()));
            let mut data = vec![word(&args.general), weighed(&args.refusals, weights.refusals)];
            if weights.borderline > 0.0 {
                data.push(weighed(&args.borderline, weights.borderline));
            }
            let mut keys = Table::new();
            keys.insert("model".into(), "{model}".into());
            keys.insert("data".into(), Value::Array(data));
            if let Some(path) = &args.sft_config {
                keys.insert("config".into(), word(path));
            }
            keys.insert("output".into(), "{out}".into());
            let about = format!("{share} of the records for safety, {ratio} harmless look-alikes for each refusal.");
            stages.push(stage(&format!("tune-{number}"), &about, &["sft"], keys));
            args.measure(number, &format!("{{tune-{number}}}/model"), &mut stages);
            names.push(format!("share {share} ratio {ratio}"));
        }
    }
    let folders = |what: &str| (0..names.len()).map(|n| Value::from(format!("{{{what}-{n}}}"))).collect::<Vec<_>>();
    let mut keys = Table::new();
    keys.insert("vr".into(), Value::Array(folders("vr")));
    if !args.tasks.is_empty() {
        keys.insert("helpfulness".into(), Value::Array(folders("help")));
    }
    keys.insert("names".into(), names.clone().into());
    keys.insert("output".into(), "{out}".into());
    stages.push(stage("report", "VR against FRR, with helpfulness beside it.", &["safety", "sweep", "report"], keys));
    let mut recipe = Table::new();
    recipe.insert("name".into(), "Safety sweep".into());
    recipe.insert("about".into(), "How much safety data, and how many harmless look-alikes for each refusal.".into());
    recipe.insert("output".into(), word(&args.runs));
    recipe
        .insert("vars".into(), Value::Table(Table::from_iter([("model".to_owned(), Value::from(args.model.clone()))])));
    recipe.insert("stage".into(), Value::Array(stages));
    let text = toml::to_string(&recipe).context("cannot write the recipe as TOML")?;
    dataset::write_file(&args.output, text.as_bytes())?;
    println!(
        "{}: {} mixes of {} general, {} refusing and {} borderline records; start it: herd run {}",
        args.output.display(),
        names.len() - 1,
        counts.0,
        counts.1,
        counts.2,
        args.output.display()
    );
    Ok(())
}
