//! Sharding of the optimizer state over processes, and the exchange of gradients.
//!
//! Each tensor has one owner, and tensors are not split, so norms and updates are bit-equal to those of one process. Every
//! process sends the gradients of its micro-batch to the owners. An owner adds the gradients of a round in the order of the
//! micro-batches. So the order of summation does not depend on the number of processes. Gradients are sent in the type that
//! they were computed in. Each process keeps gradient sums, moments and (if weights are narrower than float32) masters of its
//! own share only: ZeRO stages 1 and 2 (Rajbhandari et al. 2020).

use std::ops::Range;

use distributed::World;
use tch::{Device, Kind, Tensor};

use crate::share::rounds;

/// Suffixes of the factors of a low-rank update. Both factors have the same owner, because averages need their product.
const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
/// Alignment of tensors in a buffer, in bytes.
const ALIGNED: i64 = 64;

/// Assigns an owner to each named tensor (given with its number of elements): the largest tensor first, each to the process
/// that has the fewest elements so far.
pub(crate) fn owners(named: &[(&str, u64)], processes: usize) -> Vec<usize> {
    let unit = |name: &str| FACTORS.iter().find_map(|factor| name.strip_suffix(factor)).unwrap_or(name).to_owned();
    let mut units: Vec<(String, u64)> = Vec::new();
    for (name, numbers) in named {
        let unit = unit(name);
        match units.iter_mut().find(|(known, _)| *known == unit) {
            Some((_, sum)) => *sum += numbers,
            None => units.push((unit, *numbers)),
        }
    }
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|&unit| (std::cmp::Reverse(units[unit].1), unit));
    let (mut loads, mut owner) = (vec![0; processes], vec![0; units.len()]);
    for one in order {
        let least = (0..processes).min_by_key(|&process| (loads[process], process)).unwrap_or(0);
        loads[least] += units[one].1;
        owner[one] = least;
    }
    let place = |name: &str| units.iter().position(|(known, _)| *known == unit(name)).unwrap_or(0);
    named.iter().map(|(name, _)| owner[place(name)]).collect()
}

/// Layout of tensors in the buffers of a collective: the tensors of each owner, one after another.
pub(crate) struct Layout {
    /// The tensors of each owner, as indices of the list of tensors.
    of: Vec<Vec<usize>>,
    /// Size of each tensor in bytes, and the same rounded up to the alignment.
    bytes: Vec<(i64, i64)>,
    rounds: Vec<Vec<Range<usize>>>,
}

impl Layout {
    /// The layout of tensors with these owners and sizes in bytes.
    pub fn new(owners: &[usize], bytes: &[i64], processes: usize) -> Self {
        let of = |owner| (0..owners.len()).filter(|&tensor| owners[tensor] == owner).collect();
        let of: Vec<Vec<usize>> = (0..processes).map(of).collect();
        let aligned = |&bytes: &i64| (bytes, (bytes + ALIGNED - 1) / ALIGNED * ALIGNED);
        let bytes: Vec<(i64, i64)> = bytes.iter().map(aligned).collect();
        let sizes = of.iter().map(|some| some.iter().map(|&tensor| bytes[tensor].1).collect()).collect();
        Self { rounds: rounds(sizes), of, bytes }
    }

    /// The tensors of `owner` in a round, each with its offset in the owner's buffer, and the length of that buffer, in bytes.
    fn part(&self, round: usize, owner: usize) -> (Vec<(usize, i64)>, i64) {
        let mut at = 0;
        let place = |&tensor: &usize| {
            let start = at;
            at += self.bytes[tensor].1;
            (tensor, start)
        };
        let placed = self.of[owner][self.rounds[round][owner].clone()].iter().map(place).collect();
        (placed, at)
    }

    fn view(&self, buffer: &Tensor, (tensor, at): (usize, i64), kind: Kind) -> Tensor {
        buffer.narrow(0, at, self.bytes[tensor].0).view_dtype(kind)
    }

    /// Sends each tensor to its owner. `own` holds this process's tensors, flattened; `None` for a missing one. Calls
    /// `got(tensor, value)` for each tensor that this process owns, in the order of the sending processes, with a flat view of
    /// a buffer. Only the first `present` processes have tensors.
    ///
    /// # Errors
    /// When another process has ended or called a different operation; the errors of `got`.
    pub fn to_owners<E: From<distributed::Error>>(
        &self,
        world: &World,
        device: Device,
        present: usize,
        mut own: Vec<Option<Tensor>>,
        mut got: impl FnMut(usize, Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let flags: Vec<u8> = own.iter().map(|tensor| tensor.as_ref().map_or(0, |tensor| mark(tensor.kind()))).collect();
        let flags = world.all_gather("gradients that there are", &Tensor::from_slice(&flags))?;
        let flags = Vec::<u8>::try_from(flags.flatten(0, 1)).unwrap_or_default();
        let flag = |rank: usize, tensor: usize| flags.get(rank * self.bytes.len() + tensor).copied().unwrap_or(0);
        for round in 0..self.rounds.len() {
            let parts: Vec<_> = (0..world.size()).map(|owner| self.part(round, owner)).collect();
            let lengths: Vec<i64> = parts.iter().map(|(_, length)| *length).collect();
            let send = Tensor::empty([lengths.iter().sum::<i64>()], (Kind::Uint8, device));
            let mut start = 0;
            for (tensors, length) in &parts {
                for &(tensor, at) in tensors {
                    if let Some(value) = own[tensor].take() {
                        self.view(&send, (tensor, start + at), value.kind()).copy_(&value);
                    }
                }
                start += length;
            }
            let all = world.exchange("gradients", &send, &lengths)?;
            for from in 0..present {
                let row = all.get(from as i64);
                for &(tensor, at) in &parts[world.rank()].0 {
                    if let Some(kind) = kind_of(flag(from, tensor)) {
                        got(tensor, self.view(&row, (tensor, at), kind))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends the values of the owners to all processes. `tensors` must be contiguous.
    ///
    /// # Errors
    /// When another process has ended or called a different operation.
    pub fn to_all(&self, world: &World, name: &str, tensors: &[Tensor]) -> Result<(), distributed::Error> {
        let Some(device) = tensors.first().map(Tensor::device) else { return Ok(()) };
        for round in 0..self.rounds.len() {
            let parts: Vec<_> = (0..world.size()).map(|owner| self.part(round, owner)).collect();
            let buffer = |(_, length): &(Vec<(usize, i64)>, i64)| Tensor::empty([*length], (Kind::Uint8, device));
            let mut buffers: Vec<Tensor> = parts.iter().map(buffer).collect();
            for &(tensor, at) in &parts[world.rank()].0 {
                let value = &tensors[tensor];
                let place = self.view(&buffers[world.rank()], (tensor, at), value.kind());
                place.reshape(value.size()).copy_(value);
            }
            world.broadcast_each(name, &mut buffers)?;
            for (owner, (placed, _)) in parts.iter().enumerate().filter(|(owner, _)| *owner != world.rank()) {
                for &(tensor, at) in placed {
                    let value = &tensors[tensor];
                    let place = self.view(&buffers[owner], (tensor, at), value.kind());
                    value.shallow_clone().copy_(&place.reshape(value.size()));
                }
            }
        }
        Ok(())
    }

    /// Sums tensors over all processes at their owners, in the order of the communication library. `own` holds this process's
    /// tensors, float32 and flattened; a missing one counts as zeros. Calls `got` for each tensor that this process owns. The
    /// layout must be that of float32.
    ///
    /// # Errors
    /// When another process has ended or called a different operation; the errors of `got`.
    pub fn summed<E: From<distributed::Error>>(
        &self,
        world: &World,
        device: Device,
        mut own: Vec<Option<Tensor>>,
        mut got: impl FnMut(usize, Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        for round in 0..self.rounds.len() {
            for owner in 0..world.size() {
                let (placed, length) = self.part(round, owner);
                if placed.is_empty() {
                    continue;
                }
                let mut sum = Tensor::zeros([length / 4], (Kind::Float, device));
                for &(tensor, at) in &placed {
                    if let Some(value) = own[tensor].take() {
                        sum.narrow(0, at / 4, self.bytes[tensor].0 / 4).copy_(&value);
                    }
                }
                world.reduce("gradients, summed", &mut sum, owner)?;
                if owner == world.rank() {
                    for &(tensor, at) in &placed {
                        got(tensor, sum.narrow(0, at / 4, self.bytes[tensor].0 / 4))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn mark(kind: Kind) -> u8 {
    match kind {
        Kind::Float => 1,
        Kind::BFloat16 => 2,
        Kind::Half => 3,
        _ => 4,
    }
}

fn kind_of(mark: u8) -> Option<Kind> {
    match mark {
        0 => None,
        1 => Some(Kind::Float),
        2 => Some(Kind::BFloat16),
        3 => Some(Kind::Half),
        _ => Some(Kind::Double),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_factors_stay_together() {
        let named = [("embed", 100), ("a", 40), ("b", 30), ("c", 30), ("d", 2)];
        assert_eq!(owners(&named, 2), [0, 1, 1, 1, 0]);
        assert_eq!(owners(&named, 1), [0; 5]);
        let factors = [
            ("x.lora_A.weight", 5),
            ("x.lora_B.weight", 7),
            ("y.lora_A.weight", 6),
            ("y.lora_B.weight", 5),
            ("score.weight", 1),
        ];
        assert_eq!(owners(&factors, 2), [0, 0, 1, 1, 1]);
        // With more processes than tensors, some processes own nothing.
        assert_eq!(owners(&[("one", 1)], 3), [0]);
        let layout = Layout::new(&[0], &[10], 3);
        assert_eq!((layout.part(0, 0), layout.part(0, 2)), ((vec![(0, 0)], 64), (vec![], 0)));
    }
}
