//! Extraction and comparison of GSM8K's answers as in `lm-evaluation-harness` 0.4.13 (tasks `gsm8k`, `gsm8k_cot`,
//! `gsm8k_cot_zeroshot`, `gsm8k_cot_llama`).

use std::sync::LazyLock;

use regex::Regex;

/// The method that extracts the answer from a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The answer in the form that the prompt of Llama's evaluation asks for: "The final answer is 7" (`gsm8k_cot_llama`).
    Strict,
    /// The last number (all four tasks).
    Flexible,
    /// `#### 7` (`gsm8k`).
    Hashes,
    /// "The answer is 7." (`gsm8k_cot`, `gsm8k_cot_zeroshot`).
    TheAnswerIs,
}

impl Filter {
    /// The column's name.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Flexible => "flexible",
            Self::Hashes => "hashes",
            Self::TheAnswerIs => "the-answer-is",
        }
    }

    /// The answer, or `[invalid]`. Of several matches, the strict and the flexible filter take the last one, the
    /// others the first one.
    #[must_use]
    pub fn apply(self, response: &str) -> String {
        static PATTERNS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
            [
                r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))",
                r"(-?[$0-9.,]{2,})|(-?[0-9]+)",
                r"#### (\-?[0-9\.\,]+)",
                r"The answer is (\-?[0-9\.\,]+).",
            ]
            .map(|text| Regex::new(text).unwrap_or_else(|why| panic!("gsm8k: a built-in pattern: {why}")))
        });
        let (index, last) = match self {
            Self::Strict => (0, true),
            Self::Flexible => (1, true),
            Self::Hashes => (2, false),
            Self::TheAnswerIs => (3, false),
        };
        let mut matches = PATTERNS[index].captures_iter(response);
        let found = if last { matches.last() } else { matches.next() };
        let group = found.and_then(|found| found.iter().skip(1).flatten().map(|m| m.as_str().to_owned()).next());
        group.map_or_else(|| "[invalid]".to_owned(), |answer| answer.trim().to_owned())
    }
}

/// The harness's `exact_match` with the options of these tasks: it ignores commas, dollar signs, everything up to
/// `#### `, a final period, and case.
#[must_use]
pub fn exact_match(answer: &str, reference: &str) -> bool {
    normal(answer) == normal(reference)
}

fn normal(text: &str) -> String {
    let text = text.replace([',', '$'], "");
    // The pattern `.*#### ` is greedy over lines: it removes everything up to the last one.
    let text = text.rfind("#### ").map_or(text.as_str(), |at| &text[at + "#### ".len()..]);
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let text = "She has 1,200 - 3 = 1,197. The answer is 1,197. The final answer is $1,197.\n#### 1,197";
        assert_eq!(Filter::Strict.apply(text), "$1,197.");
        assert_eq!(Filter::Flexible.apply(text), "1,197");
        assert_eq!(Filter::Hashes.apply(text), "1,197");
        assert_eq!(Filter::TheAnswerIs.apply(text), "1,197.");
        assert_eq!(Filter::Strict.apply("The answer is 3"), "[invalid]");
        assert!(exact_match("$1,197.", "so 4\n#### 1197") && !exact_match("1197.0", "#### 1197"));
    }
}
