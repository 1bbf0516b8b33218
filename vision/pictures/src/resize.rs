//! Pillow's antialiased bilinear resize, bit for bit: two passes with 22-bit fixed-point weights and 8-bit pixels between them (Pillow's
//! `Resample.c`). It is reimplemented because Hugging Face's image processors are defined by Pillow's results, and other libraries round
//! differently.

use std::borrow::Cow;

/// Number of fraction bits of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// The input pixels of one output pixel: the first index, and the weights from there on.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// The window over `input` pixels for each of `output` pixels.
fn windows(input: usize, output: usize) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    // The filter is as wide as the step, so that a reduced picture averages all pixels.
    let support = scale.max(1.0);
    let inverse = 1.0 / support;
    (0..output)
        .map(|at| {
            let center = (at as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let raw: Vec<f64> =
                (first..end).map(|pixel| (1.0 - ((pixel as f64 - center + 0.5) * inverse).abs()).max(0.0)).collect();
            let sum: f64 = raw.iter().sum();
            let fixed = |weight: &f64| (weight / sum * f64::from(1 << PRECISION) + 0.5) as i32;
            Window { first, weights: raw.iter().map(fixed).collect() }
        })
        .collect()
}

/// Resizes a picture `[height, width, 3]`.
#[must_use]
pub fn resize(rgb: &[u8], (width, height): (usize, usize), (new_width, new_height): (usize, usize)) -> Vec<u8> {
    let round = |sum: i32| (sum >> PRECISION).clamp(0, 255) as u8;
    let half = 1 << (PRECISION - 1);
    let mut wide = Cow::Borrowed(rgb);
    if new_width != width {
        let windows = windows(width, new_width);
        let mut rows = Vec::with_capacity(height * new_width * 3);
        for row in rgb.chunks_exact(3 * width) {
            for Window { first, weights } in &windows {
                let mut sums = [half; 3];
                for (pixel, weight) in row[3 * first..].as_chunks::<3>().0.iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                rows.extend(sums.map(round));
            }
        }
        wide = Cow::Owned(rows);
    }
    if new_height == height {
        return wide.into_owned();
    }
    let stride = 3 * new_width;
    let mut result = Vec::with_capacity(new_height * stride);
    let mut sums = vec![half; stride];
    for Window { first, weights } in windows(height, new_height) {
        sums.fill(half);
        for (row, weight) in wide[first * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        result.extend(sums.iter().map(|&sum| round(sum)));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        let grey = |values: &[u8]| values.iter().flat_map(|&v| [v; 3]).collect::<Vec<u8>>();
        assert_eq!(resize(&grey(&[0, 100]), (2, 1), (1, 1)), grey(&[50]));
        // Double width: the centres are at 0.25, 0.75, 1.25, 1.75 of the old pixels.
        assert_eq!(resize(&grey(&[0, 100]), (2, 1), (4, 1)), grey(&[0, 25, 75, 100]));
        assert_eq!(resize(&grey(&[0, 100]), (1, 2), (1, 4)), grey(&[0, 25, 75, 100]));
        assert_eq!(resize(&grey(&[9]), (1, 1), (3, 2)), grey(&[9; 6]));
        assert_eq!(resize(&grey(&[1, 2, 3, 4]), (2, 2), (2, 2)), grey(&[1, 2, 3, 4]));
    }
}
