//! Evaluations, checkpoints, and resuming from a checkpoint.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use llama::Llama;
use torch_ext::catch;

use super::Run;
use super::compute::advised;
use crate::objective::{Evaluation, Objective};
use crate::persist::checkpoint::Manifest;
use crate::persist::state::{self, Named};
use crate::persist::writer::{Part, PartFile, Writer, Written};
use crate::share::{To, whole};

/// File of the last weights, if the weights of a checkpoint are an average.
const LAST: &str = "last.safetensors";
/// File of the average of low-rank updates.
const AVERAGE: &str = "average.safetensors";
const MOMENTS: &str = "moments.safetensors";

/// A checkpoint that is complete on disk.
pub(super) struct Saved {
    written: Written,
    /// Seconds that training was paused for it.
    pause: f64,
    /// Whether a line about it is printed.
    shown: bool,
}

impl Saved {
    /// The line to print, if one is wanted.
    pub fn line(&self) -> Option<String> {
        let Written { path, bytes, seconds, .. } = &self.written;
        let gigabytes = *bytes as f64 / 1e9;
        let pause = self.pause;
        self.shown.then(|| {
            let path = path.display();
            format!("checkpoint {path} saved: {gigabytes:.2} GB, a pause of {pause:.2} s, written in {seconds:.1} s")
        })
    }
}

impl<O: Objective> Run<'_, O> {
    /// Collects tensors that are sharded over the processes, in the order of the trained weights.
    pub(super) fn whole(&self, own: Named, to: To) -> anyhow::Result<Named> {
        whole(self.world, own, &|name| self.optimizer.place(name), to)
    }

    /// Evaluates the weights that would be saved now and, if these are an average, also the last weights.
    pub(super) fn evaluate(&mut self) -> anyhow::Result<()> {
        let (objective, model) = (self.objective, self.model);
        let step = self.optimizer.steps();
        self.pulse.at(step, "evaluate", None);
        let world = self.world;
        let evaluated = |model: &Llama| {
            catch(|| objective.evaluate(model, world))
                .map_err(advised)
                .with_context(|| format!("the evaluation at step {step}"))
        };
        let last = evaluated(model)?;
        (self.evaluation, self.last_evaluation) = match &self.average {
            Some(average) if average.has_begun() && last.is_some() => {
                let tensors = self.whole(average.tensors(), To::All)?;
                let merged = match &self.settings.lora {
                    Some(lora) => {
                        let mut merged = model.without_adapter();
                        merged.merge_updates(lora, &tensors.iter().map(|(n, t)| (n.as_str(), t)).collect())?;
                        Some(merged)
                    }
                    None => None,
                };
                let saved = self.optimizer.with_weights(tensors, || evaluated(merged.as_ref().unwrap_or(model)))?;
                (saved, last)
            }
            _ => (last, None),
        };
        self.evaluated_at = step;
        Ok(())
    }

    /// Saves a checkpoint. All processes contribute their tensors, the first process copies them, and its writer continues in
    /// the background. Training is paused for the copy, and until an earlier checkpoint is written.
    pub(super) fn save(&mut self, writer: Option<&mut Writer>, asked: bool) -> anyhow::Result<Vec<Saved>> {
        let (start, step) = (Instant::now(), self.optimizer.steps());
        if self.settings.check_weights.is_some() {
            // A run returns to its checkpoints, so a checkpoint must not contain wrong weights.
            self.verify(step + 1)?;
        }
        self.saved = step;
        self.pulse.at(step, "save", None);
        let masters = self.optimizer.whole_masters(self.world)?;
        let moments = self.whole(self.optimizer.moments(), To::First)?;
        let average = match self.average.as_ref().filter(|average| average.has_begun()) {
            Some(average) => Some(self.whole(average.tensors(), To::First)?),
            None => None,
        };
        let Some(writer) = writer else { return Ok(Vec::new()) };
        let now = |evaluation: &Option<Evaluation>| evaluation.clone().filter(|_| self.evaluated_at == step);
        let manifest = Manifest {
            step,
            tokens: self.tokens,
            trained_tokens: self.trained_tokens,
            seconds: self.seconds,
            evaluation: now(&self.evaluation),
            last_evaluation: now(&self.last_evaluation),
            fingerprint: self.settings.fingerprint.clone(),
            files: Default::default(),
        };
        let weights = PartFile::Weights(self.settings.weights_file);
        let mut parts = match (average, self.settings.lora.is_some()) {
            (None, _) => vec![Part { file: weights, tensors: masters }],
            // A checkpoint's weights are those of its evaluation, here the average. A resume continues from the last weights.
            (Some(average), false) => {
                vec![Part { file: weights, tensors: average }, Part { file: PartFile::State(LAST), tensors: masters }]
            }
            (Some(average), true) => vec![
                Part { file: weights, tensors: masters },
                Part { file: PartFile::State(AVERAGE), tensors: average },
            ],
        };
        parts.push(Part { file: PartFile::State(MOMENTS), tensors: moments });
        let before = writer.wait()?;
        let mut saved: Vec<Saved> = before.map(|written| self.account(written)).into_iter().collect();
        let written = writer.write(manifest, parts)?;
        self.pause = start.elapsed().as_secs_f64();
        self.pending = (self.pause, asked);
        self.checkpoint_cost.seconds += self.pause;
        saved.extend(written.map(|written| self.account(written)));
        Ok(saved)
    }

    /// Adds a completed checkpoint to the totals.
    pub(super) fn account(&mut self, written: Written) -> Saved {
        let cost = &mut self.checkpoint_cost;
        cost.count += 1;
        cost.bytes += written.bytes;
        cost.writing_seconds += written.seconds;
        self.pulse.saved(written.step);
        let (pause, asked) = self.pending;
        Saved { shown: asked || pause + written.seconds > 1.0, pause, written }
    }

    pub(super) fn resume(&mut self, path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
        ensure!(
            manifest.fingerprint == self.settings.fingerprint,
            "{} is of a run with another configuration, model or data; choose another --output, or remove the folder to \
             start over",
            path.display()
        );
        let state = path.join("state");
        let mut weights = self.settings.weights_file.read(path)?;
        let mut averaged = None;
        if state.join(LAST).is_file() {
            averaged = Some(std::mem::replace(&mut weights, state::read(&state.join(LAST))?));
        } else if state.join(AVERAGE).is_file() {
            averaged = Some(state::read(&state.join(AVERAGE))?);
        }
        let moments = state::read(&state.join(MOMENTS))?;
        let restored = self.optimizer.restore(manifest.step, weights, moments, self.world);
        restored.with_context(|| path.display().to_string())?;
        if let (Some(average), Some(saved)) = (&mut self.average, averaged) {
            average
                .restore(manifest.step, saved)
                .map_err(|name| anyhow::anyhow!("{} has no average of {name}", path.display()))?;
        }
        self.tokens = manifest.tokens;
        self.trained_tokens = manifest.trained_tokens;
        self.seconds = manifest.seconds;
        self.evaluation = manifest.evaluation.clone();
        self.last_evaluation = manifest.last_evaluation.clone();
        self.evaluated_at = manifest.step;
        self.saved = manifest.step;
        Ok(())
    }
}
