//! Data for safety tuning: `herd safety make refusals`, `pairs`, `many-shot`.
//!
//! The paper found that a model tuned on refusals alone refuses harmless requests. Therefore each request that should be refused has
//! harmless look-alikes with answers. Requests come from labelled records, or from the contrast pairs of this project. Answers come from
//! a model (`herd generate`); refusals may also come from templates.

use std::collections::BTreeMap;

pub mod command;
mod many_shot;
mod pairs;
mod refusals;
pub mod requests;
pub mod templates;
pub mod tone;

/// Counts by event.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}
