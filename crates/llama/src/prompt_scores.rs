//! Log-probabilities and embeddings of given texts, computed by an engine.

use crate::backend::Rows;
use crate::engine::Engine;
use crate::pages::PAGE;
use crate::request::GenerateError;
use crate::sampling::{Report, all_finite};

/// Maximal number of output values that exist at a time: 32 MiB in float32.
const PIECE_NUMBERS: usize = 8 << 20;

/// Score of a token of a given text.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// Token id.
    pub id: i64,
    /// Log-probability (natural logarithm) given the tokens before it; `None` for the first token.
    pub logprob: Option<f32>,
    /// The most likely tokens at its position with their log-probabilities, most likely first; empty for the first token.
    pub top: Vec<(i64, f32)>,
}

impl Engine {
    /// The log-probability of every token of a text given the tokens before it, and the `top` most likely tokens at each
    /// position. Running sequences wait meanwhile. Returns `None` if they leave no room in the cache; call it again after a
    /// step. With packed kernels, later requests can find the computed prefix in the cache.
    ///
    /// # Errors
    /// When the text is empty, has ids outside the vocabulary, or is longer than the context or the whole cache; when libtorch
    /// fails.
    pub fn prompt_scores(&mut self, ids: &[i64], top: usize) -> Result<Option<Vec<TokenScore>>, GenerateError> {
        let mut scores = vec![TokenScore { id: *ids.first().unwrap_or(&0), logprob: None, top: Vec::new() }];
        let (vocab, mut finite) = (self.vocab as usize, true);
        let computed = self.rows(ids, Rows::Logits, vocab, &mut |rows| {
            for logits in rows.chunks_exact(vocab) {
                finite &= all_finite(logits);
                // The logits after the last token predict nothing in the text.
                let Some(&id) = ids.get(scores.len()) else { continue };
                let report = Report::new(logits, top);
                scores.push(TokenScore { id, logprob: Some(logits[id as usize] - report.log_sum), top: report.top });
            }
        })?;
        if !finite {
            return Err(GenerateError::NotFinite { index: 0, tokens: ids.len() as i64 });
        }
        Ok(computed.then_some(scores))
    }

    /// The mean of the last hidden states (after the last norm) over the tokens of a text, `[hidden]`. Returns `None` as
    /// [`Engine::prompt_scores`] does.
    ///
    /// # Errors
    /// As [`Engine::prompt_scores`].
    pub fn embedding(&mut self, ids: &[i64]) -> Result<Option<Vec<f32>>, GenerateError> {
        let width = self.hidden;
        let mut sums = vec![0.0_f64; width];
        let computed = self.rows(ids, Rows::Hidden, width, &mut |rows| {
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += f64::from(*number));
            }
        })?;
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / ids.len() as f64) as f32).collect();
        if !all_finite(&mean) {
            return Err(GenerateError::NotFinite { index: 0, tokens: ids.len() as i64 });
        }
        Ok(computed.then_some(mean))
    }

    /// Passes `each` the logits or hidden states of all tokens of a text. Returns false if the cache has no room for the text.
    fn rows(
        &mut self,
        ids: &[i64],
        wanted: Rows,
        width: usize,
        each: &mut dyn FnMut(&[f32]),
    ) -> Result<bool, GenerateError> {
        let (index, context, cache) = (0, self.context(), self.cache_tokens());
        if ids.is_empty() {
            return Err(GenerateError::Prompt { index, what: "the text has no tokens".into() });
        }
        if let Some(id) = ids.iter().find(|id| !(0..self.vocab).contains(*id)) {
            let what = format!("token id {id} is outside the model's vocabulary of {}", self.vocab);
            return Err(GenerateError::Prompt { index, what });
        }
        if ids.len() > context {
            return Err(GenerateError::PromptTooLong { index, prompt: ids.len(), context: context as i64 });
        }
        if ids.len().div_ceil(PAGE) > self.pool.len() {
            return Err(GenerateError::CacheTooSmall { index, needed: ids.len(), cache });
        }
        let Some(pages) = self.take_pages(ids.len().div_ceil(PAGE)) else { return Ok(false) };
        let at_a_time = (PIECE_NUMBERS / width).clamp(1, 256);
        let result = self.backend.rows(ids, &pages, (wanted, at_a_time), each).map_err(GenerateError::Engine);
        if result.is_ok() && self.backend.is_invariant() {
            self.pool.remember(ids, &pages);
        }
        self.pool.release(&pages);
        result.map(|()| true)
    }
}
