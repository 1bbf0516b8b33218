//! A seed for each sequence.

/// The seed of sample `sample` of prompt number `prompt`, derived from the run's seed (SplitMix64's mixer, Steele et
/// al. 2014). It is below 2^53, since seeds are written to JSON, where some readers do not support larger integers.
#[must_use]
pub fn sequence_seed(seed: u64, prompt: usize, sample: usize) -> u64 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ mix(((prompt as u64) << 20) + sample as u64 + 1)) >> 11
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::sequence_seed;

    #[test]
    fn seeds_differ_and_fit_into_json() {
        let all: Vec<u64> = (0..3)
            .flat_map(|run| {
                (0..40).flat_map(move |prompt| (0..40).map(move |sample| sequence_seed(run, prompt, sample)))
            })
            .collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(all.iter().all(|&seed| seed < 1 << 53));
    }
}
