//! Compares quantised blocks with the numbers of the `gguf` Python package, bit for bit.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use weights::gguf::GgmlType;
use weights::{Checkpoint, DType};

const TYPES: [GgmlType; 11] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
];

/// Compares the types that the file holds as `TYPE.raw` and `TYPE.float`, and returns their names.
fn check(file: &Path) -> Vec<String> {
    let blocks = Checkpoint::open(file).unwrap();
    let mut checked = Vec::new();
    for ggml_type in TYPES {
        let Ok(raw) = blocks.tensor(&format!("{ggml_type:?}.raw")) else { continue };
        let float = blocks.tensor(&format!("{ggml_type:?}.float")).unwrap();
        assert_eq!(float.dtype, DType::F32);
        let expected: Vec<u32> =
            float.data.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(raw.data.len() / ggml_type.block_bytes() * ggml_type.block_len(), expected.len());
        let mut out = vec![f32::NAN; expected.len()];
        ggml_type.dequantize(raw.data, &mut out);
        let differing = out.iter().zip(&expected).filter(|(ours, theirs)| ours.to_bits() != **theirs).count();
        assert_eq!(differing, 0, "{ggml_type:?}: of {} values", out.len());
        checked.push(format!("{ggml_type:?}"));
    }
    checked
}

#[test]
fn blocks_of_real_files() {
    assert_eq!(
        check(&test_support::fixture("gguf_blocks.safetensors")),
        ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K"]
    );
}

/// Random bytes with finite scales (`fixtures/make_blocks.py`): every bit of every field matters.
#[test]
fn random_blocks_of_all_quantized_types() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/random_blocks.safetensors"));
    assert_eq!(check(file), ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]);
}
