//! The parameters of the English model.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Seen at the start of a sentence in lower case.
pub(super) const BEGINS_LOWER: u8 = 1 << 4;
/// Seen inside a sentence in upper case.
pub(super) const INSIDE_UPPER: u8 = 1 << 2;
/// Seen in upper case anywhere.
pub(super) const UPPER: u8 = 1 << 1 | 1 << 2 | 1 << 3;
/// Seen in lower case anywhere.
pub(super) const LOWER: u8 = 1 << 4 | 1 << 5 | 1 << 6;

/// The learned parameters for English.
pub(super) struct Model {
    pub(super) abbreviations: HashSet<&'static str>,
    pub(super) collocations: HashSet<(&'static str, &'static str)>,
    pub(super) starters: HashSet<&'static str>,
    orthography: HashMap<&'static str, u8>,
}

impl Model {
    /// The flags of a word; 0 for a word that was never seen.
    pub(super) fn orthography(&self, word: &str) -> u8 {
        self.orthography.get(word).copied().unwrap_or(0)
    }
}

/// The model, read once.
pub(super) static ENGLISH: LazyLock<Model> = LazyLock::new(|| {
    let mut model = Model {
        abbreviations: HashSet::new(),
        collocations: HashSet::new(),
        starters: HashSet::new(),
        orthography: HashMap::new(),
    };
    for line in include_str!("english.txt").lines() {
        let mut fields = line.split('\t');
        match (fields.next(), fields.next(), fields.next()) {
            (Some("a"), Some(word), _) => {
                model.abbreviations.insert(word);
            }
            (Some("s"), Some(word), _) => {
                model.starters.insert(word);
            }
            (Some("c"), Some(first), Some(second)) => {
                model.collocations.insert((first, second));
            }
            (Some("o"), Some(word), Some(flags)) => {
                model.orthography.insert(word, flags.parse().unwrap_or(0));
            }
            _ => {}
        }
    }
    model
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_model_is_read() {
        let m = &*ENGLISH;
        let sizes = (m.abbreviations.len(), m.collocations.len(), m.starters.len(), m.orthography.len());
        assert_eq!(sizes, (156, 37, 39, 20366));
        assert!(m.orthography.values().all(|&flags| flags > 0 && flags & 1 == 0));
    }
}
