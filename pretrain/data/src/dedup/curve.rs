//! The S-curve of locality-sensitive hashing: with `b` bands of `r` rows, two sets of Jaccard similarity `s` share a band with
//! probability `1 - (1 - s^r)^b` (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).

/// Probability that two documents of similarity `s` become candidates.
#[must_use]
pub fn probability(s: f64, bands: usize, rows: usize) -> f64 {
    1.0 - (1.0 - s.powi(rows as i32)).powi(bands as i32)
}

/// The curve as a line of text: `J 0.5: 5%, 0.6: 21%, ...`.
#[must_use]
pub fn line(bands: usize, rows: usize) -> String {
    let points = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
    let part = |s: &f64| format!("J {s}: {:.1}%", 100.0 * probability(*s, bands, rows));
    format!("{bands} bands of {rows}: found at {}", points.iter().map(part).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datatroves_example() {
        // From its documentation: 1 - (1 - 0.8^8)^14 = 0.924.
        assert!((probability(0.8, 14, 8) - 0.924).abs() < 5e-4);
        assert!(line(14, 8).contains("J 0.75: 77.2%"), "{}", line(14, 8));
    }
}
