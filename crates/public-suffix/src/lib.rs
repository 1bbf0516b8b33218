//! Public suffixes of host names, by the public suffix list (<https://publicsuffix.org>), which the crate `psl` holds as code.
//!
//! `psl` is generic over the iterator of labels and marked `#[inline]`: each crate that calls it compiles the whole list, which
//! takes a minute at `opt-level = 3` for every library, test and example. These functions are not generic, so it is compiled once.

/// The length in bytes of the public suffix that ends `host`, and whether the list names it (the list's rule `*` makes any
/// unknown last label a suffix). Lower case is expected. None for an empty host.
#[inline(never)]
fn suffix(host: &str) -> Option<(usize, bool)> {
    psl::suffix(host.as_bytes()).map(|suffix| (suffix.as_bytes().len(), suffix.is_known()))
}

/// Whether `host` ends in a suffix that the list names.
///
/// ```
/// assert!(public_suffix::has_known_suffix("example.co.uk") && public_suffix::has_known_suffix("com"));
/// assert!(!public_suffix::has_known_suffix("server.local") && !public_suffix::has_known_suffix(""));
/// ```
#[must_use]
pub fn has_known_suffix(host: &str) -> bool {
    suffix(host).is_some_and(|(_, is_known)| is_known)
}

/// The registrable domain: the public suffix and one label before it. None where the host has no label before its suffix.
///
/// ```
/// use public_suffix::registrable;
///
/// assert_eq!(registrable("www.example.co.uk"), Some("example.co.uk"));
/// assert_eq!(registrable("a.b.user.github.io"), Some("user.github.io"));
/// assert_eq!(registrable("server.unknown"), Some("server.unknown"));
/// assert_eq!(registrable("example.com."), Some("example.com."));
/// assert_eq!((registrable("co.uk"), registrable(".com"), registrable("")), (None, None, None));
/// ```
#[must_use]
pub fn registrable(host: &str) -> Option<&str> {
    let (length, _) = suffix(host)?;
    let before = host[..host.len() - length].strip_suffix('.')?;
    let label = before.rsplit('.').next().filter(|label| !label.is_empty())?;
    Some(&host[before.len() - label.len()..])
}
