//! The n-grams of a corpus on disk: its tokens, the ends of its documents, and the sorted hashes of the distinct n-grams with their first
//! positions. It takes 16 bytes for each distinct n-gram and 4 for each token. A look-up is a binary search without loading a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The file of tokens, 4 bytes each, little endian.
pub const TOKENS: &str = "tokens.bin";
/// The file of document ends, as token positions of 8 bytes each.
const ENDS: &str = "ends.bin";
/// The file of distinct n-grams: hash and position, 8 bytes each, ordered by hash and position.
const GRAMS: &str = "grams.bin";
/// The file of the index's properties.
const HEAD: &str = "index.json";

/// The properties of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the file format: 1.
    pub version: u32,
    /// Number of tokens of an n-gram.
    pub n: usize,
    /// Number of tokens of the corpus.
    pub tokens: u64,
    /// Number of documents of the corpus.
    pub documents: u64,
    /// Number of documents that are shorter than one n-gram.
    pub short: u64,
    /// Number of distinct n-grams.
    pub grams: u64,
    /// SHA-256 of the tokenizer's `tokenizer.json`.
    pub tokenizer: String,
}

/// The factor of the polynomial hash: odd, so that no token's power vanishes modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The hashes of all n-grams of tokens: `mix(sum of mix(token + 1) * BASE^(n - 1 - place))`, rolled from one to the next.
fn hashes(tokens: &[u32], n: usize) -> Vec<u64> {
    if n == 0 || tokens.len() < n {
        return Vec::new();
    }
    let value = |token: u32| mix(u64::from(token) + 1);
    let leading = (1..n).fold(1u64, |power, _| power.wrapping_mul(BASE));
    let mut sum = tokens[..n].iter().fold(0u64, |sum, &token| sum.wrapping_mul(BASE).wrapping_add(value(token)));
    let mut all = Vec::with_capacity(tokens.len() - n + 1);
    all.push(mix(sum));
    for at in n..tokens.len() {
        sum = sum.wrapping_sub(value(tokens[at - n]).wrapping_mul(leading));
        sum = sum.wrapping_mul(BASE).wrapping_add(value(tokens[at]));
        all.push(mix(sum));
    }
    all
}

/// Builds an index. It needs 4 bytes of memory for each token and 16 for each n-gram.
pub struct Builder {
    n: usize,
    tokens: Vec<u32>,
    ends: Vec<u64>,
    grams: Vec<(u64, u64)>,
    short: u64,
}

impl Builder {
    /// Makes an empty index.
    ///
    /// # Errors
    /// When `n` is 0.
    pub fn new(n: usize) -> anyhow::Result<Self> {
        ensure!(n > 0, "an n-gram has at least 1 token");
        Ok(Self { n, tokens: Vec::new(), ends: Vec::new(), grams: Vec::new(), short: 0 })
    }

    /// Adds a document. N-grams do not extend over its end.
    pub fn document(&mut self, tokens: &[u32]) {
        let start = self.tokens.len() as u64;
        self.short += u64::from(tokens.len() < self.n);
        self.grams.extend(hashes(tokens, self.n).into_iter().zip(start..));
        self.tokens.extend_from_slice(tokens);
        self.ends.push(self.tokens.len() as u64);
    }

    /// Writes the index into a folder.
    ///
    /// # Errors
    /// When there is no n-gram, or when a file cannot be written.
    pub fn write(mut self, folder: &Path, tokenizer: String) -> anyhow::Result<Head> {
        self.grams.sort_unstable();
        let (n, tokens) = (self.n, &self.tokens);
        let gram = |at: u64| &tokens[at as usize..at as usize + n];
        // Equal hashes are adjacent, with the first position first; a later equal n-gram is a repetition.
        self.grams.dedup_by(|later, first| later.0 == first.0 && gram(later.1) == gram(first.1));
        ensure!(!self.grams.is_empty(), "no document of the corpus has {n} tokens");
        let write = |name: &str, bytes: &mut dyn Iterator<Item = Vec<u8>>| -> anyhow::Result<()> {
            let cannot = || format!("cannot write {}", folder.join(name).display());
            let mut file = BufWriter::new(dataset::AtomicFile::create(folder.join(name))?);
            for bytes in bytes {
                file.write_all(&bytes).with_context(cannot)?;
            }
            Ok(file.into_inner().map_err(|error| anyhow::anyhow!("{}: {}", cannot(), error.error()))?.finish()?)
        };
        write(TOKENS, &mut self.tokens.iter().map(|token| token.to_le_bytes().to_vec()))?;
        write(ENDS, &mut self.ends.iter().map(|end| end.to_le_bytes().to_vec()))?;
        write(GRAMS, &mut self.grams.iter().map(|(hash, at)| [hash.to_le_bytes(), at.to_le_bytes()].concat()))?;
        let head = Head {
            version: 1,
            n,
            tokens: self.tokens.len() as u64,
            documents: self.ends.len() as u64,
            short: self.short,
            grams: self.grams.len() as u64,
            tokenizer,
        };
        dataset::write_file(folder.join(HEAD), format!("{}\n", serde_json::to_string_pretty(&head)?).as_bytes())?;
        Ok(head)
    }
}

/// An index on disk.
pub struct Index {
    folder: PathBuf,
    head: Head,
    tokens: File,
    ends: Vec<u64>,
    grams: File,
}

impl Index {
    /// Opens an index.
    ///
    /// # Errors
    /// When the folder is not an index, or when a file has another length than its properties say.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(HEAD);
        let text = std::fs::read(&path).with_context(|| {
            format!("{} has no {HEAD}; is it a folder of `herd safety memorisation index`?", folder.display())
        })?;
        let head: Head = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(head.version == 1, "{}: version {}, this program reads version 1", path.display(), head.version);
        let open = |name: &str, bytes: u64| -> anyhow::Result<File> {
            let path = folder.join(name);
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            let found = file.metadata()?.len();
            ensure!(found == bytes, "{} has {found} bytes instead of {bytes}: make the index again", path.display());
            Ok(file)
        };
        let tokens = open(TOKENS, head.tokens * 4)?;
        let grams = open(GRAMS, head.grams * 16)?;
        let ends = open(ENDS, head.documents * 8)?;
        let mut bytes = vec![0; head.documents as usize * 8];
        ends.read_exact_at(&mut bytes, 0)?;
        let ends =
            bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default())).collect();
        Ok(Self { folder: folder.to_owned(), head, tokens, ends, grams })
    }

    /// The properties of the index.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `count` tokens from a position; `None` if the document ends before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tokens(&self, at: u64, count: usize) -> anyhow::Result<Option<Vec<u32>>> {
        let document = self.ends.partition_point(|&end| end <= at);
        if self.ends.get(document).is_none_or(|&end| at + count as u64 > end) {
            return Ok(None);
        }
        let mut bytes = vec![0; count * 4];
        self.tokens.read_exact_at(&mut bytes, at * 4)?;
        Ok(Some(bytes.chunks_exact(4).map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap_or_default())).collect()))
    }

    /// The hash and the position of a distinct n-gram, by its number in the order of hashes. That order does not depend on the text, so
    /// random numbers give random n-grams.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn gram(&self, number: u64) -> anyhow::Result<(u64, u64)> {
        let mut bytes = [0; 16];
        self.grams.read_exact_at(&mut bytes, number * 16)?;
        let part = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        Ok((part(0), part(8)))
    }

    /// Whether the corpus contains any n-gram of these tokens. The tokens of every hash match are compared.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn holds_any(&self, tokens: &[u32]) -> anyhow::Result<bool> {
        for (at, hash) in hashes(tokens, self.head.n).into_iter().enumerate() {
            if self.find(hash, &tokens[at..at + self.head.n])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find(&self, hash: u64, gram: &[u32]) -> anyhow::Result<bool> {
        let (mut low, mut high) = (0, self.head.grams);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.gram(middle)?.0 < hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < self.head.grams {
            let (found, at) = self.gram(low)?;
            if found != hash {
                break;
            }
            if self.tokens(at, gram.len())?.is_some_and(|tokens| tokens == gram) {
                return Ok(true);
            }
            low += 1;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn built(documents: &[Vec<u32>], n: usize) -> (tempfile::TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(n).unwrap();
        documents.iter().for_each(|document| builder.document(document));
        builder.write(dir.path(), "x".into()).unwrap();
        let index = Index::open(dir.path()).unwrap();
        (dir, index)
    }

    #[test]
    fn rolled_hashes_are_those_of_each_n_gram() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let tokens: Vec<u32> = (0..200).map(|_| random.random_range(0..5)).collect();
        for n in [1, 3, 50] {
            let alone: Vec<u64> = tokens.windows(n).map(|gram| hashes(gram, n)[0]).collect();
            assert_eq!(hashes(&tokens, n), alone);
        }
        assert!(hashes(&tokens, 201).is_empty());
    }

    #[test]
    fn what_a_set_of_n_grams_finds_the_index_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut document = |length: usize| (0..length).map(|_| random.random_range(0..4)).collect::<Vec<u32>>();
        let documents: Vec<Vec<u32>> = [300, 2, 0, 40, 500].map(&mut document).to_vec();
        let (_dir, index) = built(&documents, 6);
        let set: std::collections::HashSet<&[u32]> =
            documents.iter().flat_map(|document| document.windows(6)).collect();
        assert_eq!((index.head().grams, index.head().short), (set.len() as u64, 2));
        let mut hits = 0;
        for _ in 0..500 {
            let asked = document(9);
            let expected = asked.windows(6).any(|gram| set.contains(gram));
            assert_eq!(index.holds_any(&asked).unwrap(), expected);
            hits += usize::from(expected);
        }
        assert!(hits > 50 && hits < 450, "{hits}");
        // Each distinct n-gram occurs once, with its first position.
        for number in 0..index.head().grams {
            let (_, at) = index.gram(number).unwrap();
            assert!(set.contains(index.tokens(at, 6).unwrap().unwrap().as_slice()));
        }
        // No n-gram extends over the end of a document.
        assert!(index.tokens(298, 6).unwrap().is_none() && index.tokens(294, 6).unwrap().is_some());
    }

    #[test]
    fn a_collision_of_hashes_counts_nothing() {
        let (dir, _) = built(&[(0..20).collect()], 4);
        // The index is changed so that the hash of another n-gram points to position 0.
        let other = hashes(&[90, 91, 92, 93], 4)[0];
        let path = dir.path().join(GRAMS);
        let mut grams: Vec<[u8; 16]> =
            std::fs::read(&path).unwrap().chunks_exact(16).map(|c| c.try_into().unwrap()).collect();
        grams[0] = [other.to_le_bytes(), 0u64.to_le_bytes()].concat().try_into().unwrap();
        grams.sort_by_key(|gram| u64::from_le_bytes(gram[..8].try_into().unwrap()));
        std::fs::write(&path, grams.concat()).unwrap();
        let index = Index::open(dir.path()).unwrap();
        assert!(!index.holds_any(&[90, 91, 92, 93]).unwrap());
        std::fs::write(&path, &grams.concat()[16..]).unwrap();
        assert!(Index::open(dir.path()).err().unwrap().to_string().contains("make the index again"));
    }
}
