//! A training stage: preferences in, a model or LoRA adapter out, trained with the loss of `loss.rs`.

use chat::{ChatTemplate, EncodeOptions, Tokenizer, Train};
use dataset::{Message, Preference, check};
use llama::{Head, Llama};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use trainer::stage::sources::{self, Examples, Limits, Sequence};
use trainer::stage::{
    self, Encoded, Encoder, Flags, Prepared, RecordError, Row, Setup, Sources, StageConfig, Training,
};
use trainer::{Evaluation, Example, Input, Loss, Metric, Objective, PackedBatch, World, evaluate};

use crate::loss::orpo_sum;

#[derive(clap::Args, Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    #[command(flatten)]
    #[serde(flatten)]
    training: Training,
    /// Weight of the odds-ratio term
    #[arg(long)]
    lambda: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { training: Training { learning_rate: 8e-6, batch_size: Some(32), ..Training::default() }, lambda: 0.1 }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.lambda >= 0.0, "--lambda is {}; it must be 0 or more", self.lambda);
        Ok(())
    }
}

pub fn run(flags: &Flags<Config>) -> anyhow::Result<()> {
    let resolved = flags.resolve()?;
    stage::run("orpo", &resolved, flags.dry_run, |setup| prepare(&resolved.config, setup)).map(drop)
}

fn prepare(config: &Config, setup: &Setup) -> anyhow::Result<Prepared<Orpo>> {
    let limits = Limits::new(&config.training, setup);
    let encoder = PairEncoder(&setup.model.tokenizer, setup.template()?, limits);
    let Sources { examples, account } = sources::load(&config.training, setup, &encoder)?;
    account.prepared(Orpo { examples, lambda: config.lambda, device: setup.device })
}

/// The chosen and the rejected answer behind their prompt.
type Pair = [Example; 2];

struct PairEncoder<'a>(&'a Tokenizer, &'a ChatTemplate, Limits);

impl Encoder for PairEncoder<'_> {
    type Example = Pair;

    fn encode(&self, row: &Row) -> Result<Encoded<Pair>, RecordError> {
        let mut preference = Preference::try_from(row.value.clone())?;
        check::fill_id(&mut preference.id, &row.place);
        check::is_preference(&preference)?;
        let side = |prompt: &[Message], answer: &[Message]| {
            let options = EncodeOptions { train: Train::LastTurn, ..EncodeOptions::default() };
            let encoded = chat::encode_conversation(self.0, self.1, &[prompt, answer].concat(), &options)?;
            Ok::<_, RecordError>(Example::of(&preference.id, encoded))
        };
        let pair = |prompt: &[Message]| Ok([side(prompt, &preference.chosen)?, side(prompt, &preference.rejected)?]);
        let excess = |pair: &Pair| self.2.excess("the pair", self.longest(pair));
        let mut encoded = Encoded::new(&preference.prompt);
        encoded.add(self.2.fit(&preference.prompt, pair, excess)?, |pair| self.longest(pair), |pair| pair);
        Ok(encoded)
    }

    fn id<'e>(&self, pair: &'e Pair) -> &'e str {
        &pair[0].id
    }

    fn sequences(&self, [chosen, rejected]: &Pair) -> Vec<Sequence> {
        vec![Sequence::of("chosen", chosen), Sequence::of("rejected", rejected)]
    }
}

struct Orpo {
    examples: Examples<Pair>,
    lambda: f64,
    device: Device,
}

impl Orpo {
    fn batches_of(&self, rows: Vec<Vec<&Pair>>) -> Vec<PackedBatch> {
        let batch = |pairs: Vec<&Pair>| PackedBatch::new(&pairs.into_iter().flatten().collect::<Vec<_>>(), self.device);
        rows.into_iter().map(batch).collect()
    }
}

impl Objective for Orpo {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.examples.steps()
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.examples.epoch(steps)
    }

    fn batches(&self, step: u64) -> Vec<PackedBatch> {
        self.batches_of(self.examples.rows(step))
    }

    fn normaliser(&self, batch: &PackedBatch) -> f64 {
        batch.example_ids.len() as f64 / 2.0
    }

    fn tokens(&self, batch: &PackedBatch) -> (u64, u64) {
        (batch.tokens as u64, batch.trained_tokens as u64)
    }

    fn example_ids<'b>(&self, batch: &'b PackedBatch) -> &'b [String] {
        &batch.example_ids
    }

    fn input<'b>(&self, batch: &'b PackedBatch) -> Input<'b> {
        Input { input_ids: &batch.input_ids, layout: batch.layout() }
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &PackedBatch) -> anyhow::Result<Loss> {
        let means = batch.mean_log_probs(hidden, head)?.reshape([-1, 2]);
        let (chosen, rejected) = (means.select(1, 0), means.select(1, 1));
        let right = chosen.gt_tensor(&rejected).sum(Kind::Double);
        let metrics = vec![Metric { name: "accuracy", sum: right.into(), weight: self.normaliser(batch) }];
        Ok(Loss { sum: orpo_sum(&chosen, &rejected, self.lambda), metrics })
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        evaluate(self, model, world, self.batches_of(self.examples.held_out_rows()))
    }
}
