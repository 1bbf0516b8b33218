//! Compute backends of the engine: packed weights with fused CPU kernels, or libtorch operators on any device.

use tch::{Device, Kind, Tensor};
use torch_ext::decoder::{Decoder, DecoderEnds, DecoderLayer, DecoderShape, Projection, Segment};
use torch_ext::{OpError, catch};

use crate::attention::{Attend, Packed};
use crate::kv_cache::{Decode, InPlace, PagedCache, Prefill};
use crate::linear::Linear;
use crate::logits::Logits;
use crate::model::Llama;
use crate::pass::Pass;
use crate::score::to_floats;

/// Choice of the engine's compute backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// Packed weights if they are supported (a processor; float32 or bfloat16; widths that are multiples of 16; no unmerged
    /// LoRA), otherwise libtorch's operators.
    #[default]
    Auto,
    /// libtorch's operators, as in the plain forward pass. For one sequence in bfloat16 they are bit-equal to transformers.
    Tensors,
}

/// The state of the libtorch backend.
pub(crate) struct Tensors {
    model: Llama,
    cache: PagedCache,
    slots: usize,
}

/// Computes tokens and stores their keys and values in pages.
pub(crate) enum Backend {
    /// Packed weights. A sequence's values do not depend on the batch, nor on how its tokens are split into calls.
    Packed(Decoder),
    /// libtorch's operators, whose values depend on both. So each prompt is computed as a whole in its own row, and decoding
    /// uses a fixed number of rows.
    Tensors(Box<Tensors>),
}

impl Backend {
    /// Number of prompt rows that one step computes beside decoding: enough to use the matrix products well, few enough to
    /// delay the decoding sequences only briefly.
    pub const PROMPT_ROWS: usize = 256;

    pub fn new(model: &Llama, kernels: Kernels, slots: usize, pages: usize) -> Result<Self, String> {
        if kernels == Kernels::Auto && packable(model) {
            return pack(model, pages).map(Self::Packed).map_err(|error| error.to_string());
        }
        let cache = catch(|| Ok(PagedCache::new(model.config(), pages, model.kind(), model.device())));
        let cache = cache.map_err(|error: OpError| error.to_string())?;
        Ok(Self::Tensors(Box::new(Tensors { model: model.shallow_clone(), cache, slots })))
    }

    /// Whether a common prefix may be computed once for several sequences, in any number of calls.
    pub fn is_invariant(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// Copies the keys and values of one page to another.
    pub fn copy_page(&mut self, from: u32, to: u32) -> Result<(), String> {
        match self {
            Self::Packed(decoder) => decoder.copy_page(from, to),
            Self::Tensors(tensors) => tensors.cache.copy_page(from, to).map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    /// Writes the requested logits of the segments (of the last token or of none) to `logits`, `[rows, vocab]` in the order of
    /// the segments.
    pub fn forward(&mut self, segments: &[Segment], logits: &mut Logits) -> Result<(), String> {
        match self {
            Self::Packed(decoder) => decoder.forward(segments, logits.host()).map_err(|error| error.to_string()),
            Self::Tensors(tensors) => {
                let Tensors { model, cache, slots } = tensors.as_mut();
                let highest = segments.iter().flat_map(|segment| segment.pages).max().copied().unwrap_or(0);
                let computed = catch(|| {
                    cache.reserve(highest as usize + 1)?;
                    tensors_forward(model, cache, *slots, segments)
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
    /// Computes a whole text in `pages`, and passes `each` the output of `rows_at_a_time` tokens at a time (fewer at the end):
    /// `[rows, vocab]` or `[rows, hidden]`, float32.
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

/// Computes the prompts one by one, then one token of every other sequence in a batch.
fn tensors_forward(
    model: &Llama,
    cache: &mut PagedCache,
    slots: usize,
    segments: &[Segment],
) -> Result<Logits, OpError> {
    let _no_grad = tch::no_grad_guard();
    let device = model.device();
    // On a GPU with own kernels, logits stay where they are, and attention reads keys and values where they are.
    let stays = torch_ext::sample_tokens_fits(model.embedding(), model.config().vocab_size);
    let heads = model.config().num_attention_heads;
    let in_place = cache.layer(0).is_some_and(|(keys, _)| torch_ext::page_attention_fits(keys, heads));
    let is_prompt = |segment: &Segment| segment.start == 0;
    let mut rows: Vec<Vec<f32>> = vec![Vec::new(); segments.len()];
    // The same on the device: rows, and where each segment's stands.
    let (mut parts, mut places, mut next): (Vec<Tensor>, Vec<i64>, i64) = (Vec::new(), vec![0; segments.len()], 0);
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| is_prompt(segment)) {
        let length = segment.ids.len() as i64;
        let ids = Tensor::from_slice(segment.ids).to_device(device).unsqueeze(0);
        let positions = Tensor::arange(length, (Kind::Int64, device)).unsqueeze(0);
        let hidden = model.hidden_states(&ids, &positions, &mut Prefill::new(cache, segment.pages), Pass::default())?;
        let logits = model.logits(&hidden.narrow(1, length - 1, 1))?;
        if stays {
            parts.push(logits.squeeze_dim(1));
            places[index] = next;
            next += 1;
        } else {
            rows[index] = to_floats(&logits);
        }
    }
    let decoding: Vec<usize> = (0..segments.len()).filter(|&index| !is_prompt(&segments[index])).collect();
    if !decoding.is_empty() {
        let idle = Segment { ids: &[0], start: 0, pages: &[], logits: 0 };
        let mut batch: Vec<&Segment> = decoding.iter().map(|&index| &segments[index]).collect();
        batch.resize(slots.max(batch.len()), &idle);
        let column = |values: Vec<i64>| Tensor::from_slice(&values).to_device(device).unsqueeze(1);
        let ids = column(batch.iter().map(|segment| segment.ids[0]).collect());
        let positions = column(batch.iter().map(|segment| segment.start as i64).collect());
        let mut attend: Box<dyn Attend> = match in_place {
            true => Box::new(InPlace::new(cache, &batch)?),
            false => Box::new(Decode::new(cache, &batch)),
        };
        let hidden = model.hidden_states(&ids, &positions, attend.as_mut(), Pass::default())?;
        let logits = model.logits(&hidden)?;
        if stays {
            parts.push(logits.squeeze_dim(1).narrow(0, 0, decoding.len() as i64));
            decoding.iter().zip(next..).for_each(|(&index, place)| places[index] = place);
        } else {
            let logits = to_floats(&logits);
            for (&index, logits) in decoding.iter().zip(logits.chunks(logits.len() / batch.len())) {
                rows[index] = logits.to_vec();
            }
        }
    }
    if stays {
        let wanted = places.iter().zip(segments).filter(|(_, segment)| segment.logits > 0);
        let wanted: Vec<i64> = wanted.map(|(&place, _)| place).collect();
        let all = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) };
        let in_order = wanted.iter().copied().eq(0..all.size()[0]);
        let order = || Tensor::from_slice(&wanted).to_device(device);
        return Ok(if in_order { all } else { all.index_select(0, &order()) }.into());
    }
    let wanted = rows.into_iter().zip(segments).filter(|(_, segment)| segment.logits > 0);
    Ok(wanted.flat_map(|(row, _)| row).collect::<Vec<f32>>().into())
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
    let ends = DecoderEnds { embedding: model.embedding(), norm, head: model.head(), cosine, sine };
    Decoder::new(shape(model), &layers, &ends, pages)
}
