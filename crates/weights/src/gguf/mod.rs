//! Reads GGUF: llama.cpp's model files, versions 2 and 3, memory-mapped.
//!
//! [`Gguf`] reads a file: its metadata, typed, and its tensors, expanded to float32. [`to_hf`] converts a Llama,
//! Mistral, Qwen2 or Qwen3 file to the contents of a Hugging Face folder: tensors under their Hugging Face names,
//! `config.json`, `generation_config.json`, `tokenizer.json` and `tokenizer_config.json`.
//!
//! The layout of the file: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod convert;
mod cursor;
mod hyper;
mod metadata;
mod pre_tokenizer;
mod quant;
mod reader;
mod rope;
mod split;
mod tokenizer;

pub use convert::{HfModel, HfTensor, to_hf};
pub use metadata::{Fields, Metadata};
pub use quant::GgmlType;
pub use reader::{Gguf, TensorInfo};
