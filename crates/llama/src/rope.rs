//! Rotary position embeddings (Su et al. 2021) in Hugging Face's layout: the first half of a head is rotated against
//! its second half.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, catch};

use crate::config::{LlamaConfig, RopeScaling};
use crate::kernels;
use crate::pass::Operators;

/// `cos` and `sin` of every position, each `[positions, head_dim]` in float32.
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

/// `cos` and `sin` of the tokens at hand, each `[rows, seq, 1, head_dim]` in the model's type.
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// Tables for positions `0..max_position_embeddings`.
    pub fn new(config: &LlamaConfig, device: Device) -> Self {
        let frequencies: Vec<f32> = inverse_frequencies(config.head_dim, config.rope_theta, config.rope_scaling);
        let frequencies = Tensor::from_slice(&frequencies);
        let positions = Tensor::arange(config.max_position_embeddings, (Kind::Float, Device::Cpu));
        let angles = positions.unsqueeze(1) * frequencies.unsqueeze(0);
        let angles = Tensor::cat(&[&angles, &angles], 1);
        Self { cos: angles.cos().to_device(device), sin: angles.sin().to_device(device) }
    }

    /// Another handle on the same tables.
    pub fn shallow_clone(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// `cos` and `sin`.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cos, &self.sin)
    }

    /// The rotation of tokens at `positions`, `[rows, seq]` int64.
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Result<Rotation, OpError> {
        let rotation = catch(|| {
            let (rows, seq) = positions.size2()?;
            let flat = positions.reshape([-1]);
            let pick = |table: &Tensor| table.index_select(0, &flat).reshape([rows, seq, 1, -1]).to_kind(kind);
            Ok(Rotation { cos: pick(&self.cos), sin: pick(&self.sin) })
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
        kernels::rotate_half(operators, x, &self.cos, &self.sin)
    }
}

/// `theta^(-2i / head_dim)` for `i` in `0..head_dim/2`, scaled. In float32 arithmetic as transformers has it, so that
/// long positions get the same angles.
fn inverse_frequencies(head_dim: i64, theta: f64, scaling: RopeScaling) -> Vec<f32> {
    let half = head_dim / 2;
    let base = (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32));
    base.map(|frequency| match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let wavelength = 2.0 * PI / f64::from(frequency);
            let stretched = f64::from(frequency) / factor;
            if wavelength < original_context / high_freq_factor {
                frequency
            } else if wavelength > original_context / low_freq_factor {
                stretched as f32
            } else {
                let smooth = (original_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                ((1.0 - smooth) * stretched + smooth * f64::from(frequency)) as f32
            }
        }
    })
    .collect()
}
