//! Encodes text to ids: the same ids as Hugging Face's library, several times faster.
//!
//! A word is looked up as a whole, then in a cache of merged words, and is merged only if both fail. Special tokens
//! in a text are plain text: a document cannot contain the end-of-document token.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::split::words;
use crate::vocabulary::Vocabulary;

/// Words of at most this many bytes are stored as 128-bit keys.
const SHORT: usize = 15;
/// Words longer than this are merged with a heap, since scanning for the lowest rank takes quadratic time.
const SCANNED: usize = 48;
/// Maximum number of ids in a cache before it is cleared, 4 MiB.
const CACHED: usize = 1 << 20;

/// Encodes texts. Threads share it; the data of a single thread is in a [`Scratch`].
pub struct Encoder(Kind);

enum Kind {
    Own(Box<Own>),
    /// Any other tokenizer, encoded by Hugging Face's library.
    Library(Box<tokenizers::Tokenizer>),
}

struct Own {
    /// Words that are one token.
    short: FxHashMap<u128, u32>,
    long: FxHashMap<Box<[u8]>, u32>,
    /// Rank and result of a pair, by its two ids.
    merges: FxHashMap<u64, (u32, u32)>,
    bytes: [u32; 256],
    vocabulary: Vocabulary,
}

/// The data that one thread needs to encode: a cache, and buffers for merging.
#[derive(Default)]
pub struct Scratch {
    short: FxHashMap<u128, (u32, u32)>,
    long: FxHashMap<Box<[u8]>, (u32, u32)>,
    ids: Vec<u32>,
    room: Room,
}

#[derive(Default)]
struct Room {
    parts: Vec<u32>,
    ranks: Vec<u64>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

/// A token of a word that is being merged with a heap.
#[derive(Clone, Copy)]
struct Link {
    id: u32,
    before: u32,
    after: u32,
    gone: bool,
}

const NONE: u32 = u32::MAX;

fn short_key(word: &[u8]) -> Option<u128> {
    let mut key = [0; SHORT + 1];
    key.get_mut(..SHORT)?.get_mut(..word.len())?.copy_from_slice(word);
    key[SHORT] = word.len() as u8;
    Some(u128::from_le_bytes(key))
}

fn pair_key(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

impl Own {
    fn new(vocabulary: Vocabulary) -> Self {
        let merges = vocabulary
            .merges()
            .iter()
            .enumerate()
            .map(|(rank, ((a, b), becomes))| (pair_key(*a, *b), (rank as u32, *becomes)))
            .collect();
        let bytes = std::array::from_fn(|byte| vocabulary.id(&[byte as u8]).unwrap_or(NONE));
        let mut own = Self { short: FxHashMap::default(), long: FxHashMap::default(), merges, bytes, vocabulary };
        let mut room = Room::default();
        let mut whole = Vec::new();
        for (id, token) in own.vocabulary.tokens() {
            if own.vocabulary.ignore_merges || own.merge(token, &mut room) == [id] {
                whole.push((id, token));
            }
        }
        let (mut short, mut long) = (FxHashMap::default(), FxHashMap::default());
        for (id, token) in whole {
            match short_key(token) {
                Some(key) => drop(short.insert(key, id)),
                None => drop(long.insert(token.into(), id)),
            }
        }
        (own.short, own.long) = (short, long);
        own
    }

    /// The ids of a word by merges: repeatedly merges the pair of lowest rank, leftmost first.
    fn merge<'a>(&self, word: &[u8], room: &'a mut Room) -> &'a [u32] {
        room.parts.clear();
        room.parts.extend(word.iter().map(|byte| self.bytes[usize::from(*byte)]));
        if word.len() > SCANNED {
            self.merge_by_heap(room)
        } else {
            self.merge_by_scan(room)
        }
        &room.parts
    }

    /// Rank and result as one number that sorts by rank; the largest number for a pair without a merge.
    fn rank(&self, a: u32, b: u32) -> u64 {
        self.merges.get(&pair_key(a, b)).map_or(u64::MAX, |(rank, becomes)| pair_key(*rank, *becomes))
    }

    fn merge_by_scan(&self, room: &mut Room) {
        let Room { parts, ranks, .. } = room;
        ranks.clear();
        ranks.extend(parts.windows(2).map(|pair| self.rank(pair[0], pair[1])));
        loop {
            let (mut at, mut lowest) = (0, u64::MAX);
            for (i, rank) in ranks.iter().enumerate() {
                if *rank < lowest {
                    (at, lowest) = (i, *rank);
                }
            }
            if lowest == u64::MAX {
                return;
            }
            parts[at] = lowest as u32;
            parts.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(parts[at - 1], parts[at]);
            }
            if at + 1 < parts.len() {
                ranks[at] = self.rank(parts[at], parts[at + 1]);
            }
        }
    }

    fn merge_by_heap(&self, room: &mut Room) {
        let Room { parts, links, heap, .. } = room;
        links.clear();
        links.extend(parts.iter().enumerate().map(|(i, id)| Link {
            id: *id,
            before: if i == 0 { NONE } else { i as u32 - 1 },
            after: if i + 1 == parts.len() { NONE } else { i as u32 + 1 },
            gone: false,
        }));
        heap.clear();
        let rank = |links: &[Link], at: u32| {
            let link = links[at as usize];
            let after = links.get(link.after as usize)?;
            self.merges.get(&pair_key(link.id, after.id)).copied()
        };
        for at in 0..links.len() as u32 {
            if let Some((rank, _)) = rank(links, at) {
                heap.push(Reverse((rank, at)));
            }
        }
        while let Some(Reverse((wanted, at))) = heap.pop() {
            // The pair may have been merged with a neighbour in the meantime.
            let Some((_, becomes)) = rank(links, at).filter(|(rank, _)| *rank == wanted && !links[at as usize].gone)
            else {
                continue;
            };
            let right = links[at as usize].after;
            let after = links[right as usize].after;
            links[right as usize].gone = true;
            links[at as usize].id = becomes;
            links[at as usize].after = after;
            if after != NONE {
                links[after as usize].before = at;
            }
            for at in [links[at as usize].before, at] {
                if at != NONE
                    && let Some((rank, _)) = rank(links, at)
                {
                    heap.push(Reverse((rank, at)));
                }
            }
        }
        parts.clear();
        parts.extend(links.iter().filter(|link| !link.gone).map(|link| link.id));
    }

    fn word(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let key = short_key(word);
        let whole = match key {
            Some(key) => self.short.get(&key),
            None => self.long.get(word),
        };
        if let Some(id) = whole {
            return out.push(*id);
        }
        let known = match key {
            Some(key) => scratch.short.get(&key),
            None => scratch.long.get(word),
        };
        if let Some((start, count)) = known {
            let start = *start as usize;
            return out.extend_from_slice(&scratch.ids[start..start + *count as usize]);
        }
        let ids = self.merge(word, &mut scratch.room);
        out.extend_from_slice(ids);
        // Very long words rarely occur again.
        if word.len() > 256 {
            return;
        }
        if scratch.ids.len() + ids.len() > CACHED {
            scratch.ids.clear();
            scratch.short.clear();
            scratch.long.clear();
        }
        let span = (scratch.ids.len() as u32, ids.len() as u32);
        scratch.ids.extend_from_slice(ids);
        match key {
            Some(key) => drop(scratch.short.insert(key, span)),
            None => drop(scratch.long.insert(word.into(), span)),
        }
    }
}

impl Encoder {
    /// Loads a `tokenizer.json`. This crate encodes a byte-level BPE with Llama 3's split; Hugging Face's library
    /// encodes any other tokenizer. [`Encoder::is_own`] tells which one is used.
    ///
    /// # Errors
    /// When the file cannot be read, or the library cannot parse it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        match Vocabulary::read(path) {
            // Added tokens that are not special are found inside texts, which only the library supports.
            Ok(vocabulary) if vocabulary.added().iter().all(|added| added.special) => Ok(Self::new(vocabulary)),
            _ => Self::library(path),
        }
    }

    /// An encoder for a vocabulary.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self(Kind::Own(Box::new(Own::new(vocabulary))))
    }

    /// Loads a `tokenizer.json` into Hugging Face's library.
    ///
    /// # Errors
    /// When it cannot parse the file.
    pub fn library(path: &Path) -> anyhow::Result<Self> {
        let cannot = |e| anyhow!("{}: the tokenizer cannot be read: {e}", path.display());
        let text = std::fs::read_to_string(path).map_err(Into::into);
        let mut tokenizer: tokenizers::Tokenizer = text.and_then(|text| text.parse()).map_err(cannot)?;
        tokenizer.set_encode_special_tokens(true);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(cannot)?;
        Ok(Self(Kind::Library(Box::new(tokenizer))))
    }

    /// Whether this crate encodes, rather than Hugging Face's library.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.0, Kind::Own(_))
    }

    /// The vocabulary, if this crate encodes.
    #[must_use]
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match &self.0 {
            Kind::Own(own) => Some(&own.vocabulary),
            Kind::Library(_) => None,
        }
    }

    /// The vocabulary size: all ids are below this number.
    #[must_use]
    pub fn size(&self) -> u32 {
        match &self.0 {
            Kind::Own(own) => own.vocabulary.size(),
            Kind::Library(library) => library.get_vocab(true).values().max().map_or(0, |id| id + 1),
        }
    }

    /// The id of an added token.
    #[must_use]
    pub fn special(&self, content: &str) -> Option<u32> {
        match &self.0 {
            Kind::Own(own) => own.vocabulary.added_id(content),
            Kind::Library(library) => library.token_to_id(content),
        }
    }

    /// Appends the ids of `text` to `out`, without a begin or end token.
    ///
    /// # Errors
    /// When Hugging Face's library encodes and fails.
    pub fn encode(&self, text: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> anyhow::Result<()> {
        match &self.0 {
            Kind::Own(own) => {
                words(text).for_each(|word| own.word(word.as_bytes(), scratch, out));
                Ok(())
            }
            Kind::Library(library) => {
                let encoding = library.encode_fast(text, false).map_err(|e| anyhow!("cannot encode a text: {e}"))?;
                out.extend_from_slice(encoding.get_ids());
                Ok(())
            }
        }
    }

    /// The ids of bytes that need not be valid text, treated as one word. Only if this crate encodes.
    #[must_use]
    pub fn encode_bytes(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        match &self.0 {
            Kind::Own(own) => Some(own.merge(bytes, &mut Room::default()).to_vec()),
            Kind::Library(_) => None,
        }
    }

    /// The ids of one text.
    ///
    /// # Errors
    /// See [`Encoder::encode`].
    pub fn ids(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let mut out = Vec::new();
        self.encode(text, &mut Scratch::default(), &mut out)?;
        Ok(out)
    }
}

/// A [`Scratch`] for each thread of a pool; it keeps its cache from batch to batch.
pub struct Pool {
    threads: rayon::ThreadPool,
    scratch: Vec<Mutex<Scratch>>,
}

impl Pool {
    /// `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// When the system cannot create threads.
    pub fn new(threads: usize) -> anyhow::Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")?;
        let scratch = (0..threads.current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(Self { threads, scratch })
    }

    /// Processes all items in parallel, each with the scratch of its thread. Returns the results in order.
    pub fn map<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T, &mut Scratch) -> R + Sync) -> Vec<R> {
        self.threads.install(|| {
            items
                .par_iter()
                .map(|item| {
                    let at = rayon::current_thread_index().unwrap_or_default();
                    // A cache stays valid after a panic in another item.
                    let mut scratch = self.scratch[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    work(item, &mut scratch)
                })
                .collect()
        })
    }
}
