//! WARC and WET: HTTP responses as pages, `conversion` records as texts. Other records (requests, metadata) are
//! skipped.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fastwarc::{
    stream_io::{gzip::GzipReader, traits::IntoWarcReader, traits::WarcRead, zstd::ZstdReader},
    warc::iter::{ArchiveIteratorOptions, ArchiveIteratorThreadSafe},
    warc::record::{WarcRecord, WarcRecordType},
};

use super::{Event, Events, Item, MAX_BYTES, Page};
use crate::document::Document;

pub(super) fn open(path: &Path, source: &str) -> anyhow::Result<Events> {
    let file = File::open(path).with_context(|| format!("{}: cannot open", path.display()))?;
    let empty = file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    if empty {
        return Ok(Box::new(std::iter::empty()));
    }
    let file = BufReader::with_capacity(1 << 20, file);
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let reader: Box<dyn WarcRead> = match end.as_str() {
        "gz" => GzipReader::new(file).into_warc_reader(),
        "zst" | "zstd" => ZstdReader::new(file).into_warc_reader(),
        _ => file.into_warc_reader(),
    };
    let options = ArchiveIteratorOptions {
        stream_detect: false,
        parse_http: true,
        quirks_mode: true,
        ..ArchiveIteratorOptions::default()
    };
    let records = ArchiveIteratorThreadSafe::with_options(reader, options);
    Ok(Box::new(Archive { path: path.to_owned(), source: source.to_owned(), records, number: 0, ended: false }))
}

struct Archive {
    path: PathBuf,
    source: String,
    records: ArchiveIteratorThreadSafe,
    /// The number of the last record, from 1.
    number: u64,
    ended: bool,
}

impl Iterator for Archive {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while !self.ended {
            self.number += 1;
            let place = format!("{}: record {}", self.path.display(), self.number);
            match self.records.next() {
                None => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Event::Problem(format!("{place}: {error}; the rest of the file is not read")));
                }
                Some(Ok(record)) => {
                    let Ok(mut record) = record.lock() else { continue };
                    match self.item(&mut record) {
                        Ok(Some(item)) => return Some(Event::Document(Box::new(item))),
                        Ok(None) => {}
                        Err(what) => return Some(Event::Problem(format!("{place}: {what}"))),
                    }
                }
            }
        }
        None
    }
}

impl Archive {
    fn item(&self, record: &mut WarcRecord) -> Result<Option<Item>, String> {
        let kind = record.record_type();
        let is_response = kind == WarcRecordType::Response && record.is_http_parsed();
        if !is_response && kind != WarcRecordType::Conversion {
            return Ok(None);
        }
        let header = |record: &WarcRecord, name: &str| record.headers().get(name).map(|text| text.into_owned());
        let url = header(record, "WARC-Target-URI").map(|url| url.trim_matches(['<', '>']).to_owned());
        let date = header(record, "WARC-Date");
        let id = header(record, "WARC-Record-ID").unwrap_or_default();
        let id = id.trim_matches(['<', '>']).trim_start_matches("urn:uuid:").to_owned();
        let mut is_html = false;
        if is_response {
            let status = record.http_headers().and_then(|headers| headers.status_code());
            if status.is_some_and(|status| !(200..300).contains(&status)) {
                return Ok(None);
            }
            let content = record.http_content_type().unwrap_or_default().to_ascii_lowercase();
            is_html = content.is_empty() || content.contains("html");
            if !is_html && content != "text/plain" {
                return Ok(None);
            }
        }
        let content_type =
            record.http_headers().and_then(|headers| headers.get("Content-Type")).map(|text| text.into_owned());
        let stated = record.content_length();
        let encodings: Vec<String> = ["Content-Encoding", "Transfer-Encoding"]
            .iter()
            .filter_map(|name| record.http_headers().and_then(|headers| headers.get(name)))
            .flat_map(|value| value.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>())
            .collect();
        let mut bytes = Vec::new();
        let reader = record.reader_mut().ok_or("has no content")?;
        let read = reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
        if let Err(error) = read {
            return Err(format!("its content cannot be read: {error}; is the file cut off or damaged?"));
        }
        if bytes.len() > MAX_BYTES {
            return Err(format!("is longer than {MAX_BYTES} bytes"));
        }
        if (bytes.len() as u64) < stated {
            return Err(format!("has {} of its {stated} bytes; the file is cut off", bytes.len()));
        }
        for encoding in encodings.iter().rev() {
            bytes = decoded(encoding, bytes)?;
        }
        let mut document = Document { id, url, date, source: self.source.clone(), ..Document::default() };
        let page = if is_html {
            Some(Page { bytes, content_type })
        } else {
            document.text = String::from_utf8(bytes)
                .map_err(|error| format!("not UTF-8 at byte {} of its text", error.utf8_error().valid_up_to() + 1))?;
            None
        };
        if document.id.is_empty() {
            document.id = match &page {
                Some(page) => {
                    Document { text: String::from_utf8_lossy(&page.bytes).into(), ..document.clone() }.content_id()
                }
                None => document.content_id(),
            };
        }
        Ok(Some(Item { document, page }))
    }
}

/// Decodes one HTTP content encoding. Crawlers often store the content decoded and keep the header, so bytes that are
/// not in the encoding are used unchanged.
fn decoded(encoding: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = match encoding {
        "chunked" => return Ok(unchunked(&bytes).unwrap_or(bytes)),
        "gzip" | "x-gzip" if bytes.starts_with(b"\x1f\x8b") => {
            flate2::read::MultiGzDecoder::new(&bytes[..]).take(MAX_BYTES as u64 + 1).read_to_end(&mut out)
        }
        "deflate" if bytes.first().is_some_and(|byte| byte & 15 == 8) => {
            flate2::read::ZlibDecoder::new(&bytes[..]).take(MAX_BYTES as u64 + 1).read_to_end(&mut out)
        }
        "zstd" if bytes.starts_with(b"\x28\xb5\x2f\xfd") => {
            zstd::Decoder::new(&bytes[..]).and_then(|decoder| decoder.take(MAX_BYTES as u64 + 1).read_to_end(&mut out))
        }
        "br" if std::str::from_utf8(&bytes).is_err() => {
            return Err("its content is packed with Brotli, which is not read".to_owned());
        }
        _ => return Ok(bytes),
    };
    match read {
        Ok(length) if length > MAX_BYTES => Err(format!("is longer than {MAX_BYTES} bytes when unpacked")),
        Ok(_) => Ok(out),
        Err(error) => Err(format!("its content is not {encoding}, as its header says: {error}")),
    }
}

/// The content of a chunked body; `None` if it is not chunked (RFC 9112, section 7.1).
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = bytes.iter().take(40).position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 1..];
        if length == 0 {
            return Some(out);
        }
        out.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length..)?;
        bytes = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n"))?;
    }
}
