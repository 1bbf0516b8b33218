//! `herd vision eval`: measures right answers about pictures, compared with answers without looking.
//!
//! An answer is right if greedy decoding gives exactly its tokens and the end of the turn: at each position the most likely token is the
//! right one. One pass over question and answer decides that.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dataset::jsonl::{self, OnBadLine};
use dataset::{Content, Conversation, Message, Part, check};
use llama::attention::Layout;
use llama::{ModelFolder, Pass, device};
use pictures::Limits;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use run::{Class, Facts, Frame, Input, Progress, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};
use tch::Tensor;
use trainer::best_fit_decreasing;

use crate::adapter::ENCODER;
use crate::composed::Composed;
use crate::describe::Machine;
use crate::train::{Batch, Seeing, View};
pub use table::{Row, rows, text};

/// Number of tokens computed in one row.
const ROW: usize = 2048;

/// Arguments of `herd vision eval`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// A model of `herd vision train`
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,
    /// The language model, if it is not the one that the adapter was trained on
    #[arg(long, value_name = "FOLDER")]
    pub language_model: Option<PathBuf>,
    /// A model that was trained with `--pictures other`: it shows which answers can be known without looking
    #[arg(long, value_name = "FOLDER")]
    pub blind: Option<PathBuf>,
    /// Conversations with pictures; the last answer of each is the right one
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The folder for results.jsonl, summary.json and run.json
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Measure the first N conversations only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Leave out conversations with an unusable picture or text, and count them
    #[arg(long)]
    pub skip_bad: bool,
    /// Seed of the assignment of other pictures to questions
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,
}

/// A question with its results.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The record's id.
    pub id: String,
    /// `meta.task`, or the record's capability.
    pub task: String,
    /// The right answer.
    pub answer: String,
    /// Number of possible answers, if the record states it.
    pub choices: Option<usize>,
    /// Whether the answer is right with the picture.
    pub right: bool,
    /// Whether it is right with the picture of another question, if there is one.
    pub other_picture: Option<bool>,
    /// Whether the language model alone is right, without any picture.
    pub no_picture: bool,
    /// Whether the blind model is right, with the picture.
    pub blind: Option<bool>,
}

/// A prepared question.
struct Question {
    item: Item,
    seeing: Seeing,
    /// The same question without pictures.
    text: Seeing,
}

fn class(key: &str) -> Class {
    match key {
        // Files and folders are compared by content.
        "output" | "model" | "blind" | "data" | "language_model" => Class::Free,
        "dtype" | "device" | "threads" => Class::Bits,
        _ => Class::Course,
    }
}

/// Runs `herd vision eval`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let compute = args.machine.compute();
    let ((device, kind), on_gpu) = (compute.resolve()?, compute.gpu_kernels()?);
    let mut inputs = vec![Input::file("data", &args.data)?];
    for (key, folder) in [("model", Some(&args.model)), ("blind", args.blind.as_ref())] {
        if let Some(folder) = folder {
            inputs.push(Input::model(key, folder)?);
            inputs.push(Input::model(key, &folder.join(ENCODER))?);
        }
    }
    if let Some(folder) = &args.language_model {
        inputs.push(Input::model("language_model", folder)?);
    }
    let hardware = device::hardware(device, kind);
    let (seed, libtorch) = (Some(args.seed), Some(device::LIBTORCH));
    let facts = Facts { seed, inputs, hardware, libtorch, ..Facts::new("vision eval", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let load = |folder: &Path| -> anyhow::Result<Composed> {
        let mut model = Composed::load(folder, args.language_model.as_deref(), Some(kind), device)?;
        model.text.model.set_gpu_kernels(on_gpu);
        Ok(model)
    };
    let model = load(&args.model)?;
    let blind = args.blind.as_deref().map(load).transpose()?;
    let (items, left_out) = measure(&model, blind.as_ref(), args)?;
    let rows = rows(&items);
    let mut summary = text(&rows);
    if left_out > 0 {
        summary += &format!("\n{left_out} conversations left out: their text or their picture cannot be used");
    }
    jsonl::write_all(args.output.join("results.jsonl"), &items)?;
    let figures = json!({"rows": rows, "left_out": left_out});
    dataset::write_file(args.output.join("summary.json"), serde_json::to_string_pretty(&figures)?.as_bytes())?;
    session.finish(&["results.jsonl", "summary.json"], &summary, figures)?;
    println!("{summary}");
    Ok(())
}

/// Asks every question of a file in every way; also returns the number of records that were left out.
///
/// # Errors
/// When an argument is invalid or a step fails; without `skip_bad` also for the first record that cannot be used.
pub fn measure(model: &Composed, blind: Option<&Composed>, args: &Args) -> anyhow::Result<(Vec<Item>, u64)> {
    let limits = Limits::default();
    let (mut questions, left_out) = questions(model, args, &limits)?;
    ensure!(!questions.is_empty(), "{}: there is no conversation with a picture", args.data.display());
    let others = other_views(&questions, args.seed);
    let exchanged: Vec<Option<Seeing>> = questions
        .iter()
        .zip(others)
        .map(|(question, views)| views.map(|views| Seeing { views, ..question.seeing.clone() }))
        .collect();
    let own: Vec<&Seeing> = questions.iter().map(|question| &question.seeing).collect();
    let text: Vec<&Seeing> = questions.iter().map(|question| &question.text).collect();
    let other: Vec<&Seeing> = exchanged.iter().flatten().collect();
    let passes = 3 + usize::from(blind.is_some());
    let progress = Progress::new("questions", Some(passes * own.len()), 0);
    let mut states = States::default();
    let right = right(model, &own, &mut states, &progress)?;
    let mut other = self::right(model, &other, &mut states, &progress)?.into_iter();
    let no_picture = self::right(model, &text, &mut states, &progress)?;
    if blind.is_some_and(|blind| !blind.features.is_of_same_encoder(&model.features)) {
        states.clear();
    }
    let blind = blind.map(|blind| self::right(blind, &own, &mut states, &progress)).transpose()?;
    for (index, question) in questions.iter_mut().enumerate() {
        question.item.right = right[index];
        question.item.no_picture = no_picture[index];
        question.item.blind = blind.as_ref().map(|blind| blind[index]);
        question.item.other_picture = exchanged[index].as_ref().and_then(|_| other.next());
    }
    Ok((questions.into_iter().map(|question| question.item).collect(), left_out))
}

fn questions(model: &Composed, args: &Args, limits: &Limits) -> anyhow::Result<(Vec<Question>, u64)> {
    let template = model.text.template.as_ref();
    let template = template.with_context(|| format!("{} has no chat template", model.text.path.display()))?;
    let folder = args.data.parent().unwrap_or(Path::new(""));
    let mut reader = jsonl::read::<Conversation>(&args.data, OnBadLine::Error)?;
    let (mut questions, mut left_out) = (Vec::new(), 0);
    while questions.len() < args.limit.unwrap_or(usize::MAX)
        && let Some(conversation) = reader.next()
    {
        let mut conversation = conversation?;
        let place = reader.place();
        check::fill_id(&mut conversation.id, &place);
        let made = || -> anyhow::Result<Question> {
            let messages = &conversation.messages;
            let spoken = model.words.conversation(template, messages, (folder, Vec::new()))?;
            ensure!(!spoken.sources.is_empty(), "there is no picture in it");
            let views = spoken.sources.iter().map(|source| View::new(source, limits)).collect::<Result<_, _>>()?;
            let seeing = last_answer(&conversation.id, &spoken.encoded, views, model.words.image_id);
            let without = without_pictures(messages);
            let text = model.words.conversation(template, &without, (folder, Vec::new()))?;
            let text = last_answer(&conversation.id, &text.encoded, Vec::new(), model.words.image_id);
            Ok(Question { item: item(&conversation), seeing, text })
        };
        match made() {
            Ok(question) => questions.push(question),
            Err(_) if args.skip_bad => left_out += 1,
            Err(error) => bail!("{place}: {error:#}; --skip-bad leaves such conversations out"),
        }
    }
    Ok((questions, left_out))
}

fn item(conversation: &Conversation) -> Item {
    let meta = conversation.extra.get("meta");
    let task = meta.and_then(|meta| meta.get("task")).and_then(Value::as_str);
    let choices = meta.and_then(|meta| meta.get("answers")).and_then(Value::as_array).map(Vec::len);
    Item {
        id: conversation.id.clone(),
        task: task.or(conversation.capability.as_deref()).unwrap_or("all").to_owned(),
        answer: conversation.messages.last().map(|message| message.text().trim().to_owned()).unwrap_or_default(),
        choices,
        right: false,
        other_picture: None,
        no_picture: false,
        blind: None,
    }
}

/// Makes an example of which only the last turn counts.
fn last_answer(id: &str, encoded: &chat::Encoded, views: Vec<View>, image_id: u32) -> Seeing {
    let mut seeing = Seeing::new(id, encoded, views, image_id);
    if let Some(turn) = encoded.turns.last() {
        for (at, trained) in seeing.example.trained.iter_mut().enumerate() {
            *trained = turn.content.contains(&at) || turn.terminator.contains(&at);
        }
    }
    seeing
}

/// Removes the pictures from the turns.
fn without_pictures(messages: &[Message]) -> Vec<Message> {
    let text = |message: &Message| match &message.content {
        Some(Content::Parts(parts)) => {
            let texts = parts.parts().iter().filter(|part| matches!(part, Part::Text(_))).cloned().collect();
            Message { content: Some(Content::from_parts(texts)), ..message.clone() }
        }
        _ => message.clone(),
    };
    messages.iter().map(text).collect()
}

/// For each question, the pictures of another question of its task, in a cycle; `None` if the task has only one.
fn other_views(questions: &[Question], seed: u64) -> Vec<Option<Vec<View>>> {
    let mut groups: BTreeMap<(&str, usize), Vec<usize>> = BTreeMap::new();
    for (index, question) in questions.iter().enumerate() {
        groups.entry((&question.item.task, question.seeing.views.len())).or_default().push(index);
    }
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut others = vec![None; questions.len()];
    for mut group in groups.into_values() {
        group.shuffle(&mut generator);
        for (at, &index) in group.iter().enumerate().filter(|_| group.len() > 1) {
            others[index] = Some(questions[group[(at + 1) % group.len()]].seeing.views.clone());
        }
    }
    others
}

/// The encoder's states, by the digest of the picture.
type States = HashMap<String, Tensor>;

/// For each example, whether greedy decoding gives its answer.
fn right(model: &Composed, all: &[&Seeing], known: &mut States, progress: &Progress) -> anyhow::Result<Vec<bool>> {
    let limits = Limits::default();
    let lengths: Vec<usize> = all.iter().map(|seeing| seeing.example.ids.len()).collect();
    let capacity = lengths.iter().copied().max().unwrap_or(ROW).max(ROW);
    let mut right = vec![false; all.len()];
    for row in best_fit_decreasing(&lengths, capacity) {
        let examples: Vec<&Seeing> = row.iter().map(|&index| all[index]).collect();
        let batch = Batch::new(&examples, model.text.model.device());
        for view in batch.views() {
            if !known.contains_key(&view.digest) {
                let states = model.look(std::slice::from_ref(&view.source), &limits)?;
                known.extend(states.into_iter().map(|states| (view.digest.clone(), states)));
            }
        }
        let features: Vec<Tensor> = batch.views().iter().map(|view| known[&view.digest].shallow_clone()).collect();
        let found = torch_ext::catch(|| greedy(&model.text, model, &batch, &features))?;
        // Targets are in the order of the examples.
        let mut found = found.into_iter();
        for (&index, seeing) in row.iter().zip(&examples) {
            let own: Vec<bool> = found.by_ref().take(seeing.example.trained_tokens()).collect();
            right[index] = !own.is_empty() && own.iter().all(|same| *same);
        }
        progress.add(row.len());
    }
    Ok(right)
}

/// For each target, whether the most likely token is the right one.
fn greedy(text: &ModelFolder, model: &Composed, batch: &Batch, features: &[Tensor]) -> anyhow::Result<Vec<bool>> {
    let _no_grad = tch::no_grad_guard();
    let packed = batch.packed();
    let mut layout = packed.layout();
    let positions = Layout::positions(layout, packed.input_ids.size()[1]).to_device(text.model.device());
    let embedded = text.model.embed(&packed.input_ids)?;
    let hidden = if features.is_empty() {
        text.model.hidden_states_of(embedded, &positions, &mut layout, Pass::default())?
    } else {
        batch.hidden_states(
            &text.model,
            &model.adapter,
            features,
            embedded,
            (&positions, &mut layout),
            Pass::default(),
        )?
    };
    let picked = hidden.squeeze_dim(0).index_select(0, &packed.targets);
    let likely = text.model.logits(&picked)?.argmax(-1, false);
    Ok(Vec::<bool>::try_from(likely.eq_tensor(&packed.labels))?)
}
