//! Compute backends of the engine: packed weights with fused CPU kernels, or libtorch operators on any device.

use tch::{Device, Kind, Tensor};
use torch_ext::decoder::{Decoder, DecoderEnds, DecoderLayer, DecoderShape, Projection, Segment};
use torch_ext::{OpError, catch};

use crate::attention::Packed;
use crate::fixed_step::{FixedSteps, Graphs};
use crate::kv_cache::{Decode, PagedCache, Prefill, PrefillTogether};
use crate::linear::Linear;
use crate::logits::Logits;
use crate::model::Llama;
use crate::pass::Pass;
use crate::score::to_floats;

/// Choice of the engine's compute backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// Packed weights if they are supported (CPU; float32 or bfloat16; widths that are multiples of 16; no unmerged LoRA),
    /// otherwise libtorch's operators.
    #[default]
    Auto,
    /// libtorch's operators, as in the plain forward pass. On a CPU, one sequence in bfloat16 is bit-equal to transformers. On a
    /// GPU, herd's own kernels replace some of them ([`crate::GpuKernels`]).
    Tensors,
}

/// The state of the libtorch backend.
pub(crate) struct Tensors {
    model: Llama,
    cache: PagedCache,
    steps: FixedSteps,
    slots: usize,
}

/// Runs the model on tokens and stores their keys and values in cache pages.
pub(crate) enum Backend {
    /// Packed weights. The bits of a sequence depend neither on the batch nor on how its tokens are split into calls.
    Packed(Decoder),
    /// libtorch's operators, whose bits depend on both. So each prompt is computed as a whole in its own row, and decoding uses
    /// a fixed number of rows. With herd's own GPU kernels, prompts share passes and the number of rows varies: bits then depend
    /// on the batch.
    Tensors(Box<Tensors>),
}

impl Backend {
    /// Maximal number of prompt tokens in one step with packed weights: enough for efficient matrix products, few enough to
    /// delay the decoding sequences only briefly.
    pub const PROMPT_ROWS: usize = 256;

    pub fn new(
        model: &Llama,
        (kernels, graphs): (Kernels, Graphs),
        slots: usize,
        pages: usize,
    ) -> Result<Self, String> {
        if kernels == Kernels::Auto && packable(model) {
            return pack(model, pages).map(Self::Packed).map_err(|error| error.to_string());
        }
        let cache = catch(|| Ok(PagedCache::new(model.config(), pages, model.kind(), model.device())));
        let cache = cache.map_err(|error: OpError| error.to_string())?;
        let steps = FixedSteps::new(model, graphs, slots);
        Ok(Self::Tensors(Box::new(Tensors { model: model.shallow_clone(), cache, steps, slots })))
    }

    /// Whether bits depend neither on the batch nor on the split into calls. Only then do sequences share computed prefixes.
    pub fn is_invariant(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// Copies the keys and values of one page to another.
    pub fn copy_page(&mut self, from: u32, to: u32) -> Result<(), String> {
        match self {
            Self::Packed(decoder) => decoder.copy_page(from, to),
            Self::Tensors(tensors) => {
                let reserved = tensors.reserve(from.max(to) as usize + 1);
                reserved.and_then(|()| tensors.cache.copy_page(from, to)).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Runs the model on the segments. Writes the logits of the last token of each segment that requests them to `logits`:
    /// `[rows, vocab]` in the order of the segments.
    pub fn forward(&mut self, segments: &[Segment], logits: &mut Logits) -> Result<(), String> {
        match self {
            Self::Packed(decoder) => decoder.forward(segments, logits.host()).map_err(|error| error.to_string()),
            Self::Tensors(tensors) => {
                let highest = segments.iter().flat_map(|segment| segment.pages).max().copied().unwrap_or(0);
                let computed = catch(|| {
                    tensors.reserve(highest as usize + 1)?;
                    tensors.forward(segments)
                });
                *logits = computed.map_err(|error: OpError| error.to_string())?;
                Ok(())
            }
        }
    }
}

/// Requested output for every token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The logits.
    Logits,
    /// The last hidden state, after the last norm.
    Hidden,
}

impl Backend {
    /// Runs the model on a whole text. Passes `each` the output of `rows_at_a_time` tokens at a time (fewer at the end):
    /// `[rows, vocab]` or `[rows, hidden]`, float32. Only packed weights store keys and values in `pages`.
    pub fn rows(
        &mut self,
        ids: &[i64],
        pages: &[u32],
        (wanted, rows_at_a_time): (Rows, usize),
        each: &mut dyn FnMut(&[f32]),
    ) -> Result<(), String> {
        match self {
            Self::Packed(decoder) => {
                let mut out = Vec::new();
                for (piece, part) in ids.chunks(rows_at_a_time).enumerate() {
                    let start = piece * rows_at_a_time;
                    let segments = [Segment { ids: part, start, pages, logits: part.len() }];
                    match wanted {
                        Rows::Logits => decoder.forward(&segments, &mut out),
                        Rows::Hidden => decoder.forward_hidden(&segments, &mut out),
                    }
                    .map_err(|error| error.to_string())?;
                    each(&out);
                }
            }
            Self::Tensors(tensors) => {
                let _no_grad = tch::no_grad_guard();
                let (model, length) = (&tensors.model, ids.len() as i64);
                let computed = catch(|| {
                    let device = model.device();
                    let input = Tensor::from_slice(ids).to_device(device).unsqueeze(0);
                    let positions = Tensor::arange(length, (Kind::Int64, device)).unsqueeze(0);
                    let mut attend = Packed { documents: &[vec![length]] };
                    let hidden = model.hidden_states(&input, &positions, &mut attend, Pass::default())?;
                    for start in (0..length).step_by(rows_at_a_time) {
                        let part = hidden.narrow(1, start, (length - start).min(rows_at_a_time as i64));
                        each(&match wanted {
                            Rows::Logits => to_floats(&model.logits(&part)?),
                            Rows::Hidden => to_floats(&part),
                        });
                    }
                    Ok(())
                });
                computed.map_err(|error: OpError| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// Maximal number of prompt tokens in one pass on a GPU. A longer prompt has a pass of its own.
const PROMPT_TOKENS: usize = 8192;

impl Tensors {
    /// Allocates the pages below `pages`. Drops the recorded steps if the cache moves to other addresses.
    fn reserve(&mut self, pages: usize) -> Result<(), OpError> {
        if self.cache.moves(pages) {
            self.steps.forget();
        }
        self.cache.reserve(pages)
    }

    /// Computes the prompts, then one token of every other sequence in one batch. With herd's own GPU kernels, prompts share
    /// passes, logits stay on the GPU, and attention reads keys and values in their pages instead of gathered copies.
    fn forward(&mut self, segments: &[Segment]) -> Result<Logits, OpError> {
        let _no_grad = tch::no_grad_guard();
        let (model, config) = (&self.model, self.model.config());
        let (device, on_gpu) = (model.device(), model.gpu_kernels());
        let stays = torch_ext::sample_tokens_fits(model.embedding(), config.vocab_size, on_gpu);
        let keys = self.cache.layer(0).map(|(keys, _)| keys);
        let heads = config.num_attention_heads;
        let in_place = keys.is_some_and(|keys| torch_ext::page_attention_fits(keys, heads, on_gpu));
        let pass = if in_place { Pass::fused() } else { Pass::default() };
        let together = in_place && torch_ext::texts_fit(device, model.kind(), config.head_dim);
        let (prompts, decoding): (Vec<usize>, Vec<usize>) =
            (0..segments.len()).partition(|&index| segments[index].start == 0);
        // `parts` holds the logits of the segments whose indices are in `order`.
        let (mut parts, mut order): (Vec<Tensor>, Vec<usize>) = (Vec::new(), Vec::new());
        let of = |group: &[usize]| group.iter().map(|&index| &segments[index]).collect::<Vec<&Segment>>();
        if together {
            for group in groups(&prompts, |&index| segments[index].ids.len(), PROMPT_TOKENS) {
                parts.push(prompts_together(model, &self.cache, &of(group), pass)?);
            }
        } else {
            for &index in &prompts {
                parts.push(prompt_alone(model, &self.cache, &segments[index], pass)?);
            }
        }
        order.extend(&prompts);
        if !decoding.is_empty() {
            let batch = of(&decoding);
            parts.push(match in_place {
                true => self.steps.compute(model, &self.cache, &batch)?,
                false => decode(model, &self.cache, &batch, self.slots)?,
            });
            order.extend(&decoding);
        }
        if stays {
            let all = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) };
            let mut places = vec![0; segments.len()];
            order.iter().zip(0..).for_each(|(&index, place)| places[index] = place);
            let wanted = places.iter().zip(segments).filter(|(_, segment)| segment.logits > 0);
            let wanted: Vec<i64> = wanted.map(|(&place, _)| place).collect();
            let in_order = wanted.iter().copied().eq(0..all.size()[0]);
            let order = || Tensor::from_slice(&wanted).to_device(device);
            return Ok(if in_order { all } else { all.index_select(0, &order()) }.into());
        }
        let mut rows: Vec<Vec<f32>> = vec![Vec::new(); segments.len()];
        let mut order = order.into_iter();
        for part in &parts {
            let floats = to_floats(part);
            for row in floats.chunks(config.vocab_size as usize) {
                if let Some(index) = order.next() {
                    rows[index] = row.to_vec();
                }
            }
        }
        let wanted = rows.into_iter().zip(segments).filter(|(_, segment)| segment.logits > 0);
        Ok(wanted.flat_map(|(row, _)| row).collect::<Vec<f32>>().into())
    }
}

/// Splits a list into consecutive groups of at most `most` tokens. A larger item is a group of its own.
fn groups<T>(mut list: &[T], tokens: impl Fn(&T) -> usize, most: usize) -> Vec<&[T]> {
    let mut all = Vec::new();
    while !list.is_empty() {
        let mut sum = 0;
        let fits = list.iter().take_while(|item| {
            sum += tokens(item);
            sum <= most
        });
        let (group, rest) = list.split_at(fits.count().max(1));
        all.push(group);
        list = rest;
    }
    all
}

/// The logits after a prompt, `[1, vocab]`.
fn prompt_alone(model: &Llama, cache: &PagedCache, prompt: &Segment, pass: Pass) -> Result<Tensor, OpError> {
    let (length, device) = (prompt.ids.len() as i64, model.device());
    let ids = Tensor::from_slice(prompt.ids).to_device(device).unsqueeze(0);
    let positions = Tensor::arange(length, (Kind::Int64, device)).unsqueeze(0);
    let hidden = model.hidden_states(&ids, &positions, &mut Prefill::new(cache, prompt.pages), pass)?;
    Ok(model.logits(&hidden.narrow(1, length - 1, 1))?.squeeze_dim(1))
}

/// The logits after each of several prompts, `[prompts, vocab]`, computed as one row.
fn prompts_together(model: &Llama, cache: &PagedCache, prompts: &[&Segment], pass: Pass) -> Result<Tensor, OpError> {
    let device = model.device();
    let tokens = || prompts.iter().flat_map(|prompt| (0..prompt.ids.len()).map(move |token| (prompt, token)));
    let mut numbers: Vec<i64> = tokens().map(|(prompt, token)| prompt.ids[token]).collect();
    let total = numbers.len() as i64;
    numbers.extend(tokens().map(|(_, token)| token as i64));
    numbers.extend(tokens().map(|(prompt, token)| cache.place(prompt.pages, token)));
    let lengths = || prompts.iter().map(|prompt| prompt.ids.len() as i64);
    numbers.extend(lengths().scan(-1, |last, length| {
        *last += length;
        Some(*last)
    }));
    // One copy to the device for all numbers.
    let numbers = Tensor::from_slice(&numbers).to_device(device);
    let [ids, positions, places] = [0, 1, 2].map(|number| numbers.narrow(0, number * total, total));
    let last = numbers.narrow(0, 3 * total, prompts.len() as i64);
    let mut attend = PrefillTogether::new(cache, lengths(), places);
    let hidden = model.hidden_states(&ids.unsqueeze(0), &positions.unsqueeze(0), &mut attend, pass)?;
    model.logits(&hidden.squeeze_dim(0).index_select(0, &last))
}

/// The logits after one more token of each sequence, `[sequences, vocab]`, by libtorch's operators. Idle rows fill the batch up to
/// `slots` rows, so the number of rows is fixed.
fn decode(model: &Llama, cache: &PagedCache, batch: &[&Segment], slots: usize) -> Result<Tensor, OpError> {
    let idle = Segment { ids: &[0], start: 0, pages: &[], logits: 0 };
    let sequences = batch.len() as i64;
    let mut batch = batch.to_vec();
    batch.resize(slots.max(batch.len()), &idle);
    let column = |values: Vec<i64>| Tensor::from_slice(&values).to_device(model.device()).unsqueeze(1);
    let ids = column(batch.iter().map(|segment| segment.ids[0]).collect());
    let positions = column(batch.iter().map(|segment| segment.start as i64).collect());
    let hidden = model.hidden_states(&ids, &positions, &mut Decode::new(cache, &batch), Pass::default())?;
    Ok(model.logits(&hidden)?.squeeze_dim(1).narrow(0, 0, sequences))
}

fn shape(model: &Llama) -> DecoderShape {
    let config = model.config();
    DecoderShape {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads,
        head_dim: config.head_dim,
        feed_forward: config.intermediate_size,
        vocab: config.vocab_size,
        positions: config.max_position_embeddings,
        eps: config.rms_norm_eps,
    }
}

fn packable(model: &Llama) -> bool {
    let merged = model.layers().iter().all(|layer| layer.linears().iter().all(|(_, linear)| linear.lora.is_none()));
    let kind = matches!(model.kind(), Kind::Float | Kind::BFloat16);
    model.device() == Device::Cpu && kind && merged && shape(model).fits()
}

fn pack(model: &Llama, pages: usize) -> Result<Decoder, torch_ext::OpError> {
    fn projection(linear: &Linear) -> Projection<'_> {
        Projection { weight: &linear.weight, bias: linear.bias.as_ref() }
    }
    let layers: Vec<DecoderLayer> = model
        .layers()
        .iter()
        .map(|layer| {
            let [q, k, v, o, gate, up, down] = layer.linears().map(|(_, linear)| projection(linear));
            let norms = layer.norms();
            DecoderLayer {
                input_norm: norms.input,
                q,
                k,
                v,
                q_norm: norms.q,
                k_norm: norms.k,
                o,
                post_attention_norm: norms.post_attention,
                gate,
                up,
                down,
                window: layer.window(),
            }
        })
        .collect();
    let (cosine, sine) = model.rotation_tables();
    let norm = &model.final_norm().weight;
    let ends = DecoderEnds { embedding: model.embedding(), norm, head: model.head().weight, cosine, sine };
    Decoder::new(shape(model), &layers, &ends, pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_share_a_pass_up_to_a_limit() {
        let of = |lengths: &[usize]| {
            groups(lengths, |length| *length, 10).iter().map(|group| group.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[4, 6, 1]), [vec![4, 6], vec![1]]);
        assert_eq!(of(&[25, 3, 12]), [vec![25], vec![3], vec![12]]);
        assert!(of(&[]).is_empty());
    }
}
