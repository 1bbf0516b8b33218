//! What a stage brings to the training loop, and one micro-batch through model and loss.

use std::collections::BTreeMap;

use distributed::World;
use llama::attention::Layout;
use llama::{Llama, Operators, Pass, Recompute};
use run::RunFolder;
use tch::Tensor;
use torch_ext::catch;

use crate::Extra;
use crate::share::{Found, is_own, results};

/// Identifies one micro-batch. Every random choice is seeded from it, so that no state of a generator is in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RngPosition {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step, from 0.
    pub step: u64,
    /// The micro-batch of the step, from 0.
    pub micro_batch: u64,
}

impl RngPosition {
    /// A seed for each purpose: what is drawn for one (`dropout`, `noise`) has nothing to do with what is drawn for another.
    #[must_use]
    pub fn seed_for(&self, purpose: &str) -> u64 {
        use rand::Rng;
        let mut generator = crate::data::order::generator(self.seed, purpose, self.step);
        generator.set_stream(self.micro_batch);
        generator.next_u64()
    }
}

/// The input of a micro-batch.
pub struct Input<'a> {
    /// `[rows, seq]` int64
    pub input_ids: &'a Tensor,
    /// What stands in each row and who sees whom.
    pub layout: Layout<'a>,
}

/// The loss of a micro-batch, and what else a stage wants to see of it.
pub struct Loss {
    /// The loss, a sum over the micro-batch.
    pub sum: Tensor,
    /// Numbers that are logged beside it.
    pub metrics: Vec<Metric>,
}

impl From<Tensor> for Loss {
    fn from(sum: Tensor) -> Self {
        Self { sum, metrics: Vec::new() }
    }
}

/// A number that is logged beside the loss: of a step or an evaluation, `Σ sum / Σ weight` over its micro-batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name in `metrics.jsonl` and TensorBoard, such as `rewards/margins`.
    pub name: &'static str,
    /// The sum over the micro-batch.
    pub sum: f64,
    /// The number of terms, or the sum of their weights.
    pub weight: f64,
}

/// How a micro-batch is computed, apart from what is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computation {
    /// The operators; training takes the fused ones.
    pub operators: Operators,
    /// Of how many layers, from the first, activations are computed again in the backward pass instead of kept.
    pub recompute: usize,
}

/// How large micro-batches get: what a run's memory depends on beside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Tokens of the largest.
    pub tokens: u64,
    /// Places at which the head predicts, at most.
    pub targets: u64,
    /// Whether an optimizer step has several, so that the gradients of the first wait for the others.
    pub several: bool,
    /// Losses of a micro-batch that each hold a gradient of the output head; 0 where the stage has a head of its own.
    pub heads: u64,
    /// Whether the logits of all targets are held in float32 rather than those of a chunk.
    pub whole_logits: bool,
    /// Models of the same size that the stage holds beside the trained one, such as a reference.
    pub models: u64,
}

impl Extent {
    /// The extent of micro-batches, given by step, each with its tokens and its targets.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Vec<(usize, usize)>>) -> Self {
        let mut all = Self { heads: 1, ..Self::default() };
        for batches in steps {
            all.several |= batches.len() > 1;
            for (tokens, targets) in batches {
                all.tokens = all.tokens.max(tokens as u64);
                all.targets = all.targets.max(targets as u64);
            }
        }
        all
    }
}

/// Metrics of several micro-batches.
#[derive(Debug, Clone, Default)]
pub struct MetricSums(BTreeMap<String, (f64, f64)>);

impl MetricSums {
    /// Takes those of a micro-batch in.
    pub fn add(&mut self, metrics: &[Metric]) {
        metrics.iter().for_each(|metric| self.add_term(metric.name, metric.sum, metric.weight));
    }

    /// Takes one in.
    pub(crate) fn add_term(&mut self, name: &str, sum: f64, weight: f64) {
        let of = self.0.entry(name.to_owned()).or_default();
        *of = (of.0 + sum, of.1 + weight);
    }

    /// The mean of each that is a finite number.
    #[must_use]
    pub fn means(&self) -> BTreeMap<String, f64> {
        let mean = |(name, (sum, weight)): (&String, &(f64, f64))| (name.clone(), sum / weight);
        self.0.iter().map(mean).filter(|(_, mean)| mean.is_finite()).collect()
    }
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Mean loss; lower is better.
    pub loss: f64,
    /// Trained tokens of the held-out data.
    pub tokens: u64,
    /// A stage's own numbers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// A stage's data and loss. Everything it returns is a function of its arguments, so that a run can go on from any step.
pub trait Objective {
    /// A micro-batch.
    type Batch;

    /// Optimizer steps of the whole run.
    fn steps(&self) -> u64;

    /// Epochs done after so many steps.
    fn epoch(&self, steps: u64) -> f64;

    /// The micro-batches of an optimizer step.
    fn batches(&self, step: u64) -> Vec<Self::Batch>;

    /// The micro-batches of an optimizer step where they come from files, whose reading can fail; the loop asks for these.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn load(&self, step: u64) -> anyhow::Result<Vec<Self::Batch>> {
        Ok(self.batches(step))
    }

    /// What the batch brings to the step's normaliser: the loss of a step is the sum of its batches' [`Objective::loss`]
    /// over the sum of these.
    fn normaliser(&self, batch: &Self::Batch) -> f64;

    /// Tokens in the batch, and how many of them are trained.
    fn tokens(&self, batch: &Self::Batch) -> (u64, u64);

    /// How large micro-batches get, for the memory estimate; `None` where a stage does not say, which is then estimated from
    /// `micro_batch_tokens`. Called before [`Objective::begin`].
    fn extent(&self) -> Option<Extent> {
        None
    }

    /// Names of the examples in the batch, for messages.
    fn example_ids<'a>(&self, batch: &'a Self::Batch) -> &'a [String];

    /// What the model reads.
    fn input<'a>(&self, batch: &'a Self::Batch) -> Input<'a>;

    /// The batch's loss, a sum, from the final hidden states `[rows, seq, width]` and the output head `[vocab, width]`.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn loss(&self, hidden: &Tensor, head: &Tensor, batch: &Self::Batch) -> anyhow::Result<Loss>;

    /// Tensors that are trained beside the model, and what they change in its configuration; none unless a stage says
    /// otherwise.
    fn extra(&self) -> Extra {
        Extra::default()
    }

    /// Called once before training with the model that it starts from, also when a stopped run goes on: for what the stage
    /// computes with that model (log-probabilities of a reference). It may keep files in the run's folder. All processes of
    /// `world` call it; [`crate::share`] deals work out to them, and only the first one's files stay.
    ///
    /// # Errors
    /// What libtorch or the disk refuses.
    fn begin(&mut self, _model: &Llama, _run: &RunFolder, _world: &World) -> anyhow::Result<()> {
        Ok(())
    }

    /// Changes the embeddings `[rows, seq, width]` in training; as they are unless a stage says otherwise.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn perturb(&self, embedded: Tensor, _batch: &Self::Batch, _moment: RngPosition) -> anyhow::Result<Tensor> {
        Ok(embedded)
    }

    /// The loss on held-out data, if there are any: see [`evaluate`]. All processes of `world` call it, and all get the result.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn evaluate(&self, _model: &Llama, _world: &World) -> anyhow::Result<Option<Evaluation>> {
        Ok(None)
    }
}

/// The forward pass of a batch to its loss (a sum), without gradients, by the operators of training.
///
/// # Errors
/// As [`Objective::loss`].
pub fn forward<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> anyhow::Result<(f64, Vec<Metric>)> {
    let _no_grad = tch::no_grad_guard();
    catch(|| {
        let Input { input_ids, mut layout } = objective.input(batch);
        let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
        let hidden = model.hidden_states(input_ids, &positions, &mut layout, Pass::fused())?;
        let Loss { sum, metrics } = objective.loss(&hidden, model.head(), batch)?;
        Ok((f64::try_from(sum)?, metrics))
    })
}

/// The evaluation over `batches`, normalised over all of them; none if there are none. The processes of `world` deal them out;
/// the result is that of one process, number for number.
///
/// # Errors
/// As [`Objective::loss`].
pub fn evaluate<O: Objective>(
    objective: &O,
    model: &Llama,
    world: &World,
    batches: impl IntoIterator<Item = O::Batch>,
) -> anyhow::Result<Option<Evaluation>> {
    let (mut loss, mut weight, mut tokens, mut metrics) = (0.0, 0.0, 0, MetricSums::default());
    let mut own = Vec::new();
    for (number, batch) in batches.into_iter().enumerate() {
        weight += objective.normaliser(&batch);
        tokens += objective.tokens(&batch).1;
        if is_own(world, number) {
            let (sum, more) = forward(objective, model, &batch)?;
            own.push(Found::new(sum, &more));
        }
    }
    for found in results(world, "evaluation", own)? {
        loss += found.sum();
        found.add_to(&mut metrics);
    }
    Ok((weight > 0.0).then(|| Evaluation { loss: loss / weight, tokens, metrics: metrics.means() }))
}

/// Forward and backward pass of a batch. Gradients of `loss / normaliser` are added to the leaves' own; the loss (a sum) and
/// the stage's metrics are returned.
///
/// # Errors
/// As [`Objective::loss`].
pub fn forward_backward<O: Objective>(
    objective: &O,
    model: &Llama,
    batch: &O::Batch,
    moment: RngPosition,
    normaliser: f64,
    Computation { operators, recompute }: Computation,
) -> anyhow::Result<(f64, Vec<Metric>)> {
    let pass = Pass { operators, dropout: Some(moment.seed_for("dropout")) };
    catch(|| {
        let Input { input_ids, mut layout } = objective.input(batch);
        let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
        let embedded = objective.perturb(model.embed(input_ids)?, batch, moment)?;
        let mut metrics = Vec::new();
        let mut loss = |hidden: &Tensor| {
            let loss = objective.loss(hidden, model.head(), batch)?;
            metrics = loss.metrics;
            anyhow::Ok(loss.sum / normaliser)
        };
        let mean = if recompute > 0 {
            Recompute::forward_first(recompute, model, embedded, &positions, &mut layout, pass)?
                .backward(&mut layout, loss)?
        } else {
            let mean = loss(&model.hidden_states_of(embedded, &positions, &mut layout, pass)?)?;
            mean.backward();
            mean
        };
        Ok((f64::try_from(mean)? * normaliser, metrics))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_means_over_all_micro_batches() {
        let mut sums = MetricSums::default();
        sums.add(&[Metric { name: "margin", sum: 3.0, weight: 1.0 }, Metric { name: "none", sum: 0.0, weight: 0.0 }]);
        sums.add(&[Metric { name: "margin", sum: 1.0, weight: 3.0 }]);
        assert_eq!(sums.means(), BTreeMap::from([("margin".to_owned(), 1.0)]));
    }

    #[test]
    fn an_extent_is_the_largest_of_each() {
        let expected = Extent { tokens: 90, targets: 40, several: false, heads: 1, ..Extent::default() };
        assert_eq!(Extent::of([vec![(90, 10)], vec![(50, 40)]]), expected);
        assert!(Extent::of([vec![(90, 10)], vec![(50, 40), (1, 1)]]).several);
    }
}
