//! Reference numbers of `../shared/fixtures`, where they are there.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use weights::{Checkpoint, DType};

/// A file or folder of the fixtures; `None`, with a line on the terminal, where they are absent.
pub fn fixture(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no {} beside the repository", path.display());
    None
}

/// The six tiny models.
pub const TINY: [&str; 6] = ["llama-gqa", "llama3-rope-scaling", "llama-tied", "mistral", "qwen2", "qwen3"];

/// A tensor of a reference file.
pub fn reference(file: &Path, name: &str) -> Tensor {
    let checkpoint = Checkpoint::open(file).unwrap();
    let view = checkpoint.tensor(name).unwrap();
    let kind = match view.dtype {
        DType::F32 => Kind::Float,
        DType::I64 => Kind::Int64,
        other => panic!("{name} is {other:?}"),
    };
    let shape: Vec<i64> = view.shape.iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data, &shape, kind)
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let difference = (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max();
    f64::try_from(difference).unwrap()
}

/// A model of the fixtures in float32.
pub fn load(folder: &Path) -> llama::Llama {
    torch_ext::init();
    llama::Llama::load(folder, None, Device::Cpu).unwrap()
}

/// All numbers of an int64 tensor.
pub fn ids(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}
