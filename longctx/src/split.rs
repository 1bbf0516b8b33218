//! Divides documents and keys into training and evaluation by their digest, never by a seed.

use dataset::digest;
use serde::{Deserialize, Serialize};

/// A split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training.
    Train,
    /// Evaluation.
    Evaluation,
}

impl Split {
    /// The split of a thing with this SHA-256 in hexadecimal: a fifth belongs to evaluation.
    #[must_use]
    pub fn of_digest(sha256: &str) -> Self {
        let first = sha256.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if first.is_some_and(|byte| byte < 51) { Self::Evaluation } else { Self::Train }
    }

    /// The split of a key: a name, a marker or a package.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self::of_digest(&digest::bytes(key.as_bytes()))
    }

    /// `train` or `evaluation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluation => "evaluation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_is_for_evaluation() {
        let held_out = (0..2000).filter(|i| Split::of_key(&format!("key {i}")) == Split::Evaluation).count();
        assert!((340..460).contains(&held_out), "{held_out}");
        // SHA-256("abc") begins with ba.
        assert_eq!(Split::of_key("abc"), Split::Train);
        assert_eq!(Split::of_digest("32ff"), Split::Evaluation);
        assert_eq!(Split::of_digest("33ff"), Split::Train);
    }
}
