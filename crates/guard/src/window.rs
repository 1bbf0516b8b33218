//! Windows over texts that exceed a context: the guard divides them, not its caller.

use std::ops::Range;

/// Windows of at most `size` items over `length` items; each overlaps the previous one by at least `overlap` items. The last window is as
/// long as the others, so its overlap may be larger.
///
/// # Panics
/// When `size` is not larger than `overlap`.
#[must_use]
pub fn windows(length: usize, size: usize, overlap: usize) -> Vec<Range<usize>> {
    assert!(size > overlap, "windows of {size} cannot overlap by {overlap}");
    if length <= size {
        return std::iter::once(0..length).collect();
    }
    let step = size - overlap;
    let starts = (0..length - size).step_by(step).chain(std::iter::once(length - size));
    starts.map(|start| start..start + size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_ones_are_one() {
        assert_eq!(windows(0, 4, 1), vec![0..0]);
        assert_eq!(windows(4, 4, 1), vec![0..4]);
        assert_eq!(windows(5, 4, 1), [0..4, 1..5]);
        assert_eq!(windows(10, 4, 1), [0..4, 3..7, 6..10]);
    }

    proptest! {
        #[test]
        fn whatever_is_as_short_as_the_overlap_is_whole_in_one(length in 1usize..500, size in 2usize..60, part in 0usize..60) {
            let overlap = part % size;
            let all = windows(length, size, overlap);
            prop_assert!(all.iter().all(|window| window.len() <= size && window.end <= length));
            prop_assert_eq!(all.last().unwrap().end, length);
            // Every run of `overlap` items lies within one window.
            let run = overlap.max(1).min(length);
            for start in 0..=length - run {
                prop_assert!(all.iter().any(|window| window.start <= start && start + run <= window.end));
            }
        }
    }
}
