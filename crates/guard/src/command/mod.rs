//! `herd safety guard`: the commands that need no libtorch themselves; the caller supplies the language models.

mod check;
mod eval;
mod serve;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Subcommand;
use run::Flags;
use safety_text::policy::Policy;
use serde::Serialize;

use crate::card::Card;
use crate::fusion::Fusion;
use crate::guard::{Guard, Scorer};
use crate::prompt::Format;
use crate::train::{self, LinearConfig};

pub use check::Args as CheckArgs;
pub use eval::Args as EvalArgs;
pub use serve::{Args as ServeArgs, Waiting};
pub use {check::run as check, eval::run as eval, serve::run as serve};

/// A function that opens the language model of a folder. Programs without libtorch use [`no_model`].
pub type OpenModel = fn(&Path, Format) -> anyhow::Result<Box<dyn Scorer>>;

/// Refuses every language model, for programs without libtorch.
///
/// # Errors
/// Always.
pub fn no_model(folder: &Path, _: Format) -> anyhow::Result<Box<dyn Scorer>> {
    anyhow::bail!("{} has a language model, and this program has no libtorch to compute it", folder.display())
}

/// Arguments of `herd safety guard`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug, Clone)]
enum Command {
    /// Make a guard from labelled records
    Train(Box<Flags<LinearConfig>>),
    /// Measure a guard on labelled records: by source, language and category
    Eval(EvalArgs),
    /// Judge texts: one verdict a line
    Check(CheckArgs),
    /// Serve /v1/moderations
    Serve(ServeArgs),
}

/// Runs `herd safety guard`. No text of a record is printed.
///
/// # Errors
/// The errors of the command.
pub fn run(args: &Args, open: OpenModel) -> anyhow::Result<()> {
    match &args.command {
        Command::Train(flags) => train::run(flags),
        Command::Eval(args) => eval(args, open),
        Command::Check(args) => check(args, open),
        Command::Serve(args) => serve(args, open),
    }
}

/// Flags that select a guard and its settings.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct Which {
    /// A guard's folder
    #[arg(long, value_name = "FOLDER")]
    pub guard: Option<PathBuf>,
    /// Prompt format of a guard that another program made
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub guard_format: Option<Format>,
    /// A policy file or a built-in policy, instead of the guard's own
    #[arg(long, value_name = "FILE")]
    pub guard_policy: Option<String>,
    /// Judge these categories only
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub guard_categories: Vec<String>,
    /// The probability from which a text counts as unsafe, instead of the guard's own threshold
    #[arg(long, value_name = "P")]
    pub guard_threshold: Option<f64>,
}

impl Which {
    /// Opens the guard.
    ///
    /// # Errors
    /// See [`Guard::open`]; also when the policy is not the guard's, or a category is unknown.
    pub fn open(&self, open: OpenModel) -> anyhow::Result<(Guard, Option<Card>)> {
        let Some(folder) = &self.guard else { anyhow::bail!("--guard is missing: the folder of a guard") };
        if let Some(threshold) = self.guard_threshold {
            ensure!((0.0..=1.0).contains(&threshold), "--guard-threshold is {threshold}; it must lie between 0 and 1");
        }
        let (mut guard, card, mut policy) = match self.guard_format {
            Some(format) if format != Format::Herd => {
                let policy = Policy::load(self.guard_policy.as_deref().unwrap_or("herd-14"))?;
                let name = folder.display().to_string();
                let alone = Fusion { bias: 0.0, linear: 0.0, model: 1.0 };
                let guard = Guard::new(name, policy.clone(), 0.5, alone, None, Some(open(folder, format)?));
                (guard, None, policy)
            }
            _ => {
                let model = |folder: &Path, card: &Card| open(&crate::card::model_folder(folder), card.format);
                let (guard, card) = Guard::open(folder, model)?;
                let own = crate::guard::Judge::policy(&guard).clone();
                let policy = match &self.guard_policy {
                    Some(file) => card.adopt(&own, file)?,
                    None => own,
                };
                (guard, Some(card), policy)
            }
        };
        if !self.guard_categories.is_empty() {
            policy = policy.only(&self.guard_categories)?;
        }
        guard.set_policy(policy);
        if let Some(threshold) = self.guard_threshold {
            guard.set_threshold(threshold);
        }
        Ok((guard, card))
    }
}
