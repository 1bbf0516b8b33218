//! Semantic deduplication (Abbas et al. 2023, SemDeDup; the Llama 3 paper, section 4.2.3). Whole conversations become
//! unit vectors and are clustered. Within each cluster, best first, a conversation is kept if it is not too similar
//! to any kept one.

use ndarray::{Array1, Array2, ArrayViewMut1, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Maximum number of rounds of k-means; it ends earlier when assignments no longer change.
const ROUNDS: usize = 20;

/// Embeddings of texts, one per row: `[texts, dimensions]`. Rows are unit vectors, so the product of two is their
/// cosine.
pub type Embeddings = Array2<f32>;

/// Scales every row to length 1; a row of zeros stays zero.
#[must_use]
pub fn unit_rows(mut rows: Embeddings) -> Embeddings {
    rows.axis_iter_mut(Axis(0)).for_each(unit);
    rows
}

fn unit(mut row: ArrayViewMut1<f32>) {
    let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        row.mapv_inplace(|x| (f64::from(x) / length) as f32);
    }
}

/// An item that is too similar to a kept one.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// The index of the item.
    pub item: usize,
    /// The index of the most similar kept item.
    pub of: usize,
    /// Their cosine.
    pub cosine: f32,
}

/// Finds the duplicates. In each of `clusters` clusters, the items are taken in the order of `rank` (higher first;
/// ties in the given order). An item is kept if its cosine to every item kept before in its cluster is below
/// `threshold`.
#[must_use]
pub fn duplicates(embeddings: &Embeddings, rank: &[f64], clusters: usize, threshold: f32, seed: u64) -> Vec<Duplicate> {
    let assignment = spherical_k_means(embeddings, clusters, seed);
    let mut found: Vec<Duplicate> = (0..clusters.max(1))
        .into_par_iter()
        .flat_map_iter(|cluster| {
            let mut inside: Vec<usize> = (0..embeddings.nrows()).filter(|&i| assignment[i] == cluster).collect();
            inside.sort_by(|&a, &b| rank[b].total_cmp(&rank[a]));
            let (mut kept, mut gone): (Vec<usize>, Vec<Duplicate>) = (Vec::new(), Vec::new());
            for item in inside {
                let nearest = kept
                    .iter()
                    .map(|&of| (of, embeddings.row(item).dot(&embeddings.row(of))))
                    .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
                match nearest.filter(|(_, cosine)| *cosine >= threshold) {
                    Some((of, cosine)) => gone.push(Duplicate { item, of, cosine }),
                    None => kept.push(item),
                }
            }
            gone
        })
        .collect();
    found.sort_by_key(|duplicate| duplicate.item);
    found
}

/// The cluster of each row, by k-means on the sphere (Dhillon and Modha 2001), with initial centres drawn by the
/// seed.
fn spherical_k_means(embeddings: &Embeddings, clusters: usize, seed: u64) -> Vec<usize> {
    let texts = embeddings.nrows();
    let clusters = clusters.clamp(1, texts.max(1));
    if clusters == 1 {
        return vec![0; texts];
    }
    let mut order: Vec<usize> = (0..texts).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut centres = embeddings.select(Axis(0), &order[..clusters]);
    let mut assignment = vec![usize::MAX; texts];
    for _ in 0..ROUNDS {
        let nearest: Vec<usize> =
            (0..texts).into_par_iter().map(|text| largest(&centres.dot(&embeddings.row(text)))).collect();
        if nearest == assignment {
            break;
        }
        assignment = nearest;
        let mut sums = Array2::zeros(centres.raw_dim());
        for (embedding, &cluster) in embeddings.rows().into_iter().zip(&assignment) {
            let mut sum = sums.row_mut(cluster);
            sum += &embedding;
        }
        for (mut centre, mut sum) in centres.rows_mut().into_iter().zip(sums.rows_mut()) {
            // An empty cluster keeps its centre.
            if sum.iter().any(|x| *x != 0.0) {
                unit(sum.view_mut());
                centre.assign(&sum);
            }
        }
    }
    assignment
}

/// The index of the largest value; the first of equal values.
fn largest(values: &Array1<f32>) -> usize {
    let pairs = values.iter().enumerate();
    pairs.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors at angles, in degrees.
    fn at(degrees: &[f32]) -> Embeddings {
        Array2::from_shape_fn((degrees.len(), 2), |(row, column)| {
            let angle = degrees[row].to_radians();
            if column == 0 { angle.cos() } else { angle.sin() }
        })
    }

    #[test]
    fn the_better_one_of_two_near_ones_stays() {
        // 0°, 5° and 10°: neighbours have a cosine of 0.996, the ends of 0.985.
        let embeddings = at(&[0.0, 5.0, 10.0, 90.0]);
        let gone = |rank: &[f64], threshold| {
            let all = duplicates(&embeddings, rank, 1, threshold, 0);
            all.iter().map(|duplicate| (duplicate.item, duplicate.of)).collect::<Vec<_>>()
        };
        assert_eq!(gone(&[1.0, 1.0, 1.0, 1.0], 0.99), [(1, 0)]);
        assert_eq!(gone(&[1.0, 2.0, 1.0, 1.0], 0.99), [(0, 1), (2, 1)]);
        assert_eq!(gone(&[1.0, 1.0, 1.0, 1.0], 0.98), [(1, 0), (2, 0)]);
        assert!(gone(&[1.0, 1.0, 1.0, 1.0], 0.999).is_empty());
        let found = &duplicates(&embeddings, &[1.0; 4], 1, 0.99, 0)[0];
        assert!((found.cosine - 5.0_f32.to_radians().cos()).abs() < 1e-6);
    }

    #[test]
    fn clusters_that_are_far_apart_are_found() {
        let angles: Vec<f32> = (0..60).map(|i| 90.0 * (i / 20) as f32 + (i % 20) as f32 * 0.1).collect();
        let embeddings = at(&angles);
        // For every seed, similar rows end in one cluster, unless two centres start in one group, which k-means may
        // keep.
        let assignment = spherical_k_means(&embeddings, 3, 5);
        let far: Vec<usize> = [0, 20, 40].map(|i| assignment[i]).to_vec();
        assert!(far[0] != far[1] || far[1] != far[2], "{far:?}");
        // Within a cluster of copies, one stays.
        let copies = at(&(0..30).map(|i| 120.0 * (i % 3) as f32).collect::<Vec<f32>>());
        assert_eq!(duplicates(&copies, &[1.0; 30], 1, 0.95, 1).len(), 27);
        assert_eq!(duplicates(&copies, &[1.0; 30], 3, 0.95, 1).len(), 27);
        assert!(duplicates(&at(&[]), &[], 3, 0.9, 1).is_empty());
        assert_eq!(unit_rows(ndarray::array![[3.0, 4.0], [0.0, 0.0]]), ndarray::array![[0.6, 0.8], [0.0, 0.0]]);
    }
}
