//! The 64-bit hashes of this crate. They are the same on every machine and in every version, since the survivors of
//! deduplication depend on them.
//!
//! [`bytes`] is wyhash's construction (multiply 64 x 64 to 128 bits and fold) over blocks of 16 bytes.

const A: u64 = 0xa076_1d64_78bd_642f;
const B: u64 = 0xe703_7ed1_a0b4_28db;

/// Folds the 128-bit product of two words into 64 bits.
#[inline]
#[must_use]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A start value for [`combine`] that differs for every `seed`.
#[inline]
#[must_use]
pub fn seeded(seed: u64) -> u64 {
    fold(seed ^ A, B)
}

/// The hash of two hashes in order.
#[inline]
#[must_use]
pub fn combine(one: u64, other: u64) -> u64 {
    fold(one ^ A, other ^ B)
}

/// The hash of bytes.
#[inline]
#[must_use]
pub fn bytes(bytes: &[u8]) -> u64 {
    bytes_with(bytes, 0)
}

/// The hash of bytes with a seed.
#[must_use]
pub fn bytes_with(bytes: &[u8], seed: u64) -> u64 {
    let word = |part: &[u8]| {
        let mut eight = [0; 8];
        eight[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(eight)
    };
    let mut state = seed ^ A;
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        state = fold(word(&block[..8]) ^ B, word(&block[8..]) ^ state);
    }
    let rest = blocks.remainder();
    let (low, high) = if rest.len() > 8 { (word(&rest[..8]), word(&rest[8..])) } else { (word(rest), 0) };
    fold(fold(low ^ B, high ^ state), B ^ bytes.len() as u64)
}

/// A hasher for maps whose keys are already hashes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Same(u64);

impl std::hash::Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes_with(bytes, self.0);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map whose keys are hashes.
pub type Map<V> = std::collections::HashMap<u64, V, std::hash::BuildHasherDefault<Same>>;

/// A set of hashes.
pub type Set = std::collections::HashSet<u64, std::hash::BuildHasherDefault<Same>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_and_spread() {
        // Recorded once: a change of these values changes the survivors of every corpus.
        assert_eq!(
            [bytes(b""), bytes(b"abc"), bytes(b"seventeen bytes..")],
            [4_808_886_099_364_463_827, 7_057_035_677_312_277_128, 4_800_473_287_343_693_739]
        );
        let all: Set = (0..100_000_u32).map(|n| bytes(&n.to_le_bytes())).collect();
        assert_eq!(all.len(), 100_000);
        // Every output bit is set about half of the time.
        for bit in 0..64 {
            let ones = all.iter().filter(|hash| **hash >> bit & 1 == 1).count();
            assert!((49_000..51_000).contains(&ones), "bit {bit}: {ones}");
        }
        assert_ne!(bytes(b"a\0"), bytes(b"a"));
        assert_ne!(combine(1, 2), combine(2, 1));
    }
}
