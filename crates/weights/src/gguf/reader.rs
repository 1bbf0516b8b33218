//! The sections of a GGUF file: header, metadata, tensor descriptions, data.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::cursor::Cursor;
use super::{Fields, GgmlType, Metadata, split};
use crate::checkpoint::map;
use crate::error::shown;
use crate::{Result, WeightsError};

/// Data begins at a multiple of this many bytes, unless `general.alignment` gives another one.
const DEFAULT_ALIGNMENT: usize = 32;
/// ggml's limit on the number of dimensions.
const MOST_DIMENSIONS: u32 = 4;

/// One tensor of a [`Gguf`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The storage type of the elements.
    pub ggml_type: GgmlType,
    /// Sizes, slowest dimension first, as in safetensors (the file has the opposite order).
    pub shape: Vec<usize>,
    /// The part of a split file that holds the tensor, from 0.
    pub(crate) part: usize,
    /// The tensor's bytes in the file.
    pub(crate) bytes: Range<usize>,
}

impl TensorInfo {
    /// Elements in a row, which is the fastest dimension.
    pub(crate) fn row_len(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_len() / self.ggml_type.block_len() * self.ggml_type.block_bytes()
    }
}

#[derive(Debug)]
enum Source {
    Mapped(Mmap),
    Memory(Vec<u8>),
}

/// A GGUF file, or all parts of a split one. Opening checks header, metadata and tensor descriptions; weights are
/// read on request.
///
/// The file must not be truncated or rewritten in place while it is open.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    source: Source,
    /// The further parts of a split file.
    others: Vec<Source>,
    version: u32,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Opens the file at `path`. For a split file (`NAME-00001-of-00003.gguf`), any part opens all of them, which
    /// must be in the same folder; keys and values are those of the first part.
    ///
    /// # Errors
    /// [`WeightsError`] when the file cannot be read, is not a GGUF file of version 2 or 3 in little-endian order, is
    /// truncated, contradicts itself, or has a tensor of an unsupported type; when a part is missing or belongs to
    /// another file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opened = Self::read(path, Source::Mapped(map(path)?))?;
        let Some((_, count)) = opened.part()?.filter(|(_, count)| *count > 1) else { return Ok(opened) };
        let part = |number: usize| -> Result<Self> {
            let path = split::part(path, number, count).map_err(|problem| WeightsError::file(path, problem))?;
            if !path.exists() {
                let problem = format!("part {} of {count} is missing; fetch it into the same folder", number + 1);
                return Err(WeightsError::file(&path, problem));
            }
            let part = Self::read(&path, Source::Mapped(map(&path)?))?;
            match part.part()? {
                Some(found) if found == (number, count) => Ok(part),
                found => {
                    let (other, of) = found.unwrap_or((0, 1));
                    let problem = format!("it is part {} of {of}, its name says {} of {count}", other + 1, number + 1);
                    Err(WeightsError::file(&path, problem))
                }
            }
        };
        let mut whole = part(0)?;
        for number in 1..count {
            whole.join(part(number)?)?;
        }
        match whole.fields().size("split.tensors.count")? {
            Some(expected) if expected != whole.tensors.len() => {
                let problem = format!("the {count} parts hold {} tensors of {expected}", whole.tensors.len());
                Err(WeightsError::file(&whole.path, problem))
            }
            _ => Ok(whole),
        }
    }

    /// The number of this part, from 0, and the number of parts; `None` if the file is not split.
    fn part(&self) -> Result<Option<(usize, usize)>> {
        let Some(count) = self.fields().size("split.count")? else { return Ok(None) };
        Ok(Some((self.fields().size("split.no")?.unwrap_or_default(), count)))
    }

    /// Adds the tensors of the next part.
    fn join(&mut self, part: Self) -> Result<()> {
        self.others.push(part.source);
        for (name, info) in part.tensors {
            if self.tensors.contains_key(&name) {
                return Err(WeightsError::tensor(&part.path, &name, "it stands in an earlier part, too"));
            }
            self.tensors.insert(name, TensorInfo { part: self.others.len(), ..info });
        }
        Ok(())
    }

    /// Reads a file held in memory; `path` is for the messages.
    ///
    /// # Errors
    /// See [`Gguf::open`]; also when the file is one of several parts.
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self> {
        let path = path.as_ref();
        let opened = Self::read(path, Source::Memory(bytes))?;
        match opened.part()? {
            Some((number, count)) if count > 1 => Err(WeightsError::file(
                path,
                format!(
                    "this is part {} of {count} of a split file; join the parts first: llama-gguf-split --merge PART-1 WHOLE",
                    number + 1
                ),
            )),
            _ => Ok(opened),
        }
    }

    fn read(path: &Path, source: Source) -> Result<Self> {
        let bad = |problem: String| WeightsError::file(path, problem);
        let bytes = source.bytes();
        if let Some(what) = crate::impostor(bytes) {
            return Err(bad(what.into()));
        }
        let mut cursor = Cursor::new(bytes, 0);
        let header = Header::read(&mut cursor).map_err(bad)?;
        let metadata = Metadata::read(path, &mut cursor, header.metadata_count).map_err(bad)?;
        let fields = Fields { metadata: &metadata, bytes };
        let alignment = alignment(&fields)?;
        let described = describe(&mut cursor, header.tensor_count).map_err(bad)?;
        let tensors = place(path, described, cursor.position(), alignment, bytes.len())?;
        Ok(Self { path: path.to_owned(), version: header.version, metadata, tensors, source, others: Vec::new() })
    }

    /// The opened file; for a split file, its first part.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Keys and values.
    pub fn fields(&self) -> Fields<'_> {
        Fields { metadata: &self.metadata, bytes: self.source.bytes() }
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// The description of tensor `name`.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] with the most similar existing names.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let names = self.tensors.keys().map(String::as_str);
        self.tensors.get(name).ok_or_else(|| WeightsError::missing(&self.path, name, names))
    }

    /// Whether there is a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The stored bytes of a tensor of this file.
    pub(crate) fn stored(&self, info: &TensorInfo) -> &[u8] {
        let source = info.part.checked_sub(1).map_or(&self.source, |other| &self.others[other]);
        &source.bytes()[info.bytes.clone()]
    }

    /// The elements of tensor `name` as float32, row by row.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] when there is no tensor of that name.
    pub fn dequantize(&self, name: &str) -> Result<Vec<f32>> {
        let info = self.tensor(name)?;
        let mut values = vec![0.0; info.shape.iter().product()];
        info.ggml_type.dequantize(self.stored(info), &mut values);
        Ok(values)
    }
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

struct Header {
    version: u32,
    tensor_count: u64,
    metadata_count: u64,
}

impl Header {
    fn read(cursor: &mut Cursor) -> Result<Self, String> {
        let magic = cursor.array::<4>("the header")?;
        if &magic != b"GGUF" {
            let magic = magic.escape_ascii();
            return Err(format!("it begins with \"{magic}\" and not with \"GGUF\"; this is not a GGUF file"));
        }
        let version = cursor.u32("the header")?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => {
                return Err("it is a GGUF file for big-endian machines, which is not supported".into());
            }
            _ => return Err(format!("it is GGUF version {version}, versions 2 and 3 are supported; convert it again")),
        }
        let (tensor_count, metadata_count) = (cursor.u64("the header")?, cursor.u64("the header")?);
        Ok(Self { version, tensor_count, metadata_count })
    }
}

fn alignment(fields: &Fields) -> Result<usize> {
    const KEY: &str = "general.alignment";
    match fields.size(KEY)? {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(alignment) if alignment.is_power_of_two() && (1..=1 << 20).contains(&alignment) => Ok(alignment),
        Some(other) => Err(fields.error(KEY, format!("it is {other}, a power of two up to 2^20 is expected"))),
    }
}

/// A tensor as described in the file, before its place is checked.
struct Described {
    name: String,
    ggml_type: GgmlType,
    shape: Vec<usize>,
    length: usize,
    offset: u64,
}

fn describe(cursor: &mut Cursor, count: u64) -> Result<Vec<Described>, String> {
    let mut described = Vec::new();
    for number in 0..count {
        let name = cursor.string(&format!("the name of tensor {number} of {count}"))?;
        let what = format!("tensor {}", shown(name));
        let dimensions = cursor.u32(&what)?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("{what} has {dimensions} dimensions, at most {MOST_DIMENSIONS} are possible"));
        }
        let sizes = (0..dimensions).map(|_| cursor.u64(&what)).collect::<Result<Vec<u64>, _>>()?;
        let ggml_type = GgmlType::from_number(cursor.u32(&what)?).map_err(|problem| format!("{what}: {problem}"))?;
        let offset = cursor.u64(&what)?;
        let (shape, length) = layout(&sizes, ggml_type).ok_or_else(|| {
            format!("{what}: sizes {sizes:?} of {ggml_type:?} do not come to whole blocks in a possible file")
        })?;
        described.push(Described { name: name.to_owned(), ggml_type, shape, length, offset });
    }
    Ok(described)
}

/// Shape and bytes of a tensor; `None` if a size overflows or a row is not a whole number of blocks.
fn layout(sizes: &[u64], ggml_type: GgmlType) -> Option<(Vec<usize>, usize)> {
    let shape = sizes.iter().rev().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<usize>>>()?;
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    let row = shape.last().copied().unwrap_or(1);
    if row % ggml_type.block_len() != 0 {
        return None;
    }
    let length = (elements / ggml_type.block_len()).checked_mul(ggml_type.block_bytes())?;
    Some((shape, length))
}

/// Checks that the tensors are in the data section, aligned, without overlap, and that each name occurs once.
fn place(
    path: &Path,
    mut described: Vec<Described>,
    end_of_descriptions: usize,
    alignment: usize,
    file_length: usize,
) -> Result<BTreeMap<String, TensorInfo>> {
    // Without data, the padding may also be missing; tensors without elements are then at the end.
    let start = end_of_descriptions.next_multiple_of(alignment).min(file_length);
    let available = file_length - start;
    described.sort_by_key(|tensor| (tensor.offset, tensor.length));
    let mut tensors = BTreeMap::new();
    let mut end_of_last = 0;
    for Described { name, ggml_type, shape, length, offset } in described {
        let bad = |problem: String| Err(WeightsError::tensor(path, &name, problem));
        if offset % alignment as u64 != 0 {
            return bad(format!("its bytes begin at {offset} of the data, which is not a multiple of {alignment}"));
        }
        let end = usize::try_from(offset).ok().and_then(|begin| Some((begin, begin.checked_add(length)?)));
        let Some((begin, end)) = end.filter(|(_, end)| *end <= available) else {
            return bad(format!(
                "its {length} bytes from {offset} on end after the {available} bytes of data; the file is truncated, fetch it again"
            ));
        };
        if begin < end_of_last {
            return bad(format!(
                "its bytes begin at {begin}, within the tensor before it, which ends at {end_of_last}"
            ));
        }
        end_of_last = end;
        let info = TensorInfo { ggml_type, shape, part: 0, bytes: start + begin..start + end };
        if tensors.contains_key(&name) {
            return bad("it occurs twice; the file is damaged, fetch it again".into());
        }
        tensors.insert(name, info);
    }
    Ok(tensors)
}
