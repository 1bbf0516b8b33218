//! Output in input order that survives a kill and continues where it stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic::{rename, write_file};
use crate::error::{Error, Result, io};
use crate::format::Format;
use crate::jsonl::{AtomicWriter, to_line};

/// A JSONL output with one record per input, in input order, in whatever order the results arrive.
///
/// Records go to `OUTPUT.partial`, each in one write, as soon as all earlier records are written.
/// `OUTPUT.partial.json` holds the fingerprint of everything that the records depend on (input files, options,
/// versions: [`crate::digest::Fingerprint`]). After a kill at any moment, the same command opens the same output,
/// gets from [`OrderedOutput::done`] the number of inputs to skip, and ends with the same bytes.
/// [`OrderedOutput::finish`] gives the file its name, compressed or as Parquet according to the name.
///
/// ```
/// use dataset::resume::OrderedOutput;
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("out.jsonl");
/// let mut out = OrderedOutput::open(&path, "fingerprint of input and options")?;
/// out.push(1, &serde_json::json!({"id": "b"}))?; // waits for record 0
/// out.push(0, &serde_json::json!({"id": "a"}))?;
/// drop(out); // as after a kill
///
/// let mut out = OrderedOutput::open(&path, "fingerprint of input and options")?;
/// assert_eq!(out.done(), 2); // start with input 2
/// out.push(2, &serde_json::json!({"id": "c"}))?;
/// out.finish(3)?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
/// # Ok::<(), dataset::Error>(())
/// ```
#[derive(Debug)]
pub struct OrderedOutput {
    path: PathBuf,
    partial: PathBuf,
    side: PathBuf,
    file: File,
    /// Bytes of complete records in `file`.
    length: u64,
    next: usize,
    waiting: BTreeMap<usize, Vec<u8>>,
    cut_bytes: u64,
}

/// The content of `OUTPUT.partial.json`.
#[derive(Serialize, Deserialize)]
struct Side {
    fingerprint: String,
}

impl OrderedOutput {
    /// Opens or continues the output at `path`. `fingerprint` identifies everything that the records depend on.
    ///
    /// # Errors
    /// [`Error::File`] when the partial file was made from another input or with other options, or when another
    /// process is writing it; [`Error::Io`] when the folder cannot be written to.
    pub fn open(path: impl AsRef<Path>, fingerprint: &str) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let partial = with_ending(&path, ".partial");
        let side = with_ending(&path, ".partial.json");
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&partial)
            .map_err(io(&partial, "cannot open for writing"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let what = "another process is writing this output; wait for it or choose another --output".into();
                return Err(Error::File { path: partial, what });
            }
            Err(fs::TryLockError::Error(e)) => return Err(io(&partial, "cannot lock")(e)),
        }
        let mut out = Self { path, partial, side, file, length: 0, next: 0, waiting: BTreeMap::new(), cut_bytes: 0 };
        out.check_fingerprint(fingerprint)?;
        out.count_and_cut()?;
        Ok(out)
    }

    /// Compares with the fingerprint beside the partial file, or writes it when the file is new.
    fn check_fingerprint(&self, fingerprint: &str) -> Result<()> {
        let empty = self.file.metadata().map_err(io(&self.partial, "cannot read"))?.len() == 0;
        if empty {
            let side = Side { fingerprint: fingerprint.to_owned() };
            let text = serde_json::to_string(&side)
                .map_err(|e| Error::File { path: self.side.clone(), what: e.to_string() })?;
            return write_file(&self.side, format!("{text}\n").as_bytes());
        }
        let found = fs::read(&self.side).ok().and_then(|text| serde_json::from_slice::<Side>(&text).ok());
        if found.is_some_and(|side| side.fingerprint == fingerprint) {
            return Ok(());
        }
        let what = format!(
            "holds results of an interrupted run over another input or with other options; \
             repeat that run to finish it, or remove the file (and {}) to start afresh",
            self.side.file_name().unwrap_or_default().display()
        );
        Err(Error::File { path: self.partial.clone(), what })
    }

    /// Counts the complete records, and removes what follows the last of them.
    fn count_and_cut(&mut self) -> Result<()> {
        let cannot = |e| io(&self.partial, "cannot read")(e);
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line).map_err(cannot)?;
            // Blocks lost in a power failure read as zeros, so every line is parsed.
            if line.last() != Some(&b'\n') || serde_json::from_slice::<Value>(&line).is_err() {
                break;
            }
            self.length += n as u64;
            self.next += 1;
        }
        let length = self.file.metadata().map_err(cannot)?.len();
        self.cut_bytes = length - self.length;
        if self.cut_bytes > 0 {
            self.file.set_len(self.length).map_err(io(&self.partial, "cannot cut the torn last line"))?;
        }
        self.file.seek(SeekFrom::End(0)).map_err(cannot)?;
        Ok(())
    }

    /// Number of records in the file, from the first input on. It is also the index of the next input.
    #[must_use]
    pub fn done(&self) -> usize {
        self.next
    }

    /// Bytes of an incomplete line that were removed when the output was opened.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Number of records that wait in memory for an earlier one; start less new work when it grows.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Adds the record of the input `index` (from 0) and writes it as soon as all earlier ones are written.
    ///
    /// # Errors
    /// [`Error::File`] when the index was already added or the record cannot be written as JSON; [`Error::Io`] when
    /// the file cannot be written (the file stays valid: run the command again).
    pub fn push<T: Serialize + ?Sized>(&mut self, index: usize, record: &T) -> Result<()> {
        let wrong = |what| Error::File { path: self.partial.clone(), what };
        if index < self.next || self.waiting.contains_key(&index) {
            return Err(wrong(format!("record {index} came twice")));
        }
        let mut line = Vec::new();
        to_line(record, &mut line).map_err(|e| wrong(format!("record {index}: {e}")))?;
        self.waiting.insert(index, line);
        let ready = self.waiting.iter().zip(self.next..).take_while(|((index, _), next)| *index == next);
        let block: Vec<u8> = ready.flat_map(|((_, line), _)| line).copied().collect();
        if block.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.file.write_all(&block) {
            // Remove an incomplete line, since the same records may be written again.
            self.file.set_len(self.length).map_err(io(&self.partial, "cannot cut the torn last line"))?;
            return Err(io(&self.partial, "cannot write")(e));
        }
        self.length += block.len() as u64;
        while self.waiting.remove(&self.next).is_some() {
            self.next += 1;
        }
        Ok(())
    }

    /// Gives the complete output its name. `expected` is the number of inputs.
    ///
    /// # Errors
    /// [`Error::File`] when records are missing; [`Error::Io`] when the file cannot be written. The partial file is
    /// then kept.
    pub fn finish(self, expected: usize) -> Result<()> {
        if self.next != expected {
            let what = format!("has {} records where {expected} are needed; run the same command again", self.next);
            return Err(Error::File { path: self.partial, what });
        }
        self.file.sync_all().map_err(io(&self.partial, "cannot write to the disk"))?;
        match Format::of(&self.path) {
            Format::Plain => rename(&self.partial, &self.path)?,
            _ => {
                let mut out = AtomicWriter::create(&self.path)?;
                for record in crate::jsonl::read::<Value>(&self.partial, crate::jsonl::OnBadLine::Error)? {
                    out.write(&record?)?;
                }
                out.finish()?;
                remove(&self.partial)?;
            }
        }
        remove(&self.side)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io(path, "cannot remove")(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(i: usize) -> Value {
        json!({"id": i, "text": "zażółć\n".repeat(i % 3)})
    }

    fn whole(n: usize) -> String {
        (0..n).map(|i| format!("{}\n", record(i))).collect()
    }

    #[test]
    fn cut_at_every_byte_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let partial = dir.path().join("out.jsonl.partial");
        let side = dir.path().join("out.jsonl.partial.json");
        let whole = whole(7);
        for cut in 0..=whole.len() {
            fs::write(&side, r#"{"fingerprint":"f"}"#).unwrap();
            fs::write(&partial, &whole.as_bytes()[..cut]).unwrap();
            let mut out = OrderedOutput::open(&path, "f").unwrap();
            let complete = whole.as_bytes()[..cut].iter().filter(|&&b| b == b'\n').count();
            assert_eq!(out.done(), complete, "cut at {cut}");
            for i in (out.done()..7).rev() {
                out.push(i, &record(i)).unwrap();
            }
            out.finish(7).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), whole, "cut at {cut}");
            assert!(!partial.exists() && !side.exists());
        }
    }

    #[test]
    fn zeros_after_a_power_cut_are_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        fs::write(dir.path().join("out.jsonl.partial.json"), r#"{"fingerprint":"f"}"#).unwrap();
        let mut bytes = whole(2).into_bytes();
        bytes.extend_from_slice(b"\0\0\0\0\n{\"id\":3}\n");
        fs::write(dir.path().join("out.jsonl.partial"), bytes).unwrap();
        let out = OrderedOutput::open(&path, "f").unwrap();
        assert_eq!((out.done(), out.cut_bytes()), (2, 14));
    }

    #[test]
    fn another_input_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        OrderedOutput::open(&path, "a").unwrap().push(0, &record(0)).unwrap();
        let e = OrderedOutput::open(&path, "b").unwrap_err().to_string();
        assert!(e.contains("another input or with other options") && e.contains("remove the file"), "{e}");
        fs::remove_file(dir.path().join("out.jsonl.partial.json")).unwrap();
        assert!(OrderedOutput::open(&path, "a").is_err());
        fs::remove_file(dir.path().join("out.jsonl.partial")).unwrap();
        assert_eq!(OrderedOutput::open(&path, "b").unwrap().done(), 0);
    }

    #[test]
    fn two_writers_twice_the_same_and_too_few() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let mut out = OrderedOutput::open(&path, "a").unwrap();
        let e = OrderedOutput::open(&path, "a").unwrap_err().to_string();
        assert!(e.contains("another process is writing"), "{e}");
        out.push(0, &record(0)).unwrap();
        out.push(2, &record(2)).unwrap();
        assert_eq!((out.done(), out.waiting()), (1, 1));
        for twice in [0, 2] {
            assert!(out.push(twice, &record(2)).unwrap_err().to_string().contains("came twice"));
        }
        let e = out.finish(3).unwrap_err().to_string();
        assert!(e.contains("has 1 records where 3 are needed"), "{e}");
        assert!(!path.exists());
    }

    #[test]
    fn compressed_outputs() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["out.jsonl.gz", "out.jsonl.zst"] {
            let path = dir.path().join(name);
            let mut out = OrderedOutput::open(&path, "a").unwrap();
            for i in [1, 0, 2] {
                out.push(i, &record(i)).unwrap();
            }
            out.finish(3).unwrap();
            let back: Vec<Value> = crate::jsonl::read_all(&path).unwrap();
            assert_eq!(back, (0..3).map(record).collect::<Vec<_>>());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
