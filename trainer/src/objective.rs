//! What a stage brings to the training loop, and one micro-batch through model and loss.

use llama::attention::{Packed, packed_positions};
use llama::{Llama, Recompute};
use tch::Tensor;

/// Where a random choice of a step stands, to seed it: never the choices made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step, from 0.
    pub step: u64,
    /// The micro-batch of the step, from 0.
    pub micro_batch: u64,
}

impl Moment {
    /// A seed for libtorch's generator.
    #[must_use]
    pub fn torch_seed(&self) -> i64 {
        use rand::Rng;
        crate::order::generator(self.seed, "torch", self.step << 20 | self.micro_batch).next_u64() as i64
    }
}

/// The input of a micro-batch.
pub struct Input<'a> {
    /// `[rows, seq]` int64
    pub input_ids: &'a Tensor,
    /// Lengths of the documents of each row.
    pub documents: &'a [Vec<i64>],
}

/// The result of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Mean loss; lower is better.
    pub loss: f64,
    /// Tokens that it is the mean of.
    pub tokens: u64,
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

    /// What the batch brings to the step's normaliser: the loss of a step is the sum of its batches' [`Objective::loss`]
    /// over the sum of these.
    fn normaliser(&self, batch: &Self::Batch) -> f64;

    /// Tokens in the batch, and how many of them are trained.
    fn tokens(&self, batch: &Self::Batch) -> (u64, u64);

    /// Names of the examples in the batch, for messages.
    fn example_ids<'a>(&self, batch: &'a Self::Batch) -> &'a [String];

    /// What the model reads.
    fn input<'a>(&self, batch: &'a Self::Batch) -> Input<'a>;

    /// The batch's loss, a sum, from the final hidden states `[rows, seq, width]` and the output head `[vocab, width]`.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn loss(&self, hidden: &Tensor, head: &Tensor, batch: &Self::Batch) -> anyhow::Result<Tensor>;

    /// Changes the embeddings `[rows, seq, width]` in training; as they are unless a stage says otherwise.
    fn perturb(&self, embedded: Tensor, _batch: &Self::Batch, _moment: Moment) -> Tensor {
        embedded
    }

    /// The loss on held-out data, if there are any.
    ///
    /// # Errors
    /// What libtorch refuses.
    fn evaluate(&self, _model: &Llama) -> anyhow::Result<Option<Evaluation>> {
        Ok(None)
    }
}

/// The forward pass of a batch to its loss (a sum), without gradients.
///
/// # Errors
/// As [`Objective::loss`].
pub fn forward<O: Objective>(objective: &O, model: &Llama, batch: &O::Batch) -> anyhow::Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let Input { input_ids, documents } = objective.input(batch);
    let positions = packed_positions(documents, input_ids.size()[1]).to_device(model.device());
    let hidden = model.hidden_states(input_ids, &positions, &mut Packed { documents });
    Ok(f64::try_from(objective.loss(&hidden, model.head(), batch)?)?)
}

/// Forward and backward pass of a batch. Gradients of `loss / normaliser` are added to the leaves' own; the loss (a sum) is
/// returned. With `recompute`, activations are kept at the borders of layers only.
///
/// # Errors
/// As [`Objective::loss`].
pub fn forward_backward<O: Objective>(
    objective: &O,
    model: &Llama,
    batch: &O::Batch,
    moment: Moment,
    normaliser: f64,
    recompute: bool,
) -> anyhow::Result<f64> {
    let Input { input_ids, documents } = objective.input(batch);
    let positions = packed_positions(documents, input_ids.size()[1]).to_device(model.device());
    let embedded = objective.perturb(model.embed(input_ids), batch, moment);
    let mut attend = Packed { documents };
    let loss = |hidden: &Tensor| objective.loss(hidden, model.head(), batch).map(|sum| sum / normaliser);
    let mean = if recompute {
        Recompute::forward(model, embedded, &positions, &mut attend).backward(&mut attend, loss)?
    } else {
        let mean = loss(&model.hidden_states_of(embedded, &positions, &mut attend))?;
        mean.backward();
        mean
    };
    Ok(f64::try_from(mean)? * normaliser)
}
