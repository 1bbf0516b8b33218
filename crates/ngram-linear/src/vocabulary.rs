//! The buckets that a model uses, with their inverse document frequencies.

use std::collections::HashMap;

/// Minimum number of texts that contain a bucket for it to be used; an n-gram of a single text has no weight.
const MIN_TEXTS: u32 = 2;

/// The features of a text: indices with values, scaled to length 1 within each family.
pub type Sample = Vec<(u32, f32)>;

/// The used buckets in ascending order, each with an index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vocabulary {
    /// The index of each used bucket.
    pub places: HashMap<u32, u32>,
    /// Inverse document frequencies by index.
    pub idf: Vec<f32>,
}

impl Vocabulary {
    /// Selects the buckets that occur in at least two of the texts. `counts` has the bucket families of each text ([`crate::features`]);
    /// no bucket is in two families.
    #[must_use]
    pub fn of<F: AsRef<[Vec<(u32, f32)>]>>(counts: &[F]) -> Self {
        let mut texts: HashMap<u32, u32> = HashMap::new();
        let all = counts.iter().flat_map(|families| families.as_ref()).flatten();
        all.for_each(|&(bucket, _)| *texts.entry(bucket).or_default() += 1);
        let mut used: Vec<(u32, u32)> = texts.into_iter().filter(|&(_, count)| count >= MIN_TEXTS).collect();
        used.sort_unstable();
        // Smoothed: as if one more text contained every n-gram.
        let idf = used.iter().map(|&(_, n)| ((1.0 + counts.len() as f32) / (1.0 + n as f32)).ln() + 1.0).collect();
        Self { places: used.iter().zip(0..).map(|(&(bucket, _), place)| (bucket, place)).collect(), idf }
    }

    /// Number of used buckets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idf.len()
    }

    /// Whether no bucket is used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idf.is_empty()
    }

    /// The used buckets in the order of their indices.
    #[must_use]
    pub fn buckets(&self) -> Vec<u32> {
        let mut used: Vec<(u32, u32)> = self.places.iter().map(|(&bucket, &place)| (place, bucket)).collect();
        used.sort_unstable();
        used.into_iter().map(|(_, bucket)| bucket).collect()
    }

    /// The features of a text: counts times inverse document frequencies, each family scaled to length 1.
    #[must_use]
    pub fn sample<F: AsRef<[Vec<(u32, f32)>]>>(&self, families: &F) -> Sample {
        let mut all = Vec::new();
        for family in families.as_ref() {
            let start = all.len();
            for (bucket, count) in family {
                if let Some(&place) = self.places.get(bucket) {
                    all.push((place, count * self.idf[place as usize]));
                }
            }
            let length = all[start..].iter().map(|(_, x)| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            all[start..].iter_mut().for_each(|(_, x)| *x /= length);
        }
        all
    }
}

/// The dot product of weights, by index, and a text's features.
#[must_use]
pub fn dot(weights: &[f32], sample: &[(u32, f32)]) -> f64 {
    sample.iter().map(|&(place, x)| f64::from(weights[place as usize]) * f64::from(x)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_one_text_are_not_used_and_families_have_length_1() {
        let counts = [[vec![(1, 1.0), (2, 2.0)], vec![(9, 1.0)]], [vec![(1, 1.0)], vec![(9, 3.0)]]];
        let vocabulary = Vocabulary::of(&counts);
        assert_eq!((vocabulary.buckets(), vocabulary.len()), (vec![1, 9], 2));
        // Both buckets occur in both texts: ln(3 / 3) + 1.
        assert_eq!(vocabulary.idf, [1.0, 1.0]);
        assert_eq!(vocabulary.sample(&counts[0]), [(0, 1.0), (1, 1.0)]);
        assert_eq!(dot(&[0.5, -2.0], &vocabulary.sample(&counts[1])), -1.5);
    }
}
