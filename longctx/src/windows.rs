//! Runs of 13 words, which training and evaluation data must not share.

use rustc_hash::FxHashSet;
use serde_json::Value;

/// Words of a window (the 13-grams of GPT-3's decontamination; Brown et al. 2020, appendix C).
pub const WORDS: usize = 13;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A set of windows.
#[derive(Debug, Default)]
pub struct Windows(FxHashSet<u64>);

impl Windows {
    /// Adds the windows of a text.
    pub fn add(&mut self, text: &str) {
        each(text, |hash, _| {
            self.0.insert(hash);
            true
        });
    }

    /// Adds the windows of all texts in a record except for its id, source and `meta`.
    pub fn add_record(&mut self, record: &Value) {
        texts(record, &mut |text| self.add(text));
    }

    /// The first window of a text that is in the set.
    #[must_use]
    pub fn shared(&self, text: &str) -> Option<String> {
        let mut found = None;
        each(text, |hash, window| {
            let is_shared = self.0.contains(&hash);
            if is_shared {
                found = Some(window());
            }
            !is_shared
        });
        found
    }

    /// The number of windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Calls `see` with every text of a record except for its id, source and `meta`.
pub fn texts(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, see)),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["id", "source", "meta", "role"].contains(&name.as_str()))
            .for_each(|(_, field)| texts(field, see)),
        _ => {}
    }
}

/// Calls `see` with the hash of every window and a closure that gives its words, until `see` returns false.
fn each(text: &str, mut see: impl FnMut(u64, &dyn Fn() -> String) -> bool) {
    let mut words: Vec<&str> = Vec::new();
    let mut hashes: Vec<u64> = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words.push(word);
        hashes.push(hash(word));
    }
    let highest = (1..WORDS).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
    let mut rolling = 0_u64;
    for at in 0..hashes.len() {
        if at >= WORDS {
            rolling = rolling.wrapping_sub(hashes[at - WORDS].wrapping_mul(highest));
        }
        rolling = rolling.wrapping_mul(FACTOR).wrapping_add(hashes[at]);
        if at + 1 >= WORDS {
            let window = &words[at + 1 - WORDS..=at];
            if !see(rolling, &|| window.join(" ").to_lowercase()) {
                return;
            }
        }
    }
}

/// The FNV-1a hash of the word in lower case, mixed.
fn hash(word: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut byte = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    if word.is_ascii() {
        word.bytes().for_each(|b| byte(b.to_ascii_lowercase()));
    } else {
        word.to_lowercase().bytes().for_each(byte);
    }
    (hash ^ (hash >> 32)).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn thirteen_words_in_a_row_are_found_and_twelve_are_not() {
        let mut windows = Windows::default();
        windows.add("zero one two three four five six seven eight nine ten eleven twelve thirteen");
        assert_eq!(windows.len(), 2);
        let found =
            windows.shared("He said: ONE, two -- three four five six seven eight nine ten eleven twelve thirteen!");
        assert_eq!(found.as_deref(), Some("one two three four five six seven eight nine ten eleven twelve thirteen"));
        assert_eq!(windows.shared("one two three four five six seven eight nine ten eleven twelve fourteen"), None);
        assert_eq!(windows.shared("two one three four five six seven eight nine ten eleven twelve thirteen"), None);
    }

    #[test]
    fn records_count_without_their_names() {
        let text = "a b c d e f g h i j k l m";
        let mut windows = Windows::default();
        windows.add_record(&json!({"id": text, "source": text, "meta": {"x": text}}));
        assert!(windows.is_empty());
        windows.add_record(&json!({"messages": [{"role": "user", "content": text}]}));
        assert_eq!(windows.len(), 1);
    }
}
