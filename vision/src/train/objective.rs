//! The loss of an adapter: cross-entropy on the answers, after the cross-attention layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use llama::attention::Attend;
use llama::{Head, Llama, Pass};
use pictures::Limits;
use run::{Progress, RunFolder};
use tch::{Device, Tensor};
use trainer::stage::sources::Examples;
use trainer::{
    Ahead, Evaluation, Example, Extent, Extra, Input, Loss, Metric, Objective, PackedBatch, World, evaluate, placed,
};

use crate::adapter::{Adapter, AdapterConfig, ENCODER_PREFIX};
use crate::composed;
use crate::cross::through;
use crate::encoder::Encoder;
use crate::features::{Features, Kept};
use crate::sight::Sight;
use crate::train::data::{Seeing, View};

/// The file with the digests of the run's pictures.
const PICTURES: &str = "pictures.sha256";
/// Number of pictures whose states determine the statistics of a new adapter; they have thousands of positions.
const STATISTICS: usize = 64;
/// Placeholder of the image token while rows are processed.
const IMAGE: i64 = -1;

/// Examples, adapter and encoder with their loss.
pub struct VisionObjective {
    /// The examples.
    pub examples: Arc<Examples<Seeing>>,
    /// The trained adapter.
    pub adapter: Adapter,
    /// The encoder.
    pub encoder: Box<dyn Encoder>,
    /// The cache of its states, if it is not trained.
    pub features: Features,
    /// Whether the encoder is trained.
    pub trains_encoder: bool,
    /// Limits on the resources for a picture.
    pub limits: Limits,
    /// The device of the computation.
    pub device: Device,
    /// The content of `adapter.json` of the result.
    pub config: AdapterConfig,
    /// The folder that the encoder was read from.
    pub encoder_folder: PathBuf,
    /// Whether the adapter is new rather than continued.
    pub is_new: bool,
}

/// Examples in one row with their pictures.
pub struct Batch {
    packed: PackedBatch,
    /// The ids of the row, with [`IMAGE`] for the image token.
    ids: Vec<i64>,
    /// The positions of the image tokens, int64.
    images: Tensor,
    views: Vec<View>,
}

impl Batch {
    /// Concatenates examples into one row.
    #[must_use]
    pub fn new(examples: &[&Seeing], device: Device) -> Self {
        let plain: Vec<&Example> = examples.iter().map(|seeing| &seeing.example).collect();
        let (mut ids, mut images) = (Vec::new(), Vec::new());
        for seeing in examples {
            let start = ids.len();
            ids.extend(seeing.example.ids.iter().map(|id| i64::from(*id)));
            for at in &seeing.images {
                ids[start + at] = IMAGE;
                images.push((start + at) as i64);
            }
        }
        Self {
            packed: PackedBatch::new(&plain, device),
            ids,
            images: placed(Tensor::from_slice(&images), device),
            views: examples.iter().flat_map(|seeing| seeing.views.clone()).collect(),
        }
    }
}

impl Batch {
    /// The row with its targets and labels.
    #[must_use]
    pub fn packed(&self) -> &PackedBatch {
        &self.packed
    }

    /// The pictures of the row, in the order of their tokens.
    #[must_use]
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Final hidden states `[1, tokens, hidden]` from the embeddings of the row and the encoder's states of its pictures.
    ///
    /// # Errors
    /// When pictures and states do not match, shapes do not match, or memory is not sufficient.
    pub fn hidden_states(
        &self,
        model: &Llama,
        adapter: &Adapter,
        features: &[Tensor],
        embedded: Tensor,
        (positions, attend): (&Tensor, &mut dyn Attend),
        pass: Pass,
    ) -> anyhow::Result<Tensor> {
        let states = adapter.states(features)?;
        let sight = Sight::of_documents(&self.ids, self.ids.len(), &self.packed.documents, IMAGE, states)?;
        let embedded = adapter.with_image_tokens(&embedded, &self.images)?;
        Ok(through(model, adapter.cross_layers(), embedded, positions, (attend, pass), &sight)?)
    }
}

impl VisionObjective {
    fn pack(&self, rows: Vec<Vec<&Seeing>>) -> Vec<Batch> {
        pack(rows, self.device)
    }

    /// The encoder's states of a picture, `[places, width]`.
    fn features_of(&self, view: &View) -> anyhow::Result<Tensor> {
        if !self.trains_encoder {
            return Ok(match self.features.kept(&view.digest) {
                Kept::Whole(states) => states,
                // The folder may be shared with other runs.
                _ => self.features.add(self.encoder.as_ref(), &view.source, &self.limits, &view.digest)?,
            });
        }
        let bytes = view.source.read(&self.limits)?;
        Ok(self.encoder.encode(&pictures::decode(&bytes, &self.limits)?)?)
    }

    /// How far the gates are open. The values stay on the device until the step's numbers are read.
    fn gates(&self) -> Vec<Metric> {
        let layers = self.adapter.cross_layers();
        let (attention, feed_forward): (Vec<Tensor>, Vec<Tensor>) =
            layers.iter().map(|(_, layer)| layer.openness()).map(|(a, b)| (a.abs(), b.abs())).unzip();
        let Some(least) = attention.iter().chain(&feed_forward).map(Tensor::shallow_clone).reduce(|a, b| a.minimum(&b))
        else {
            return Vec::new();
        };
        let mean = |name, values: Vec<Tensor>| {
            let weight = values.len() as f64;
            values.into_iter().reduce(|a, b| a + b).map(|sum| Metric { name, sum: sum.into(), weight })
        };
        let means = [mean("gate_attention", attention), mean("gate_feed_forward", feed_forward)];
        // A gate that stays at 0 means that its layer has no effect.
        let least = Metric { name: "gate_least", sum: least.into(), weight: 1.0 };
        means.into_iter().flatten().chain([least]).collect()
    }

    fn views(&self) -> impl Iterator<Item = &View> {
        self.examples.train.iter().flatten().chain(&self.examples.held_out).flat_map(|seeing| &seeing.views)
    }

    /// Computes the missing states of pictures.
    fn prepare_features(&self) -> anyhow::Result<()> {
        let distinct: BTreeMap<&str, &View> = self.views().map(|view| (view.digest.as_str(), view)).collect();
        if let Some(folder) = self.features.file("").as_deref().and_then(Path::parent) {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let progress = Progress::new("pictures", Some(distinct.len()), 0);
        let (mut computed, mut damaged) = (0, 0);
        for (digest, view) in &distinct {
            match self.features.kept(digest) {
                Kept::Whole(_) => {}
                other => {
                    damaged += usize::from(matches!(other, Kept::Damaged));
                    computed += 1;
                    drop(self.features.add(self.encoder.as_ref(), &view.source, &self.limits, digest)?);
                }
            }
            progress.add(1);
        }
        let kept = distinct.len() - computed;
        println!(
            "Pictures\n  {} distinct ones: states of {computed} computed, of {kept} kept from before",
            distinct.len()
        );
        if damaged > 0 {
            println!("  {damaged} damaged files of states were computed again");
        }
        Ok(())
    }

    /// Gives a new adapter the statistics of the first pictures ([`Adapter::standardise`]). When a run resumes, the checkpoint's weights
    /// replace them.
    fn standardise(&mut self) -> anyhow::Result<()> {
        let first = self.examples.train.iter().flatten().flat_map(|seeing| &seeing.views).take(STATISTICS);
        let states = {
            let _no_grad = tch::no_grad_guard();
            first.map(|view| self.features_of(view)).collect::<anyhow::Result<Vec<_>>>()?
        };
        Ok(self.adapter.standardise(&states)?)
    }

    /// Refuses pictures that differ from those at the start of the run.
    fn same_pictures(&self, run: &RunFolder) -> anyhow::Result<()> {
        let all: Vec<&str> = self.views().map(|view| view.digest.as_str()).collect();
        let digest = dataset::digest::bytes(all.join("\n").as_bytes());
        let path = run.join(PICTURES);
        match std::fs::read_to_string(&path) {
            Ok(found) => ensure!(
                found.trim() == digest,
                "the pictures have changed since {} was started; choose another --output, or bring them back",
                run.path().display()
            ),
            Err(_) => dataset::write_file(&path, format!("{digest}\n").as_bytes())?,
        }
        Ok(())
    }
}

fn pack(rows: Vec<Vec<&Seeing>>, device: Device) -> Vec<Batch> {
    rows.into_iter().map(|row| Batch::new(&row, device)).collect()
}

impl Objective for VisionObjective {
    type Batch = Batch;

    fn steps(&self) -> u64 {
        self.examples.steps()
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.examples.epoch(steps)
    }

    fn batches(&self, step: u64) -> Vec<Batch> {
        self.pack(self.examples.rows(step))
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<Batch>>> {
        let (examples, device) = (self.examples.clone(), self.device);
        Ahead::start(from..self.steps(), move |step| Ok(pack(examples.rows(step), device))).map(Some)
    }

    fn normaliser(&self, batch: &Batch) -> f64 {
        batch.packed.normaliser
    }

    fn tokens(&self, batch: &Batch) -> (u64, u64) {
        (batch.packed.tokens as u64, batch.packed.trained_tokens as u64)
    }

    fn extent(&self) -> Option<Extent> {
        Some(self.examples.extent(|seeing| seeing.example.trained_tokens()))
    }

    fn example_ids<'a>(&self, batch: &'a Batch) -> &'a [String] {
        &batch.packed.example_ids
    }

    fn input<'a>(&self, batch: &'a Batch) -> Input<'a> {
        Input { input_ids: &batch.packed.input_ids, layout: batch.packed.layout() }
    }

    fn hidden_states(
        &self,
        model: &Llama,
        embedded: Tensor,
        (positions, attend): (&Tensor, &mut dyn Attend),
        pass: Pass,
        batch: &Batch,
    ) -> anyhow::Result<Tensor> {
        let features = batch.views.iter().map(|view| self.features_of(view)).collect::<anyhow::Result<Vec<_>>>()?;
        batch.hidden_states(model, &self.adapter, &features, embedded, (positions, attend), pass)
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &Batch) -> anyhow::Result<Loss> {
        Ok(Loss { sum: batch.packed.cross_entropy_sum(hidden, head)?, metrics: self.gates() })
    }

    fn extra(&self) -> Extra {
        let mut tensors = self.adapter.named_parameters();
        if self.trains_encoder {
            let own = self.encoder.named_parameters().into_iter();
            tensors.extend(own.map(|(name, tensor)| (format!("{ENCODER_PREFIX}{name}"), tensor)));
        }
        Extra { tensors, frozen: true, ..Extra::default() }
    }

    fn begin(&mut self, _: &Llama, run: &RunFolder, _: &World) -> anyhow::Result<()> {
        self.same_pictures(run)?;
        if !self.trains_encoder {
            self.prepare_features()?;
        }
        if self.is_new { self.standardise() } else { Ok(()) }
    }

    fn save(&self, target: &Path, weights: &[(String, Tensor)]) -> anyhow::Result<()> {
        Ok(composed::save(target, &self.config, weights, &self.encoder_folder)?)
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        evaluate(self, model, world, self.pack(self.examples.held_out_rows()))
    }
}
