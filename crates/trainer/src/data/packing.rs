//! Best-fit-decreasing bin packing of examples into rows with a token budget.

use std::collections::BTreeMap;

/// Packs items of the given lengths into bins of `capacity`: the longest item first, each into the fullest bin that still has
/// room. Ties go to the earlier item and the earlier bin, so the result depends only on the lengths. An item longer than the
/// capacity gets its own bin. Returns the indices of the items of each bin.
#[must_use]
pub fn best_fit_decreasing(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&item| (std::cmp::Reverse(lengths[item]), item));
    let mut bins: Vec<Vec<usize>> = Vec::new();
    // (remaining room, bin index) of every bin that has room.
    let mut room: BTreeMap<(usize, usize), ()> = BTreeMap::new();
    for item in order {
        let length = lengths[item];
        let best = room.range((length, 0)..).next().map(|(&key, ())| key);
        let (left, bin) = match best {
            Some((left, bin)) if length <= left => {
                room.remove(&(left, bin));
                (left, bin)
            }
            _ => {
                bins.push(Vec::new());
                (capacity.max(length), bins.len() - 1)
            }
        };
        bins[bin].push(item);
        if left > length {
            room.insert((left - length, bin), ());
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fills_the_fullest_bin_that_fits() {
        // 6 opens bin 0 and 5 opens bin 1. 4 fits bin 0 exactly; 3 then fits only bin 1; 2 fits bin 1 exactly.
        assert_eq!(best_fit_decreasing(&[2, 3, 4, 5, 6], 10), [vec![4, 2], vec![3, 1, 0]]);
        assert_eq!(best_fit_decreasing(&[12, 1], 10), [vec![0], vec![1]]);
        assert!(best_fit_decreasing(&[], 10).is_empty());
    }

    proptest! {
        #[test]
        fn every_item_once_and_no_bin_overfull(lengths in prop::collection::vec(1_usize..300, 0..200)) {
            let bins = best_fit_decreasing(&lengths, 300);
            let mut items: Vec<usize> = bins.iter().flatten().copied().collect();
            items.sort_unstable();
            prop_assert_eq!(items, (0..lengths.len()).collect::<Vec<_>>());
            let sums: Vec<usize> = bins.iter().map(|bin| bin.iter().map(|&i| lengths[i]).sum()).collect();
            prop_assert!(sums.iter().all(|&sum| sum <= 300));
            // Best fit never leaves two bins whose contents would fit into one.
            let mut sorted = sums;
            sorted.sort_unstable();
            prop_assert!(sorted.len() < 2 || sorted[0] + sorted[1] > 300);
        }
    }
}
