//! The pages that nearly every instance of a module writes to, made writable before it starts.
//!
//! An instance's memory is its module's, mapped copy-on-write: the first write to a page, and often a read before it, traps.
//! An interpreter writes to some hundred pages scattered over its snapshot whatever it runs, and these traps take longer than
//! a short program. So the first instances are watched, and the later ones get those pages copied by a few calls. What the
//! pages hold does not change: they are the module's either way.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

/// Instances that are watched; the first one of a process, which also finds its code cold, is not told apart.
const WATCHED: u32 = 6;
/// In how many of them a page must have been written to.
const OFTEN: u32 = 3;
/// A page between two others is copied with them.
const GAP: usize = 1;
/// Bits of an entry of `/proc/self/pagemap`: the page is there, and it is a file's (so nobody has written to it here).
const PRESENT: u64 = 1 << 63;
const FILE: u64 = 1 << 61;

/// What is known of a module's pages. Clones share it.
#[derive(Clone, Default)]
pub struct HotPages(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Instances that were watched.
    watched: u32,
    /// How many of them wrote to a page, by its number in the memory.
    written: BTreeMap<usize, u32>,
    /// The pages to copy, as ranges of bytes, when that is settled.
    ranges: Vec<Range<usize>>,
}

impl HotPages {
    /// Copies them in the memory of a new instance; whether that instance is to be watched.
    pub fn prepare(&self, memory: &mut [u8]) -> bool {
        let Ok(mut known) = self.0.lock() else { return false };
        for range in &known.ranges {
            let Some(pages) = memory.get_mut(range.clone()) else { continue };
            // SAFETY: the range lies in memory that is borrowed mutably, and the call does not change what it holds.
            if unsafe { libc::madvise(pages.as_mut_ptr().cast(), pages.len(), libc::MADV_POPULATE_WRITE) } != 0 {
                // A kernel before 5.14: the pages are copied when they are written to.
                known.ranges.clear();
                break;
            }
        }
        known.watched < WATCHED
    }

    /// Notes which pages of its first memory a watched instance has written to, at its end.
    pub fn watch(&self, memory: &[u8]) {
        let size = page_size();
        let Some(entries) = entries(memory.as_ptr() as usize / size, memory.len() / size) else { return };
        let Ok(mut known) = self.0.lock() else { return };
        if known.watched >= WATCHED {
            return;
        }
        known.watched += 1;
        let is_written = |entry: u64| entry & (PRESENT | FILE) == PRESENT;
        for page in entries.enumerate().filter(|(_, entry)| is_written(*entry)).map(|(page, _)| page) {
            *known.written.entry(page).or_default() += 1;
        }
        if known.watched == WATCHED {
            let often = std::mem::take(&mut known.written).into_iter().filter(|(_, times)| *times >= OFTEN);
            known.ranges = ranges(often.map(|(page, _)| page), size);
        }
    }
}

fn page_size() -> usize {
    // SAFETY: no arguments that could be wrong.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// What the kernel says of pages of this process.
fn entries(first: usize, count: usize) -> Option<impl Iterator<Item = u64>> {
    let mut bytes = vec![0; count * 8];
    File::open("/proc/self/pagemap").ok()?.read_exact_at(&mut bytes, first as u64 * 8).ok()?;
    Some((0..count).map(move |i| bytes[i * 8..].first_chunk().map_or(0, |entry| u64::from_ne_bytes(*entry))))
}

/// Ascending pages as ranges of bytes.
fn ranges(pages: impl Iterator<Item = usize>, size: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for page in pages {
        match ranges.last_mut() {
            Some(last) if page * size <= last.end + GAP * size => last.end = (page + 1) * size,
            _ => ranges.push(page * size..(page + 1) * size),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_near_each_other_make_one_range() {
        let pages = [1, 2, 4, 7, 8].into_iter();
        assert_eq!(ranges(pages, 10), [10..50, 70..90]);
        assert_eq!(ranges(std::iter::empty(), 10), Vec::<Range<usize>>::new());
    }

    #[test]
    fn written_pages_are_found_and_copied_without_a_change() {
        let size = page_size();
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 * size as u64).unwrap();
        file.write_all_at(b"as it was", 9 * size as u64).unwrap();
        // SAFETY: nobody else has the file.
        let map = || unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        let hot = HotPages::default();
        for _ in 0..WATCHED {
            let mut memory = map();
            assert!(hot.prepare(&mut memory));
            assert_eq!(memory[20 * size], 0);
            memory[9 * size + 100] = 1;
            hot.watch(&memory);
        }
        assert_eq!(hot.0.lock().unwrap().ranges, std::slice::from_ref(&(9 * size..10 * size)));
        let mut memory = map();
        assert!(!hot.prepare(&mut memory));
        assert_eq!(&memory[9 * size..9 * size + 9], b"as it was");
        let written = |page: usize| entries(memory.as_ptr() as usize / size + page, 1).unwrap().next().unwrap();
        assert_eq!(written(9) & (PRESENT | FILE), PRESENT, "it was not copied");
        assert_eq!(written(20) & PRESENT, 0, "it was touched");
    }
}
