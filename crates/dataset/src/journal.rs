//! Results in order of arrival, each under a key: a file from which a killed run continues.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, io};
use crate::jsonl::to_line;

/// An append-only file of keyed results. [`crate::resume::OrderedOutput`] keeps early results in memory and loses
/// them in a kill; a journal writes each result in one write as soon as it arrives. So no answered question is asked
/// twice. The final outputs are made from the journal in the order of the keys.
///
/// The first line holds the fingerprint of everything that the results depend on; a journal with another fingerprint
/// is refused. An incomplete last line is removed when the journal is opened.
///
/// ```
/// use dataset::journal::Journal;
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("answers.journal");
/// let mut journal = Journal::<String>::open(&path, "fingerprint")?;
/// journal.insert(7, "seven".into())?;
/// drop(journal); // as after a kill
///
/// let journal = Journal::<String>::open(&path, "fingerprint")?;
/// assert_eq!(journal.get(7).map(String::as_str), Some("seven"));
/// assert!(!journal.contains(8));
/// # Ok::<(), dataset::Error>(())
/// ```
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    length: u64,
    entries: BTreeMap<u64, T>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    fingerprint: String,
}

#[derive(Deserialize)]
struct Entry<T> {
    key: u64,
    value: T,
}

#[derive(Serialize)]
struct EntryRef<'a, T> {
    key: u64,
    value: &'a T,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or continues the journal at `path`. `fingerprint` identifies everything that the results depend on.
    ///
    /// # Errors
    /// [`Error::File`] when the journal has another fingerprint, when a line before the last is not an entry, or when
    /// another process writes it; [`Error::Io`] when the folder cannot be written to.
    pub fn open(path: impl AsRef<Path>, fingerprint: &str) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io(&path, "cannot open for writing"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let what = "another process is writing this journal; wait for it or choose another --output".into();
                return Err(Error::File { path, what });
            }
            Err(fs::TryLockError::Error(e)) => return Err(io(&path, "cannot lock")(e)),
        }
        let mut journal = Self { path, file, length: 0, entries: BTreeMap::new() };
        journal.read(fingerprint)?;
        Ok(journal)
    }

    fn read(&mut self, fingerprint: &str) -> Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(io(&self.path, "cannot read"))?;
        let wrong = |what: String| Error::File { path: self.path.clone(), what };
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let whole = |line: &[u8]| line.last() == Some(&b'\n');
        let Some(head) = lines.next().filter(|line| whole(line)) else {
            // The file is empty, or a kill came before the first line was complete.
            self.file.set_len(0).map_err(io(&self.path, "cannot cut the torn last line"))?;
            return self.append(&Head { fingerprint: fingerprint.to_owned() });
        };
        if !serde_json::from_slice::<Head>(head).is_ok_and(|head| head.fingerprint == fingerprint) {
            return Err(wrong(
                "holds results of another input or of other options; repeat that command to go on with them, or choose \
                 another --output"
                    .into(),
            ));
        }
        self.length = head.len() as u64;
        let mut number = 1;
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            number += 1;
            match serde_json::from_slice::<Entry<T>>(line) {
                Ok(Entry { key, value }) if whole(line) => {
                    self.entries.insert(key, value);
                    self.length += line.len() as u64;
                }
                Ok(_) => break,
                // A line that was cut by a kill or a power failure is the last one.
                Err(_) if lines.peek().is_none() => break,
                Err(error) => {
                    return Err(wrong(format!("line {number} is not an entry ({error}); is the file damaged?")));
                }
            }
        }
        self.file.set_len(self.length).map_err(io(&self.path, "cannot cut the torn last line"))?;
        self.file.seek(SeekFrom::End(0)).map_err(io(&self.path, "cannot read"))?;
        Ok(())
    }

    fn append<R: Serialize>(&mut self, record: &R) -> Result<()> {
        let mut line = Vec::new();
        to_line(record, &mut line).map_err(|e| Error::File { path: self.path.clone(), what: e.to_string() })?;
        if let Err(e) = self.file.write_all(&line) {
            self.file.set_len(self.length).map_err(io(&self.path, "cannot cut the torn last line"))?;
            return Err(io(&self.path, "cannot write")(e));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Writes a result. An existing key gets the new value, also for later readers.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written; earlier results stay valid.
    pub fn insert(&mut self, key: u64, value: T) -> Result<()> {
        self.append(&EntryRef { key, value: &value })?;
        self.entries.insert(key, value);
        Ok(())
    }

    /// The result under a key.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<&T> {
        self.entries.get(&key)
    }

    /// Whether there is a result under a key.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.entries.contains_key(&key)
    }

    /// Number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no results.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes from memory every result that `keep` refuses, so that it is made again; the next [`Journal::insert`]
    /// of its key replaces it permanently.
    pub fn retain(&mut self, keep: impl Fn(u64, &T) -> bool) {
        self.entries.retain(|&key, value| keep(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_every_byte_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::<String>::open(&path, "f").unwrap();
        let keys = [5, 0, 900, 3];
        for key in keys {
            journal.insert(key, format!("zażółć {key}")).unwrap();
        }
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::<String>::open(&path, "f").unwrap();
            let complete = whole[..cut].iter().filter(|&&b| b == b'\n').count().saturating_sub(1);
            assert_eq!(journal.len(), complete, "cut at {cut}");
            for key in keys.into_iter().skip(complete) {
                assert!(!journal.contains(key));
                journal.insert(key, format!("zażółć {key}")).unwrap();
            }
            drop(journal);
            assert!(fs::read(&path).unwrap() == whole, "cut at {cut}");
        }
    }

    #[test]
    fn of_another_run_twice_open_and_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::<u64>::open(&path, "a").unwrap();
        journal.insert(1, 10).unwrap();
        journal.insert(2, 20).unwrap();
        journal.insert(1, 11).unwrap();
        let e = Journal::<u64>::open(&path, "a").unwrap_err().to_string();
        assert!(e.contains("another process is writing"), "{e}");
        drop(journal);
        let e = Journal::<u64>::open(&path, "b").unwrap_err().to_string();
        assert!(e.contains("of another input or of other options"), "{e}");
        let mut journal = Journal::<u64>::open(&path, "a").unwrap();
        assert_eq!((journal.get(1), journal.get(2)), (Some(&11), Some(&20)));
        journal.retain(|_, &value| value != 20);
        assert!(!journal.contains(2));
        drop(journal);
        let text = fs::read_to_string(&path).unwrap().replacen("20", "\"x\"", 1);
        fs::write(&path, text).unwrap();
        let e = Journal::<u64>::open(&path, "a").unwrap_err().to_string();
        assert!(e.contains("line 3 is not an entry"), "{e}");
    }
}
