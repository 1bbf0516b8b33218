//! Minimises smooth convex functions by L-BFGS (Nocedal 1980) with a backtracking line search. It uses no random numbers: the
//! same function gives the same bits.
//!
//! ```
//! // (x - 3)^2 has its minimum at 3.
//! let found = safety_text::lbfgs::minimise(vec![0.0], |x, gradient| {
//!     gradient[0] = 2.0 * (x[0] - 3.0);
//!     (x[0] - 3.0).powi(2)
//! });
//! assert!((found[0] - 3.0).abs() < 1e-3);
//! ```

/// Maximal number of steps.
const STEPS: usize = 200;
/// Number of stored difference pairs.
const MEMORY: usize = 10;

/// Minimises a smooth convex function from the point `at`, in at most 200 steps. `objective` returns the value at a point and
/// writes the gradient, which has the length of the point. Returns the point that was reached.
#[must_use]
pub fn minimise(mut at: Vec<f64>, mut objective: impl FnMut(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut gradient = vec![0.0; at.len()];
    let mut value = objective(&at, &mut gradient);
    let mut memory: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)> = std::collections::VecDeque::new();
    for _ in 0..STEPS {
        if dot(&gradient, &gradient).sqrt() < 1e-4 * value.abs().max(1.0) {
            break;
        }
        // The two-loop recursion of Nocedal.
        let mut direction = gradient.clone();
        let mut factors = Vec::with_capacity(memory.len());
        for (step, change, product) in memory.iter().rev() {
            let factor = dot(step, &direction) / product;
            direction.iter_mut().zip(change).for_each(|(d, y)| *d -= factor * y);
            factors.push(factor);
        }
        let scale = memory.back().map_or_else(
            || 1.0 / dot(&gradient, &gradient).sqrt().max(1.0),
            |(_, change, product)| product / dot(change, change),
        );
        direction.iter_mut().for_each(|d| *d *= scale);
        for ((step, change, product), factor) in memory.iter().zip(factors.iter().rev()) {
            let back = dot(change, &direction) / product;
            direction.iter_mut().zip(step).for_each(|(d, s)| *d += (factor - back) * s);
        }
        let slope = -dot(&gradient, &direction);
        let (mut length, mut next, mut next_gradient) = (1.0, at.clone(), gradient.clone());
        let next_value = loop {
            next.iter_mut().zip(at.iter().zip(&direction)).for_each(|(n, (a, d))| *n = a - length * d);
            let reached = objective(&next, &mut next_gradient);
            // Armijo condition.
            if reached <= value + 1e-4 * length * slope || length < 1e-10 {
                break reached;
            }
            length /= 2.0;
        };
        let step: Vec<f64> = next.iter().zip(&at).map(|(n, a)| n - a).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
        let product = dot(&step, &change);
        let is_done = next_value >= value;
        (at, gradient, value) = (next, next_gradient, next_value);
        if is_done {
            break;
        }
        if product > 1e-12 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((step, change, product));
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_minimum_that_is_known() {
        // (x - 3)^2 + 10 (y + 1)^2 + (x - 3)(y + 1) is 0 at (3, -1) and positive elsewhere.
        let found = minimise(vec![0.0, 0.0], |p, g| {
            let (x, y) = (p[0] - 3.0, p[1] + 1.0);
            g[0] = 2.0 * x + y;
            g[1] = 20.0 * y + x;
            x * x + 10.0 * y * y + x * y
        });
        assert!((found[0] - 3.0).abs() < 1e-3 && (found[1] + 1.0).abs() < 1e-3, "{found:?}");
    }
}
