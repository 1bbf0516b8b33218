//! `herd vision check`: checks whether every picture of conversations can be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use dataset::jsonl::{self, OnBadLine};
use dataset::{Conversation, Error, Invalid};

use crate::Unusable;
use crate::decode::{Limits, Notes, decode};
use crate::kind::Kind;
use crate::processor::Processor;
use crate::records::{Placed, of_messages};
use crate::source::Source;

/// Arguments of `herd vision check`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Files of conversations: .jsonl, .gz, .zst or .parquet
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write conversations with unusable pictures to this file, with the reason, and continue
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Refuse pictures with more pixels than this, according to their headers
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels)]
    max_pixels: u64,
    /// Count the tiles that the image processor of this model makes of each picture
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
}

/// Counts of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    conversations: u64,
    with_pictures: u64,
    rejected: u64,
    kinds: BTreeMap<Kind, u64>,
    animated: u64,
    turned: u64,
    broken_exif: u64,
    alpha: u64,
    undrawn: u64,
    tiles: u64,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read; without `--rejected` also for the first conversation with an unusable picture.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.rejected.is_some() && args.files.len() > 1 {
        bail!("--rejected holds the conversations of one file: check the {} files one by one", args.files.len());
    }
    let limits = Limits { max_pixels: args.max_pixels, ..Limits::default() };
    let processor = args.model.as_deref().map(Processor::from_folder).transpose()?;
    for file in &args.files {
        let counts = check(file, args.rejected.as_deref(), &limits, processor.as_ref())?;
        println!("{}", sentence(file, &counts, processor.is_some()));
        if let Some(rejected) = args.rejected.as_deref().filter(|_| counts.rejected > 0) {
            println!("  {} conversations set aside in {}, with the reason", counts.rejected, rejected.display());
        }
    }
    Ok(())
}

/// Decodes every picture of a file of conversations.
///
/// # Errors
/// See [`run`].
pub fn check(
    file: &Path,
    rejected: Option<&Path>,
    limits: &Limits,
    processor: Option<&Processor>,
) -> anyhow::Result<Counts> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let on_bad = rejected.map_or(OnBadLine::Error, |path| OnBadLine::SetAside(path.to_owned()));
    let mut reader = jsonl::read::<Conversation>(file, on_bad)?;
    let mut counts = Counts::default();
    while let Some(conversation) = reader.next() {
        let conversation = conversation?;
        match pictures(&conversation, folder, limits, processor) {
            Ok(pictures) => {
                counts.conversations += 1;
                counts.with_pictures += u64::from(!pictures.is_empty());
                pictures.into_iter().for_each(|found| counts.add(found));
            }
            Err(why) if rejected.is_some() => reader.reject(Invalid(why.to_string()), &conversation)?,
            Err(why) => return Err(Error::Bad { place: reader.place(), what: why.to_string() }.into()),
        }
    }
    counts.rejected = reader.bad();
    Ok(counts)
}

/// The counted properties of a picture: its format, remarks, and number of tiles.
type Found = (Kind, Notes, u64);

fn pictures(
    conversation: &Conversation,
    folder: &Path,
    limits: &Limits,
    processor: Option<&Processor>,
) -> Result<Vec<Found>, Unusable> {
    let one = |source: &Source| {
        let picture = decode(&source.read(limits)?, limits).map_err(|error| match source.path() {
            Some(path) => error.at(path.display()),
            None => error,
        })?;
        let tiles = processor.map_or(Ok(0), |processor| processor.tiles(&picture).map(|tiles| tiles.count().into()))?;
        Ok((picture.kind, picture.notes, tiles))
    };
    let placed = of_messages(&conversation.messages, folder)?;
    let found = placed.iter().map(|Placed { message, part, source }| {
        one(source).map_err(|error: Unusable| error.at(format_args!("messages[{message}].content[{part}]")))
    });
    found.collect()
}

impl Counts {
    fn add(&mut self, (kind, notes, tiles): Found) {
        *self.kinds.entry(kind).or_default() += 1;
        self.animated += u64::from(notes.animated);
        self.turned += u64::from(notes.turned);
        self.broken_exif += u64::from(notes.broken_exif);
        self.alpha += u64::from(notes.alpha);
        self.undrawn += u64::from(notes.undrawn > 0);
        self.tiles += tiles;
    }
}

fn sentence(file: &Path, counts: &Counts, tiles: bool) -> String {
    let kinds: Vec<String> = counts.kinds.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    let mut text = format!(
        "{}: {} conversations, {} with pictures, {} pictures{kinds}",
        file.display(),
        counts.conversations,
        counts.with_pictures,
        counts.kinds.values().sum::<u64>()
    );
    if tiles {
        text += &format!("; {} tiles", counts.tiles);
    }
    for (count, what) in [
        (counts.animated, "are animated: the first frame is taken"),
        (counts.turned, "are turned as their EXIF says"),
        (counts.broken_exif, "have a broken EXIF block: they are taken as they stand"),
        (counts.alpha, "have transparency: they lie on white"),
        (counts.undrawn, "are SVG with text or embedded pictures, which are not drawn"),
    ] {
        if count > 0 {
            text += &format!("\n  {count} {what}");
        }
    }
    text
}
