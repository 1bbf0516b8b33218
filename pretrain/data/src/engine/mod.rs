//! The engine: a recipe as phases. Each phase has steps that look at one document at a time (map steps), followed by
//! steps over the whole corpus (group steps).
//!
//! A phase writes *parts*, folders that get their name only when they are complete: documents, dropped documents with
//! reasons, the ledger of the part, and narrow tables for the group steps. The boundaries of a part depend only on
//! the input, so a killed run continues with the first missing part and ends with the same bytes. Group steps write
//! decisions, which the next phase applies while it reads.

mod finish;
mod group;
mod map;
mod number;
mod part;
mod phase;
pub mod run;
mod tools;

pub use group::Decisions;
pub use part::{Part, all as parts, place_parts};

use crate::recipe::{Recipe, Step};

/// A phase: steps that are done in one pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phase {
    /// Map steps, by their number in the recipe.
    pub maps: Vec<usize>,
    /// The group steps after them.
    pub groups: Vec<usize>,
}

/// The phases of a recipe. The last has no group step.
#[must_use]
pub fn phases(recipe: &Recipe) -> Vec<Phase> {
    let mut phases = vec![Phase::default()];
    for (at, step) in recipe.steps.iter().enumerate() {
        let current = phases.len() - 1;
        // The steps after the removal of lines must see the shorter texts.
        let lines_before =
            phases[current].groups.iter().any(|group| matches!(recipe.steps[*group], Step::DedupLines(_)));
        let begins = if step.is_global() { lines_before } else { !phases[current].groups.is_empty() };
        if begins {
            phases.push(Phase::default());
        }
        let current = phases.len() - 1;
        let list = if step.is_global() { &mut phases[current].groups } else { &mut phases[current].maps };
        list.push(at);
    }
    if phases.last().is_some_and(|phase| !phase.groups.is_empty()) {
        phases.push(Phase::default());
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_a_phase_and_the_last_has_no_group() {
        let recipe: Recipe = toml::from_str(
            "[[source]]\nname = \"a\"\nfiles = [\"a\"]\n[[step]]\nkind = \"c4\"\n[[step]]\nkind = \"dedup-url\"\n[[step]]\nkind = \
             \"dedup-minhash\"\n[[step]]\nkind = \"dedup-lines\"\n[[step]]\nkind = \"dedup-exact\"\n[[step]]\nkind = \"fineweb\"\n",
        )
        .unwrap();
        let phase = |maps: &[usize], groups: &[usize]| Phase { maps: maps.to_vec(), groups: groups.to_vec() };
        assert_eq!(phases(&recipe), [phase(&[0], &[1, 2, 3]), phase(&[], &[4]), phase(&[5], &[])]);
        let recipe = Recipe { steps: recipe.steps[..2].to_vec(), ..recipe };
        assert_eq!(phases(&recipe), [phase(&[0], &[1]), phase(&[], &[])]);
    }
}
