//! Converts a GGUF file to the contents of a Hugging Face folder.

use std::fs;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::Value;

use super::hyper::{self, Hyper};
use super::tokenizer::{self, TextFiles};
use super::{GgmlType, Gguf, TensorInfo};
use crate::{DType, Result, WeightsError};

/// A model from a GGUF file, in the form of a Hugging Face folder.
#[derive(Debug)]
pub struct HfModel<'a> {
    gguf: &'a Gguf,
    /// The tensors under their Hugging Face names, layer by layer.
    pub tensors: Vec<HfTensor<'a>>,
    hyper: Hyper,
    text: TextFiles,
}

/// One tensor of an [`HfModel`].
#[derive(Debug)]
pub struct HfTensor<'a> {
    gguf: &'a Gguf,
    /// The name in Hugging Face files.
    pub name: String,
    /// Sizes, slowest dimension first.
    pub shape: Vec<usize>,
    /// The name in the GGUF file.
    pub source: String,
    info: &'a TensorInfo,
    /// The number of heads whose rows llama.cpp's converter permuted.
    permuted_heads: Option<usize>,
}

/// Converts a Llama, Mistral, Qwen2 or Qwen3 file to the contents of a Hugging Face folder.
///
/// # Errors
/// [`WeightsError`] when the architecture, tokenizer or scaling is not supported, when metadata or a tensor is
/// missing or contradictory, or when there is a tensor that the architecture does not have.
pub fn to_hf(gguf: &Gguf) -> Result<HfModel<'_>> {
    let hyper = hyper::read(gguf)?;
    let tensors = tensors(gguf, &hyper)?;
    let text = tokenizer::read(gguf, &hyper)?;
    Ok(HfModel { gguf, tensors, hyper, text })
}

impl HfModel<'_> {
    /// The smallest type that stores the weights without loss: float16 or bfloat16 if all matrices are stored in it,
    /// else float32.
    pub fn natural_dtype(&self) -> DType {
        let mut matrices = self.tensors.iter().filter(|tensor| tensor.shape.len() > 1).map(|t| t.info.ggml_type);
        let first = matrices.next().unwrap_or(GgmlType::F32);
        match first {
            GgmlType::F16 if matrices.all(|other| other == first) => DType::F16,
            GgmlType::BF16 if matrices.all(|other| other == first) => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Writes `config.json`, `generation_config.json`, `tokenizer.json` and `tokenizer_config.json` into `dir`;
    /// `dtype` is the type of the written weights.
    ///
    /// # Errors
    /// [`WeightsError::Io`] when a file cannot be written.
    pub fn write_text_files(&self, dir: &Path, dtype: DType) -> Result<()> {
        let config = self.hyper.config(dtype, self.text.bos, self.text.eos, self.text.pad);
        let files = [
            ("config.json", &config),
            ("generation_config.json", &self.text.generation_config),
            ("tokenizer.json", &self.text.tokenizer),
            ("tokenizer_config.json", &self.text.tokenizer_config),
        ];
        for (name, content) in files {
            write_json(&dir.join(name), content)?;
        }
        Ok(())
    }

    /// The file of the model.
    pub fn source(&self) -> &Path {
        self.gguf.path()
    }
}

fn write_json(path: &Path, content: &Value) -> Result<()> {
    let mut text = format!("{content:#}");
    text.push('\n');
    fs::write(path, text).map_err(WeightsError::io(path, "cannot write"))
}

/// The tensors of the architecture: each must be present with its shape, and no others.
fn tensors<'a>(gguf: &'a Gguf, hyper: &Hyper) -> Result<Vec<HfTensor<'a>>> {
    let mut tensors = Vec::new();
    for Expected { source, name, shape, permuted_heads } in expected(hyper) {
        let info = gguf.tensor(&source)?;
        if info.shape != shape {
            let problem = format!("it has shape {:?}, {shape:?} is expected from the metadata", info.shape);
            return Err(WeightsError::tensor(gguf.path(), &source, problem));
        }
        tensors.push(HfTensor { gguf, name, shape, source, info, permuted_heads });
    }
    let known: std::collections::HashSet<&str> = tensors.iter().map(|tensor| tensor.source.as_str()).collect();
    let extra = gguf.tensors().map(|(name, _)| name).find(|name| !known.contains(name) && *name != "rope_freqs.weight");
    match extra {
        None => Ok(tensors),
        Some(name) => {
            let problem = "the architecture has no such tensor; this model is of a kind that is not supported";
            Err(WeightsError::tensor(gguf.path(), name, problem))
        }
    }
}

struct Expected {
    source: String,
    name: String,
    shape: Vec<usize>,
    permuted_heads: Option<usize>,
}

/// The tensors that the hyper-parameters require, in the order of the layers.
fn expected(hyper: &Hyper) -> Vec<Expected> {
    let Hyper { hidden_size: hidden, intermediate_size: wide, head_dim, .. } = *hyper;
    let (queries, keys) = (hyper.heads * head_dim, hyper.kv_heads * head_dim);
    let mut all = Vec::new();
    let mut push = |source: String, name: String, shape: Vec<usize>, permuted_heads: Option<usize>| {
        all.push(Expected { source, name, shape, permuted_heads });
    };
    push("token_embd.weight".into(), "model.embed_tokens.weight".into(), vec![hyper.vocab_size, hidden], None);
    for layer in 0..hyper.layers {
        // Name in GGUF, name in Hugging Face, rows, columns, bias, heads to permute.
        let permuted = |heads: usize| hyper.family.is_permuted().then_some(heads);
        let linears = [
            ("attn_q", "self_attn.q_proj", queries, hidden, hyper.qkv_bias, permuted(hyper.heads)),
            ("attn_k", "self_attn.k_proj", keys, hidden, hyper.qkv_bias, permuted(hyper.kv_heads)),
            ("attn_v", "self_attn.v_proj", keys, hidden, hyper.qkv_bias, None),
            ("attn_output", "self_attn.o_proj", hidden, queries, hyper.output_bias, None),
            ("ffn_gate", "mlp.gate_proj", wide, hidden, hyper.mlp_bias, None),
            ("ffn_up", "mlp.up_proj", wide, hidden, hyper.mlp_bias, None),
            ("ffn_down", "mlp.down_proj", hidden, wide, hyper.mlp_bias, None),
        ];
        for (there, here, rows, columns, bias, heads) in linears {
            let (source, name) = (format!("blk.{layer}.{there}"), format!("model.layers.{layer}.{here}"));
            push(format!("{source}.weight"), format!("{name}.weight"), vec![rows, columns], heads);
            if bias {
                push(format!("{source}.bias"), format!("{name}.bias"), vec![rows], heads);
            }
        }
        let mut norms =
            vec![("attn_norm", "input_layernorm", hidden), ("ffn_norm", "post_attention_layernorm", hidden)];
        if hyper.family == hyper::Family::Qwen3 {
            norms
                .extend([("attn_q_norm", "self_attn.q_norm", head_dim), ("attn_k_norm", "self_attn.k_norm", head_dim)]);
        }
        for (there, here, size) in norms {
            push(
                format!("blk.{layer}.{there}.weight"),
                format!("model.layers.{layer}.{here}.weight"),
                vec![size],
                None,
            );
        }
    }
    push("output_norm.weight".into(), "model.norm.weight".into(), vec![hidden], None);
    if !hyper.tied {
        push("output.weight".into(), "lm_head.weight".into(), vec![hyper.vocab_size, hidden], None);
    }
    all
}

impl HfTensor<'_> {
    /// The elements as little-endian `dtype` (F32, F16 or BF16, rounded to nearest), row by row.
    ///
    /// # Errors
    /// [`WeightsError::Tensor`] when `dtype` is another type, or float16 cannot hold a value.
    pub fn bytes(&self, dtype: DType) -> Result<Vec<u8>> {
        let size = match dtype {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            other => {
                return Err(self.error(format!("it cannot be written as {other:?}; F32, F16 and BF16 are possible")));
            }
        };
        let stored = self.gguf.stored(self.info);
        let same = matches!(
            (self.info.ggml_type, dtype),
            (GgmlType::F32, DType::F32) | (GgmlType::F16, DType::F16) | (GgmlType::BF16, DType::BF16)
        );
        // A bias is permuted by elements, a matrix by rows.
        let (row_len, row_bytes) = match self.shape.len() {
            1 => (1, self.info.ggml_type.block_bytes()),
            _ => (self.info.row_len(), self.info.row_bytes()),
        };
        if self.shape.len() == 1 && self.info.ggml_type.is_quantized() {
            return Err(self.error("a vector is stored in a quantised type, which is not supported".into()));
        }
        let rows: usize = self.shape[0];
        let mut out = vec![0; rows * row_len * size];
        if out.is_empty() {
            return Ok(out);
        }
        out.par_chunks_exact_mut(row_len * size).enumerate().try_for_each_init(
            || vec![0.0; row_len],
            |values, (row, out)| {
                let from = self.source_row(row, rows);
                let stored = &stored[Range { start: from * row_bytes, end: (from + 1) * row_bytes }];
                if same {
                    out.copy_from_slice(stored);
                    return Ok(());
                }
                self.info.ggml_type.dequantize(stored, values);
                self.round(values, dtype, out)
            },
        )?;
        Ok(out)
    }

    /// The position of row `row` in the file. For the rotary embedding, transformers stores the rows of each head in
    /// two halves; llama.cpp's converter writes them alternating between the halves.
    fn source_row(&self, row: usize, rows: usize) -> usize {
        let Some(heads) = self.permuted_heads else { return row };
        let head_dim = rows / heads;
        let (head, within) = (row / head_dim, row % head_dim);
        let (half, index) = (within / (head_dim / 2), within % (head_dim / 2));
        head * head_dim + index * 2 + half
    }

    fn round(&self, values: &[f32], dtype: DType, out: &mut [u8]) -> Result<()> {
        match dtype {
            DType::F16 => {
                for (value, out) in values.iter().zip(out.chunks_exact_mut(2)) {
                    let rounded = f16::from_f32(*value);
                    if rounded.is_infinite() && value.is_finite() {
                        return Err(self.error(format!("float16 cannot hold {value}; use bfloat16 or float32")));
                    }
                    out.copy_from_slice(&rounded.to_le_bytes());
                }
            }
            DType::BF16 => {
                for (value, out) in values.iter().zip(out.chunks_exact_mut(2)) {
                    out.copy_from_slice(&bf16::from_f32(*value).to_le_bytes());
                }
            }
            _ => {
                for (value, out) in values.iter().zip(out.chunks_exact_mut(4)) {
                    out.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    fn error(&self, problem: String) -> WeightsError {
        WeightsError::tensor(self.gguf.path(), &self.source, problem)
    }
}
