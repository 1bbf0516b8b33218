//! Changes of the logits before sampling: biases, penalties, a minimum length, a grammar.

use std::collections::HashMap;

use llama::LogitsProcessor;

use crate::grammar::Constraint;

/// All changes of a request, in vLLM's order: grammar, bias, minimum length, penalties.
#[derive(Default)]
pub(crate) struct Processors {
    /// Only tokens that this constraint allows.
    pub constraint: Option<Constraint>,
    /// Added to a token's logit, OpenAI's `logit_bias`.
    pub bias: Vec<(usize, f32)>,
    /// The minimum number of tokens before a token that ends the answer.
    pub min_tokens: usize,
    /// The tokens that end an answer.
    pub stop_ids: Vec<i64>,
    /// Subtracted from a token's logit once for each occurrence in the generated tokens.
    pub frequency_penalty: f32,
    /// Subtracted from a token's logit once if it was generated.
    pub presence_penalty: f32,
    /// The number of occurrences of each generated token.
    pub counts: HashMap<usize, u32>,
    /// Number of generated tokens.
    pub generated: usize,
}

impl Processors {
    /// Whether, apart from a constraint, nothing is changed.
    pub fn are_neutral(&self) -> bool {
        self.bias.is_empty() && self.min_tokens == 0 && self.frequency_penalty == 0.0 && self.presence_penalty == 0.0
    }

    /// A processor for one sequence; `None` if there are no changes.
    pub fn for_sequence(&self) -> Option<Box<dyn LogitsProcessor>> {
        let neutral = self.constraint.is_none() && self.are_neutral();
        let own = Self {
            constraint: self.constraint.as_ref().map(Constraint::separate),
            bias: self.bias.clone(),
            stop_ids: self.stop_ids.clone(),
            min_tokens: self.min_tokens,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            counts: HashMap::new(),
            generated: 0,
        };
        (!neutral).then(|| Box::new(own) as Box<dyn LogitsProcessor>)
    }
}

impl LogitsProcessor for Processors {
    fn process(&mut self, logits: &mut [f32]) -> Result<(), String> {
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(logits)?;
        }
        for &(id, bias) in &self.bias {
            logits[id] += bias;
        }
        if self.generated < self.min_tokens {
            for &id in &self.stop_ids {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        for (&id, &count) in &self.counts {
            logits[id] -= self.frequency_penalty * count as f32 + self.presence_penalty;
        }
        Ok(())
    }

    fn accept(&mut self, id: i64) -> Result<(), String> {
        self.generated += 1;
        if self.frequency_penalty != 0.0 || self.presence_penalty != 0.0 {
            *self.counts.entry(id as usize).or_default() += 1;
        }
        match &mut self.constraint {
            Some(constraint) => constraint.accept(id),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_count_what_was_generated() {
        let all = Processors { frequency_penalty: 0.5, presence_penalty: 0.25, ..Processors::default() };
        let mut own = all.for_sequence().unwrap();
        own.accept(1).unwrap();
        own.accept(1).unwrap();
        own.accept(0).unwrap();
        let mut logits = [1.0, 1.0, 1.0];
        own.process(&mut logits).unwrap();
        assert_eq!(logits, [0.25, -0.25, 1.0]);
        // Another sequence of the same request starts with no counts.
        let mut logits = [1.0, 1.0, 1.0];
        all.for_sequence().unwrap().process(&mut logits).unwrap();
        assert_eq!(logits, [1.0; 3]);
    }

    #[test]
    fn ends_are_forbidden_at_first_and_biases_added() {
        let all = Processors { min_tokens: 1, stop_ids: vec![2, 9], bias: vec![(0, -4.0)], ..Processors::default() };
        let mut own = all.for_sequence().unwrap();
        let mut logits = [1.0, 1.0, 1.0];
        own.process(&mut logits).unwrap();
        assert_eq!(logits, [-3.0, 1.0, f32::NEG_INFINITY]);
        own.accept(1).unwrap();
        let mut logits = [1.0, 1.0, 1.0];
        own.process(&mut logits).unwrap();
        assert_eq!(logits, [-3.0, 1.0, 1.0]);
        assert!(Processors::default().for_sequence().is_none());
    }
}
