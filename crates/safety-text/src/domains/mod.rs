//! Lists of blocked hosts and addresses, and an `allow` list that takes precedence.
//!
//! An entry matches its host and every subdomain: `example.com` matches `a.b.example.com`. The look-up goes from a host up to
//! its registrable domain (by the public suffix list). So an entry that is a public suffix of several labels (`github.io`)
//! matches itself, but not the sites of others below it. An entry of one label (`xxx`) matches the whole top-level domain. An
//! entry with a path matches that path and all paths below it.
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

/// A list that cannot be read; the message is one sentence that names the file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}", path = path.display())]
pub struct DomainsError {
    /// Path of the list.
    pub path: PathBuf,
    /// Description of the fault.
    pub what: String,
}

/// Why an address is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<'a> {
    /// Name of the list.
    pub list: &'a str,
    /// The matching entry: the host or a parent domain, or the address with its path.
    pub entry: String,
}

/// One list.
#[derive(Debug, Default)]
struct List {
    name: String,
    hosts: Hashes,
    paths: Hashes,
    /// Whether an entry has a single label, so that top-level domains must be looked up.
    has_suffixes: bool,
    counts: Counts,
}

/// Named lists of blocked hosts, and one list of allowed hosts that takes precedence. Entries are stored as 64-bit hashes. With
/// 4.5 million entries the probability that an unlisted host is reported as listed is 2.5e-13.
#[derive(Debug, Default)]
pub struct Domains {
    lists: Vec<List>,
    allowed: List,
}

impl Domains {
    /// No lists: no address is blocked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first list, in the order of adding, that contains the host, one of its parent domains, or the address by its path.
    /// `address` is a URL with or without scheme, or a host. `None` if the address is allowed or contains no host.
    #[must_use]
    pub fn find(&self, address: &str) -> Option<Hit<'_>> {
        let address = host::address(address)?;
        if self.lists.is_empty() || self.allowed.find(&address).is_some() {
            return None;
        }
        self.lists.iter().find_map(|list| Some(Hit { list: &list.name, entry: list.find(&address)? }))
    }

    /// Whether the allowed list contains the address.
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

    /// Memory of the entries in bytes.
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
        // Hash from the last label to the first, so each longer suffix of the host only costs its additional letters.
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
