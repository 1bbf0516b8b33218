//! The prompt of the judge: requirements and an extract of a document, to be answered with a score from 0 to 5.

use std::path::Path;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The highest score.
pub const HIGHEST: u64 = 5;

/// The built-in requirements.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Text that informs and explains
    Quality,
    /// Pages that teach programming
    Code,
    /// Pages with mathematics and worked steps
    Reasoning,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Quality => include_str!("../../prompts/quality.txt"),
            Self::Code => include_str!("../../prompts/code.txt"),
            Self::Reasoning => include_str!("../../prompts/reasoning.txt"),
        }
    }
}

/// The text of the requirements, from a file or built in.
///
/// # Errors
/// When the file cannot be read or is empty.
pub fn load(file: Option<&Path>, kind: Kind) -> anyhow::Result<String> {
    let Some(path) = file else { return Ok(kind.text().trim().to_owned()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!text.trim().is_empty(), "{}: the file holds no requirements", path.display());
    Ok(text.trim().to_owned())
}

/// The prompt about an extract.
#[must_use]
pub fn question(requirements: &str, extract: &str) -> String {
    format!(
        "{requirements}\n\nThe extract, between two lines of equals signs:\n=====\n{extract}\n=====\n\nFirst say in one or two \
         sentences why, then end with a line that has only the number of points, from 0 to {HIGHEST}, in the form\nScore: N"
    )
}

/// Parses the score of an answer, and the reason before it. The last line with a score counts.
///
/// # Errors
/// The fault of the answer.
pub fn read(answer: &str) -> Result<(u64, String), String> {
    let shown = || answer.chars().take(80).collect::<String>();
    let mut found = None;
    for (at, line) in answer.lines().enumerate() {
        let line = line.to_lowercase();
        let Some((before, after)) = line.split_once("score") else { continue };
        let is_start = !before.chars().any(char::is_alphanumeric);
        let after = after.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        let rest = &after[digits.len()..];
        // 4.5 is not a valid score; 4/5 is.
        let is_whole = !rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let (true, true, Ok(score)) = (is_start, is_whole, digits.parse::<u64>()) {
            found = Some((at, score));
        }
    }
    let Some((at, score)) = found else { return Err(format!("the answer has no line \"Score: N\": {:?}", shown())) };
    if score > HIGHEST {
        return Err(format!("the score {score} is not from 0 to {HIGHEST}"));
    }
    let reason = answer.lines().take(at).collect::<Vec<_>>().join(" ");
    Ok((score, reason.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The first `max` characters of a text, cut at the last whole line if that keeps at least half.
#[must_use]
pub fn extract(text: &str, max: usize) -> &str {
    let text = text.trim();
    let Some((end, _)) = text.char_indices().nth(max) else { return text };
    let cut = &text[..end];
    cut.rfind('\n').filter(|at| *at >= end / 2).map_or(cut, |at| &cut[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read() {
        for (answer, score) in [
            ("It explains.\nScore: 4", 4),
            ("**Score:** 3/5", 3),
            ("Score: 1\nNo, better:\nScore: 2.", 2),
            ("- score = 0", 0),
        ] {
            assert_eq!(read(answer).map(|(score, _)| score), Ok(score), "{answer}");
        }
        assert_eq!(read("It  informs.\nIt is short.\nScore: 3").unwrap().1, "It informs. It is short.");
        for bad in ["I like it.", "Score: 4.5", "Score: 9", "The score is high", "No underscore: 3"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_extract_ends_with_a_line() {
        assert_eq!(extract("one\ntwo\nthree", 9), "one\ntwo");
        assert_eq!(extract("üüüü", 2), "üü");
        assert_eq!(extract(" all ", 10), "all");
        let question = question("Add points.", "a text");
        assert!(question.starts_with("Add points.") && question.contains("=====\na text\n====="), "{question}");
    }

    #[test]
    fn the_built_in_requirements_have_five_points() {
        for kind in [Kind::Quality, Kind::Code, Kind::Reasoning] {
            assert!(load(None, kind).unwrap().contains("\n5. "), "{kind:?}");
        }
        assert!(load(Some(Path::new("/nowhere")), Kind::Code).is_err());
    }
}
