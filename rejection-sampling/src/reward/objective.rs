//! Packs ranked groups into rows and computes their loss.

use std::path::PathBuf;
use std::sync::Arc;

use llama::attention::Layout;
use llama::{Head, Llama, Pass};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use trainer::stage::sources::Examples;
use trainer::{Ahead, Evaluation, Extent, Extra, Input, Loss, Metric, Objective, RunFolder, World, placed, share};

use super::calibration::Calibration;
use super::data::Ranked;
use super::group::Row;
use super::loss::{margins, ranking_loss_sum};

/// The file with the calibration of the last evaluation.
pub const CALIBRATION: &str = "calibration.json";

/// The objective of a reward model.
pub struct RewardObjective {
    /// The groups.
    pub examples: Arc<Examples<Ranked>>,
    /// The device of the computation.
    pub device: Device,
    /// The head, `[1, hidden]` in float32, since its product is computed in float32.
    pub score: Tensor,
    /// The architecture's name and the padding token, for `config.json`.
    pub architecture: (&'static str, u32),
    /// The file for the calibration; each evaluation overwrites it.
    pub calibration: Option<PathBuf>,
}

/// Groups in one row with their pairs.
pub struct Batch {
    row: Row,
    better: Tensor,
    worse: Tensor,
    pairs: usize,
    ids: Vec<String>,
    tokens: usize,
}

impl Batch {
    /// Lays out groups one after another.
    #[must_use]
    pub fn new(ranked: &[&Ranked], device: Device) -> Self {
        let (mut better, mut worse, mut start) = (Vec::new(), Vec::new(), 0);
        for group in ranked {
            for (a, b) in group.pairs() {
                better.push((start + a) as i64);
                worse.push((start + b) as i64);
            }
            start += group.group.responses.len();
        }
        let groups: Vec<_> = ranked.iter().map(|ranked| &ranked.group).collect();
        Self {
            pairs: better.len(),
            better: placed(Tensor::from_slice(&better), device),
            worse: placed(Tensor::from_slice(&worse), device),
            ids: ranked.iter().map(|ranked| ranked.id.clone()).collect(),
            tokens: groups.iter().map(|group| group.tokens()).sum(),
            row: Row::new(&groups, device),
        }
    }
}

impl RewardObjective {
    fn pack(&self, rows: Vec<Vec<&Ranked>>) -> Vec<Batch> {
        pack(rows, self.device)
    }

    /// The score of each response, float32, from the final hidden states `[1, tokens, hidden]`.
    fn scores(&self, hidden: &Tensor, batch: &Batch) -> anyhow::Result<Tensor> {
        let last = hidden.squeeze_dim(0).index_select(0, &batch.row.last).to_kind(Kind::Float);
        Ok(torch_ext::linear(&last, &self.score, None)?.squeeze_dim(-1))
    }
}

fn pack(rows: Vec<Vec<&Ranked>>, device: Device) -> Vec<Batch> {
    rows.into_iter().map(|row| Batch::new(&row, device)).collect()
}

impl Objective for RewardObjective {
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
        batch.pairs as f64
    }

    fn tokens(&self, batch: &Batch) -> (u64, u64) {
        // The tokens that the loss reads: the last token of each response.
        (batch.tokens as u64, batch.row.last.numel() as u64)
    }

    fn extent(&self) -> Option<Extent> {
        Some(Extent { heads: 0, ..self.examples.extent(|ranked| ranked.group.responses.len()) })
    }

    fn example_ids<'a>(&self, batch: &'a Batch) -> &'a [String] {
        &batch.ids
    }

    fn input<'a>(&self, batch: &'a Batch) -> Input<'a> {
        Input { input_ids: &batch.row.input_ids, layout: Layout::SharedPrompt(&batch.row.groups) }
    }

    fn loss(&self, hidden: &Tensor, _: Head, batch: &Batch) -> anyhow::Result<Loss> {
        let scores = self.scores(hidden, batch)?;
        let sum = ranking_loss_sum(&scores, &batch.better, &batch.worse);
        let margins = margins(&scores, &batch.better, &batch.worse).detach();
        let weight = batch.pairs as f64;
        let metric = |name, values: &Tensor| Metric { name, sum: values.sum(Kind::Double).into(), weight };
        let metrics = vec![metric("accuracy", &margins.gt(0.0)), metric("margin", &margins)];
        Ok(Loss { sum, metrics })
    }

    fn extra(&self) -> Extra {
        let (architecture, pad) = self.architecture;
        let mut config = Map::new();
        config.insert("architectures".into(), json!([architecture]));
        config.insert("id2label".into(), json!({"0": "LABEL_0"}));
        config.insert("label2id".into(), json!({"LABEL_0": 0}));
        config.insert("pad_token_id".into(), Value::from(pad));
        Extra {
            tensors: vec![("score.weight".into(), self.score.shallow_clone())],
            config,
            replaces_head: true,
            frozen: false,
            task_type: Some("SEQ_CLS".into()),
        }
    }

    fn begin(&mut self, _: &Llama, run: &RunFolder, world: &World) -> anyhow::Result<()> {
        self.calibration = world.is_first().then(|| run.join(CALIBRATION));
        Ok(())
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        if self.examples.held_out.is_empty() {
            return Ok(None);
        }
        let _no_grad = tch::no_grad_guard();
        let (mut own, mut tokens) = (Vec::new(), 0);
        for (number, batch) in self.pack(self.examples.held_out_rows()).into_iter().enumerate() {
            tokens += self.tokens(&batch).1;
            if !share::is_own(world, number) {
                continue;
            }
            let Input { input_ids, mut layout } = self.input(&batch);
            let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
            let scores =
                self.scores(&model.hidden_states(input_ids, &positions, &mut layout, Pass::fused())?, &batch)?;
            let margins = Vec::<f64>::try_from(margins(&scores, &batch.better, &batch.worse).to_kind(Kind::Double))?;
            // Text would round them.
            own.push(margins.into_iter().map(f64::to_bits).collect::<Vec<u64>>());
        }
        let all = share::results(world, "margins", own)?;
        let all: Vec<f64> = all.into_iter().flatten().map(f64::from_bits).collect();
        let calibration = Calibration::of(&all);
        if let Some(path) = &self.calibration {
            dataset::write_file(path, &serde_json::to_vec_pretty(&calibration)?)?;
        }
        let metrics = [("accuracy", calibration.accuracy.value), ("calibration error", calibration.ece)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(Some(Evaluation { loss: calibration.loss, tokens, metrics }))
    }
}
