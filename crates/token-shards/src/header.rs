//! The header of a shard: a small JSON file that is written last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Result, bad, io};

/// The value of `format` in every header.
pub const FORMAT: &str = "herd token shard";

/// The version of the format that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The content of a shard's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Number of documents, including empty ones.
    pub documents: u64,
    /// Number of tokens, including special tokens.
    pub tokens: u64,
    /// Size of the documents' texts in UTF-8 before tokenisation, for bits per byte. `None` if unknown (an import).
    pub text_bytes: Option<u64>,
    /// The tokenizer of the tokens.
    pub tokenizer: Tokenizer,
    /// The source of the documents, as text for people: a file, a mix, a step of a pipeline.
    pub source: String,
    /// The file of tokens, `NAME.ds`.
    pub token_file: FileFacts,
    /// The file of document ends, `NAME.ds.index`.
    pub index_file: FileFacts,
}

/// The tokenizer of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenizer {
    /// SHA-256 of `tokenizer.json`, 64 hexadecimal digits; empty if unknown (an import).
    pub sha256: String,
    /// The vocabulary size: all ids are below this number.
    pub vocab_size: u32,
    /// The token before every document, if there is one.
    pub begin_token: Option<u32>,
    /// The token after every document, if there is one.
    pub end_token: Option<u32>,
}

/// The length and digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its length.
    pub bytes: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// `NAME.ds.index` of `NAME.ds`.
pub(crate) fn index_path(tokens: &Path) -> PathBuf {
    with_ending(tokens, ".index")
}

/// `NAME.ds.json` of `NAME.ds`.
pub(crate) fn header_path(tokens: &Path) -> PathBuf {
    with_ending(tokens, ".json")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Header {
    /// Reads the header of the shard whose tokens are in `tokens` (`NAME.ds`), without opening the other two files.
    ///
    /// # Errors
    /// When the header is missing, or belongs to another program or another version.
    pub fn read(tokens: &Path) -> Result<Self> {
        let path = header_path(tokens);
        let text = fs::read(&path).map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                let what = "there is no header; the shard was not finished, or this is no token shard of herd: \
                            write the shard again, or import it";
                bad(&path, what)
            } else {
                io(&path, "cannot read")(e)
            }
        })?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|e| bad(&path, format!("the header is not JSON ({e}); is it cut off? write the shard again")))?;
        if value["format"] != FORMAT {
            return Err(bad(&path, format!("the key \"format\" is not {FORMAT:?}: another program's file")));
        }
        match value["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            version => {
                let version = version.map_or("none".into(), |version| version.to_string());
                let what = format!("the shard has format version {version}, and this program reads version {VERSION}");
                return Err(bad(&path, what));
            }
        }
        serde_json::from_value(value)
            .map_err(|e| bad(&path, format!("the header lacks or has a wrong key: {e}; write the shard again")))
    }

    /// The file as text.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
