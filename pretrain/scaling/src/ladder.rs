//! A ladder: small Llamas of several sizes at several compute budgets.

/// The shape of a model: Llama's block with heads of width 16, a feed-forward width of 8/3 of the model's, and tied embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Width, a multiple of 16.
    pub width: u64,
    /// Number of layers.
    pub layers: u64,
    /// Number of embeddings.
    pub vocabulary: u64,
}

/// Maximum width of a model, in heads of 16.
const MOST_HEADS: u64 = 64;
const HEAD: u64 = 16;

impl Shape {
    /// The shape for a number of heads: one layer for every 40 of its width.
    #[must_use]
    pub fn of(heads: u64, vocabulary: u64) -> Self {
        let width = heads * HEAD;
        Self { width, layers: ((width + 20) / 40).max(1), vocabulary }
    }

    /// The numbers of query heads and of key and value heads.
    #[must_use]
    pub fn heads(&self) -> (u64, u64) {
        let heads = self.width / HEAD;
        (heads, if heads.is_multiple_of(2) { heads / 2 } else { heads })
    }

    /// The feed-forward width, a multiple of 16.
    #[must_use]
    pub fn feed_forward(&self) -> u64 {
        (self.width * 8 / 3).next_multiple_of(16)
    }

    /// Number of parameters; the tied embedding counts once.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let Self { width, layers, vocabulary } = *self;
        let (_, key_value) = self.heads();
        let attention = 2 * width * width + 2 * width * key_value * HEAD;
        let layer = attention + 3 * width * self.feed_forward() + 2 * width;
        vocabulary * width + layers * layer + width
    }

    /// The name of the shape: `64x2` for width and layers.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}x{}", self.width, self.layers)
    }
}

/// A model of a ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// The compute budget, in FLOP: 6 x parameters x tokens.
    pub budget: f64,
    /// The model.
    pub shape: Shape,
    /// Training tokens.
    pub tokens: u64,
}

/// The specification of a ladder.
#[derive(Debug, Clone)]
pub struct Ladder {
    /// Compute budgets, in FLOP.
    pub budgets: Vec<f64>,
    /// Number of models for each budget.
    pub sizes: usize,
    /// Tokens per parameter of the middle model.
    pub middle: f64,
    /// Ratio of the largest to the smallest model's parameters within a budget.
    pub spread: f64,
    /// Number of embeddings.
    pub vocabulary: u64,
    /// Tokens of an optimizer step; a run has a whole number of steps.
    pub batch_tokens: u64,
}

/// Minimum number of steps of a run.
const FEWEST_STEPS: u64 = 20;

impl Ladder {
    /// The models of all budgets, in ascending order.
    ///
    /// # Errors
    /// When a budget has too few models; the error names it.
    pub fn rungs(&self) -> Result<Vec<Rung>, String> {
        let family: Vec<Shape> = (1..=MOST_HEADS).map(|heads| Shape::of(heads, self.vocabulary)).collect();
        let mut rungs = Vec::new();
        for &budget in &self.budgets {
            let middle = (budget / (6.0 * self.middle)).sqrt();
            let mut chosen: Vec<Shape> = Vec::new();
            for at in 0..self.sizes {
                let place = if self.sizes > 1 { at as f64 / (self.sizes - 1) as f64 - 0.5 } else { 0.0 };
                let wanted = middle * self.spread.powf(place);
                let distance = |shape: &Shape| (shape.parameters() as f64 / wanted).ln().abs();
                let free = family.iter().filter(|shape| !chosen.contains(shape));
                chosen.extend(free.min_by(|a, b| distance(a).total_cmp(&distance(b))));
            }
            chosen.sort_by_key(Shape::parameters);
            for shape in chosen {
                let steps = (budget / (6.0 * shape.parameters() as f64 * self.batch_tokens as f64)).round() as u64;
                if steps < FEWEST_STEPS {
                    return Err(format!(
                        "budget {budget:.3e}: a model of {} parameters would have {steps} steps, and {FEWEST_STEPS} are the \
                         fewest: raise the budget, or lower --batch-tokens, --spread or the vocabulary",
                        shape.parameters()
                    ));
                }
                rungs.push(Rung { budget, shape, tokens: steps * self.batch_tokens });
            }
        }
        Ok(rungs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_by_hand() {
        // Width 32: 1 layer, 2 heads, 1 of keys and values, feed-forward 96.
        let shape = Shape::of(2, 320);
        assert_eq!((shape.layers, shape.heads(), shape.feed_forward()), (1, (2, 1), 96));
        let attention = 32 * 32 + 2 * 32 * 16 + 32 * 32;
        assert_eq!(shape.parameters(), 320 * 32 + attention + 3 * 32 * 96 + 2 * 32 + 32);
        assert_eq!(Shape::of(3, 320).heads(), (3, 3));
    }

    #[test]
    fn a_ladder_spans_its_budgets() {
        let ladder = Ladder {
            budgets: vec![1e12, 1e13],
            sizes: 5,
            middle: 20.0,
            spread: 9.0,
            vocabulary: 1280,
            batch_tokens: 2048,
        };
        let rungs = ladder.rungs().unwrap();
        assert_eq!(rungs.len(), 10);
        for (budget, rungs) in ladder.budgets.iter().zip(rungs.chunks(5)) {
            let sizes: Vec<f64> = rungs.iter().map(|rung| rung.shape.parameters() as f64).collect();
            assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
            let spread = sizes[4] / sizes[0];
            assert!((5.0..14.0).contains(&spread), "{spread}: {sizes:?}");
            for rung in rungs {
                let flops = 6.0 * rung.shape.parameters() as f64 * rung.tokens as f64;
                assert!((flops / budget - 1.0).abs() < 0.03, "{rung:?}");
                assert_eq!(rung.tokens % 2048, 0);
            }
            // The middle model has about 20 tokens per parameter.
            let ratio = rungs[2].tokens as f64 / sizes[2];
            assert!((12.0..32.0).contains(&ratio), "{ratio}");
        }
        let error = Ladder { budgets: vec![1e9], ..ladder }.rungs().unwrap_err();
        assert!(error.contains("budget 1.000e9: a model of") && error.contains("raise the budget"), "{error}");
    }
}
