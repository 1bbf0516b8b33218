//! Vision-language models: an image encoder and gated cross-attention layers on a language model, whose text output stays bit-equal
//! (Llama 3 paper, section 7; stored as Hugging Face's `MllamaForConditionalGeneration`).
//!
//! A cross-attention layer only processes tokens that see a picture, that is, tokens after a picture in their document. All other tokens
//! pass through unchanged. So text without pictures, text beside pictures in a batch and text before a picture are bit-equal to the
//! language model alone.
//!
//! ```no_run
//! use llama::Pass;
//! use llama::attention::Causal;
//! use tch::{Device, Kind, Tensor};
//! use vision::{Mllama, Pixels, Sight};
//!
//! let model = Mllama::load("Llama-3.2-11B-Vision".as_ref(), Some(Kind::BFloat16), Device::Cpu)?;
//! let processor = pictures::Processor::from_folder("Llama-3.2-11B-Vision".as_ref())?;
//! let limits = pictures::Limits::default();
//! let picture = pictures::decode(&std::fs::read("cat.jpg")?, &limits)?;
//! let pixels = Pixels::of_tiles(&[processor.tiles(&picture)?], &processor)?;
//! let ids = [128_000, 128_256, 3923, 374, 420, 30]; // <|begin_of_text|><|image|>What is this?
//! let sight = Sight::of_rows(&ids, 6, model.config().image_token, model.states(&pixels)?)?;
//! let input = Tensor::from_slice(&ids).unsqueeze(0);
//! let positions = Tensor::arange(6, (Kind::Int64, Device::Cpu)).unsqueeze(0);
//! let hidden = model.hidden_states(&input, &positions, &mut Causal, Pass::default(), Some(&sight))?;
//! let logits = model.text().logits(&hidden)?; // [1, 6, vocab]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapter;
mod block;
pub mod command;
mod composed;
mod config;
mod cross;
pub mod describe;
mod dinov2;
mod encoder;
pub mod eval;
mod features;
pub mod fetch;
mod generate;
mod load;
mod model;
mod names;
mod onnx;
mod pixels;
mod sight;
mod tower;
pub mod train;
mod words;

pub use adapter::{Adapter, AdapterConfig, Beneath};
pub use composed::{Composed, is_composed, save};
pub use config::{MllamaConfig, TowerConfig};
pub use cross::CrossLayer;
pub use dinov2::Dinov2;
pub use encoder::{Encoder, EncoderOptions, encoder_digest, load_encoder};
pub use features::{Features, Kept};
pub use generate::Answering;
pub use model::Mllama;
pub use pixels::Pixels;
pub use sight::{Sight, States};
pub use tower::Tower;
pub use train::View;
pub use words::{IMAGE, Spoken, SpokenError, Words};

/// The reason why a vision model cannot be loaded, saved or run.
#[derive(Debug, thiserror::Error)]
pub enum VisionError {
    /// The folder's files are faulty.
    #[error(transparent)]
    Model(#[from] llama::ModelError),
    /// libtorch reported an error.
    #[error(transparent)]
    Torch(#[from] torch_ext::OpError),
    /// Pictures and image tokens do not match.
    #[error("{0}")]
    Pictures(String),
}

impl From<llama::ConfigError> for VisionError {
    fn from(error: llama::ConfigError) -> Self {
        Self::Model(error.into())
    }
}

impl From<chat::ChatError> for VisionError {
    fn from(error: chat::ChatError) -> Self {
        Self::Model(error.into())
    }
}

impl From<tch::TchError> for VisionError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl From<weights::WeightsError> for VisionError {
    fn from(error: weights::WeightsError) -> Self {
        Self::Model(error.into())
    }
}

/// A [`Result`](std::result::Result) of this crate.
pub type Result<T, E = VisionError> = std::result::Result<T, E>;
