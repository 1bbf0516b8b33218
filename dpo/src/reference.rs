//! The reference's log-probs: computed once, and stored with the identity of their inputs.
//!
//! A cache holds one float32 for every response token of every pair, including formatting tokens. It belongs to one
//! model, data set, chat template, tokenisation with its mask, and compute type; a run with another one of these
//! refuses it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dataset::digest::{self, Fingerprint};
use llama::{Llama, Pass};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use trainer::{World, share};

use crate::batch::PairBatch;
use crate::pairs::{Pair, Part, Sequence};

const RECORD: &str = "reference.json";
const TENSORS: &str = "log_probs.safetensors";
const NAME: &str = "log_probs";
/// The interval between saves of an unfinished cache.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The identity of a cache's inputs: digests, and the compute type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The reference model's folder: weights, configuration, tokenizer.
    pub model: String,
    /// The files of preferences.
    pub data: String,
    /// The chat template's text.
    pub template: String,
    /// Token ids of all pairs, with their response and formatting marks, in order.
    pub mask: String,
    /// The compute type of the reference.
    pub dtype: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    identity: Identity,
    pairs: usize,
    tokens: usize,
    sha256: String,
}

/// Log-probs of all response tokens of pairs in order, chosen before rejected.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceLogProbs {
    /// The values; NaN if not known yet.
    values: Vec<f32>,
    /// The start of each pair's values, and the end as the last entry.
    starts: Vec<usize>,
}

/// A digest of the tokens of all pairs and of their roles.
#[must_use]
pub fn mask_digest(pairs: &[&Pair]) -> String {
    let mut bytes = Vec::new();
    for sequence in pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]) {
        bytes.extend((sequence.ids.len() as u64).to_le_bytes());
        bytes.extend(sequence.ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(sequence.parts.iter().map(|part| match part {
            Part::Context => 0,
            Part::Formatting => 1,
            Part::Content => 2,
        }));
    }
    digest::bytes(&bytes)
}

/// A digest of a model's folder.
///
/// # Errors
/// When a file cannot be read.
pub fn model_digest(folder: &Path) -> anyhow::Result<String> {
    Ok(run::model_folder(Fingerprint::new(), folder)?.finish())
}

impl ReferenceLogProbs {
    /// Log-probs of pairs, none of them known.
    #[must_use]
    pub fn unknown(pairs: &[Pair]) -> Self {
        let starts = starts(pairs);
        Self { values: vec![f32::NAN; starts[pairs.len()]], starts }
    }

    /// Number of pairs whose values are known.
    #[must_use]
    pub fn known(&self) -> usize {
        (0..self.starts.len() - 1).filter(|&number| self.knows(number)).count()
    }

    fn knows(&self, number: usize) -> bool {
        self.values[self.starts[number]..self.starts[number + 1]].iter().all(|value| !value.is_nan())
    }

    /// Replaces the values by those of the first process.
    ///
    /// # Errors
    /// When another process has ended.
    pub fn share(&mut self, world: &World) -> anyhow::Result<()> {
        if !world.is_alone() {
            let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let bytes = world.share_bytes("reference log-probs", &bytes)?;
            let (values, _) = bytes.as_chunks::<4>();
            self.values = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        }
        Ok(())
    }

    /// Computes the missing values of all pairs; all processes of `world`, which know the same values before, deal the batches
    /// out. `batches` are lists of pair indices in which each index occurs once; `batch` lays out one of them. Calls `keep`
    /// once a minute.
    ///
    /// # Errors
    /// Errors of libtorch and of `keep`; also when a log-prob is not finite (the error names the pairs).
    pub fn complete(
        &mut self,
        model: &Llama,
        world: &World,
        batches: &[Vec<usize>],
        batch: impl Fn(&[usize]) -> PairBatch,
        keep: impl Fn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let _no_grad = tch::no_grad_guard();
        let (pairs, mut done) = (self.starts.len() - 1, self.known());
        let (start, before) = (Instant::now(), done);
        let (mut shown, mut kept) = (start, start);
        let missing: Vec<&Vec<usize>> =
            batches.iter().filter(|numbers| !numbers.iter().all(|&number| self.knows(number))).collect();
        // Each round has one batch for each process.
        for round in missing.chunks(world.size()) {
            let mut own = Vec::new();
            if let Some(numbers) = round.get(world.rank()) {
                let batch = batch(numbers);
                let found = Vec::<f32>::try_from(log_probs(model, &batch)?)?;
                ensure!(
                    found.iter().all(|value| value.is_finite()),
                    "the reference gives a log-prob that is not finite; the pairs are {}",
                    batch.ids.join(", ")
                );
                own.push(found.into_iter().map(f32::to_bits).collect::<Vec<u32>>());
            }
            for (numbers, found) in round.iter().zip(share::results(world, "reference log-probs", own)?) {
                let found: Vec<f32> = found.into_iter().map(f32::from_bits).collect();
                let mut rest = &found[..];
                for &number in *numbers {
                    done += usize::from(!self.knows(number));
                    let place = self.starts[number]..self.starts[number + 1];
                    let (own, others) = rest.split_at(place.len());
                    self.values[place].copy_from_slice(own);
                    rest = others;
                }
            }
            if kept.elapsed() > KEEP_EVERY {
                keep(self)?;
                kept = Instant::now();
            }
            let due = shown.elapsed() > Duration::from_secs(10) || (done == pairs && start.elapsed().as_secs() > 10);
            if due && world.is_first() {
                shown = Instant::now();
                let rate = (done - before) as f64 / start.elapsed().as_secs_f64();
                eprintln!("reference log-probs: {done}/{pairs} pairs, {rate:.2} pairs/s");
            }
        }
        keep(self)
    }

    /// The values of some pairs, `[entries]` float32, in the order of their [`PairBatch`].
    pub fn of(&self, numbers: &[usize]) -> Tensor {
        let parts: Vec<&[f32]> = numbers.iter().map(|&n| &self.values[self.starts[n]..self.starts[n + 1]]).collect();
        Tensor::from_slice(&parts.concat())
    }

    /// Writes the cache into `folder`. The record, which makes it valid, is written last.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path, identity: &Identity) -> anyhow::Result<()> {
        let write = || {
            fs::create_dir_all(folder)?;
            let path = folder.join(TENSORS);
            trainer::state::write(&path, &[(NAME.to_owned(), Tensor::from_slice(&self.values))])?;
            let record = Record {
                identity: identity.clone(),
                pairs: self.starts.len() - 1,
                tokens: self.values.len(),
                sha256: digest::file(&path)?,
            };
            let text = format!("{}\n", serde_json::to_string_pretty(&record)?);
            anyhow::Ok(dataset::write_file(folder.join(RECORD), text.as_bytes())?)
        };
        write().with_context(|| format!("cannot keep the reference's log-probs in {}", folder.display()))
    }

    /// Reads a cache, which may be unfinished. `None` if there is none, or if its files are damaged, which is
    /// reported.
    ///
    /// # Errors
    /// When the cache belongs to another model, data set, template, mask or type; the error names the first
    /// difference.
    pub fn load(folder: &Path, identity: &Identity, pairs: &[Pair]) -> anyhow::Result<Option<Self>> {
        let path = folder.join(RECORD);
        if !path.is_file() {
            return Ok(None);
        }
        let damaged = |what: &str| {
            eprintln!("warning: {} is damaged ({what}); the log-probs are computed again", folder.display());
            Ok(None)
        };
        let Ok(record) = serde_json::from_slice::<Record>(&fs::read(&path)?) else {
            return damaged("reference.json does not read");
        };
        let (theirs, ours) = (&record.identity, identity);
        for (what, theirs, ours) in [
            ("reference model", &theirs.model, &ours.model),
            ("data set", &theirs.data, &ours.data),
            ("chat template", &theirs.template, &ours.template),
            ("tokenisation or mask", &theirs.mask, &ours.mask),
            ("--dtype", &theirs.dtype, &ours.dtype),
        ] {
            ensure!(
                theirs == ours,
                "the reference's log-probs in {} are of another {what} ({} instead of {}); choose another \
                 --reference-cache, or remove the folder",
                folder.display(),
                short(theirs),
                short(ours)
            );
        }
        let file = folder.join(TENSORS);
        if !file.is_file() || digest::file(&file)? != record.sha256 {
            return damaged("log_probs.safetensors is missing or changed");
        }
        let starts = starts(pairs);
        let values = match &trainer::state::read(&file)?[..] {
            [(_, tensor)] => Vec::<f32>::try_from(tensor)?,
            _ => return damaged("log_probs.safetensors has other tensors"),
        };
        if values.len() != starts[pairs.len()] {
            return damaged("the number of tokens differs");
        }
        Ok(Some(Self { values, starts }))
    }
}

/// The log-prob of each response token of a batch under `model`, `[entries]` float32, without a gradient.
///
/// # Errors
/// Errors of libtorch.
pub fn log_probs(model: &Llama, batch: &PairBatch) -> anyhow::Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let mut layout = batch.layout();
    torch_ext::catch(|| {
        let positions = layout.positions(batch.tokens as i64).to_device(model.device());
        // The reference must round as the policy does in training.
        let hidden = model.hidden_states(&batch.input_ids, &positions, &mut layout, Pass::fused())?;
        Ok(batch.log_probs(&hidden, model.head())?.to_kind(Kind::Float))
    })
}

fn starts(pairs: &[Pair]) -> Vec<usize> {
    let entries = |sequence: &Sequence| sequence.response().count();
    let mut starts = vec![0];
    for pair in pairs {
        starts.push(starts[starts.len() - 1] + entries(&pair.chosen) + entries(&pair.rejected));
    }
    starts
}

fn short(text: &str) -> &str {
    text.get(..12).unwrap_or(text)
}
