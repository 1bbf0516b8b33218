//! The recipe: sources and steps, as TOML.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::dedup::lines::Lines;
use crate::dedup::minhash::MinHash;
use crate::filters::{
    C4, C4Paragraphs, Coverage, Divergence, Filter, FineWeb, GopherQuality, GopherRepetition, WordCounts,
};
use crate::quality;

/// The definition of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of the mix and of the order.
    #[serde(default)]
    pub seed: u64,
    /// Size of the texts of a part, in bytes. A kill loses the parts in progress.
    #[serde(default = "part_bytes")]
    pub part_bytes: u64,
    /// Size of the texts of a file of the result, in bytes.
    #[serde(default = "shard_bytes")]
    pub shard_bytes: u64,
    /// The sources of documents, the most trusted first: among duplicates, the document of the first source survives.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// The steps, in order.
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
}

fn part_bytes() -> u64 {
    32 << 20
}

fn shard_bytes() -> u64 {
    256 << 20
}

/// A source: files with documents of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name of the source.
    pub name: String,
    /// Files, relative to the recipe; `*` matches any part of a file's name.
    pub files: Vec<String>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Gopher's repetition rules.
    GopherRepetition(GopherRepetition),
    /// Gopher's quality rules.
    GopherQuality(GopherQuality),
    /// C4's rules.
    C4(C4),
    /// mC4's rule of long lines.
    C4Paragraphs(C4Paragraphs),
    /// FineWeb's rules.
    Fineweb(FineWeb),
    /// Coverage by duplicated n-grams.
    Coverage(Coverage),
    /// Counts of listed words.
    WordCounts(WordCounts),
    /// Divergence of the token distribution.
    Divergence(Divergence),
    /// The main text of HTML pages.
    Extract(Extract),
    /// The language of documents.
    Language(Language),
    /// Documents of blocked addresses.
    UrlFilter(UrlFilter),
    /// Personal data.
    Pii(PersonalData),
    /// Documents with questions of benchmarks.
    Decontaminate(Decontaminate),
    /// Keeps the documents with the highest scores.
    Quality(Quality),
    /// Keeps one document per address: the newest.
    DedupUrl(DedupUrl),
    /// Keeps one document per text.
    DedupExact(DedupExact),
    /// Keeps one document of a group of near-duplicates.
    DedupMinhash(DedupMinhash),
    /// Removes frequent lines.
    DedupLines(Lines),
    /// Sets the shares of sources.
    Mix(Mix),
}

/// The extraction step. Documents that are not pages pass unchanged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extract {
    /// Selects the images that are replaced by their alternative text.
    pub alt: Alt,
}

/// The images that are replaced by their alternative text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alt {
    /// Images of formulas only.
    Formulas,
    /// Images within a line of text, too.
    #[default]
    Inline,
    /// All images.
    All,
}

/// The language step: writes `meta.language`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Language {
    /// Codes of the languages that are kept; an empty list keeps all.
    pub keep: Vec<String>,
    /// Minimum probability of the model.
    pub min_probability: f64,
}

impl Default for Language {
    fn default() -> Self {
        Self { keep: Vec::new(), min_probability: 0.65 }
    }
}

/// The address step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlFilter {
    /// Files of blocked hosts and addresses, one on each line; also in the formats of hosts files and ad blockers.
    pub lists: Vec<PathBuf>,
    /// A file of hosts that no list blocks.
    #[serde(default)]
    pub allow: Option<PathBuf>,
}

/// The step for personal data: replaces it by placeholders, and drops documents that contain much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalData {
    /// Maximum number of findings per 1,000 words; applies to documents with more than 3.
    pub max: f64,
}

impl Default for PersonalData {
    fn default() -> Self {
        Self { max: 20.0 }
    }
}

/// The decontamination step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decontaminate {
    /// Files of questions, as JSON lines or Parquet.
    pub questions: Vec<PathBuf>,
    /// Fields whose texts are questions; if the list is empty, all texts of a record.
    #[serde(default)]
    pub fields: Vec<String>,
    /// A document is dropped if its 8-grams contain at least this share of a question's words.
    #[serde(default = "min_share")]
    pub min_share: f64,
}

fn min_share() -> f64 {
    0.7
}

/// The quality step: scores documents, and keeps the best share of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The folder or file of a classifier. Without it, documents must already have the score in `meta`.
    #[serde(default)]
    pub classifier: Option<PathBuf>,
    /// The name of the score in `meta`; by default the classifier's.
    #[serde(default)]
    pub name: String,
    /// The minimum share of documents that is kept.
    pub keep: f64,
    /// Whether the share applies to each source, or to all documents together.
    #[serde(default = "yes")]
    pub by_source: bool,
}

fn yes() -> bool {
    true
}

/// The URL step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupUrl {}

/// The exact step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupExact {
    /// Whether languages are compared separately.
    pub by_language: bool,
}

impl Default for DedupExact {
    fn default() -> Self {
        Self { by_language: true }
    }
}

/// The MinHash step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupMinhash {
    /// Number of bands; two documents that share a band are duplicates.
    pub bands: usize,
    /// Number of rows per band.
    pub rows: usize,
    /// Number of words per n-gram.
    pub n: usize,
    /// Documents with fewer words are compared as whole texts.
    pub min_words: usize,
    /// Whether languages are compared separately.
    pub by_language: bool,
}

impl Default for DedupMinhash {
    fn default() -> Self {
        let MinHash { bands, rows, n, min_words, .. } = MinHash::default();
        Self { bands, rows, n, min_words, by_language: true }
    }
}

impl DedupMinhash {
    /// The shape of the signatures.
    #[must_use]
    pub fn shape(&self, seed: u64) -> MinHash {
        MinHash { bands: self.bands, rows: self.rows, n: self.n, min_words: self.min_words, seed }
    }
}

/// The mix step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The share of each source in the result's bytes; the shares are scaled to a sum of 1. A source without a weight
    /// is left out.
    pub weights: BTreeMap<String, f64>,
    /// Size of the result's text in bytes. By default, as much as possible without repeating a source more than
    /// `max_repeats` times.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// Maximum number of repetitions of a source.
    #[serde(default = "max_repeats")]
    pub max_repeats: f64,
}

fn max_repeats() -> f64 {
    1.0
}

impl Step {
    /// The kind of the step, as in the recipe.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GopherRepetition(_) => "gopher-repetition",
            Self::GopherQuality(_) => "gopher-quality",
            Self::C4(_) => "c4",
            Self::C4Paragraphs(_) => "c4-paragraphs",
            Self::Fineweb(_) => "fineweb",
            Self::Coverage(_) => "coverage",
            Self::WordCounts(_) => "word-counts",
            Self::Divergence(_) => "divergence",
            Self::Extract(_) => "extract",
            Self::Language(_) => "language",
            Self::UrlFilter(_) => "url-filter",
            Self::Pii(_) => "pii",
            Self::Decontaminate(_) => "decontaminate",
            Self::Quality(_) => "quality",
            Self::DedupUrl(_) => "dedup-url",
            Self::DedupExact(_) => "dedup-exact",
            Self::DedupMinhash(_) => "dedup-minhash",
            Self::DedupLines(_) => "dedup-lines",
            Self::Mix(_) => "mix",
        }
    }

    /// Whether it needs the whole corpus.
    #[must_use]
    pub fn is_global(&self) -> bool {
        matches!(
            self,
            Self::Quality(_)
                | Self::DedupUrl(_)
                | Self::DedupExact(_)
                | Self::DedupMinhash(_)
                | Self::DedupLines(_)
                | Self::Mix(_)
        )
    }

    /// The filter of the step, if it is one.
    #[must_use]
    pub fn filter(&self) -> Option<&dyn Filter> {
        Some(match self {
            Self::GopherRepetition(filter) => filter,
            Self::GopherQuality(filter) => filter,
            Self::C4(filter) => filter,
            Self::C4Paragraphs(filter) => filter,
            Self::Fineweb(filter) => filter,
            Self::Coverage(filter) => filter,
            Self::WordCounts(filter) => filter,
            Self::Divergence(filter) => filter,
            _ => return None,
        })
    }

    /// The files that the step reads.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::WordCounts(step) => vec![&step.list],
            Self::Divergence(step) => vec![&step.reference],
            Self::UrlFilter(step) => step.lists.iter().chain(&step.allow).map(PathBuf::as_path).collect(),
            Self::Quality(step) => step.classifier.iter().map(PathBuf::as_path).collect(),
            Self::Decontaminate(step) => step.questions.iter().map(PathBuf::as_path).collect(),
            _ => Vec::new(),
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe. Paths become relative to the current folder.
    ///
    /// # Errors
    /// When the file or a key is faulty; the error names both.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{}: cannot read the recipe", path.display()))?;
        let mut recipe: Self = toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        recipe.settle(folder).with_context(|| format!("{}", path.display()))?;
        Ok(recipe)
    }

    fn settle(&mut self, folder: &Path) -> anyhow::Result<()> {
        ensure!(!self.sources.is_empty(), "source: is missing: give at least one [[source]] with name and files");
        ensure!(self.part_bytes > 0 && self.shard_bytes > 0, "part_bytes and shard_bytes must be above 0");
        ensure!(self.sources.len() < 65_536, "source: there are more than 65,535");
        for (at, source) in self.sources.iter().enumerate() {
            ensure!(!source.name.is_empty(), "source {}: name is empty", at + 1);
            ensure!(
                self.sources[..at].iter().all(|other| other.name != source.name),
                "source {}: the name {} is used twice",
                at + 1,
                source.name
            );
        }
        for (at, step) in self.steps.iter_mut().enumerate() {
            step.settle(folder).with_context(|| format!("step {} ({})", at + 1, step.kind()))?;
        }
        let extract = self.steps.iter().position(|step| matches!(step, Step::Extract(_)));
        let early = self.steps[..extract.unwrap_or(0)].iter().find(|step| !matches!(step, Step::UrlFilter(_)));
        if let Some(step) = early {
            bail!("extract must come before {}, which would see no text", step.kind());
        }
        let mixes: Vec<usize> = (0..self.steps.len()).filter(|at| matches!(self.steps[*at], Step::Mix(_))).collect();
        ensure!(mixes.len() < 2, "step {}: mix occurs twice", mixes.last().unwrap_or(&0) + 1);
        if let Some(at) = mixes.first() {
            ensure!(at + 1 == self.steps.len(), "step {}: mix must be the last step", at + 1);
            let Step::Mix(mix) = &self.steps[*at] else { bail!("mix") };
            let known = |name: &String| self.sources.iter().any(|source| source.name == *name);
            for (name, weight) in &mix.weights {
                ensure!(known(name), "step {}: weights: {name} is not a source", at + 1);
                ensure!(weight.is_finite() && *weight > 0.0, "step {}: weights: {name} must be above 0", at + 1);
            }
            ensure!(!mix.weights.is_empty(), "step {}: weights: is empty", at + 1);
            ensure!(mix.max_repeats > 0.0, "step {}: max_repeats must be above 0", at + 1);
        }
        for source in &mut self.sources {
            for file in &mut source.files {
                *file = folder.join(&*file).to_string_lossy().into_owned();
            }
        }
        Ok(())
    }

    /// Replaces the files of sources by those that `SOURCE=FILE` names, which are relative to the current folder.
    ///
    /// # Errors
    /// When a text is not of this form, or there is no such source.
    pub fn replace_files(&mut self, given: &[String]) -> anyhow::Result<()> {
        let mut replaced: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for text in given {
            let (name, file) = text.split_once('=').with_context(|| format!("--files {text}: give SOURCE=FILE"))?;
            let at = self.sources.iter().position(|source| source.name == name);
            let known = || self.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
            let at = at.with_context(|| format!("--files {text}: there is no source {name}; there are {}", known()))?;
            replaced.entry(at).or_default().push(file.to_owned());
        }
        for (at, files) in replaced {
            self.sources[at].files = files;
        }
        Ok(())
    }

    /// Files of a source, sorted by their path.
    ///
    /// # Errors
    /// When a pattern matches no file.
    pub fn files(source: &Source) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for pattern in &source.files {
            let mut matches = matching(Path::new(pattern))?;
            matches.sort();
            ensure!(!matches.is_empty(), "source {}: {pattern} matches no file", source.name);
            found.extend(matches);
        }
        ensure!(!found.is_empty(), "source {0}: files: is empty; name files, or give --files {0}=FILE", source.name);
        Ok(found)
    }
}

impl Step {
    /// Loads the files that the step names, relative to `folder`, and checks its keys.
    ///
    /// # Errors
    /// When a key is faulty; the error names it.
    pub fn settle(&mut self, folder: &Path) -> anyhow::Result<()> {
        match self {
            Self::WordCounts(step) => {
                step.list = folder.join(&step.list);
                step.load()?;
            }
            Self::Divergence(step) => {
                step.reference = folder.join(&step.reference);
                step.load()?;
            }
            Self::UrlFilter(step) => {
                ensure!(!step.lists.is_empty(), "lists: is empty, so that the step could match nothing");
                for path in step.lists.iter_mut().chain(&mut step.allow) {
                    *path = folder.join(&*path);
                }
            }
            Self::Decontaminate(step) => {
                for path in &mut step.questions {
                    *path = folder.join(&*path);
                }
                ensure!(!step.questions.is_empty(), "questions: is empty, so that the step could match nothing");
                ensure!((0.0..=1.0).contains(&step.min_share), "min_share: {} is not between 0 and 1", step.min_share);
            }
            Self::Quality(step) => {
                ensure!(step.keep > 0.0 && step.keep <= 1.0, "keep: {} is not above 0 and at most 1", step.keep);
                if let Some(path) = &mut step.classifier {
                    *path = quality::model::file(&folder.join(&*path));
                    let classifier = quality::Classifier::read(path)?;
                    if step.name.is_empty() {
                        classifier.name().clone_into(&mut step.name);
                    }
                }
                ensure!(!step.name.is_empty(), "name: is missing: give a classifier, or the name of a score in meta");
            }
            Self::DedupMinhash(step) => {
                ensure!(step.bands > 0 && step.rows > 0 && step.n > 0, "bands, rows and n must be above 0");
            }
            Self::DedupLines(step) => ensure!(step.bucket > 0, "bucket must be above 0"),
            _ => {}
        }
        self.filter().map_or(Ok(()), Filter::check)
    }
}

/// Files whose path matches a pattern with `*` in its last part.
fn matching(pattern: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains('*') {
        return Ok(if pattern.is_file() { vec![pattern.to_owned()] } else { Vec::new() });
    }
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parts: Vec<&str> = name.split('*').collect();
    let fits = |name: &str| {
        let Some(mut rest) = name.strip_prefix(parts[0]) else { return false };
        for part in &parts[1..parts.len() - 1] {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(parts[parts.len() - 1])
    };
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_file() && fits(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Recipe, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.toml"), text).unwrap();
        Recipe::load(&dir.path().join("r.toml")).map_err(|error| format!("{error:#}"))
    }

    const SOURCE: &str = "[[source]]\nname = \"a\"\nfiles = [\"*.jsonl\"]\n";

    #[test]
    fn thresholds_come_from_the_recipe() {
        let recipe = load(&format!(
            "{SOURCE}[[step]]\nkind = \"gopher-quality\"\nmin_words = 20\n[[step]]\nkind = \"dedup-minhash\"\n"
        ))
        .unwrap();
        let Step::GopherQuality(filter) = &recipe.steps[0] else { panic!("{recipe:?}") };
        assert_eq!((filter.min_words, filter.max_words), (20, 100_000));
        let Step::DedupMinhash(step) = &recipe.steps[1] else { panic!("{recipe:?}") };
        assert_eq!((step.bands, step.rows, step.n), (14, 8, 5));
    }

    #[test]
    fn mistakes_are_sentences() {
        for (text, part) in [
            ("", "missing field `source`"),
            (&*format!("{SOURCE}{SOURCE}"), "source 2: the name a is used twice"),
            (&*format!("{SOURCE}[[step]]\nkind = \"gopher\"\n"), "unknown variant `gopher`"),
            (&*format!("{SOURCE}[[step]]\nkind = \"fineweb\"\nmin_word = 3\n"), "unknown field `min_word`"),
            (
                &*format!("{SOURCE}[[step]]\nkind = \"fineweb\"\nwithout = [\"x\"]\n"),
                "step 1 (fineweb): without: x is not a rule",
            ),
            (
                &*format!("{SOURCE}[[step]]\nkind = \"mix\"\nweights = {{ b = 1 }}\n"),
                "step 1: weights: b is not a source",
            ),
            (
                &*format!("{SOURCE}[[step]]\nkind = \"mix\"\nweights = {{ a = 1 }}\n[[step]]\nkind = \"c4\"\n"),
                "step 1: mix must be the last",
            ),
            (&*format!("{SOURCE}[[step]]\nkind = \"decontaminate\"\nquestions = []\n"), "could match nothing"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn patterns() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.jsonl", "a.jsonl", "a.warc.gz"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let source =
            |pattern: &str| Source { name: "s".into(), files: vec![dir.path().join(pattern).to_string_lossy().into()] };
        let names = |pattern: &str| {
            let files = Recipe::files(&source(pattern)).unwrap();
            files.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (names("*.jsonl"), names("a*gz"), names("a.jsonl")),
            (vec!["a.jsonl".into(), "b.jsonl".into()], vec!["a.warc.gz".into()], vec!["a.jsonl".into()])
        );
        assert!(Recipe::files(&source("*.parquet")).unwrap_err().to_string().contains("matches no file"));
    }
}
