//! Questions about Python packages: imports, definitions, and what breaks without a file.

pub mod graph;
pub mod load;
pub mod python;
mod questions;
pub(crate) mod verify;

use anyhow::Context as _;
use rayon::prelude::*;

use crate::counter::Counter;
use crate::phrases;
use crate::split::Split;
use crate::stream::BREAK;
use graph::Graph;
use load::{Package, SourceFile};
use python::{Facts, Reader};

pub(crate) use questions::draft;

/// The heading before a file's path.
pub(crate) const HEAD: &str = "### File: ";
/// The text that stands for an empty file.
pub(crate) const EMPTY: &str = "# (empty)";

/// A file as the context shows it, with its parsed facts.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) file: SourceFile,
    pub(crate) facts: Facts,
    /// The heading and the text.
    pub(crate) block: String,
    /// Tokens of the block with the separator after it.
    pub(crate) tokens: u64,
}

/// A package to ask about.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) licence: String,
    /// SHA-256 over paths and texts.
    pub(crate) sha256: String,
    pub(crate) files: Vec<Shown>,
    pub(crate) graph: Graph,
}

/// All packages of a split.
#[derive(Debug)]
pub struct Library {
    pub(crate) repositories: Vec<Repository>,
    /// Counts of files that were left out, by reason.
    pub left_out: std::collections::BTreeMap<&'static str, usize>,
}

/// The heading and the text of a file.
pub(crate) fn block(path: &str, text: &str) -> String {
    let text = if text.trim().is_empty() { EMPTY } else { text };
    format!("{HEAD}{path}\n{text}")
}

/// The name of a package without its version: `networkx` for `networkx-3.2-py3-none-any`.
#[must_use]
pub fn base_name(name: &str) -> &str {
    name.split_once('-').map_or(name, |(base, _)| base)
}

impl Library {
    /// Parses and counts the packages of a split. The name of a package decides its split.
    ///
    /// # Errors
    /// When the parser or the tokenizer fails.
    pub fn new(packages: Vec<Package>, split: Split, counter: &Counter) -> anyhow::Result<Self> {
        let mut library = Self { repositories: Vec::new(), left_out: std::collections::BTreeMap::new() };
        for mut package in packages {
            if Split::of_key(&base_name(&package.name).to_lowercase()) != split {
                *library.left_out.entry("packages of the other split").or_default() += 1;
                continue;
            }
            for (why, count) in &package.left_out {
                *library.left_out.entry(*why).or_default() += count;
            }
            let before = package.files.len();
            let is_mark = |line: &str| {
                line.starts_with(HEAD) || phrases::marks().any(|(open, close)| line == open || line == close)
            };
            package.files.retain(|file| counter.special_in(&file.text).is_none() && !file.text.lines().any(is_mark));
            if before > package.files.len() {
                *library.left_out.entry("files with a special token or a mark").or_default() +=
                    before - package.files.len();
            }
            if package.files.len() < 2 {
                *library.left_out.entry("packages of fewer than two files").or_default() += 1;
                continue;
            }
            library.repositories.push(Repository::new(package, counter)?);
        }
        Ok(library)
    }

    /// Tests on some files whether their tokens add up, as [`Counter::probe`] does for texts.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub(crate) fn probe(&self, counter: &mut Counter) -> anyhow::Result<()> {
        for repository in &self.repositories {
            let files: Vec<&Shown> = repository.files.iter().filter(|file| file.block.len() < 20_000).take(6).collect();
            let [first, inside @ .., last] = &files[..] else { continue };
            let blocks: Vec<&str> = files.iter().map(|file| file.block.as_str()).collect();
            let whole = counter.count(&blocks.join(BREAK))? as u64;
            let known: u64 = inside.iter().map(|file| file.tokens).sum();
            let rest = counter.count(&[first.block.as_str(), &last.block].join(BREAK))? as u64;
            counter.note(whole == rest + known);
        }
        Ok(())
    }

    /// The number of files in all packages.
    #[must_use]
    pub fn files(&self) -> usize {
        self.repositories.iter().map(|repository| repository.files.len()).sum()
    }

    /// The number of tokens of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.repositories.iter().flat_map(|repository| &repository.files).map(|file| file.tokens).sum()
    }

    /// The number of packages, and of those without a known licence.
    #[must_use]
    pub fn packages(&self) -> (usize, usize) {
        let unknown = self.repositories.iter().filter(|r| r.licence == crate::documents::UNKNOWN).count();
        (self.repositories.len(), unknown)
    }
}

impl Repository {
    fn new(package: Package, counter: &Counter) -> anyhow::Result<Self> {
        let facts: Vec<anyhow::Result<Facts>> = package
            .files
            .par_iter()
            .map_init(Reader::new, |reader, file| match reader {
                Ok(reader) => reader.read(&file.text).with_context(|| format!("{}: {}", package.name, file.path)),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            })
            .collect();
        let facts: Vec<Facts> = facts.into_iter().collect::<anyhow::Result<_>>()?;
        let graph = Graph::new(&package.files.iter().collect::<Vec<_>>(), &facts.iter().collect::<Vec<_>>());
        let blocks: Vec<String> = package.files.iter().map(|file| block(&file.path, &file.text)).collect();
        let tokens = counter.paragraphs(&blocks.iter().map(String::as_str).collect::<Vec<_>>(), BREAK)?;
        let mut digest = dataset::digest::Fingerprint::new();
        for file in &package.files {
            digest = digest.text(&file.path, &file.text);
        }
        let files = package.files.into_iter().zip(facts).zip(blocks.into_iter().zip(tokens));
        let files = files.map(|((file, facts), (block, tokens))| Shown { file, facts, block, tokens }).collect();
        Ok(Self { name: package.name, licence: package.licence, sha256: digest.finish(), files, graph })
    }
}
