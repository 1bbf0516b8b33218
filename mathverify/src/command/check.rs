//! `mathverify check`: compares predictions with references.

use std::collections::BTreeMap;

use anyhow::Result;
use run::counted;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Policies;
use super::rows::{self, Answer, Files};
use crate::options::Options;
use crate::verdict::Status;
use crate::verify::{Verdict, verify};

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

/// One record of the input: a prediction and its references.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct Pair {
    id: Option<Value>,
    /// `None` if the prediction is null, or is a conversation without an assistant message.
    pred: Option<String>,
    /// One or more references; the prediction has to equal one of them.
    golds: Vec<String>,
    /// Policies for this pair; they override those of the command line.
    options: Map<String, Value>,
}

/// The fields of a record, for error messages.
const NEEDED: &str = "a pair needs `pred` (the answer to judge, which may be null) and `gold` (the reference); it may have `id` and `options`";

#[derive(Debug, Clone, Deserialize)]
#[serde(expecting = "a pair: an object with `pred` and `gold`")]
struct Fields {
    id: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    pred: Option<Prediction>,
    #[serde(default, deserialize_with = "given")]
    gold: Option<References>,
    options: Option<Value>,
}

/// Deserializes a field that is present, so that `null` differs from a missing field.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl TryFrom<Fields> for Pair {
    type Error = String;

    fn try_from(f: Fields) -> Result<Self, String> {
        let missing = |name: &str| format!("`{name}` is missing: {NEEDED}");
        let pred = f.pred.ok_or_else(|| missing("pred"))?.text();
        let golds = f.gold.ok_or_else(|| missing("gold"))?.texts();
        if golds.is_empty() {
            return Err("`gold` is an empty list: give at least one reference".into());
        }
        let options = match f.options {
            None => Map::new(),
            Some(Value::Object(options)) => options,
            Some(other) => return Err(format!("`options` has to be an object, not {other}: {NEEDED}")),
        };
        with_own(&options, &Options::default())?;
        Ok(Self { id: f.id, pred, golds, options })
    }
}

/// A prediction: a text, a number, the messages of a conversation (the last assistant message counts), or null.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`pred` has to be a text, a number, null, or a list of messages {\"role\", \"content\"}")]
enum Prediction {
    Answer(Answer),
    Messages(Vec<Message>),
    Nothing(()),
}

#[derive(Debug, Clone, Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// One reference, or several of which the prediction has to equal one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`gold` has to be a text, a number, or a list of them that are all accepted")]
enum References {
    One(Answer),
    Several(Vec<Answer>),
}

impl Prediction {
    fn text(&self) -> Option<String> {
        match self {
            Self::Answer(answer) => Some(answer.text()),
            Self::Messages(messages) => messages.iter().rfind(|m| m.role == "assistant").map(|m| m.content.clone()),
            Self::Nothing(()) => None,
        }
    }
}

impl References {
    fn texts(&self) -> Vec<String> {
        match self {
            Self::One(answer) => vec![answer.text()],
            Self::Several(answers) => answers.iter().map(Answer::text).collect(),
        }
    }
}

/// The policies of the command line, overridden by those of a pair.
fn with_own(own: &Map<String, Value>, options: &Options) -> Result<Options, String> {
    if own.is_empty() {
        return Ok(options.clone());
    }
    let mut all = match serde_json::to_value(options) {
        Ok(Value::Object(all)) => all,
        _ => Map::new(),
    };
    all.extend(own.clone());
    serde_json::from_value(Value::Object(all)).map_err(|why| format!("`options` of a pair: {why}"))
}

/// Judges one pair; the verdict as JSON, with the id of the record.
pub(super) fn judge(pair: &Pair, options: &Options) -> Value {
    // The policies of the pair were validated when the record was read.
    let options = with_own(&pair.options, options).unwrap_or_else(|_| options.clone());
    let golds = &pair.golds;
    let Some(pred) = &pair.pred else {
        let nothing = Verdict {
            verdict: Status::Unknown,
            pred_answer: None,
            pred_form: None,
            gold_answer: golds.first().cloned(),
            tier: None,
            reason: "no prediction".into(),
        };
        return rows::with_id(pair.id.as_ref(), &nothing);
    };
    // Of several references, report the first that is equal, else the first that is unknown, else the first.
    let mut best: Option<Verdict> = None;
    for gold in golds {
        let verdict = verify(pred, gold, &options);
        let better = match &best {
            None => true,
            Some(before) => {
                verdict.is_equal() || (before.verdict == Status::Different && verdict.verdict == Status::Unknown)
            }
        };
        if better {
            best = Some(verdict);
        }
        if best.as_ref().is_some_and(Verdict::is_equal) {
            break;
        }
    }
    rows::with_id(pair.id.as_ref(), &best)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = args.policies.options();
    let (mut equal, mut different) = (0_usize, 0_usize);
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let count = |verdict: &Value| match verdict["verdict"].as_str() {
        Some("equal") => equal += 1,
        Some("different") => different += 1,
        _ => {
            // Group by the part of the reason before the colon: `the answer is not readable: two numbers side by side`.
            let reason = verdict["reason"].as_str().unwrap_or("").split(':').next().unwrap_or("").to_owned();
            *unknown.entry(reason).or_default() += 1;
        }
    };
    let (pairs, aside) = rows::each(&args.files, "check", &options, |pair: &Pair| judge(pair, &options), count)?;
    let all: usize = unknown.values().sum();
    let pairs = counted(pairs, "pair");
    eprintln!("{pairs}: {equal} equal, {different} different, {all} unknown{aside}");
    for (reason, times) in unknown {
        eprintln!("  {times} unknown: {reason}");
    }
    Ok(())
}
