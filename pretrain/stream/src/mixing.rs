//! The sequence of sources: periodic, and at any moment within one row of each source's share.
//!
//! The weights become whole numbers `n_s` of rows in a period of `P` rows. Source `s` may get its row `x` from row `floor(x P / n_s)` on,
//! and must get it before row `ceil((x + 1) P / n_s)`. Each row goes to the source with the earliest deadline among those that may have
//! it. On one processor such unit tasks always meet their deadlines (Baruah et al. 1996, "Proportionate Progress"), so the number of rows
//! of a source differs from its share by less than one.

/// Maximum length of a period. Weights without a common denominator up to it are rounded.
const LONGEST: u64 = 100_000;

/// A sequence of sources.
#[derive(Debug, Clone)]
pub struct Mixing {
    /// The source of each row of a period.
    sources: Vec<u16>,
    /// For each row of a period, the number of earlier rows with the same source.
    before: Vec<u32>,
    /// Rows of each source in a period.
    counts: Vec<u64>,
    /// Whether the shares equal the weights exactly.
    exact: bool,
}

impl Mixing {
    /// Makes the sequence for weights of at least 0, of which at least one is positive; their sum is arbitrary.
    ///
    /// # Errors
    /// When the weights are invalid.
    pub fn new(weights: &[f64]) -> Result<Self, String> {
        if weights.len() > usize::from(u16::MAX) {
            return Err(format!("{} sources are more than {} can be", weights.len(), u16::MAX));
        }
        if let Some(wrong) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(format!("a weight is {wrong}; it must be 0 or more"));
        }
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return Err("all weights are 0, so there is nothing to train on".into());
        }
        let shares: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
        let whole = |period: u64| {
            shares.iter().all(|share| {
                let rows = share * period as f64;
                (rows - rows.round()).abs() < 1e-6 && (*share == 0.0 || rows.round() >= 1.0)
            })
        };
        let period = (1..=LONGEST).find(|period| whole(*period));
        let counts = match period {
            Some(period) => shares.iter().map(|share| (share * period as f64).round() as u64).collect(),
            None => rounded(&shares),
        };
        let length: u64 = counts.iter().sum();
        let mut done = vec![0_u64; counts.len()];
        let (mut sources, mut before) = (Vec::new(), Vec::new());
        for row in 0..length {
            let may =
                |source: &usize| counts[*source] > done[*source] && done[*source] * length / counts[*source] <= row;
            let deadline = |source: &usize| ((done[*source] + 1) * length).div_ceil(counts[*source]);
            let source = (0..counts.len()).filter(may).min_by_key(deadline).ok_or("no source may go")?;
            sources.push(source as u16);
            before.push(done[source] as u32);
            done[source] += 1;
        }
        Ok(Self { sources, before, counts, exact: period.is_some() })
    }

    /// The source of a row, and the number of earlier rows with the same source.
    #[must_use]
    pub fn at(&self, row: u64) -> (usize, u64) {
        let (periods, place) = (row / self.length(), (row % self.length()) as usize);
        let source = usize::from(self.sources[place]);
        (source, periods * self.counts[source] + u64::from(self.before[place]))
    }

    /// The number of rows of each source among the first `rows` rows.
    #[must_use]
    pub fn counts(&self, rows: u64) -> Vec<u64> {
        let (periods, rest) = (rows / self.length(), (rows % self.length()) as usize);
        let mut counts: Vec<u64> = self.counts.iter().map(|count| periods * count).collect();
        self.sources[..rest].iter().for_each(|source| counts[usize::from(*source)] += 1);
        counts
    }

    /// The share of each source.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        self.counts.iter().map(|count| *count as f64 / self.length() as f64).collect()
    }

    /// Whether the shares equal the weights exactly; otherwise they are rounded to a hundred-thousandth.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    fn length(&self) -> u64 {
        self.sources.len() as u64
    }
}

/// The rows of each source in a period of [`LONGEST`], by largest remainders; a source with a positive share gets at least one row.
fn rounded(shares: &[f64]) -> Vec<u64> {
    let exact = |source: usize| shares[source] * LONGEST as f64;
    let mut counts: Vec<u64> =
        (0..shares.len()).map(|source| (exact(source) as u64).max(u64::from(shares[source] > 0.0))).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|source| shares[*source] > 0.0).collect();
    order.sort_by(|a, b| exact(*b).fract().total_cmp(&exact(*a).fract()));
    let missing = LONGEST.saturating_sub(counts.iter().sum());
    order.iter().cycle().take(missing as usize).for_each(|source| counts[*source] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deviation(weights: &[f64], rows: u64) -> f64 {
        let mixing = Mixing::new(weights).unwrap();
        let shares = mixing.shares();
        let mut counts = vec![0_u64; weights.len()];
        let mut worst = 0.0_f64;
        for row in 0..rows {
            let (source, before) = mixing.at(row);
            assert_eq!(before, counts[source], "row {row}");
            counts[source] += 1;
            if row % 97 == 0 {
                assert_eq!(mixing.counts(row + 1), counts);
            }
            for (count, share) in counts.iter().zip(&shares) {
                worst = worst.max((*count as f64 - share * (row + 1) as f64).abs());
            }
        }
        worst
    }

    #[test]
    fn the_papers_mix_is_exact_to_one_row() {
        let mixing = Mixing::new(&[0.5, 0.25, 0.17, 0.08]).unwrap();
        assert!(mixing.is_exact());
        assert_eq!(mixing.shares(), [0.5, 0.25, 0.17, 0.08]);
        assert_eq!(mixing.counts(100), [50, 25, 17, 8]);
        assert!(deviation(&[0.5, 0.25, 0.17, 0.08], 1000) < 1.0);
    }

    #[test]
    fn weights_without_a_common_denominator_are_rounded() {
        let weights = [std::f64::consts::PI, std::f64::consts::E, 1e-9];
        let mixing = Mixing::new(&weights).unwrap();
        assert!(!mixing.is_exact());
        let sum: f64 = weights.iter().sum();
        assert!(mixing.shares().iter().zip(weights).all(|(share, weight)| (share - weight / sum).abs() <= 1.01e-5));
        assert!(deviation(&weights, 20_000) < 1.0);
    }

    #[test]
    fn a_source_of_weight_0_has_no_row() {
        let mixing = Mixing::new(&[1.0, 0.0, 2.0]).unwrap();
        assert_eq!(mixing.counts(300), [100, 0, 200]);
        assert!(Mixing::new(&[0.0, 0.0]).unwrap_err().contains("all weights are 0"));
        assert!(Mixing::new(&[1.0, -0.5]).unwrap_err().contains("a weight is -0.5"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_source_is_within_one_row_of_its_share(weights in prop::collection::vec(1_u32..40, 1..7)) {
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            prop_assert!(deviation(&weights, 600) < 1.0);
        }
    }
}
