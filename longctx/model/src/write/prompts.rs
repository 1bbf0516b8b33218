//! The prompts; files in a folder can replace them.

use std::path::Path;

use anyhow::{Context as _, ensure};

/// Prompts with the place holders `{text}`, `{question}` and `{count}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// Asks for questions about a chunk.
    pub questions: String,
    /// Asks a question with the chunk.
    pub answer: String,
    /// Asks a question without it.
    pub closed: String,
    /// Asks for the summary of a chunk.
    pub summary: String,
    /// Asks for the summary of summaries.
    pub combine: String,
}

impl Prompts {
    /// The embedded prompts, each replaced by its file in the folder if there is one (`questions.txt`, `answer.txt`, `closed.txt`,
    /// `summary.txt`, `combine.txt`).
    ///
    /// # Errors
    /// When a file cannot be read, or lacks a place holder.
    pub fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let of = |name: &str, embedded: &str, holders: &[&str]| -> anyhow::Result<String> {
            let Some(path) = folder.map(|folder| folder.join(format!("{name}.txt"))).filter(|path| path.exists())
            else {
                return Ok(embedded.trim_end().to_owned());
            };
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for holder in holders {
                ensure!(text.contains(holder), "{}: the prompt lacks {holder}", path.display());
            }
            Ok(text.trim_end().to_owned())
        };
        Ok(Self {
            questions: of("questions", include_str!("prompts/questions.txt"), &["{text}"])?,
            answer: of("answer", include_str!("prompts/answer.txt"), &["{text}", "{question}"])?,
            closed: of("closed", include_str!("prompts/closed.txt"), &["{question}"])?,
            summary: of("summary", include_str!("prompts/summary.txt"), &["{text}"])?,
            combine: of("combine", include_str!("prompts/combine.txt"), &["{text}"])?,
        })
    }

    /// All prompts as one text, for fingerprints.
    #[must_use]
    pub fn identity(&self) -> String {
        [&self.questions, &self.answer, &self.closed, &self.summary, &self.combine].map(String::as_str).join("\0")
    }
}
