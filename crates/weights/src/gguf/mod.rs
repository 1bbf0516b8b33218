//! GGUF in: llama.cpp's model files, versions 2 and 3, memory-mapped.
//!
//! [`Gguf`] reads a file: its metadata in typed form and its tensors, expanded to float32. [`to_hf`] turns a Llama,
//! Mistral, Qwen2 or Qwen3 file into what a Hugging Face folder holds: tensors under their names there, `config.json`,
//! `generation_config.json`, `tokenizer.json` and `tokenizer_config.json`.
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
