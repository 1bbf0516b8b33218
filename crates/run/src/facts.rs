//! The facts about a run that a command knows before it opens the folder.

use crate::config::Class;
use crate::inputs::Input;
use crate::record::Hardware;

/// The facts that a command knows before it starts.
pub struct Facts<'a> {
    /// The command without `herd`, such as `sft` or `rejection-sampling run`.
    pub stage: &'a str,
    /// The class of each key.
    pub class: fn(&str) -> Class,
    /// The seed of all random choices.
    pub seed: Option<u64>,
    /// The inputs of the run.
    pub inputs: Vec<Input>,
    /// The machine.
    pub hardware: Hardware,
    /// The version of libtorch, for stages that use it.
    pub libtorch: Option<&'a str>,
    /// The reasons why a repetition may give other bytes, one sentence each (an endpoint, for example).
    pub notes: Vec<String>,
}

impl<'a> Facts<'a> {
    /// The facts of a command without random choices, inputs and libtorch, on this machine. Others follow by
    /// `Facts { inputs, ..Facts::new(stage, class) }`.
    #[must_use]
    pub fn new(stage: &'a str, class: fn(&str) -> Class) -> Self {
        let (inputs, notes) = (Vec::new(), Vec::new());
        Self { stage, class, seed: None, inputs, hardware: Hardware::here(), libtorch: None, notes }
    }
}
