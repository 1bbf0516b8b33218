//! The work of a run: asks, verifies, scores and judges until nothing is left.

use std::collections::BTreeMap;

use ::run::progress::Progress;
use anyhow::Context;
use curation::judge::{self, Rubric};
use dataset::Kind;
use dataset::journal::Journal;
use sampler::{SampleRequest, Sampler, sequence_seed};

use super::config::Config;
use super::dialog::{Answer, History, Step, Turn};
use super::state::{Reward, Sampled, State};
use super::verify::{Task, Verifiers};
use crate::reward::{Group, RewardModel};

/// Samples and verifies, round by round, until no sample has anything left to do.
///
/// # Errors
/// When a checkpoint cannot be opened, the engine fails as a whole, or a file cannot be written. A request without an
/// answer, and a verifier without a verdict, are recorded with their cause instead.
pub fn sample_and_verify(state: &mut State, config: &Config, verifiers: &Verifiers) -> anyhow::Result<()> {
    let mut open: Option<(usize, Sampler)> = None;
    loop {
        let mut to_ask: BTreeMap<usize, Vec<(usize, SampleRequest)>> = BTreeMap::new();
        let mut to_verify = Vec::new();
        for (index, slot) in state.slots.iter().enumerate() {
            match state.next(index) {
                Step::Ask(messages) => {
                    let round = state.sampled(index).turns.len();
                    let request = SampleRequest {
                        messages,
                        tools: Vec::new(),
                        sampling: config.answers.at(slot.temperature),
                        seed: if round == 0 { slot.seed } else { sequence_seed(slot.seed, round, 0) },
                        max_new_tokens: config.answers.max_new_tokens,
                        stop: config.answers.stop.clone(),
                    };
                    to_ask.entry(slot.checkpoint).or_default().push((index, request));
                }
                Step::Verify => to_verify.push(index),
                Step::Done => {}
            }
        }
        if to_ask.is_empty() && to_verify.is_empty() {
            return Ok(());
        }
        for (checkpoint, asked) in to_ask {
            if open.as_ref().is_none_or(|(opened, _)| *opened != checkpoint) {
                // Only one model is in memory at a time.
                drop(open.take());
                open = Some((checkpoint, config.samplers[checkpoint].open()?));
            }
            let (_, sampler) = open.as_ref().context("a checkpoint was opened")?;
            sample(state, sampler, &asked)?;
            // These can be verified in this round.
            to_verify.extend(asked.iter().map(|(index, _)| *index).filter(|&index| state.next(index) == Step::Verify));
        }
        verify(state, verifiers, &to_verify)?;
    }
}

fn sample(state: &mut State, sampler: &Sampler, asked: &[(usize, SampleRequest)]) -> anyhow::Result<()> {
    eprintln!("{} answers to sample from {}", asked.len(), sampler.describe());
    let requests: Vec<SampleRequest> = asked.iter().map(|(_, request)| request.clone()).collect();
    let progress = Progress::new("answers", Some(asked.len()), 0);
    sampler.sample(&requests, &mut |place, answer| {
        progress.add(1);
        let turn = match answer {
            Ok(answer) => Turn::Answer(Answer {
                text: answer.text,
                finish_reason: serde_json::to_value(&answer.finish_reason)?.as_str().unwrap_or_default().to_owned(),
                logprob: answer.logprob.filter(|logprob| logprob.is_finite()),
                tokens: answer.tokens,
            }),
            Err(error) => Turn::Failed(error.to_string()),
        };
        state.add_turn(asked[place].0, turn)
    })?;
    Ok(())
}

fn verify(state: &mut State, verifiers: &Verifiers, slots: &[usize]) -> anyhow::Result<()> {
    if slots.is_empty() {
        return Ok(());
    }
    let (problems, all) = (state.problems, state.slots);
    // The turns are copied, since the verdicts are written to the same state as they arrive.
    let turns: Vec<Vec<Turn>> =
        slots.iter().map(|&slot| state.sampled(slot).turns.into_iter().cloned().collect()).collect();
    let tasks = slots.iter().zip(&turns).map(|(&slot, turns)| Task {
        key: slot as u64,
        problem: &problems[all[slot].problem],
        turns: turns.iter().collect(),
    });
    let tasks: Vec<Task> = tasks.collect();
    let progress = Progress::new("verdicts", Some(tasks.len()), 0);
    verifiers.verify(&tasks, |slot, verdict| {
        progress.add(1);
        state.add_verdict(slot as usize, verdict)
    })?;
    Ok(())
}

/// Scores the final dialogs of all problems, problem by problem. The samples of a problem are in one row, so that a
/// score depends only on them and is the same after a kill.
///
/// # Errors
/// When a file cannot be written, and errors of libtorch.
pub fn score(
    state: &mut State,
    mut journal: Journal<Vec<Reward>>,
    model: &RewardModel,
    k: usize,
) -> anyhow::Result<()> {
    let open: Vec<usize> = (0..state.problems.len()).filter(|&problem| !journal.contains(problem as u64)).collect();
    let total = state.problems.len();
    let progress = Progress::new("problems scored", Some(total), total - open.len());
    for problem in open {
        let encoded: Vec<Result<Vec<i64>, String>> = (problem * k..(problem + 1) * k)
            .map(|slot| {
                let Sampled { turns, verdicts } = state.sampled(slot);
                let prompt = &state.problems[problem].prompt;
                let history = History { problem: &state.problems[problem], prompt, turns: &turns, verdicts: &verdicts };
                match turns.last() {
                    Some(Turn::Failed(cause)) => Err(cause.clone()),
                    _ => model.encode(&history.messages(), Vec::new()).map_err(|error| format!("{error:#}")),
                }
            })
            .collect();
        let ids: Vec<Vec<i64>> = encoded.iter().filter_map(|ids| ids.clone().ok()).collect();
        let scores = if ids.is_empty() { Vec::new() } else { model.score(&[&Group::new(&ids)])?.concat() };
        let mut scores = scores.into_iter();
        let rewards = encoded.into_iter().map(|ids| match ids {
            Ok(_) => scores
                .next()
                .filter(|score| score.is_finite())
                .map_or_else(|| Reward::Failed("the score is not finite".into()), Reward::Score),
            Err(cause) => Reward::Failed(cause),
        });
        journal.insert(problem as u64, rewards.collect())?;
        progress.add(1);
    }
    state.rewards = Some(journal);
    Ok(())
}

/// Asks the judge about every answer without a judgement.
///
/// # Errors
/// When the judge cannot be opened or a file cannot be written.
pub fn judge(
    state: &mut State,
    mut journal: Journal<judge::Judgement>,
    judge: &Sampler,
    (quality, code): (&Rubric, &Rubric),
) -> anyhow::Result<()> {
    let open: Vec<(usize, String)> = (0..state.slots.len())
        .filter(|&slot| !journal.contains(slot as u64))
        .filter_map(|slot| match state.sampled(slot).turns.last()? {
            Turn::Answer(answer) => Some((slot, answer.text.clone())),
            Turn::Failed(_) => None,
        })
        .collect();
    let (problems, slots) = (state.problems, state.slots);
    let questions = open.iter().map(|(slot, text)| {
        let problem = &problems[slots[*slot].problem];
        let rubric = if problem.kind == Kind::Code { code } else { quality };
        (rubric, &problem.prompt[..], text.as_str())
    });
    let questions: Vec<_> = questions.collect();
    eprintln!("{} answers to judge with {}", questions.len(), judge.describe());
    let progress = Progress::new("judgements", Some(questions.len()), 0);
    judge::ask(judge, &questions, |index, judgement| {
        progress.add(1);
        Ok(journal.insert(open[index].0 as u64, judgement)?)
    })?;
    state.judgements = Some(journal);
    Ok(())
}
