//! Short benchmarks of a gate: `herd eval`'s items, asked before the first stage and at every gate.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use eval::items::{self, Item};
use eval::prompts::Prompts;
use eval::record::Sample;
use eval::run::Settings;
use eval::task::Task;
use llama::SamplingParams;
use run::Input;
use sampler::{Sampler, Turn};

use super::machine::Short;

/// The items of all tasks.
pub struct ShortTasks {
    items: Vec<Item>,
}

impl ShortTasks {
    /// Reads at most `limit` items of each task from a folder of benchmarks (by default the one that `herd data get` fills) and from a
    /// file of problems. Also returns the files that were read.
    ///
    /// # Errors
    /// When a file is missing, or when a gate cannot judge a task.
    pub fn read(
        tasks: &[Task],
        benchmarks: Option<&Path>,
        problems: Option<&PathBuf>,
        limit: usize,
    ) -> anyhow::Result<(Self, Vec<Input>)> {
        let (mut all, mut inputs) = (Vec::new(), Vec::new());
        if tasks.is_empty() {
            return Ok((Self { items: all }, inputs));
        }
        let data = match benchmarks {
            Some(folder) => folder.to_owned(),
            None => eval::data::default_folder()?,
        };
        let prompts = Prompts::load(None)?;
        for &task in tasks {
            let path = match (task, problems) {
                (Task::Perplexity, _) => {
                    bail!("--short-tasks perplexity: the loss of --short is in every gate already")
                }
                (Task::Problems, Some(path)) => path.clone(),
                (Task::Problems, None) => bail!("--short-tasks problems: give --short-problems FILE"),
                _ => task.locate(&data)?,
            };
            let items = items::read(task, &path, &prompts, Some(limit))?;
            let is_code = items.iter().any(|item| matches!(item.grading, eval::score::Grading::Code(_)));
            ensure!(!is_code, "--short-tasks {}: programs are not run in gates; name another task", task.name());
            all.extend(items);
            inputs.push(Input::file("short_tasks", &path)?);
        }
        Ok((Self { items: all }, inputs))
    }

    /// The judged answers, kept in `folder`; empty when no task was named.
    ///
    /// # Errors
    /// When the model cannot be asked.
    pub fn ask(&self, sampler: &mut Sampler, folder: &Path, fingerprint: &str) -> anyhow::Result<Vec<Sample>> {
        if self.items.is_empty() {
            return Ok(Vec::new());
        }
        sampler.set_turn(Turn::default());
        let settings = Settings {
            sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
            seed: 0,
            samples: 1,
            max_new_tokens: None,
            window: 1024,
        };
        let code = || bail!("programs are not run in gates");
        eval::run::run(folder, fingerprint, sampler, &self.items, &settings, &code)
    }
}

/// The share of wrong items of each task, paired by item.
///
/// # Errors
/// When the two lists differ in their items.
pub fn compare(before: &[Sample], now: &[Sample]) -> anyhow::Result<Vec<Short>> {
    let ids = |samples: &[Sample]| samples.iter().map(|s| (s.task.clone(), s.id.clone())).collect::<Vec<_>>();
    ensure!(ids(before) == ids(now), "the items of a gate are not those from before the first stage");
    let mut tasks: Vec<&str> = before.iter().map(|sample| sample.task.as_str()).collect();
    tasks.dedup();
    let wrong = |samples: &[Sample], task: &str| {
        let of_task = samples.iter().filter(|sample| sample.task == task);
        of_task.map(|sample| f64::from(u8::from(!sample.passed))).collect::<Vec<_>>()
    };
    let name = |task: &str| format!("{task} (share wrong)");
    Ok(tasks.iter().map(|task| Short::paired(&name(task), &wrong(before, task), &wrong(now, task))).collect())
}
