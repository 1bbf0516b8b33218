//! Rotary position embeddings (Su et al. 2021) in Hugging Face's layout: the first half of a head is rotated with its second
//! half. Scalings for long contexts follow transformers 5 (`modeling_rope_utils.py`), operation by operation in float32: at
//! position 100,000, the last bit of a frequency near 1 changes the angle by about 0.01 radians.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};
use torch_ext::{GpuKernels, OpError, catch};

use crate::config::{LlamaConfig, RopeScaling};
use crate::kernels;
use crate::pass::Operators;

/// `cos` and `sin` of every position, each `[positions, head_dim]` in float32.
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

/// `cos` and `sin` of the tokens of a batch, each `[rows, seq, 1, head_dim]` in the model's type.
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
    on_gpu: GpuKernels,
}

impl RopeTable {
    /// Builds the tables for positions `0..max_position_embeddings`.
    pub fn new(config: &LlamaConfig, device: Device) -> Self {
        let (frequencies, factor) = inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling);
        let frequencies = Tensor::from_slice(&frequencies);
        let positions = Tensor::arange(config.max_position_embeddings, (Kind::Float, Device::Cpu));
        let angles = positions.unsqueeze(1) * frequencies.unsqueeze(0);
        let angles = Tensor::cat(&[&angles, &angles], 1);
        let table = |turned: Tensor| if factor == 1.0 { turned } else { turned * factor }.to_device(device);
        Self { cos: table(angles.cos()), sin: table(angles.sin()) }
    }

    /// A second handle on the same tables.
    pub fn shallow_clone(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// `cos` and `sin`.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// The rotary embedding of tokens at `positions`, `[rows, seq]` int64. `on_gpu` selects the kernel that applies it on a GPU.
    pub fn at(&self, positions: &Tensor, kind: Kind, on_gpu: GpuKernels) -> Result<Rotation, OpError> {
        let rotation = catch(|| {
            let (rows, seq) = positions.size2()?;
            let flat = positions.reshape([-1]);
            let pick = |table: &Tensor| table.index_select(0, &flat).reshape([rows, seq, 1, -1]).to_kind(kind);
            Ok(Rotation { cos: pick(&self.cos), sin: pick(&self.sin), on_gpu })
        });
        rotation.map_err(|error: OpError| {
            let context = self.cos.size().first().copied().unwrap_or_default();
            let found = positions.size();
            error.context(format!(
                "positions {found:?}, which must be [rows, seq] and below the model's context of {context}"
            ))
        })
    }
}

impl Rotation {
    /// `x cos + rotate_half(x) sin` for `x` of `[rows, seq, heads, head_dim]`.
    pub(crate) fn apply(&self, operators: Operators, x: &Tensor) -> Result<Tensor, OpError> {
        kernels::rotate_half((operators, self.on_gpu), x, &self.cos, &self.sin)
    }
}

/// Returns `theta^(-2i / head_dim)` for `i` in `0..head_dim/2`, scaled, and the factor of the cosines and sines.
fn inverse_frequencies(head_dim: i64, theta: f64, scaling: RopeScaling) -> (Vec<f32>, f64) {
    // libtorch's power function, as in transformers: its last bit may differ from the system library's.
    let exponents = Tensor::arange_start_step(0, head_dim, 2, (Kind::Float, Device::Cpu)) / head_dim;
    let powers = Vec::<f32>::try_from(Tensor::pow_scalar(theta, &exponents)).unwrap_or_default();
    let inverse = powers.iter().map(|power| 1.0 / power);
    match scaling {
        RopeScaling::None => (inverse.collect(), 1.0),
        RopeScaling::Linear { factor } => (inverse.map(|frequency| frequency / factor as f32).collect(), 1.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let stretched = inverse.map(|frequency| {
                let wavelength = (1.0 / frequency) * (2.0 * PI) as f32;
                if wavelength > (original_context / low_freq_factor) as f32 {
                    return frequency / factor as f32;
                }
                if wavelength < (original_context / high_freq_factor) as f32 {
                    return frequency;
                }
                let turns = (1.0 / wavelength) * original_context as f32;
                let smooth = (turns - low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
                (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
            });
            (stretched.collect(), 1.0)
        }
        RopeScaling::Yarn { factor, attention_factor, beta_fast, beta_slow, original_context, truncate } => {
            // The dimension whose frequency makes `turns` rotations within the original context.
            let dimension =
                |turns: f64| head_dim as f64 * (original_context / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
            let (low, high) = (dimension(beta_fast), dimension(beta_slow));
            let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
            let (low, high) = (low.max(0.0), high.min((head_dim - 1) as f64));
            let width = if low == high { 0.001 } else { high - low };
            let stretched = powers.iter().enumerate().map(|(index, power)| {
                let ramp = ((index as f32 - low as f32) / width as f32).clamp(0.0, 1.0);
                let kept = 1.0 - ramp;
                1.0 / (factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
            });
            (stretched.collect(), attention_factor)
        }
    }
}
