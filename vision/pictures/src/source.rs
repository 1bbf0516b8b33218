//! The location of a picture, and how its bytes are read.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::decode::Limits;
use crate::{Result, Unusable};

/// The location of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Bytes in a record, directly or in a data URI.
    Bytes(Vec<u8>),
}

impl Source {
    /// Parses the value of a record: a path relative to `folder`, a data URI, or an object with `bytes`, `path` or `url`.
    ///
    /// # Errors
    /// When the value is a network address, which is never fetched, or has another form.
    pub fn of_value(value: &Value, folder: &Path) -> Result<Self> {
        match value {
            Value::String(text) => Self::of_text(text, folder),
            Value::Object(fields) => {
                let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
                match (field("bytes"), field("url").or_else(|| field("path"))) {
                    (Some(bytes), _) => Ok(Self::Bytes(stored_bytes(bytes)?)),
                    (None, Some(Value::String(text))) => Self::of_text(text, folder),
                    _ => Err(Unusable::new("a picture's object must have bytes, path or url")),
                }
            }
            _ => Err(Unusable::new("a picture must be a path, a data URI, or an object with bytes, path or url")),
        }
    }

    fn of_text(text: &str, folder: &Path) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("data:") {
            return Ok(Self::Bytes(data_uri(rest)?));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(Unusable::new(format!(
                "the picture is at an address ({scheme}://), and nothing is fetched: download it and write its path"
            )));
        }
        if text.trim().is_empty() {
            return Err(Unusable::new("the picture's path is empty"));
        }
        Ok(Self::Path(folder.join(text)))
    }

    /// The bytes of the picture's file.
    ///
    /// # Errors
    /// When the file cannot be read, is not a regular file, or exceeds the limit.
    pub fn read(&self, limits: &Limits) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Path(path) => read(path, limits).map(Cow::Owned).map_err(|error| error.at(path.display())),
        }
    }

    /// The path, for messages; bytes have none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Bytes(_) => None,
        }
    }
}

fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let cannot = |error: std::io::Error| Unusable::new(format!("cannot be read: {error}"));
    // The check comes before opening, because a pipe would wait for its writer.
    let about = std::fs::metadata(path).map_err(cannot)?;
    if !about.is_file() {
        return Err(Unusable::new("is no file"));
    }
    if about.len() > limits.max_bytes {
        return Err(Unusable::new(format!("has {} bytes, more than {}", about.len(), limits.max_bytes)));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed detects a file that has grown.
    File::open(path).and_then(|file| file.take(limits.max_bytes + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    Ok(bytes)
}

/// The bytes in a record: text in Parquet that happens to be UTF-8, `{"hex": ...}` (the form in which `dataset` reads other binary data),
/// or base64.
fn stored_bytes(value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::Object(fields) => match fields.get("hex") {
            Some(Value::String(digits)) if fields.len() == 1 => hex(digits),
            _ => Err(Unusable::new("the picture's bytes are an object; they must be binary data or base64")),
        },
        Value::String(text) if text.trim_start().starts_with('<') => Ok(text.as_bytes().to_vec()),
        Value::String(text) => base64(text.as_bytes()),
        _ => Err(Unusable::new("the picture's bytes must be binary data or base64")),
    }
}

fn hex(digits: &str) -> Result<Vec<u8>> {
    let wrong = || Unusable::new("the picture's bytes are not hexadecimal");
    let value = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    pairs.iter().map(|&[high, low]| Ok((value(high)? * 16 + value(low)?) as u8)).collect()
}

/// Decodes the part after `data:`.
fn data_uri(rest: &str) -> Result<Vec<u8>> {
    let (head, data) =
        rest.split_once(',').ok_or_else(|| Unusable::new("the data URI has no comma before its data"))?;
    let mut parts = head.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !media.is_empty() && !media.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("image/")) {
        return Err(Unusable::new(format!("the data URI is of type {media}, which is no picture")));
    }
    let plain = percent_decoded(data)?;
    if parts.any(|part| part.eq_ignore_ascii_case("base64")) { base64(&plain) } else { Ok(plain.into_owned()) }
}

fn percent_decoded(data: &str) -> Result<Cow<'_, [u8]>> {
    if !data.contains('%') {
        return Ok(Cow::Borrowed(data.as_bytes()));
    }
    let mut pieces = data.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).ok_or_else(|| Unusable::new("the data URI has a % without two digits"))?;
        bytes.extend(hex(digits).map_err(|_| Unusable::new("the data URI has a % without two digits"))?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Ok(Cow::Owned(bytes))
}

fn base64(text: &[u8]) -> Result<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let letters: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let url_safe = letters.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let decoded = GeneralPurpose::new(alphabet, config).decode(&letters);
    decoded.map_err(|error| Unusable::new(format!("the picture's base64 is wrong: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(value: Value) -> Result<Vec<u8>> {
        match Source::of_value(&value, Path::new("data"))? {
            Source::Bytes(bytes) => Ok(bytes),
            Source::Path(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn places() {
        let path = |value: Value| Source::of_value(&value, Path::new("data")).unwrap();
        for value in [json!("a/b.png"), json!({"path": "a/b.png"}), json!({"bytes": null, "path": "a/b.png"})] {
            assert_eq!(path(value), Source::Path("data/a/b.png".into()));
        }
        assert_eq!(path(json!("/tmp/b.png")), Source::Path("/tmp/b.png".into()));
    }

    #[test]
    fn bytes_in_records() {
        for value in [
            json!("data:image/png;base64,AQL/"),
            json!("data:;base64,AQL_"),
            json!("data:image/png;charset=x;BASE64,AQ%4C/"),
            json!({"url": "data:image/x,%01%02%fF", "detail": "low"}),
            json!({"bytes": {"hex": "0102ff"}, "path": "b.png"}),
            json!({"bytes": "AQL/\n"}),
        ] {
            assert_eq!(bytes(value.clone()), Ok(vec![1, 2, 255]), "{value}");
        }
        assert_eq!(bytes(json!({"bytes": "<svg/>"})), Ok(b"<svg/>".to_vec()));
    }

    #[test]
    fn what_is_no_source_is_one_sentence() {
        for (value, sentence) in [
            (json!("https://example.org/a.png"), "the picture is at an address (https://), and nothing is fetched"),
            (json!("file:///etc/passwd"), "the picture is at an address (file://)"),
            (json!(" "), "the picture's path is empty"),
            (json!("data:text/html,x"), "the data URI is of type text/html"),
            (json!("data:image/png;base64"), "the data URI has no comma"),
            (json!("data:image/png;base64,A!"), "the picture's base64 is wrong"),
            (json!("data:image/png,%2"), "the data URI has a %"),
            (json!("data:image/png,%é"), "the data URI has a %"),
            (json!({"bytes": {"hex": "0"}}), "the picture's bytes are not hexadecimal"),
            (json!({"bytes": 5}), "the picture's bytes must be"),
            (json!({}), "a picture's object must have"),
            (json!(5), "a picture must be a path"),
        ] {
            let error = bytes(value).unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
    }

    #[test]
    fn only_files_of_a_sound_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { max_bytes: 3, ..Limits::default() };
        let read = |path: &Path| Source::Path(path.to_owned()).read(&limits).map(Cow::into_owned);
        let file = folder.path().join("a.png");
        std::fs::write(&file, b"abc").unwrap();
        assert_eq!(read(&file), Ok(b"abc".to_vec()));
        std::fs::write(&file, b"abcd").unwrap();
        assert!(read(&file).unwrap_err().to_string().ends_with("a.png: has 4 bytes, more than 3"));
        assert!(read(folder.path()).unwrap_err().to_string().ends_with("is no file"));
        assert!(read(&folder.path().join("b")).unwrap_err().to_string().contains("cannot be read: No such file"));
    }
}
