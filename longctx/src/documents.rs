//! The texts that haystacks are made of: files, their paragraphs, digests and licences.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dataset::digest;
use dataset::jsonl::{self, OnBadLine};
use serde_json::Value;

/// A text with its source.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file name; in files of records, with the line number.
    pub name: String,
    /// SHA-256 of the text as it was read, 64 hexadecimal digits.
    pub sha256: String,
    /// The licence; `unknown` if none is stated.
    pub licence: String,
    /// The paragraphs.
    pub paragraphs: Vec<String>,
}

impl Document {
    /// The same text as running sentences: every run of white space becomes one space.
    #[must_use]
    pub fn running(mut self) -> Self {
        let mut sentences = Vec::new();
        for paragraph in &self.paragraphs {
            let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut start = 0;
            for end in crate::sentences::ends(&text) {
                sentences.push(text[start..end].trim_start().to_owned());
                start = end;
            }
        }
        self.paragraphs = sentences;
        self
    }
}

/// The documents that were read, and counts of what was left out.
#[derive(Debug, Default)]
pub struct Documents {
    /// The documents, in the order of their files.
    pub documents: Vec<Document>,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// Counts of what was left out, by reason.
    pub left_out: std::collections::BTreeMap<&'static str, usize>,
}

/// The licence of a text that states none.
pub const UNKNOWN: &str = "unknown";

/// Reads texts (`.txt`, `.md`, `.rst`, also `.gz`), records with a field `text` (`.jsonl`, `.parquet`, also compressed), and
/// folders of them. A record's field `license` or `licence` wins over `licence`.
///
/// # Errors
/// When a file or folder cannot be read, a named file is of another kind, or a record has no `text`.
pub fn load(paths: &[PathBuf], licence: &str) -> anyhow::Result<Documents> {
    let mut all = Documents::default();
    for path in paths {
        if path.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut files)?;
            files.sort();
            for file in files {
                match kind(&file) {
                    Some(kind) => read(&file, kind, licence, &mut all)?,
                    None => *all.left_out.entry("files of another kind").or_default() += 1,
                }
            }
        } else {
            match kind(path) {
                Some(kind) => read(path, kind, licence, &mut all)?,
                None => bail!(
                    "{}: not a text; give .txt, .md, .rst (also .gz), .jsonl or .parquet with a field text, or a folder",
                    path.display()
                ),
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    let before = all.documents.len();
    all.documents.retain(|document| seen.insert(document.sha256.clone()));
    if before > all.documents.len() {
        *all.left_out.entry("copies of another document").or_default() += before - all.documents.len();
    }
    Ok(all)
}

#[derive(Clone, Copy)]
enum Kind {
    Text { gzip: bool },
    Records,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    let (plain, gzip) = name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true));
    if [".txt", ".md", ".rst"].iter().any(|ending| plain.ends_with(ending)) {
        return Some(Kind::Text { gzip });
    }
    let plain = plain.strip_suffix(".zst").unwrap_or(plain);
    [".jsonl", ".parquet"].iter().any(|ending| plain.ends_with(ending)).then_some(Kind::Records)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path, kind: Kind, licence: &str, all: &mut Documents) -> anyhow::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    all.files.push(path.to_owned());
    match kind {
        Kind::Text { gzip } => {
            let mut bytes = Vec::new();
            let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let cannot = || format!("cannot read {}", path.display());
            if gzip {
                flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).with_context(cannot)?;
            } else {
                file.read_to_end(&mut bytes).with_context(cannot)?;
            }
            match String::from_utf8(bytes) {
                Ok(text) => add(name, &text, licence, all),
                Err(_) => *all.left_out.entry("files that are not UTF-8").or_default() += 1,
            }
        }
        Kind::Records => {
            let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
            let mut line = 0;
            while let Some(record) = reader.next() {
                let record = record?;
                line += 1;
                let Some(text) = record["text"].as_str() else { bail!("{}: no field text", reader.place()) };
                let own = ["license", "licence"].iter().find_map(|key| record[key].as_str());
                add(format!("{name}:{line}"), text, own.unwrap_or(licence), all);
            }
        }
    }
    Ok(())
}

fn add(name: String, text: &str, licence: &str, all: &mut Documents) {
    let paragraphs = paragraphs(text);
    if paragraphs.is_empty() {
        *all.left_out.entry("empty documents").or_default() += 1;
        return;
    }
    let sha256 = digest::bytes(text.as_bytes());
    all.documents.push(Document { name, sha256, licence: licence.to_owned(), paragraphs });
}

/// The paragraphs of a text, separated by blank lines. Hard-wrapped lines are joined.
#[must_use]
pub fn paragraphs(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut found = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split('\n').chain([""]) {
        let line = line.trim_end();
        if !line.is_empty() {
            lines.push(line);
        } else if !lines.is_empty() {
            found.push(joined(&lines));
            lines.clear();
        }
    }
    found
}

/// Joins lines of prose into one line; other lines are kept, but the first loses its indentation.
fn joined(lines: &[&str]) -> String {
    let is_prose = |line: &&str| line.starts_with(|c: char| c.is_alphanumeric() || "\"“'‘(_—-".contains(c));
    let all_but_last = &lines[..lines.len() - 1];
    let broken = all_but_last.iter().all(|line| line.chars().count() >= 45);
    let is_list = lines.iter().skip(1).any(|line| line.starts_with(['-', '*', '#', '|', '>']));
    if broken && !is_list && lines.iter().all(is_prose) {
        let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
        return words.join(" ");
    }
    lines.join("\n").trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_of_prose_are_joined_and_others_are_not() {
        let text = "THE TITLE\r\n\r\n\r\nIt was the first of the long and quiet mornings of that\nspring, and nobody was  up.\n\n\
                    fn main() {\n    body();\n}\n\nA list of short lines\nwith a second one\n";
        assert_eq!(
            paragraphs(text),
            [
                "THE TITLE",
                "It was the first of the long and quiet mornings of that spring, and nobody was up.",
                "fn main() {\n    body();\n}",
                "A list of short lines\nwith a second one",
            ]
        );
    }

    #[test]
    fn files_and_folders_are_read_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(dir.path().join("a/one.txt"), "One text.").unwrap();
        std::fs::write(folder.join("copy.md"), "One text.").unwrap();
        std::fs::write(folder.join("image.png"), [0, 1]).unwrap();
        std::fs::write(folder.join("bad.txt"), [0xff, 0xfe]).unwrap();
        let lines = "{\"text\": \"Two.\", \"license\": \"MIT\"}\n{\"text\": \"Three.\"}\n{\"text\": \" \"}\n";
        std::fs::write(folder.join("records.jsonl"), lines).unwrap();
        let all = load(&[dir.path().to_owned()], "CC0-1.0").unwrap();
        let mut found: Vec<(&str, &str)> =
            all.documents.iter().map(|d| (d.paragraphs[0].as_str(), d.licence.as_str())).collect();
        found.sort_unstable();
        assert_eq!(found, [("One text.", "CC0-1.0"), ("Three.", "CC0-1.0"), ("Two.", "MIT")]);
        let left: Vec<(&str, usize)> = all.left_out.iter().map(|(what, n)| (*what, *n)).collect();
        assert_eq!(
            left,
            [
                ("copies of another document", 1),
                ("empty documents", 1),
                ("files of another kind", 1),
                ("files that are not UTF-8", 1)
            ]
        );
        let error = load(&[folder.join("image.png")], "x").unwrap_err().to_string();
        assert!(error.contains("image.png: not a text; give .txt"), "{error}");
        std::fs::write(folder.join("records.jsonl"), "{}\n").unwrap();
        let error = load(&[folder.join("records.jsonl")], "x").unwrap_err().to_string();
        assert!(error.contains("records.jsonl:1: no field text"), "{error}");
    }
}
