//! Which process keeps the state of which weights, and how gradients come to it.
//!
//! Whole tensors have owners, so that norms and updates are computed as in one process, number for number. Every process sends
//! the gradient of its micro-batch to the owners, which add up those of a round in the order of the micro-batches: the order
//! of sums is that of one process, whatever their number. The gradients travel in the type that they were computed in. So each
//! process keeps sums, moments and, beside narrow weights, masters of its own share only (ZeRO stages 1 and 2, Rajbhandari et
//! al. 2020).

use std::ops::Range;

use distributed::World;
use tch::{Device, Kind, Tensor};

use crate::share::rounds;

/// What the factors of a low-rank update end in: they stay together, for averages of their product.
const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
/// Tensors of a buffer begin at multiples of so many bytes.
const ALIGNED: i64 = 64;

/// The owner of each of the named tensors of so many elements: the largest first, each to the process that has the least.
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

/// Tensors in the buffers of a collective: of each owner some, one after another.
pub(crate) struct Layout {
    /// The tensors of each owner, as numbers of the list.
    of: Vec<Vec<usize>>,
    /// Bytes of each tensor, and with those up to the next place where one may begin.
    bytes: Vec<(i64, i64)>,
    rounds: Vec<Vec<Range<usize>>>,
}

impl Layout {
    /// For tensors with these owners and bytes.
    pub fn new(owners: &[usize], bytes: &[i64], processes: usize) -> Self {
        let of = |owner| (0..owners.len()).filter(|&tensor| owners[tensor] == owner).collect();
        let of: Vec<Vec<usize>> = (0..processes).map(of).collect();
        let aligned = |&bytes: &i64| (bytes, (bytes + ALIGNED - 1) / ALIGNED * ALIGNED);
        let bytes: Vec<(i64, i64)> = bytes.iter().map(aligned).collect();
        let sizes = of.iter().map(|some| some.iter().map(|&tensor| bytes[tensor].1).collect()).collect();
        Self { rounds: rounds(sizes), of, bytes }
    }

    /// The tensors of a round that `owner` has, with their places in its buffer, and the length of that.
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

    /// Sends each tensor to its owner: `own` has this process's, flat, where there are any. `got(tensor, value)` is called for
    /// what this process owns, in the order of the processes, with a flat view of a buffer. Only the first `present` processes
    /// have anything.
    ///
    /// # Errors
    /// When a process is gone or does other work; those of `got`.
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

    /// Gives all processes the values of the owners; `tensors` are contiguous.
    ///
    /// # Errors
    /// When a process is gone or does other work.
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

    /// Adds up tensors over all processes in the library's order, at the owner: `own` has this process's, float32 and flat; none
    /// count as zeros. `got` is called for what this process owns. The layout is that of float32.
    ///
    /// # Errors
    /// When a process is gone or does other work; those of `got`.
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
        // More processes than tensors: some have nothing.
        assert_eq!(owners(&[("one", 1)], 3), [0]);
        let layout = Layout::new(&[0], &[10], 3);
        assert_eq!((layout.part(0, 0), layout.part(0, 2)), ((vec![(0, 0)], 64), (vec![], 0)));
    }
}
