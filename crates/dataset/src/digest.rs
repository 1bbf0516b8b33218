//! SHA-256 digests, as lower-case hexadecimal, of files, of bytes, and of everything that a result depends on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Result, io};

/// SHA-256 of a file's bytes, 64 hexadecimal digits. Reads in blocks of 1 MiB.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be opened or read.
pub fn file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut reader = File::open(path).map_err(io(path, "cannot open"))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = reader.read(&mut block).map_err(io(path, "cannot read"))?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&block[..n]);
    }
}

/// SHA-256 of bytes, 64 hexadecimal digits.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal, two digits per byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|n| char::from_digit(u32::from(n), 16)).collect()
}

/// One digest for several named parts, in order: input files, options, versions.
///
/// Names and lengths are part of the digest, so moving a byte from one part to the next changes it.
///
/// ```
/// let a = dataset::digest::Fingerprint::new().text("command", "herd generate").text("seed", "7").finish();
/// let b = dataset::digest::Fingerprint::new().text("command", "herd generate").text("seed", "8").finish();
/// assert_eq!(a.len(), 64);
/// assert_ne!(a, b);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// An empty fingerprint.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text, such as the resolved configuration as JSON.
    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
        for part in [name, text] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds the content of a file (not its name or date).
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the file cannot be read.
    pub fn file(self, name: &str, path: impl AsRef<Path>) -> Result<Self> {
        let digest = file(path)?;
        Ok(self.text(name, &digest))
    }

    /// The digest, 64 hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        // FIPS 180-4 examples.
        assert_eq!(bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(bytes(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("million");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        assert_eq!(file(&path).unwrap(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn borders_count() {
        let a = Fingerprint::new().text("ab", "c").finish();
        let b = Fingerprint::new().text("a", "bc").finish();
        assert_ne!(a, b);
    }
}
