//! Reads and writes records: JSON lines, plain or compressed, and Parquet, according to the file name.
//!
//! ```
//! use dataset::{Conversation, Message, jsonl::{self, AtomicWriter, OnBadLine}};
//! # let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("train.jsonl.zst");
//! let mut out = AtomicWriter::create(&path)?;
//! out.write(&Conversation::new("a", vec![Message::user("2+2?"), Message::assistant("4")]))?;
//! out.finish()?; // only now is there a file of that name
//!
//! for conversation in jsonl::read::<Conversation>(&path, OnBadLine::Error)? {
//!     assert_eq!(conversation?.messages[1].text(), "4");
//! }
//! # Ok::<(), dataset::Error>(())
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::atomic::AtomicFile;
use crate::error::{Error, Invalid, Place, Result, io};
use crate::format::Format;
use crate::lines::{Line, Lines};
use crate::parquet_read::Rows;
use crate::parquet_write::ParquetFile;
use crate::reasons::Reasons;
use crate::unreadable;

/// How a line that is not a record is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnBadLine {
    /// Stop with [`Error::Bad`].
    Error,
    /// Write it to this file as `{"place", "reason", "line"}`, count it in [`Reader::bad`], and continue.
    ///
    /// The file is created at the first bad line; a file of an earlier run is removed first.
    SetAside(PathBuf),
}

/// Opens a file of records. The iterator yields them one at a time, in order.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened. The iterator's errors are [`Error::Bad`] with `file:line` for a bad
/// line, and [`Error::Io`] or [`Error::File`] when the file itself is damaged (a truncated gzip file), which also
/// stops a lenient run. After an error, the iterator ends.
pub fn read<T: DeserializeOwned>(path: impl AsRef<Path>, on_bad: OnBadLine) -> Result<Reader<T>> {
    let path = path.as_ref().to_path_buf();
    if let Some(what) = unreadable::what(&path) {
        return Err(Error::File { path, what });
    }
    let source = match Format::of(&path) {
        Format::Parquet => Source::Rows(Box::new(Rows::open(&path)?)),
        _ => {
            let mut lines = Lines::open(&path)?;
            // A file that is a single list of records, such as the `.json` files of data sets.
            match lines.is_list().then(|| lines.rest()) {
                None => Source::Lines(lines),
                Some(whole) => Source::List(List::new(&path, &whole.map_err(io(&path, "cannot read"))?)?),
            }
        }
    };
    if let OnBadLine::SetAside(rejects) = &on_bad {
        if fs::canonicalize(rejects).is_ok_and(|r| fs::canonicalize(&path).is_ok_and(|p| p == r)) {
            let what = "the file for bad lines must be another file than the input".into();
            return Err(Error::File { path, what });
        }
        match fs::remove_file(rejects) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(rejects, "cannot remove the old file")(e)),
            _ => {}
        }
    }
    Ok(Reader {
        path,
        source,
        on_bad,
        rejects: None,
        bad: 0,
        reasons: Reasons::default(),
        finished: false,
        record: PhantomData,
    })
}

/// Reads a whole file strictly.
///
/// # Errors
/// See [`read`].
pub fn read_all<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>> {
    read(path, OnBadLine::Error)?.collect()
}

enum Source {
    Lines(Lines),
    List(List),
    Rows(Box<Rows>),
}

/// Records of a file: see [`read`].
pub struct Reader<T> {
    path: PathBuf,
    source: Source,
    on_bad: OnBadLine,
    rejects: Option<File>,
    bad: u64,
    reasons: Reasons,
    finished: bool,
    record: PhantomData<fn() -> T>,
}

impl<T> Reader<T> {
    /// Number of rejected lines so far.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The reasons for which lines were rejected so far, the most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Reasons {
        self.reasons.clone().sorted()
    }

    /// The place of the last record, for messages about its content.
    #[must_use]
    pub fn place(&self) -> Place {
        let (number, is_row) = match &self.source {
            Source::Lines(lines) => (lines.number, false),
            Source::List(list) => (list.number, true),
            Source::Rows(rows) => (rows.number, true),
        };
        Place { path: self.path.clone(), number, is_row }
    }

    /// Refuses the last record: this is an error in a strict run; in a lenient run, the record is written to the file
    /// for bad lines and counted.
    ///
    /// # Errors
    /// [`Error::Bad`] in a strict run, [`Error::Io`] when the file for bad lines cannot be written.
    pub fn reject<R: Serialize>(&mut self, why: Invalid, record: &R) -> Result<()> {
        self.reject_at(self.place(), why, record)
    }

    /// Like [`Reader::reject`], for an earlier record at `place`, for checks of many records at once.
    ///
    /// # Errors
    /// See [`Reader::reject`].
    pub fn reject_at<R: Serialize>(&mut self, place: Place, why: Invalid, record: &R) -> Result<()> {
        let text = serde_json::to_string(record).unwrap_or_else(|e| e.to_string());
        self.set_aside(place, why.0, &text)
    }

    fn set_aside(&mut self, place: Place, what: String, line: &str) -> Result<()> {
        let OnBadLine::SetAside(path) = &self.on_bad else {
            return Err(Error::Bad { place, what });
        };
        self.bad += 1;
        self.reasons.add(&place, &what);
        let file = match &mut self.rejects {
            Some(file) => file,
            none => none.insert(File::create(path).map_err(io(path, "cannot create"))?),
        };
        let record = json!({"place": place.to_string(), "reason": what, "line": line});
        file.write_all(format!("{record}\n").as_bytes()).map_err(io(path, "cannot write"))
    }
}

impl<T: DeserializeOwned> Reader<T> {
    fn next_record(&mut self) -> Result<Option<T>> {
        loop {
            let (what, line) = match &mut self.source {
                Source::Lines(lines) => match lines.next() {
                    Ok(None) => return Ok(None),
                    Ok(Some(Line::Text(text))) => match serde_json::from_str(text) {
                        Ok(record) => return Ok(Some(record)),
                        Err(e) => (json_error(&e), text.to_owned()),
                    },
                    Ok(Some(Line::Bad(what, line))) => (what, line),
                    Err(e) => {
                        let what =
                            format!("cannot be read after line {}: {e}; is it cut off or damaged?", lines.number);
                        return Err(Error::File { path: self.path.clone(), what });
                    }
                },
                Source::List(list) => match list.next() {
                    None => return Ok(None),
                    Some(record) => match T::deserialize(&record) {
                        Ok(record) => return Ok(Some(record)),
                        Err(e) => (json_error(&e), record.to_string()),
                    },
                },
                Source::Rows(rows) => match rows.next()? {
                    None => return Ok(None),
                    Some(Ok(row)) => match T::deserialize(&row) {
                        Ok(record) => return Ok(Some(record)),
                        Err(e) => (json_error(&e), row.to_string()),
                    },
                    Some(Err(e)) => (e.to_string(), String::new()),
                },
            };
            let place = self.place();
            let what = with_hint(what, &line, place.number);
            self.set_aside(place, what, &line)?;
        }
    }
}

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.finished {
            return None;
        }
        let next = self.next_record().transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The message of serde_json, with the column but without its line number (always 1 here).
fn json_error(e: &serde_json::Error) -> String {
    let full = e.to_string();
    let what = full.strip_suffix(&format!(" at line {} column {}", e.line(), e.column())).unwrap_or(&full);
    match e.classify() {
        serde_json::error::Category::Data if e.line() == 0 => what.to_owned(),
        serde_json::error::Category::Data => format!("{what} (column {})", e.column()),
        serde_json::error::Category::Eof => {
            format!("not valid JSON: the line ends in the middle of a value (column {})", e.column())
        }
        _ => format!("not valid JSON: {what} (column {})", e.column()),
    }
}

/// Adds a hint if a record spans several lines, a common mistake.
fn with_hint(what: String, text: &str, number: u64) -> String {
    if number == 1 && ["{", "{}"].contains(&text.trim()) {
        return format!("{what}; one record per line is expected: write each on one line with jq -c .");
    }
    what
}

/// The records of a file that is a single list.
struct List {
    records: std::vec::IntoIter<Value>,
    /// The number of the last record, from 1.
    number: u64,
}

impl List {
    fn new(path: &Path, text: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::File { path: path.to_path_buf(), what };
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let records: Vec<Value> = serde_json::from_slice(text).map_err(|e| {
            bad(format!("the file is not a list of records: {e}; write a list, or one record per line (jq -c '.[]')"))
        })?;
        Ok(Self { records: records.into_iter(), number: 0 })
    }

    fn next(&mut self) -> Option<Value> {
        self.number += 1;
        self.records.next()
    }
}

/// Writes records to a file that gets its name only when [`AtomicWriter::finish`] is called.
///
/// The extension of the name selects the format: JSON lines, `.gz`, `.zst` or `.parquet`.
pub struct AtomicWriter {
    path: PathBuf,
    out: Encoder,
    line: Vec<u8>,
    records: u64,
}

enum Encoder {
    Plain(AtomicFile),
    Gzip(GzEncoder<AtomicFile>),
    Zstd(zstd::Encoder<'static, AtomicFile>),
    Parquet(Box<ParquetFile>),
}

impl AtomicWriter {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder is missing or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = AtomicFile::create(&path)?;
        let out = match Format::of(&path) {
            Format::Plain => Encoder::Plain(file),
            Format::Gzip => Encoder::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Format::Zstd => {
                let mut encoder = zstd::Encoder::new(file, 3).map_err(io(&path, "cannot compress"))?;
                encoder.include_checksum(true).map_err(io(&path, "cannot compress"))?;
                Encoder::Zstd(encoder)
            }
            Format::Parquet => Encoder::Parquet(Box::new(ParquetFile::create(&path, file)?)),
        };
        Ok(Self { path, out, line: Vec::new(), records: 0 })
    }

    /// Adds one record.
    ///
    /// # Errors
    /// [`Error::File`] when the record cannot be written as JSON (a NaN), [`Error::Io`] when the file cannot be
    /// written.
    pub fn write<T: Serialize + ?Sized>(&mut self, record: &T) -> Result<()> {
        self.line.clear();
        to_line(record, &mut self.line)
            .map_err(|e| Error::File { path: self.path.clone(), what: format!("record {}: {e}", self.records + 1) })?;
        let written = match &mut self.out {
            Encoder::Plain(out) => out.write_all(&self.line),
            Encoder::Gzip(out) => out.write_all(&self.line),
            Encoder::Zstd(out) => out.write_all(&self.line),
            Encoder::Parquet(out) => {
                out.push(&self.line, self.records + 1)?;
                Ok(())
            }
        };
        written.map_err(io(&self.path, "cannot write"))?;
        self.records += 1;
        Ok(())
    }

    /// Records written so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Syncs the file to disk and gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`], for example when the disk is full; the target is then unchanged.
    pub fn finish(self) -> Result<()> {
        let cannot = io(&self.path, "cannot write");
        match self.out {
            Encoder::Plain(out) => out.finish(),
            Encoder::Gzip(out) => out.finish().map_err(cannot)?.finish(),
            Encoder::Zstd(out) => out.finish().map_err(cannot)?.finish(),
            Encoder::Parquet(out) => out.finish(),
        }
    }
}

/// Appends a record as one line.
pub(crate) fn to_line<T: Serialize + ?Sized>(record: &T, line: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *line, record)?;
    line.push(b'\n');
    Ok(())
}

/// Writes all records to `path`, atomically. Returns their number.
///
/// # Errors
/// See [`AtomicWriter`].
pub fn write_all<T: Serialize>(path: impl AsRef<Path>, records: impl IntoIterator<Item = T>) -> Result<u64> {
    let mut out = AtomicWriter::create(path)?;
    for record in records {
        out.write(&record)?;
    }
    let records = out.records();
    out.finish()?;
    Ok(records)
}
