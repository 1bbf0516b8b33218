//! Packed batches: documents are concatenated into one row. Each document has its own positions and attends only to itself.

use crate::ahead::placed;
use crate::context::Share;
use anyhow::ensure;
use llama::Head;
use llama::attention::Layout;
use tch::{Device, Kind, Tensor};

/// A tokenised example.
#[derive(Debug, Clone)]
pub struct Example {
    /// Name of the example in messages.
    pub id: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each token, whether it is a target of the loss. As long as `ids`.
    pub trained: Vec<bool>,
    /// Weight of each of its tokens in the loss.
    pub weight: f32,
}

impl Example {
    /// An encoded conversation as an example of weight 1.
    #[must_use]
    pub fn of(id: &str, encoded: chat::Encoded) -> Self {
        Self { id: id.to_owned(), ids: encoded.ids, trained: encoded.assistant_mask, weight: 1.0 }
    }

    /// Number of tokens that count in the loss. The first token of a text never counts, because nothing precedes it that could
    /// predict it.
    #[must_use]
    pub fn trained_tokens(&self) -> usize {
        self.trained.iter().skip(1).filter(|&&trained| trained).count()
    }
}

/// Examples packed into one row without padding.
#[derive(Debug)]
pub struct PackedBatch {
    /// `[1, tokens]` int64
    pub input_ids: Tensor,
    /// Lengths of the documents in tokens: one list for each row, so one list here.
    pub documents: Vec<Vec<i64>>,
    /// The position of each token of the row, if positions were set with [`PackedBatch::at`]; otherwise each document counts
    /// from 0.
    pub positions: Option<Vec<Vec<i64>>>,
    /// `[trained]` int64: the indices in the row of the tokens whose next token is trained.
    pub targets: Tensor,
    /// `[trained]` int64: the token id that follows each of `targets`.
    pub labels: Tensor,
    /// `[trained]` float32: the loss weight of each label; `None` if all weights are 1.
    pub token_weights: Option<Tensor>,
    /// Number of trained tokens of each example.
    pub trained: Vec<i64>,
    /// Names of the examples, in the order of the row.
    pub example_ids: Vec<String>,
    /// Number of tokens in the row.
    pub tokens: usize,
    /// Number of trained tokens in the row.
    pub trained_tokens: usize,
    /// Sum of the weights of the trained tokens.
    pub normaliser: f64,
}

impl PackedBatch {
    /// Concatenates the examples into one row on `device`.
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
            input_ids: placed(Tensor::from_slice(&ids).unsqueeze(0), device),
            documents: vec![examples.iter().map(|example| example.ids.len() as i64).collect()],
            positions: None,
            targets: placed(Tensor::from_slice(&targets), device),
            labels: placed(Tensor::from_slice(&labels), device),
            token_weights: (!plain).then(|| placed(Tensor::from_slice(&weights), device)),
            trained: examples.iter().map(|example| example.trained_tokens() as i64).collect(),
            example_ids: examples.iter().map(|example| example.id.clone()).collect(),
        }
    }

    /// Sets the positions of the tokens, one list for each example, for training that skips positions. The positions of an
    /// example must ascend. The model refuses positions beyond its context.
    ///
    /// # Errors
    /// When the number of lists or of positions does not match, or when positions do not ascend; the last two name the example.
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

    /// The tokens that are a process's own, with what they are to predict. `documents` stay those of the whole row.
    #[must_use]
    pub fn share(&self, share: &Share) -> Self {
        let (numbers, targets) = share.places(&self.targets);
        let places = match &self.positions {
            Some(positions) => positions[0].clone(),
            None => self.documents[0].iter().flat_map(|&length| 0..length).collect(),
        };
        Self {
            input_ids: share.ids(&self.input_ids),
            documents: self.documents.clone(),
            positions: Some(vec![share.list(&places)]),
            targets,
            labels: self.labels.index_select(0, &numbers),
            token_weights: self.token_weights.as_ref().map(|weights| weights.index_select(0, &numbers)),
            trained: self.trained.clone(),
            example_ids: self.example_ids.clone(),
            tokens: self.tokens,
            trained_tokens: self.trained_tokens,
            normaliser: self.normaliser,
        }
    }

    /// The boundaries of the documents in the row, for the attention mask and the positions.
    #[must_use]
    pub fn layout(&self) -> Layout<'_> {
        match &self.positions {
            Some(positions) => Layout::PackedAt { documents: &self.documents, positions },
            None => Layout::Packed(&self.documents),
        }
    }

    /// `Σ weight · nll` over the trained tokens, computed from the final hidden states `[1, tokens, width]` and the output head.
    /// Logits are computed for the trained positions only, one chunk at a time.
    ///
    /// # Errors
    /// The same as [`Head::cross_entropy_sum`].
    pub fn cross_entropy_sum(&self, hidden: &Tensor, head: Head) -> Result<Tensor, torch_ext::OpError> {
        let picked = hidden.squeeze_dim(0).index_select(0, &self.targets);
        head.cross_entropy_sum(&picked, &self.labels, self.token_weights.as_ref())
    }

    /// The mean log-probability of the trained tokens of each example, `[examples]` float64, ignoring the weights. Each example
    /// must have at least one trained token.
    ///
    /// # Errors
    /// The same as [`Head::cross_entropy`].
    pub fn mean_log_probs(&self, hidden: &Tensor, head: Head) -> Result<Tensor, torch_ext::OpError> {
        let picked = hidden.squeeze_dim(0).index_select(0, &self.targets);
        let nll = head.cross_entropy(&picked, &self.labels)?.to_kind(Kind::Double);
        let numbers = (0_i64..).zip(&self.trained).flat_map(|(example, &tokens)| vec![example; tokens as usize]);
        let example_of = Tensor::from_slice(&numbers.collect::<Vec<_>>()).to_device(nll.device());
        let counts = Tensor::from_slice(&self.trained).to_device(nll.device());
        let sums = Tensor::zeros([self.trained.len() as i64], (Kind::Double, nll.device()));
        Ok(-sums.index_add(0, &example_of, &nll) / counts)
    }
}
