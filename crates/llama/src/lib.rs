//! Decoder-only language models (Llama, Mistral, Qwen2, Qwen3): configuration, loading and saving of weights, LoRA, attention
//! over packed rows and over a paged KV cache, and generation.
//!
//! ```no_run
//! use llama::{Llama, ModelFolder};
//! use tch::{Device, Kind, Tensor};
//!
//! torch_ext::init();
//! let folder = ModelFolder::load("model".as_ref(), Some(Kind::Float), Device::Cpu)?;
//! let ids = folder.encode_prompt(&[dataset::Message::user("What is gravity?")])?;
//! let logits = folder.model.forward(&Tensor::from_slice(&ids).unsqueeze(0))?; // [1, seq, vocab]
//! # Ok::<(), llama::ModelError>(())
//! ```

pub mod attention;
mod backend;
mod base_model;
mod classifier;
mod completion;
mod config;
pub mod device;
mod engine;
mod fixed_step;
mod folder;
mod head;
mod kernels;
mod kv_cache;
mod linear;
mod load;
pub mod locate;
mod logits;
mod lora;
mod memory;
mod model;
mod new_model;
mod pages;
mod pass;
mod prompt_scores;
mod recompute;
mod request;
mod rope;
mod sampling;
mod score;
mod threads;
mod vocabulary;

pub use backend::Kernels;
pub use base_model::BaseModel;
pub use classifier::SequenceClassifier;
pub use completion::{AnswerText, Completion, Listener, StopRules, complete};
pub use config::{ConfigError, Family, LlamaConfig, RopeScaling, dtype_name};
pub use engine::{Engine, EngineCounts, EngineOptions};
pub use fixed_step::Graphs;
pub use folder::ModelFolder;
pub use head::Head;
pub use linear::{Linear, Lora};
pub use load::{ModelError, float32_weight, read as read_weight, to_bytes, torch_kind, weights_kind};
pub use lora::{Layers, LoraConfig, Scope, TargetModules, is_called};
pub use model::{Layer, Llama, PIECE, RmsNorm};
pub use new_model::NewModel;
pub use pass::{Operators, Pass};
pub use prompt_scores::TokenScore;
pub use recompute::Recompute;
pub use request::{GenerateError, Next, Request, RequestId};
pub use rope::{RopeTable, Rotation};
pub use sampling::{Choice, LogitsProcessor, Sampler, SamplingParams};
pub use score::log_probs;
pub use torch_ext::GpuKernels;
