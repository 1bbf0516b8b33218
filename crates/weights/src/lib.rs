//! Model weight files, without libtorch.
//!
//! - [`Checkpoint`] reads safetensors, one file or shards with an index, memory-mapped and checked.
//! - [`SafetensorsWriter`] writes tensor by tensor; files get their names only after they were read back and
//!   compared.
//! - [`gguf`] reads llama.cpp's GGUF files and converts them to Hugging Face folders.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! use weights::{Checkpoint, DType, SafetensorsWriter};
//!
//! let declared = vec![("bias".to_owned(), DType::F32, vec![2])];
//! let mut writer = SafetensorsWriter::create(dir.path(), declared)?;
//! writer.write("bias", &[0, 0, 128, 63, 0, 0, 0, 64])?;
//! writer.finish()?;
//!
//! let checkpoint = Checkpoint::open(dir.path())?;
//! assert_eq!(checkpoint.tensor("bias")?.data[4..], 2.0_f32.to_le_bytes());
//! # Ok::<(), weights::WeightsError>(())
//! ```

mod checkpoint;
mod error;
pub mod gguf;
mod header;
mod impostor;
mod layout;
pub mod side_files;
mod writer;

pub use checkpoint::{Checkpoint, TensorView};
pub use error::WeightsError;
pub use header::check_safetensors;
pub use impostor::impostor;
pub use safetensors::Dtype as DType;
pub use writer::{DEFAULT_SHARD_BYTES, SafetensorsWriter};

/// A [`Result`](std::result::Result) of this crate.
pub type Result<T, E = WeightsError> = std::result::Result<T, E>;
