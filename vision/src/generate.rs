//! Generates answers of a composed model token by token, with its own key/value cache. The engine of `llama` serves text; this module
//! handles one conversation with pictures at a time.

use dataset::FinishReason;
use llama::attention::{Attend, Causal, LayerContext};
use llama::{AnswerText, Choice, Completion, Pass, Sampler, SamplingParams, StopRules};
use tch::{Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::composed::Composed;
use crate::sight::Sight;
use crate::{Result, VisionError};

/// Options of an answer.
#[derive(Debug, Clone)]
pub struct Answering {
    /// Sampling parameters.
    pub sampling: SamplingParams,
    /// The seed of the sampling.
    pub seed: u64,
    /// Maximum number of tokens.
    pub max_new_tokens: usize,
    /// Number of most likely tokens that are reported with each token.
    pub top_logprobs: usize,
    /// Further rules that end the answer.
    pub stops: StopRules,
}

/// Keys and values `[1, tokens, kv_heads, head_dim]` of every layer.
#[derive(Default)]
struct Cache {
    layers: Vec<(Tensor, Tensor)>,
}

impl Attend for Cache {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let Some((keys, values)) = self.layers.get_mut(context.layer) else {
            self.layers.push((k.shallow_clone(), v.shallow_clone()));
            return Causal.attend(context, q, k, v);
        };
        catch(|| {
            *keys = Tensor::cat(&[&*keys, k], 1);
            *values = Tensor::cat(&[&*values, v], 1);
            let length = keys.size()[1];
            let seen = context.window.map_or(length, |window| window.min(length));
            let recent = |x: &Tensor| x.narrow(1, length - seen, seen).transpose(1, 2);
            let grouped = q.size()[2] != k.size()[2];
            let out = Tensor::scaled_dot_product_attention(
                &q.transpose(1, 2),
                &recent(keys),
                &recent(values),
                None::<Tensor>,
                0.0,
                false,
                None::<f64>,
                grouped,
            );
            Ok(out.transpose(1, 2))
        })
    }
}

impl Composed {
    /// Answers a prompt whose image tokens stand for pictures with these states, in their order. `each` receives every token with the
    /// text that can be shown now, and ends the answer by returning `false`.
    ///
    /// # Errors
    /// When prompt and pictures do not match, the context is full, or memory is not sufficient.
    pub fn answer(
        &self,
        prompt: &[i64],
        features: &[Tensor],
        answering: &Answering,
        mut each: impl FnMut(&Choice, &str) -> bool,
    ) -> Result<Completion> {
        let model = &self.text.model;
        let context = model.config().max_position_embeddings as usize;
        if prompt.is_empty() || prompt.len() >= context {
            return Err(VisionError::Pictures(format!(
                "the prompt has {} tokens, and the model's context is {context}",
                prompt.len()
            )));
        }
        let limit = answering.max_new_tokens.min(context - prompt.len()).max(1);
        let _no_grad = tch::no_grad_guard();
        let vocab = model.config().vocab_size;
        // The image token is outside of the vocabulary.
        let seen: Vec<i64> = prompt.iter().copied().filter(|id| *id < vocab).collect();
        let mut sampler = Sampler::new(answering.sampling.clone(), answering.seed, &seen, vocab as usize);
        let mut text = AnswerText::new(&self.text.tokenizer);
        let mut cache = Cache::default();
        let first = self.sight(prompt, prompt.len(), features)?;
        let next = first.as_ref().and_then(Sight::of_next);
        let mut ids = prompt.to_vec();
        let mut position = 0;
        let mut sight = first;
        loop {
            let device = model.device();
            let count = ids.len() as i64;
            let (input, positions) = catch(|| {
                let input = Tensor::from_slice(&ids).to_device(device).unsqueeze(0);
                Ok::<_, OpError>((
                    input,
                    Tensor::arange_start(position, position + count, (Kind::Int64, device)).unsqueeze(0),
                ))
            })?;
            let hidden = self.hidden_states(&input, &positions, &mut cache, Pass::default(), sight.as_ref())?;
            let last = catch(|| Ok::<_, OpError>(hidden.narrow(1, count - 1, 1)))?;
            let logits = model.logits(&last)?;
            let mut logits = catch(|| {
                Ok::<_, OpError>(Vec::<f32>::try_from(
                    logits.flatten(0, -1).to_kind(Kind::Float).to_device(tch::Device::Cpu),
                )?)
            })?;
            if !logits.iter().all(|logit| logit.is_finite()) {
                return Err(VisionError::Pictures("the model's logits are not finite".into()));
            }
            let choice = sampler.choose(&mut logits, answering.top_logprobs);
            let finished = text.push(&choice, &answering.stops, limit);
            let goes_on = each(&choice, text.take_new());
            if finished.is_some() || !goes_on {
                return Ok(text.into_completion(finished.unwrap_or(FinishReason::Stop)));
            }
            position += count;
            ids = vec![choice.id];
            sight = next.as_ref().map(Sight::shallow_clone);
        }
    }
}
