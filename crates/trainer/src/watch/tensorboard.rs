//! TensorBoard event files: scalars only. The format is TensorFlow's record file (length, masked CRC-32C, bytes, masked
//! CRC-32C) of protocol-buffer messages `Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary
//! summary = 5; SessionLog session_log = 7; }` with `SessionLog { SessionStatus status = 1; }` (`START` is 1), `Summary { repeated Value value = 1; }` and `Value { string tag = 1; float simple_value = 2; }`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file to which scalars are appended.
pub struct EventFile(File);

impl EventFile {
    /// Creates a new event file in `folder` for the steps after `step`. TensorBoard reads all event files of a folder together.
    /// It ignores later steps in earlier files, which a killed run wrote after its last checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: &Path, step: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let now = now();
        let name = format!("events.out.tfevents.{:010}.herd.{}", now as u64, std::process::id());
        let mut file = Self(File::create(folder.join(name))?);
        let mut event = double(1, now);
        event.extend(bytes(3, b"brain.Event:2"));
        file.record(&event)?;
        let mut start = double(1, now);
        start.push(2 << 3);
        varint(step + 1, &mut start);
        start.extend(bytes(7, &[1 << 3, 1]));
        file.record(&start)?;
        Ok(file)
    }

    /// Appends scalars of one step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let mut message = bytes(1, tag.as_bytes());
                message.push(2 << 3 | 5);
                message.extend((*value as f32).to_le_bytes());
                bytes(1, &message)
            })
            .collect();
        let mut event = double(1, now());
        event.push(2 << 3);
        varint(step, &mut event);
        event.extend(bytes(5, &summary));
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        self.0.write_all(&record)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(field: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    varint(data.len() as u64, &mut out);
    out.extend(data);
    out
}

fn double(field: u8, value: f64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

/// CRC-32C (Castagnoli), computed bit by bit, since event files are small.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn records_hold_what_was_logged() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(dir.path(), 299).unwrap();
        file.scalars(300, &[("train/loss", 2.5)]).unwrap();
        let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let data = std::fs::read(path).unwrap();
        let mut rest = &data[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&rest[..8]));
            assert_eq!(crc(12 + length), masked_crc(&rest[12..12 + length]));
            records.push(rest[12..12 + length].to_vec());
            rest = &rest[16 + length..];
        }
        assert_eq!(records.len(), 3);
        assert_eq!(&records[0][9..], b"\x1a\x0dbrain.Event:2");
        let mut expected = b"\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15".to_vec();
        expected.extend(2.5_f32.to_le_bytes());
        assert_eq!(&records[2][9..], expected);
        // A session start at the next step.
        assert_eq!(&records[1][9..], b"\x10\xac\x02\x3a\x02\x08\x01");
    }
}
