//! The state of a run: answers, verdicts, rewards and judgements, each in its own journal in the run folder.

use ::run::RunFolder;
use curation::judge::Judgement;
use dataset::journal::Journal;
use dataset::{Kind, Message, Problem, Verdict};
use serde::{Deserialize, Serialize};

use super::dialog::{History, Loop, Step, Turn, UNVERIFIED};
use super::plan::{Slot, Style};

/// A sample's reward, or the reason why it has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// The score of the reward model.
    Score(f64),
    /// The reason why there is none.
    Failed(String),
}

/// The samples of a run and their evidence.
pub struct State<'a> {
    /// The problems.
    pub problems: &'a [Problem],
    /// The planned samples; a sample's key is its index here.
    pub slots: &'a [Slot],
    /// The styles.
    pub styles: &'a [Style],
    /// Settings of the program loop.
    pub rules: Loop,
    turns: Journal<Turn>,
    verdicts: Journal<Verdict>,
    /// Rewards, by problem: one for each of its samples.
    pub rewards: Option<Journal<Vec<Reward>>>,
    /// Judgements, by sample.
    pub judgements: Option<Journal<Judgement>>,
}

/// The key of a sample's turn.
fn key(slot: usize, turn: usize) -> u64 {
    (slot as u64) << 8 | turn as u64
}

/// A sample's turns and verdicts.
pub struct Sampled<'a> {
    /// The model's turns.
    pub turns: Vec<&'a Turn>,
    /// The verdicts, each with the index of its turn.
    pub verdicts: Vec<(usize, &'a Verdict)>,
}

impl<'a> State<'a> {
    /// Opens or continues the journals in a run's folder.
    ///
    /// # Errors
    /// When they belong to another run, or a file cannot be written.
    pub fn open(
        run: &RunFolder,
        fingerprint: &str,
        (problems, slots, styles): (&'a [Problem], &'a [Slot], &'a [Style]),
        rules: Loop,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            problems,
            slots,
            styles,
            rules,
            turns: Journal::open(run.join("turns.journal"), fingerprint)?,
            verdicts: Journal::open(run.join("verdicts.journal"), fingerprint)?,
            rewards: None,
            judgements: None,
        })
    }

    /// Number of existing answers.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.turns.len()
    }

    /// Removes failed samples and verdicts, so that they are retried.
    pub fn forget_failures(&mut self) {
        self.turns.retain(|_, turn| !matches!(turn, Turn::Failed(_)));
        self.verdicts.retain(|_, verdict| verdict.status != UNVERIFIED);
    }

    /// The existing turns and verdicts of a sample.
    #[must_use]
    pub fn sampled(&self, slot: usize) -> Sampled<'_> {
        let turns: Vec<&Turn> = (0..256).map_while(|turn| self.turns.get(key(slot, turn))).collect();
        let verdict = |turn| Some((turn, self.verdicts.get(key(slot, turn))?));
        Sampled { verdicts: (0..turns.len()).filter_map(verdict).collect(), turns }
    }

    /// The prompt of a sample as the model gets it: a steering system prompt comes before the messages of the
    /// problem.
    #[must_use]
    pub fn prompt(&self, slot: usize) -> Vec<Message> {
        let Slot { problem, style, .. } = &self.slots[slot];
        let mut prompt = self.problems[*problem].prompt.clone();
        let system = style.map(|style| self.styles[style].system.as_str()).unwrap_or_default();
        if system.is_empty() {
            return prompt;
        }
        match prompt.first_mut().filter(|first| first.role == dataset::Role::System) {
            Some(first) => first.content = Some(format!("{system}\n\n{}", first.text()).into()),
            None => prompt.insert(0, Message::system(system)),
        }
        prompt
    }

    /// A sample's history, with its next step.
    #[must_use]
    pub fn next(&self, slot: usize) -> Step {
        let Sampled { turns, verdicts } = self.sampled(slot);
        let problem = &self.problems[self.slots[slot].problem];
        History { problem, prompt: &self.prompt(slot), turns: &turns, verdicts: &verdicts }.next(&self.rules)
    }

    /// The kinds of problems with unfinished samples that a verifier will have to judge.
    #[must_use]
    pub fn kinds_to_verify(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let problem = &self.problems[slot.problem];
            let is_asked = || {
                let history = History { problem, prompt: &[], turns: &[], verdicts: &[] };
                history.is_verifiable(&self.rules) && self.next(index) != Step::Done
            };
            if !kinds.contains(&problem.kind) && is_asked() {
                kinds.push(problem.kind);
            }
        }
        kinds
    }

    /// Adds the next turn of a sample.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add_turn(&mut self, slot: usize, turn: Turn) -> anyhow::Result<()> {
        let number = self.sampled(slot).turns.len();
        Ok(self.turns.insert(key(slot, number), turn)?)
    }

    /// Adds the verdict on a sample's last turn.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add_verdict(&mut self, slot: usize, verdict: Verdict) -> anyhow::Result<()> {
        let last = self.sampled(slot).turns.len().saturating_sub(1);
        Ok(self.verdicts.insert(key(slot, last), verdict)?)
    }
}
