//! Scores texts with a language model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use guard::guard::{ModelCounts, ModelScore, Scorer};
use guard::prompt::Format;
use guard::record::Asked;
use llama::device::Compute;
use llama::{Engine, EngineOptions, LogitsProcessor, LoraConfig, ModelFolder, Next, Request, SamplingParams};
use safety_text::policy::{Applies, Policy};

use crate::prompts::Prompts;

/// Number of texts computed together.
const SLOTS: usize = 8;
/// Number of contexts in the cache: one for the policies, the rest for texts.
const CONTEXTS: usize = 4;

/// A language model as a scorer.
pub struct ModelScorer {
    prompts: Prompts,
    tokenizer: chat::Tokenizer,
    engine: Engine,
    /// The ids of the policy's part of the prompt for each side, with the digest of the policy.
    policies: BTreeMap<&'static str, (String, Vec<u32>)>,
}

/// Opens the model of a folder, or an adapter on its base, on this machine's device. For `guard::command`.
///
/// # Errors
/// When the folder is not a model's, or when the model cannot be a guard.
pub fn open(folder: &Path, format: Format) -> anyhow::Result<Box<dyn Scorer>> {
    let compute = Compute::default();
    let (device, kind) = compute.resolve()?;
    let adapter = folder.with_file_name("adapter");
    let mut model = if folder.is_dir() || !adapter.is_dir() {
        ModelFolder::load(&llama::locate::locate(&folder.to_string_lossy())?, Some(kind), device)?
    } else {
        let mut model = ModelFolder::load(&LoraConfig::from_dir(&adapter)?.base()?, Some(kind), device)?;
        model.model.load_adapter(&adapter)?;
        model.model.merge_adapter();
        model
    };
    model.model.set_gpu_kernels(compute.gpu_kernels()?);
    Ok(Box::new(ModelScorer::new(model, format)?))
}

impl ModelScorer {
    /// Makes a scorer from a loaded model.
    ///
    /// # Errors
    /// See [`Prompts::new`]; also when memory is not sufficient.
    pub fn new(model: ModelFolder, format: Format) -> anyhow::Result<Self> {
        let prompts = Prompts::new(&model, format)?;
        let context = model.model.config().max_position_embeddings as usize;
        let options = EngineOptions {
            slots: SLOTS,
            cache_tokens: Some(CONTEXTS * context.min(8192)),
            graphs: Compute::default().graphs()?,
            ..EngineOptions::default()
        };
        let engine = Engine::with_options(&model.model, options)?;
        Ok(Self { prompts, tokenizer: model.tokenizer, engine, policies: BTreeMap::new() })
    }

    fn policy(&mut self, policy: &Policy, side: Applies) -> anyhow::Result<Vec<u32>> {
        let name = guard::prompt::name(side);
        let digest = policy.digest();
        if let Some((known, ids)) = self.policies.get(name)
            && *known == digest
        {
            return Ok(ids.clone());
        }
        let ids = self.prompts.policy(&self.tokenizer, side, policy.enabled(side), true)?;
        self.policies.insert(name, (digest, ids.clone()));
        Ok(ids)
    }

    /// The log-probabilities of groups of tokens after each prompt.
    fn look(&mut self, prompts: Vec<(Vec<i64>, Vec<Vec<i64>>)>) -> anyhow::Result<Vec<Vec<f64>>> {
        let seen: Vec<Seen> = prompts.iter().map(|_| Seen::default()).collect();
        for ((prompt, groups), seen) in prompts.into_iter().zip(&seen) {
            let request = Request {
                prompt,
                sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
                seed: 0,
                max_new_tokens: 1,
                top_logprobs: 0,
            };
            self.engine.submit_processed(request, Some(Box::new(Look { groups, seen: seen.clone() })))?;
        }
        let mut failure = None;
        while !self.engine.is_idle() {
            self.engine.step(&mut |_, choice| {
                if let Err(error) = choice {
                    failure.get_or_insert(error);
                }
                Next::Stop
            })?;
        }
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let numbers: Vec<Vec<f64>> =
            seen.iter().map(|seen| seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
        ensure!(numbers.iter().all(|numbers| !numbers.is_empty()), "the engine left out a text");
        Ok(numbers)
    }
}

/// Receives log-probabilities from the engine.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<f64>>>);

/// Reads the logits of the next token.
struct Look {
    groups: Vec<Vec<i64>>,
    seen: Seen,
}

impl LogitsProcessor for Look {
    fn process(&mut self, logits: &mut [f32]) -> Result<(), String> {
        let all = log_sum(logits.iter().map(|&logit| f64::from(logit)));
        let of = |id: &i64| {
            usize::try_from(*id).ok().and_then(|id| logits.get(id)).map_or(f64::NEG_INFINITY, |&l| f64::from(l))
        };
        let group = |group: &Vec<i64>| log_sum(group.iter().map(of)) - all;
        *self.seen.0.lock().unwrap_or_else(PoisonError::into_inner) = self.groups.iter().map(group).collect();
        Ok(())
    }

    fn accept(&mut self, _: i64) -> Result<(), String> {
        Ok(())
    }
}

/// ln of the sum of exp(x).
fn log_sum(numbers: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + numbers.map(|x| (x - most).exp()).sum::<f64>().ln() }
}

fn wide(ids: &[u32]) -> impl Iterator<Item = i64> + '_ {
    ids.iter().map(|&id| i64::from(id))
}

impl Scorer for ModelScorer {
    fn score(&mut self, policy: &Policy, asked: &[&Asked]) -> anyhow::Result<Vec<ModelScore>> {
        let first = self.prompts.first_tokens();
        let (mut looked, mut windows) = (Vec::new(), Vec::new());
        for asked in asked {
            let before = self.policy(policy, asked.side())?;
            let question = self.prompts.question(&self.tokenizer, asked, before.len(), 1)?;
            for window in &question.windows {
                let prompt: Vec<i64> = wide(&before).chain(wide(window)).collect();
                looked.push((prompt, first.iter().map(|&id| vec![id]).collect()));
            }
            windows.push((question.windows.len(), question.dropped_turns));
        }
        let mut numbers = self.look(looked)?.into_iter();
        let mut scores = Vec::new();
        for (count, dropped_turns) in windows {
            let each = numbers.by_ref().take(count).map(|pair| ModelScore {
                log_odds: pair[1] - pair[0],
                mass: pair[0].exp() + pair[1].exp(),
                windows: count,
                dropped_turns,
            });
            // A window whose answer is not a verdict at all decides, so that its text cannot pass because of another window.
            let worst = each.max_by(|a, b| {
                let is_none = |score: &ModelScore| score.mass < guard::guard::LEAST_MASS;
                is_none(a).cmp(&is_none(b)).then(a.log_odds.total_cmp(&b.log_odds))
            });
            scores.extend(worst);
        }
        Ok(scores)
    }

    fn categories(&mut self, policy: &Policy, asked: &Asked) -> anyhow::Result<Vec<(String, f64)>> {
        let before = self.policy(policy, asked.side())?;
        let mut codes: Vec<(String, Vec<u32>)> = Vec::new();
        for category in policy.enabled(asked.side()) {
            codes.push((category.id.clone(), self.tokenizer.encode_plain(&category.id)?));
        }
        let longest = codes.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        let start = self.prompts.before_categories();
        let question = self.prompts.question(&self.tokenizer, asked, before.len(), start.len() + longest + 1)?;
        // The worst window is not known here: all windows give a distribution over categories, and the highest probability counts.
        let mut shares: BTreeMap<usize, f64> = BTreeMap::new();
        for window in &question.windows {
            let prompt: Vec<i64> = wide(&before).chain(wide(window)).chain(wide(&start)).collect();
            for (code, share) in self.shares(&prompt, &codes)? {
                let most = shares.entry(code).or_default();
                *most = most.max(share);
            }
        }
        let all: f64 = shares.values().sum::<f64>().max(f64::MIN_POSITIVE);
        Ok(codes
            .into_iter()
            .enumerate()
            .map(|(at, (id, _))| (id, shares.get(&at).copied().unwrap_or(0.0) / all))
            .collect())
    }

    fn counts(&self) -> ModelCounts {
        let counts = self.engine.counts();
        ModelCounts { computed: counts.prompt_tokens, cached: counts.cached_tokens }
    }
}

impl ModelScorer {
    /// The distribution over codes after a prompt, computed token by token along the tree of their ids. A code that is a prefix of others
    /// ends with a comma or the end of the answer.
    fn shares(&mut self, prompt: &[i64], codes: &[(String, Vec<u32>)]) -> anyhow::Result<Vec<(usize, f64)>> {
        let mut shares = Vec::new();
        // Nodes of the tree: the ids so far, the codes below, their probability.
        let mut level: Vec<(Vec<i64>, Vec<usize>, f64)> = vec![(Vec::new(), (0..codes.len()).collect(), 1.0)];
        while !level.is_empty() {
            let (mut asked, mut forks) = (Vec::new(), Vec::new());
            for (path, below, share) in level {
                if let [only] = below[..] {
                    shares.push((only, share));
                    continue;
                }
                // Grouped by the next id; `None` if a code ends here.
                let mut next: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
                for code in below {
                    next.entry(codes[code].1.get(path.len()).map(|&id| i64::from(id))).or_default().push(code);
                }
                let groups =
                    next.keys().map(|id| id.map_or_else(|| self.prompts.after_category(), |id| vec![id])).collect();
                asked.push((prompt.iter().chain(&path).copied().collect(), groups));
                forks.push((path, next, share));
            }
            level = Vec::new();
            if asked.is_empty() {
                break;
            }
            for ((path, next, share), numbers) in forks.into_iter().zip(self.look(asked)?) {
                let all = log_sum(numbers.iter().copied());
                for ((id, codes), number) in next.into_iter().zip(numbers) {
                    let share = share * (number - all).exp();
                    match id {
                        // Two categories with the same ids share the probability.
                        None => shares.extend(codes.iter().map(|&code| (code, share / codes.len() as f64))),
                        Some(id) => level.push((path.iter().copied().chain([id]).collect(), codes, share)),
                    }
                }
            }
        }
        Ok(shares)
    }
}
