//! Lines of a plain or compressed text file, with their numbers, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{Result, io};
use crate::format::Format;

/// Longer lines are rejected, so that they do not fill the memory.
pub(crate) const MAX_LINE_BYTES: usize = 256 << 20;

/// Reads lines one at a time; a byte order mark, carriage returns and blank lines are removed.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The number of the last line, from 1.
    pub number: u64,
    max_bytes: usize,
    line: Vec<u8>,
}

/// One line, or the reason why it cannot be used.
pub(crate) enum Line<'a> {
    Text(&'a str),
    /// The message, and the line as far as it could be read.
    Bad(String, String),
}

impl Lines {
    /// Opens a plain, gzip or zstd file, according to its name.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(io(path, "cannot open"))?;
        let reader: Box<dyn Read + Send> = match Format::of(path) {
            Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))),
            Format::Zstd => Box::new(zstd::Decoder::new(file).map_err(io(path, "cannot open"))?),
            Format::Plain | Format::Parquet => Box::new(file),
        };
        Ok(Self::new(Box::new(BufReader::with_capacity(1 << 16, reader)), MAX_LINE_BYTES))
    }

    fn new(reader: Box<dyn BufRead + Send>, max_bytes: usize) -> Self {
        Self { reader, number: 0, max_bytes, line: Vec::new() }
    }

    /// Whether the file starts with `[`, which no record does. Nothing has been read yet.
    pub fn is_list(&mut self) -> bool {
        loop {
            // A damaged file is reported when it is read.
            let Ok(block) = self.reader.fill_buf() else { return false };
            let text = block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block);
            let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blank < text.len() || block.is_empty() {
                return text.get(blank) == Some(&b'[');
            }
            self.number += text.iter().filter(|byte| **byte == b'\n').count() as u64;
            let length = block.len();
            self.reader.consume(length);
        }
    }

    /// The rest of the file.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The next line that is not blank; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let too_long = loop {
            self.line.clear();
            let length = self.read_line()?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.line.starts_with(b"\xEF\xBB\xBF") {
                self.line.drain(..3);
            }
            if length > self.max_bytes {
                break true;
            }
            if !self.line.trim_ascii().is_empty() {
                break false;
            }
        };
        if too_long {
            let start = String::from_utf8_lossy(&self.line[..self.line.len().min(1000)]).into_owned();
            return Ok(Some(Line::Bad(format!("the line is longer than {} bytes", self.max_bytes), start)));
        }
        while self.line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            self.line.pop();
        }
        Ok(Some(match std::str::from_utf8(&self.line) {
            Ok(text) => Line::Text(text),
            Err(e) => {
                let what = if self.number == 1 && matches!(self.line.get(..2), Some([0xFF, 0xFE] | [0xFE, 0xFF])) {
                    "the file is UTF-16; convert it to UTF-8".to_owned()
                } else {
                    format!("not UTF-8 at byte {} of the line", e.valid_up_to() + 1)
                };
                Line::Bad(what, String::from_utf8_lossy(&self.line).into_owned())
            }
        }))
    }

    /// Reads up to and including the next newline into `line`, keeping at most `max_bytes`. Returns the full length
    /// of the line.
    fn read_line(&mut self) -> io::Result<usize> {
        let mut length = 0;
        loop {
            let block = match self.reader.fill_buf() {
                Ok(block) => block,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let newline = block.iter().position(|&b| b == b'\n');
            let part = newline.map_or(block.len(), |n| n + 1);
            let room = self.max_bytes.saturating_sub(self.line.len());
            self.line.extend_from_slice(&block[..part.min(room)]);
            self.reader.consume(part);
            length += part;
            if newline.is_some() || part == 0 {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &'static [u8], max: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(Box::new(BufReader::with_capacity(3, bytes)), max);
        let mut out = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = match line {
                Line::Text(text) => text.to_owned(),
                Line::Bad(what, start) => format!("BAD {what}|{start}"),
            };
            out.push((lines.number, text));
        }
        out
    }

    fn owned(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|&(n, t)| (n, t.to_owned())).collect()
    }

    #[test]
    fn marks_returns_and_blanks() {
        assert_eq!(all(b"\xEF\xBB\xBFa\r\n\r\n \t\nb\n\nc", 100), owned(&[(1, "a"), (4, "b"), (6, "c")]));
        assert_eq!(all(b"", 100), owned(&[]));
        assert_eq!(all(b"\xEF\xBB\xBF\n", 100), owned(&[]));
    }

    #[test]
    fn bad_bytes_have_a_position() {
        let bad = all(b"ok\nab\xFFc\nok\n", 100);
        assert_eq!(bad[1].1, "BAD not UTF-8 at byte 3 of the line|ab\u{FFFD}c");
        assert_eq!(bad[2], (3, "ok".into()));
        assert!(all(b"\xFF\xFEa\0\n\0", 100)[0].1.contains("UTF-16"));
    }

    #[test]
    fn a_long_line_costs_no_memory_and_the_next_one_is_read() {
        assert_eq!(all(b"0123456789\nab\n", 4), owned(&[(1, "BAD the line is longer than 4 bytes|0123"), (2, "ab")]));
    }
}
