//! Minimises a convex function over shares: non-negative numbers with the sum 1, each with an upper limit.

/// The best shares that were found, with a bound on the remaining improvement.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// The shares.
    pub shares: Vec<f64>,
    /// The function's value.
    pub value: f64,
    /// Upper bound on the remaining improvement of a convex function (the gap of Frank and Wolfe 1956).
    pub gap: f64,
}

/// Minimises a convex `function` (value and gradient) over shares of at most `limits` by projected gradient steps. `None` if the limits
/// add up to less than 1.
pub fn minimise(function: impl Fn(&[f64]) -> (f64, Vec<f64>), limits: &[f64], steps: usize) -> Option<Shares> {
    if limits.iter().sum::<f64>() < 1.0 - 1e-12 {
        return None;
    }
    let mut at = project(&vec![1.0 / limits.len() as f64; limits.len()], limits);
    let (mut value, mut gradient) = function(&at);
    let mut rate = 1.0;
    for _ in 0..steps {
        if gap(&at, &gradient, limits) <= 1e-10 * value.abs().max(1e-10) {
            break;
        }
        // The step is shortened until the function falls sufficiently.
        let moved = loop {
            let target: Vec<f64> = at.iter().zip(&gradient).map(|(at, slope)| at - rate * slope).collect();
            let next = project(&target, limits);
            let (found, slope) = function(&next);
            let length: f64 = next.iter().zip(&at).map(|(next, at)| (next - at).powi(2)).sum();
            if found <= value - 1e-4 / rate * length || rate < 1e-12 {
                break (next, found, slope);
            }
            rate *= 0.5;
        };
        if moved.1 >= value {
            break;
        }
        (at, value, gradient) = moved;
        rate *= 2.0;
    }
    let gap = gap(&at, &gradient, limits);
    Some(Shares { shares: at, value, gap })
}

/// The largest possible fall of the linear approximation: the sources with the smallest slopes are filled up to their limits.
fn gap(at: &[f64], gradient: &[f64], limits: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..at.len()).collect();
    order.sort_by(|a, b| gradient[*a].total_cmp(&gradient[*b]));
    let mut left = 1.0;
    let mut best = 0.0;
    for source in order {
        let share = limits[source].min(left);
        best += share * gradient[source];
        left -= share;
    }
    at.iter().zip(gradient).map(|(at, slope)| at * slope).sum::<f64>() - best
}

/// The nearest point with shares from 0 to `limits` and the sum 1: all entries are shifted by the same number, found by bisection.
fn project(point: &[f64], limits: &[f64]) -> Vec<f64> {
    let moved = |by: f64| point.iter().zip(limits).map(move |(value, limit)| (value - by).clamp(0.0, *limit));
    let most = point.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = point.iter().zip(limits).map(|(value, limit)| value - limit).fold(f64::INFINITY, f64::min);
    let (mut low, mut high) = (least - 1.0, most);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if moved(middle).sum::<f64>() > 1.0 { low = middle } else { high = middle }
    }
    moved(0.5 * (low + high)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(r: &[f64]) -> (f64, Vec<f64>) {
        // Two tasks, each with diminishing returns from its own source; the third source helps both a little.
        let tasks = [(1.0, [-3.0, 0.5, -1.0]), (0.8, [0.4, -2.0, -1.2])];
        let (mut value, mut gradient) = (0.0, vec![0.0; 3]);
        for (scale, slopes) in tasks {
            let term = scale * f64::exp(slopes.iter().zip(r).map(|(t, r)| t * r).sum());
            value += term;
            gradient.iter_mut().zip(slopes).for_each(|(g, t)| *g += term * t);
        }
        (value, gradient)
    }

    #[test]
    fn no_grid_point_is_better() {
        for limits in [[1.0, 1.0, 1.0], [0.3, 0.9, 0.5]] {
            let found = minimise(function, &limits, 10_000).unwrap();
            assert!((found.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && found.gap < 1e-6, "{found:?}");
            assert!(found.shares.iter().zip(limits).all(|(share, limit)| (0.0..=limit).contains(share)));
            for a in 0..=100 {
                for b in 0..=100 - a {
                    let r = [f64::from(a) / 100.0, f64::from(b) / 100.0, f64::from(100 - a - b) / 100.0];
                    if r.iter().zip(limits).all(|(share, limit)| *share <= limit) {
                        assert!(function(&r).0 >= found.value - 1e-9, "{r:?} {found:?}");
                    }
                }
            }
        }
        assert_eq!(minimise(function, &[0.2, 0.3, 0.4], 10), None);
    }
}
