//! IP addresses: only public ones, because private and reserved addresses identify nobody.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::context::{Context, Topic};
use super::digits::{Cluster, Near, Sep};
use super::{Finding, Kind, Rule};

static V4: Rule = Rule { name: "ipv4", kind: Kind::Ip, checks: "four octets of a public network", score: 0.7 };
static V6: Rule = Rule { name: "ipv6", kind: Kind::Ip, checks: "an address of a public network", score: 0.8 };

/// Addresses whose octets are all below this look like versions and section numbers; they need a word nearby.
const SMALL: u8 = 20;

/// Whether the number has the form of an IPv4 address.
pub(super) fn may_be_v4(cluster: &Cluster) -> bool {
    cluster.count() >= 4 && cluster.seps(4).iter().all(|sep| *sep == Sep::Dot)
}

/// Finds an IPv4 address at the start of the cluster.
pub(super) fn v4<'a>(cluster: &Cluster, context: &impl Near<'a>) -> Option<Finding> {
    if !may_be_v4(cluster) {
        return None;
    }
    let mut octets = [0u8; 4];
    for (at, octet) in octets.iter_mut().enumerate() {
        let (start, end) = cluster.group(at);
        let part = &cluster.text[start..end];
        if part.len() > 3 || part.len() > 1 && part.starts_with('0') {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    let bytes = cluster.text.as_bytes();
    let (start, end) = (cluster.group(0).0, cluster.end(4));
    let next = |at: usize| bytes.get(end + at).copied().unwrap_or(b' ');
    // A fifth part, or a letter or word after the number: an object identifier, or a version such as 1.2.3.4-rc1.
    let goes_on = next(0).is_ascii_alphanumeric()
        || next(0) == b'_'
        || matches!(next(0), b'.' | b'-') && next(1).is_ascii_alphanumeric();
    if goes_on || !is_public_v4(Ipv4Addr::from(octets)) {
        return None;
    }
    // An address of a network: its host part is 0.
    if next(0) == b'/' && next(1).is_ascii_digit() {
        let bits: u32 =
            cluster.text[end + 1..].chars().map_while(|c| c.to_digit(10)).take(2).fold(0, |n, d| n * 10 + d);
        if bits < 32 && u32::from(Ipv4Addr::from(octets)).trailing_zeros() >= 32 - bits {
            return None;
        }
    }
    // `v1.2.3.4` does not reach this point, because a letter precedes it.
    let before = cluster.text[..start].trim_end_matches([' ', '"', '\'', '=', '~', '^', '<', '>']);
    let is_required = before.len() < start && matches!(bytes.get(start - 1), Some(b'=' | b'~' | b'^')) && {
        matches!(bytes.get(start.wrapping_sub(2)), Some(b'=' | b'~' | b'>' | b'<'))
    };
    let near = context(end);
    let word = near.says(Topic::Ip);
    let small = octets.iter().all(|&octet| octet < SMALL);
    let is_host = cluster.text[..start].ends_with("//");
    let is_version = !is_host && (near.is_version(Topic::Ip) || is_required);
    (!(is_version || small && word.is_none())).then_some(Finding { start, end, rule: &V4, context: word })
}

/// Finds all IPv6 addresses: runs of hexadecimal digits, colons and dots around a colon.
pub(super) fn find_v6(text: &str, out: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let mut from = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        // Most colons are followed by a space, or are part of `::` between words of a program.
        if colon < from || !bytes.get(colon + 1).is_some_and(|&byte| part(byte)) {
            continue;
        }
        let mut start = colon;
        while start > from && colon - start < 45 && part(bytes[start - 1]) {
            start -= 1;
        }
        let mut end = colon + 1;
        while end < bytes.len() && end - start < 48 && part(bytes[end]) {
            end += 1;
        }
        from = end;
        while end > start && (bytes[end - 1] == b'.' || bytes[end - 1] == b':' && !text[..end].ends_with("::")) {
            end -= 1;
        }
        let bounded = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        };
        if !bounded(start.checked_sub(1)) || !bounded(Some(end)) {
            continue;
        }
        let mut token = &text[start..end];
        // `from:2a00:...`: letters that are hexadecimal digits may be the end of a word.
        while let Some(rest) = token.strip_prefix(['.', ':']).filter(|rest| !rest.starts_with(':')) {
            token = rest;
        }
        let start = end - token.len();
        if is_public_v6(token) {
            let context = Context::around(text, start, end).says(Topic::Ip);
            out.push(Finding { start, end, rule: &V6, context });
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!((a, b, c), (0 | 224.., _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _)))
}

fn is_public_v6(token: &str) -> bool {
    let groups: Vec<&str> = token.split(':').filter(|group| !group.is_empty()).collect();
    // `a::b` is a path in a program; pairs of hexadecimal digits are a hardware address or a fingerprint.
    let is_path = groups.len() < 4
        && groups.first().is_none_or(|first| first.len() < 3 || !first.bytes().any(|byte| byte.is_ascii_digit()));
    let has_digit = token.bytes().any(|byte| byte.is_ascii_digit());
    if groups.len() < 2 || is_path || !has_digit || groups.iter().all(|group| group.len() <= 2) {
        return false;
    }
    let Ok(address) = token.parse::<Ipv6Addr>() else { return false };
    let [first, second, ..] = address.segments();
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let reserved = address.is_loopback()
        || address.is_unspecified()
        || first & 0xfe00 == 0xfc00 // unique local
        || first & 0xffc0 == 0xfe80 // link local
        || first & 0xff00 == 0xff00 // multicast
        || first == 0
        || (first, second) == (0x2001, 0x0db8) // documentation
        || first == 0x3fff && second < 0x1000; // documentation
    !reserved
}
