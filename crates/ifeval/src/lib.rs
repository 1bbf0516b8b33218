//! Instruction following that a program can check: the 25 instruction types of IFEval (Zhou et al. 2023,
//! arXiv 2311.07911), strict and loose.
//!
//! The verdicts agree with those of the official checkers (Google's, as `lm-evaluation-harness` ships them),
//! including their quirks. Their random choices are fixed here: language detection uses a fixed seed.
//!
//! ```
//! use ifeval::{Instruction, check};
//!
//! let kwargs = serde_json::json!({"relation": "at least", "num_words": 3});
//! let words = Instruction::new("length_constraints:number_words", &kwargs)?;
//! let no_comma = Instruction::new("punctuation:no_comma", &serde_json::json!({}))?;
//! let verdict = check(&[words, no_comma], "One, two, three.");
//! assert_eq!(verdict.strict, [true, false]);
//! # Ok::<(), String>(())
//! ```

mod capitals;
mod format;
mod instruction;
mod punkt;
mod python;

use serde::{Deserialize, Serialize};

pub use instruction::{INSTRUCTIONS, Instruction, Relation};

/// For each instruction of a prompt, whether the response follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// For the unchanged response.
    pub strict: Vec<bool>,
    /// For the response or one of seven variants: without its first line, its last line, both, and each of these
    /// without asterisks.
    pub loose: Vec<bool>,
}

impl Verdict {
    /// Whether every instruction is followed, strictly.
    #[must_use]
    pub fn all_strict(&self) -> bool {
        self.strict.iter().all(|&followed| followed)
    }

    /// Whether every instruction is followed, loosely.
    #[must_use]
    pub fn all_loose(&self) -> bool {
        self.loose.iter().all(|&followed| followed)
    }
}

/// Judges a response by the instructions of its prompt. An empty response follows none.
#[must_use]
pub fn check(instructions: &[Instruction], response: &str) -> Verdict {
    let follows = |instruction: &Instruction, text: &str| !python::strip(text).is_empty() && instruction.follows(text);
    let variants = variants(response);
    Verdict {
        strict: instructions.iter().map(|instruction| follows(instruction, response)).collect(),
        loose: instructions
            .iter()
            .map(|instruction| variants.iter().any(|variant| follows(instruction, variant)))
            .collect(),
    }
}

/// The texts that the loose verdict accepts (section 2.2 of the paper).
fn variants(response: &str) -> Vec<String> {
    let lines: Vec<&str> = response.split('\n').collect();
    let joined = |lines: &[&str]| python::strip(&lines.join("\n")).to_owned();
    let last = lines.len() - 1;
    let texts = [response.to_owned(), joined(&lines[1..]), joined(&lines[..last]), joined(&lines[1.min(last)..last])];
    texts.iter().flat_map(|text| [text.clone(), text.replace('*', "")]).collect()
}
