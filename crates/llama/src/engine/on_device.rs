//! Sampling on the GPU that holds the logits. Requests that need more than temperature, top-k, top-p and min-p (a logits
//! processor, a repetition penalty, top log-probabilities) use the CPU sampler; only their logits are copied to the host.

use tch::Tensor;
use torch_ext::{OpError, catch, sample_tokens};

use super::{Engine, KeptLogits};
use crate::logits::{Logits, Row};
use crate::request::GenerateError;
use crate::sampling::Choice;
use crate::score::to_floats;

/// Slots and their choices, in ascending order of slots.
type Chosen = Vec<(usize, Result<Choice, GenerateError>)>;

impl Engine {
    /// Chooses a token for each slot. `kept` holds slots with the logits of a kept prompt. The logits of the slots in `computed`
    /// are the rows of `logits`.
    pub(super) fn choose_on_device(
        &mut self,
        kept: &[KeptLogits],
        computed: &[usize],
        logits: &Logits,
    ) -> Result<Chosen, GenerateError> {
        let failed = |error: OpError| GenerateError::Engine(error.to_string());
        // Row `i` below belongs to `slots[i]`. A row in other memory would be left out, and later slots would get the tokens of
        // other sequences.
        let elsewhere = kept.iter().any(|(_, row)| matches!(row, Row::Host(_)));
        if elsewhere || (logits.device.is_none() && !computed.is_empty()) {
            return Err(GenerateError::Engine("a step has logits on the host and on the device".to_owned()));
        }
        let slots: Vec<usize> = kept.iter().map(|(slot, _)| *slot).chain(computed.iter().copied()).collect();
        let (mut places, mut drawings, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (place, &slot) in slots.iter().enumerate() {
            let Some(active) = &mut self.slots[slot] else { continue };
            let alone = active.processor.is_none() && active.request.top_logprobs == 0;
            match alone.then(|| active.sampler.drawing()).flatten() {
                Some(drawing) => {
                    places.push(place as i64);
                    drawings.push(drawing);
                }
                None => others.push(place as i64),
            }
        }
        let _no_grad = tch::no_grad_guard();
        let (sampled, floats) = catch(|| {
            let rows = rows(kept, logits);
            let some = |places: &[i64]| match places.len() == slots.len() {
                true => rows.shallow_clone(),
                false => rows.index_select(0, &Tensor::from_slice(places).to_device(rows.device())),
            };
            let sampled = if places.is_empty() { Vec::new() } else { sample_tokens(&some(&places), &drawings)? };
            let floats = if others.is_empty() { Vec::new() } else { to_floats(&some(&others)) };
            Ok((sampled, floats))
        })
        .map_err(failed)?;
        let mut floats = floats;
        let mut rows: Vec<(usize, &mut [f32])> = others
            .iter()
            .map(|&place| slots[place as usize])
            .zip(floats.chunks_exact_mut(self.vocab as usize))
            .collect();
        rows.sort_by_key(|(slot, _)| *slot);
        let mut chosen = self.choose(rows);
        for (&place, choice) in places.iter().zip(sampled) {
            let slot = slots[place as usize];
            let tokens = self.slots[slot].as_ref().map_or(0, |active| active.tokens.len() as i64);
            chosen.push((
                slot,
                match choice {
                    Some((id, logprob)) => Ok(Choice { id, logprob, top: Vec::new() }),
                    None => Err(GenerateError::NotFinite { index: 0, tokens }),
                },
            ));
        }
        chosen.sort_by_key(|(slot, _)| *slot);
        Ok(chosen)
    }
}

/// The rows of `kept` on the device, followed by those of `logits`: `[rows, vocab]`.
fn rows(kept: &[KeptLogits], logits: &Logits) -> Tensor {
    let mut parts: Vec<Tensor> = kept
        .iter()
        .filter_map(|(_, row)| match row {
            Row::Device(row) => Some(row.shallow_clone()),
            Row::Host(_) => None,
        })
        .collect();
    parts.extend(logits.device.as_ref().map(Tensor::shallow_clone));
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
}
