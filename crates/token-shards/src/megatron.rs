//! Megatron-LM's indexed dataset, `PREFIX.bin` and `PREFIX.idx`.
//!
//! Layout of `.idx` (megatron-core 0.16.1, `indexed_dataset.py`), little-endian: `MMIDIDX\0\0`, u64 version 1, u8
//! code of the tokens' type, u64 number of sequences S, u64 number of document indices D + 1, i32 tokens of each
//! sequence (S), i64 byte offset of each sequence in `.bin` (S), i64 first sequence of each document and S at the end
//! (D + 1). A dataset with images has i8 modes after that, which are not supported.

use std::io::Write;
use std::path::{Path, PathBuf};

use dataset::AtomicFile;
use memmap2::Mmap;

use crate::error::{Result, bad, io};
use crate::header::{Header, Tokenizer};
use crate::read::{Shard, map_file};
use crate::write::ShardWriter;

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const HEADER_BYTES: usize = 34;

/// The type of the tokens in `.bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// 4 bytes, code 4.
    Int32,
    /// 2 bytes, code 8.
    Uint16,
}

impl TokenType {
    /// Megatron's type for a vocabulary (`DType.optimal_dtype`): uint16 below 65,500 tokens.
    #[must_use]
    pub fn for_vocabulary(size: u32) -> Self {
        if size < 65_500 { Self::Uint16 } else { Self::Int32 }
    }

    fn code(self) -> u8 {
        match self {
            Self::Int32 => 4,
            Self::Uint16 => 8,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Int32 => 4,
            Self::Uint16 => 2,
        }
    }
}

/// `PREFIX.bin` and `PREFIX.idx`, mapped into memory.
pub struct Megatron {
    bin_path: PathBuf,
    bin: Mmap,
    kind: TokenType,
    /// Number of tokens and byte offset of each sequence.
    sequences: Vec<(usize, usize)>,
    /// The first sequence of each document, and the number of sequences at the end.
    documents: Vec<usize>,
}

impl Megatron {
    /// Opens the dataset `prefix`, without `.bin` or `.idx`.
    ///
    /// # Errors
    /// When a file is missing, truncated or of another kind, or the type of its tokens is neither int32 nor uint16.
    pub fn open(prefix: &Path) -> Result<Self> {
        let (bin_path, idx_path) = paths(prefix);
        let index = map_file(&idx_path)?;
        let bin = map_file(&bin_path)?;
        if index.len() < HEADER_BYTES || index[..9] != *MAGIC {
            return Err(bad(&idx_path, "the file does not begin as an index of Megatron (MMIDIDX)"));
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| index[at + i]));
        if number(9) != 1 {
            return Err(bad(&idx_path, format!("the index has version {}, and 1 is known", number(9))));
        }
        let kind = match index[17] {
            4 => TokenType::Int32,
            8 => TokenType::Uint16,
            code => {
                let what = format!("the tokens have type code {code}; int32 (4) and uint16 (8) can be read");
                return Err(bad(&idx_path, what));
            }
        };
        let (sequences, ends) = (number(18), number(26));
        let wanted = sequences.checked_mul(12).zip(ends.checked_mul(8)).and_then(|(a, b)| a.checked_add(b));
        let rest = (index.len() - HEADER_BYTES) as u64;
        match wanted {
            Some(wanted) if wanted == rest => {}
            Some(wanted) if wanted + sequences == rest => {
                return Err(bad(
                    &idx_path,
                    "the index has modes of sequences (images), which a token shard cannot hold",
                ));
            }
            _ => {
                let what = format!(
                    "the index has {rest} bytes for {sequences} sequences and {ends} document borders; it is cut off or damaged"
                );
                return Err(bad(&idx_path, what));
            }
        }
        let (sequences, ends) = (sequences as usize, ends as usize);
        let (lengths, rest) = index[HEADER_BYTES..].split_at(sequences * 4);
        let (pointers, borders) = rest.split_at(sequences * 8);
        let signed = |bytes: &[u8]| i64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        let mut list = Vec::with_capacity(sequences);
        for (i, (length, pointer)) in lengths.chunks_exact(4).zip(pointers.chunks_exact(8)).enumerate() {
            let length = usize::try_from(i32::from_le_bytes(std::array::from_fn(|i| length[i]))).ok();
            let pointer = usize::try_from(signed(pointer)).ok();
            let end = length.zip(pointer).and_then(|(length, pointer)| pointer.checked_add(length * kind.bytes()));
            match (length, pointer, end) {
                (Some(length), Some(pointer), Some(end)) if end <= bin.len() => list.push((length, pointer)),
                _ => {
                    let what = format!(
                        "sequence {i} lies outside the {} bytes of {}; is that file cut off?",
                        bin.len(),
                        bin_path.display()
                    );
                    return Err(bad(&idx_path, what));
                }
            }
        }
        let documents: Vec<usize> =
            borders.chunks_exact(8).map(|b| usize::try_from(signed(b)).unwrap_or(usize::MAX)).collect();
        let ends_well = documents.first().is_none_or(|first| *first == 0)
            && documents.last().copied().unwrap_or(0) == sequences
            && documents.is_sorted();
        if !ends_well || ends == 0 {
            return Err(bad(&idx_path, format!("the document borders do not ascend from 0 to {sequences} sequences")));
        }
        Ok(Self { bin_path, bin, kind, sequences: list, documents })
    }

    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.documents.len() - 1
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the tokens.
    #[must_use]
    pub fn token_type(&self) -> TokenType {
        self.kind
    }

    /// The tokens of document `number`, from 0: its sequences, concatenated.
    ///
    /// # Errors
    /// When the document does not exist, or has a negative id.
    pub fn document(&self, number: usize) -> Result<Vec<u32>> {
        let borders = self.documents.get(number).zip(self.documents.get(number + 1));
        let (first, last) = borders.ok_or_else(|| bad(&self.bin_path, format!("there is no document {number}")))?;
        let mut tokens = Vec::new();
        for &(length, pointer) in &self.sequences[*first..*last] {
            let bytes = &self.bin[pointer..pointer + length * self.kind.bytes()];
            match self.kind {
                TokenType::Uint16 => {
                    tokens.extend(bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))));
                }
                TokenType::Int32 => {
                    for b in bytes.chunks_exact(4) {
                        let id = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                        let what = || bad(&self.bin_path, format!("document {number} has the negative id {id}"));
                        tokens.push(u32::try_from(id).map_err(|_| what())?);
                    }
                }
            }
        }
        Ok(tokens)
    }
}

/// Writes a dataset of Megatron as a shard. Its documents keep their tokens, including an end token that Megatron
/// appended. The tokenizer must be given, since the dataset does not name it.
///
/// # Errors
/// See [`Megatron::open`] and [`ShardWriter`].
pub fn import(prefix: &Path, shard: &Path, tokenizer: Tokenizer) -> Result<Header> {
    let megatron = Megatron::open(prefix)?;
    let mut writer = ShardWriter::create(shard, tokenizer, format!("Megatron dataset {}", prefix.display()))?;
    for number in 0..megatron.len() {
        writer.push(&megatron.document(number)?, None)?;
    }
    writer.finish()
}

/// Writes shards as one dataset of Megatron, with one sequence per document. Returns the number of documents and of
/// tokens. The index gets its name last.
///
/// # Errors
/// When an id does not fit the type, a document has 2^31 tokens or more, or a file cannot be written.
pub fn export(shards: &[Shard], prefix: &Path, kind: TokenType) -> Result<(u64, u64)> {
    let (bin_path, idx_path) = paths(prefix);
    let mut bin = AtomicFile::create(&bin_path)?;
    let (mut lengths, mut pointers) = (Vec::new(), Vec::new());
    let mut tokens = 0u64;
    let mut bytes = Vec::new();
    for shard in shards {
        for document in shard.documents() {
            let at = lengths.len();
            let length = i32::try_from(document.len()).map_err(|_| {
                bad(shard.path(), format!("document {at} has more tokens than Megatron can count (2^31)"))
            })?;
            lengths.push(length);
            pointers.push((tokens * kind.bytes() as u64) as i64);
            tokens += document.len() as u64;
            bytes.clear();
            for &id in document {
                let too_large = || {
                    let what = format!("token {id} does not fit {kind:?}; export with int32");
                    bad(shard.path(), what)
                };
                match kind {
                    TokenType::Uint16 => {
                        bytes.extend(u16::try_from(id).map_err(|_| too_large())?.to_le_bytes());
                    }
                    TokenType::Int32 => bytes.extend(i32::try_from(id).map_err(|_| too_large())?.to_le_bytes()),
                }
            }
            bin.write_all(&bytes).map_err(io(&bin_path, "cannot write"))?;
        }
    }
    let mut index = MAGIC.to_vec();
    index.extend(1u64.to_le_bytes());
    index.push(kind.code());
    index.extend((lengths.len() as u64).to_le_bytes());
    index.extend((lengths.len() as u64 + 1).to_le_bytes());
    index.extend(lengths.iter().flat_map(|n| n.to_le_bytes()));
    index.extend(pointers.iter().flat_map(|n| n.to_le_bytes()));
    index.extend((0..=lengths.len() as i64).flat_map(i64::to_le_bytes));
    match std::fs::remove_file(&idx_path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(io(&idx_path, "cannot remove the old index")(e));
        }
        _ => {}
    }
    bin.finish()?;
    dataset::write_file(&idx_path, &index)?;
    Ok((lengths.len() as u64, tokens))
}

fn paths(prefix: &Path) -> (PathBuf, PathBuf) {
    let with = |ending: &str| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    (with(".bin"), with(".idx"))
}
