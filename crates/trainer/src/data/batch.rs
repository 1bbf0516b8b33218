//! Packed batches: documents back to back in one row, each with positions of its own, none seeing another.

use anyhow::ensure;
use llama::attention::Layout;
use tch::{Device, Kind, Tensor};

/// A tokenised example.
#[derive(Debug, Clone)]
pub struct Example {
    /// Names it in messages.
    pub id: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each id whether the model is trained to write it.
    pub trained: Vec<bool>,
    /// How much each of its tokens counts.
    pub weight: f32,
}

impl Example {
    /// An encoded conversation as an example of weight 1.
    #[must_use]
    pub fn of(id: &str, encoded: chat::Encoded) -> Self {
        Self { id: id.to_owned(), ids: encoded.ids, trained: encoded.assistant_mask, weight: 1.0 }
    }

    /// Tokens that count in the loss: the first token of a text has nothing before it to predict it from.
    #[must_use]
    pub fn trained_tokens(&self) -> usize {
        self.trained.iter().skip(1).filter(|&&trained| trained).count()
    }
}

/// Examples in one row without padding.
#[derive(Debug)]
pub struct PackedBatch {
    /// `[1, tokens]` int64
    pub input_ids: Tensor,
    /// Lengths of the documents of the row.
    pub documents: Vec<Vec<i64>>,
    /// The position of each token of the row, where they are given: see [`PackedBatch::at`].
    pub positions: Option<Vec<Vec<i64>>>,
    /// The places, int64, of the tokens whose successor is trained.
    pub targets: Tensor,
    /// The successor at each of these places, int64.
    pub labels: Tensor,
    /// The weight of each, float32; none if all are 1.
    pub token_weights: Option<Tensor>,
    /// Trained tokens of each example.
    pub trained: Vec<i64>,
    /// Names of the examples.
    pub example_ids: Vec<String>,
    /// Tokens in the row.
    pub tokens: usize,
    /// Trained tokens in the row.
    pub trained_tokens: usize,
    /// The sum of the trained tokens' weights.
    pub normaliser: f64,
}

impl PackedBatch {
    /// Lays examples back to back.
    #[must_use]
    pub fn new(examples: &[&Example], device: Device) -> Self {
        let (mut ids, mut targets, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for example in examples {
            let start = ids.len();
            ids.extend(example.ids.iter().map(|&id| i64::from(id)));
            for place in 1..example.ids.len() {
                if example.trained[place] {
                    targets.push((start + place - 1) as i64);
                    labels.push(i64::from(example.ids[place]));
                    weights.push(example.weight);
                }
            }
        }
        let plain = weights.iter().all(|&weight| weight == 1.0);
        Self {
            tokens: ids.len(),
            trained_tokens: labels.len(),
            normaliser: weights.iter().map(|&weight| f64::from(weight)).sum(),
            input_ids: Tensor::from_slice(&ids).unsqueeze(0).to_device(device),
            documents: vec![examples.iter().map(|example| example.ids.len() as i64).collect()],
            positions: None,
            targets: Tensor::from_slice(&targets).to_device(device),
            labels: Tensor::from_slice(&labels).to_device(device),
            token_weights: (!plain).then(|| Tensor::from_slice(&weights).to_device(device)),
            trained: examples.iter().map(|example| example.trained_tokens() as i64).collect(),
            example_ids: examples.iter().map(|example| example.id.clone()).collect(),
        }
    }

    /// The same examples at given positions, a list for each example: for training that skips positions. They must ascend; the
    /// model refuses those that its context does not have.
    ///
    /// # Errors
    /// With the example's name when there is not one position for each of its tokens, or they do not ascend.
    pub fn at(mut self, positions: &[&[i64]]) -> anyhow::Result<Self> {
        let lengths = &self.documents[0];
        ensure!(
            positions.len() == lengths.len(),
            "{} lists of positions for {} examples",
            positions.len(),
            lengths.len()
        );
        for ((positions, &length), id) in positions.iter().zip(lengths).zip(&self.example_ids) {
            ensure!(
                positions.len() as i64 == length,
                "the example {id} has {length} tokens, but {} positions are given",
                positions.len()
            );
            let ascend = positions.first().is_none_or(|&first| first >= 0) && positions.is_sorted_by(|a, b| a < b);
            ensure!(ascend, "the positions of the example {id} must ascend from 0 or more");
        }
        self.positions = Some(vec![positions.concat()]);
        Ok(self)
    }

    /// How the tokens of the row belong together.
    #[must_use]
    pub fn layout(&self) -> Layout<'_> {
        match &self.positions {
            Some(positions) => Layout::PackedAt { documents: &self.documents, positions },
            None => Layout::Packed(&self.documents),
        }
    }

    /// `Σ weight · nll` over the trained tokens, from the final hidden states `[1, tokens, width]` and the output head
    /// `[vocab, width]`. Only trained places reach the head, and those chunk by chunk.
    ///
    /// # Errors
    /// As [`torch_ext::linear_cross_entropy_sum`].
    pub fn cross_entropy_sum(&self, hidden: &Tensor, head: &Tensor) -> Result<Tensor, torch_ext::OpError> {
        let picked = hidden.squeeze_dim(0).index_select(0, &self.targets);
        torch_ext::linear_cross_entropy_sum(&picked, head, &self.labels, self.token_weights.as_ref(), None)
    }

    /// For each example the mean log-probability of its trained tokens, `[examples]` float64, without weights. Each
    /// example must have a trained token.
    ///
    /// # Errors
    /// As [`torch_ext::linear_cross_entropy`].
    pub fn mean_log_probs(&self, hidden: &Tensor, head: &Tensor) -> Result<Tensor, torch_ext::OpError> {
        let picked = hidden.squeeze_dim(0).index_select(0, &self.targets);
        let nll = torch_ext::linear_cross_entropy(&picked, head, &self.labels, None)?.to_kind(Kind::Double);
        let numbers = (0_i64..).zip(&self.trained).flat_map(|(example, &tokens)| vec![example; tokens as usize]);
        let example_of = Tensor::from_slice(&numbers.collect::<Vec<_>>()).to_device(nll.device());
        let counts = Tensor::from_slice(&self.trained).to_device(nll.device());
        let sums = Tensor::zeros([self.trained.len() as i64], (Kind::Double, nll.device()));
        Ok(-sums.index_add(0, &example_of, &nll) / counts)
    }
}
