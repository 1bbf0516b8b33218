//! Encodes conversations with pictures as examples.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;
use std::path::Path;

use anyhow::ensure;
use chat::ChatTemplate;
use dataset::{Conversation, Invalid, Message, Role, check, digest};
use pictures::{Limits, Source, decode};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use trainer::Example;
use trainer::stage::sources::{self, Counts, Fit, Sequence};
use trainer::stage::{Encoded, Encoder, RecordError, Row};

use crate::words::{Spoken, SpokenError, Words};

/// Tokenises conversations with pictures.
pub struct VisionEncoder<'a> {
    /// The tokenizer with the image token.
    pub words: &'a Words,
    /// The chat template.
    pub template: &'a ChatTemplate,
    /// The length limits.
    pub limits: sources::Limits,
    /// Limits on the resources for a picture.
    pub pictures: &'a Limits,
}

/// A picture of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The location of the picture.
    pub source: Source,
    /// SHA-256 of its file's bytes.
    pub digest: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// An example with its pictures.
#[derive(Debug, Clone)]
pub struct Seeing {
    /// The ids, with 0 in place of the image token, which the language model lacks.
    pub example: Example,
    /// The positions of the image tokens.
    pub images: Vec<usize>,
    /// The picture of each image token.
    pub views: Vec<View>,
}

/// An example as the preparation stores it.
pub struct VisionExample {
    /// The example.
    pub seeing: Seeing,
    /// Its turns and ids as encoded, for printing.
    encoded: chat::Encoded,
}

const TRAINED: &str = "trained tokens";
const PICTURES: &str = "pictures";
const BLIND: &str = "without a picture";
const CUT: &str = "picture cut off";
const UNUSABLE: &str = "unusable picture";

impl Seeing {
    /// Makes an example from an encoded conversation and the pictures of its image tokens.
    #[must_use]
    pub fn new(id: &str, encoded: &chat::Encoded, views: Vec<View>, image_id: u32) -> Self {
        let is_image = |id: &u32| *id == image_id;
        let images = encoded.ids.iter().enumerate().filter(|(_, id)| is_image(id)).map(|(at, _)| at).collect();
        let ids = encoded.ids.iter().map(|id| if is_image(id) { 0 } else { *id }).collect();
        let example = Example { id: id.to_owned(), ids, trained: encoded.assistant_mask.clone(), weight: 1.0 };
        Self { example, images, views }
    }
}

impl View {
    /// Reads and decodes the picture of a file.
    ///
    /// # Errors
    /// When the picture cannot be read or decoded.
    pub fn of_file(path: &str) -> Result<Self, Invalid> {
        Self::new(&Source::Path(path.into()), &Limits::default())
    }

    /// Reads and decodes a picture.
    ///
    /// # Errors
    /// When the picture cannot be read or decoded.
    pub fn new(source: &Source, limits: &Limits) -> Result<Self, Invalid> {
        let found = source.read(limits).and_then(|bytes| {
            let picture = decode(&bytes, limits).map_err(|error| match source.path() {
                Some(path) => error.at(path.display()),
                None => error,
            })?;
            Ok((digest::bytes(&bytes), (picture.width, picture.height)))
        });
        let (digest, size) = found.map_err(|error| Invalid(error.to_string()))?;
        Ok(Self { source: source.clone(), digest, size })
    }
}

impl Encoder for VisionEncoder<'_> {
    type Example = VisionExample;

    fn counters(&self) -> &'static [&'static str] {
        &[TRAINED, PICTURES, BLIND, CUT, UNUSABLE]
    }

    fn encode(&self, row: &Row) -> Result<Encoded<VisionExample>, RecordError> {
        let mut conversation = Conversation::try_from(row.value.clone())?;
        check::fill_id(&mut conversation.id, &row.place);
        let weight = conversation.weight.unwrap_or(1.0);
        if weight < 0.0 {
            return Err(Invalid(format!("weight: is {weight}; it must be 0 or more")).into());
        }
        let folder = row.place.path.parent().unwrap_or(Path::new(""));
        let tools = conversation.tools()?;
        let encode = |messages: &[Message]| {
            self.words.conversation(self.template, messages, (folder, tools.clone())).map_err(|error| match error {
                SpokenError::Record(why) => RecordError::from(why),
                SpokenError::Chat(error) => error.into(),
            })
        };
        let what = format!("the conversation {}", conversation.id);
        let excess = |spoken: &Spoken| self.limits.excess(&what, spoken.encoded.ids.len());
        let fit = self.limits.fit(&conversation.messages, encode, excess)?;
        let spoken = match &fit {
            // Training on the rest would teach answers about a missing picture.
            Fit::Cut(cut, whole) if cut.sources.len() < whole.sources.len() => return Ok(Encoded::left_out(CUT)),
            Fit::Cut(spoken, _) | Fit::Whole(spoken) => Some(spoken),
            Fit::TooLong(_) => None,
        };
        // An example without a picture trains nothing.
        if spoken.is_some_and(|spoken| spoken.sources.is_empty()) {
            return Ok(Encoded::left_out(BLIND));
        }
        let sources = spoken.map_or(&[][..], |spoken| &spoken.sources);
        let views = sources.iter().map(|source| View::new(source, self.pictures)).collect::<Result<Vec<_>, Invalid>>();
        let views = views.map_err(|why| RecordError::Bad(why, Some(UNUSABLE)))?;
        let messages = &conversation.messages;
        let before = messages.iter().take_while(|message| message.role != Role::Assistant).count();
        let mut all = Encoded::new(&messages[..before]);
        // The same question about another picture is another prompt.
        let mut hasher = DefaultHasher::new();
        all.prompt.hash(&mut hasher);
        views.iter().for_each(|view| view.digest.hash(&mut hasher));
        all.prompt = hasher.finish();
        all.add(
            fit,
            |spoken| spoken.encoded.ids.len(),
            |spoken| {
                let mut seeing = Seeing::new(&conversation.id, &spoken.encoded, views, self.words.image_id);
                seeing.example.weight = weight as f32;
                VisionExample { seeing, encoded: spoken.encoded }
            },
        );
        Ok(all)
    }

    fn id<'e>(&self, example: &'e VisionExample) -> &'e str {
        &example.seeing.example.id
    }

    fn tokens(&self, example: &VisionExample) -> usize {
        example.encoded.ids.len()
    }

    fn count(&self, example: &VisionExample, counts: &mut Counts) {
        counts.add(TRAINED, example.seeing.example.trained_tokens() as u64);
        counts.add(PICTURES, example.seeing.views.len() as u64);
    }

    fn show(&self, example: &VisionExample) -> Option<anyhow::Result<(String, String)>> {
        let colour = std::io::stdout().is_terminal();
        let legend = if colour { "trained tokens are coloured" } else { "trained tokens are in ⟦ ⟧" };
        let text = chat::show::tokens(&self.words.tokenizer, &example.encoded, colour);
        let pictures = example.seeing.views.iter().enumerate().map(|(number, view)| view.line(number + 1));
        let pictures: Vec<String> = pictures.collect();
        let shown = text.map(|text| (legend.to_owned(), format!("{}\n{text}", pictures.join("\n"))));
        Some(shown.map_err(Into::into))
    }

    fn sequences(&self, example: &VisionExample) -> Vec<Sequence> {
        vec![Sequence::of("conversation", &example.seeing.example)]
    }
}

impl View {
    /// Describes the picture: `picture 1: a.png, 224 x 224 pixels, SHA-256 0123456789ab`
    fn line(&self, number: usize) -> String {
        let name = self.source.path().map_or_else(|| "bytes of the record".into(), |path| path.display().to_string());
        let (width, height) = self.size;
        let digest = self.digest.get(..12).unwrap_or(&self.digest);
        format!("picture {number}: {name}, {width} x {height} pixels, SHA-256 {digest}")
    }
}

/// Gives each example the pictures of another one, by the seed. The exchange is among examples with the same number of pictures.
///
/// # Errors
/// When no two examples can exchange pictures.
pub fn exchange_pictures(files: &mut [Vec<VisionExample>], seed: u64) -> anyhow::Result<()> {
    let mut all: Vec<&mut Seeing> = files.iter_mut().flatten().map(|example| &mut example.seeing).collect();
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(0x1_0000);
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.shuffle(&mut generator);
    // A cycle within each number of pictures, so that no example keeps its own.
    order.sort_by_key(|&index| all[index].views.len());
    let views: Vec<Vec<View>> = order.iter().map(|&index| all[index].views.clone()).collect();
    let mut exchanged = 0;
    let mut start = 0;
    for group in views.chunk_by(|a, b| a.len() == b.len()) {
        for (at, _) in group.iter().enumerate().filter(|_| group.len() > 1) {
            all[order[start + at]].views = group[(at + 1) % group.len()].clone();
            exchanged += 1;
        }
        start += group.len();
    }
    ensure!(exchanged > 1, "--pictures other: there are no two examples to exchange pictures");
    Ok(())
}
