//! A keyed permutation of `0..size` that is computed index by index: a balanced Feistel network (Luby and Rackoff 1988) on the next even
//! number of bits, with cycle walking until the result is in the range (Black and Rogaway 2002).

/// Number of rounds. Four turn a random function into a random permutation; two more cost little.
const ROUNDS: usize = 6;

/// A permutation of `0..size`.
#[derive(Debug, Clone)]
pub struct Permutation {
    size: u64,
    /// Number of bits of each half.
    bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..size` for a key; `size` is at most 2^62.
    ///
    /// # Panics
    /// When `size` is larger.
    #[must_use]
    pub fn new(size: u64, key: u64) -> Self {
        assert!(size <= 1 << 62, "a permutation of {size} places");
        let needed = 64 - size.saturating_sub(1).leading_zeros();
        let keys = std::array::from_fn(|round| mix(key ^ mix(round as u64 + 1)));
        Self { size, bits: needed.div_ceil(2).max(1), keys }
    }

    /// The image of the index `at`.
    ///
    /// # Panics
    /// When `at` is not below the size.
    #[must_use]
    pub fn at(&self, at: u64) -> u64 {
        assert!(at < self.size, "place {at} of {}", self.size);
        let mut place = at;
        loop {
            place = self.network(place);
            if place < self.size {
                return place;
            }
        }
    }

    fn network(&self, place: u64) -> u64 {
        let mask = (1 << self.bits) - 1;
        let (mut left, mut right) = (place >> self.bits, place & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.bits | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014) with its increment: every bit of the result depends on every bit
/// of the input.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Combines several numbers into a key.
#[must_use]
pub fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(0x6865_7264, |key, part| mix(key ^ mix(*part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_once_for_every_size() {
        for size in (1..300).chain([1023, 1024, 1025, 4096, 5000]) {
            let permutation = Permutation::new(size, 7);
            let mut seen = vec![false; size as usize];
            (0..size).for_each(|at| seen[permutation.at(at) as usize] = true);
            assert!(seen.iter().all(|seen| *seen), "{size}");
        }
    }

    #[test]
    fn looks_random() {
        let size = 100_000;
        let (a, b) = (Permutation::new(size, key(&[1, 0])), Permutation::new(size, key(&[1, 1])));
        // Fixed points and agreements of two permutations are Poisson with mean 1; neighbours remain neighbours equally rarely.
        let fixed = (0..size).filter(|at| a.at(*at) == *at).count();
        let agree = (0..size).filter(|at| a.at(*at) == b.at(*at)).count();
        let neighbours = (1..size).filter(|at| a.at(*at) == a.at(at - 1) + 1).count();
        assert!(fixed < 8 && agree < 8 && neighbours < 8, "{fixed} {agree} {neighbours}");
        // A tenth of the indices is spread evenly over ten parts: chi squared with 9 degrees of freedom.
        let mut parts = [0_f64; 10];
        (0..size / 10).for_each(|at| parts[(a.at(at) / (size / 10)) as usize] += 1.0);
        let expected = size as f64 / 100.0;
        let chi: f64 = parts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!(chi < 28.0, "{chi} {parts:?}");
    }

    #[test]
    fn each_part_of_a_key_counts() {
        let all = [key(&[1, 2]), key(&[2, 1]), key(&[1, 2, 0]), key(&[1, 3])];
        assert!((0..4).all(|a| (0..a).all(|b| all[a] != all[b])));
    }
}
