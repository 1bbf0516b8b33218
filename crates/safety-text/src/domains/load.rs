//! Reads lists of hosts and addresses.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use dataset::Format;
use serde::Serialize;

use super::set::{self, Hashes};
use super::{Domains, DomainsError, List, host};

/// Counts of a list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Number of hosts.
    pub hosts: u64,
    /// Number of addresses with a path.
    pub paths: u64,
    /// Number of repeated entries.
    pub doubles: u64,
    /// Number of invalid lines; they are skipped.
    pub bad: u64,
    /// Number of the first invalid line, from 1; 0 if there is none.
    pub first_bad: u64,
}

impl Domains {
    /// Adds a list of blocked entries, one per line: a host, an address with a path, a line of a hosts file
    /// (`0.0.0.0 example.com`), or `||example.com^`. `#` and `!` start a comment. `origin` is the file name for error messages.
    ///
    /// # Errors
    /// When the list cannot be read or has no entry.
    pub fn add(&mut self, name: &str, lines: impl Read, origin: impl AsRef<Path>) -> Result<Counts, DomainsError> {
        let list = read(name, lines, origin.as_ref())?;
        let counts = list.counts;
        self.lists.push(list);
        Ok(counts)
    }

    /// Adds a list from a plain, gzip or zstd file; the file name determines which.
    ///
    /// # Errors
    /// The same as [`Domains::add`].
    pub fn add_file(&mut self, name: &str, path: &Path) -> Result<Counts, DomainsError> {
        self.add(name, open(path)?, path)
    }

    /// Adds every list of a folder in the order of the names: files `NAME.txt` (also `.gz` and `.zst`), and folders `NAME` with
    /// files `domains` and `urls` as in UT1's lists.
    ///
    /// # Errors
    /// The same as [`Domains::add`], and when the folder has no list.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), DomainsError> {
        let error = |what: String| DomainsError { path: folder.to_owned(), what };
        let entries = std::fs::read_dir(folder).map_err(|e| error(format!("cannot read the folder: {e}")))?;
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|e| error(format!("cannot read the folder: {e}")))?.path());
        }
        paths.sort();
        let before = self.lists.len();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                let parts: Vec<PathBuf> =
                    ["domains", "urls"].iter().map(|part| path.join(part)).filter(|part| part.is_file()).collect();
                let Some(first) = parts.first() else { continue };
                let mut all: Box<dyn Read> = Box::new(std::io::empty());
                for part in &parts {
                    // The first file may end without a newline.
                    all = Box::new(all.chain(open(part)?).chain(&b"\n"[..]));
                }
                self.add(&name, all, first)?;
            } else if let Some(name) =
                [".txt", ".txt.gz", ".txt.zst"].iter().find_map(|ending| name.strip_suffix(ending))
            {
                self.add_file(name, &path)?;
            }
        }
        if self.lists.len() == before {
            return Err(error("the folder holds no list: NAME.txt, or NAME/domains and NAME/urls".into()));
        }
        Ok(())
    }

    /// Adds entries that no list may block.
    ///
    /// # Errors
    /// The same as [`Domains::add`].
    pub fn allow(&mut self, lines: impl Read, origin: impl AsRef<Path>) -> Result<Counts, DomainsError> {
        let path = origin.as_ref();
        if self.allowed.counts != Counts::default() {
            let what = "there is an allowed list already; put all entries into one file".into();
            return Err(DomainsError { path: path.to_owned(), what });
        }
        self.allowed = read("allow", lines, path)?;
        Ok(self.allowed.counts)
    }

    /// [`Domains::allow`] with a plain, gzip or zstd file.
    ///
    /// # Errors
    /// The same as [`Domains::add`].
    pub fn allow_file(&mut self, path: &Path) -> Result<Counts, DomainsError> {
        self.allow(open(path)?, path)
    }
}

/// Opens a plain, gzip or zstd file.
fn open(path: &Path) -> Result<Box<dyn Read>, DomainsError> {
    let error = |e: std::io::Error| DomainsError { path: path.to_owned(), what: format!("cannot open: {e}") };
    let file = File::open(path).map_err(error)?;
    Ok(match Format::of(path) {
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        Format::Zstd => Box::new(zstd::Decoder::new(file).map_err(error)?),
        Format::Plain | Format::Parquet => Box::new(file),
    })
}

/// The text of a plain, gzip or zstd file.
pub(crate) fn read_text(path: &Path) -> Result<String, DomainsError> {
    let mut text = String::new();
    let read = open(path)?.read_to_string(&mut text);
    read.map_err(|e| DomainsError { path: path.to_owned(), what: format!("cannot read: {e}") })?;
    Ok(text)
}

fn read(name: &str, lines: impl Read, path: &Path) -> Result<List, DomainsError> {
    let error = |what: String| DomainsError { path: path.to_owned(), what };
    let mut reader = BufReader::with_capacity(1 << 18, lines);
    let (mut line, mut number) = (Vec::new(), 0);
    let mut counts = Counts::default();
    let (mut hosts, mut paths) = (Chunks::default(), Vec::new());
    let mut has_suffixes = false;
    loop {
        line.clear();
        number += 1;
        let length =
            reader.read_until(b'\n', &mut line).map_err(|e| error(format!("cannot read line {number}: {e}")))?;
        if length == 0 {
            break;
        }
        let entry = match std::str::from_utf8(&line).map(entry) {
            Ok(Entry::Nothing) => continue,
            Ok(Entry::Address(text)) => host::parts(text),
            Err(_) => None,
        };
        match entry {
            None => {
                counts.bad += 1;
                if counts.first_bad == 0 {
                    counts.first_bad = number;
                }
            }
            Some(address) if address.path.is_empty() => {
                counts.hosts += 1;
                has_suffixes |= !address.host.contains('.');
                hosts.push(set::host(&address.host));
            }
            Some(address) => {
                counts.paths += 1;
                paths.push(Hashes::path(&address.host, address.path));
            }
        }
    }
    if counts.hosts + counts.paths == 0 {
        return Err(error(format!("the list {name} holds no host: one entry a line is expected")));
    }
    let (hosts, host_doubles) = Hashes::build(hosts.join());
    let (paths, path_doubles) = Hashes::build(paths);
    counts.doubles = (host_doubles + path_doubles) as u64;
    Ok(List { name: name.to_owned(), hosts, paths, has_suffixes, counts })
}

enum Entry<'a> {
    Nothing,
    Address(&'a str),
}

/// Parses the entry of a line.
fn entry(line: &str) -> Entry<'_> {
    let line = line.trim_start_matches('\u{FEFF}');
    let line = line.split_once(" #").map_or(line, |(before, _)| before).trim();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return Entry::Nothing;
    }
    if let Some(rest) = line.strip_prefix("||") {
        return Entry::Address(rest.split('^').next().unwrap_or(rest));
    }
    // A line of a hosts file.
    match line.split_once([' ', '\t']) {
        Some(("0.0.0.0" | "127.0.0.1" | "::" | "::1", name)) => Entry::Address(name.trim()),
        _ => Entry::Address(line),
    }
}

/// Collects numbers without the peak of twice the memory that a growing vector has.
#[derive(Default)]
struct Chunks {
    full: Vec<Vec<u64>>,
    last: Vec<u64>,
}

/// Number of values in a chunk: 2 MB.
const CHUNK: usize = 1 << 18;

impl Chunks {
    fn push(&mut self, value: u64) {
        if self.last.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.last));
        }
        if self.last.capacity() == 0 && !self.full.is_empty() {
            self.last.reserve_exact(CHUNK);
        }
        self.last.push(value);
    }

    /// All values in one vector. Chunks are freed while they are copied.
    fn join(self) -> Vec<u64> {
        let total = self.full.len() * CHUNK + self.last.len();
        let mut all = Vec::with_capacity(total);
        for chunk in self.full.into_iter().chain([self.last]) {
            all.extend_from_slice(&chunk);
        }
        all
    }
}
