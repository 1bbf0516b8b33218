//! `herd vision make`: pictures of scenes, with conversations about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use dataset::{Conversation, Message, digest, jsonl};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use run::{Class, Facts, Frame, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use crate::scenes::{Made, Maker, Split, Task, picture};

/// Arguments of `herd vision make`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The folder for train.jsonl, test.jsonl, composition.jsonl, pictures/ and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// The kinds of questions
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Task::Count, Task::Colour, Task::Shape, Task::Name, Task::Relation, Task::There, Task::Largest, Task::Bars])]
    pub tasks: Vec<Task>,
    /// Training questions, each with a picture of its own
    #[arg(long, default_value_t = 6000)]
    pub train: usize,
    /// Test questions about new scenes, and as many about pairs of colour and shape that training never shows
    #[arg(long, default_value_t = 800)]
    pub test: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

const FILES: [(&str, Split); 3] =
    [("train.jsonl", Split::Train), ("test.jsonl", Split::Test), ("composition.jsonl", Split::Composition)];

/// Runs `herd vision make`. The same arguments give the same bytes.
///
/// # Errors
/// When the folder holds another run, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.train + args.test > 0, "--train and --test are both 0: nothing to make");
    ensure!(!args.tasks.is_empty(), "--tasks is empty: nothing to make");
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let facts = Facts {
        seed: Some(args.seed),
        ..Facts::new("vision make", |key| if key == "output" { Class::Free } else { Class::Course })
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    std::fs::create_dir_all(args.output.join("pictures"))
        .with_context(|| format!("cannot create {}", args.output.join("pictures").display()))?;
    let (mut lines, mut records) = (Vec::new(), BTreeMap::new());
    for (name, split) in FILES {
        let made = made(args, split);
        let conversations = made.iter().map(|made| conversation(made, split, &args.output));
        let conversations = conversations.collect::<anyhow::Result<Vec<_>>>()?;
        jsonl::write_all(args.output.join(name), &conversations)?;
        lines.push(format!("{}: {}", args.output.join(name).display(), counts(&made, split)));
        records.insert(name, made.len());
    }
    let summary = lines.join("\n");
    session.finish(&FILES.map(|(name, _)| name), &summary, json!({"records": records}))?;
    println!("{summary}");
    Ok(())
}

/// The questions of a split, task by task in turn.
fn made(args: &Args, split: Split) -> Vec<Made> {
    let count = if split == Split::Train { args.train } else { args.test };
    let tasks: Vec<Task> =
        args.tasks.iter().copied().filter(|task| split != Split::Composition || task.composes()).collect();
    let mut maker = Maker::new(args.seed, split);
    let count = if tasks.is_empty() { 0 } else { count };
    (0..count).map(|i| maker.next(tasks[i % tasks.len()])).collect()
}

/// Writes the picture, under its digest so that the name says nothing, and gives its conversation.
fn conversation(made: &Made, split: Split, folder: &Path) -> anyhow::Result<Conversation> {
    let picture = picture(&made.scene)?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&picture.rgb, picture.width, picture.height, ExtendedColorType::Rgb8)?;
    let digest = digest::bytes(&png);
    let name = format!("pictures/{}.png", &digest[..24]);
    std::fs::write(folder.join(&name), &png)
        .with_context(|| format!("cannot write {}", folder.join(&name).display()))?;
    let parts = json!([{"type": "image", "image": name}, {"type": "text", "text": made.question}]);
    let user: Message = serde_json::from_value(json!({"role": "user", "content": parts}))?;
    let id = format!("{}-{}", split.name(), &digest::bytes(format!("{digest}{}", made.question).as_bytes())[..16]);
    let mut conversation = Conversation::new(id, vec![user, Message::assistant(made.answer.as_str())]);
    conversation.source = Some("vision make".into());
    conversation.capability = Some("vision".into());
    let meta = json!({"task": made.task, "answers": made.task.answers(split), "picture": digest, "scene": made.scene});
    conversation.extra.insert("meta".into(), meta);
    Ok(conversation)
}

/// Questions of each task, with how often a model is right that does not look: one in so many.
fn counts(made: &[Made], split: Split) -> String {
    let mut tasks: BTreeMap<Task, usize> = BTreeMap::new();
    made.iter().for_each(|made| *tasks.entry(made.task).or_default() += 1);
    let each = tasks.iter().map(|(task, count)| {
        let name =
            serde_json::to_value(task).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        format!("{count} {name} (1 in {})", task.answers(split).len())
    });
    let each: Vec<String> = each.collect();
    format!("{} questions: {}", made.len(), each.join(", "))
}
