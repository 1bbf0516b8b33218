//! Files that are one document: an HTML page or a text, plain or compressed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

use super::{Event, Events, Item, Kind, MAX_BYTES, Page};
use crate::document::Document;

pub(super) fn open(path: &Path, source: &str, kind: Kind) -> anyhow::Result<Events> {
    let file = File::open(path).with_context(|| format!("{}: cannot open", path.display()))?;
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let reader: Box<dyn Read> = match end.as_str() {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        "zst" | "zstd" => {
            Box::new(zstd::Decoder::new(file).with_context(|| format!("{}: cannot open", path.display()))?)
        }
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    let event = match reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
        Err(error) => Event::Problem(format!("{}: {error}; is it cut off or damaged?", path.display())),
        Ok(_) if bytes.len() > MAX_BYTES => {
            Event::Problem(format!("{}: is longer than {MAX_BYTES} bytes", path.display()))
        }
        Ok(_) => document(path, source, kind, bytes),
    };
    Ok(Box::new(std::iter::once(event)))
}

fn document(path: &Path, source: &str, kind: Kind, bytes: Vec<u8>) -> Event {
    let mut document = Document { source: source.to_owned(), ..Document::default() };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    document.meta.insert("file".to_owned(), name.into());
    let page = match kind {
        Kind::Html => {
            document.text = String::from_utf8_lossy(&bytes).into_owned();
            document.id = document.content_id();
            document.text.clear();
            Some(Page { bytes, content_type: None })
        }
        _ => match String::from_utf8(bytes) {
            Ok(text) => {
                document.text = text;
                document.id = document.content_id();
                None
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to() + 1;
                return Event::Problem(format!("{}: not UTF-8 at byte {at}", path.display()));
            }
        },
    };
    Event::Document(Box::new(Item { document, page }))
}
