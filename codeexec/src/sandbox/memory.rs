//! Checked access of syscalls to a guest's linear memory.

use super::errno::{self, Errno};

/// Maximum number of bytes that one syscall reads or writes. For the rest, the guest calls again.
const MAX_TRANSFER: usize = 1 << 24;

/// The guest's linear memory. Every access is checked; one out of bounds gives `EFAULT`. Guest addresses have 32 bits
/// and are computed as `u64`, so their sums cannot overflow.
pub struct Memory<'a>(pub &'a mut [u8]);

impl Memory<'_> {
    /// The `length` bytes at address `at`, for reading.
    pub fn slice(&self, at: impl Into<u64>, length: u32) -> Result<&[u8], Errno> {
        self.0.get(at.into() as usize..).and_then(|rest| rest.get(..length as usize)).ok_or(errno::FAULT)
    }

    /// The `length` bytes at address `at`, for writing.
    pub fn slice_mut(&mut self, at: impl Into<u64>, length: u32) -> Result<&mut [u8], Errno> {
        self.0.get_mut(at.into() as usize..).and_then(|rest| rest.get_mut(..length as usize)).ok_or(errno::FAULT)
    }

    /// Writes bytes at address `at`.
    pub fn put(&mut self, at: impl Into<u64>, bytes: &[u8]) -> Result<(), Errno> {
        self.slice_mut(at, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a little-endian `u32`.
    pub fn put_u32(&mut self, at: impl Into<u64>, value: u32) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// Writes a little-endian `u64`.
    pub fn put_u64(&mut self, at: impl Into<u64>, value: u64) -> Result<(), Errno> {
        self.put(at, &value.to_le_bytes())
    }

    /// Reads a little-endian `u32`.
    pub fn u32(&self, at: impl Into<u64>) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.slice(at, 4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a little-endian `u64`.
    pub fn u64(&self, at: impl Into<u64>) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.slice(at, 8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a path: UTF-8 without a NUL byte, at most 4096 bytes.
    pub fn text(&self, at: u32, length: u32) -> Result<String, Errno> {
        if length > 4096 {
            return Err(errno::NAMETOOLONG);
        }
        let text = std::str::from_utf8(self.slice(at, length)?).map_err(|_| errno::INVAL)?;
        if text.contains('\0') { Err(errno::INVAL) } else { Ok(text.to_owned()) }
    }

    /// The buffers (address, length) of a scatter read or gather write: at most 1024 of the `count` buffers, with at
    /// most [`MAX_TRANSFER`] bytes in all.
    pub fn buffers(&self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        let mut buffers = Vec::new();
        let mut room = MAX_TRANSFER as u32;
        for i in 0..count.min(1024) {
            let entry = u64::from(at) + u64::from(i) * 8;
            let (start, length) = (self.u32(entry)?, self.u32(entry + 4)?.min(room));
            self.slice(start, length)?;
            room -= length;
            buffers.push((start, length));
        }
        Ok(buffers)
    }
}
