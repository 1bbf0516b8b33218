//! Compares paged attention and token sampling with float64 formulas.

use rand::RngExt as _;

use super::{Finding, Trial, compare, compare_above};
use crate::decoding::{PagedAttention, Sample};
use crate::launch::Element;
use crate::{KernelError, reference};

fn bytes_of<const N: usize, T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

impl Trial<'_> {
    /// A random element of `values`.
    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.random.random_range(0..values.len())]
    }

    pub(super) fn paged_attention(&mut self, [rows, longest, width]: [usize; 3]) -> Result<Vec<Finding>, KernelError> {
        let (element, limits) = (self.element, self.machine.limits());
        let (kv_heads, group) = (self.one_of(&[1, 2, 3]), self.one_of(&[1, 1, 2, 3, 4, 5, 8]));
        let (page, split): (usize, i64) = (self.one_of(&[4, 16, 32]), self.one_of(&[16, 48, 64]));
        let window = self.one_of(&[0, 0, 1, 40]);
        let (heads, scale) = (kv_heads * group, 1.0 / (width.max(1) as f64).sqrt());
        let pages_each = longest.div_ceil(page) + 1;
        // The first sequence is the longest; every third sequence has no keys.
        let length = |row: usize, random: &mut rand_chacha::ChaCha8Rng| match row {
            0 => longest,
            _ if row % 3 == 2 => 0,
            _ => random.random_range(0..=longest),
        };
        let lengths: Vec<usize> = (0..rows).map(|row| length(row, &mut self.random)).collect();
        // Pages in a random order, some of them unused. Keys and values after the end of a sequence are NaN, and page numbers after
        // its last page are invalid: reading them would show.
        let pages = rows * pages_each + 3;
        let mut order: Vec<usize> = (0..pages).collect();
        for at in (1..pages).rev() {
            order.swap(at, self.random.random_range(0..=at));
        }
        let token = kv_heads * width;
        let qs = self.numbers(rows * heads * width, 2.0);
        let [mut keys, mut values] = [(); 2].map(|()| vec![f64::NAN; pages * page * token]);
        let mut table = vec![i32::MAX; rows * pages_each];
        let mut want = Vec::with_capacity(qs.len());
        for (row, &length) in lengths.iter().enumerate() {
            let [own_keys, own_values] = [(); 2].map(|()| self.numbers(length * token, 1.0));
            for at in 0..length {
                let number = order[row * pages_each + at / page];
                table[row * pages_each + at / page] = number as i32;
                let place = (number * page + at % page) * token;
                keys[place..place + token].copy_from_slice(&own_keys[at * token..][..token]);
                values[place..place + token].copy_from_slice(&own_values[at * token..][..token]);
            }
            let first = if window > 0 { length.saturating_sub(window) } else { 0 };
            for head in 0..heads {
                let of = |all: &[f64]| {
                    let at = |key: usize| &all[key * token + head / group * width..][..width];
                    (first..length).flat_map(at).copied().collect::<Vec<f64>>()
                };
                let q = &qs[(row * heads + head) * width..][..width];
                want.extend(reference::attention(q, &of(&own_keys), &of(&own_values), scale));
            }
        }
        let (q, keys, values) = (self.tensor(&qs)?, self.tensor(&keys)?, self.tensor(&values)?);
        let table = self.machine.place(&bytes_of(&table, i32::to_le_bytes))?;
        let lengths: Vec<i32> = lengths.iter().map(|&length| length as i32).collect();
        let lengths = self.machine.place(&bytes_of(&lengths, i32::to_le_bytes))?;
        let parts = PagedAttention::parts(longest as i64, split) as usize;
        let out = self.result(qs.len())?;
        let sums = self.machine.place(&vec![0xff; rows * heads * parts * width * 4])?;
        let softs = self.machine.place(&vec![0xff; rows * heads * parts * 8])?;
        let op = PagedAttention {
            element,
            q,
            keys,
            values,
            table,
            lengths,
            out,
            sums,
            softs,
            rows: rows as i64,
            heads: heads as i64,
            kv_heads: kv_heads as i64,
            width: width as i64,
            pages_each: pages_each as i64,
            page_tokens: page as i64,
            window: window as i64,
            split,
            longest: longest as i64,
            scale: scale as f32,
        };
        self.run(&op.plan(limits))?;
        if qs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![compare("paged_attention", element, &self.values(out, qs.len())?, &want)])
    }

    pub(super) fn sample(&mut self, [rows, vocab, _]: [usize; 3]) -> Result<Vec<Finding>, KernelError> {
        let (element, limits) = (self.element, self.machine.limits());
        let mut logits = self.numbers(rows * vocab, 4.0);
        let mut drawings = Vec::with_capacity(rows * 5);
        for row in 0..rows {
            let point = self.one_of(&[0.0, 0.999_999, f64::NAN]);
            let point = if point.is_nan() { self.random.random() } else { point };
            let temperature = self.one_of(&[0.0, 0.3, 0.7, 1.0, 1.0, 2.5]);
            let (top_k, top_p) =
                (self.one_of(&[0.0, 0.0, 1.0, 7.0, 50.0, 1e6]), self.one_of(&[1.0, 1.0, 0.3, 0.9, 0.999]));
            drawings.push([temperature, top_k, top_p, self.one_of(&[0.0, 0.0, 0.02, 1.0]), point]);
            // Every other row has ties between logits, and every third row has large logits.
            let (round, far) = (self.round(), if row % 3 == 1 { 200.0 } else { 0.0 });
            for z in &mut logits[row * vocab..(row + 1) * vocab] {
                *z = round(if row % 2 == 1 { (*z * 4.0).round() / 4.0 } else { *z } + far);
            }
        }
        // Row 2 gets a logit that is not finite; the kernel must report no token for it.
        let broken = (rows > 2 && vocab > 0).then_some(2);
        if broken.is_some() {
            logits[2 * vocab + vocab / 2] = self.one_of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        }
        let z = self.tensor(&logits)?;
        let parameters = self.machine.place(&bytes_of(drawings.as_flattened(), f64::to_le_bytes))?;
        let sums = self.machine.place(&vec![0xff; rows * Sample::sums(vocab as i64) as usize * 8])?;
        let chosen = self.machine.place(&vec![0xff; rows * 16])?;
        let op = Sample { element, z, parameters, sums, chosen, rows: rows as i64, vocab: vocab as i64 };
        self.run(&op.plan(limits))?;
        if rows * vocab == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; rows * 16];
        self.machine.read(chosen, &mut bytes)?;
        let words: Vec<i64> = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let (mut off, mut got, mut want) = (Vec::new(), Vec::new(), Vec::new());
        for (row, pair) in words.chunks(2).enumerate() {
            let z = &logits[row * vocab..][..vocab];
            let token = usize::try_from(pair[0]).ok().filter(|&token| token < vocab);
            match token {
                Some(token) if broken != Some(row) => {
                    let high = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let log_sum = high + z.iter().map(|z| (z - high).exp()).sum::<f64>().ln();
                    off.push(reference::off_choice(z, drawings[row], token));
                    got.push(f64::from(f32::from_bits(pair[1] as u32)));
                    want.push(z[token] - log_sum);
                }
                _ => off.push(if broken == Some(row) && pair[0] == -1 { 0.0 } else { 1.0 }),
            }
        }
        let right = vec![0.0; off.len()];
        Ok(vec![
            compare_above(1.0, "sample", Element::F32, &off, &right),
            // A log-probability is the difference of a logit and the log-sum-exp, which are near 200 in the rows with large logits.
            compare_above(20.0, "sample's log-probability", Element::F32, &got, &want),
        ])
    }
}
