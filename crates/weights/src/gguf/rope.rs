//! The rotary embedding: base and scaling from the metadata, or from the factors in `rope_freqs.weight`, in which
//! llama.cpp's converter stores Llama 3.1's scaling.

use std::f64::consts::TAU;

use serde_json::{Map, Value, json};

use super::Gguf;
use super::hyper::Own;
use crate::error::shown;
use crate::{Result, WeightsError};

const FACTORS: &str = "rope_freqs.weight";

/// Base of the frequencies and their scaling.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    theta: f64,
    scaling: Scaling,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scaling {
    None,
    Linear { factor: f64 },
    Yarn { factor: f64, original: usize },
    Llama3(Llama3),
}

/// Llama 3.1's scaling under the names of `config.json`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
}

pub(crate) fn read(gguf: &Gguf, own: &Own, head_dim: usize, context: usize) -> Result<Rope> {
    let theta = own.above_zero("rope.freq_base")?.unwrap_or(10_000.0);
    for name in ["rope_factors_long.weight", "rope_factors_short.weight"] {
        if gguf.has(name) {
            return Err(WeightsError::tensor(gguf.path(), name, "LongRoPE scaling is not supported"));
        }
    }
    let mut scaling = declared(own, context)?;
    if gguf.has(FACTORS) {
        if scaling != Scaling::None {
            let problem = format!("it scales frequencies that {} scales as well", own.key("rope.scaling.type"));
            return Err(WeightsError::tensor(gguf.path(), FACTORS, problem));
        }
        scaling = from_factors(&gguf.dequantize(FACTORS)?, theta, head_dim)
            .map_err(|problem| WeightsError::tensor(gguf.path(), FACTORS, problem))?;
    }
    Ok(Rope { theta, scaling })
}

/// The scaling that the metadata specifies.
fn declared(own: &Own, context: usize) -> Result<Scaling> {
    let kind = own.str("rope.scaling.type")?;
    let factor = match own.above_zero("rope.scaling.factor")? {
        None => own.above_zero("rope.scale_linear")?,
        factor => factor,
    };
    match (kind, factor) {
        (Some("none"), _) | (None | Some("linear"), None | Some(1.0)) => Ok(Scaling::None),
        (None | Some("linear"), Some(factor)) => Ok(Scaling::Linear { factor }),
        (Some("yarn"), Some(factor)) => {
            let original = own.size("rope.scaling.original_context_length")?;
            Ok(Scaling::Yarn { factor, original: original.unwrap_or(context) })
        }
        (Some("yarn"), None) => own.fields.required(&own.key("rope.scaling.factor"), None),
        (Some(other), _) => {
            let problem = format!("{} is not supported; none, linear and yarn are", shown(other));
            Err(own.fields.error(&own.key("rope.scaling.type"), problem))
        }
    }
}

/// Finds the `llama3` scaling that produces these frequency divisors.
fn from_factors(factors: &[f32], theta: f64, head_dim: usize) -> Result<Scaling, String> {
    if factors.len() != head_dim / 2 {
        return Err(format!("it has {} factors, {} are expected for this head width", factors.len(), head_dim / 2));
    }
    if factors.iter().all(|factor| *factor == 1.0) {
        return Ok(Scaling::None);
    }
    let unknown = "its factors are not those of Llama 3.1's scaling, others are not supported";
    let largest = f64::from(factors.iter().copied().fold(0.0, f32::max));
    if !(largest.is_finite() && largest > 1.0 && factors.iter().all(|factor| *factor >= 1.0)) {
        return Err(unknown.into());
    }
    // Meta's released values are tried first: the factors determine only the ratios to the old context length.
    let released = Llama3 { factor: largest, low: 1.0, high: 4.0, original: 8192.0 };
    let found = [Some(released), fit(factors, theta, largest).map(Llama3::rounded), fit(factors, theta, largest)];
    let found = found.into_iter().flatten().find(|candidate| candidate.gives(factors, theta));
    found.map(Scaling::Llama3).ok_or_else(|| unknown.into())
}

/// The wavelength in tokens of frequency `index` of `count`.
fn wavelength(index: usize, count: usize, theta: f64) -> f64 {
    TAU * theta.powf(index as f64 / count as f64)
}

/// Solves for the parameters. Between the two limits, `1 / f = (1 - s) / factor + s` with `s = (original / wavelength
/// - low) / (high - low)`, which is linear in `1 / wavelength`. `low` is 1 by convention, since scaling `original`,
/// `low` and `high` by the same factor changes nothing.
fn fit(factors: &[f32], theta: f64, factor: f64) -> Option<Llama3> {
    let between = factors.iter().enumerate().filter(|(_, f)| f64::from(**f) > 1.0 && f64::from(**f) < factor);
    let points: Vec<(f64, f64)> = between
        .map(|(index, f)| {
            let smooth = (1.0 / f64::from(*f) - 1.0 / factor) / (1.0 - 1.0 / factor);
            (1.0 / wavelength(index, factors.len(), theta), smooth)
        })
        .collect();
    let (&first, &last) = (points.first()?, points.last()?);
    let slope = (first.1 - last.1) / (first.0 - last.0);
    let intercept = first.1 - slope * first.0;
    let span = -1.0 / intercept;
    let fitted = Llama3 { factor, low: 1.0, high: 1.0 + span, original: slope * span };
    (fitted.high > 1.0 && fitted.original.is_finite() && fitted.original > 0.0).then_some(fitted)
}

impl Llama3 {
    fn rounded(self) -> Self {
        Self { high: self.high.round(), original: self.original.round(), ..self }
    }

    /// Whether these parameters produce the factors, within the rounding of float32.
    fn gives(&self, factors: &[f32], theta: f64) -> bool {
        factors.iter().enumerate().all(|(index, &stored)| {
            let expected = self.divisor(wavelength(index, factors.len(), theta));
            (f64::from(stored) - expected).abs() <= 1e-5 * expected
        })
    }

    /// The divisor of a frequency of this wavelength (transformers, `_compute_llama3_parameters`).
    fn divisor(&self, wavelength: f64) -> f64 {
        if wavelength < self.original / self.high {
            1.0
        } else if wavelength > self.original / self.low {
            self.factor
        } else {
            let smooth = (self.original / wavelength - self.low) / (self.high - self.low);
            1.0 / ((1.0 - smooth) / self.factor + smooth)
        }
    }
}

impl Rope {
    /// `rope_parameters` of `config.json`.
    pub fn to_json(&self) -> Value {
        let mut json = Map::new();
        json.insert("rope_theta".into(), json!(self.theta));
        let mut set = |name: &str, value: Value| json.insert(name.to_owned(), value);
        match self.scaling {
            Scaling::None => {
                set("rope_type", json!("default"));
            }
            Scaling::Linear { factor } => {
                set("rope_type", json!("linear"));
                set("factor", json!(factor));
            }
            Scaling::Yarn { factor, original } => {
                set("rope_type", json!("yarn"));
                set("factor", json!(factor));
                set("original_max_position_embeddings", json!(original));
            }
            Scaling::Llama3(Llama3 { factor, low, high, original }) => {
                set("rope_type", json!("llama3"));
                set("factor", json!(factor));
                set("low_freq_factor", json!(low));
                set("high_freq_factor", json!(high));
                let whole = original.fract() == 0.0;
                set("original_max_position_embeddings", if whole { json!(original as u64) } else { json!(original) });
            }
        }
        Value::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(scaling: Llama3, theta: f64, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2).map(|index| scaling.divisor(wavelength(index, head_dim / 2, theta)) as f32).collect()
    }

    #[test]
    fn llama3_scalings_are_found_again() {
        let released = Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        for (scaling, theta, head_dim) in [
            (released, 5e5, 128),
            (Llama3 { factor: 32.0, ..released }, 5e5, 64),
            (Llama3 { high: 3.0, original: 4096.0, ..released }, 1e4, 128),
            (Llama3 { original: 64.0, ..released }, 1e4, 16),
        ] {
            let found = from_factors(&factors(scaling, theta, head_dim), theta, head_dim);
            assert_eq!(found, Ok(Scaling::Llama3(scaling)));
        }
        assert_eq!(from_factors(&[1.0; 8], 1e4, 16), Ok(Scaling::None));
    }

    #[test]
    fn other_factors_are_refused() {
        let long = [1.0, 1.5, 1.2, 3.0, 2.0, 4.0, 4.0, 4.0];
        assert!(from_factors(&long, 1e4, 16).unwrap_err().contains("not those of Llama 3.1"));
        assert!(from_factors(&[f32::NAN; 8], 1e4, 16).is_err());
        assert!(from_factors(&[2.0; 4], 1e4, 16).unwrap_err().contains("8 are expected"));
    }
}
