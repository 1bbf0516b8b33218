//! Extracts the host and the path of an address.

use std::borrow::Cow;

/// The parts of an address that are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    /// The host: in lower case, internationalised names in Punycode, without trailing dot and port.
    pub host: Cow<'a, str>,
    /// Byte offset in `host` of the registrable domain, which is the public suffix and one more label. 0 for a host that is a
    /// public suffix, has one label, or is an IP address.
    pub registrable: usize,
    /// Whether the host is an IP address.
    pub is_number: bool,
    /// The path without query, fragment and trailing slashes: empty, or starting with a slash.
    pub path: &'a str,
}

/// Parses an address: a URL with or without scheme, or a bare host. `None` if there is no host.
///
/// ```
/// use safety_text::domains::address;
///
/// let found = address("HTTPS://user@WWW.Example.co.uk:8080/a/b/?q=1#top").unwrap();
/// assert_eq!((&*found.host, &found.host[found.registrable..], found.path), ("www.example.co.uk", "example.co.uk", "/a/b"));
/// assert_eq!(address("bücher.example.de").unwrap().host, "xn--bcher-kva.example.de");
/// assert!(address("mailto:a@example.com").is_none() && address("").is_none());
/// ```
#[must_use]
pub fn address(text: &str) -> Option<Address<'_>> {
    let mut address = parts(text)?;
    if !address.is_number {
        let host = &address.host;
        address.registrable = public_suffix::registrable(host).map_or(0, |domain| host.len() - domain.len());
    }
    Some(address)
}

/// Like [`address`], but without looking the public suffix up: `registrable` is 0.
pub(super) fn parts(text: &str) -> Option<Address<'_>> {
    let text = text.trim();
    let rest = match text.find("://") {
        Some(at) if text[..at].bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => &text[at + 3..],
        _ => text.strip_prefix("//").unwrap_or(text),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let has_scheme = rest.len() < text.len();
    let authority = match authority.rfind('@') {
        Some(_) if !has_scheme => return None,
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    let (host, is_number) = if let Some(inner) = authority.strip_prefix('[') {
        (inner.split(']').next()?, true)
    } else {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return None,
            None => authority,
        };
        (host.trim_end_matches('.'), host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    if host.is_empty() || host.len() > 255 || host.starts_with('.') || host.bytes().any(|byte| byte <= b' ') {
        return None;
    }
    let host = normal(host)?;
    let path = tail.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    Some(Address { host, registrable: 0, is_number, path: if path.starts_with('/') { path } else { "" } })
}

/// Converts a host to lower case, and non-ASCII names to Punycode. `None` if it cannot be a host name.
fn normal(host: &str) -> Option<Cow<'_, str>> {
    if !host.is_ascii() {
        return idna::domain_to_ascii(host).ok().filter(|host| !host.is_empty()).map(Cow::Owned);
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(host.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(host))
}
