//! Divides work among the processes of a run, and merges the results in the order of one process.

use anyhow::Context;
use distributed::World;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::objective::{Metric, MetricSums};
use crate::persist::state::Named;

/// Maximal bytes of one process in one collective.
const ROUND: i64 = 64 << 20;

/// Whether item `number` of a list belongs to this process; items are assigned round-robin.
#[must_use]
pub fn is_own(world: &World, number: usize) -> bool {
    number % world.size() == world.rank()
}

/// The results of all processes in the order of the original list. `own` holds the results for this process's items (see
/// [`is_own`]), in order.
///
/// # Errors
/// When another process has ended or called a different operation.
pub fn results<T: Serialize + DeserializeOwned>(world: &World, name: &str, own: Vec<T>) -> anyhow::Result<Vec<T>> {
    if world.is_alone() {
        return Ok(own);
    }
    let all = world.gather_bytes(name, &serde_json::to_vec(&own)?)?;
    let read = |bytes: &Vec<u8>| serde_json::from_slice::<Vec<T>>(bytes);
    let all: Vec<Vec<T>> = all.iter().map(read).collect::<Result<_, _>>().with_context(|| name.to_owned())?;
    let total = all.iter().map(Vec::len).sum();
    let mut parts: Vec<_> = all.into_iter().map(Vec::into_iter).collect();
    Ok((0..total).filter_map(|number| parts[number % world.size()].next()).collect())
}

/// Sums results over the processes in their order, when each process computed a share of every result.
///
/// # Errors
/// When another process has ended or called a different operation.
pub(crate) fn sums(world: &World, name: &str, own: &[Found]) -> anyhow::Result<Vec<Found>> {
    let all = world.gather_bytes(name, &serde_json::to_vec(own)?)?;
    let mut sums: Vec<Found> = Vec::new();
    for (rank, bytes) in all.iter().enumerate() {
        let theirs: Vec<Found> = serde_json::from_slice(bytes).with_context(|| name.to_owned())?;
        if rank == 0 {
            sums = theirs;
            continue;
        }
        sums.iter_mut().zip(&theirs).for_each(|(sum, found)| sum.add(found));
    }
    Ok(sums)
}

/// A loss (a sum) and metrics, serialized for other processes. Numbers are sent as bits, because decimal text would round them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    sum: u64,
    metrics: Vec<(String, u64, u64)>,
}

impl Found {
    pub fn new(sum: f64, metrics: &[Metric]) -> Self {
        let bits = |metric: &Metric| (metric.name.to_owned(), metric.sum.number().to_bits(), metric.weight.to_bits());
        Self { sum: sum.to_bits(), metrics: metrics.iter().map(bits).collect() }
    }

    pub fn sum(&self) -> f64 {
        f64::from_bits(self.sum)
    }

    fn add(&mut self, other: &Self) {
        let plus = |a: &mut u64, b: u64| *a = (f64::from_bits(*a) + f64::from_bits(b)).to_bits();
        plus(&mut self.sum, other.sum);
        for (name, sum, weight) in &other.metrics {
            match self.metrics.iter_mut().find(|(known, ..)| known == name) {
                Some((_, known, known_weight)) => {
                    plus(known, *sum);
                    plus(known_weight, *weight);
                }
                None => self.metrics.push((name.clone(), *sum, *weight)),
            }
        }
    }

    pub fn add_to(&self, sums: &mut MetricSums) {
        for (name, sum, weight) in &self.metrics {
            sums.add_term(name, f64::from_bits(*sum), f64::from_bits(*weight));
        }
    }
}

/// Destination of tensors that are sharded over the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Only the process that writes files; the other processes get an empty list.
    First,
    /// All processes.
    All,
}

/// Collects float32 tensors that are sharded over the processes into one list, sorted by `place`.
///
/// # Errors
/// When another process has ended or called a different operation.
pub(crate) fn whole(world: &World, own: Named, place: &dyn Fn(&str) -> usize, to: To) -> anyhow::Result<Named> {
    if world.is_alone() {
        return Ok(own);
    }
    let _no_grad = tch::no_grad_guard();
    let shapes: Vec<(&str, Vec<i64>)> = own.iter().map(|(name, tensor)| (name.as_str(), tensor.size())).collect();
    let all = world.gather_bytes("names of tensors", &serde_json::to_vec(&shapes)?)?;
    let read = |bytes: &Vec<u8>| serde_json::from_slice::<Vec<(String, Vec<i64>)>>(bytes);
    let all: Vec<Vec<(String, Vec<i64>)>> = all.iter().map(read).collect::<Result<_, _>>()?;
    let device = own.first().map_or(Device::Cpu, |(_, tensor)| tensor.device());
    let numbers = |shape: &[i64]| shape.iter().product::<i64>();
    let rounds = rounds(all.iter().map(|some| some.iter().map(|(_, shape)| 4 * numbers(shape)).collect()).collect());
    let mut found: Named = Vec::new();
    for round in rounds {
        let lengths: Vec<i64> = round
            .iter()
            .zip(&all)
            .map(|(part, some)| some[part.clone()].iter().map(|(_, shape)| numbers(shape)).sum())
            .collect();
        let packed = |rank: usize| {
            let mut flat: Vec<Tensor> =
                own[round[rank].clone()].iter().map(|(_, tensor)| tensor.detach().reshape([-1])).collect();
            flat.push(Tensor::zeros([0], (Kind::Float, device)));
            Tensor::cat(&flat, 0)
        };
        let flat: Vec<Tensor> = if to == To::All {
            let buffer = |rank: usize| match rank == world.rank() {
                true => packed(rank),
                false => Tensor::empty([lengths[rank]], (Kind::Float, device)),
            };
            let mut buffers: Vec<Tensor> = (0..world.size()).map(buffer).collect();
            world.broadcast_each("tensors", &mut buffers)?;
            buffers
        } else {
            let got = world.collect("tensors for the first", &packed(world.rank()), &lengths)?;
            if !world.is_first() {
                continue;
            }
            got.split_with_sizes(&lengths[..], 0)
        };
        for (rank, part) in round.iter().enumerate() {
            let mut at = 0;
            for (name, shape) in &all[rank][part.clone()] {
                let length = numbers(shape);
                found.push((name.clone(), flat[rank].narrow(0, at, length).reshape(shape).copy()));
                at += length;
            }
        }
    }
    found.sort_by_key(|(name, _)| place(name));
    Ok(found)
}

/// Splits lists of sizes in bytes, one list for each process, into rounds. In a round each process handles the next items of
/// its list: at most [`ROUND`] bytes in total, or a single larger item.
pub(crate) fn rounds(sizes: Vec<Vec<i64>>) -> Vec<Vec<std::ops::Range<usize>>> {
    let mut next = vec![0; sizes.len()];
    let mut rounds = Vec::new();
    while next.iter().zip(&sizes).any(|(&next, sizes)| next < sizes.len()) {
        let cut = |(start, sizes): (&mut usize, &Vec<i64>)| {
            let (first, mut sum) = (*start, 0);
            while *start < sizes.len() && (*start == first || sum + sizes[*start] <= ROUND) {
                sum += sizes[*start];
                *start += 1;
            }
            first..*start
        };
        rounds.push(next.iter_mut().zip(&sizes).map(cut).collect());
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_have_everything_once_and_in_order() {
        let big = ROUND + 1;
        let found = rounds(vec![vec![1, 2, big, 3], vec![], vec![ROUND / 2, ROUND / 2, 1]]);
        assert_eq!(found, [vec![0..2, 0..0, 0..2], vec![2..3, 0..0, 2..3], vec![3..4, 0..0, 3..3]]);
        assert!(rounds(vec![vec![], vec![]]).is_empty());
    }

    #[test]
    fn numbers_keep_their_bits() {
        let metric = Metric { name: "margin", sum: (0.1 + 0.2).into(), weight: f64::NAN };
        let found = Found::new(1.0 / 3.0, &[metric]);
        let read: Found = serde_json::from_slice(&serde_json::to_vec(&found).unwrap()).unwrap();
        assert_eq!(read, found);
        assert_eq!(read.sum(), 1.0 / 3.0);
    }
}
