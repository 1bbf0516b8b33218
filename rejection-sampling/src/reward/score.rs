//! `herd rejection-sampling score`: computes a reward for every conversation, answer or preference of a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use dataset::digest::Fingerprint;
use dataset::jsonl::{self, OnBadLine};
use dataset::resume::OrderedOutput;
use dataset::{Conversation, Message, Preference, Problem, Sample};
use llama::device::{self, Compute};
use llama::{SequenceClassifier, locate};
use serde_json::{Value, json};

use super::group::Group;
use super::model::RewardModel;

/// Arguments of `herd rejection-sampling score`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// The reward model: a sequence-classification folder
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,
    /// Conversations, preferences, or samples (with --problems), one per line
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The same records with their rewards, in the same order
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The problems that samples answer
    #[arg(long, value_name = "FILE")]
    pub problems: Option<PathBuf>,
    /// Tokens that pass through the model at a time
    #[arg(long, default_value_t = 4096)]
    pub micro_batch_tokens: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
}

/// A record with the conversations to score in it.
pub(super) struct Record {
    value: Value,
    /// The name of each score, and its conversation.
    pub conversations: Vec<(&'static str, Vec<Message>)>,
    pub tools: Vec<Value>,
}

/// Scores a file, or continues an interrupted run.
///
/// # Errors
/// When a record is faulty (with `file:line`), or the model is not a reward model. A conversation that cannot be
/// scored gets the cause in `unscored`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (device, kind) = args.compute.resolve()?;
    let folder = locate::locate(&args.model.to_string_lossy())?;
    let mut model = RewardModel::load(&folder, kind, device)?;
    model.set_gpu_kernels(args.compute.gpu_kernels()?);
    let problems = args.problems.as_deref().map(prompts).transpose()?;
    let print = Fingerprint::new()
        .text("batch", &format!("{} {}", args.micro_batch_tokens, device::name(kind)))
        .file("input", &args.input)?;
    let mut print = ::run::model_folder(print, &folder)?;
    let texts = SequenceClassifier::texts(&folder)?;
    if texts != folder {
        print = ::run::model_folder(print, &texts)?;
    }
    if let Some(path) = &args.problems {
        print = print.file("problems", path)?;
    }
    let mut output = OrderedOutput::open(&args.output, &print.finish())?;
    let resumed = output.done();
    let mut counts = Counts::default();
    let mut reader = jsonl::read::<Value>(&args.input, OnBadLine::Error)?;
    // Batches end at the same records whatever was done before, so that a resumed run has the same bits.
    let (mut batch, mut tokens) = (Vec::new(), 0);
    let mut index = 0;
    while let Some(value) = reader.next() {
        let place = reader.place().to_string();
        let record = Record::new(value?, problems.as_ref()).context(place)?;
        let encoded: anyhow::Result<Vec<Vec<i64>>> =
            record.conversations.iter().map(|(_, messages)| model.encode(messages, record.tools.clone())).collect();
        let group = encoded.map(|ids| Group::new(&ids)).map_err(|error| format!("{error:#}"));
        let length = group.as_ref().map_or(0, Group::tokens);
        if tokens + length > args.micro_batch_tokens && !batch.is_empty() {
            flush(&model, &mut output, &mut counts, std::mem::take(&mut batch))?;
            tokens = 0;
        }
        tokens += length;
        batch.push((index, record, group));
        index += 1;
    }
    flush(&model, &mut output, &mut counts, batch)?;
    output.finish(index)?;
    println!("{index} records, {resumed} of them scored before; {}\nwritten: {}", counts.text(), args.output.display());
    Ok(())
}

/// Scores a batch, unless all of it is already in the output.
fn flush(
    model: &RewardModel,
    output: &mut OrderedOutput,
    counts: &mut Counts,
    batch: Vec<(usize, Record, Result<Group, String>)>,
) -> anyhow::Result<()> {
    if batch.iter().all(|(index, ..)| *index < output.done()) {
        return Ok(());
    }
    let groups: Vec<&Group> = batch.iter().filter_map(|(_, _, group)| group.as_ref().ok()).collect();
    let mut scores = if groups.is_empty() { Vec::new() } else { model.score(&groups)? }.into_iter();
    for (index, mut record, group) in batch {
        match group.map(|_| scores.next().unwrap_or_default()) {
            Ok(scores) => {
                counts.add(&record, &scores);
                record.write(&scores);
            }
            Err(cause) => {
                counts.unscored += 1;
                record.value["unscored"] = cause.into();
            }
        }
        if index >= output.done() {
            output.push(index, &record.value)?;
        }
    }
    Ok(())
}

impl Record {
    /// Determines the kind of a record from its fields.
    pub fn new(value: Value, problems: Option<&Prompts>) -> anyhow::Result<Self> {
        let has = |name: &str| value.get(name).is_some();
        if has("chosen") && has("rejected") {
            let preference = Preference::try_from(value.clone())?;
            let of = |answer: &[Message]| [&preference.prompt, answer].concat();
            let mut conversations = vec![("chosen", of(&preference.chosen)), ("rejected", of(&preference.rejected))];
            conversations.extend(preference.edited.as_ref().map(|edited| ("edited", of(edited))));
            let tools = preference.tools()?;
            return Ok(Self { value, conversations, tools });
        }
        if has("response") {
            let sample = Sample::try_from(value.clone())?;
            let problems =
                problems.context("a sample has no prompt: give its problem with --problems, or send messages")?;
            let Some((prompt, tools)) = problems.get(&sample.id) else {
                bail!("--problems has no problem {:?}", sample.id)
            };
            let conversation = [&prompt[..], &[Message::assistant(sample.response)]].concat();
            return Ok(Self { value, conversations: vec![("reward", conversation)], tools: tools.clone() });
        }
        let conversation = Conversation::try_from(value.clone())?;
        let tools = conversation.tools()?;
        Ok(Self { value, conversations: vec![("reward", conversation.messages)], tools })
    }

    /// `{"reward": score}`, or `{"rewards": {"chosen": score, ...}}`.
    pub fn answer(&self, scores: &[f64]) -> Value {
        if let ([_], [score]) = (&self.conversations[..], scores) {
            return json!({"reward": score});
        }
        let named = self.conversations.iter().zip(scores).map(|((name, _), score)| ((*name).to_owned(), json!(score)));
        json!({"rewards": Value::Object(named.collect())})
    }

    fn write(&mut self, scores: &[f64]) {
        if let Value::Object(answer) = self.answer(scores) {
            for (name, value) in answer {
                self.value[name] = value;
            }
        }
    }
}

/// The prompts of problems with their tools, by id.
pub(super) type Prompts = HashMap<String, (Vec<Message>, Vec<Value>)>;

fn prompts(path: &Path) -> anyhow::Result<Prompts> {
    let problems: Vec<Problem> = jsonl::read_all(path)?;
    let prompt = |problem: Problem| {
        let tools = problem.tools().with_context(|| format!("{}: the problem {}", path.display(), problem.id))?;
        Ok((problem.id, (problem.prompt, tools)))
    };
    problems.into_iter().map(prompt).collect()
}

/// The counts of this run, without those of the run that it continues.
#[derive(Default)]
struct Counts {
    rewards: Vec<f64>,
    right: Vec<f64>,
    unscored: u64,
}

impl Counts {
    fn add(&mut self, record: &Record, scores: &[f64]) {
        if let ([("chosen", _), ("rejected", _), ..], [chosen, rejected, ..]) = (&record.conversations[..], scores) {
            self.right.push(if chosen == rejected { 0.5 } else { f64::from(u8::from(chosen > rejected)) });
        }
        self.rewards.extend(scores);
    }

    fn text(&self) -> String {
        let mean = self.rewards.iter().sum::<f64>() / self.rewards.len().max(1) as f64;
        let mut text = format!("{} scores, mean {mean:.3}, {} records unscored", self.rewards.len(), self.unscored);
        if !self.right.is_empty() {
            text += &format!("; chosen over rejected: {}", stats::mean(&self.right).percent());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_say_what_a_record_is() {
        let names = |value: Value, problems: Option<&Prompts>| {
            Record::new(value, problems).map(|record| {
                let all = record.conversations.iter();
                all.map(|(name, messages)| (*name, messages.len())).collect::<Vec<_>>()
            })
        };
        let preference = json!({"prompt": "q", "chosen": "a", "rejected": "b", "edited": "c"});
        assert_eq!(names(preference, None).unwrap(), [("chosen", 2), ("rejected", 2), ("edited", 2)]);
        let conversation =
            json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
        assert_eq!(names(conversation, None).unwrap(), [("reward", 2)]);
        let sample = json!({"id": "p", "response": "a", "finish_reason": "stop", "model": "m"});
        assert!(names(sample.clone(), None).unwrap_err().to_string().contains("--problems"));
        let mut problems = HashMap::new();
        assert!(names(sample.clone(), Some(&problems)).unwrap_err().to_string().contains("no problem \"p\""));
        let tools = vec![json!({"type": "function", "function": {"name": "add"}})];
        problems.insert("p".into(), (vec![Message::system("s"), Message::user("q")], tools.clone()));
        assert_eq!(names(sample.clone(), Some(&problems)).unwrap(), [("reward", 3)]);
        // Tools are part of the prompt in every kind of record.
        assert_eq!(Record::new(sample, Some(&problems)).unwrap().tools, tools);
        let preference = json!({"prompt": "q", "chosen": "a", "rejected": "b", "tools": tools});
        assert_eq!(Record::new(preference, None).unwrap().tools, tools);
        let mut scored = Record::new(json!({"prompt": "q", "chosen": "a", "rejected": "b"}), None).unwrap();
        scored.write(&[1.5, -2.0]);
        assert_eq!(scored.value["rewards"], json!({"chosen": 1.5, "rejected": -2.0}));
    }
}
