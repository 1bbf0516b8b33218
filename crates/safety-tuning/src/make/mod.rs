//! Data for safety tuning: `herd safety make refusals`, `pairs`, `many-shot`.
//!
//! The paper's finding is that a model tuned on refusals alone refuses what is harmless: beside each request that should be refused
//! stand harmless ones that look like it, with answers. Requests come from labelled records, or from the contrast pairs that this
//! project makes; answers from a model (`herd generate`), or, for refusals only, from templates.

use std::collections::BTreeMap;

pub mod command;
mod many_shot;
mod pairs;
mod refusals;
pub mod requests;
pub mod templates;
pub mod tone;

/// How often each thing happened.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}
