//! Annotations of conversations by models: rewards, the judge's points, difficulty, intents, topics. They are kept in
//! journals, so that no question is asked twice.

use ::run::RunFolder;
use anyhow::Context;
use curation::judge::{self, Judgement, Rubric, builtin};
use curation::quality::Scores;
use curation::topics;
use dataset::digest::Fingerprint;
use dataset::journal::Journal;
use dataset::{Conversation, Message, Role};
use llama::locate;
use serde_json::{Map, Value, json};

use super::Args;
use crate::reward::{Group, RewardModel};

/// The judge's questions, in the order of their keys.
const QUESTIONS: usize = 4;
const QUALITY: usize = 0;
const DIFFICULTY: usize = 1;
const INTENTS: usize = 2;
const TOPIC: usize = 3;

/// The annotations of each conversation.
pub struct Signals {
    /// The scores, by conversation.
    pub scores: Vec<Scores>,
    /// Whether any model scored quality.
    pub have_quality: bool,
    /// Number of conversations to which the judge gave no points.
    pub unjudged: u64,
    /// Number of conversations that the reward model could not score.
    pub unscored: u64,
    judgements: Vec<[Option<Judgement>; QUESTIONS]>,
    topics: Vec<String>,
    has_judge: bool,
    has_rewards: bool,
}

impl Signals {
    /// Asks the models about the conversations `open`.
    ///
    /// # Errors
    /// When a model cannot be opened or a file cannot be written.
    pub fn collect(
        args: &Args,
        run: &RunFolder,
        input: Fingerprint,
        conversations: &[Conversation],
        open: &[usize],
    ) -> anyhow::Result<Self> {
        let given = |conversation: &Conversation| conversation.extra.get("reward").and_then(Value::as_f64);
        let scores: Vec<Scores> = conversations
            .iter()
            .map(|conversation| Scores { reward: given(conversation), ..Scores::default() })
            .collect();
        let keywords = |conversation: &Conversation| {
            let asked = conversation.messages.iter().filter(|message| message.role == Role::User);
            topics::by_keywords(&asked.map(Message::text).collect::<Vec<_>>().join("\n")).to_owned()
        };
        let mut signals = Self {
            topics: conversations.iter().map(keywords).collect(),
            judgements: vec![[const { None }; QUESTIONS]; conversations.len()],
            has_judge: args.judge.is_given(),
            has_rewards: false,
            have_quality: false,
            unjudged: 0,
            unscored: 0,
            scores,
        };
        if let Some(folder) = &args.reward_model {
            signals.score(args, run, input.clone(), folder, conversations, open)?;
        }
        if signals.has_judge {
            signals.judge(args, run, input, conversations, open)?;
        }
        signals.has_rewards = signals.scores.iter().any(|score| score.reward.is_some());
        signals.have_quality = signals.has_rewards || signals.has_judge;
        Ok(signals)
    }

    /// Scores conversations without a reward. Each is in its own row, so that the scores are the same after a kill.
    fn score(
        &mut self,
        args: &Args,
        run: &RunFolder,
        input: Fingerprint,
        folder: &std::path::Path,
        conversations: &[Conversation],
        open: &[usize],
    ) -> anyhow::Result<()> {
        let (device, kind) = args.sampler.compute.resolve()?;
        let folder = locate::locate(&folder.to_string_lossy())?;
        let print = ::run::model_folder(input, &folder)?;
        let mut journal = Journal::<Result<f64, String>>::open(run.join("rewards.journal"), &print.finish())?;
        let mut model = RewardModel::load(&folder, kind, device)?;
        model.set_gpu_kernels(args.sampler.compute.gpu_kernels()?);
        let missing: Vec<usize> = open.iter().copied().filter(|&index| self.scores[index].reward.is_none()).collect();
        for index in missing {
            if !journal.contains(index as u64) {
                let conversation = &conversations[index];
                let score = conversation
                    .tools()
                    .map_err(anyhow::Error::from)
                    .and_then(|tools| model.encode(&conversation.messages, tools))
                    .and_then(|ids| Ok(model.score(&[&Group::new(&[ids])])?.concat()));
                let score = score.map_err(|error| format!("{error:#}")).and_then(|scores| {
                    scores.first().copied().filter(|score| score.is_finite()).ok_or("the score is not finite".into())
                });
                journal.insert(index as u64, score)?;
            }
            match journal.get(index as u64).context("a reward was just written")? {
                Ok(score) => self.scores[index].reward = Some(*score),
                Err(_) => self.unscored += 1,
            }
        }
        Ok(())
    }

    /// The judge's four questions about each conversation.
    fn judge(
        &mut self,
        args: &Args,
        run: &RunFolder,
        input: Fingerprint,
        conversations: &[Conversation],
        open: &[usize],
    ) -> anyhow::Result<()> {
        let quality = Rubric::load(args.judge.judge_prompt.as_deref(), builtin::QUALITY)?;
        let code = Rubric::load(args.judge.judge_code_prompt.as_deref(), builtin::CODE)?;
        let others = [builtin::DIFFICULTY, builtin::INTENTS, builtin::TOPIC].map(Rubric::parse);
        let [difficulty, intents, topic] = others;
        let (difficulty, intents, topic) = (difficulty?, intents?, topic?);
        let who = json!([args.judge.judge_model, args.judge.judge_endpoint, args.judge.judge_endpoint_model]);
        let mut print = input.text("judge", &who.to_string());
        for rubric in [&quality, &code, &difficulty, &intents, &topic] {
            print = print.text("rubric", &rubric.text);
        }
        let mut journal = Journal::<Judgement>::open(run.join("judgements.journal"), &print.finish())?;
        let key = |index: usize, question: usize| (index * QUESTIONS + question) as u64;
        let (mut questions, mut keys) = (Vec::new(), Vec::new());
        for &index in open {
            let conversation = &conversations[index];
            let last = conversation.messages.iter().rposition(|message| message.role == Role::Assistant);
            let (prompt, response) = match last {
                Some(last) => (&conversation.messages[..last], conversation.messages[last].text()),
                None => (&conversation.messages[..], ""),
            };
            let is_code = conversation.capability.as_deref() == Some("code");
            let rubrics = [if is_code { &code } else { &quality }, &difficulty, &intents, &topic];
            for (question, rubric) in rubrics.into_iter().enumerate() {
                if !journal.contains(key(index, question)) {
                    questions.push((rubric, prompt, response));
                    keys.push(key(index, question));
                }
            }
        }
        if !questions.is_empty() {
            let judge = args.judge.open(&args.sampler.args())?;
            judge::ask(&judge, &questions, |place, judgement| Ok(journal.insert(keys[place], judgement)?))?;
        }
        for &index in open {
            for question in 0..QUESTIONS {
                self.judgements[index][question] = journal.get(key(index, question)).cloned();
            }
            self.take_in(index);
        }
        Ok(())
    }

    fn take_in(&mut self, index: usize) {
        let scores = &mut self.scores[index];
        let of = |question: usize| self.judgements[index][question].as_ref();
        match of(QUALITY) {
            Some(Judgement::Scores { total, max, .. }) => scores.judged = Some(*total as f64 / *max as f64),
            _ => self.unjudged += 1,
        }
        scores.level = of(DIFFICULTY).and_then(Judgement::total);
        if let Some(Judgement::List(tags)) = of(INTENTS) {
            scores.intents = Some(tags.len());
        }
        if let Some(Judgement::List(labels)) = of(TOPIC)
            && let Some(coarse) = labels.first()
        {
            self.topics[index].clone_from(coarse);
        }
    }

    /// The topic of a conversation.
    #[must_use]
    pub fn topic(&self, index: usize) -> &str {
        &self.topics[index]
    }

    /// The source of the topics.
    #[must_use]
    pub fn topics_by(&self) -> &'static str {
        if self.has_judge { "by the judge" } else { "by keywords" }
    }

    /// The source of the quality decision.
    #[must_use]
    pub fn describe(&self) -> String {
        match (self.has_rewards, self.has_judge) {
            (false, false) => "it has no score".into(),
            (true, false) => format!("top rewards ({} without a reward)", self.unscored),
            (false, true) => format!("the judge's maximum ({} not judged)", self.unjudged),
            (true, true) => format!(
                "top rewards or the judge's maximum ({} without a reward, {} not judged)",
                self.unscored, self.unjudged
            ),
        }
    }

    /// The annotations of a conversation, for its record.
    #[must_use]
    pub fn annotations(&self, index: usize) -> Value {
        let (scores, judgements) = (&self.scores[index], &self.judgements[index]);
        let mut known = Map::new();
        known.insert("topic".into(), self.topics[index].clone().into());
        if let Some(reward) = scores.reward {
            known.insert("reward".into(), json!(reward));
        }
        for (name, judgement) in ["quality", "difficulty", "intents", "topics"].iter().zip(judgements) {
            if let Some(judgement) = judgement {
                known.insert((*name).into(), json!(judgement));
            }
        }
        Value::Object(known)
    }
}
