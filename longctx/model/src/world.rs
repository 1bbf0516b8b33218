//! The material of evaluations and gates: texts of the evaluation side, packages, and the tokenizer that counts lengths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use chat::{ChatTemplate, RenderOptions, Tokenizer};
use dataset::Message;
use dataset::digest::Fingerprint;
use longctx::command::make::{choose, counts};
use longctx::counter::Counter;
use longctx::documents::{self, Document, UNKNOWN};
use longctx::repo::{self, Library};
use longctx::split::Split;
use longctx::stream::Stream;
use longctx::task::World;
use run::{Input, grouped};

/// Texts and packages of the evaluation side.
pub struct Held {
    /// Haystacks, packages and tokenizer.
    pub world: World,
    /// The documents of the haystack, with their paragraphs.
    pub documents: Vec<Document>,
    /// SHA-256 over the documents; none without documents.
    pub texts: Option<String>,
    /// SHA-256 over the packages; none without packages.
    pub repositories: Option<String>,
    /// The counts of what was read and left out, to print.
    pub summary: String,
}

/// The files after reading, before they are split and counted.
pub struct Read {
    documents: documents::Documents,
    packages: Vec<repo::load::Package>,
    package_files: Vec<PathBuf>,
}

impl Read {
    /// Reads texts and packages.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn new(texts: &[PathBuf], repositories: &[PathBuf]) -> anyhow::Result<Self> {
        let documents = documents::load(texts, UNKNOWN)?;
        let (packages, package_files) = repo::load::load(repositories)?;
        Ok(Self { documents, packages, package_files })
    }

    /// The files as inputs of a run, under the given keys.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn inputs(&self, texts: &str, repositories: &str) -> anyhow::Result<Vec<Input>> {
        let mut inputs = Vec::new();
        for file in &self.documents.files {
            inputs.push(Input::file(texts, file)?);
        }
        for (path, package) in self.package_files.iter().zip(&self.packages) {
            let content =
                package.files.iter().map(|file| format!("{}\n{}\n", file.path, file.text)).collect::<String>();
            inputs.push(Input::other(repositories, &path.to_string_lossy(), &content));
        }
        Ok(inputs)
    }

    /// The evaluation side, with lengths counted by the tokenizer of a folder. The haystack's order depends on the documents alone.
    ///
    /// # Errors
    /// When the tokenizer cannot be loaded, or when texts or packages were given and nothing of them is left.
    pub fn held(self, tokenizer: &Path, against: &[PathBuf]) -> anyhow::Result<Held> {
        let counter = Counter::open(tokenizer)?;
        let mut left_out = self.documents.left_out.clone();
        let given = self.documents.documents.len();
        let kept = choose(self.documents.documents, against, Split::Evaluation, &counter, &mut left_out)?;
        ensure!(
            given == 0 || !kept.is_empty(),
            "none of {given} texts is left to evaluate on: {}; a fifth of all documents is for evaluation, by their SHA-256, so \
             give more of them",
            counts(&left_out)
        );
        let mut digests: Vec<&str> = kept.iter().map(|document| document.sha256.as_str()).collect();
        digests.sort_unstable();
        let texts = digests.iter().fold(Fingerprint::new(), |print, sha256| print.text("document", sha256));
        let texts = (!kept.is_empty()).then(|| texts.finish());
        let mut names: Vec<String> = Vec::new();
        for package in &self.packages {
            let content: String = package.files.iter().map(|file| format!("{}\n{}\n", file.path, file.text)).collect();
            names.push(format!("{} {}", package.name, dataset::digest::bytes(content.as_bytes())));
        }
        names.sort_unstable();
        let repositories = names.iter().fold(Fingerprint::new(), |print, name| print.text("package", name));
        let repositories = (!names.is_empty()).then(|| repositories.finish());
        let running = kept.iter().cloned().map(Document::running).collect::<Vec<_>>();
        let stream = if running.is_empty() { None } else { Some(Stream::new(running, 0, &counter, " ")?) };
        let library = match self.packages.is_empty() {
            true => None,
            false => {
                let library = Library::new(self.packages, Split::Evaluation, &counter)?;
                ensure!(
                    library.files() > 0,
                    "no package is left to evaluate on: {}; a fifth of all packages is for evaluation, by their names, so give \
                     more of them",
                    counts(&library.left_out)
                );
                Some(library)
            }
        };
        let world = World::new(stream, library, counter, Split::Evaluation)?;
        let summary = summary(&world, &left_out);
        Ok(Held { world, documents: kept, texts, repositories, summary })
    }
}

fn summary(world: &World, left_out: &BTreeMap<&'static str, usize>) -> String {
    let mut lines = Vec::new();
    if let Some(stream) = &world.stream {
        lines.push(format!(
            "texts: {} documents, {} sentences, {} tokens",
            stream.documents.len(),
            grouped(stream.paragraphs.len() as u64),
            grouped(stream.total())
        ));
    }
    if let Some(library) = &world.library {
        lines.push(format!("packages: {} files, {} tokens", library.files(), grouped(library.total())));
        if !library.left_out.is_empty() {
            lines.push(format!("left out of the packages: {}", counts(&library.left_out)));
        }
    }
    if !left_out.is_empty() {
        lines.push(format!("left out: {}", counts(left_out)));
    }
    lines.join("\n")
}

/// A digest of the behaviour of a tokenizer with its chat template: the ids of a conversation with letters, digits, signs and other
/// scripts. Two folders that encode the same texts to the same tokens have the same digest.
///
/// # Errors
/// When the folder has no tokenizer or template, or they refuse the conversation.
pub fn tokenizer_digest(folder: &Path) -> anyhow::Result<String> {
    let tokenizer = Tokenizer::from_dir(folder)?;
    let template = ChatTemplate::from_dir(folder)?
        .with_context(|| format!("{}: there is no chat template; lengths are counted with one", folder.display()))?;
    let probe = "The quick brown fox jumps over 1234567 lazy dogs; don't ask why.\n\n  def f(x_1): return x_1 ** 2  # ok\n\
                 Größe, naïveté, 東京, Москва, 🙂 3f2504e0-4f89-41d3-9a0c-0305e82c3301 able-acorn\t\"quotes\" (a, b)";
    let messages = [Message::user(probe), Message::assistant("The special magic number is")];
    let ids = chat::encode_continued(&tokenizer, &template, &messages, &RenderOptions::default())?;
    Ok(dataset::digest::bytes(format!("{} {ids:?}", tokenizer.vocab_size()).as_bytes()))
}
