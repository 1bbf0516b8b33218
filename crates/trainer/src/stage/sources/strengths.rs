//! `--strengths`: which preferences are trained on, by how clear they are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dataset::Strength;

/// Levels of strength to train on, compared without regard to case, `_` and `-`. All are taken where none is named, and
/// preferences without a level always.
#[derive(Debug, Default)]
pub struct Strengths {
    wanted: Vec<String>,
    /// Records of each level that was seen.
    seen: Mutex<BTreeMap<String, u64>>,
}

impl Strengths {
    /// Of the values of `--strengths`.
    #[must_use]
    pub fn new(wanted: &[String]) -> Self {
        Self { wanted: wanted.to_vec(), seen: Mutex::default() }
    }

    /// Whether to train on a preference of this strength; it is counted as seen.
    pub fn takes(&self, strength: Option<&Strength>) -> bool {
        let Some(Strength::Level(level)) = strength else { return true };
        let level = plain(level);
        let takes = self.wanted.is_empty() || self.wanted.iter().any(|wanted| plain(wanted) == level);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(level).or_default() += 1;
        takes
    }

    /// A warning for each level that was asked for and that no record had.
    #[must_use]
    pub fn unmatched(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = self.wanted.iter().filter(|wanted| !seen.contains_key(&plain(wanted)));
        let list: Vec<String> = seen.iter().map(|(level, count)| format!("{level:?} ({count})")).collect();
        let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        missing.map(|wanted| format!("--strengths {wanted:?} matches no record; the data has: {list}")).collect()
    }

    /// Prints [`Strengths::unmatched`].
    pub fn warn(&self) {
        self.unmatched().iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace(['_', '-'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter_and_a_value_without_a_match_is_named() {
        let strengths = Strengths::new(&["significantly better".into(), "much better".into()]);
        let level = |text: &str| Some(Strength::Level(text.into()));
        assert!(strengths.takes(level("Significantly_Better").as_ref()));
        assert!(!strengths.takes(level("slightly-better").as_ref()));
        assert!(strengths.takes(None) && strengths.takes(Some(&Strength::Score(0.5))));
        assert_eq!(
            strengths.unmatched(),
            ["--strengths \"much better\" matches no record; the data has: \"significantly better\" (1), \
              \"slightly better\" (1)"]
        );
        assert!(Strengths::new(&[]).takes(level("anything").as_ref()));
    }
}
