//! Two normalisations of a text. Copies of a text may differ in case, spacing and punctuation; their normalised forms
//! do not.

use std::hash::Hasher as _;

use fnv::FnvHasher;

/// The text in lower case, with every sequence of white space as one space. Signs are kept, so "2 + 2" differs from
/// "2 - 2". This form is for texts that must be equal as a whole.
#[must_use]
pub fn collapsed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The words and numbers of a text in lower case, without signs: for counting and comparing sequences of words.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// FNV-1a with 64 bits: the same on every machine and in every version.
#[must_use]
pub fn hash(bytes: impl AsRef<[u8]>) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes.as_ref());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copies_may_differ_in() {
        assert_eq!(collapsed("  What is\n2 +  2?\t"), "what is 2 + 2?");
        assert_ne!(collapsed("2 + 2"), collapsed("2 - 2"));
        assert_eq!(words("Well-known:\n\"Straße\" 3.5").collect::<Vec<_>>(), ["well", "known", "straße", "3", "5"]);
        // The published test vector of FNV-1a, 64 bits.
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
