//! `herd safety sweep`: finds how much safety data a mix needs, and how many harmless look-alikes for each refusal.
//!
//! `plan` writes a recipe for `herd run`: for each share and ratio it tunes the model on the mix, measures VR and FRR and, on request,
//! helpfulness. `report` compares the runs. The ratio 0 is the naive mix with refusals alone.

pub mod plan;
pub mod report;

use anyhow::ensure;

/// The weights of one mix, as in `herd sft --data FILE:WEIGHT` (how often an epoch repeats each record).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// The weight of the refusals.
    pub refusals: f64,
    /// The weight of the harmless look-alikes.
    pub borderline: f64,
}

/// The weights at which safety data are `share` of all records of an epoch, with `ratio` harmless look-alikes for each refusal; the
/// general records have weight 1. With `R` refusals and `B = ratio R` look-alikes drawn beside `G` general records,
/// `(R + B) / (G + R + B) = share`.
///
/// # Errors
/// When a share is not between 0 and 1, or when a needed file has no records.
pub fn weights(general: usize, refusals: usize, borderline: usize, share: f64, ratio: f64) -> anyhow::Result<Weights> {
    ensure!(share > 0.0 && share < 1.0, "a share is {share}; it must lie between 0 and 1");
    ensure!(ratio >= 0.0 && ratio.is_finite(), "a ratio is {ratio}; it must be 0 or more");
    ensure!(general > 0 && refusals > 0, "the general data or the refusals have no records");
    ensure!(borderline > 0 || ratio == 0.0, "the borderline data have no records, and a ratio is {ratio}");
    let drawn = share / (1.0 - share) * general as f64 / (1.0 + ratio);
    let round = |weight: f64| (weight * 1e4).round() / 1e4;
    Ok(Weights {
        refusals: round(drawn / refusals as f64),
        borderline: if ratio == 0.0 { 0.0 } else { round(drawn * ratio / borderline as f64) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_has_the_share_and_the_ratio() {
        for (share, ratio) in [(0.05, 0.5), (0.2, 2.0), (0.01, 0.0)] {
            let weights = weights(10_000, 800, 300, share, ratio).unwrap();
            let (r, b) = (800.0 * weights.refusals, 300.0 * weights.borderline);
            assert!(((r + b) / (10_000.0 + r + b) - share).abs() < 1e-3, "{share} {ratio}: {weights:?}");
            assert!((b / r - ratio).abs() < 2e-2, "{share} {ratio}: {weights:?}");
        }
        assert!(weights(10, 10, 0, 0.1, 1.0).is_err() && weights(10, 10, 0, 0.1, 0.0).is_ok());
        assert!(weights(10, 10, 10, 1.0, 1.0).is_err() && weights(10, 10, 10, 0.1, -1.0).is_err());
    }
}
