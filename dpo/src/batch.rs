//! Pairs in one packed row: chosen and rejected of a pair share their common prefix, and every pair is complete in
//! its row.

use llama::Head;
use llama::attention::{Layout, PromptGroup};
use tch::{Device, Kind, Tensor};
use torch_ext::OpError;
use trainer::placed;

use crate::config::{FormattingTokens, SharePrompt};
use crate::pairs::{Pair, Sequence};

/// Pairs in a row of `tokens` tokens. Each *response token* is an entry, in the order chosen, rejected, chosen, ...
/// of the pairs and of the tokens in them. A token that both responses share has two entries and one target.
#[derive(Debug)]
pub struct PairBatch {
    /// `[1, tokens]` int64
    pub input_ids: Tensor,
    /// The groups of the row, which define its attention mask.
    pub groups: Vec<Vec<PromptGroup>>,
    /// The ids of the pairs.
    pub ids: Vec<String>,
    /// Tokens in the row.
    pub tokens: usize,
    /// `[targets]` int64: positions whose next token is predicted.
    targets: Tensor,
    /// `[targets]` int64: the next token at each target.
    labels: Tensor,
    /// `[entries]` int64: the target of each response token.
    target_of: Tensor,
    /// `[entries]` int64: twice the pair's number, plus 1 for rejected.
    response_of: Tensor,
    /// `[entries]` float32: 1 if the token counts in the preference loss, else 0.
    counts: Tensor,
    /// `[2 · pairs]` float64: number of counted tokens of each response, and number of all tokens of each response.
    counted_tokens: Tensor,
    response_tokens: Tensor,
    /// `[entries]` float32: the reference's log-prob of each response token; `None` until it is known.
    pub reference: Option<Tensor>,
}

#[derive(Default)]
struct Rows {
    ids: Vec<i64>,
    targets: Vec<i64>,
    labels: Vec<i64>,
    target_of: Vec<i64>,
    response_of: Vec<i64>,
    counts: Vec<f32>,
}

impl PairBatch {
    /// Lays out pairs in a row. If `share` allows it, the common prefix of a pair is in the row once.
    #[must_use]
    pub fn new(pairs: &[&Pair], formatting: FormattingTokens, share: SharePrompt, device: Device) -> Self {
        let mut rows = Rows::default();
        let mut groups = Vec::new();
        for (number, pair) in pairs.iter().enumerate() {
            let start = rows.ids.len();
            let shared = row_shared(pair, share);
            let length = |sequence: &Sequence| (sequence.ids.len() - shared) as i64;
            if shared > 0 {
                let responses = vec![length(&pair.chosen), length(&pair.rejected)];
                groups.push(PromptGroup { prompt: shared as i64, responses });
            } else {
                groups.extend(
                    [&pair.chosen, &pair.rejected].map(|s| PromptGroup { prompt: length(s), responses: Vec::new() }),
                );
            }
            rows.ids.extend(pair.chosen.ids[..shared].iter().map(|&id| i64::from(id)));
            // Targets inside the shared tokens, by position: the rejected response reuses those of the chosen one.
            let mut common = vec![None; shared];
            for (side, sequence) in [&pair.chosen, &pair.rejected].into_iter().enumerate() {
                rows.add(sequence, (start, shared), 2 * number + side, formatting, &mut common);
            }
        }
        let count = 2 * pairs.len();
        let float = |values: &[f32]| placed(Tensor::from_slice(values), device);
        let int = |values: &[i64]| placed(Tensor::from_slice(values), device);
        let response_of = int(&rows.response_of);
        let counts = float(&rows.counts);
        Self {
            input_ids: int(&rows.ids).unsqueeze(0),
            groups: vec![groups],
            ids: pairs.iter().map(|pair| pair.id.clone()).collect(),
            tokens: rows.ids.len(),
            targets: int(&rows.targets),
            labels: int(&rows.labels),
            target_of: int(&rows.target_of),
            counted_tokens: sums(&counts, &response_of, count as i64),
            response_tokens: sums(&counts.ones_like(), &response_of, count as i64),
            response_of,
            counts,
            reference: None,
        }
    }

    /// The layout of the row, which defines the attention mask.
    #[must_use]
    pub fn layout(&self) -> Layout<'_> {
        Layout::SharedPrompt(&self.groups)
    }

    /// Number of pairs in the row.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.ids.len()
    }

    /// Number of response tokens, counted for each response.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.target_of.size()[0] as usize
    }

    /// Number of positions that the head predicts.
    #[must_use]
    pub fn predicted(&self) -> usize {
        self.targets.size()[0] as usize
    }

    /// `log π(token | preceding tokens)` of each response token, `[entries]` float32, from the final hidden states
    /// `[1, tokens, width]` and the output head. Only the predicted positions reach the head, in chunks.
    ///
    /// # Errors
    /// See [`Head::cross_entropy`].
    pub fn log_probs(&self, hidden: &Tensor, head: Head) -> Result<Tensor, OpError> {
        let picked = hidden.squeeze_dim(0).index_select(0, &self.targets);
        let nll = head.cross_entropy(&picked, &self.labels)?;
        Ok(-nll.index_select(0, &self.target_of))
    }

    /// Sums of `values` (`[entries]`) over the counted tokens of each response: chosen and rejected, `[pairs]`
    /// float64.
    pub fn counted(&self, values: &Tensor) -> (Tensor, Tensor) {
        sides(&sums(&(values * &self.counts), &self.response_of, self.count()))
    }

    /// Sums of `values` (`[entries]`) over all tokens of each response.
    pub fn all(&self, values: &Tensor) -> (Tensor, Tensor) {
        sides(&sums(values, &self.response_of, self.count()))
    }

    /// Number of counted tokens in chosen and rejected, `[pairs]` float64.
    pub fn counted_tokens(&self) -> (Tensor, Tensor) {
        sides(&self.counted_tokens)
    }

    /// Number of all tokens of the chosen and of the rejected response, `[pairs]` float64.
    pub fn response_tokens(&self) -> (Tensor, Tensor) {
        sides(&self.response_tokens)
    }

    fn count(&self) -> i64 {
        2 * self.ids.len() as i64
    }
}

impl Rows {
    /// Adds the tokens of `sequence` after the shared ones, which begin at `start`, and its response tokens.
    fn add(
        &mut self,
        sequence: &Sequence,
        (start, shared): (usize, usize),
        response: usize,
        formatting: FormattingTokens,
        common: &mut [Option<i64>],
    ) {
        let own = self.ids.len();
        self.ids.extend(sequence.ids[shared..].iter().map(|&id| i64::from(id)));
        for place in sequence.response() {
            let known = common.get(place).copied().flatten();
            let target = known.unwrap_or_else(|| {
                let before = place - 1;
                let at = if before < shared { start + before } else { own + before - shared };
                self.targets.push(at as i64);
                self.labels.push(i64::from(sequence.ids[place]));
                self.targets.len() as i64 - 1
            });
            if let Some(slot) = common.get_mut(place) {
                *slot = Some(target);
            }
            self.target_of.push(target);
            self.response_of.push(response as i64);
            self.counts.push(f32::from(u8::from(formatting.counts(sequence.parts[place]))));
        }
    }
}

/// `[count]` float64: the sum of `values` for each index in `of`.
fn sums(values: &Tensor, of: &Tensor, count: i64) -> Tensor {
    Tensor::zeros([count], (Kind::Double, values.device())).index_add(0, of, &values.to_kind(Kind::Double))
}

/// Number of tokens of a pair that are in its row once for both responses.
fn row_shared(pair: &Pair, share: SharePrompt) -> usize {
    let shared = pair.shared();
    if share.shares(shared) { shared } else { 0 }
}

/// Number of tokens of a pair's row.
#[must_use]
pub fn row_tokens(pair: &Pair, share: SharePrompt) -> usize {
    pair.chosen.ids.len() + pair.rejected.ids.len() - row_shared(pair, share)
}

fn sides(both: &Tensor) -> (Tensor, Tensor) {
    let both = both.view([-1, 2]);
    (both.select(1, 0), both.select(1, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Part;

    /// A prompt of 3 tokens, a header of 1, then content and a terminator; the first content token is the same.
    fn pair(id: &str, chosen: &[u32], rejected: &[u32]) -> Pair {
        let side = |content: &[u32]| {
            let ids: Vec<u32> = [&[5, 6, 7, 50], content, &[60]].concat();
            let mut parts = vec![Part::Content; ids.len()];
            parts[..3].fill(Part::Context);
            parts[3] = Part::Formatting;
            parts[ids.len() - 1] = Part::Formatting;
            Sequence { ids, parts }
        };
        Pair { id: id.into(), chosen: side(chosen), rejected: side(rejected) }
    }

    fn ints(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn shared_tokens_stand_once_and_are_predicted_once() {
        torch_ext::init();
        let pair = pair("a", &[10, 11], &[10, 12, 13]);
        let formatting = FormattingTokens::Mask;
        let batch = PairBatch::new(&[&pair], formatting, SharePrompt::Always, Device::Cpu);
        assert_eq!(ints(&batch.input_ids), [5, 6, 7, 50, 10, 11, 60, 12, 13, 60]);
        assert_eq!(batch.groups, [[PromptGroup { prompt: 5, responses: vec![2, 3] }]]);
        // The header and first content token serve both; then 11 and 60 from positions 4 and 5; 12, 13 and 60 from 4,
        // 7 and 8.
        assert_eq!(ints(&batch.targets), [2, 3, 4, 5, 4, 7, 8]);
        assert_eq!(ints(&batch.labels), [50, 10, 11, 60, 12, 13, 60]);
        assert_eq!(ints(&batch.target_of), [0, 1, 2, 3, 0, 1, 4, 5, 6]);
        assert_eq!(ints(&batch.response_of), [0, 0, 0, 0, 1, 1, 1, 1, 1]);
        let both = |(a, b): (Tensor, Tensor)| [f64::try_from(a).unwrap(), f64::try_from(b).unwrap()];
        assert_eq!(both(batch.counted_tokens()), [2.0, 3.0]);
        assert_eq!(both(batch.response_tokens()), [4.0, 5.0]);
        let values = Tensor::from_slice(&[1.0_f32, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);
        assert_eq!(both(batch.counted(&values)), [6.0, 224.0]);
        assert_eq!(both(batch.all(&values)), [15.0, 496.0]);
        let kept = PairBatch::new(&[&pair], FormattingTokens::Keep, SharePrompt::Always, Device::Cpu);
        assert_eq!(both(kept.counted(&values)), [15.0, 496.0]);
    }

    #[test]
    fn apart_each_sequence_is_a_group() {
        torch_ext::init();
        let (a, b) = (pair("a", &[10, 11], &[12]), pair("b", &[20], &[21]));
        let batch = PairBatch::new(&[&a, &b], FormattingTokens::Mask, SharePrompt::Never, Device::Cpu);
        let lengths: Vec<i64> = batch.groups[0].iter().map(PromptGroup::tokens).collect();
        assert_eq!((lengths, batch.tokens, batch.pairs()), (vec![7, 6, 6, 6], 25, 2));
        assert_eq!(ints(&batch.targets)[..4], [2, 3, 4, 5]);
        assert_eq!(ints(&batch.targets)[4..7], [9, 10, 11]);
        assert_eq!(batch.predicted(), batch.entries());
    }

    #[test]
    fn a_sequence_that_continues_the_other_keeps_a_token_of_its_own() {
        let mut pair = pair("a", &[10, 60, 11], &[10]);
        pair.rejected.ids.truncate(6);
        assert_eq!(pair.shared(), 5);
    }
}
