//! Contrast pairs: a harmless and a harmful request with a common part. Either the same verb has another object, or the same
//! noun occurs in another question. A classifier trained on them cannot rely on the common word alone.
//!
//! The common part of two requests is the *key* of the pair, a verb or a noun. A quarter of the keys (by their SHA-256) is held
//! out completely; of the other keys, a quarter of the requests. No prompt appears twice. The harmful halves are one line
//! without any detail: they are requests, never answers, and are stored in data files only.
//!
//! ```
//! use safety_text::contrast::{Split, pairs};
//!
//! let train = pairs(7, Split::Train);
//! assert!(train.len() > 500 && train == pairs(7, Split::Train));
//! let held_out = pairs(7, Split::NewKeys);
//! assert!(held_out.iter().all(|pair| train.iter().all(|other| other.key != pair.key)));
//! ```

pub mod command;
mod nouns;
mod objects;
mod subjects;
mod verbs_crime;
mod verbs_other;

use dataset::digest;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// A part of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Pairs for training.
    Train,
    /// Pairs for evaluation whose verbs and nouns do not occur as keys in training.
    NewKeys,
    /// Pairs for evaluation whose verbs and nouns occur in training, with other requests.
    NewPairs,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::NewKeys => "new-keys",
            Self::NewPairs => "new-pairs",
        }
    }
}

/// The reason why a request is harmless, for reports by type.
pub type Type = &'static str;

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The verb or noun that both requests share.
    pub key: String,
    /// Kind of the difference: another object, a definition, history, fiction, law, protection, a public person.
    pub kind: Type,
    /// The harmless request.
    pub safe: String,
    /// The harmful request.
    pub unsafe_: String,
    /// The category of the harmful request in the policy `herd-14`.
    pub category: &'static str,
}

impl Pair {
    /// The two labelled records, the harmless one first. `group` is common to both, and to all pairs of the key.
    #[must_use]
    pub fn records(&self, split: Split) -> [Value; 2] {
        let record = |text: &str, label: &str| {
            let id = format!("contrast-{}", &digest::bytes(text.as_bytes())[..16]);
            let mut record = json!({
                "id": id, "messages": [{"role": "user", "content": text}], "label": label, "judge": "prompt",
                "source": "contrast", "language": "en", "group": format!("contrast-{}", self.key),
                "meta": {"split": split.name(), "kind": self.kind, "key": self.key},
            });
            if label == "unsafe" {
                record["categories"] = json!([self.category]);
            }
            record
        };
        [record(&self.safe, "safe"), record(&self.unsafe_, "unsafe")]
    }
}

/// The requests of one key, from which pairs are drawn.
struct Draw {
    key: String,
    kind: Type,
    category: &'static str,
    /// Harmless and harmful requests with the same beginning.
    safe: Vec<String>,
    unsafe_: Vec<String>,
}

/// All pairs of a split, shuffled. The seed determines which harmless request is paired with which harmful one, and the order;
/// it does not change the split.
#[must_use]
pub fn pairs(seed: u64, split: Split) -> Vec<Pair> {
    let mut all = Vec::new();
    for draw in objects::draws().into_iter().chain(nouns::draws()).chain(subjects::draws()) {
        let is_new_key = held_out(&draw.key);
        if is_new_key != (split == Split::NewKeys) {
            continue;
        }
        // For a known key the requests are divided, so that no prompt is in two splits.
        let belongs = |text: &String| is_new_key || held_out(text) == (split == Split::NewPairs);
        let own = digest::bytes(format!("{seed}/{}/{}/{}", draw.key, draw.kind, draw.safe.len()).as_bytes());
        let mut random = ChaCha8Rng::seed_from_u64(u64::from_str_radix(&own[..16], 16).unwrap_or(seed));
        let mut shuffled = |texts: Vec<String>| {
            let mut texts: Vec<String> = texts.into_iter().filter(belongs).collect();
            texts.shuffle(&mut random);
            texts
        };
        let (safe, unsafe_) = (shuffled(draw.safe), shuffled(draw.unsafe_));
        all.extend(safe.into_iter().zip(unsafe_).map(|(safe, unsafe_)| Pair {
            key: draw.key.clone(),
            kind: draw.kind,
            safe,
            unsafe_,
            category: draw.category,
        }));
    }
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    all
}

/// Whether a key or a request is held out: a quarter of them is, by SHA-256.
fn held_out(text: &str) -> bool {
    // The first hexadecimal digit has 16 values; 4 of them are held out.
    digest::bytes(text.as_bytes()).starts_with(['0', '1', '2', '3'])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
