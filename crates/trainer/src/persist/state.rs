//! Reads and writes named tensors of a run as safetensors files.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tch::{Kind, Tensor};
use weights::{Checkpoint, DType, SafetensorsWriter};

/// Tensors with their names.
pub type Named = Vec<(String, Tensor)>;

/// Files with the SHA-256 of their content, if it is known from writing them.
pub type Digests = Vec<(PathBuf, Option<String>)>;

/// Kind of the trained weights, which determines the names of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFile {
    /// A whole model: `model.safetensors`, or shards with an index.
    Model,
    /// A LoRA adapter: `adapter_model.safetensors`, under PEFT's names.
    Adapter,
}

const ADAPTER: &str = "adapter_model.safetensors";

impl WeightsFile {
    /// Writes trained weights into `folder`, converted to `kind`; returns the digests of the files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(self, folder: &Path, tensors: &[(String, Tensor)], kind: Kind) -> anyhow::Result<Digests> {
        let declared = declare(tensors, kind)?;
        let writer = match self {
            Self::Model => SafetensorsWriter::create(folder, declared)?,
            Self::Adapter => SafetensorsWriter::create_file(&folder.join(ADAPTER), declared)?,
        };
        fill(writer, tensors, kind)
    }

    /// Reads the float32 weights from `folder`.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn read(self, folder: &Path) -> anyhow::Result<Named> {
        match self {
            Self::Model => read(folder),
            Self::Adapter => read(&folder.join(ADAPTER)),
        }
    }
}

/// Writes tensors as float32 into one file; returns its digest.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> anyhow::Result<Digests> {
    fill(SafetensorsWriter::create_file(path, declare(tensors, Kind::Float)?)?, tensors, Kind::Float)
}

/// Reads all tensors of a file or folder, which must be float32.
///
/// # Errors
/// When a file is missing or damaged, or holds another type.
pub fn read(path: &Path) -> anyhow::Result<Named> {
    let checkpoint = Checkpoint::open(path)?;
    let mut tensors = Vec::with_capacity(checkpoint.len());
    for name in checkpoint.names() {
        let view = checkpoint.tensor(name)?;
        ensure!(view.dtype == DType::F32, "{}: {name} is {:?}, not float32", path.display(), view.dtype);
        let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data, &shape, Kind::Float)
            .with_context(|| format!("{}: {name}", path.display()))?;
        tensors.push((name.to_owned(), tensor));
    }
    Ok(tensors)
}

fn declare(tensors: &[(String, Tensor)], kind: Kind) -> anyhow::Result<Vec<(String, DType, Vec<usize>)>> {
    let dtype = match kind {
        Kind::Float => DType::F32,
        Kind::BFloat16 => DType::BF16,
        Kind::Half => DType::F16,
        other => anyhow::bail!("weights of type {other:?} cannot be saved"),
    };
    let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect();
    Ok(tensors.iter().map(|(name, tensor)| (name.clone(), dtype, shape(tensor))).collect())
}

fn fill(mut writer: SafetensorsWriter, tensors: &[(String, Tensor)], kind: Kind) -> anyhow::Result<Digests> {
    let _no_grad = tch::no_grad_guard();
    for (name, tensor) in tensors {
        match bytes_of(tensor, kind) {
            Some(bytes) => writer.write(name, bytes)?,
            None => writer.write(name, &llama::to_bytes(tensor, kind)?)?,
        }
    }
    Ok(writer.finish_with_digests()?.into_iter().collect())
}

/// The bytes of a tensor in memory, if they are the bytes that a file needs; otherwise `None`.
fn bytes_of(tensor: &Tensor, kind: Kind) -> Option<&[u8]> {
    let plain = tensor.kind() == kind && tensor.device() == tch::Device::Cpu && tensor.is_contiguous();
    if !plain || cfg!(target_endian = "big") || tensor.numel() == 0 {
        return None;
    }
    let bytes = tensor.numel() * kind.elt_size_in_bytes();
    // SAFETY: the tensor is contiguous and in the processor's memory, and lives as long as the reference.
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>().cast_const(), bytes) })
}
