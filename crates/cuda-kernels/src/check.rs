//! Compares every kernel's values and gradients with float64 formulas, in the emulation or on a GPU, and measures the memory
//! throughput of the kernels.

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::launch::{Element, Launch, Limits};
use crate::{KernelError, ops, reference};

mod decoding;

/// A device that holds memory and runs launches: the emulation or a GPU.
pub trait Machine {
    /// The limits with which launches are planned.
    fn limits(&self) -> Limits;
    /// Allocates memory, copies `bytes` into it, and returns the address, a multiple of 16.
    ///
    /// # Errors
    /// When there is not enough memory.
    fn place(&self, bytes: &[u8]) -> Result<u64, KernelError>;
    /// Copies bytes from `address` to the host. Call it after [`Machine::wait`].
    ///
    /// # Errors
    /// When the range is not allocated, or (in the emulation) a kernel wrote past the end of the allocation.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), KernelError>;
    /// Runs a launch, or queues it after the earlier launches.
    ///
    /// # Errors
    /// When the device refuses the launch; in the emulation also when the kernel fails.
    fn launch(&self, launch: &Launch) -> Result<(), KernelError>;
    /// Waits until all launches have ended.
    ///
    /// # Errors
    /// When a launch has failed.
    fn wait(&self) -> Result<(), KernelError>;
    /// Frees all memory.
    fn clear(&self);
}

/// An operation to check. Each variant says what the sizes in [`Case::shape`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// [`ops::RmsNorm`] and its gradients: rows, width
    RmsNorm,
    /// [`ops::SiluGate`] and its gradients: elements
    SiluGate,
    /// [`ops::Rotate`] and its gradient: tokens, heads, half of a head's width
    Rotate,
    /// [`ops::CrossEntropy`] with and without gradient: rows, vocabulary
    CrossEntropy,
    /// [`crate::decoding::PagedAttention`]: sequences, keys of the longest sequence, width of a head
    PagedAttention,
    /// [`crate::decoding::Sample`]: rows, vocabulary
    Sample,
}

impl Op {
    /// All operations.
    pub const ALL: [Self; 6] =
        [Self::RmsNorm, Self::SiluGate, Self::Rotate, Self::CrossEntropy, Self::PagedAttention, Self::Sample];
}

/// One case of a check.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The operation.
    pub op: Op,
    /// The element type of the tensors.
    pub element: Element,
    /// Sizes, see [`Op`]; unused sizes are 1.
    pub shape: [usize; 3],
    /// Whether tensors begin one element after a 16-byte boundary, so that kernels cannot read 16 bytes at a time.
    pub shifted: bool,
}

impl Case {
    /// A random small case. A size is 0 or 1 with probability 1/4, and a multiple of 8 with probability 3/8. A fourth of the cases
    /// is shifted.
    pub fn random(op: Op, element: Element, random: &mut ChaCha8Rng) -> Self {
        let mut size = |most: usize| match random.random_range(0..8) {
            0 => 0,
            1 => 1,
            2..=4 => random.random_range(1..=most).next_multiple_of(8),
            _ => random.random_range(1..=most),
        };
        let shape = match op {
            Op::RmsNorm => [size(40), size(900), 1],
            Op::SiluGate => [size(5000), 1, 1],
            Op::Rotate => [size(20), size(9), size(64)],
            Op::CrossEntropy => [size(12), size(3000), 1],
            Op::PagedAttention => [size(4), size(150), size(140)],
            Op::Sample => [size(6), size(3000), 1],
        };
        Self { op, element, shape, shifted: random.random_range(0..4) == 0 }
    }
}

/// The errors of a result, compared with float64.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Name of the result.
    pub result: &'static str,
    /// Element type of the result.
    pub element: Element,
    /// Largest relative error of a value. The difference is divided by the largest of: the absolute value, the root mean square
    /// of all values, and (for values that are differences of larger numbers) the size of these numbers.
    pub worst: f64,
    /// Norm of the differences, divided by the norm of the values.
    pub overall: f64,
}

impl Finding {
    /// The accepted `worst` and `overall`. bfloat16 has a precision of 8 bits: rounding is off by up to 2^-9, and a product that
    /// falls on the other side of a tie by 2^-8. Sums are float32.
    #[must_use]
    pub fn limits(element: Element) -> (f64, f64) {
        match element {
            Element::F32 => (2e-5, 2e-6),
            Element::Bf16 => (2e-2, 4e-3),
        }
    }

    /// Whether both errors are within [`Finding::limits`].
    #[must_use]
    pub fn holds(&self) -> bool {
        let (worst, overall) = Self::limits(self.element);
        self.worst <= worst && self.overall <= overall
    }
}

fn compare(result: &'static str, element: Element, got: &[f64], want: &[f64]) -> Finding {
    compare_above(0.0, result, element, got, want)
}

/// Like [`compare`], for values that are differences of larger numbers of size `floor`: rounding errors of these numbers remain in
/// the difference, so errors are not measured against less than `floor`.
fn compare_above(floor: f64, result: &'static str, element: Element, got: &[f64], want: &[f64]) -> Finding {
    let known: Vec<f64> = want.iter().copied().filter(|w| !w.is_nan()).collect();
    let mean_square = known.iter().map(|w| w * w).sum::<f64>() / known.len().max(1) as f64;
    let (mut worst, mut squares) = (0.0_f64, 0.0);
    for (got, want) in got.iter().zip(want) {
        if got.is_nan() && want.is_nan() {
            continue;
        }
        let difference = (got - want).abs();
        let off = if difference == 0.0 { 0.0 } else { difference / want.abs().max(mean_square.sqrt()).max(floor) };
        worst = if off.is_nan() { f64::INFINITY } else { worst.max(off) };
        squares += difference * difference;
        if worst.is_infinite() {
            break;
        }
    }
    let norm = (mean_square * known.len() as f64).sqrt().max(floor);
    let overall = if squares == 0.0 { 0.0 } else { squares.sqrt() / norm };
    let overall = if worst.is_infinite() { worst } else { overall };
    Finding { result, element, worst, overall }
}

/// Rounds to the nearest bfloat16, ties to even; NaN gives 0x7fff, as on a GPU.
fn to_bf16(x: f64) -> u16 {
    let bits = (x as f32).to_bits();
    if (bits & 0x7fff_ffff) > 0x7f80_0000 {
        return 0x7fff;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

fn round_bf16(x: f64) -> f64 {
    f64::from(f32::from_bits(u32::from(to_bf16(x)) << 16))
}

/// Runs one case on a machine.
struct Trial<'a> {
    machine: &'a dyn Machine,
    element: Element,
    shifted: bool,
    random: ChaCha8Rng,
}

impl Trial<'_> {
    fn round(&self) -> reference::Round {
        match self.element {
            Element::F32 => |x| f64::from(x as f32),
            Element::Bf16 => round_bf16,
        }
    }

    /// Random numbers, rounded to the element type.
    fn numbers(&mut self, count: usize, scale: f64) -> Vec<f64> {
        let round = self.round();
        (0..count)
            .map(|_| round((self.random.random::<f64>() + self.random.random::<f64>() - 1.0) * 2.4 * scale))
            .collect()
    }

    fn bytes(&self, values: &[f64]) -> Vec<u8> {
        match self.element {
            Element::F32 => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            Element::Bf16 => values.iter().flat_map(|x| to_bf16(*x).to_le_bytes()).collect(),
        }
    }

    /// Offset of a tensor from a 16-byte boundary, in bytes.
    fn shift(&self) -> usize {
        if self.shifted { self.element.bytes() } else { 0 }
    }

    fn tensor(&self, values: &[f64]) -> Result<u64, KernelError> {
        let bytes = [vec![0; self.shift()], self.bytes(values)].concat();
        Ok(self.machine.place(&bytes)? + self.shift() as u64)
    }

    fn floats(&self, values: &[f64]) -> Result<u64, KernelError> {
        self.machine.place(&values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect::<Vec<_>>())
    }

    /// Memory for a result, filled with NaN.
    fn result(&self, count: usize) -> Result<u64, KernelError> {
        Ok(self.machine.place(&vec![0xff; self.shift() + count * self.element.bytes()])? + self.shift() as u64)
    }

    fn values(&self, address: u64, count: usize) -> Result<Vec<f64>, KernelError> {
        self.values_of(self.element, address, count)
    }

    fn values_of(&self, element: Element, address: u64, count: usize) -> Result<Vec<f64>, KernelError> {
        let mut bytes = vec![0; count * element.bytes()];
        self.machine.read(address, &mut bytes)?;
        Ok(match element {
            Element::F32 => bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
            Element::Bf16 => {
                let wide = |bytes: &[u8; 2]| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16));
                bytes.as_chunks().0.iter().map(wide).collect()
            }
        })
    }

    fn run(&self, launches: &[Launch]) -> Result<(), KernelError> {
        launches.iter().try_for_each(|launch| self.machine.launch(launch))?;
        self.machine.wait()
    }

    fn rms_norm(&mut self, [rows, width, _]: [usize; 3]) -> Result<Vec<Finding>, KernelError> {
        let (element, count, eps) = (self.element, rows * width, 1e-5);
        let [xs, gs] = [1.0, 1.0].map(|scale| self.numbers(count, scale));
        let gains = self.numbers(width, 1.0);
        let (x, gain, g) = (self.tensor(&xs)?, self.tensor(&gains)?, self.tensor(&gs)?);
        let (y, gx, g_gain) = (self.result(count)?, self.result(count)?, self.result(width)?);
        let scale = self.machine.place(&vec![0xff; rows * 4])?;
        let strips = ops::RmsNormBackward::strips(rows as i64) as usize;
        let parts = self.machine.place(&vec![0xff; strips * width * 4])?;
        let limits = self.machine.limits();
        let (rows, wide) = (rows as i64, width as i64);
        self.run(&ops::RmsNorm { element, x, gain, y, scale, rows, width: wide, eps: eps as f32 }.plan(limits))?;
        let backward = ops::RmsNormBackward {
            element,
            g,
            x,
            gain,
            scale,
            gx,
            g_gain,
            parts,
            rows,
            width: wide,
            strips: strips as i64,
        };
        self.run(&backward.plan(limits))?;
        if width == 0 {
            return Ok(Vec::new());
        }
        let eps = f64::from(eps as f32);
        let (want_gx, want_gain) = reference::norm_gradients(&gs, &xs, &gains, eps, self.round());
        let scales = self.values_of(Element::F32, scale, rows as usize)?;
        // In a row of one element, the gradient is the difference of two nearly equal terms.
        let term = |(i, g): (usize, &f64)| (g * gains[i % width] * scales[i / width]).powi(2);
        let floor = (gs.iter().enumerate().map(term).sum::<f64>() / count.max(1) as f64).sqrt();
        Ok(vec![
            compare("rms_norm", element, &self.values(y, count)?, &reference::norm(&xs, &gains, eps, self.round())),
            compare("rms_norm's scale", Element::F32, &scales, &reference::norm_scales(&xs, width, eps)),
            compare_above(floor, "rms_norm's gradient of x", element, &self.values(gx, count)?, &want_gx),
            compare("rms_norm's gradient of the gain", element, &self.values(g_gain, width)?, &want_gain),
        ])
    }

    fn silu_gate(&mut self, count: usize) -> Result<Vec<Finding>, KernelError> {
        let (element, limits) = (self.element, self.machine.limits());
        let [a_s, b_s, gs] = [3.0, 1.0, 1.0].map(|scale| self.numbers(count, scale));
        let (a, b, g) = (self.tensor(&a_s)?, self.tensor(&b_s)?, self.tensor(&gs)?);
        let (y, ga, gb) = (self.result(count)?, self.result(count)?, self.result(count)?);
        self.run(&ops::SiluGate { element, a, b, y, count: count as i64 }.plan(limits))?;
        self.run(&ops::SiluGateBackward { element, g, a, b, ga, gb, count: count as i64 }.plan(limits))?;
        let (want_a, want_b) = reference::gate_gradients(&gs, &a_s, &b_s);
        Ok(vec![
            compare("silu_gate", element, &self.values(y, count)?, &reference::gate(&a_s, &b_s, self.round())),
            compare("silu_gate's gradient of a", element, &self.values(ga, count)?, &want_a),
            compare("silu_gate's gradient of b", element, &self.values(gb, count)?, &want_b),
        ])
    }

    fn rotate(&mut self, [tokens, heads, half]: [usize; 3]) -> Result<Vec<Finding>, KernelError> {
        let (element, count) = (self.element, tokens * heads * 2 * half);
        let xs = self.numbers(count, 1.0);
        // Random numbers instead of the cosines and sines of angles: their halves differ, so a mix-up of halves is found.
        let [cs, ss] = [1.0, 1.0].map(|scale| self.numbers(tokens * 2 * half, scale));
        let (x, cosine, sine) = (self.tensor(&xs)?, self.tensor(&cs)?, self.tensor(&ss)?);
        let mut findings = Vec::new();
        for (back, result) in [(false, "rotate"), (true, "rotate's gradient")] {
            let y = self.result(count)?;
            let (t, h, d) = (tokens as i64, heads as i64, half as i64);
            let rotate = ops::Rotate { element, back, x, cosine, sine, y, tokens: t, heads: h, half: d };
            self.run(&rotate.plan(self.machine.limits()))?;
            if count > 0 {
                let want = reference::rotate(&xs, (&cs, &ss), (heads, half), back, self.round());
                findings.push(compare(result, element, &self.values(y, count)?, &want));
            }
        }
        Ok(findings)
    }

    fn cross_entropy(&mut self, [rows, vocab, _]: [usize; 3]) -> Result<Vec<Finding>, KernelError> {
        let (element, limits, count) = (self.element, self.machine.limits(), rows * vocab);
        // Every third row has large logits, for which e^z is infinite in float32.
        let mut logits = self.numbers(count, 4.0);
        let round = self.round();
        for row in logits.chunks_mut(vocab.max(1)).step_by(3) {
            row.iter_mut().for_each(|z| *z = round(*z + 300.0));
        }
        // Every fifth row is excluded from the loss. Row 7 has a label outside of the vocabulary.
        let label = |row: usize, random: &mut ChaCha8Rng| match row % 5 {
            1 => -100,
            _ if row == 7 => vocab as i64,
            _ => random.random_range(0..vocab.max(1)) as i64,
        };
        let labels: Vec<i64> = (0..rows).map(|row| label(row, &mut self.random)).collect();
        let factors: Vec<f64> = (0..rows).map(|_| f64::from(self.random.random::<f32>())).collect();
        let label_bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let (z, labels_at, factor) = (self.tensor(&logits)?, self.machine.place(&label_bytes)?, self.floats(&factors)?);
        let (want, want_gradient) = reference::cross_entropy(&logits, &labels, &factors, vocab.max(1));
        let mut findings = Vec::new();
        for factor in [0, factor] {
            let nll = self.machine.place(&vec![0xff; rows * 4])?;
            let rows_and_vocab = (rows as i64, vocab as i64);
            let op = ops::CrossEntropy {
                element,
                z,
                labels: labels_at,
                factor,
                nll,
                rows: rows_and_vocab.0,
                vocab: rows_and_vocab.1,
            };
            self.run(&op.plan(limits))?;
            if count == 0 {
                continue;
            }
            findings.push(compare_above(
                0.1,
                "cross_entropy",
                Element::F32,
                &self.values_of(Element::F32, nll, rows)?,
                &want,
            ));
            let now = self.values(z, count)?;
            findings.push(if factor == 0 {
                compare("cross_entropy's logits, untouched", Element::F32, &now, &logits)
            } else {
                compare_above(0.05, "cross_entropy's gradient", element, &now, &want_gradient)
            });
        }
        Ok(findings)
    }
}

/// Runs a case on random numbers. Returns the errors of each result; none if the case has no results to compare.
///
/// # Errors
/// When a launch fails, or memory cannot be allocated or read.
pub fn run(machine: &dyn Machine, case: Case, seed: u64) -> Result<Vec<Finding>, KernelError> {
    let Case { op, element, shape, shifted } = case;
    let mut trial = Trial { machine, element, shifted, random: ChaCha8Rng::seed_from_u64(seed) };
    let findings = match op {
        Op::RmsNorm => trial.rms_norm(shape),
        Op::SiluGate => trial.silu_gate(shape[0]),
        Op::Rotate => trial.rotate(shape),
        Op::CrossEntropy => trial.cross_entropy(shape),
        Op::PagedAttention => trial.paged_attention(shape),
        Op::Sample => trial.sample(shape),
    };
    machine.clear();
    findings
}

/// Memory throughput of a kernel.
#[derive(Debug, Clone)]
pub struct Rate {
    /// Name of the kernel.
    pub what: &'static str,
    /// Element type of its tensors.
    pub element: Element,
    /// 10^9 bytes per second, counting only the bytes that the kernel must read and write at least.
    pub gigabytes_per_second: f64,
}

/// Measures the kernels on tensors of `rows` rows of 4,096 elements (cross-entropy: `rows / 8` rows of 32,768 logits). Takes the
/// fastest of five runs.
///
/// # Errors
/// When there is not enough memory, or a launch fails.
pub fn rates(machine: &dyn Machine, rows: i64) -> Result<Vec<Rate>, KernelError> {
    let mut rates = Vec::new();
    let limits = machine.limits();
    for element in Element::ALL {
        let width = 4096;
        let size = (rows * width) as usize * element.bytes();
        let zeros = vec![0; size];
        let [a, b, c, d, e] = [
            machine.place(&zeros)?,
            machine.place(&zeros)?,
            machine.place(&zeros)?,
            machine.place(&zeros)?,
            machine.place(&zeros)?,
        ];
        let scale = machine.place(&vec![0; rows as usize * 4])?;
        let strips = ops::RmsNormBackward::strips(rows);
        let parts = machine.place(&vec![0; strips as usize * width as usize * 4])?;
        let (logit_rows, vocab) = (rows / 8, width * 8);
        let labels = machine.place(&vec![0; logit_rows as usize * 8])?;
        let (tokens, heads, half) = (rows, width / 128, 64);
        let backward =
            ops::RmsNormBackward { element, g: a, x: b, gain: c, scale, gx: d, g_gain: 0, parts, rows, width, strips };
        let count = rows * width;
        let list: [(&'static str, usize, Vec<Launch>); 7] = [
            ("rms_norm", 2, ops::RmsNorm { element, x: a, gain: b, y: c, scale, rows, width, eps: 1e-5 }.plan(limits)),
            ("rms_norm_backward", 3, backward.plan(limits)),
            ("rms_norm_gain", 2, ops::RmsNormBackward { gx: 0, g_gain: e, ..backward }.plan(limits)),
            ("silu_gate", 3, ops::SiluGate { element, a, b, y: c, count }.plan(limits)),
            (
                "silu_gate_backward",
                5,
                ops::SiluGateBackward { element, g: a, a: b, b: c, ga: d, gb: e, count }.plan(limits),
            ),
            (
                "rotate",
                2,
                ops::Rotate { element, back: false, x: a, cosine: b, sine: c, y: d, tokens, heads, half }.plan(limits),
            ),
            // The logits are read twice and written once.
            (
                "cross_entropy",
                3,
                ops::CrossEntropy { element, z: a, labels, factor: scale, nll: parts, rows: logit_rows, vocab }
                    .plan(limits),
            ),
        ];
        for (what, tensors, launches) in &list {
            let mut times = Vec::new();
            for _ in 0..5 {
                machine.wait()?;
                let start = Instant::now();
                launches.iter().try_for_each(|launch| machine.launch(launch))?;
                machine.wait()?;
                times.push(start.elapsed().as_secs_f64());
            }
            let best = times.into_iter().fold(f64::INFINITY, f64::min);
            rates.push(Rate { what, element, gigabytes_per_second: (tensors * size) as f64 / best / 1e9 });
        }
        machine.clear();
    }
    Ok(rates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_is_found() {
        let want: Vec<f64> = (0..100).map(|i| f64::from(i) - 50.0).collect();
        assert!(compare("x", Element::F32, &want, &want).holds());
        for wrong in [f64::NAN, f64::INFINITY, 3.1] {
            let mut got = want.clone();
            got[53] = wrong;
            assert!(!compare("x", Element::F32, &got, &want).holds(), "{wrong}");
        }
        assert!(!compare("x", Element::F32, &[1e-30], &[0.0]).holds());
        assert!(compare("x", Element::Bf16, &[f64::NAN, 1.0], &[f64::NAN, 1.002]).holds());
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        let bits = |x: f32| to_bf16(f64::from(x));
        assert_eq!(bits(1.0), 0x3f80);
        assert_eq!(bits(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(bits(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(bits(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(bits(f32::INFINITY), 0x7f80);
    }
}
