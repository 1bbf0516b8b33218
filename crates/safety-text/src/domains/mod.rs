//! Lists of hosts and addresses, with `allow` before all.
//!
//! An entry of a list matches its host and every host below it: `example.com` matches `a.b.example.com`. From a host the
//! labels are walked up as far as the registrable domain by the public suffix list, so an entry that is a public suffix
//! of several labels (`github.io`) matches itself and not the sites of others below it. An entry of one label (`xxx`) means
//! the whole top-level domain. An entry with a path matches that path and what lies below it.
//!
//! ```
//! use safety_text::domains::Domains;
//!
//! let mut domains = Domains::new();
//! domains.add("ads", "tracker.example.com\nexample.org/banners\n".as_bytes(), "ads.txt")?;
//! domains.allow("ok.tracker.example.com\n".as_bytes(), "allow.txt")?;
//! assert_eq!(domains.find("https://x.tracker.example.com/a").unwrap().list, "ads");
//! assert!(domains.find("https://example.org/news").is_none());
//! assert!(domains.find("https://example.org/banners/1.png").is_some());
//! assert!(domains.find("https://ok.tracker.example.com/a").is_none());
//! # Ok::<(), safety_text::domains::DomainsError>(())
//! ```

mod host;
mod load;
mod set;

use std::path::PathBuf;

pub use host::{Address, address};
pub use load::Counts;
pub(crate) use load::read_text;
use set::Hashes;

/// A list that cannot be read; the text is one sentence with the file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}", path = path.display())]
pub struct DomainsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// Why an address is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<'a> {
    /// The list's name.
    pub list: &'a str,
    /// The entry: the host or its parent, or the address with its path.
    pub entry: String,
}

/// One list.
#[derive(Debug, Default)]
struct List {
    name: String,
    hosts: Hashes,
    paths: Hashes,
    /// Whether an entry has one label, so that top-level domains have to be looked up.
    has_suffixes: bool,
    counts: Counts,
}

/// Named lists of blocked hosts, and one of allowed hosts that beats them all. Entries are kept as 64-bit hashes: of 4.5
/// million entries a host that is in no list is taken for one with a probability of 2.5e-13.
#[derive(Debug, Default)]
pub struct Domains {
    lists: Vec<List>,
    allowed: List,
}

impl Domains {
    /// No lists: everything passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first list, in the order of adding, that has the host or one of its parents, or the address by its path.
    /// `address` is a URL with or without scheme, or a host. None where the allowed list has it, and where there is no
    /// host in it.
    #[must_use]
    pub fn find(&self, address: &str) -> Option<Hit<'_>> {
        let address = host::address(address)?;
        if self.lists.is_empty() || self.allowed.find(&address).is_some() {
            return None;
        }
        self.lists.iter().find_map(|list| Some(Hit { list: &list.name, entry: list.find(&address)? }))
    }

    /// Whether the allowed list has the address.
    #[must_use]
    pub fn is_allowed(&self, address: &str) -> bool {
        host::address(address).is_some_and(|address| self.allowed.find(&address).is_some())
    }

    /// Name and counts of each list, in the order of adding.
    pub fn lists(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.lists.iter().map(|list| (list.name.as_str(), list.counts))
    }

    /// The counts of the allowed list.
    #[must_use]
    pub fn allowed(&self) -> Counts {
        self.allowed.counts
    }

    /// Bytes of memory that the entries take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |list: &List| list.hosts.bytes() + list.paths.bytes();
        self.lists.iter().map(of).sum::<usize>() + of(&self.allowed)
    }
}

impl List {
    fn find(&self, address: &Address) -> Option<String> {
        if self.hosts.is_empty() && self.paths.is_empty() {
            return None;
        }
        let host = address.host.as_ref();
        let last = address.registrable;
        let mut hash = set::START;
        let bytes = host.as_bytes();
        // From the last label to the first: each longer ending of the host at the cost of its further letters.
        for at in (0..bytes.len()).rev() {
            hash = set::step(hash, bytes[at]);
            let is_label = at == 0 || bytes[at - 1] == b'.';
            if !is_label {
                continue;
            }
            let is_top = self.has_suffixes && !host[at..].contains('.') && !address.is_number;
            if (at <= last || is_top) && self.hosts.contains(hash) {
                return Some(host[at..].to_owned());
            }
        }
        self.paths.find_path(host, address.path)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
