//! The text of the kernels. All kernels are one NVRTC program, which takes a few seconds to compile.

/// The whole program that NVRTC compiles.
pub const TEXT: &str = concat!(
    include_str!("../cuda/common.cuh"),
    include_str!("../cuda/cross_entropy.cu"),
    include_str!("../cuda/paged_attention.cu"),
    include_str!("../cuda/rms_norm.cu"),
    include_str!("../cuda/rotate.cu"),
    include_str!("../cuda/sample.cu"),
    include_str!("../cuda/silu_gate.cu"),
);

/// The names of the kernels without the suffix of the element type (`_f32`, `_bf16`).
pub const KERNELS: [&str; 14] = [
    "cross_entropy",
    "paged_attention",
    "paged_attention_single",
    "paged_attention_narrow",
    "merge_parts",
    "sample",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_gain",
    "sum_strips",
    "rotate",
    "rotate_backward",
    "silu_gate",
    "silu_gate_backward",
];
