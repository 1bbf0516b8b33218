//! Reads a byte slice from front to back. Every length is compared with the remaining bytes before anything is
//! allocated.

/// A position in the file. Errors are messages without the file's name; the caller adds it.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position: position.min(bytes.len()) }
    }

    /// Bytes from the start of the file.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `count` bytes, which hold `what`.
    pub fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.position..];
        let Some(taken) = rest.get(..count) else {
            return Err(format!(
                "{what} at byte {} takes {count} bytes, but only {} follow; the file is truncated or damaged, fetch it again",
                self.position,
                rest.len()
            ));
        };
        self.position += count;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: its length in eight bytes, then UTF-8.
    pub fn string(&mut self, what: &str) -> Result<&'a str, String> {
        let start = self.position;
        let length = self.u64(what)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|e| format!("{what} at byte {start} is not UTF-8: {e}"))
    }
}
