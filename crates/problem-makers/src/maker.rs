//! Makes problems from families: rounds over the families, splits by key, no duplicate problems.

use std::collections::HashSet;

use anyhow::bail;
use dataset::digest;
use dataset::{Conversation, Kind, Message, Problem};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::draw::Draw;
use crate::family::{Difficulty, Draft, Family, Topic, families};

/// The split of a problem. No two splits share a key, whatever their seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// For training: families that are not held out, three quarters of their keys.
    Train,
    /// The same families with the other quarter of their keys: known templates, new numbers.
    HeldOutNumbers,
    /// Families that training never uses: new templates.
    HeldOutFamilies,
}

impl Split {
    /// The word in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOutNumbers => "new-numbers",
            Self::HeldOutFamilies => "new-templates",
        }
    }

    /// Whether a key of a family belongs to this split. A quarter of the keys, by their digest, is held out.
    fn takes(self, family: &Family, key: &str) -> bool {
        let quarter = u8::from_str_radix(&digest::bytes(key.as_bytes())[..2], 16).unwrap_or(0) < 64;
        match self {
            Self::Train => !family.held_out && !quarter,
            Self::HeldOutNumbers => !family.held_out && quarter,
            Self::HeldOutFamilies => family.held_out,
        }
    }
}

/// A generated problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The draft of the family.
    pub draft: Draft,
    /// The family's name.
    pub family: &'static str,
    /// The family, difficulty, numbers and structure; no key is in two splits.
    pub key: String,
    topic: Topic,
    difficulty: Difficulty,
    split: Split,
}

impl Made {
    /// The id, from the key.
    fn id(&self) -> String {
        format!("{}-{}", self.family, &digest::bytes(self.key.as_bytes())[..12])
    }

    /// The prompt for the model: the question, and for programs the first test as an example.
    #[must_use]
    pub fn prompt(&self) -> String {
        match &self.draft {
            Draft::Math { question, .. } => question.clone(),
            Draft::Code { question, tests, .. } => {
                format!("{question}\n\nFor example:\n```python\n{}\n```", tests.first().map_or("", String::as_str))
            }
        }
    }

    /// The worked solution: steps and `The answer is ...`, or the program.
    #[must_use]
    pub fn solution(&self) -> String {
        match &self.draft {
            Draft::Math { steps, answer, .. } => format!("{}\nThe answer is {answer}.", steps.join("\n")),
            Draft::Code { reference, .. } => format!("```python\n{}\n```", reference.trim_end()),
        }
    }

    /// The problem's record, for sampling and judging.
    #[must_use]
    pub fn record(&self) -> Problem {
        let kind = if self.topic == Topic::Code { Kind::Code } else { Kind::Math };
        let mut problem = Problem::new(self.id(), kind, vec![Message::user(self.prompt())]);
        match &self.draft {
            Draft::Math { answer, .. } => problem.answer = Some(answer.clone()),
            Draft::Code { entry_point, tests, .. } => {
                problem.tests = Some(json!(tests));
                problem.entry_point = Some(entry_point.clone());
                problem.language = Some("python".into());
            }
        }
        problem.meta = Some(json!({
            "family": self.family, "topic": self.topic.name(), "difficulty": self.difficulty.name(),
            "split": self.split.name(),
        }));
        problem
    }

    /// The problem with its solution, for training by demonstration.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        let messages = vec![Message::user(self.prompt()), Message::assistant(self.solution())];
        Conversation {
            id: self.id(),
            messages,
            source: Some("herd data make".into()),
            capability: Some(if self.topic == Topic::Code { "code" } else { "reasoning" }.into()),
            weight: None,
            extra: serde_json::Map::new(),
        }
    }
}

/// Maximum number of attempts to draw a new key of the split from a family, before another family is used.
const ATTEMPTS: usize = 400;

/// Makes problems of one split, each at most once.
pub struct Maker {
    families: Vec<Family>,
    split: Split,
    seed: u64,
    /// Number of problems so far: each has its own random stream.
    count: u64,
    keys: HashSet<String>,
    prompts: HashSet<String>,
}

impl Maker {
    /// A maker with a seed.
    #[must_use]
    pub fn new(seed: u64, split: Split) -> Self {
        Self { families: families(), split, seed, count: 0, keys: HashSet::new(), prompts: HashSet::new() }
    }

    /// The next problem, taking the topics and difficulties in turn.
    ///
    /// # Errors
    /// When no family of the split has one of these topics and difficulties, or all their problems were made.
    pub fn next(&mut self, topics: &[Topic], difficulties: &[Difficulty]) -> anyhow::Result<Made> {
        // Topics take turns, then difficulties, then families, with a separate random stream for each problem.
        let turn = self.count as usize;
        self.count += 1;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(turn as u64);
        let pairs: Vec<(Topic, Difficulty)> =
            difficulties.iter().flat_map(|&d| topics.iter().map(move |&t| (t, d))).collect();
        for offset in 0..pairs.len() {
            let (topic, difficulty) = pairs[(turn + offset) % pairs.len()];
            let fits = |f: &&Family| {
                let held_out = self.split == Split::HeldOutFamilies;
                f.topic == topic && f.held_out == held_out && f.difficulties.contains(&difficulty)
            };
            let fitting: Vec<Family> = self.families.iter().filter(fits).copied().collect();
            for (i, _) in fitting.iter().enumerate() {
                let family = fitting[(turn / pairs.len() + i) % fitting.len()];
                if let Some(made) = self.attempt(&family, difficulty, &mut rng) {
                    return Ok(made);
                }
            }
        }
        let names = |names: Vec<&str>| names.join(", ");
        bail!(
            "no more {} problems of {} ({}): {} were made; ask for fewer, or for more topics or difficulties",
            self.split.name(),
            names(topics.iter().map(|t| t.name()).collect()),
            names(difficulties.iter().map(|d| d.name()).collect()),
            self.keys.len()
        )
    }

    fn attempt(&mut self, family: &Family, difficulty: Difficulty, rng: &mut ChaCha8Rng) -> Option<Made> {
        for _ in 0..ATTEMPTS {
            let mut draw = Draw::new(ChaCha8Rng::from_rng(rng));
            let Some(draft) = (family.draft)(&mut draw, difficulty) else { continue };
            let what = match &draft {
                Draft::Math { .. } => draw.key(),
                // The text defines a task; the name of the function may vary.
                Draft::Code { question, .. } => {
                    question.split_once(" that ").map_or(question.as_str(), |(_, does)| does)
                }
            };
            // The difficulty is not part of the key here: two difficulties may ask the same.
            let key = format!("{}/{what}", family.name);
            if !self.split.takes(family, &key) || self.keys.contains(&key) {
                continue;
            }
            let (topic, split) = (family.topic, self.split);
            let made = Made { draft, family: family.name, key, topic, difficulty, split };
            if self.prompts.insert(made.prompt()) {
                self.keys.insert(made.key.clone());
                return Some(made);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::WORDS;

    const TOPICS: [Topic; 4] = [Topic::Words, Topic::Arithmetic, Topic::Algebra, Topic::Code];
    const DIFFICULTIES: [Difficulty; 3] = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard];

    fn make(seed: u64, split: Split, n: usize) -> Vec<Made> {
        let mut maker = Maker::new(seed, split);
        (0..n).map(|_| maker.next(&TOPICS, &DIFFICULTIES).unwrap()).collect()
    }

    /// A prompt without the words that families choose freely.
    fn bare(made: &Made) -> String {
        let prompt = match &made.draft {
            Draft::Math { question, .. } => question.clone(),
            Draft::Code { question, .. } => question.split_once(" that ").unwrap().1.to_owned(),
        };
        WORDS.iter().fold(prompt, |text, list| list.iter().fold(text, |text, word| text.replace(word, "_")))
    }

    #[test]
    fn no_two_splits_share_an_instance() {
        // The two sides have different seeds: the split does not depend on the seed.
        let train = make(1, Split::Train, 3000);
        let held_out = [make(2, Split::HeldOutNumbers, 800), make(3, Split::HeldOutFamilies, 600)].concat();
        let keys: HashSet<&str> = train.iter().map(|made| made.key.as_str()).collect();
        let texts: HashSet<String> = train.iter().map(bare).collect();
        for made in &held_out {
            assert!(!keys.contains(made.key.as_str()), "{}", made.key);
            assert!(!texts.contains(&bare(made)), "{}: {}", made.key, bare(made));
        }
        let families: HashSet<&str> = train.iter().map(|made| made.family).collect();
        assert!(held_out[800..].iter().all(|made| !families.contains(made.family)));
        assert!(held_out[..800].iter().all(|made| families.contains(made.family)));
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let (a, b, c) = (make(5, Split::Train, 60), make(5, Split::Train, 60), make(6, Split::Train, 60));
        assert_eq!(a, b);
        assert_ne!(a, c);
        // The first problems do not depend on the number of problems.
        assert_eq!(make(5, Split::Train, 10), a[..10]);
        let prompts: HashSet<String> = make(5, Split::Train, 2000).iter().map(Made::prompt).collect();
        assert_eq!(prompts.len(), 2000);
    }

    #[test]
    fn what_is_exhausted_says_so() {
        let mut maker = Maker::new(0, Split::HeldOutFamilies);
        let error =
            (0..4000).find_map(|_| maker.next(&[Topic::Words], &[Difficulty::Easy]).err().map(|e| e.to_string()));
        assert!(error.is_none_or(|e| e.contains("ask for fewer")));
        let error = maker.next(&[], &[Difficulty::Easy]).unwrap_err().to_string();
        assert!(error.starts_with("no more new-templates problems"), "{error}");
    }
}
