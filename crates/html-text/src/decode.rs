//! Decodes the bytes of a page to text.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::memmem;

/// Number of bytes in which the page's own declaration is searched, as in the HTML standard (13.2.3.2).
const PRESCAN: usize = 1_024;

/// The text of a page's bytes. The encoding is determined in this order: the byte order mark; the `charset` of the
/// HTTP header `Content-Type`; the `charset` of a `meta` element in the first 1,024 bytes; detection from the bytes.
/// Bytes that are valid UTF-8 with characters beyond ASCII are decoded as UTF-8, whatever the declaration.
/// Undecodable bytes become U+FFFD.
#[must_use]
pub fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[length..]).0.into_owned();
    }
    // Servers and templates that still declare the encoding from before a change to UTF-8 are common; text that is
    // valid UTF-8 by chance is not.
    if let Ok(text) = std::str::from_utf8(bytes)
        && !bytes.is_ascii()
    {
        return text.to_owned();
    }
    let declared = content_type.and_then(charset).or_else(|| meta_charset(&bytes[..bytes.len().min(PRESCAN)]));
    let encoding = declared.unwrap_or_else(|| {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
        detector.feed(bytes, true);
        detector.guess(None, Utf8Detection::Allow)
    });
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// The encoding named by a content type, or by a text that contains `charset=`.
fn charset(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.split_once("charset")?.1.trim_start().strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/' | '>')).unwrap_or(rest.len());
    Encoding::for_label(&rest.as_bytes()[..end])
}

fn meta_charset(head: &[u8]) -> Option<&'static Encoding> {
    let lower = head.to_ascii_lowercase();
    let mut at = 0;
    while let Some(found) = memmem::find(&lower[at..], b"<meta") {
        let start = at + found;
        let end = memchr::memchr(b'>', &lower[start..]).map_or(lower.len(), |found| start + found);
        if let Some(encoding) = charset(&String::from_utf8_lossy(&lower[start..end])) {
            // A page with `<meta` in ASCII is not UTF-16.
            return Some(match encoding {
                e if e == UTF_16LE || e == UTF_16BE => UTF_8,
                e if e == X_USER_DEFINED => WINDOWS_1252,
                e => e,
            });
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_order_mark_wins() {
        assert_eq!(decode(b"\xFF\xFEa\0\xE4\0", Some("text/html; charset=iso-8859-1")), "aä");
        assert_eq!(decode(b"\xEF\xBB\xBFa\xC3\xA4", None), "aä");
    }

    #[test]
    fn the_header_comes_before_the_page() {
        let page = b"<meta charset=windows-1251>\xE4";
        assert!(decode(page, Some("text/html; Charset=\"ISO-8859-1\"")).ends_with('ä'));
        assert!(decode(page, Some("text/html")).ends_with('д'));
        assert!(
            decode(b"<META http-equiv=Content-Type content='text/html; charset=shift_jis'>\x82\xA0", None)
                .ends_with('あ')
        );
    }

    #[test]
    fn utf_8_is_known_by_itself() {
        assert!(decode("<meta charset=iso-8859-1>für".as_bytes(), None).ends_with("für"));
    }

    #[test]
    fn an_undeclared_encoding_is_detected() {
        let russian =
            "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью.";
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
        assert_eq!(decode(&bytes, None), russian);
        let japanese = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。";
        let (bytes, _, _) = encoding_rs::EUC_JP.encode(japanese);
        assert_eq!(decode(&bytes, None), japanese);
    }

    #[test]
    fn what_cannot_be_decoded_is_replaced() {
        assert_eq!(decode(b"<meta charset=utf-8>a\xFFb", None), "<meta charset=utf-8>a\u{FFFD}b");
        assert_eq!(decode(b"", None), "");
    }
}
