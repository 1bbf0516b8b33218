//! The element types of GGUF tensors and their expansion to float32.
//!
//! The layouts are those of ggml (`ggml-common.h`). The arithmetic is done in float32 in the order of the `gguf`
//! Python package, so that the results are bit-equal to its results.

use half::{bf16, f16};

/// The storage type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "ggml's names")]
pub enum GgmlType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// bfloat16: 16-bit floats with the exponent of 32-bit ones.
    BF16,
    /// Blocks of 32: scale, 4-bit values from -8.
    Q4_0,
    /// Blocks of 32: scale and minimum, 4-bit values.
    Q4_1,
    /// Blocks of 32: scale, 5-bit values from -16.
    Q5_0,
    /// Blocks of 32: scale and minimum, 5-bit values.
    Q5_1,
    /// Blocks of 32: scale, 8-bit values.
    Q8_0,
    /// Blocks of 256: eight 6-bit scales and minima, 4-bit values.
    Q4_K,
    /// Blocks of 256: eight 6-bit scales and minima, 5-bit values.
    Q5_K,
    /// Blocks of 256: sixteen 8-bit scales, 6-bit values from -32.
    Q6_K,
}

use GgmlType::{BF16, F16, F32, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};

/// The supported types with their numbers in the file.
const TYPES: [(u32, GgmlType); 11] = [
    (0, F32),
    (1, F16),
    (2, Q4_0),
    (3, Q4_1),
    (6, Q5_0),
    (7, Q5_1),
    (8, Q8_0),
    (12, Q4_K),
    (13, Q5_K),
    (14, Q6_K),
    (30, BF16),
];

/// Names of known types that are not supported, for the message.
const OTHERS: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (4, "Q4_2"),
];

impl GgmlType {
    /// The type with that number in the file, or a message that names it and lists the supported types.
    pub(crate) fn from_number(number: u32) -> Result<Self, String> {
        if let Some((_, found)) = TYPES.iter().find(|(known, _)| *known == number) {
            return Ok(*found);
        }
        let name = OTHERS.iter().find(|(known, _)| *known == number).map_or("unknown", |(_, name)| name);
        let supported: Vec<String> = TYPES.iter().map(|(_, known)| format!("{known:?}")).collect();
        Err(format!(
            "type {number} ({name}) is not supported, {} are; fetch the model in one of these",
            supported.join(" ")
        ))
    }

    /// Elements in a block.
    pub fn block_len(self) -> usize {
        match self {
            F32 | F16 | BF16 => 1,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 => 32,
            Q4_K | Q5_K | Q6_K => 256,
        }
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        match self {
            F32 => 4,
            F16 | BF16 => 2,
            Q4_0 => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q8_0 => 34,
            Q4_K => 144,
            Q5_K => 176,
            Q6_K => 210,
        }
    }

    /// Whether elements share scales.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Expands whole blocks: `out` takes [`GgmlType::block_len`] elements for each [`GgmlType::block_bytes`] of
    /// `blocks`. A rest on either side is not touched.
    pub fn dequantize(self, blocks: &[u8], out: &mut [f32]) {
        let blocks = blocks.chunks_exact(self.block_bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.block_len())) {
            match self {
                F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
                F16 => out[0] = half_at(block, 0),
                BF16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
                Q4_0 => low_then_high(&block[2..], out, half_at(block, 0), |_, q| q - 8),
                Q4_1 => {
                    low_then_high(&block[4..], out, half_at(block, 0), |_, q| q);
                    add(out, half_at(block, 2));
                }
                Q5_0 => {
                    let high = bits_at(block, 2);
                    low_then_high(&block[6..], out, half_at(block, 0), |i, q| (q | fifth_bit(high, i)) - 16);
                }
                Q5_1 => {
                    let high = bits_at(block, 4);
                    low_then_high(&block[8..], out, half_at(block, 0), |i, q| q | fifth_bit(high, i));
                    add(out, half_at(block, 2));
                }
                Q8_0 => {
                    let scale = half_at(block, 0);
                    out.iter_mut().zip(&block[2..]).for_each(|(out, q)| *out = f32::from(*q as i8) * scale);
                }
                Q4_K => k_groups(block, &block[16..], out, |_, _| 0),
                Q5_K => {
                    let high = &block[16..48];
                    k_groups(block, &block[48..], out, |group, i| (high[i] >> group & 1) << 4);
                }
                Q6_K => six_bits(block, out),
            }
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn bits_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

fn fifth_bit(high: u32, index: usize) -> i32 {
    ((high >> index & 1) << 4) as i32
}

/// Sixteen bytes: the low four bits are elements 0 to 15, the high four bits are elements 16 to 31. `value` gets the
/// index and four bits.
fn low_then_high(bytes: &[u8], out: &mut [f32], scale: f32, value: impl Fn(usize, i32) -> i32) {
    let (first, second) = out.split_at_mut(16);
    for (i, byte) in bytes.iter().enumerate() {
        first[i] = scale * value(i, i32::from(byte & 15)) as f32;
        second[i] = scale * value(i + 16, i32::from(byte >> 4)) as f32;
    }
}

fn add(out: &mut [f32], minimum: f32) {
    out.iter_mut().for_each(|out| *out += minimum);
}

/// Eight groups of 32 elements with a scale and a minimum each; two groups share 32 bytes, low four bits first.
/// `high` gives the bits above the fourth, by group and index.
fn k_groups(block: &[u8], values: &[u8], out: &mut [f32], high: impl Fn(usize, usize) -> u8) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (group_scale, group_minimum) = scale_and_minimum(&block[4..16], group);
        let (scale, minimum) = (scale * f32::from(group_scale), minimum * f32::from(group_minimum));
        for (i, out) in out.iter_mut().enumerate() {
            let low = values[group / 2 * 32 + i] >> (group % 2 * 4) & 15;
            *out = scale * f32::from(low | high(group, i)) - minimum;
        }
    }
}

/// The 6-bit scale and minimum of a group. Bytes 0-3 and 4-7 hold those of groups 0-3, and in their two highest bits the
/// upper bits for groups 4-7, whose lower halves share bytes 8-11.
fn scale_and_minimum(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let (low, scale, minimum) = (packed[group + 4], packed[group - 4], packed[group]);
    (low & 15 | scale >> 6 << 4, low >> 4 | minimum >> 6 << 4)
}

/// Two halves of 128: 64 bytes of low halves, 32 bytes of upper bit pairs; one 8-bit scale for 16 elements.
fn six_bits(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half_at(block, 208);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (half, part) = (group / 4, group % 4);
        for (i, out) in out.iter_mut().enumerate() {
            let low = low[half * 64 + part % 2 * 32 + i] >> (part / 2 * 4) & 15;
            let high = high[half * 32 + i] >> (part * 2) & 3;
            let group_scale = f32::from(scales[group * 2 + i / 16] as i8);
            *out = scale * group_scale * f32::from((low | high << 4) as i8 - 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // Scale 2.0 (f16 0x4000), byte 0 = 0xF0: element 0 is (0 - 8) * 2, element 16 is (15 - 8) * 2.
        let mut block = vec![0x00, 0x40, 0xF0];
        block.resize(18, 0x88);
        let mut out = [9.0; 32];
        Q4_0.dequantize(&block, &mut out);
        assert_eq!((out[0], out[1], out[16]), (-16.0, 0.0, 14.0));
        let unsupported = GgmlType::from_number(10).unwrap_err();
        assert!(unsupported.starts_with("type 10 (Q2_K) is not supported, F32 F16 Q4_0"), "{unsupported}");
        assert!(GgmlType::from_number(999).unwrap_err().contains("(unknown)"));
    }
}
