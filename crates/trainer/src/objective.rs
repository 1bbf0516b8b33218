//! The interface between a stage and the training loop, and the forward and backward pass of one micro-batch.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use distributed::World;
use llama::attention::{Attend, Layout};
use llama::{Head, Llama, Operators, Pass, Recompute};
use run::RunFolder;
use tch::Tensor;
use torch_ext::catch;

use crate::Extra;
use crate::ahead::Ahead;
use crate::context::{Share, SharedRow};
use crate::reading::{Pending, read};
use crate::share::{Found, is_own, results};

/// Identifies one micro-batch. Every random choice is seeded from it, so a checkpoint stores no generator state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RngPosition {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step, from 0.
    pub step: u64,
    /// Index of the micro-batch in the step, from 0.
    pub micro_batch: u64,
}

impl RngPosition {
    /// A seed for one purpose. The random numbers of different purposes (`dropout`, `noise`) are independent.
    #[must_use]
    pub fn seed_for(&self, purpose: &str) -> u64 {
        use rand::Rng;
        let mut generator = crate::data::order::generator(self.seed, purpose, self.step);
        generator.set_stream(self.micro_batch);
        generator.next_u64()
    }
}

/// The model input of one micro-batch.
pub struct Input<'a> {
    /// Token ids, `[rows, seq]` int64.
    pub input_ids: &'a Tensor,
    /// The boundaries of the sequences in each row, which decide positions and attention.
    pub layout: Layout<'a>,
}

/// The loss of a micro-batch, and the metrics that the stage logs.
pub struct Loss {
    /// The loss as a sum over the micro-batch, a scalar tensor.
    pub sum: Tensor,
    /// Metrics that are logged beside the loss.
    pub metrics: Vec<Metric>,
}

impl From<Tensor> for Loss {
    fn from(sum: Tensor) -> Self {
        Self { sum, metrics: Vec::new() }
    }
}

/// A metric that is logged beside the loss. Its value for a step or an evaluation is `Σ sum / Σ weight` over the micro-batches.
#[derive(Debug)]
pub struct Metric {
    /// Name in `metrics.jsonl` and TensorBoard, such as `rewards/margins`.
    pub name: &'static str,
    /// Sum of its terms over the micro-batch.
    pub sum: Sum,
    /// Number of terms, or the sum of their weights.
    pub weight: f64,
}

/// The sum of a metric.
#[derive(Debug)]
pub enum Sum {
    /// A number.
    Number(f64),
    /// A scalar tensor where the loss was computed. It is read once a step, together with all others, so that the host does not
    /// wait for a GPU in every micro-batch.
    Scalar(Tensor),
}

impl From<f64> for Sum {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Tensor> for Sum {
    fn from(scalar: Tensor) -> Self {
        Self::Scalar(scalar)
    }
}

impl Sum {
    /// The number; waits for a GPU if it is there.
    #[must_use]
    pub fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Scalar(scalar) => scalar.double_value(&[]),
        }
    }
}

/// Settings of a forward and backward pass that change memory, speed and rounding, but not the mathematical result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computation {
    /// Implementation of the operators; training uses the fused ones.
    pub operators: Operators,
    /// Number of layers, counted from the first, whose activations are recomputed in the backward pass instead of kept.
    pub recompute: usize,
}

/// Upper bounds on the size of micro-batches. Together with the model they determine the memory of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Tokens of the largest micro-batch.
    pub tokens: u64,
    /// Largest number of positions in a micro-batch for which logits are computed.
    pub targets: u64,
    /// Whether an optimizer step has several micro-batches, so that gradients are accumulated over them.
    pub several: bool,
    /// Number of losses in a micro-batch that each hold a gradient of the output head; 0 if the stage has its own head.
    pub heads: u64,
    /// Whether the logits of all targets are held in float32 at once, instead of those of one chunk.
    pub whole_logits: bool,
    /// Number of further models of the same size that the stage holds, such as a reference model.
    pub models: u64,
}

impl Extent {
    /// Computes the extent from the micro-batches of each step, each given as (tokens, targets).
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

/// Accumulates the metrics of several micro-batches.
#[derive(Debug, Clone, Default)]
pub struct MetricSums(BTreeMap<String, (f64, f64)>);

impl MetricSums {
    /// Adds the metrics of a micro-batch.
    pub fn add(&mut self, metrics: &[Metric]) {
        metrics.iter().for_each(|metric| self.add_term(metric.name, metric.sum.number(), metric.weight));
    }

    /// Adds one metric.
    pub(crate) fn add_term(&mut self, name: &str, sum: f64, weight: f64) {
        let of = self.0.entry(name.to_owned()).or_default();
        *of = (of.0 + sum, of.1 + weight);
    }

    /// The mean of each metric, without means that are not finite.
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
    /// Metrics of the stage, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// A stage's data and loss. Every return value must be a function of the arguments, so that a run can resume at any step.
pub trait Objective {
    /// The data of one micro-batch.
    type Batch;

    /// Number of optimizer steps of the whole run.
    fn steps(&self) -> u64;

    /// Number of epochs completed after `steps` steps, with its fraction.
    fn epoch(&self, steps: u64) -> f64;

    /// The micro-batches of an optimizer step. Steps count from 0.
    fn batches(&self, step: u64) -> Vec<Self::Batch>;

    /// Like [`Objective::batches`], for stages that read micro-batches from files, which can fail. The loop calls this method.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn load(&self, step: u64) -> anyhow::Result<Vec<Self::Batch>> {
        Ok(self.batches(step))
    }

    /// The micro-batches of the steps from `from` on, built ahead by another thread: the same as [`Objective::load`]'s. By
    /// default there is none, and the loop builds micro-batches when it needs them.
    ///
    /// # Errors
    /// When no thread can be started.
    fn ahead(&self, _from: u64) -> anyhow::Result<Option<Ahead<Self::Batch>>> {
        Ok(None)
    }

    /// The batch's contribution to the normaliser of the step. The loss of a step is the sum of [`Objective::loss`] over its
    /// batches, divided by the sum of these values.
    fn normaliser(&self, batch: &Self::Batch) -> f64;

    /// Number of tokens in the batch, and how many of them are trained.
    fn tokens(&self, batch: &Self::Batch) -> (u64, u64);

    /// Upper bounds on the size of micro-batches, for the memory estimate. With `None` the estimate uses `micro_batch_tokens`.
    /// Called before [`Objective::begin`].
    fn extent(&self) -> Option<Extent> {
        None
    }

    /// Names of the examples in the batch, for messages.
    fn example_ids<'a>(&self, batch: &'a Self::Batch) -> &'a [String];

    /// The model input of the batch.
    fn input<'a>(&self, batch: &'a Self::Batch) -> Input<'a>;

    /// The loss of the batch as a sum, computed from the final hidden states `[rows, seq, width]` and the output head.
    ///
    /// # Errors
    /// When libtorch reports an error.
    fn loss(&self, hidden: &Tensor, head: Head, batch: &Self::Batch) -> anyhow::Result<Loss>;

    /// Called with the metrics of each micro-batch of a step that this process has computed, once they are read, for a stage
    /// that warns.
    fn seen(&self, _metrics: &[Metric]) {}

    /// Tensors that are trained beside the model, and their changes to the model's configuration; none by default.
    fn extra(&self) -> Extra {
        Extra::default()
    }

    /// Called once before training, also when a stopped run resumes, with the model that training starts from. A stage computes
    /// here what it needs from that model, such as log-probabilities of a reference. It may keep files in the run's folder. All
    /// processes of `world` call it; [`crate::share`] divides work among them. Only the first process's files are kept.
    ///
    /// # Errors
    /// When libtorch or the file system reports an error.
    fn begin(&mut self, _model: &Llama, _run: &RunFolder, _world: &World) -> anyhow::Result<()> {
        Ok(())
    }

    /// With context parallelism, this process's part of a batch: its tokens, their labels and their positions; the layout's
    /// documents are those of the whole row.
    ///
    /// # Errors
    /// When the stage cannot do that.
    fn share(&self, _batch: &Self::Batch, _share: &Share) -> anyhow::Result<Self::Batch> {
        bail!("--context-parallel is for stages whose loss is of single tokens (sft, pretrain): leave it out")
    }

    /// Changes the embeddings `[rows, seq, width]` in training; returns them unchanged by default.
    ///
    /// # Errors
    /// When libtorch reports an error.
    fn perturb(&self, embedded: Tensor, _batch: &Self::Batch, _moment: RngPosition) -> anyhow::Result<Tensor> {
        Ok(embedded)
    }

    /// The final hidden states `[rows, seq, width]` of a batch from its embeddings at `positions`, `[rows, seq]` int64: the
    /// model's own pass, unless a stage has layers between those of the model. A stage that has computes them here, and is
    /// trained without `recompute`, which runs the model's layers alone.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn hidden_states(
        &self,
        model: &Llama,
        embedded: Tensor,
        (positions, attend): (&Tensor, &mut dyn Attend),
        pass: Pass,
        _batch: &Self::Batch,
    ) -> anyhow::Result<Tensor> {
        Ok(model.hidden_states_of(embedded, positions, attend, pass)?)
    }

    /// Writes the result into the new folder `target`, from the trained float32 weights, where [`Extra::frozen`] leaves the
    /// language model as it is.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    fn save(&self, _target: &Path, _weights: &[(String, Tensor)]) -> anyhow::Result<()> {
        bail!("this stage leaves the language model as it is, and writes no result of its own")
    }

    /// The loss on held-out data, or `None` if there is no held-out data; see [`evaluate`]. All processes of `world` call it,
    /// and all get the result.
    ///
    /// # Errors
    /// When libtorch reports an error.
    fn evaluate(&self, _model: &Llama, _world: &World) -> anyhow::Result<Option<Evaluation>> {
        Ok(None)
    }
}

/// Computes the loss of a batch (a sum) and its metrics without gradients, with the operators of training.
///
/// # Errors
/// The same as [`Objective::loss`].
pub fn forward<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> anyhow::Result<(f64, Vec<Metric>)> {
    let _no_grad = tch::no_grad_guard();
    catch(|| {
        let Input { input_ids, mut layout } = objective.input(batch);
        let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
        let embedded = model.embed(input_ids)?;
        let attend: &mut dyn Attend = &mut layout;
        let hidden = objective.hidden_states(model, embedded, (&positions, attend), Pass::fused(), batch)?;
        let Loss { sum, metrics } = objective.loss(&hidden, model.head(), batch)?;
        one(Pending { mean: sum, normaliser: 1.0, metrics })
    })
}

/// Reads what one micro-batch gave.
fn one(pending: Pending) -> anyhow::Result<(f64, Vec<Metric>)> {
    let (mut found, _) = read(vec![pending], None)?;
    found.pop().context("a micro-batch without a loss")
}

/// Evaluates `batches`, normalised over all of them; `None` if there are no batches. The batches are divided among the
/// processes of `world`. The result is bit-equal to that of one process.
///
/// # Errors
/// The same as [`Objective::loss`].
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

/// Runs the forward and backward pass of a batch. Adds the gradients of `loss / normaliser` to those of the leaf tensors.
/// Returns the loss (a sum) and the stage's metrics.
///
/// # Errors
/// The same as [`Objective::loss`].
pub fn forward_backward<O: Objective>(
    objective: &O,
    model: &Llama,
    batch: &O::Batch,
    moment: RngPosition,
    normaliser: f64,
    how: Computation,
) -> anyhow::Result<(f64, Vec<Metric>)> {
    one(forward_backward_in(objective, model, batch, moment, normaliser, how, None)?)
}

/// The same without reading the results. If the processes of a world divide the rows, the batch is a share
/// ([`Objective::share`]), and so is the loss.
pub(crate) fn forward_backward_in<O: Objective>(
    objective: &O,
    model: &Llama,
    batch: &O::Batch,
    moment: RngPosition,
    normaliser: f64,
    Computation { operators, recompute }: Computation,
    shared: Option<&World>,
) -> anyhow::Result<Pending> {
    let pass = Pass { operators, dropout: Some(moment.seed_for("dropout")) };
    catch(|| {
        let Input { input_ids, mut layout } = objective.input(batch);
        let positions = layout.positions(input_ids.size()[1]).to_device(model.device());
        let mut shared = match (shared, layout) {
            (None, _) => None,
            (Some(world), Layout::Packed(documents) | Layout::PackedAt { documents, .. }) if documents.len() == 1 => {
                Some(SharedRow::new(world, &documents[0])?)
            }
            _ => bail!("--context-parallel is for rows of documents that do not see each other: leave it out"),
        };
        let attend: &mut dyn Attend = match &mut shared {
            Some(shared) => shared,
            None => &mut layout,
        };
        let embedded = objective.perturb(model.embed(input_ids)?, batch, moment)?;
        let mut metrics = Vec::new();
        let mut loss = |hidden: &Tensor| {
            let loss = objective.loss(hidden, model.head(), batch)?;
            metrics = loss.metrics;
            anyhow::Ok(loss.sum / normaliser)
        };
        let mean = if recompute > 0 {
            Recompute::forward_first(recompute, model, embedded, &positions, attend, pass)?.backward(attend, loss)?
        } else {
            let mean = loss(&objective.hidden_states(model, embedded, (&positions, attend), pass, batch)?)?;
            mean.backward();
            mean
        };
        // It is kept until the end of the step, its graph is not.
        Ok(Pending { mean: mean.detach(), normaliser, metrics })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_means_over_all_micro_batches() {
        let mut sums = MetricSums::default();
        let metric = |name, sum: f64, weight| Metric { name, sum: sum.into(), weight };
        sums.add(&[metric("margin", 3.0, 1.0), metric("none", 0.0, 0.0)]);
        sums.add(&[metric("margin", 1.0, 3.0)]);
        assert_eq!(sums.means(), BTreeMap::from([("margin".to_owned(), 1.0)]));
    }

    #[test]
    fn an_extent_is_the_largest_of_each() {
        let expected = Extent { tokens: 90, targets: 40, several: false, heads: 1, ..Extent::default() };
        assert_eq!(Extent::of([vec![(90, 10)], vec![(50, 40)]]), expected);
        assert!(Extent::of([vec![(90, 10)], vec![(50, 40), (1, 1)]]).several);
    }
}
