//! Paged KV cache for libtorch's operators.

use tch::{Device, Kind, Tensor};
use torch_ext::decoder::Segment;
use torch_ext::{OpError, PageTable, QuerySegment, catch, page_attention, varlen_attention};

use crate::attention::{Attend, Causal, LayerContext, scaled_dot_product};
use crate::config::LlamaConfig;
use crate::pages::PAGE;

/// Number of pages in a block of keys. Attention always processes whole blocks. Vector instructions sum whole blocks in one
/// order and a remainder in another, so with a remainder the last bits of a sequence would depend on longer sequences in the
/// batch.
const BLOCK_PAGES: usize = 64 / PAGE;

/// Keys and values of each layer, `[pages, PAGE, kv_heads, head_dim]`. The cache grows when higher pages come into use.
pub struct PagedCache {
    keys: Vec<Tensor>,
    values: Vec<Tensor>,
    /// Maximal number of pages, without the page of idle rows.
    pages: usize,
    /// Number of allocated pages, without the page of idle rows, which follows them.
    capacity: usize,
}

impl PagedCache {
    /// An empty cache of at most `pages` pages.
    pub fn new(config: &LlamaConfig, pages: usize, kind: Kind, device: Device) -> Self {
        let shape = [1, PAGE as i64, config.num_key_value_heads, config.head_dim];
        let empty = || (0..config.num_hidden_layers).map(|_| Tensor::zeros(shape, (kind, device))).collect();
        Self { keys: empty(), values: empty(), pages, capacity: 0 }
    }

    /// Whether [`PagedCache::reserve`] with this number of pages moves the cache to other addresses.
    pub fn moves(&self, pages: usize) -> bool {
        pages > self.capacity
    }

    /// A second handle on the same memory, until one of the two moves.
    pub fn shallow_clone(&self) -> Self {
        let all = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        Self { keys: all(&self.keys), values: all(&self.values), pages: self.pages, capacity: self.capacity }
    }

    /// Allocates the pages below `pages`. The capacity at least doubles, so that copies are rare. The last page is for idle rows.
    pub fn reserve(&mut self, pages: usize) -> Result<(), OpError> {
        if pages <= self.capacity {
            return Ok(());
        }
        let capacity = pages.max(self.capacity * 2).max(64).min(self.pages.max(pages));
        for tensor in self.keys.iter_mut().chain(&mut self.values) {
            let mut shape = tensor.size();
            shape[0] = capacity as i64 + 1;
            let larger = Tensor::f_zeros(&shape, (tensor.kind(), tensor.device()))?;
            larger.narrow(0, 0, self.capacity as i64).copy_(&tensor.narrow(0, 0, self.capacity as i64));
            *tensor = larger;
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Copies a page of all layers to another page, after allocating it.
    ///
    /// # Errors
    /// When libtorch cannot allocate memory.
    pub fn copy_page(&mut self, from: u32, to: u32) -> Result<(), OpError> {
        self.reserve(from.max(to) as usize + 1)?;
        catch(|| {
            for tensor in self.keys.iter().chain(&self.values) {
                tensor.f_get(i64::from(to))?.f_copy_(&tensor.f_get(i64::from(from))?)?;
            }
            Ok(())
        })
    }

    /// The keys and values of a layer.
    pub fn layer(&self, layer: usize) -> Option<(&Tensor, &Tensor)> {
        self.keys.get(layer).zip(self.values.get(layer))
    }

    /// The page of idle rows (rows without a sequence): the last page.
    pub fn idle_page(&self) -> u32 {
        self.capacity as u32
    }

    /// The index of a token in the flattened pages, for a sequence with these pages. Without pages, the row is idle.
    pub fn place(&self, pages: &[u32], token: usize) -> i64 {
        match pages.get(token / PAGE) {
            Some(&page) => i64::from(page) * PAGE as i64 + (token % PAGE) as i64,
            None => i64::from(self.idle_page()) * PAGE as i64,
        }
    }
}

/// Writes `new`, `[tokens, kv_heads, head_dim]`, to the positions `rows` of a layer's pages.
fn keep(cache: &Tensor, rows: &Tensor, new: &Tensor) {
    let shape = cache.size();
    let _ = cache.view([shape[0] * shape[1], shape[2], shape[3]]).index_copy_(0, rows, new);
}

/// Attention of one whole prompt in its own row; stores its keys and values.
pub struct Prefill<'a> {
    cache: &'a PagedCache,
    pages: &'a [u32],
    rows: Option<Tensor>,
}

impl<'a> Prefill<'a> {
    /// Stores into `pages`, which must have room for the prompt.
    pub fn new(cache: &'a PagedCache, pages: &'a [u32]) -> Self {
        Self { cache, pages, rows: None }
    }
}

impl Attend for Prefill<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let rows = self.rows.get_or_insert_with(|| {
            let rows: Vec<i64> = (0..k.size()[1] as usize).map(|token| self.cache.place(self.pages, token)).collect();
            Tensor::from_slice(&rows).to_device(k.device())
        });
        catch(|| {
            keep(&self.cache.keys[context.layer], rows, &k.select(0, 0));
            keep(&self.cache.values[context.layer], rows, &v.select(0, 0));
            Causal.attend(context, q, k, v)
        })
    }
}

/// Attention of several whole prompts, one after another in one row, with one call per layer; stores their keys and values.
pub struct PrefillTogether<'a> {
    cache: &'a PagedCache,
    places: Tensor,
    prompts: Vec<QuerySegment>,
}

impl<'a> PrefillTogether<'a> {
    /// Prompts of the given lengths. Their keys and values go to the positions `places` of the flattened pages, `[tokens]` int64.
    pub fn new(cache: &'a PagedCache, lengths: impl IntoIterator<Item = i64>, places: Tensor) -> Self {
        let mut start = 0;
        let text = |length| {
            start += length;
            QuerySegment::text(start - length, length)
        };
        Self { cache, places, prompts: lengths.into_iter().map(text).collect() }
    }
}

impl Attend for PrefillTogether<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        catch(|| {
            let [flat_q, flat_k, flat_v] = [q, k, v].map(|x| x.squeeze_dim(0));
            keep(&self.cache.keys[context.layer], &self.places, &flat_k);
            keep(&self.cache.values[context.layer], &self.places, &flat_v);
            Ok(varlen_attention(&flat_q, &flat_k, &flat_v, &self.prompts, context.window)?.view_as(q))
        })
    }
}

/// Attention of one new token in every row. The token follows the cached tokens of its sequence.
pub struct Decode<'a> {
    cache: &'a PagedCache,
    lengths: Vec<i64>,
    /// Index of each row's new token in the flattened pages.
    rows: Tensor,
    /// The pages of all rows, each row padded to the number of pages of the longest.
    pages: Tensor,
    pages_each: i64,
    /// Additive masks `[rows, 1, 1, longest]`, one for each window.
    masks: Vec<(Option<i64>, Tensor)>,
}

impl<'a> Decode<'a> {
    /// One token for each segment. A segment without pages is an idle row.
    pub fn new(cache: &'a PagedCache, segments: &[&Segment]) -> Self {
        let device = cache.keys[0].device();
        let lengths: Vec<i64> = segments.iter().map(|segment| segment.start as i64).collect();
        let longest = segments.iter().map(|segment| segment.start + 1).max().unwrap_or(1);
        let pages_each = longest.div_ceil(PAGE).next_multiple_of(BLOCK_PAGES);
        let page =
            |segment: &Segment, index: usize| i64::from(segment.pages.get(index).copied().unwrap_or(cache.idle_page()));
        let row =
            |segment: &&Segment| page(segment, segment.start / PAGE) * PAGE as i64 + (segment.start % PAGE) as i64;
        let rows: Vec<i64> = segments.iter().map(row).collect();
        let pages: Vec<i64> =
            segments.iter().flat_map(|segment| (0..pages_each).map(move |index| page(segment, index))).collect();
        let on_device = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let (rows, pages) = (on_device(&rows), on_device(&pages));
        Self { cache, lengths, rows, pages, pages_each: pages_each as i64, masks: Vec::new() }
    }

    fn mask(&mut self, window: Option<i64>, options: (Kind, Device)) -> Tensor {
        if let Some((_, mask)) = self.masks.iter().find(|(of, _)| *of == window) {
            return mask.shallow_clone();
        }
        let longest = self.pages_each as usize * PAGE;
        let mut mask = vec![f32::NEG_INFINITY; self.lengths.len() * longest];
        for (row, &length) in mask.chunks_mut(longest).zip(&self.lengths) {
            let first = window.map_or(0, |window| (length + 1 - window).max(0));
            row[first as usize..=length as usize].fill(0.0);
        }
        let mask = Tensor::from_slice(&mask).reshape([-1, 1, 1, longest as i64]).to_device(options.1);
        let mask = mask.to_kind(options.0);
        self.masks.push((window, mask.shallow_clone()));
        mask
    }
}

impl Attend for Decode<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        catch(|| self.seen(context, q, k, v))
    }
}

impl Decode<'_> {
    fn seen(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let LayerContext { layer, window, .. } = context;
        let mask = self.mask(window, (q.kind(), q.device()));
        let (rows, _, heads, head_dim) = q.size4()?;
        let kv_heads = k.size()[2];
        let extend = |cache: &Tensor, new: &Tensor| {
            keep(cache, &self.rows, &new.select(1, 0));
            cache.index_select(0, &self.pages).view([rows, self.pages_each * PAGE as i64, kv_heads, head_dim])
        };
        let (keys, values) = (extend(&self.cache.keys[layer], k), extend(&self.cache.values[layer], v));
        if rows == 1 {
            // The same kernel that transformers uses for one sequence: in bfloat16 the last bit decides near ties.
            return Ok(scaled_dot_product(q, &keys, &values, Some(&mask), false));
        }
        // The queries of a group attend to the same keys. Treated as a short sequence, they share one pass over the keys, which
        // in bfloat16 is four times faster than libtorch's grouped attention of single tokens.
        let grouped = q.view([rows, kv_heads, heads / kv_heads, head_dim]).transpose(1, 2);
        let seen = scaled_dot_product(&grouped, &keys, &values, Some(&mask), false);
        Ok(seen.transpose(1, 2).reshape([rows, 1, heads, head_dim]))
    }
}

/// [`Decode`] with herd's own GPU kernels. They read keys and values in their pages: no gathered copy, no masks. The attention of
/// a row does not depend on the other rows.
pub struct InPlace<'a> {
    cache: &'a PagedCache,
    /// Index of each row's new token in the flattened pages.
    rows: Tensor,
    pages: PageTable,
}

impl<'a> InPlace<'a> {
    /// One token for each row of the table: its keys and values go to the positions `rows` of the flattened pages. An idle row
    /// has no keys, and its result is 0.
    pub fn new(cache: &'a PagedCache, rows: Tensor, pages: PageTable) -> Self {
        Self { cache, rows, pages }
    }
}

impl Attend for InPlace<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let LayerContext { layer, window, .. } = context;
        catch(|| {
            let (keys, values) = (&self.cache.keys[layer], &self.cache.values[layer]);
            keep(keys, &self.rows, &k.select(1, 0));
            keep(values, &self.rows, &v.select(1, 0));
            Ok(page_attention(&q.select(1, 0), (keys, values), &self.pages, window)?.unsqueeze(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_copied_where_there_was_no_room_for_it() {
        let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
            "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "vocab_size": 16, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1e4});
        let config = LlamaConfig::from_json(config.as_object().unwrap().clone()).unwrap();
        let mut cache = PagedCache::new(&config, 300, Kind::Float, Device::Cpu);
        cache.reserve(1).unwrap();
        for tensor in cache.keys.iter_mut().chain(&mut cache.values) {
            let _ = tensor.get(3).fill_(2.0);
        }
        // The page of idle rows, the first page after it, and a page far after it.
        for to in [64, 129, 299] {
            cache.copy_page(3, to).unwrap();
            for tensor in cache.keys.iter().chain(&cache.values) {
                assert_eq!(tensor.get(i64::from(to)).min().double_value(&[]), 2.0, "page {to}");
                assert_eq!(tensor.get(i64::from(cache.idle_page())).max().double_value(&[]), 0.0, "after page {to}");
            }
        }
    }
}
