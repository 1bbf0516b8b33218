//! `herd vision make`: makes pictures of scenes, and conversations about them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use dataset::{Conversation, Message, Role, digest, jsonl};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use run::{Class, Facts, Frame, Input, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use crate::decode::Picture;
use crate::drawings::{self, Asker, Drawings, FONTS, Font, SETS};
use crate::scenes::{Made, Maker, Split, Task, Turn, further, picture};

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
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Task::Count, Task::Colour, Task::Shape, Task::Name, Task::Relation, Task::There, Task::Largest, Task::Bars, Task::Collage])]
    pub tasks: Vec<Task>,
    /// Number of training pictures, each with its own question
    #[arg(long, default_value_t = 6000)]
    pub train: usize,
    /// Maximum number of questions in a training conversation; further ones ask for the colours and shapes of the same picture
    #[arg(long, default_value_t = 1)]
    pub questions: usize,
    /// Number of things to ask the names of, in addition to the scenes: which of four it is, and what it is. Training shows two artists'
    /// drawings of them, the test a third artist's. Needs npm, or --drawings
    #[arg(long, default_value_t = 0)]
    pub things: usize,
    /// The folder with the drawings [default: three emoji sets, fetched from npm into the cache]
    #[arg(long, value_name = "FOLDER")]
    pub drawings: Option<PathBuf>,
    /// Number of written words to ask for, in addition to the scenes: which of four it is, and what is written. Training shows five
    /// fonts, the test two others. Needs npm, or --fonts
    #[arg(long, default_value_t = 0)]
    pub written_words: usize,
    /// The folder with the fonts [default: seven fonts, fetched from npm into the cache]
    #[arg(long, value_name = "FOLDER")]
    pub fonts: Option<PathBuf>,
    /// System message at the start of every conversation; an empty one keeps a chat template from adding its own
    #[arg(long)]
    pub system: Option<String>,
    /// Number of test questions about new scenes; as many are about pairs of colour and shape that training never shows
    #[arg(long, default_value_t = 800)]
    pub test: usize,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// The file that credits the authors of the drawings.
const CREDITS: &str = "credits.json";
/// The random stream that decides about further questions.
const FURTHER: u64 = 0x1_0000;

const FILES: [(&str, Split); 3] =
    [("train.jsonl", Split::Train), ("test.jsonl", Split::Test), ("composition.jsonl", Split::Composition)];

/// Runs `herd vision make`. The same arguments give the same bytes.
///
/// # Errors
/// When the folder belongs to another run, drawings cannot be fetched, or a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.train + args.test > 0, "--train and --test are both 0: nothing to make");
    ensure!(!args.tasks.is_empty(), "--tasks is empty: nothing to make");
    ensure!(args.questions > 0, "--questions is 0; it must be 1 or more");
    ensure!(
        args.things > 0 || args.drawings.is_none(),
        "--drawings is given, and --things is 0: nothing to ask about them"
    );
    ensure!(
        args.written_words > 0 || args.fonts.is_none(),
        "--fonts is given, and --written-words is 0: nothing to ask about them"
    );
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let (drawings, inputs) = open_drawings(args)?;
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        ..Facts::new("vision make", |key| match key {
            // Drawings and fonts are compared by content.
            "output" | "drawings" | "fonts" => Class::Free,
            _ => Class::Course,
        })
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    std::fs::create_dir_all(args.output.join("pictures"))
        .with_context(|| format!("cannot create {}", args.output.join("pictures").display()))?;
    let (mut lines, mut records) = (Vec::new(), BTreeMap::new());
    for (name, split) in FILES {
        let asked = asked(args, &drawings, split);
        let conversations = asked.iter().map(|asked| conversation(asked, &drawings, split, args));
        let conversations = conversations.collect::<anyhow::Result<Vec<_>>>()?;
        jsonl::write_all(args.output.join(name), &conversations)?;
        lines.push(format!("{}: {}", args.output.join(name).display(), counts(&asked, split)));
        records.insert(name, asked.len());
    }
    let mut files = FILES.map(|(name, _)| name).to_vec();
    if !drawings.is_empty() {
        let credits: Vec<_> = drawings.iter().flat_map(|(drawings, _)| drawings.credits()).collect();
        dataset::write_file(args.output.join(CREDITS), format!("{:#}\n", json!(credits)).as_bytes())?;
        files.push(CREDITS);
        let each = credits.iter().map(|credit| format!("{} by {} ({})", credit.set, credit.author, credit.licence));
        lines.push(format!("drawings: {}", each.collect::<Vec<_>>().join(", ")));
    }
    let summary = lines.join("\n");
    session.finish(&files, &summary, json!({"records": records}))?;
    println!("{summary}");
    Ok(())
}

/// Drawings, and the number of their names to ask for.
type Counted = (Drawings, usize);

/// Opens the drawings of things and the fonts that the flags ask for, and lists their files.
fn open_drawings(args: &Args) -> anyhow::Result<(Vec<Counted>, Vec<Input>)> {
    let (mut all, mut inputs) = (Vec::new(), Vec::new());
    if args.things > 0 {
        let folder = args.drawings.clone().map_or_else(drawings::fetch, Ok)?;
        for set in &SETS {
            inputs.push(Input::file("drawings", &folder.join(set.name).join("icons.json"))?);
        }
        all.push((Drawings::open(&folder)?, args.things));
    }
    if args.written_words > 0 {
        let folder = args.fonts.clone().map_or_else(Font::fetch_all, Ok)?;
        for font in &FONTS {
            inputs.push(Input::file("fonts", &folder.join(format!("{}.ttf", font.name)))?);
        }
        all.push((Drawings::of_words(&folder)?, args.written_words));
    }
    for (drawings, count) in &all {
        let (flag, names) = (drawings.of().flag(), drawings.names().len());
        ensure!(*count >= 4, "{flag} is {count}; a choice of four needs 4 or more");
        ensure!(*count <= names, "{flag} is {count}, and there are {names} {}", drawings.of().plural());
    }
    Ok((all, inputs))
}

/// A question about a picture.
enum Asked {
    /// The question of a scene, and further ones.
    Scene(Made, Vec<Turn>),
    /// A drawing, and the index of its list of drawings.
    Drawing(usize, drawings::Asked),
}

impl Asked {
    fn task(&self) -> String {
        match self {
            Self::Scene(made, _) => name(made.task),
            Self::Drawing(_, asked) => asked.task.to_owned(),
        }
    }

    fn question(&self) -> (&str, &str) {
        match self {
            Self::Scene(made, _) => (&made.question, &made.answer),
            Self::Drawing(_, asked) => (&asked.question, &asked.answer),
        }
    }

    fn answers(&self, split: Split) -> Vec<String> {
        match self {
            Self::Scene(made, _) => made.task.answers(split),
            Self::Drawing(_, asked) => asked.answers.clone(),
        }
    }

    fn turns(&self) -> &[Turn] {
        match self {
            Self::Scene(_, turns) => turns,
            Self::Drawing(..) => &[],
        }
    }

    fn picture(&self, drawings: &[Counted]) -> anyhow::Result<Picture> {
        match self {
            Self::Scene(made, _) => Ok(picture(&made.scene, made.task.tiles())?),
            Self::Drawing(list, asked) => drawings[*list].0.picture(&asked.drawing),
        }
    }
}

fn name(task: Task) -> String {
    serde_json::to_value(task).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Makes the questions of a split; the tasks take turns.
fn asked(args: &Args, drawings: &[Counted], split: Split) -> Vec<Asked> {
    let count = if split == Split::Train { args.train } else { args.test };
    let tasks: Vec<Task> =
        args.tasks.iter().copied().filter(|task| split != Split::Composition || task.composes()).collect();
    let mut maker = Maker::new(args.seed, split);
    // The generator is separate, so that the scenes do not depend on the number of questions.
    let mut random = ChaCha8Rng::seed_from_u64(args.seed);
    random.set_stream(FURTHER);
    let more = if split == Split::Train { args.questions - 1 } else { 0 };
    let mut scene = |task| {
        let made = maker.next(task);
        let turns = further(&made, &tasks, more, &mut random);
        Asked::Scene(made, turns)
    };
    let new = |(drawings, names): &Counted| Asker::new(drawings, *names, args.seed, split);
    let mut askers: Vec<Asker> = drawings.iter().map(new).collect();
    // For each question about a drawing in a round, its list of drawings, and whether it asks for the name without a choice.
    let kinds: &[bool] = if split == Split::Composition { &[false] } else { &[false, true] };
    let able = askers.iter().enumerate().filter(|(_, asker)| asker.can_ask());
    let about: Vec<(usize, bool)> =
        able.flat_map(|(list, _)| kinds.iter().map(move |naming| (list, *naming))).collect();
    let round = tasks.len() + about.len();
    let count = if round == 0 { 0 } else { count };
    let one = |i: usize| match tasks.get(i % round) {
        Some(task) => Some(scene(*task)),
        None => {
            let (list, naming) = about[i % round - tasks.len()];
            askers[list].next(naming).map(|asked| Asked::Drawing(list, asked))
        }
    };
    (0..count).filter_map(one).collect()
}

/// Writes the picture and returns its conversation. The file name is the digest, so that it reveals nothing.
fn conversation(asked: &Asked, drawings: &[Counted], split: Split, args: &Args) -> anyhow::Result<Conversation> {
    let folder = args.output.as_path();
    let picture = asked.picture(drawings)?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&picture.rgb, picture.width, picture.height, ExtendedColorType::Rgb8)?;
    let digest = digest::bytes(&png);
    let name = format!("pictures/{}.png", &digest[..24]);
    std::fs::write(folder.join(&name), &png)
        .with_context(|| format!("cannot write {}", folder.join(&name).display()))?;
    let (question, answer) = asked.question();
    let parts = json!([{"type": "image", "image": name}, {"type": "text", "text": question}]);
    let user: Message = serde_json::from_value(json!({"role": "user", "content": parts}))?;
    let id = format!("{}-{}", split.name(), &digest::bytes(format!("{digest}{question}").as_bytes())[..16]);
    let mut messages: Vec<Message> = args.system.iter().map(|text| Message::new(Role::System, text.as_str())).collect();
    messages.extend([user, Message::assistant(answer)]);
    for turn in asked.turns() {
        messages.extend([Message::user(turn.question.as_str()), Message::assistant(turn.answer.as_str())]);
    }
    let mut conversation = Conversation::new(id, messages);
    conversation.source = Some("vision make".into());
    conversation.capability = Some("vision".into());
    let mut meta = json!({"task": asked.task(), "answers": asked.answers(split), "picture": digest});
    match asked {
        Asked::Scene(made, _) => meta["scene"] = json!(made.scene),
        Asked::Drawing(_, asked) => meta["drawing"] = json!(asked.drawing),
    }
    if !asked.turns().is_empty() {
        meta["further"] = asked.turns().iter().map(|turn| json!(turn.task)).collect();
    }
    conversation.extra.insert("meta".into(), meta);
    Ok(conversation)
}

/// The number of questions of each task, with the accuracy of guessing (one in so many). Further questions are counted separately, with
/// the share of their most frequent answer.
fn counts(all: &[Asked], split: Split) -> String {
    let mut tasks: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut following: BTreeMap<Task, BTreeMap<&str, usize>> = BTreeMap::new();
    for asked in all {
        let (count, answers) = tasks.entry(asked.task()).or_default();
        *count += 1;
        *answers = asked.answers(split).len();
        for turn in asked.turns() {
            *following.entry(turn.task).or_default().entry(&turn.answer).or_default() += 1;
        }
    }
    let each = tasks.iter().map(|(task, (count, answers))| format!("{count} {task} (1 in {answers})"));
    let mut line = format!("{} questions: {}", all.len(), each.collect::<Vec<_>>().join(", "));
    let each = following.iter().map(|(task, answers)| {
        let (all, most) = (answers.values().sum::<usize>(), answers.values().copied().max().unwrap_or(0));
        format!("{all} {} (most frequent answer {:.1}%)", name(*task), 100.0 * most as f64 / all as f64)
    });
    let each: Vec<String> = each.collect();
    if !each.is_empty() {
        line += &format!("; further ones in the same conversations: {}", each.join(", "));
    }
    line
}
