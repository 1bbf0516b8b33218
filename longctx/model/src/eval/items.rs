//! The items of an evaluation: a plan of bundles, each made from the texts when it is needed.

use anyhow::{Context as _, bail};
use dataset::Message;
use longctx::needles::{self, Grid, Several, Wording};
use longctx::record;
use longctx::ruler::{self, Ruler};
use longctx::task::World;

use super::loss::Passages;

/// A task of the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One needle, by length and depth.
    Niah,
    /// Four needles, two of which are asked for.
    MultiNeedle,
    /// A task of RULER.
    Ruler(Ruler),
    /// Questions about packages that no training record is made from.
    Repo,
    /// The loss of the same tokens after contexts of different lengths.
    PplByPosition,
}

impl Task {
    /// Its name in samples and figures.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Niah => "niah".to_owned(),
            Self::MultiNeedle => "multi-needle".to_owned(),
            Self::Ruler(task) => format!("ruler:{}", task.name()),
            Self::Repo => "repo".to_owned(),
            Self::PplByPosition => "ppl-by-position".to_owned(),
        }
    }

    /// Parses task names, each task once.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn parse(names: &[String]) -> anyhow::Result<Vec<Self>> {
        let mut tasks = Vec::new();
        for name in names {
            match (name.as_str(), name.strip_prefix("ruler:").and_then(Ruler::of_name)) {
                ("niah", _) => tasks.push(Self::Niah),
                ("multi-needle", _) => tasks.push(Self::MultiNeedle),
                ("repo", _) => tasks.push(Self::Repo),
                ("ppl-by-position", _) => tasks.push(Self::PplByPosition),
                ("ruler", _) => tasks.extend(Ruler::ALL.map(Self::Ruler)),
                (_, Some(task)) => tasks.push(Self::Ruler(task)),
                _ => bail!(
                    "--tasks {name}: known are niah, multi-needle, ruler, repo, ppl-by-position, and ruler: with {}",
                    Ruler::ALL.map(Ruler::name).join(", ")
                ),
            }
        }
        let mut seen = Vec::new();
        tasks.retain(|task| {
            !seen.contains(task) && {
                seen.push(*task);
                true
            }
        });
        Ok(tasks)
    }

    /// Whether the task's haystack is made of texts.
    #[must_use]
    pub fn needs_texts(self) -> bool {
        match self {
            Self::Ruler(task) => task.needs_texts(),
            Self::Repo => false,
            _ => true,
        }
    }

    /// Whether the prompt includes the start of the answer.
    #[must_use]
    pub fn is_prefilled(self) -> bool {
        !matches!(self, Self::Repo | Self::PplByPosition)
    }
}

/// How an answer is judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Grading {
    /// The score is the share of these strings that the answer contains, ignoring case (RULER's score).
    Contains(Vec<String>),
    /// The answer must be this list of names, separated by commas, in any order.
    Names(String),
    /// The score is the log-probability of the continuation after the prompt; both are token ids.
    Loss {
        /// The context.
        prompt: Vec<i64>,
        /// The tokens whose loss is taken.
        continuation: Vec<i64>,
    },
}

/// A question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its task.
    pub task: Task,
    /// An identifier, unique within the task.
    pub id: String,
    /// The bucket length of the item, in tokens.
    pub length: usize,
    /// The depth of its needle in percent.
    pub depth: Option<f64>,
    /// The prompt; in a prefilled task the last message is the start of the answer.
    pub messages: Vec<Message>,
    /// The question alone.
    pub question: String,
    /// How the answer is judged.
    pub grading: Grading,
    /// Maximum tokens of the answer.
    pub max_new_tokens: usize,
    /// Tokens of prompt and answer.
    pub tokens: usize,
}

/// Items that are made together: for the grid all depths of a haystack, for other tasks one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    /// The task.
    pub task: Task,
    /// Maximum tokens of an item.
    pub length: usize,
    /// The number of the haystack or sample, from 0.
    pub number: u64,
    /// The number of items.
    pub items: usize,
}

/// The sizes of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// Lengths in tokens, rising.
    pub lengths: Vec<usize>,
    /// Depths from 0 to 1, rising.
    pub depths: Vec<f64>,
    /// Haystacks of the grid for each length.
    pub haystacks: u64,
    /// Samples of the other tasks for each length.
    pub samples: u64,
}

/// Depths at equal distances from 0 to 1.
#[must_use]
pub fn depths(count: usize) -> Vec<f64> {
    match count {
        0 => Vec::new(),
        1 => vec![0.5],
        _ => (0..count).map(|at| at as f64 / (count - 1) as f64).collect(),
    }
}

/// All bundles, in the order in which they are asked: task by task, and within it from the shortest to the longest.
#[must_use]
pub fn plan(tasks: &[Task], counts: &Counts) -> Vec<Bundle> {
    let mut bundles = Vec::new();
    for &task in tasks {
        for &length in &counts.lengths {
            let (number, items) = match task {
                Task::Niah => (counts.haystacks, counts.depths.len()),
                _ => (counts.samples, 1),
            };
            bundles.extend((0..number).map(|number| Bundle { task, length, number, items }));
        }
    }
    bundles
}

/// The material and the settings that items are made from.
pub struct Maker<'a> {
    /// Texts and packages of the evaluation side.
    pub world: &'a World,
    /// The same texts as token ids, for the loss.
    pub passages: Option<&'a Passages>,
    /// The wording of needles.
    pub wording: &'a Wording,
    /// Depths of the grid.
    pub depths: &'a [f64],
    /// Whether the needles of all depths share a text.
    pub shared: bool,
    /// The numbers of multi-needle: needles inserted, and needles asked for.
    pub several: (usize, usize),
    /// Seeds every choice.
    pub seed: u64,
}

/// Maximum tokens of an answer about a package; it names at most 40 paths.
const NAMES_TOKENS: usize = 1024;

impl Maker<'_> {
    /// The items of a bundle.
    ///
    /// # Errors
    /// When the tokenizer fails, or when no item of this length can be made from the texts or packages.
    pub fn make(&self, bundle: Bundle) -> anyhow::Result<Vec<Item>> {
        let Bundle { task, length, number, .. } = bundle;
        let of_needles = |sample: needles::Sample, id: String| Item {
            task,
            id,
            length,
            depth: sample.depth.map(|depth| (1000.0 * depth).round() / 10.0),
            messages: sample.messages.to_vec(),
            question: sample.question,
            grading: Grading::Contains(sample.outputs),
            max_new_tokens: self.wording.max_new_tokens,
            tokens: sample.length_tokens,
        };
        match task {
            Task::Niah => {
                let grid = Grid { length, depths: self.depths, shared: self.shared };
                let samples = needles::grid(self.world, self.wording, grid, number, self.seed)?;
                let id = |depth: usize| format!("{length}-{number:03}-{depth:02}");
                Ok(samples.into_iter().enumerate().map(|(depth, sample)| of_needles(sample, id(depth))).collect())
            }
            Task::MultiNeedle => {
                let several = Several { length, inserted: self.several.0, asked: self.several.1 };
                let sample = needles::several(self.world, self.wording, several, number, self.seed)?;
                Ok(vec![of_needles(sample, format!("{length}-{number:03}"))])
            }
            Task::Ruler(ruler) => Ok(vec![self.ruler(ruler, length, number)?]),
            Task::Repo => Ok(vec![self.repository(length, number)?]),
            Task::PplByPosition => {
                let passages = self.passages.context("ppl-by-position without texts")?;
                let (prompt, continuation) = passages.at(number, length)?;
                Ok(vec![Item {
                    task,
                    id: format!("{length}-{number:03}"),
                    length,
                    depth: None,
                    messages: Vec::new(),
                    question: String::new(),
                    tokens: prompt.len() + continuation.len(),
                    grading: Grading::Loss { prompt, continuation },
                    max_new_tokens: 0,
                }])
            }
        }
    }

    fn ruler(&self, task: Ruler, length: usize, number: u64) -> anyhow::Result<Item> {
        // Record numbers select streams of the generator: each length gets its own streams.
        let number_of = ((length as u64) << 16) | number;
        let record = ruler::make(self.world, task, number_of, length, self.seed)?;
        let meta = record::meta(&record).map_err(anyhow::Error::msg)?;
        let protocol = meta.ruler.context("a record of RULER without its protocol")?;
        let user = record.messages.first().context("a record without a question")?.clone();
        let question = user.text().lines().last().unwrap_or_default().to_owned();
        Ok(Item {
            task: Task::Ruler(task),
            id: format!("{length}-{number:03}"),
            length,
            depth: None,
            messages: vec![user, Message::assistant(protocol.answer_prefix)],
            question,
            grading: Grading::Contains(protocol.outputs),
            max_new_tokens: protocol.max_new_tokens,
            tokens: meta.length_tokens,
        })
    }

    fn repository(&self, length: usize, number: u64) -> anyhow::Result<Item> {
        // The token limit must not reveal the length of the answer.
        let answer_tokens = NAMES_TOKENS.min(length / 8);
        let item = record::Item {
            number: ((length as u64) << 16) | number,
            task: longctx::task::Task::Repository,
            bucket: length - answer_tokens,
            absent: number % 10 == 9,
        };
        let made = record::make(self.world, item, self.seed)?;
        let messages = &made.conversation.messages;
        let (user, answer) = (messages.first(), messages.get(1));
        let (user, answer) = user.zip(answer).context("a record without question and answer")?;
        let text = user.text();
        let context = record::meta(&made.conversation).map_err(anyhow::Error::msg)?.context;
        let before: String = text.chars().take(context[0]).collect();
        let behind: String = text.chars().skip(context[1]).collect();
        Ok(Item {
            task: Task::Repo,
            id: format!("{length}-{number:03}"),
            length,
            depth: None,
            messages: vec![user.clone()],
            question: format!("{}\n{}", before.trim(), behind.trim()).trim().to_owned(),
            grading: Grading::Names(answer.text().to_owned()),
            max_new_tokens: answer_tokens,
            tokens: made.length.tokens - made.length.trained + answer_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_have_names() {
        let names = |text: &[&str]| text.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let all = Task::parse(&names(&["ruler", "niah", "ruler:vt", "niah"])).unwrap();
        assert_eq!(all.len(), 12);
        assert_eq!((all[8].name(), all[11]), ("ruler:vt".to_owned(), Task::Niah));
        let error = Task::parse(&names(&["needle"])).unwrap_err().to_string();
        assert!(error.contains("--tasks needle: known are niah, multi-needle"), "{error}");
    }

    #[test]
    fn the_grid_is_asked_by_haystack() {
        let counts = Counts { lengths: vec![100, 200], depths: depths(3), haystacks: 2, samples: 5 };
        let bundles = plan(&[Task::Niah, Task::Repo], &counts);
        assert_eq!(bundles.len(), 4 + 10);
        assert_eq!(bundles.iter().map(|bundle| bundle.items).sum::<usize>(), 12 + 10);
        assert_eq!((bundles[1].number, bundles[2].length), (1, 200));
        assert_eq!((depths(1), depths(3)), (vec![0.5], vec![0.0, 0.5, 1.0]));
    }
}
