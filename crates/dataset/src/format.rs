//! The storage format, chosen by the file name.

use std::path::Path;

/// The storage format of records, chosen by the extension of the file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines.
    Plain,
    /// JSON lines compressed by gzip: `.gz`.
    Gzip,
    /// JSON lines compressed by Zstandard: `.zst`, `.zstd`.
    Zstd,
    /// Apache Parquet: `.parquet`.
    Parquet,
}

impl Format {
    /// The format of `path`; every unknown extension means plain JSON lines.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let end = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match end.as_str() {
            "gz" => Self::Gzip,
            "zst" | "zstd" => Self::Zstd,
            "parquet" => Self::Parquet,
            _ => Self::Plain,
        }
    }
}
