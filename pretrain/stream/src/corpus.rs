//! The sources of a run: folders of token shards, checked before the first step.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rayon::prelude::*;
use token_shards::{Header, Shard};

/// A shard with its header.
#[derive(Debug, Clone)]
pub struct ShardFacts {
    /// The file of tokens, `NAME.ds`.
    pub path: PathBuf,
    /// The header.
    pub header: Header,
}

/// A source: shards in the order of their names.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name in figures: that of the folder or file.
    pub name: String,
    /// Its shards.
    pub shards: Vec<ShardFacts>,
    /// Number of windows before each shard, and in total.
    before: Vec<u64>,
    /// Number of tokens of a window.
    window: u64,
}

/// A range of tokens in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The index of the shard in its source.
    pub shard: usize,
    /// The index of the first token.
    pub start: u64,
    /// Number of tokens.
    pub tokens: u64,
}

/// The properties that shards must match.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// SHA-256 of the model's `tokenizer.json`.
    pub tokenizer: Option<&'a str>,
    /// Number of embeddings of the model.
    pub vocabulary: u64,
    /// Whether the digests of all files are compared, which reads all files; lengths are always compared.
    pub digests: bool,
}

impl Source {
    /// The shards of a folder (`*.ds`, in the order of their names), or one file, in windows of `window` tokens. Reads headers only.
    ///
    /// # Errors
    /// When there is no shard, or a header cannot be read.
    pub fn open(path: &Path, window: u64) -> anyhow::Result<Self> {
        let files = files(path)?;
        let name = std::path::absolute(path)?.file_stem().map(|name| name.to_string_lossy().into_owned());
        let facts =
            |path: PathBuf| -> anyhow::Result<ShardFacts> { Ok(ShardFacts { header: Header::read(&path)?, path }) };
        let shards: Vec<ShardFacts> = files.into_iter().map(facts).collect::<anyhow::Result<_>>()?;
        Ok(Self::of(name.unwrap_or_else(|| "data".into()), shards, window))
    }

    fn of(name: String, shards: Vec<ShardFacts>, window: u64) -> Self {
        let mut before = vec![0];
        for shard in &shards {
            before.push(before[before.len() - 1] + shard.header.tokens / window);
        }
        Self { name, shards, before, window }
    }

    /// Number of whole windows in all shards.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.before[self.before.len() - 1]
    }

    /// Number of tokens in all shards.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.shards.iter().map(|shard| shard.header.tokens).sum()
    }

    /// Number of tokens at the ends of shards that fill no window and are not used.
    #[must_use]
    pub fn left_over(&self) -> u64 {
        self.tokens() - self.windows() * self.window
    }

    /// Bytes of the documents' texts, if all shards record them.
    #[must_use]
    pub fn text_bytes(&self) -> Option<u64> {
        self.shards.iter().map(|shard| shard.header.text_bytes).sum()
    }

    /// The location of `number` windows from `first` on; several spans if they extend over the end of a shard.
    #[must_use]
    pub fn spans(&self, first: u64, number: u64) -> Vec<Span> {
        let (mut first, end) = (first, first + number);
        let mut spans = Vec::new();
        while first < end {
            let shard = self.before.partition_point(|before| *before <= first) - 1;
            let until = self.before[shard + 1].min(end);
            spans.push(Span {
                shard,
                start: (first - self.before[shard]) * self.window,
                tokens: (until - first) * self.window,
            });
            first = until;
        }
        spans
    }

    /// Checks every shard.
    ///
    /// # Errors
    /// When a shard is damaged, was made with another tokenizer, or has ids that the model lacks; the error names the first one.
    pub fn check(&self, expected: Expected) -> anyhow::Result<()> {
        self.shards.par_iter().map(|shard| shard.check(expected)).collect::<Vec<_>>().into_iter().collect()
    }
}

impl ShardFacts {
    /// Size of the shard's files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.header.token_file.bytes + self.header.index_file.bytes
    }

    fn check(&self, expected: Expected) -> anyhow::Result<()> {
        let (path, made) = (self.path.display(), &self.header.tokenizer);
        if let Some(tokenizer) = expected.tokenizer.filter(|_| !made.sha256.is_empty()) {
            ensure!(
                made.sha256 == tokenizer,
                "{path}: its tokens were made by another tokenizer (SHA-256 {}) than the model's ({}): tokenise the texts again, \
                 or take the model's own tokenizer",
                short(&made.sha256),
                short(tokenizer)
            );
        }
        ensure!(
            u64::from(made.vocab_size) <= expected.vocabulary,
            "{path}: its vocabulary has {} tokens, and the model has embeddings for {}: take a model with more, or tokenise with \
             the model's tokenizer",
            made.vocab_size,
            expected.vocabulary
        );
        if expected.digests {
            // Verifies lengths, document ends, digests and ids.
            return Ok(Shard::open(&self.path)?.verify()?);
        }
        for (file, facts, numbers, width) in [
            (self.path.clone(), &self.header.token_file, self.header.tokens, 4),
            (index(&self.path), &self.header.index_file, self.header.documents, 8),
        ] {
            let bytes = fs::metadata(&file).with_context(|| format!("{}: cannot read", file.display()))?.len();
            if bytes != facts.bytes || numbers.checked_mul(width) != Some(bytes) {
                bail!(
                    "{}: the file has {bytes} bytes, and its header says {} for {numbers} numbers; it is damaged: write the shard again",
                    file.display(),
                    facts.bytes
                );
            }
        }
        Ok(())
    }
}

/// The path of a shard's index: `NAME.ds.index` for `NAME.ds`.
pub(crate) fn index(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".index");
    name.into()
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        ensure!(path.exists(), "{} does not exist: name a folder of token shards, or a file NAME.ds", path.display());
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "ds"));
    ensure!(!files.is_empty(), "{} has no token shard (NAME.ds): make some with `herd data tokenise`", path.display());
    files.sort();
    Ok(files)
}

/// Opens several sources; a shard must not occur in two of them.
///
/// # Errors
/// The same as [`Source::open`].
pub fn open(paths: &[PathBuf], window: u64) -> anyhow::Result<Vec<Source>> {
    let mut sources = paths.iter().map(|path| Source::open(path, window)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    for source in &sources {
        for shard in &source.shards {
            let whole = shard.path.canonicalize().with_context(|| format!("cannot read {}", shard.path.display()))?;
            ensure!(
                seen.insert(whole),
                "{} is in two sources: name it once, with the weight that it should have",
                shard.path.display()
            );
        }
    }
    // Folders with the same name are distinguished by a number.
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    for (at, source) in sources.iter_mut().enumerate() {
        if names.iter().filter(|name| **name == source.name).count() > 1 {
            source.name = format!("{}-{}", source.name, at + 1);
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_shards::{ShardWriter, Tokenizer};

    fn write(path: &Path, sha256: &str, documents: &[usize]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let tokenizer = Tokenizer { sha256: sha256.into(), vocab_size: 300, ..Tokenizer::default() };
        let mut writer = ShardWriter::create(path, tokenizer, "test").unwrap();
        for length in documents {
            let tokens: Vec<u32> = (0..*length as u32).map(|id| id % 300).collect();
            writer.push(&tokens, Some(*length as u64)).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn windows_lie_in_shards() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a/00001.ds"), "", &[30, 5]);
        write(&dir.path().join("a/00000.ds"), "", &[47]);
        let source = Source::open(&dir.path().join("a"), 10).unwrap();
        // 4 windows and 7 tokens, then 3 windows and 5 tokens.
        assert_eq!((&*source.name, source.windows(), source.left_over()), ("a", 7, 12));
        assert_eq!(source.text_bytes(), Some(82));
        assert_eq!(source.spans(0, 1), [Span { shard: 0, start: 0, tokens: 10 }]);
        assert_eq!(source.spans(5, 2), [Span { shard: 1, start: 10, tokens: 20 }]);
        let over = [Span { shard: 0, start: 20, tokens: 20 }, Span { shard: 1, start: 0, tokens: 10 }];
        assert_eq!(source.spans(2, 3), over);
    }

    #[test]
    fn faults_are_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let shard = dir.path().join("a/0.ds");
        write(&shard, "aaaaaaaaaaaaaaaa", &[50]);
        let open = || Source::open(&dir.path().join("a"), 10);
        let expected = Expected { tokenizer: Some("aaaaaaaaaaaaaaaa"), vocabulary: 300, digests: true };
        open().unwrap().check(expected).unwrap();
        let error = |expected: Expected| {
            let error = format!("{:#}", open().unwrap().check(expected).unwrap_err());
            assert!(!error.contains('\n'), "{error}");
            error
        };
        let other = error(Expected { tokenizer: Some("bbbbbbbbbbbbbbbb"), ..expected });
        assert!(other.contains("0.ds: its tokens were made by another tokenizer (SHA-256 aaaaaaaaaaaa)"), "{other}");
        let small = error(Expected { vocabulary: 299, ..expected });
        assert!(small.contains("its vocabulary has 300 tokens, and the model has embeddings for 299"), "{small}");
        // One changed bit is only visible in the digest.
        let mut bytes = fs::read(&shard).unwrap();
        bytes[8] ^= 1;
        fs::write(&shard, &bytes).unwrap();
        assert!(error(expected).contains("SHA-256 is"), "{}", error(expected));
        open().unwrap().check(Expected { digests: false, ..expected }).unwrap();
        // A truncated file has another length.
        fs::write(&shard, &bytes[..100]).unwrap();
        let cut = error(Expected { digests: false, ..expected });
        assert!(cut.contains("the file has 100 bytes, and its header says 200 for 50 numbers"), "{cut}");
        fs::remove_file(dir.path().join("a/0.ds.json")).unwrap();
        let error = format!("{:#}", open().unwrap_err());
        assert!(error.contains("there is no header"), "{error}");
        let error = |path: &str| format!("{:#}", Source::open(&dir.path().join(path), 10).unwrap_err());
        assert!(error("none").contains("does not exist"), "{}", error("none"));
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(error("empty").contains("has no token shard"), "{}", error("empty"));
    }

    #[test]
    fn a_shard_is_in_one_source() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("x/a/0.ds"), "", &[50]);
        write(&dir.path().join("y/a/0.ds"), "", &[50]);
        let (x, y) = (dir.path().join("x/a"), dir.path().join("y/a"));
        let names: Vec<String> = open(&[x.clone(), y], 10).unwrap().into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["a-1", "a-2"]);
        let error = format!("{:#}", open(&[x.clone(), x.join("0.ds")], 10).unwrap_err());
        assert!(error.contains("is in two sources"), "{error}");
    }
}
