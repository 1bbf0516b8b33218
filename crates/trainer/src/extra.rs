//! Tensors that a stage trains beside the language model.

use serde_json::{Map, Value};

use crate::Named;

/// Tensors that a stage trains beside the language model, such as the head of a reward model.
#[derive(Default)]
pub struct Extra {
    /// The tensors under their names in the model's files (`score.weight`). [`Objective::loss`](crate::Objective::loss)
    /// computes with them. They may have any type and are on the model's device.
    pub tensors: Named,
    /// Keys that override those of the model's `config.json` (`architectures`, `num_labels`).
    pub config: Map<String, Value>,
    /// Whether the tensors replace the language model's output head, which is then neither trained nor saved.
    pub replaces_head: bool,
    /// Whether only these tensors are trained. The language model is then unchanged, and the stage writes the result
    /// ([`Objective::save`](crate::Objective::save)).
    pub frozen: bool,
    /// PEFT's `task_type` for adapters; `None` means `CAUSAL_LM`.
    pub task_type: Option<String>,
}

impl Extra {
    /// The model's tensors that are kept: all of them, or all except the output head if it is replaced.
    pub(crate) fn without_head(&self, mut named: Named) -> Named {
        named.retain(|(name, _)| !self.replaces_head || name != "lm_head.weight");
        named
    }
}
