//! Needles at chosen depths: for the grid of length and depth, and several needles at a time.
//!
//! A sample has a haystack of running sentences with statements between them, one question, and the start of the answer. Its length
//! includes the chat template and the tokens that the model may write. The wording is RULER's `niah_single_2` unless a file gives another
//! ([`Wording`]).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use dataset::Message;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::draw::Draw;
use crate::record::FILLED;
use crate::ruler::key_of_words;
use crate::split::Split;
use crate::task::World;

/// The wording of needles and questions. Placeholders: `{key}` and `{value}` of a needle, and `{keys}` for the keys asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wording {
    /// The statement in the text.
    pub statement: String,
    /// The text before the haystack when one needle is asked for.
    pub before: String,
    /// The question after the haystack.
    pub question: String,
    /// The beginning of the answer.
    pub prefix: String,
    /// The text before the haystack when several needles are asked for.
    pub before_several: String,
    /// The question when several needles are asked for.
    pub question_several: String,
    /// The beginning of the answer when several needles are asked for.
    pub prefix_several: String,
    /// The kind of keys: `words`, `numbers`, `uuids`, or a pattern in which `A` is a capital letter, `a` a small one and `9` a digit.
    pub key: String,
    /// The kind of values, in the same notation.
    pub value: String,
    /// Maximum tokens of the answer.
    pub max_new_tokens: usize,
}

impl Default for Wording {
    fn default() -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            statement: text("One of the special magic numbers for {key} is: {value}."),
            before: text(
                "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the \
                 number afterwards.\n",
            ),
            question: text("\nWhat is the special magic number for {keys} mentioned in the provided text?"),
            prefix: text("The special magic number for {keys} mentioned in the provided text is"),
            before_several: text(
                "Some special magic numbers are hidden within the following text. Make sure to memorize it. I will quiz you about \
                 the numbers afterwards.\n",
            ),
            question_several: text(
                "\nWhat are all the special magic numbers for {keys} mentioned in the provided text?",
            ),
            prefix_several: text("The special magic numbers for {keys} mentioned in the provided text are"),
            key: text("words"),
            value: text("numbers"),
            max_new_tokens: 128,
        }
    }
}

impl Wording {
    /// Reads a TOML file; missing keys have RULER's texts.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or a text lacks its placeholder.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wording: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let (key, value) = (wording.statement.find("{key}"), wording.statement.find("{value}"));
        ensure!(
            key.zip(value).is_some_and(|(key, value)| key < value),
            "{}: statement must have {{key}} and, behind it, {{value}}",
            path.display()
        );
        for (name, one, several) in [
            ("question and prefix", &wording.question, &wording.prefix),
            ("question_several and prefix_several", &wording.question_several, &wording.prefix_several),
        ] {
            ensure!(
                one.contains("{keys}") || several.contains("{keys}"),
                "{}: one of {name} must have {{keys}}",
                path.display()
            );
        }
        ensure!(wording.max_new_tokens > 0, "{}: max_new_tokens must be at least 1", path.display());
        Ok(wording)
    }

    fn statement(&self, key: &str, value: &str) -> String {
        self.statement.replace("{key}", key).replace("{value}", value)
    }

    /// The part of a statement before the value; it must not occur elsewhere in the text.
    fn lead(&self, key: &str) -> String {
        let lead = self.statement.split("{value}").next().unwrap_or_default();
        lead.replace("{key}", key)
    }
}

/// Draws a random key or value of a kind.
fn word(kind: &str, draw: &mut Draw) -> String {
    let letter = |first: u8, draw: &mut Draw| char::from(first + draw.below(26) as u8);
    match kind {
        "words" => key_of_words(draw),
        "numbers" => draw.between(1_000_000, 9_999_999).to_string(),
        "uuids" => draw.uuid(),
        pattern => pattern
            .chars()
            .map(|c| match c {
                'A' => letter(b'A', draw),
                'a' => letter(b'a', draw),
                '9' => char::from(b'0' + draw.below(10) as u8),
                other => other,
            })
            .collect(),
    }
}

/// A question about needles in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The user's message with the text, and the start of the assistant's message.
    pub messages: [Message; 2],
    /// The question alone.
    pub question: String,
    /// The strings that a right answer contains.
    pub outputs: Vec<String>,
    /// The depth of the needle, from 0 to 1; none when several needles are asked for.
    pub depth: Option<f64>,
    /// Tokens of the prompt (with chat template and start of the answer) plus the maximum tokens of the answer.
    pub length_tokens: usize,
}

/// The settings of the grid's samples: one sample for each depth, all from one passage of the texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid<'a> {
    /// Maximum tokens of a sample.
    pub length: usize,
    /// Depths from 0 (the start of the text) to 1 (its end).
    pub depths: &'a [f64],
    /// Whether one text has the needles of all depths, each asked for by its key, so that a server computes the text once. Otherwise each
    /// sample has one needle, as in the published pictures.
    pub shared: bool,
}

/// The settings of samples with several needles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Several {
    /// Maximum tokens of a sample.
    pub length: usize,
    /// Number of needles in the text.
    pub inserted: usize,
    /// Number of needles asked for.
    pub asked: usize,
}

/// Attempts at a length with the same choices; also the number of restarts of a sample.
const FITS: usize = 12;
const ATTEMPTS: u64 = 16;

/// The samples of haystack `number`, a function of the world, the wording, the arguments and the seed.
///
/// # Errors
/// When the tokenizer fails, or the needles do not fit into the length or the texts.
pub fn grid(world: &World, wording: &Wording, grid: Grid, number: u64, seed: u64) -> anyhow::Result<Vec<Sample>> {
    let what = format!("{} needles of the grid", grid.depths.len());
    make(world, (grid.length, number, seed), wording.max_new_tokens, &what, |tokens, draw| {
        let needles = needles(wording, grid.depths.len(), draw)?;
        let Some(passage) = Passage::draw(world, tokens, draw) else { return Ok(None) };
        let statements: Vec<String> = needles.iter().map(|(key, value)| wording.statement(key, value)).collect();
        let together = grid.shared.then(|| passage.with(world, grid.depths, &statements)).flatten();
        let mut drafts = Vec::new();
        for (at, (key, value)) in needles.iter().enumerate() {
            let context = match (&together, grid.shared) {
                (Some(context), _) => Some(context.clone()),
                (None, true) => None,
                (None, false) => passage.with(world, &grid.depths[at..=at], &statements[at..=at]),
            };
            let Some(context) = context.filter(|context| stands_once(context, &wording.lead(key))) else {
                return Ok(None);
            };
            drafts.push(Draft {
                before: wording.before.clone(),
                context,
                question: wording.question.replace("{keys}", key),
                prefix: wording.prefix.replace("{keys}", key),
                outputs: vec![value.clone()],
                depth: Some(grid.depths[at]),
            });
        }
        Ok(Some(drafts))
    })
}

/// A sample with several needles at random places, some of which are asked for. The Llama 3 paper (section 5.2.3) inserts four and asks
/// for two.
///
/// # Errors
/// The same as [`grid`].
pub fn several(world: &World, wording: &Wording, several: Several, number: u64, seed: u64) -> anyhow::Result<Sample> {
    let what = format!("{} needles", several.inserted);
    let made = make(world, (several.length, number, seed), wording.max_new_tokens, &what, |tokens, draw| {
        let needles = needles(wording, several.inserted, draw)?;
        let mut depths: Vec<f64> = (0..several.inserted).map(|_| draw.unit()).collect();
        depths.sort_by(f64::total_cmp);
        let asked = draw.sample(several.inserted, several.asked);
        let Some(passage) = Passage::draw(world, tokens, draw) else { return Ok(None) };
        let statements: Vec<String> = needles.iter().map(|(key, value)| wording.statement(key, value)).collect();
        let Some(context) = passage.with(world, &depths, &statements) else { return Ok(None) };
        if !needles.iter().all(|(key, _)| stands_once(&context, &wording.lead(key))) {
            return Ok(None);
        }
        let keys: Vec<&str> = asked.iter().map(|at| needles[*at].0.as_str()).collect();
        let keys = match &keys[..] {
            [] => bail!("no needle is asked for"),
            [one] => (*one).to_owned(),
            [others @ .., last] => format!("{}, and {last}", others.join(", ")),
        };
        Ok(Some(vec![Draft {
            before: wording.before_several.clone(),
            context,
            question: wording.question_several.replace("{keys}", &keys),
            prefix: wording.prefix_several.replace("{keys}", &keys),
            outputs: asked.iter().map(|at| needles[*at].1.clone()).collect(),
            depth: None,
        }]))
    })?;
    made.into_iter().next().context("no sample was made")
}

/// Draws keys and values without repetition.
fn needles(wording: &Wording, count: usize, draw: &mut Draw) -> anyhow::Result<Vec<(String, String)>> {
    let (mut keys, mut values) = (BTreeSet::new(), BTreeSet::new());
    let mut fresh = |kind: &str, used: &mut BTreeSet<String>| {
        for _ in 0..1000 {
            let text = word(kind, draw);
            if used.insert(text.clone()) {
                return Ok(text);
            }
        }
        bail!("the wording's {kind:?} has too few different values for {count} needles")
    };
    (0..count).map(|_| Ok((fresh(&wording.key, &mut keys)?, fresh(&wording.value, &mut values)?))).collect()
}

fn stands_once(context: &Context, text: &str) -> bool {
    context.only(text).is_some()
}

/// A range of sentences of the stream.
struct Passage {
    first: usize,
    last: usize,
}

impl Passage {
    fn draw(world: &World, tokens: u64, draw: &mut Draw) -> Option<Self> {
        let stream = world.stream.as_ref()?;
        let passage = stream.passage(tokens, draw)?;
        let first = stream.paragraphs.partition_point(|sentence| sentence.start < passage.start);
        let last = stream.paragraphs.partition_point(|sentence| sentence.end <= passage.end);
        (last > first).then_some(Self { first, last })
    }

    /// Inserts statements into the sentences at these depths, which rise.
    fn with(&self, world: &World, depths: &[f64], statements: &[String]) -> Option<Context> {
        let count = (self.last - self.first) as f64;
        let places: Vec<usize> = depths.iter().map(|depth| self.first + (count * depth).round() as usize).collect();
        Context::between_paragraphs(world.stream.as_ref()?, self.first..self.last, &places, statements)
    }
}

/// A sample whose length is not yet known.
struct Draft {
    before: String,
    context: Context,
    question: String,
    prefix: String,
    outputs: Vec<String>,
    depth: Option<f64>,
}

impl Draft {
    fn messages(&self, text: &str) -> [Message; 2] {
        [Message::user([&self.before, text, &self.question].concat()), Message::assistant(self.prefix.clone())]
    }

    fn tokens(&self, world: &World) -> anyhow::Result<usize> {
        if !world.counter.is_by_parts() {
            return world.counter.prompt(&self.messages(&self.context.text));
        }
        let (text, known) = self.context.hollow(world.stream.as_ref());
        Ok(world.counter.prompt(&self.messages(&text))? + known as usize)
    }

    fn sample(self, length_tokens: usize) -> Sample {
        Sample {
            messages: self.messages(&self.context.text),
            question: self.question.trim().to_owned(),
            outputs: self.outputs,
            depth: self.depth,
            length_tokens,
        }
    }
}

/// Draws and sizes a text until all samples fill their length to at least [`FILLED`].
fn make(
    world: &World,
    (length, number, seed): (usize, u64, u64),
    answer: usize,
    what: &str,
    draft: impl Fn(u64, &mut Draw) -> anyhow::Result<Option<Vec<Draft>>>,
) -> anyhow::Result<Vec<Sample>> {
    let aim = (length as f64 * 0.985) as i64;
    let least = (length as f64 * FILLED).ceil() as usize;
    for attempt in 0..ATTEMPTS {
        // The choices depend on the length: the grids of two lengths have different needles.
        let draw = Draw::new(seed ^ ((length as u64) << 32), number, attempt, Split::Evaluation);
        let mut budget = aim - answer as i64 - 100.min(aim / 3);
        for _ in 0..FITS {
            if budget < 1 {
                break;
            }
            let Some(drafts) = draft(budget as u64, &mut draw.clone())? else { break };
            let tokens = drafts.iter().map(|draft| Ok(draft.tokens(world)? + answer));
            let tokens = tokens.collect::<anyhow::Result<Vec<usize>>>()?;
            let (low, high) = (tokens.iter().min().copied(), tokens.iter().max().copied());
            let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
            if low >= least && high <= length {
                return Ok(drafts.into_iter().zip(tokens).map(|(draft, tokens)| draft.sample(tokens)).collect());
            }
            budget += aim - high as i64;
        }
    }
    let total = world.stream.as_ref().map_or(0, crate::stream::Stream::total);
    bail!(
        "{what} do not fit into {length} tokens; the texts have {total}: give more texts, ask for fewer needles in one text (--one-needle, --depths), or leave out the length"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::tests::counter;
    use crate::stream::Stream;
    use crate::stream::tests::prose;

    fn world() -> (tempfile::TempDir, World) {
        let (dir, counter) = counter();
        let documents = vec![prose(300, 1).running(), prose(300, 2).running()];
        let stream = Stream::new(documents, 1, &counter, " ").unwrap();
        (dir, World::new(Some(stream), None, counter, Split::Evaluation).unwrap())
    }

    /// The depth of the needle in the text, from 0 to 1.
    fn depth_of(sample: &Sample, wording: &Wording) -> f64 {
        let text = sample.messages[0].text();
        let text = text.strip_prefix(&wording.before).unwrap();
        let text = &text[..text.rfind(&sample.question).unwrap()];
        let needle = text.find(&format!("is: {}.", sample.outputs[0])).unwrap();
        needle as f64 / text.len() as f64
    }

    #[test]
    fn a_shared_haystack_has_the_needles_of_all_depths() {
        let (_dir, world) = world();
        let depths = [0.0, 0.25, 0.5, 0.75, 1.0];
        let wording = Wording::default();
        let made = grid(&world, &wording, Grid { length: 4000, depths: &depths, shared: true }, 3, 7).unwrap();
        assert_eq!(made.len(), 5);
        let text = |sample: &Sample| {
            let text = sample.messages[0].text();
            text[..text.rfind("\nWhat is").unwrap()].to_owned()
        };
        for (sample, depth) in made.iter().zip(depths) {
            // All depths share one text, so a server can cache it.
            assert_eq!(text(sample), text(&made[0]));
            assert!((depth_of(sample, &wording) - depth).abs() < 0.06, "{depth}: {}", depth_of(sample, &wording));
            let tokens = world.counter.prompt(&sample.messages).unwrap() + wording.max_new_tokens;
            assert_eq!(tokens, sample.length_tokens);
            assert!((3800..=4000).contains(&tokens), "{tokens}");
            assert_eq!(sample.messages[0].text().matches(&sample.outputs[0]).count(), 1);
        }
        let again = grid(&world, &wording, Grid { length: 4000, depths: &depths, shared: true }, 3, 7).unwrap();
        assert_eq!(made, again);
        let other = grid(&world, &wording, Grid { length: 4000, depths: &depths, shared: true }, 4, 7).unwrap();
        assert_ne!(made[0].outputs, other[0].outputs);
    }

    #[test]
    fn the_classical_grid_has_one_needle_a_text() {
        let (_dir, world) = world();
        let wording = Wording::default();
        let made =
            grid(&world, &wording, Grid { length: 3000, depths: &[0.0, 0.5, 1.0], shared: false }, 0, 7).unwrap();
        for (sample, depth) in made.iter().zip([0.0, 0.5, 1.0]) {
            assert_eq!(sample.messages[0].text().matches("One of the special magic numbers").count(), 1);
            assert!((depth_of(sample, &wording) - depth).abs() < 0.06);
        }
    }

    #[test]
    fn four_are_put_in_and_two_are_asked_for() {
        let (_dir, world) = world();
        let sample =
            several(&world, &Wording::default(), Several { length: 3000, inserted: 4, asked: 2 }, 0, 1).unwrap();
        assert_eq!(sample.outputs.len(), 2);
        assert_eq!(sample.messages[0].text().matches("One of the special magic numbers").count(), 4);
        assert!(sample.question.contains(", and "), "{}", sample.question);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (_dir, world) = world();
        let depths = [0.5];
        let error = grid(&world, &Wording::default(), Grid { length: 200, depths: &depths, shared: true }, 0, 1);
        assert!(error.unwrap_err().to_string().contains("1 needles of the grid do not fit into 200 tokens"));
        let narrow = Wording { key: "9".into(), ..Wording::default() };
        let error = several(&world, &narrow, Several { length: 3000, inserted: 11, asked: 1 }, 0, 1);
        assert!(error.unwrap_err().to_string().contains("\"9\" has too few different values for 11 needles"));
    }

    #[test]
    fn wordings_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wording.toml");
        std::fs::write(&path, "statement = \"<{key}{value}>\"\nprefix = \"<{keys}\"\nkey = \"A\"\nvalue = \"9\"")
            .unwrap();
        let wording = Wording::read(&path).unwrap();
        assert_eq!((wording.statement("Q", "7"), wording.lead("Q")), ("<Q7>".to_owned(), "<Q".to_owned()));
        std::fs::write(&path, "statement = \"{value} of {key}\"").unwrap();
        assert!(
            Wording::read(&path).unwrap_err().to_string().contains("statement must have {key} and, behind it, {value}")
        );
        std::fs::write(&path, "statment = \"x\"").unwrap();
        assert!(format!("{:#}", Wording::read(&path).unwrap_err()).contains("unknown field"));
    }
}
