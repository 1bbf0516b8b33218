//! Readers: files of documents as a stream of documents and of messages about unreadable places.
//!
//! The extension selects the format: `.jsonl`, `.json`, `.ndjson` (with `.gz` or `.zst`), `.parquet`, `.warc`, `.wet`
//! (with `.gz` or `.zst`), `.html`, `.htm`, `.txt`. A damaged place is an [`Event::Problem`]: the reader continues
//! after it if the format allows it to find the next document, and otherwise ends the file.

mod records;
mod warc;
mod whole;

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::document::Document;

/// Documents, lines or WARC payloads that are longer than this are rejected.
pub const MAX_BYTES: usize = 256 << 20;

/// The next content of a file.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A document.
    Document(Box<Item>),
    /// Something that is not a document: a message with file and place.
    Problem(String),
}

/// A document, and the page from which its text is extracted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Item {
    /// The document. Its text is empty as long as there is a page.
    pub document: Document,
    /// The bytes of the page, for files of pages.
    pub page: Option<Page>,
}

/// The bytes of a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    /// The HTTP header `Content-Type`, which may name the character encoding.
    pub content_type: Option<String>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// JSON lines or Parquet.
    Records,
    /// Web archives with HTTP responses (WARC) or with texts (WET).
    Archive,
    /// One HTML page.
    Html,
    /// One text.
    Text,
}

/// The kind of a file, from its name.
#[must_use]
pub fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    Some(match name.rsplit_once('.')?.1 {
        "jsonl" | "json" | "ndjson" | "parquet" => Kind::Records,
        "warc" | "wet" => Kind::Archive,
        "html" | "htm" | "xhtml" => Kind::Html,
        "txt" => Kind::Text,
        _ => return None,
    })
}

/// A stream of documents.
pub type Events = Box<dyn Iterator<Item = Event> + Send>;

/// Opens a file. `source` is written into every document. Lines that are not documents are written to `rejected` with
/// their place and reason; the file is created at the first one.
///
/// # Errors
/// When the extension is unknown, or the file cannot be opened.
pub fn open(path: &Path, source: &str, rejected: PathBuf) -> anyhow::Result<Events> {
    match kind(path) {
        Some(Kind::Records) => records::open(path, source, rejected),
        Some(Kind::Archive) => warc::open(path, source),
        Some(kind @ (Kind::Html | Kind::Text)) => whole::open(path, source, kind),
        None => bail!(
            "{}: the name says no known format; use .jsonl, .parquet, .warc, .wet, .html or .txt, with .gz or .zst",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(path: &Path) -> (Vec<Item>, Vec<String>) {
        let (mut items, mut problems) = (Vec::new(), Vec::new());
        for event in open(path, "s", path.with_extension("rejected")).unwrap() {
            match event {
                Event::Document(item) => items.push(*item),
                Event::Problem(what) => problems.push(what),
            }
        }
        (items, problems)
    }

    fn texts(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.document.text.as_str()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn response(url: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let mut block = format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes();
        block.extend_from_slice(body);
        record("response", url, "application/http; msgtype=response", &block)
    }

    fn record(kind: &str, url: &str, content: &str, block: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-01T12:00:00Z\r\nWARC-Record-ID: \
             <urn:uuid:{url}>\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n",
            block.len()
        )
        .into_bytes();
        out.extend_from_slice(block);
        out.extend_from_slice(b"\r\n\r\n");
        out
    }

    #[test]
    fn records_of_published_corpora_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let lines = [
            r#"{"text": "one", "id": "<1>", "url": "http://x", "date": "2024-05-01", "score": 0.5}"#,
            r#"{"text": "two", "metadata": {"url": "http://y", "timestamp": "2024", "n": 3}, "source": "cc"}"#,
            r#"{"content": "three", "id": 7}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let (items, problems) = all(&path);
        assert_eq!((texts(&items), problems.len()), (vec!["one", "two", "three"], 0));
        let documents: Vec<&Document> = items.iter().map(|item| &item.document).collect();
        assert_eq!((documents[0].id.as_str(), documents[0].meta["score"].as_f64()), ("<1>", Some(0.5)));
        assert_eq!((documents[1].url.as_deref(), documents[1].date.as_deref()), (Some("http://y"), Some("2024")));
        assert_eq!((documents[1].source.as_str(), documents[1].meta["source"].as_str()), ("s", Some("cc")));
        assert_eq!((documents[1].id.len(), documents[2].id.as_str()), (32, "7"));
    }

    #[test]
    fn bad_lines_are_sentences_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let good = r#"{"id": "1", "text": "good"}"#;
        let mut bytes = format!("{good}\n{{\"id\": \"2\"}}\n").into_bytes();
        bytes.extend_from_slice(b"{\"id\": \"3\", \"text\": \"\xFF\"}\nnot json\n");
        bytes.extend_from_slice(good.as_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let (items, problems) = all(&path);
        assert_eq!(texts(&items), ["good", "good"]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("a.jsonl:2: text: is missing"), "{problems:?}");
        assert!(problems[1].contains("a.jsonl:3: not UTF-8 at byte 22"), "{problems:?}");
        // The complete documents of a truncated file are read.
        let whole = gzip(format!("{good}\n").repeat(20_000).as_bytes());
        let path = dir.path().join("cut.jsonl.gz");
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (items, problems) = all(&path);
        assert!(items.len() > 1000 && items.len() < 20_000, "{}", items.len());
        assert!(problems.len() == 1 && problems[0].contains("cut off"), "{problems:?}");
        // No documents at all.
        for name in ["empty.jsonl", "empty.jsonl.gz", "empty.warc"] {
            let bytes = if name.ends_with("gz") { gzip(b"") } else { Vec::new() };
            std::fs::write(dir.path().join(name), bytes).unwrap();
            let (items, problems) = all(&dir.path().join(name));
            assert!(items.is_empty() && problems.is_empty(), "{name}: {problems:?}");
        }
    }

    #[test]
    fn archives_give_pages_and_texts() {
        let dir = tempfile::tempdir().unwrap();
        let html = "Content-Type: text/html; charset=utf-8\r\n";
        let chunked = "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
        let body = gzip(b"<p>packed</p>");
        let mut chunks = format!("{:x}\r\n", body.len()).into_bytes();
        chunks.extend_from_slice(&body);
        chunks.extend_from_slice(b"\r\n0\r\n\r\n");
        let records = [
            record("warcinfo", "x", "application/warc-fields", b"software: test\r\n"),
            record("request", "http://a", "application/http; msgtype=request", b"GET / HTTP/1.1\r\n\r\n"),
            response("http://a", html, b"<p>first</p>"),
            response("http://img", "Content-Type: image/png\r\n", b"\x89PNG"),
            response("http://b", chunked, &chunks),
            record("conversion", "http://c", "text/plain", "plain text ü".as_bytes()),
        ];
        let plain = dir.path().join("a.warc");
        std::fs::write(&plain, records.concat()).unwrap();
        let packed = dir.path().join("a.warc.gz");
        std::fs::write(&packed, records.iter().flat_map(|record| gzip(record)).collect::<Vec<u8>>()).unwrap();
        let zst = dir.path().join("a.warc.zst");
        std::fs::write(&zst, records.iter().flat_map(|r| zstd::encode_all(&r[..], 3).unwrap()).collect::<Vec<u8>>())
            .unwrap();
        for path in [&plain, &packed, &zst] {
            let (items, problems) = all(path);
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(items.len(), 3, "{}", path.display());
            let pages: Vec<&[u8]> =
                items.iter().filter_map(|item| item.page.as_ref()).map(|page| &page.bytes[..]).collect();
            assert_eq!(pages, [&b"<p>first</p>"[..], b"<p>packed</p>"]);
            let (first, last) = (&items[0].document, &items[2].document);
            assert_eq!((first.url.as_deref(), first.id.as_str()), (Some("http://a"), "http://a"));
            assert_eq!((first.date.as_deref(), last.text.as_str()), (Some("2024-05-01T12:00:00Z"), "plain text ü"));
        }
    }

    #[test]
    fn a_cut_archive_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let html = "Content-Type: text/html\r\n";
        let noise: Vec<u8> = (0..60_000_u32).map(|n| (crate::hash::bytes(&n.to_le_bytes()) % 94 + 33) as u8).collect();
        let records: Vec<Vec<u8>> = (0..4).map(|n| response(&format!("http://{n}"), html, &noise[n..])).collect();
        let plain = records.concat();
        let packed: Vec<u8> = records.iter().flat_map(|record| gzip(record)).collect();
        for (name, bytes) in [("cut.warc", plain), ("cut.warc.gz", packed)] {
            let path = dir.path().join(name);
            std::fs::write(&path, &bytes[..bytes.len() - 30_000]).unwrap();
            let (items, problems) = all(&path);
            assert_eq!(items.len(), 3, "{name}: {problems:?}");
            assert_eq!(problems.len(), 1, "{name}: {problems:?}");
            assert!(problems[0].contains(&format!("{name}: record 4: ")), "{problems:?}");
        }
    }

    #[test]
    fn single_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.html"), "<p>x").unwrap();
        std::fs::write(dir.path().join("a.txt.gz"), gzip(b"text")).unwrap();
        std::fs::write(dir.path().join("b.txt"), b"a\xFF").unwrap();
        assert_eq!(all(&dir.path().join("a.html")).0[0].page.as_ref().unwrap().bytes, b"<p>x");
        assert_eq!(texts(&all(&dir.path().join("a.txt.gz")).0), ["text"]);
        assert!(all(&dir.path().join("b.txt")).1[0].ends_with("b.txt: not UTF-8 at byte 2"));
        let error = open(&dir.path().join("a.pdf"), "s", PathBuf::new()).err().unwrap().to_string();
        assert!(error.contains("the name says no known format"), "{error}");
    }
}
