//! Detects silent corruption: bits of weights and optimizer state that changed without a write, and gradients that a second computation
//! does not reproduce.
//!
//! - **Weights.** All processes compute with the same bits. Before a step is applied, each process computes digests of all weights,
//!   including frozen ones, and the digests are compared. After the step it would be too late, because the owner's values overwrite all
//!   copies.
//! - **Own memory.** Masters, moments and averages exist in one process only. When a process writes them or its weights, it keeps
//!   digests, and compares them with new digests before the next step. They also show which of two processes is wrong.
//! - **Gradients.** A process recomputes a micro-batch of its neighbour with the same seeds, and compares all bits.
//!
//! A fault between two compared steps goes unnoticed if the owner's next values overwrite it. With `--check-weights 1`, only faults
//! within the update itself are missed.

use std::collections::BTreeMap;

use distributed::World;
use llama::Llama;
use tch::Tensor;

use crate::optim::average::Average;
use crate::optim::digest;
use crate::optim::optimizer::Optimizer;
use crate::persist::state::Named;

/// An error: a process has wrong numbers. The program should end with [`Corrupt::EXIT_CODE`] and be started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; the run goes on from the checkpoint of step {saved} when it is started again")]
pub struct Corrupt {
    /// The ranks that have, or may have, wrong numbers.
    pub ranks: Vec<usize>,
    /// The fault and its place.
    pub what: String,
    /// The step of the newest checkpoint without wrong numbers; 0 for the beginning.
    pub saved: u64,
}

impl Corrupt {
    /// The exit code of a program that ends with this error.
    pub const EXIT_CODE: u8 = launch::supervisor::WRONG_NUMBERS as u8;

    /// The exit code for a command's error: the special code if a process had wrong numbers, otherwise 1.
    #[must_use]
    pub fn exit_code(error: &anyhow::Error) -> u8 {
        if error.is::<Self>() { Self::EXIT_CODE } else { 1 }
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The ranks that are wrong, or all candidates if that cannot be determined.
    pub ranks: Vec<usize>,
    pub what: String,
}

type Digests = Vec<(String, i64)>;

/// The digests that this process keeps.
#[derive(Default)]
pub(super) struct Verifier {
    /// The digests of the last written tensors: weights that all processes have, and tensors of this process alone.
    kept: Option<(Digests, Digests)>,
}

impl Verifier {
    /// Keeps digests after weights and state were written, if the next step compares them.
    pub fn keep(&mut self, optimizer: &Optimizer, average: Option<&Average>, model: &Llama) -> anyhow::Result<()> {
        self.kept = Some(both(optimizer, average, model)?);
        Ok(())
    }

    /// Drops the kept digests, because they belong to another step.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Compares the tensors with the kept digests, if there are any, and across all processes. `step` appears in the message.
    pub fn compare(
        &self,
        world: &World,
        optimizer: &Optimizer,
        average: Option<&Average>,
        model: &Llama,
        step: u64,
    ) -> anyhow::Result<Option<Finding>> {
        let (shared, own) = both(optimizer, average, model)?;
        let kept = self.kept.as_ref().map(|(a, b)| a.iter().chain(b));
        let changed = kept.and_then(|kept| {
            let now = shared.iter().chain(&own);
            kept.zip(now).find(|(kept, now)| kept != now).map(|(kept, _)| kept.0.clone())
        });
        let mut row: Vec<i64> = shared.iter().map(|(_, digest)| *digest).collect();
        row.push(i64::from(changed.is_some()));
        let rows =
            Vec::<i64>::try_from(world.all_gather("digests of weights", &Tensor::from_slice(&row))?.flatten(0, 1))?;
        let rows: Vec<&[i64]> = rows.chunks(row.len()).collect();
        if rows.iter().any(|row| row.ends_with(&[1])) {
            let names = world.gather_bytes("changed tensors", changed.unwrap_or_default().as_bytes())?;
            let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
            let ranks: Vec<usize> = (0..names.len()).filter(|&rank| !names[rank].is_empty()).collect();
            let each: Vec<String> = ranks.iter().map(|&rank| format!("{} of rank {rank}", names[rank])).collect();
            let what =
                format!("bits changed in memory before step {step} although nobody wrote them: in {}", each.join(", "));
            return Ok(Some(Finding { ranks, what }));
        }
        let names: Vec<&str> = shared.iter().map(|(name, _)| name.as_str()).collect();
        Ok(unlike(&names, &rows, step))
    }
}

/// The first tensor whose digest differs between rows, and the ranks in the minority.
fn unlike(names: &[&str], rows: &[&[i64]], step: u64) -> Option<Finding> {
    let (at, name) = names.iter().enumerate().find(|(at, _)| rows.iter().any(|row| row[*at] != rows[0][*at]))?;
    let mut groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (rank, row) in rows.iter().enumerate() {
        groups.entry(row[at]).or_default().push(rank);
    }
    let most = groups.values().map(Vec::len).max()?;
    let largest: Vec<&Vec<usize>> = groups.values().filter(|ranks| ranks.len() == most).collect();
    let (ranks, who): (Vec<usize>, _) = match largest.as_slice() {
        [right] => {
            let wrong: Vec<usize> = (0..rows.len()).filter(|rank| !right.contains(rank)).collect();
            let who = format!("{} differs from the others", list(&wrong));
            (wrong, who)
        }
        _ => {
            let all: Vec<usize> = (0..rows.len()).collect();
            let who = format!("{} differ, and there is no majority", list(&all));
            (all, who)
        }
    };
    Some(Finding { what: format!("before step {step} {who} in the bits of {name}"), ranks })
}

/// Evaluates recomputed gradients. `rows` has for each rank with a micro-batch the digest of its own gradient and that of its neighbour's
/// recomputed one; the neighbour of the last rank is the first.
pub(super) fn unrepeated(rows: &[[i64; 2]], step: u64) -> Option<Finding> {
    let next = |rank: usize| (rank + 1) % rows.len();
    let wrong: Vec<usize> = (0..rows.len()).filter(|&rank| rows[rank][1] != rows[next(rank)][0]).collect();
    let first = *wrong.first()?;
    // With more than two pairs, the rank in two differing pairs is the wrong one.
    let in_both = wrong.iter().copied().find(|&rank| rows.len() > 2 && wrong.contains(&next(rank))).map(next);
    let ranks = match in_both {
        Some(rank) => vec![rank],
        None if rows.len() == 1 => vec![0],
        None => vec![first, next(first)],
    };
    let what = format!(
        "the gradient of a micro-batch of step {step} by rank {} was another when rank {first} computed it again: {} computes \
         wrong numbers",
        next(first),
        if ranks.len() == 1 { format!("rank {}", ranks[0]) } else { "one of the two".to_owned() }
    );
    Some(Finding { ranks, what })
}

/// Formats ranks: `rank 1`, `ranks 0 and 1`, `ranks 0, 1 and 2`.
pub(super) fn list(ranks: &[usize]) -> String {
    match ranks {
        [] => "no rank".into(),
        [one] => format!("rank {one}"),
        [some @ .., last] => {
            let some: Vec<String> = some.iter().map(usize::to_string).collect();
            format!("ranks {} and {last}", some.join(", "))
        }
    }
}

/// The digests of tensors that all processes have, and of those that only this one has.
fn both(optimizer: &Optimizer, average: Option<&Average>, model: &Llama) -> anyhow::Result<(Digests, Digests)> {
    let mut shared: Named = optimizer.shared();
    let known: Vec<_> = shared.iter().map(|(_, tensor)| tensor.data_ptr()).collect();
    let frozen = model.named_parameters().into_iter().filter(|(_, tensor)| !known.contains(&tensor.data_ptr()));
    shared.extend(frozen);
    let mut own = optimizer.own();
    let averaged = average.map(Average::tensors).into_iter().flatten();
    own.extend(averaged.map(|(name, tensor)| (format!("the average of {name}"), tensor)));
    Ok((digest::named(&shared)?, digest::named(&own)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minority_is_wrong() {
        let names = ["a", "b"];
        let found = |rows: &[&[i64]]| unlike(&names, rows, 7);
        assert_eq!(found(&[&[1, 2, 0], &[1, 2, 0]]), None);
        let odd = found(&[&[1, 2, 0], &[1, 2, 0], &[1, 3, 0], &[1, 2, 0]]).unwrap();
        assert_eq!(odd.ranks, [2]);
        assert_eq!(odd.what, "before step 7 rank 2 differs from the others in the bits of b");
        assert_eq!(found(&[&[1, 2, 0], &[1, 3, 0], &[1, 4, 0], &[1, 2, 0]]).unwrap().ranks, [1, 2]);
        let two = found(&[&[1, 2, 0], &[5, 2, 0]]).unwrap();
        assert_eq!(two.ranks, [0, 1]);
        assert_eq!(two.what, "before step 7 ranks 0 and 1 differ, and there is no majority in the bits of a");
    }

    #[test]
    fn a_rank_that_is_in_two_pairs_computes_wrong_numbers() {
        // Each row has the rank's own digest and the neighbour's recomputed one.
        assert_eq!(unrepeated(&[[10, 11], [11, 12], [12, 10]], 3), None);
        // Rank 1 is wrong in its own gradient and in the one that it recomputes.
        let found = unrepeated(&[[10, 11], [99, 98], [12, 10]], 3).unwrap();
        assert_eq!(found.ranks, [1]);
        assert!(found.what.ends_with("rank 1 computes wrong numbers"), "{}", found.what);
        // A single difference does not determine the rank.
        let once = unrepeated(&[[10, 11], [11, 98], [12, 10]], 3).unwrap();
        assert_eq!(once.ranks, [1, 2]);
        assert!(once.what.ends_with("one of the two computes wrong numbers"), "{}", once.what);
        assert_eq!(unrepeated(&[[10, 11], [99, 10]], 3).unwrap().ranks, [0, 1]);
        assert_eq!(unrepeated(&[[10, 10]], 3), None);
        assert_eq!(unrepeated(&[[10, 11]], 3).unwrap().ranks, [0]);
    }

    #[test]
    fn the_exit_code_is_that_of_the_supervisor() {
        let corrupt = Corrupt { ranks: vec![1], what: "x".into(), saved: 4 };
        assert_eq!(Corrupt::exit_code(&anyhow::Error::new(corrupt).context("step 5")), 76);
        assert_eq!(Corrupt::exit_code(&anyhow::anyhow!("x")), 1);
    }
}
