//! Keys and values of the tokens already seen, one slot a sequence.

use tch::{Device, Kind, Tensor};

use crate::attention::{Attend, Causal, scaled_dot_product};
use crate::config::LlamaConfig;

/// Tokens that attention looks over at a time. Vector instructions add up whole blocks alike and a rest in another order,
/// so a sequence would have other last bits beside a longer one if there ever were a rest.
const BLOCK: i64 = 64;

/// `length` rounded up to whole blocks.
fn blocks(length: i64) -> i64 {
    (length + BLOCK - 1) / BLOCK * BLOCK
}

/// For each layer, keys and values `[slots, capacity, kv_heads, head_dim]`. The capacity grows as sequences do.
pub struct KvCache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    slots: i64,
    capacity: i64,
}

impl KvCache {
    /// An empty cache for `slots` sequences.
    pub fn new(config: &LlamaConfig, slots: usize, kind: Kind, device: Device) -> Self {
        let (slots, capacity) = (slots as i64, BLOCK);
        let shape = [slots, capacity, config.num_key_value_heads, config.head_dim];
        let empty = || (0..config.num_hidden_layers).map(|_| Tensor::zeros(shape, (kind, device))).collect();
        Self { keys: empty(), values: empty(), slots, capacity }
    }

    /// Makes room for `length` tokens in every slot: doubled, so that the copies stay rare.
    pub fn reserve(&mut self, length: i64) -> Result<(), tch::TchError> {
        if length <= self.capacity {
            return Ok(());
        }
        let capacity = (self.capacity * 2).max(blocks(length));
        for tensor in self.keys.iter_mut().chain(&mut self.values) {
            let mut shape = tensor.size();
            shape[1] = capacity;
            let larger = Tensor::f_zeros(&shape, (tensor.kind(), tensor.device()))?;
            larger.narrow(1, 0, self.capacity).copy_(tensor);
            *tensor = larger;
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Copies the first `length` tokens of slot `from` to slot `to`.
    pub fn copy_slot(&mut self, from: usize, to: usize, length: i64) {
        for tensor in self.keys.iter().chain(&self.values) {
            let source = tensor.select(0, from as i64).narrow(0, 0, length);
            tensor.select(0, to as i64).narrow(0, 0, length).copy_(&source);
        }
    }
}

/// Attention of one prompt, a row of its own, whose keys and values are kept in a slot.
pub struct Prefill<'a> {
    /// Where keys and values are kept.
    pub cache: &'a mut KvCache,
    /// The sequence's slot; the cache must have room for the prompt.
    pub slot: usize,
}

impl Attend for Prefill<'_> {
    fn attend(&mut self, layer: usize, window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let keep = |cache: &Tensor, new: &Tensor| {
            cache.select(0, self.slot as i64).narrow(0, 0, new.size()[1]).copy_(&new.select(0, 0));
        };
        keep(&self.cache.keys[layer], k);
        keep(&self.cache.values[layer], v);
        Causal.attend(layer, window, q, k, v)
    }
}

/// Attention of one new token in every slot, at the position that follows what the slot holds.
pub struct Decode<'a> {
    cache: &'a mut KvCache,
    lengths: &'a [i64],
    /// Row of each slot's new token when slots and capacity are taken as one dimension.
    rows: Tensor,
    /// Additive masks `[slots, 1, 1, longest]`, by window.
    masks: Vec<(Option<i64>, Tensor)>,
}

impl<'a> Decode<'a> {
    /// `lengths[slot]` tokens are in each slot before this one; the cache must have room for one more.
    pub fn new(cache: &'a mut KvCache, lengths: &'a [i64]) -> Self {
        let capacity = cache.capacity;
        let rows: Vec<i64> = lengths.iter().enumerate().map(|(slot, length)| slot as i64 * capacity + length).collect();
        let rows = Tensor::from_slice(&rows).to_device(cache.keys[0].device());
        Self { cache, lengths, rows, masks: Vec::new() }
    }

    fn mask(&mut self, window: Option<i64>, options: (Kind, Device)) -> Tensor {
        if let Some((_, mask)) = self.masks.iter().find(|(of, _)| *of == window) {
            return mask.shallow_clone();
        }
        let longest = blocks(self.lengths.iter().max().map_or(1, |length| length + 1));
        let mut mask = vec![f32::NEG_INFINITY; self.lengths.len() * longest as usize];
        for (row, &length) in mask.chunks_mut(longest as usize).zip(self.lengths) {
            let first = window.map_or(0, |window| (length + 1 - window).max(0));
            row[first as usize..=length as usize].fill(0.0);
        }
        let mask = Tensor::from_slice(&mask).reshape([-1, 1, 1, longest]).to_device(options.1).to_kind(options.0);
        self.masks.push((window, mask.shallow_clone()));
        mask
    }
}

impl Attend for Decode<'_> {
    fn attend(&mut self, layer: usize, window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let mask = self.mask(window, (q.kind(), q.device()));
        let longest = mask.size()[3];
        let flat = [self.cache.slots * self.cache.capacity, k.size()[2], k.size()[3]];
        let extend = |cache: &Tensor, new: &Tensor| {
            let _ = cache.view(flat).index_copy_(0, &self.rows, &new.select(1, 0));
            cache.narrow(1, 0, longest)
        };
        let (keys, values) = (extend(&self.cache.keys[layer], k), extend(&self.cache.values[layer], v));
        let (slots, _, heads, head_dim) = q.size4().expect("queries are [slots, 1, heads, head_dim]");
        if slots == 1 {
            // The kernel that transformers takes for one sequence: in bfloat16 the last bit decides near ties.
            return scaled_dot_product(q, &keys, &values, Some(&mask), false);
        }
        // The queries of a group look over the same keys: as a short sequence they share one pass over them, which in
        // bfloat16 is four times faster than libtorch's grouped attention of single tokens.
        let kv_heads = k.size()[2];
        let grouped = q.view([slots, kv_heads, heads / kv_heads, head_dim]).transpose(1, 2);
        let seen = scaled_dot_product(&grouped, &keys, &values, Some(&mask), false);
        seen.transpose(1, 2).reshape([slots, 1, heads, head_dim])
    }
}
