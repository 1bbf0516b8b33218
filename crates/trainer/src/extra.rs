//! What a stage trains beside the language model.

use serde_json::{Map, Value};

use crate::Named;

/// What a stage trains beside the language model, such as the head of a reward model.
#[derive(Default)]
pub struct Extra {
    /// Under their names in the model's files (`score.weight`); the tensors that [`Objective::loss`](crate::Objective::loss) computes with,
    /// of any type and on the model's device.
    pub tensors: Named,
    /// Keys put over the model's `config.json` (`architectures`, `num_labels`).
    pub config: Map<String, Value>,
    /// The tensors stand in for the language model's output head, which is then neither trained nor saved.
    pub replaces_head: bool,
    /// PEFT's name of the task, for adapters; `CAUSAL_LM` unless this says otherwise.
    pub task_type: Option<String>,
}

impl Extra {
    /// The model's tensors that stay, of all of them.
    pub(crate) fn without_head(&self, mut named: Named) -> Named {
        named.retain(|(name, _)| !self.replaces_head || name != "lm_head.weight");
        named
    }
}
