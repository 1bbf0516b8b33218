//! Writes the results: every sample, the selected conversations, the preference pairs, and the counts.

use std::collections::BTreeMap;
use std::path::Path;

use ::run::counted;
use curation::judge::Judgement;
use dataset::jsonl::AtomicWriter;
use dataset::{Conversation, FinishReason, Kind, Message, Preference, Sample, Verdict};
use serde::Serialize;
use serde_json::{Map, Value, json};
use stats::{Estimate, pass_at};
use text_quality::language::{self, Languages};

use super::config::Files;
use super::dialog::{Answer, History, Turn, UNVERIFIED};
use super::plan::{Checkpoint, capability};
use super::select::{Evidence, Selection, select};
use super::state::{Reward, Sampled, State};

/// The result files of a run.
pub const FILES: [&str; 3] = ["samples.jsonl", "selected.jsonl", "pairs.jsonl"];

/// The counts of a run.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Number of problems.
    pub problems: usize,
    /// Number of samples.
    pub samples: usize,
    /// Number of samples without an answer, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Number of answers truncated at the maximum length.
    pub cut: u64,
    /// Number of last verdicts, by status.
    pub verdicts: BTreeMap<String, u64>,
    /// Number of samples that could not be verified, by cause.
    pub unverified: BTreeMap<String, u64>,
    /// Number of right final answers with a step judged wrong: neither selected nor rejected.
    pub right_with_wrong_step: u64,
    /// Number of answers in another language than their prompt.
    pub other_language: u64,
    /// Number of samples without a reward, if a reward model was used.
    pub unscored: u64,
    /// Number of answers without a judgement, if a judge was used.
    pub unjudged: u64,
    /// Number of attempted repairs, and of samples that passed after one.
    pub repairs: (u64, u64),
    /// Number of sampled tokens.
    pub tokens: u64,
    /// pass@k of first answers, by k.
    pub pass_at: BTreeMap<u64, Estimate>,
    /// pass@1 after repairs, if there were any.
    pub pass_at_1_after_repairs: Option<Estimate>,
    /// Number of problems with at least one selected sample.
    pub solved: usize,
    /// Number of selected samples.
    pub selected: usize,
    /// Number of preference pairs.
    pub pairs: usize,
}

/// The collected evidence of a sample.
struct View<'a> {
    first: Option<&'a Answer>,
    last: Option<&'a Answer>,
    failure: Option<&'a str>,
    turns: usize,
    first_verdict: Option<&'a Verdict>,
    last_verdict: Option<&'a Verdict>,
    languages: Option<Languages>,
    reward: Option<&'a Reward>,
    judgement: Option<&'a Judgement>,
    messages: Vec<Message>,
}

/// Whether the final answer is right, if a verifier judged it.
fn correct(verdict: &Verdict) -> Option<bool> {
    (verdict.status != UNVERIFIED).then(|| verdict.extra.get("correct") == Some(&Value::Bool(true)))
}

impl<'a> View<'a> {
    fn new(state: &'a State, files: &Files, slot: usize) -> Self {
        let Sampled { turns, verdicts } = state.sampled(slot);
        let problem = &state.problems[state.slots[slot].problem];
        let answers: Vec<&Answer> = turns
            .iter()
            .filter_map(|turn| match turn {
                Turn::Answer(answer) => Some(answer),
                Turn::Failed(_) => None,
            })
            .collect();
        let failure = turns.last().and_then(|turn| match turn {
            Turn::Failed(cause) => Some(cause.as_str()),
            Turn::Answer(_) => None,
        });
        let prompt = if files.keep_style { state.prompt(slot) } else { problem.prompt.clone() };
        let last = answers.last().copied();
        let asked = problem.prompt.iter().rev().find(|message| message.role == dataset::Role::User);
        let languages = last.filter(|_| files.compare_languages && problem.kind != Kind::Code);
        let languages = languages.and_then(|answer| language::languages(asked?.text(), &answer.text));
        let verdict_of = |turn: usize| verdicts.iter().find(|(of, _)| *of == turn).map(|(_, verdict)| *verdict);
        let number = slot % files.k;
        Self {
            first: answers.first().copied(),
            last,
            failure,
            first_verdict: verdicts.first().map(|(_, verdict)| *verdict),
            last_verdict: turns.len().checked_sub(1).and_then(verdict_of),
            languages,
            reward: state.rewards.as_ref().and_then(|journal| {
                journal.get(state.slots[slot].problem as u64).and_then(|rewards| rewards.get(number))
            }),
            judgement: state.judgements.as_ref().and_then(|journal| journal.get(slot as u64)),
            messages: History { problem, prompt: &prompt, turns: &turns, verdicts: &verdicts }.messages(),
            turns: turns.len(),
        }
    }

    /// The score of the reward model.
    fn score(&self) -> Option<f64> {
        match self.reward {
            Some(Reward::Score(score)) => Some(*score),
            _ => None,
        }
    }

    /// The evidence on the end of the dialog or, for pairs, on its first answer.
    fn evidence(&self, of_first: bool) -> Evidence<'_> {
        let (answer, verdict) =
            if of_first { (self.first, self.first_verdict) } else { (self.last, self.last_verdict) };
        let is_whole = of_first || self.failure.is_none();
        let repaired = self.first_verdict.is_some() && self.turns > 1;
        Evidence {
            response: answer.filter(|_| is_whole).map(|answer| answer.text.as_str()),
            ended: answer.is_some_and(|answer| answer.finish_reason == "stop"),
            language_fits: self.languages.as_ref().is_none_or(Languages::agree),
            verified: verdict.and_then(correct),
            wrong_step: verdict.is_some_and(|verdict| !verdict.passed),
            // Scores and judgements refer to the end of the dialog.
            reward: self.score().filter(|_| !of_first || !repaired),
            judged: self
                .judgement
                .filter(|_| !of_first || !repaired)
                .and_then(|judgement| Some((judgement.total()?, judgement.is_maximum()))),
        }
    }
}

/// Writes `samples.jsonl`, `selected.jsonl` and `pairs.jsonl`, in the order of problems and samples.
///
/// # Errors
/// When a file cannot be written.
pub fn write(state: &State, files: &Files, checkpoints: &[Checkpoint], folder: &Path) -> anyhow::Result<Counts> {
    let k = files.k;
    let mut samples_out = AtomicWriter::create(folder.join(FILES[0]))?;
    let mut selected_out = AtomicWriter::create(folder.join(FILES[1]))?;
    let mut pairs_out = AtomicWriter::create(folder.join(FILES[2]))?;
    let mut counts = Counts { problems: state.problems.len(), samples: state.slots.len(), ..Counts::default() };
    let (mut first_right, mut last_right) = (Vec::new(), Vec::new());
    for (index, problem) in state.problems.iter().enumerate() {
        let views: Vec<View> = (index * k..(index + 1) * k).map(|slot| View::new(state, files, slot)).collect();
        let of = |of_first: bool| views.iter().map(|view| view.evidence(of_first)).collect::<Vec<_>>();
        let Selection { selected: chosen, .. } = select(&of(false), &files.rules);
        let Selection { pairs: better_and_worse, .. } = select(&of(true), &files.rules);
        let right = |verdict: fn(&View) -> Option<bool>| {
            let known: Vec<bool> = views.iter().filter_map(verdict).collect();
            (known.len() as u64, known.iter().filter(|right| **right).count() as u64)
        };
        first_right.push(right(|view| view.first_verdict.and_then(correct)));
        last_right.push(right(|view| view.last_verdict.and_then(correct)));
        for (number, view) in views.iter().enumerate() {
            counts.add(view);
            let record = Record { state, checkpoints, slot: index * k + number, view };
            samples_out.write(&record.sample(chosen.contains(&number)))?;
        }
        for &number in &chosen {
            let record = Record { state, checkpoints, slot: index * k + number, view: &views[number] };
            let mut conversation =
                Conversation::new(format!("{}#{number}", problem.id), views[number].messages.clone());
            conversation.source = Some("rejection-sampling".into());
            conversation.capability = Some(capability(problem).to_owned());
            conversation.extra.insert("evidence".into(), record.evidence());
            selected_out.write(&conversation)?;
        }
        for (better, worse) in &better_and_worse {
            let answer = |number: usize| {
                views[number].first.map(|answer| vec![Message::assistant(answer.text.clone())]).unwrap_or_default()
            };
            let evidence = |number: usize| {
                Record { state, checkpoints, slot: index * k + number, view: &views[number] }.evidence_of_first()
            };
            let prompt = if files.keep_style { state.prompt(index * k + better) } else { problem.prompt.clone() };
            let extra = json!({"source": "rejection-sampling", "capability": capability(problem),
                "evidence": {"chosen": evidence(*better), "rejected": evidence(*worse)}});
            let Value::Object(extra) = extra else { continue };
            pairs_out.write(&Preference {
                id: format!("{}#{better}-{worse}", problem.id),
                prompt,
                chosen: answer(*better),
                rejected: answer(*worse),
                edited: None,
                strength: None,
                extra,
            })?;
        }
        counts.solved += usize::from(!chosen.is_empty());
        counts.selected += chosen.len();
        counts.pairs += better_and_worse.len();
    }
    for out in [samples_out, selected_out, pairs_out] {
        out.finish()?;
    }
    for k in [1, 8, 16, k as u64] {
        if let Some(share) = pass_at(&first_right, k) {
            counts.pass_at.insert(k, share);
        }
    }
    if counts.repairs.0 > 0 {
        counts.pass_at_1_after_repairs = pass_at(&last_right, 1);
    }
    Ok(counts)
}

/// One sample for the result files.
struct Record<'a> {
    state: &'a State<'a>,
    checkpoints: &'a [Checkpoint],
    slot: usize,
    view: &'a View<'a>,
}

impl Record<'_> {
    /// How it was sampled, with its evidence.
    fn evidence(&self) -> Value {
        let (slot, view) = (&self.state.slots[self.slot], self.view);
        let mut evidence = json!({
            "problem": self.state.problems[slot.problem].id, "sample": slot.sample,
            "model": self.checkpoints[slot.checkpoint].model, "temperature": slot.temperature,
        });
        if let Some(style) = slot.style {
            evidence["style"] = self.state.styles[style].name.clone().into();
        }
        if let Some(verdict) = view.last_verdict {
            evidence["verdict"] = json!(verdict);
        }
        if view.turns > 1 {
            evidence["turns"] = view.turns.into();
        }
        if let Some(reward) = view.reward {
            evidence["reward"] = json!(reward);
        }
        if let Some(judgement) = view.judgement {
            evidence["judgement"] = json!(judgement);
        }
        if let Some(languages) = &view.languages {
            evidence["languages"] = json!(languages);
        }
        evidence
    }

    /// The same for the first answer.
    fn evidence_of_first(&self) -> Value {
        let mut evidence = self.evidence();
        if let Some(verdict) = self.view.first_verdict {
            evidence["verdict"] = json!(verdict);
        }
        evidence
    }

    fn sample(&self, is_selected: bool) -> Sample {
        let (slot, view) = (&self.state.slots[self.slot], self.view);
        let mut extra = Map::new();
        extra.insert("temperature".into(), slot.temperature.into());
        if let Some(style) = slot.style {
            extra.insert("style".into(), self.state.styles[style].name.clone().into());
        }
        extra.insert("tokens".into(), view.last.map_or(0, |answer| answer.tokens).into());
        if let Some(cause) = view.failure {
            extra.insert("error".into(), cause.into());
        }
        if view.turns > 1 {
            extra.insert("dialog".into(), json!(view.messages));
        }
        if let Some(languages) = &view.languages {
            extra.insert("languages".into(), json!(languages));
        }
        if let Some(judgement) = view.judgement {
            extra.insert("judgement".into(), json!(judgement));
        }
        if let Some(Reward::Failed(cause)) = view.reward {
            extra.insert("unscored".into(), cause.clone().into());
        }
        extra.insert("selected".into(), is_selected.into());
        let answer = view.last.filter(|_| view.failure.is_none());
        Sample {
            id: self.state.problems[slot.problem].id.clone(),
            sample: Some(slot.sample),
            response: answer.map(|answer| answer.text.clone()).unwrap_or_default(),
            finish_reason: answer.map_or(FinishReason::Other("failed".into()), |a| a.finish_reason.clone().into()),
            logprob: answer.and_then(|answer| answer.logprob),
            reward: view.score(),
            verdict: view.last_verdict.cloned(),
            model: self.checkpoints[slot.checkpoint].model.clone(),
            seed: Some(slot.seed),
            extra,
        }
    }
}

impl Counts {
    fn add(&mut self, view: &View) {
        if let Some(cause) = view.failure {
            *self.failed.entry(cause.to_owned()).or_default() += 1;
        }
        let Some(answer) = view.last else { return };
        self.tokens += answer.tokens;
        self.cut += u64::from(answer.finish_reason == "length");
        if let Some(verdict) = view.last_verdict {
            *self.verdicts.entry(verdict.status.clone()).or_default() += 1;
            if verdict.status == UNVERIFIED {
                let cause = verdict.detail.clone().unwrap_or_default();
                *self.unverified.entry(cause).or_default() += 1;
            }
            self.right_with_wrong_step += u64::from(verdict.status == "wrong_step");
        }
        self.other_language += u64::from(view.languages.as_ref().is_some_and(|languages| !languages.agree()));
        self.unscored += u64::from(matches!(view.reward, Some(Reward::Failed(_))));
        self.unjudged += u64::from(matches!(view.judgement, Some(Judgement::Unjudged(_))));
        if view.first_verdict.is_some_and(|verdict| !verdict.passed) && view.turns > 1 {
            self.repairs.0 += 1;
            self.repairs.1 += u64::from(view.last_verdict.is_some_and(|verdict| verdict.passed));
        }
    }

    /// The counts as text.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            parts.join(", ")
        };
        let failed: u64 = self.failed.values().sum();
        let mut text = format!(
            "{}, {}, {}; {} without an answer, {} cut at the maximum length\n",
            counted(self.problems, "problem"),
            counted(self.samples, "sample"),
            counted(self.tokens, "token"),
            counted(failed, "sample"),
            self.cut
        );
        for (cause, count) in &self.failed {
            text += &format!("  {count} without an answer: {cause}\n");
        }
        if !self.verdicts.is_empty() {
            text += &format!("verdicts: {}\n", list(&self.verdicts));
        }
        for (cause, count) in &self.unverified {
            text += &format!("  {count} unverified: {cause}\n");
        }
        for (count, what) in [
            (self.other_language, "in another language than the prompt"),
            (self.unscored, "without a reward"),
            (self.unjudged, "that the judge gave no score"),
        ] {
            if count > 0 {
                text += &format!("{} {what}\n", counted(count, "answer"));
            }
        }
        for (k, share) in &self.pass_at {
            let problems = counted(share.items, "problem");
            text += &format!("pass@{k} of first answers: {} over {problems}\n", share.percent());
        }
        if let Some(share) = &self.pass_at_1_after_repairs {
            let (tried, passed) = self.repairs;
            let tried = counted(tried, "sample");
            text += &format!("{tried} repaired, {passed} then passed; pass@1 after repairs: {}\n", share.percent());
        }
        text + &format!(
            "{} of {}, {}",
            counted(self.selected, "selected sample"),
            counted(self.solved, "problem"),
            counted(self.pairs, "preference pair")
        )
    }
}
