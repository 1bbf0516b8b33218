//! Log-probabilities of given continuations, for multiple choice and perplexity.

use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::attention::{Packed, packed_positions};
use crate::linear::product;
use crate::model::Llama;
use crate::pass::Pass;
use crate::request::GenerateError;

/// Maximal number of tokens of one forward pass, unless a single pair is longer.
const ROW_TOKENS: usize = 2048;
/// Maximal number of logits that exist at a time: 128 MiB in float32.
const CHUNK_ELEMENTS: i64 = 1 << 25;

/// The log-probability (natural logarithm, float32) of every token of each continuation, given its prompt and the tokens before
/// it. `pairs` are `(prompt ids, continuation ids)`. Pairs are packed into rows and attend only to themselves. Logits are
/// computed only for the continuations.
///
/// # Errors
/// [`GenerateError`] for a pair that has an empty part, has ids outside the vocabulary or is longer than the context. `index`
/// is the index in `pairs`.
pub fn log_probs(model: &Llama, pairs: &[(Vec<i64>, Vec<i64>)]) -> Result<Vec<Vec<f32>>, GenerateError> {
    for (index, pair) in pairs.iter().enumerate() {
        check(model, index, pair)?;
    }
    let _no_grad = tch::no_grad_guard();
    let mut scores = Vec::with_capacity(pairs.len());
    let mut rest = pairs;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|(prompt, continuation)| {
            tokens += prompt.len() + continuation.len() - 1;
            tokens <= ROW_TOKENS
        });
        let (row, later) = rest.split_at(fits.count().max(1));
        let scored = catch(|| score_row(model, row));
        scores.extend(scored.map_err(|error: OpError| GenerateError::Engine(error.to_string()))?);
        rest = later;
    }
    Ok(scores)
}

fn check(model: &Llama, index: usize, (prompt, continuation): &(Vec<i64>, Vec<i64>)) -> Result<(), GenerateError> {
    let config = model.config();
    let length = prompt.len() + continuation.len();
    let outside = prompt.iter().chain(continuation).find(|id| !(0..config.vocab_size).contains(*id));
    if prompt.is_empty() || continuation.is_empty() {
        let what = if prompt.is_empty() { "the prompt has no tokens" } else { "the continuation has no tokens" };
        Err(GenerateError::Prompt { index, what: what.into() })
    } else if let Some(id) = outside {
        let what = format!("token id {id} is outside the model's vocabulary of {}", config.vocab_size);
        Err(GenerateError::Prompt { index, what })
    } else if length as i64 > config.max_position_embeddings {
        Err(GenerateError::PromptTooLong { index, prompt: length, context: config.max_position_embeddings })
    } else {
        Ok(())
    }
}

fn score_row(model: &Llama, row: &[(Vec<i64>, Vec<i64>)]) -> Result<Vec<Vec<f32>>, OpError> {
    let device = model.device();
    // The last token of a continuation is left out of the input: its output predicts no requested token.
    let mut ids = Vec::new();
    let (mut places, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for (prompt, continuation) in row {
        let start = (ids.len() + prompt.len() - 1) as i64;
        places.extend((0..continuation.len() as i64).map(|offset| start + offset));
        targets.extend_from_slice(continuation);
        ids.extend_from_slice(prompt);
        ids.extend_from_slice(&continuation[..continuation.len() - 1]);
        lengths.push((prompt.len() + continuation.len() - 1) as i64);
    }
    let documents = [lengths];
    let positions = packed_positions(&documents, ids.len() as i64).to_device(device);
    let input = Tensor::from_slice(&ids).to_device(device).unsqueeze(0);
    let mut attend = Packed { documents: &documents };
    let hidden = model.hidden_states(&input, &positions, &mut attend, Pass::default())?.squeeze_dim(0);
    let hidden = hidden.index_select(0, &Tensor::from_slice(&places).to_device(device));
    let targets = Tensor::from_slice(&targets).to_device(device);
    let count = targets.size()[0];
    let chunk = (CHUNK_ELEMENTS / model.config().vocab_size).max(1);
    let mut flat: Vec<f32> = Vec::with_capacity(count as usize);
    for start in (0..count).step_by(chunk as usize) {
        let size = chunk.min(count - start);
        let logits = product(&hidden.narrow(0, start, size), model.head().weight, None)?.to_kind(Kind::Float);
        let targets = targets.narrow(0, start, size).unsqueeze(1);
        let chosen = logits.gather(1, &targets, false).squeeze_dim(1) - logits.logsumexp([1], false);
        flat.extend(to_floats(&chosen));
    }
    let mut flat = flat.into_iter();
    Ok(row.iter().map(|(_, continuation)| flat.by_ref().take(continuation.len()).collect()).collect())
}

/// The values of a tensor as float32, in row-major order.
pub(crate) fn to_floats(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
    let mut floats = vec![0.0; flat.numel()];
    let length = floats.len();
    flat.copy_data(&mut floats, length);
    floats
}
