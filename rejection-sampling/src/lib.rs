//! Rejection sampling (the Llama 3 paper, sections 4.1.2, 4.2.2 and 4.2.3): a reward model, selection of the best of
//! K verified samples, and quality control of conversations.

pub mod cli;
pub mod filter;
pub mod reward;
pub mod run;
