//! Semantic deduplication (Abbas et al. 2023, SemDeDup; the Llama 3 paper, section 4.2.3): whole conversations as unit
//! vectors, clusters of them, and in each cluster, best first, only what is not too near to anything that was kept.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Rounds of k-means; assignments that no longer change end it earlier.
const ROUNDS: usize = 20;

/// A unit vector.
pub type Embedding = Vec<f32>;

/// Scales a vector to length 1; a vector of zeros stays.
#[must_use]
pub fn unit(mut vector: Embedding) -> Embedding {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    vector
}

/// The cosine of two unit vectors.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// What was too near to something kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Duplicate {
    /// Its place.
    pub item: usize,
    /// The kept one that it is nearest to.
    pub of: usize,
    /// Their cosine.
    pub cosine: f32,
}

/// Finds the duplicates: in each of `clusters` clusters the items are taken in the order of `rank` (higher first; ties
/// in the order given), and one is kept if its cosine to everything kept before in its cluster is below `threshold`.
#[must_use]
pub fn duplicates(
    embeddings: &[Embedding],
    rank: &[f64],
    clusters: usize,
    threshold: f32,
    seed: u64,
) -> Vec<Duplicate> {
    let assignment = spherical_k_means(embeddings, clusters, seed);
    let mut found: Vec<Duplicate> = (0..clusters.max(1))
        .into_par_iter()
        .flat_map_iter(|cluster| {
            let mut inside: Vec<usize> = (0..embeddings.len()).filter(|&i| assignment[i] == cluster).collect();
            inside.sort_by(|&a, &b| rank[b].total_cmp(&rank[a]));
            let (mut kept, mut gone): (Vec<usize>, Vec<Duplicate>) = (Vec::new(), Vec::new());
            for item in inside {
                let nearest = kept
                    .iter()
                    .map(|&of| (of, cosine(&embeddings[item], &embeddings[of])))
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

/// The cluster of each vector, by k-means on the sphere (Dhillon and Modha 2001), from centres drawn by the seed.
fn spherical_k_means(embeddings: &[Embedding], clusters: usize, seed: u64) -> Vec<usize> {
    let clusters = clusters.clamp(1, embeddings.len().max(1));
    if clusters == 1 {
        return vec![0; embeddings.len()];
    }
    let mut order: Vec<usize> = (0..embeddings.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut centres: Vec<Embedding> = order[..clusters].iter().map(|&i| embeddings[i].clone()).collect();
    let mut assignment = vec![usize::MAX; embeddings.len()];
    for _ in 0..ROUNDS {
        let nearest: Vec<usize> = embeddings
            .par_iter()
            .map(|embedding| {
                let cosines = centres.iter().map(|centre| cosine(embedding, centre)).enumerate();
                cosines.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map_or(0, |(cluster, _)| cluster)
            })
            .collect();
        if nearest == assignment {
            break;
        }
        assignment = nearest;
        let mut sums = vec![vec![0.0_f32; embeddings[0].len()]; clusters];
        for (embedding, &cluster) in embeddings.iter().zip(&assignment) {
            sums[cluster].iter_mut().zip(embedding).for_each(|(sum, x)| *sum += x);
        }
        for (centre, sum) in centres.iter_mut().zip(sums) {
            // An empty cluster keeps its centre.
            if sum.iter().any(|x| *x != 0.0) {
                *centre = unit(sum);
            }
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector at an angle, in degrees.
    fn at(degrees: f32) -> Embedding {
        vec![degrees.to_radians().cos(), degrees.to_radians().sin()]
    }

    #[test]
    fn the_better_one_of_two_near_ones_stays() {
        // 0°, 5° and 10°: neighbours have a cosine of 0.996, the ends of 0.985.
        let embeddings = [at(0.0), at(5.0), at(10.0), at(90.0)];
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
        let mut embeddings = Vec::new();
        for centre in [0.0, 90.0, 180.0] {
            embeddings.extend((0..20).map(|i| at(centre + i as f32 * 0.1)));
        }
        // Whatever the seed, near ones end in one cluster unless two centres start in one group, which k-means may
        // keep.
        let assignment = spherical_k_means(&embeddings, 3, 5);
        let far: Vec<usize> = [0, 20, 40].map(|i| assignment[i]).to_vec();
        assert!(far[0] != far[1] || far[1] != far[2], "{far:?}");
        // Within a cluster of copies one stays.
        let copies: Vec<Embedding> = (0..30).map(|i| at(120.0 * (i % 3) as f32)).collect();
        assert_eq!(duplicates(&copies, &[1.0; 30], 1, 0.95, 1).len(), 27);
        assert_eq!(duplicates(&copies, &[1.0; 30], 3, 0.95, 1).len(), 27);
        assert!(duplicates(&[], &[], 3, 0.9, 1).is_empty());
        assert_eq!(unit(vec![3.0, 4.0]), [0.6, 0.8]);
    }
}
