//! Reads safetensors: one file, or shards with their index, memory-mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;
use serde::Deserialize;

use crate::error::shown;
use crate::header::{self, Entry};
use crate::layout::{INDEX, SINGLE, folder_of};
use crate::{DType, Result, WeightsError};

/// A tensor in a [`Checkpoint`]; its bytes are in the mapped file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: DType,
    /// Sizes, slowest dimension first; empty for a scalar.
    pub shape: &'a [usize],
    /// Little-endian elements, row by row. Not necessarily aligned to the element size.
    pub data: &'a [u8],
}

/// The weights of a model folder, memory-mapped: opening reads only the headers; the bytes are read when they are
/// used.
///
/// The files must not be truncated or rewritten in place while they are open. A replacement by
/// [`crate::SafetensorsWriter`] is safe, since the old files exist until they are closed.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<Mmap>,
    /// For each name: the number of its file, and its index there.
    tensors: BTreeMap<String, (usize, Entry)>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors` (which is tried first, as in transformers) or
    /// `model.safetensors.index.json` and its shards, or a file of either kind under any name.
    ///
    /// # Errors
    /// [`WeightsError`] when a file is missing, unreadable or truncated; when the offsets, types or shapes in a
    /// header contradict each other or the file's length; or when the index and the shards disagree on a tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            let is_index = path.extension().is_some_and(|extension| extension == "json");
            return if is_index { Self::open_sharded(path) } else { Self::open_single(path) };
        }
        let (single, index) = (path.join(SINGLE), path.join(INDEX));
        if single.exists() {
            Self::open_single(&single)
        } else if index.exists() {
            Self::open_sharded(&index)
        } else {
            Err(WeightsError::file(path, nothing_found(path)))
        }
    }

    fn open_single(path: &Path) -> Result<Self> {
        let file = map(path)?;
        let entries = header::read(path, &file)?;
        let tensors = entries.into_iter().map(|entry| (entry.name.clone(), (0, entry))).collect();
        Ok(Self { path: path.to_owned(), files: vec![file], tensors })
    }

    fn open_sharded(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(WeightsError::io(path, "cannot read"))?;
        let index: Index = serde_json::from_slice(&text).map_err(|e| {
            WeightsError::file(path, format!("not an index with a weight_map from tensors to shards: {e}"))
        })?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        let mut checkpoint = Self { path: path.to_owned(), files: Vec::new(), tensors: BTreeMap::new() };
        for shard in shards {
            if !matches!(Path::new(shard).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
                return Err(WeightsError::file(
                    path,
                    format!("weight_map names the shard {}; it must be a plain file name", shown(shard)),
                ));
            }
            let shard_path = folder_of(path).join(shard);
            if !shard_path.exists() {
                let count = index.weight_map.values().filter(|file| *file == shard).count();
                return Err(WeightsError::file(
                    path,
                    format!(
                        "the shard {} with {count} tensors is missing; fetch it into the same folder",
                        shown(shard)
                    ),
                ));
            }
            checkpoint.add_shard(&shard_path, shard, &index.weight_map)?;
        }
        let missing = index.weight_map.iter().find(|(name, _)| !checkpoint.tensors.contains_key(*name));
        match missing {
            None => Ok(checkpoint),
            Some((name, shard)) => Err(WeightsError::tensor(
                path,
                name,
                format!(
                    "the index places it in {}, which does not hold it; fetch the shards and the index again",
                    shown(shard)
                ),
            )),
        }
    }

    fn add_shard(&mut self, path: &Path, shard: &str, weight_map: &BTreeMap<String, String>) -> Result<()> {
        let file = map(path)?;
        for entry in header::read(path, &file)? {
            match weight_map.get(&entry.name) {
                Some(place) if place == shard => {}
                Some(place) => {
                    let problem = format!("the index places it in {}, but it is here", shown(place));
                    return Err(WeightsError::tensor(path, &entry.name, problem));
                }
                None => {
                    let problem = "it is not in the index; shards and index are of different checkpoints";
                    return Err(WeightsError::tensor(path, &entry.name, problem));
                }
            }
            self.tensors.insert(entry.name.clone(), (self.files.len(), entry));
        }
        self.files.push(file);
        Ok(())
    }

    /// The opened file: the safetensors file, or the index of the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] with the most similar existing names.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        let (name, (file, entry)) =
            self.tensors.get_key_value(name).ok_or_else(|| WeightsError::missing(&self.path, name, self.names()))?;
        let data = &self.files[*file][entry.bytes.clone()];
        Ok(TensorView { name, dtype: entry.dtype, shape: &entry.shape, data })
    }
}

/// Maps a whole file for reading.
pub(crate) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(WeightsError::io(path, "cannot open"))?;
    // SAFETY: the mapping is read-only. If another program truncates the file meanwhile, a read faults; a program
    // that maps files cannot prevent this, and the documentation of `Checkpoint` says so.
    unsafe { Mmap::map(&file) }.map_err(WeightsError::io(path, "cannot map into memory"))
}

/// The advice for a folder without safetensors.
fn nothing_found(folder: &Path) -> String {
    let has = |wanted: fn(&str) -> bool| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).find(|name| wanted(name))
    };
    let hint = if let Some(name) = has(|name| name.ends_with(".gguf")) {
        format!("; import {name} instead")
    } else if let Some(name) = has(|name| name.ends_with(".bin")) {
        format!("; {name} is a pickle file, convert it with transformers' save_pretrained")
    } else {
        "; is this the folder of a model?".into()
    };
    format!("the folder holds neither {SINGLE} nor {INDEX}{hint}")
}
