//! The benchmarks by name.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use codeexec::suite::Suite;
use serde::{Serialize, Serializer};

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Task {
    /// Grade-school maths, 8 worked examples in the prompt
    Gsm8k,
    /// Grade-school maths without examples
    #[value(name = "gsm8k-0shot")]
    Gsm8kZeroShot,
    /// Competition maths: MATH's format, or records with a question and an answer
    Math,
    /// Word problems with misleading parts
    Svamp,
    /// Python functions from docstrings
    Humaneval,
    /// HumanEval with many more tests
    #[value(name = "humaneval+")]
    HumanevalPlus,
    /// Python functions from a sentence
    Mbpp,
    /// MBPP with many more tests
    #[value(name = "mbpp+")]
    MbppPlus,
    /// Verifiable instructions, strict and loose
    Ifeval,
    /// Refusals of safe and unsafe prompts
    Xstest,
    /// Science questions by log-likelihood
    Arc,
    /// Knowledge in 57 subjects by log-likelihood
    Mmlu,
    /// Perplexity of a text file (--text)
    Perplexity,
    /// Problem records of `herd data make` or your own (--problems)
    Problems,
}

/// Serialized by name.
impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Task {
    /// The name on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gsm8k => "gsm8k",
            Self::Gsm8kZeroShot => "gsm8k-0shot",
            Self::Math => "math",
            Self::Svamp => "svamp",
            Self::Humaneval => "humaneval",
            Self::HumanevalPlus => "humaneval+",
            Self::Mbpp => "mbpp",
            Self::MbppPlus => "mbpp+",
            Self::Ifeval => "ifeval",
            Self::Xstest => "xstest",
            Self::Arc => "arc",
            Self::Mmlu => "mmlu",
            Self::Perplexity => "perplexity",
            Self::Problems => "problems",
        }
    }

    /// Whether the task uses the model's probabilities instead of a generated text.
    #[must_use]
    pub fn is_likelihood(self) -> bool {
        matches!(self, Self::Arc | Self::Mmlu | Self::Perplexity)
    }

    /// Maximum number of tokens of an answer, as in Meta's evaluations of Llama 3 (IFEval: as in the harness).
    #[must_use]
    pub fn max_new_tokens(self) -> usize {
        match self {
            Self::Math => 5120,
            Self::Ifeval => 1280,
            Self::Xstest => 256,
            _ => 1024,
        }
    }

    /// The benchmark of codeexec that the task uses.
    #[must_use]
    pub fn suite(self) -> Option<Suite> {
        match self {
            Self::Humaneval => Some(Suite::Humaneval),
            Self::HumanevalPlus => Some(Suite::HumanevalPlus),
            Self::Mbpp => Some(Suite::Mbpp),
            Self::MbppPlus => Some(Suite::MbppPlus),
            _ => None,
        }
    }

    /// The possible places of its data in a data folder, in order of precedence; `.gz`, `.zst` may follow.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Gsm8k | Self::Gsm8kZeroShot => &["gsm8k/test.jsonl", "gsm8k/test.parquet"],
            Self::Math => &["math/test.jsonl", "math/test.parquet"],
            Self::Svamp => &["svamp/test.jsonl", "math_more/svamp.jsonl"],
            Self::Humaneval => &["humaneval/HumanEval.jsonl"],
            Self::HumanevalPlus => &["humaneval_plus/HumanEvalPlus.jsonl"],
            Self::Mbpp => &["mbpp/sanitized-mbpp.json", "mbpp/mbpp.jsonl"],
            Self::MbppPlus => &["mbpp_plus/MbppPlus.jsonl"],
            Self::Ifeval => &["ifeval/ifeval.jsonl", "ifeval/input_data.jsonl"],
            Self::Xstest => &["xstest/xstest_prompts.csv"],
            Self::Arc => &["arc/ARC-Challenge-Test.jsonl", "arc/test.jsonl", "arc/test.parquet"],
            Self::Mmlu => &["mmlu/test.jsonl", "mmlu/test.parquet"],
            Self::Perplexity | Self::Problems => &[],
        }
    }

    /// The task's file in a data folder.
    ///
    /// # Errors
    /// When the file is missing; the error says where the file must be, and how to get it.
    pub fn locate(self, data: &Path) -> anyhow::Result<PathBuf> {
        let endings = ["", ".gz", ".zst"];
        let candidates =
            self.files().iter().flat_map(|file| endings.iter().map(move |end| data.join(format!("{file}{end}"))));
        let found = candidates.into_iter().find(|path| path.is_file());
        found.ok_or_else(|| {
            let set = self.files().first().map_or("", |file| file.split('/').next().unwrap_or(file));
            anyhow::anyhow!(
                "{}: no data in {}: {} is not there. `herd data get {set}` fetches it, or says how to place it; \
                 --benchmarks names \
                 another folder",
                self.name(),
                data.display(),
                self.files().join(", or ")
            )
        })
    }
}
