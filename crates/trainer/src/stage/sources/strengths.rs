//! `--strengths`: selects the preferences to train on by their strength.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dataset::Strength;

/// Strength levels to train on, compared ignoring case, `_` and `-`. If no level is named, all are used. Preferences without a
/// level are always used.
#[derive(Debug, Default)]
pub struct Strengths {
    wanted: Vec<String>,
    /// Number of records seen of each level.
    seen: Mutex<BTreeMap<String, u64>>,
}

impl Strengths {
    /// From the values of `--strengths`.
    #[must_use]
    pub fn new(wanted: &[String]) -> Self {
        Self { wanted: wanted.to_vec(), seen: Mutex::default() }
    }

    /// Whether to train on a preference of this strength. Counts its level as seen.
    pub fn takes(&self, strength: Option<&Strength>) -> bool {
        let Some(Strength::Level(level)) = strength else { return true };
        let level = plain(level);
        let takes = self.wanted.is_empty() || self.wanted.iter().any(|wanted| plain(wanted) == level);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(level).or_default() += 1;
        takes
    }

    /// A warning for each requested level that no record had.
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
