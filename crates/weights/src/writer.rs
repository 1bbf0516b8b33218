//! Writes safetensors: tensors are declared first, then written one by one and read back; only then do the files get
//! their names.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::checkpoint::map;
use crate::header::{self, byte_size};
use crate::layout::{INDEX, SINGLE, folder_of, is_shard_name, shard_name, sync_folder};
use crate::{DType, Result, WeightsError};

/// The default maximum size of a shard: 5 GB, for a long time the default of transformers.
pub const DEFAULT_SHARD_BYTES: usize = 5_000_000_000;

type Hash = [u8; 32];

/// Writes safetensors files tensor by tensor: memory holds one tensor at a time, in any order.
///
/// The bytes go to temporary files in the target folder. [`SafetensorsWriter::finish`] syncs them to disk, reads
/// every tensor back, compares type, shape and checksum with the written ones, and renames the files. A writer that
/// is dropped before that leaves no files. The metadata is `{"format": "pt"}`, which transformers requires.
#[derive(Debug)]
pub struct SafetensorsWriter {
    /// The file to write, or the folder for shards.
    target: PathBuf,
    whole_folder: bool,
    shards: Vec<Shard>,
    /// For each name: the number of its shard.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    file: NamedTempFile,
    tensors: BTreeMap<String, Slot>,
    /// The digest and the number of the file's bytes so far, as long as they are written from front to back.
    front: Option<(Sha256, u64)>,
}

#[derive(Debug)]
struct Slot {
    dtype: DType,
    shape: Vec<usize>,
    offset: usize,
    length: usize,
    /// The checksum of the tensor's bytes, after they are written.
    written: Option<u32>,
}

type Declared = (String, DType, Vec<usize>);

impl SafetensorsWriter {
    /// Starts the weights of a model folder, which is created if it is missing: `model.safetensors`, or shards of at
    /// most [`DEFAULT_SHARD_BYTES`] with an index. `tensors` are names, types and shapes in the order of the shards.
    ///
    /// # Errors
    /// [`WeightsError`] when a name is declared twice, a size overflows, or the folder cannot be written to.
    pub fn create(folder: &Path, tensors: Vec<Declared>) -> Result<Self> {
        Self::create_sharded(folder, tensors, DEFAULT_SHARD_BYTES)
    }

    /// Like [`SafetensorsWriter::create`], with shards of at most `shard_bytes`; a larger tensor has its own shard.
    ///
    /// # Errors
    /// See [`SafetensorsWriter::create`].
    pub fn create_sharded(folder: &Path, tensors: Vec<Declared>, shard_bytes: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(WeightsError::io(folder, "cannot create the folder"))?;
        Self::begin(folder.to_owned(), true, tensors, shard_bytes)
    }

    /// Starts a single file with another name, such as `adapter_model.safetensors`.
    ///
    /// # Errors
    /// See [`SafetensorsWriter::create`].
    pub fn create_file(path: &Path, tensors: Vec<Declared>) -> Result<Self> {
        Self::begin(path.to_owned(), false, tensors, usize::MAX)
    }

    fn begin(target: PathBuf, whole_folder: bool, tensors: Vec<Declared>, shard_bytes: usize) -> Result<Self> {
        if tensors.is_empty() {
            return Err(WeightsError::file(&target, "there is no tensor to write"));
        }
        let mut groups: Vec<Vec<(Declared, usize)>> = vec![Vec::new()];
        let (mut places, mut filled) = (HashMap::new(), 0_usize);
        for declared in tensors {
            let (name, dtype, shape) = &declared;
            let bad = |problem: String| WeightsError::tensor(&target, name, problem);
            let length = byte_size(*dtype, shape)
                .ok_or_else(|| bad(format!("shape {shape:?} of {dtype:?} does not come to a whole number of bytes")))?;
            let full = filled.checked_add(length).is_none_or(|sum| sum > shard_bytes);
            if full && filled > 0 {
                groups.push(Vec::new());
                filled = 0;
            }
            filled += length;
            if name == "__metadata__" || places.insert(name.clone(), groups.len() - 1).is_some() {
                return Err(bad("the name is declared twice or reserved".into()));
            }
            if let Some(group) = groups.last_mut() {
                group.push((declared, length));
            }
        }
        let folder = if whole_folder { target.as_path() } else { folder_of(&target) };
        let shards = groups.into_iter().map(|group| Shard::begin(folder, &target, group)).collect::<Result<_>>()?;
        Ok(Self { target, whole_folder, shards, places })
    }

    /// Writes the bytes of tensor `name`: little-endian elements, row by row.
    ///
    /// # Errors
    /// [`WeightsError`] when the name was not declared or is already written, when the size of `data` differs from
    /// the declared one, or when the file cannot be written.
    pub fn write(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let Some(&place) = self.places.get(name) else {
            return Err(WeightsError::missing(&self.target, name, self.places.keys().map(String::as_str)));
        };
        let Shard { file, tensors, front } = &mut self.shards[place];
        let bad = |problem: String| WeightsError::tensor(&self.target, name, problem);
        let slot = tensors.get_mut(name).ok_or_else(|| bad("its shard does not list it".into()))?;
        if slot.written.is_some() {
            return Err(bad("it was already written".into()));
        }
        if data.len() != slot.length {
            return Err(bad(format!(
                "{} bytes were given, but {:?} of shape {:?} needs {}",
                data.len(),
                slot.dtype,
                slot.shape,
                slot.length
            )));
        }
        let target = file.as_file_mut();
        target
            .seek(SeekFrom::Start(slot.offset as u64))
            .and_then(|_| target.write_all(data))
            .map_err(WeightsError::io(&self.target, "cannot write"))?;
        slot.written = Some(crc32fast::hash(data));
        *front = front
            .take()
            .filter(|(_, end)| *end == slot.offset as u64)
            .map(|(digest, end)| (digest.chain_update(data), end + data.len() as u64));
        Ok(())
    }

    /// Syncs the files to disk, reads them back, compares them with the written data, and gives them their names. In
    /// a folder, weight files of an earlier save that a reader would use are removed. A single file is replaced in
    /// one step. Before shards get their names, the old index is removed, so a kill in between leaves a folder that
    /// does not load rather than a mixture.
    ///
    /// Returns the paths of the files, the index last.
    ///
    /// # Errors
    /// [`WeightsError`] when a declared tensor was not written, the files read back differ, or a file cannot be
    /// written; the old files are then unchanged, unless a rename itself failed.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        Ok(self.finish_with_digests()?.into_iter().map(|(path, _)| path).collect())
    }

    /// Like [`SafetensorsWriter::finish`], with the SHA-256 of each file (64 hexadecimal digits), which is computed
    /// once, during writing. It is `None` for the index, and for a file whose tensors were not written in file order
    /// (within one type, the order of declaration).
    ///
    /// # Errors
    /// See [`SafetensorsWriter::finish`].
    pub fn finish_with_digests(mut self) -> Result<Vec<(PathBuf, Option<String>)>> {
        let digest = |shard: &mut Shard| {
            let hex = |digest: Hash| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            shard.front.take().map(|(digest, _)| hex(digest.finalize().into()))
        };
        let digests: Vec<Option<String>> = self.shards.iter_mut().map(digest).collect();
        Ok(self.place()?.into_iter().zip(digests.into_iter().chain([None])).collect())
    }

    fn place(self) -> Result<Vec<PathBuf>> {
        let unwritten = |shard: &Shard| shard.tensors.iter().find(|(_, s)| s.written.is_none()).map(|(n, _)| n.clone());
        if let Some(name) = self.shards.iter().find_map(unwritten) {
            return Err(WeightsError::tensor(&self.target, &name, "it was declared but not written"));
        }
        for shard in &self.shards {
            shard.verify(&self.target)?;
        }
        if !self.whole_folder {
            let folder = folder_of(&self.target).to_owned();
            for shard in self.shards {
                persist(shard.file, &self.target)?;
            }
            sync_folder(&folder)?;
            return Ok(vec![self.target]);
        }
        let count = self.shards.len();
        if count == 1 { self.finish_single() } else { self.finish_sharded(count) }
    }

    fn finish_single(self) -> Result<Vec<PathBuf>> {
        let path = self.target.join(SINGLE);
        for shard in self.shards {
            persist(shard.file, &path)?;
        }
        remove(&self.target.join(INDEX))?;
        remove_shards_but(&self.target, &[])?;
        sync_folder(&self.target)?;
        Ok(vec![path])
    }

    fn finish_sharded(self, count: usize) -> Result<Vec<PathBuf>> {
        let folder = &self.target;
        let total: usize = self.shards.iter().flat_map(|shard| shard.tensors.values()).map(|slot| slot.length).sum();
        let weight_map: BTreeMap<&str, String> =
            self.places.iter().map(|(name, &place)| (name.as_str(), shard_name(place + 1, count))).collect();
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        let mut index_file = temporary(folder)?;
        let written = serde_json::to_writer_pretty(&mut index_file, &index).map_err(std::io::Error::from);
        written
            .and_then(|()| index_file.as_file().sync_all())
            .map_err(WeightsError::io(folder, "cannot write the index"))?;

        remove(&folder.join(INDEX))?;
        remove(&folder.join(SINGLE))?;
        let mut paths = Vec::with_capacity(count + 1);
        for (number, shard) in self.shards.into_iter().enumerate() {
            let path = folder.join(shard_name(number + 1, count));
            persist(shard.file, &path)?;
            paths.push(path);
        }
        remove_shards_but(folder, &paths)?;
        paths.push(folder.join(INDEX));
        persist(index_file, &paths[count])?;
        sync_folder(folder)?;
        Ok(paths)
    }
}

impl Shard {
    /// Opens the temporary file and writes its header; wider types come first, so that every tensor is aligned.
    fn begin(folder: &Path, target: &Path, mut tensors: Vec<(Declared, usize)>) -> Result<Self> {
        tensors.sort_by_key(|((_, dtype, _), _)| std::cmp::Reverse(*dtype));
        let mut infos = Vec::with_capacity(tensors.len());
        let mut slots = BTreeMap::new();
        let mut offset = 0;
        for ((name, dtype, shape), length) in tensors {
            infos.push((
                name.clone(),
                TensorInfo { dtype, shape: shape.clone(), data_offsets: (offset, offset + length) },
            ));
            slots.insert(name, Slot { dtype, shape, offset, length, written: None });
            offset += length;
        }
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let header = Metadata::new(Some(metadata), infos)
            .map_err(|e| e.to_string())
            .and_then(|metadata| serde_json::to_string(&metadata).map_err(|e| e.to_string()))
            .map_err(|e| WeightsError::file(target, format!("no header can be made for these tensors: {e}")))?;
        let padded = header.len().next_multiple_of(8);
        slots.values_mut().for_each(|slot| slot.offset += 8 + padded);
        let mut file = temporary(folder)?;
        let bytes = [&(padded as u64).to_le_bytes(), header.as_bytes(), &vec![b' '; padded - header.len()]].concat();
        file.write_all(&bytes).map_err(WeightsError::io(target, "cannot write"))?;
        let front = Some((Sha256::new_with_prefix(&bytes), bytes.len() as u64));
        Ok(Self { file, tensors: slots, front })
    }

    /// Reads the file back and compares it with the declared and written data.
    fn verify(&self, target: &Path) -> Result<()> {
        self.file.as_file().sync_all().map_err(WeightsError::io(target, "cannot write to the disk"))?;
        let path = self.file.path();
        let entries = header::read(path, &map(path)?)?;
        // The file is read in blocks: mapped pages would count as memory of this process.
        let mut file = File::open(path).map_err(WeightsError::io(target, "cannot open"))?;
        let differs = |name: &str| {
            let problem = "the file read back differs from what was written; check the disk and save again";
            Err(WeightsError::tensor(target, name, problem))
        };
        if entries.len() != self.tensors.len() {
            return differs("(their number)");
        }
        for entry in entries {
            let checksum =
                checksum_of(&mut file, &entry.bytes).map_err(WeightsError::io(target, "cannot read back"))?;
            let same = self.tensors.get(&entry.name).is_some_and(|slot| {
                slot.dtype == entry.dtype && slot.shape == entry.shape && slot.written == Some(checksum)
            });
            if !same {
                return differs(&entry.name);
            }
        }
        Ok(())
    }
}

fn checksum_of(file: &mut File, bytes: &Range<usize>) -> std::io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut block = vec![0; bytes.len().min(1 << 20)];
    file.seek(SeekFrom::Start(bytes.start as u64))?;
    let mut left = bytes.len();
    while left > 0 {
        let part = &mut block[..left.min(1 << 20)];
        file.read_exact(part)?;
        hasher.update(&*part);
        left -= part.len();
    }
    Ok(hasher.finalize())
}

/// A temporary file in `folder` that is removed when it is dropped, with the permissions of an ordinary new file.
fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .prefix(".weights.")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(WeightsError::io(folder, "cannot create a file in this folder"))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.persist(path).map_err(|e| WeightsError::io(path, "cannot rename to")(e.error))?;
    Ok(())
}

/// Removes a file if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(WeightsError::io(path, "cannot remove")(e)),
        _ => Ok(()),
    }
}

/// Removes shards of an earlier save.
fn remove_shards_but(folder: &Path, kept: &[PathBuf]) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(WeightsError::io(folder, "cannot list"))?;
    for entry in entries.flatten() {
        if is_shard_name(&entry.file_name().to_string_lossy()) && !kept.contains(&entry.path()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
