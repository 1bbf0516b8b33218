//! Loops over the logits of a whole vocabulary that compilers can vectorize. They use no fused multiply-adds and a fixed order
//! of sums, so the results are bit-equal on every CPU.

/// Number of values that are processed together.
const LANES: usize = 16;
/// Number of tokens whose weights are summed together. Drawing a token examines only one such block.
const BLOCK: usize = 512;

/// The maximum; negative infinity if all logits are negative infinity.
pub(crate) fn highest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |high, &logit| if logit > high { logit } else { high })
}

/// Whether all values are finite.
pub(crate) fn all_finite(logits: &[f32]) -> bool {
    // Zero times a finite value is zero. Zero times an infinity or NaN is NaN, which stays in the sum.
    let mut lanes = [0.0_f32; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane += logit * 0.0;
        }
    }
    lanes.iter().all(|lane| *lane == 0.0) && rest.iter().all(|logit| logit.is_finite())
}

/// `e^x` for `x <= 0`, to 2 units in the last place (the polynomial of Cephes' expf); 0 below -87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding this constant moves the integer part of a number into the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let kept = if x > -87.0 { x } else { -87.0 };
    let shifted = kept * std::f32::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (kept - k * 0.693_359_4) + k * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x > -87.0 { p * power } else { 0.0 }
}

/// `exp((logit - highest) / temperature)` of every token, as sums over blocks.
pub(crate) struct Weights<'a> {
    logits: &'a [f32],
    highest: f32,
    factor: f32,
    blocks: Vec<f64>,
    /// Sum of all weights.
    pub total: f64,
}

impl<'a> Weights<'a> {
    pub fn new(logits: &'a [f32], highest: f32, temperature: f64) -> Self {
        // Limited to a finite value: 0 (the most likely token's difference) times infinity would be NaN.
        let factor = (1.0 / temperature).min(1e30) as f32;
        let blocks: Vec<f64> = logits.chunks(BLOCK).map(|block| block_sum(block, highest, factor)).collect();
        let total = blocks.iter().sum();
        Self { logits, highest, factor, blocks, total }
    }

    /// The token at which the running sum of the weights exceeds `point · total`.
    pub fn pick(&self, point: f64) -> usize {
        let point = point * self.total;
        let mut before = 0.0;
        let mut block = 0;
        for (index, &sum) in self.blocks.iter().enumerate() {
            if sum > 0.0 {
                block = index;
                if before + sum > point {
                    break;
                }
            }
            before += sum;
        }
        let start = block * BLOCK;
        let end = (start + BLOCK).min(self.logits.len());
        let weight = |&logit: &f32| f64::from(exp((logit - self.highest) * self.factor));
        let mut last = start;
        for (id, weight) in (start..end).zip(self.logits[start..end].iter().map(weight)) {
            if weight > 0.0 {
                before += weight;
                last = id;
                if before > point {
                    break;
                }
            }
        }
        last
    }
}

fn block_sum(block: &[f32], highest: f32, factor: f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let chunks = block.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane += exp((logit - highest) * factor);
        }
    }
    let rest = rest.iter().map(|&logit| f64::from(exp((logit - highest) * factor)));
    lanes.iter().map(|&lane| f64::from(lane)).chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_a_few_units_in_the_last_place() {
        let mut x = 0.0_f32;
        while x > -86.9 {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 3e-7 * exact, "{x}");
            x -= 0.0137;
        }
        assert_eq!((exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn sums_and_picks_equal_plain_ones() {
        let logits: Vec<f32> = (0..1_333).map(|i| ((i * 7_919) % 1_000) as f32 / 100.0).collect();
        let high = highest(&logits);
        assert_eq!(high, 9.99);
        for temperature in [0.3, 1.0, 2.0] {
            let plain: Vec<f64> = logits.iter().map(|&l| (f64::from(l - high) / temperature).exp()).collect();
            let total: f64 = plain.iter().sum();
            let weights = Weights::new(&logits, high, temperature);
            assert!((weights.total - total).abs() < 1e-6 * total);
            for step in 0..500 {
                let point = f64::from(step) / 500.0 + 0.0007;
                let mut sum = 0.0;
                let plainly = plain.iter().position(|weight| {
                    sum += weight;
                    sum > point * total
                });
                assert_eq!(weights.pick(point), plainly.unwrap());
            }
            assert!(weights.pick(1.0) < logits.len());
        }
    }

    #[test]
    fn what_is_not_a_number_is_noticed_wherever_it_stands() {
        for length in [5, 16, 40] {
            for place in 0..length {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut logits = vec![1.5; length];
                    assert!(all_finite(&logits));
                    logits[place] = bad;
                    assert!(!all_finite(&logits));
                }
            }
        }
    }
}
