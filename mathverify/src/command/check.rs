//! `mathverify check`.

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::Policies;
use super::rows::{self, Answer, Files};
use crate::options::Options;
use crate::verify::verify;

/// Flags of `mathverify check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
}

impl Args {
    #[cfg(test)]
    pub(super) fn policies(&self) -> &Policies {
        &self.policies
    }
}

/// One pair.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pair {
    id: Option<Value>,
    pred: Answer,
    gold: Answer,
}

/// The verdict on one pair, with its id.
pub(super) fn judge(pair: &Pair, options: &Options) -> Value {
    rows::with_id(pair.id.as_ref(), &verify(&pair.pred.text(), &pair.gold.text(), options))
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = args.policies.options();
    let (mut equal, mut different, mut unknown) = (0_usize, 0_usize, 0_usize);
    let count = |verdict: &Value| match verdict["verdict"].as_str() {
        Some("equal") => equal += 1,
        Some("different") => different += 1,
        _ => unknown += 1,
    };
    let (pairs, aside) = rows::each(&args.files, "check", &options, |pair: &Pair| judge(pair, &options), count)?;
    eprintln!("{pairs} pairs: {equal} equal, {different} different, {unknown} unknown{aside}");
    Ok(())
}
