//! The measurements of a gate: the loss of short texts, paired with the model before the first stage, and needles at the new length.

use std::path::Path;

use ::eval::record::Sample;
use anyhow::{Context as _, ensure};
use dataset::jsonl;
use longctx::documents::Document;
use longctx::needles::Wording;
use longctx::task::World;
use sampler::{Local, Sampler};
use serde::{Deserialize, Serialize};

use super::machine::{Depth, Findings, Short};
use super::tasks::{self, ShortTasks};
use crate::eval::items::{Counts, Maker, Task, plan};
use crate::eval::{ask, figures};

/// The loss of one short text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortLoss {
    /// The document and the number of the piece.
    pub id: String,
    /// Tokens predicted.
    pub tokens: usize,
    /// The mean negative log-likelihood of a token, in nats.
    pub nll: f64,
}

/// Pieces of held-out documents whose loss is measured, as token ids.
#[derive(Debug)]
pub struct ShortTexts {
    pieces: Vec<(String, Vec<i64>)>,
}

/// Number of pieces scored in one batch.
const TOGETHER: usize = 8;

impl ShortTexts {
    /// Takes at most `items` pieces of at most `window` tokens. Documents take turns, so that each contributes.
    ///
    /// # Errors
    /// When there are fewer than two pieces, or the tokenizer fails.
    pub fn new(
        documents: &[Document],
        tokenizer: &chat::Tokenizer,
        items: usize,
        window: usize,
    ) -> anyhow::Result<Self> {
        let mut of_document: Vec<(String, Vec<Vec<i64>>)> = Vec::new();
        for document in documents {
            let ids = tokenizer.encode(&document.paragraphs.join("\n\n"), true)?;
            let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
            let whole: Vec<Vec<i64>> =
                ids.chunks(window).filter(|piece| piece.len() >= 2).map(<[i64]>::to_vec).collect();
            of_document.push((document.name.clone(), whole));
        }
        let mut pieces = Vec::new();
        for round in 0.. {
            let before = pieces.len();
            for (name, whole) in &of_document {
                if let (Some(piece), true) = (whole.get(round), pieces.len() < items) {
                    pieces.push((format!("{name}#{round}"), piece.clone()));
                }
            }
            if pieces.len() == before {
                break;
            }
        }
        ensure!(
            pieces.len() >= 2,
            "the short texts kept for gates give {} pieces; a comparison needs at least 2: give more --short (or --texts), of whose \
             documents a fifth is kept by their SHA-256",
            pieces.len()
        );
        Ok(Self { pieces })
    }

    /// Measures the losses, and keeps them in `path`.
    ///
    /// # Errors
    /// When the model fails or the disk cannot be written.
    pub fn losses(&self, model: &Local, path: &Path) -> anyhow::Result<Vec<ShortLoss>> {
        if path.exists() {
            return Ok(jsonl::read_all(path)?);
        }
        let mut losses = Vec::new();
        for pieces in self.pieces.chunks(TOGETHER) {
            let pairs: Vec<(Vec<i64>, Vec<i64>)> =
                pieces.iter().map(|(_, ids)| (ids[..1].to_vec(), ids[1..].to_vec())).collect();
            for ((id, _), log_probs) in pieces.iter().zip(model.log_probs(&pairs)?) {
                let nll = -log_probs.iter().map(|&x| f64::from(x)).sum::<f64>() / log_probs.len() as f64;
                ensure!(nll.is_finite(), "{id}: the loss is {nll}; the model's weights are broken");
                losses.push(ShortLoss { id: id.clone(), tokens: log_probs.len(), nll });
            }
        }
        jsonl::write_all(path, losses.iter())?;
        Ok(losses)
    }
}

/// The material that gates measure with.
pub struct Gate<'a> {
    /// Haystacks of the evaluation side, and the tokenizer.
    pub world: &'a World,
    /// The wording of needles.
    pub wording: &'a Wording,
    /// Depths from 0 to 1.
    pub depths: &'a [f64],
    /// Haystacks for each length.
    pub haystacks: u64,
    /// The short texts.
    pub short: &'a ShortTexts,
    /// The losses of the short texts before the first stage.
    pub before: &'a [ShortLoss],
    /// Short benchmarks.
    pub tasks: &'a ShortTasks,
    /// The answers to the short benchmarks before the first stage.
    pub tasks_before: &'a [Sample],
    /// Seeds the needles.
    pub seed: u64,
}

impl Gate<'_> {
    /// Measures a model at a length, or resumes the measurement; `folder` keeps losses and answers.
    ///
    /// # Errors
    /// When the model cannot be asked, or the needles do not fit into the length or the texts.
    pub fn measure(
        &self,
        sampler: &mut Sampler,
        length: usize,
        folder: &Path,
        fingerprint: &str,
    ) -> anyhow::Result<Findings> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let local = sampler.local().context("a gate measures a model in this process")?;
        let losses = self.short.losses(local, &folder.join("short.jsonl"))?;
        let mut short = vec![compare(self.before, &losses)?];
        let answers = self.tasks.ask(sampler, &folder.join("tasks"), fingerprint)?;
        short.extend(tasks::compare(self.tasks_before, &answers)?);
        let counts =
            Counts { lengths: vec![length], depths: self.depths.to_vec(), haystacks: self.haystacks, samples: 0 };
        let maker = Maker {
            world: self.world,
            passages: None,
            wording: self.wording,
            depths: self.depths,
            shared: true,
            several: (0, 0),
            seed: self.seed,
        };
        let plan = plan(&[Task::Niah], &counts);
        let samples = ask::ask(&folder.join("needles.jsonl"), fingerprint, sampler, &plan, &maker)?;
        let grid = figures::grid(&samples);
        let needles = grid
            .iter()
            .map(|(depth, row)| {
                let (found, of) = row.get(&length).copied().unwrap_or_default();
                Depth { depth: f64::from(*depth) / 10.0, found, of }
            })
            .collect();
        Ok(Findings { length, short, needles })
    }
}

/// The paired comparison of the losses of the same pieces.
fn compare(before: &[ShortLoss], now: &[ShortLoss]) -> anyhow::Result<Short> {
    let ids = |losses: &[ShortLoss]| losses.iter().map(|loss| loss.id.clone()).collect::<Vec<_>>();
    ensure!(ids(before) == ids(now), "the short texts of a gate are not those from before the first stage");
    let of = |losses: &[ShortLoss]| losses.iter().map(|loss| loss.nll).collect::<Vec<_>>();
    Ok(Short::paired("short loss", &of(before), &of(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_is_of_the_same_pieces() {
        let loss = |id: &str, nll| ShortLoss { id: id.into(), tokens: 9, nll };
        let short = compare(&[loss("a", 1.0), loss("b", 2.0)], &[loss("a", 1.5), loss("b", 2.5)]).unwrap();
        assert!((short.worse_at_least - 0.5).abs() < 1e-12 && short.items == 2);
        assert!(compare(&[loss("a", 1.0)], &[loss("b", 1.0)]).is_err());
    }
}
