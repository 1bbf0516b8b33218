//! Rotary positions for a longer context: the lengths of the stages, and the keys of `config.json` at each.

use std::f64::consts::PI;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How the rotary positions are stretched.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rope {
    /// A larger base of the frequencies, by the NTK rule or from --theta; the model's own scaling is kept
    Ntk,
    /// Position interpolation (Chen et al. 2023): all frequencies divided by the factor
    Linear,
    /// Llama 3.1's rule: low frequencies divided by the factor, high ones kept
    Llama3,
    /// YaRN (Peng et al. 2023), with transformers' defaults
    Yarn,
}

/// The NTK-aware base `theta s^(d / (d - 2))`: with it, the slowest pair of a head of `d` dimensions turns by the same angle over a
/// context `s` times as long.
#[must_use]
pub fn ntk_theta(theta: f64, stretch: f64, head_dim: i64) -> f64 {
    let d = head_dim as f64;
    theta * stretch.powf(d / (d - 2.0))
}

/// Full turns of the slowest pair of a head over a context: `length theta^(-(d - 2) / d) / 2 pi`.
#[must_use]
pub fn slowest_turns(theta: f64, length: usize, head_dim: i64) -> f64 {
    let d = head_dim as f64;
    length as f64 * theta.powf(-(d - 2.0) / d) / (2.0 * PI)
}

/// The lengths of `stages` stages between two contexts: equal ratios, rounded up to an eighth of the original context.
///
/// # Errors
/// When the target is not longer than the context, or when two stages would have the same length.
pub fn ladder(context: usize, to: usize, stages: usize) -> anyhow::Result<Vec<usize>> {
    ensure!(stages > 0, "--stages must be at least 1");
    ensure!(to > context, "--to {to}: the model's context is {context} tokens already; name a longer one");
    let step = (context / 8).max(1);
    let ratio = to as f64 / context as f64;
    let length = |stage: usize| {
        if stage == stages {
            return to;
        }
        let exact = context as f64 * ratio.powf(stage as f64 / stages as f64);
        // A ratio that is whole up to rounding errors is not rounded up.
        ((exact / step as f64 - 1e-6).ceil() as usize * step).min(to)
    };
    let lengths: Vec<usize> = (1..=stages).map(length).collect();
    ensure!(
        lengths.is_sorted_by(|a, b| a < b),
        "--stages {stages}: too many steps between {context} and {to} tokens; give fewer, or --lengths"
    );
    Ok(lengths)
}

/// The model before the first stage.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The model's `config.json`.
    pub config: Map<String, Value>,
    /// Its context in tokens.
    pub context: usize,
    /// Dimensions of a head.
    pub head_dim: i64,
    /// The base of its frequencies.
    pub theta: f64,
}

/// The positions of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Positions {
    /// The stage's `config.json`.
    pub config: Map<String, Value>,
    /// The base of the frequencies.
    pub theta: f64,
    /// A description in one line.
    pub text: String,
}

/// The positions for a context of `length` tokens. It writes `rope_parameters`, which transformers 5 reads, and with the same values
/// `rope_theta` and `rope_scaling`, which transformers 4, vLLM and llama.cpp's converter read.
///
/// # Errors
/// When the model already has a scaling of another kind.
pub fn positions(origin: &Origin, length: usize, rope: Rope, theta: Option<f64>) -> anyhow::Result<Positions> {
    let stretch = length as f64 / origin.context as f64;
    let mut scaling = scaling_of(&origin.config);
    let kind = scaling.get("rope_type").and_then(Value::as_str).unwrap_or("default").to_owned();
    let number = |scaling: &Map<String, Value>, key: &str| scaling.get(key).and_then(Value::as_f64);
    let by_rule = match rope {
        Rope::Ntk => ntk_theta(origin.theta, stretch, origin.head_dim),
        _ => origin.theta,
    };
    let theta = theta.unwrap_or(by_rule);
    ensure!(theta > 1.0 && theta.is_finite(), "--theta {theta}: the base of the frequencies must be more than 1");
    let wanted = match rope {
        // A stage as long as the model's context stretches nothing.
        _ if length == origin.context => kind.as_str(),
        Rope::Ntk => kind.as_str(),
        Rope::Linear => "linear",
        Rope::Llama3 => "llama3",
        Rope::Yarn => "yarn",
    };
    if kind != "default" && kind != wanted {
        bail!("--rope {wanted}: the model's positions are scaled by {kind} already; take --rope {kind}, or ntk");
    }
    if rope != Rope::Ntk && length != origin.context {
        let before = number(&scaling, "factor").unwrap_or(1.0);
        let original = number(&scaling, "original_max_position_embeddings").unwrap_or(origin.context as f64);
        // If the type has an original context, the factor is relative to it: transformers reads it so.
        let factor = if rope == Rope::Linear { before * stretch } else { length as f64 / original };
        scaling.insert("factor".into(), json!(factor));
        if rope != Rope::Linear {
            scaling.insert("original_max_position_embeddings".into(), json!(original as u64));
        }
        if rope == Rope::Llama3 && kind == "default" {
            scaling.insert("low_freq_factor".into(), json!(1.0));
            scaling.insert("high_freq_factor".into(), json!(4.0));
        }
    }
    let text = match scaling.get("factor") {
        Some(factor) => format!("{length} tokens: theta {theta:.0}, {wanted} by {factor}"),
        None => format!(
            "{length} tokens: theta {theta:.0}; the slowest pair turns {:.2} times",
            slowest_turns(theta, length, origin.head_dim)
        ),
    };
    let mut config = origin.config.clone();
    config.insert("max_position_embeddings".into(), json!(length));
    config.insert("rope_theta".into(), json!(theta));
    let mut parameters = Map::new();
    parameters.insert("rope_type".into(), json!(wanted));
    parameters.insert("rope_theta".into(), json!(theta));
    scaling.remove("rope_type");
    let is_scaled = wanted != "default";
    let mut older = Map::new();
    if is_scaled {
        older.insert("rope_type".into(), json!(wanted));
        older.insert("type".into(), json!(wanted));
        older.extend(scaling.clone());
    }
    parameters.extend(scaling);
    config.insert("rope_parameters".into(), Value::Object(parameters));
    config.insert("rope_scaling".into(), if is_scaled { Value::Object(older) } else { Value::Null });
    Ok(Positions { config, theta, text })
}

/// The scaling of a configuration in either style, without the base, with `rope_type`.
fn scaling_of(config: &Map<String, Value>) -> Map<String, Value> {
    let found = ["rope_parameters", "rope_scaling"].iter().find_map(|key| config.get(*key)?.as_object());
    let mut scaling = found.cloned().unwrap_or_default();
    let older = scaling.remove("type");
    if let (Some(older), false) = (older, scaling.contains_key("rope_type")) {
        scaling.insert("rope_type".into(), older);
    }
    scaling.remove("rope_theta");
    // The default type without a scaling has no other keys.
    if scaling.get("rope_type").is_none_or(|kind| kind == "default") {
        scaling.retain(|key, _| key != "rope_type" && key != "factor");
    }
    scaling
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama::{LlamaConfig, RopeScaling};

    fn origin(more: &Value) -> Origin {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
            "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 260, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 8192, "rope_theta": 100000.0, "hidden_act": "silu", "bos_token_id": 1,
            "eos_token_id": 2
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = config.as_object().unwrap().clone();
        Origin { config, context: 8192, head_dim: 64, theta: 1e5 }
    }

    /// The configuration that herd reads from the older keys alone, and from all keys.
    fn read(config: &Map<String, Value>) -> [LlamaConfig; 2] {
        let mut older = config.clone();
        older.remove("rope_parameters");
        [config.clone(), older].map(|config| LlamaConfig::from_json(config).unwrap())
    }

    #[test]
    fn the_rule_keeps_the_slowest_angle() {
        // 2^(64/62) = 2.0452
        let theta = ntk_theta(1e5, 2.0, 64);
        assert!((theta - 204_522.0).abs() < 30.0, "{theta}");
        assert!((slowest_turns(theta, 16_384, 64) - slowest_turns(1e5, 8192, 64)).abs() < 1e-9);
    }

    #[test]
    fn stages_grow_by_equal_ratios() {
        let lengths = ladder(8192, 131_072, 6).unwrap();
        assert_eq!(lengths, [13_312, 21_504, 32_768, 52_224, 82_944, 131_072]);
        assert_eq!(ladder(256, 2048, 3).unwrap(), [512, 1024, 2048]);
        assert!(ladder(8192, 8192, 1).unwrap_err().to_string().contains("is 8192 tokens already"));
        assert!(ladder(8192, 9000, 6).unwrap_err().to_string().contains("too many steps"));
    }

    #[test]
    fn both_styles_say_the_same() {
        for (rope, expected) in [
            (Rope::Ntk, RopeScaling::None),
            (Rope::Linear, RopeScaling::Linear { factor: 4.0 }),
            (
                Rope::Llama3,
                RopeScaling::Llama3 {
                    factor: 4.0,
                    low_freq_factor: 1.0,
                    high_freq_factor: 4.0,
                    original_context: 8192.0,
                },
            ),
        ] {
            let made = positions(&origin(&json!({})), 32_768, rope, None).unwrap();
            for config in read(&made.config) {
                assert_eq!(config.rope_scaling, expected, "{rope:?}");
                assert_eq!((config.max_position_embeddings, config.rope_theta), (32_768, made.theta));
            }
        }
        let yarn = positions(&origin(&json!({})), 32_768, Rope::Yarn, None).unwrap();
        for config in read(&yarn.config) {
            let RopeScaling::Yarn { factor, original_context, attention_factor, .. } = config.rope_scaling else {
                panic!("{:?}", config.rope_scaling)
            };
            assert_eq!((factor, original_context), (4.0, 8192.0));
            assert!((attention_factor - (0.1 * 4_f64.ln() + 1.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_scaling_goes_on_from_its_original_context() {
        let llama3 = json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 4096}});
        let made = positions(&origin(&llama3), 16_384, Rope::Llama3, None).unwrap();
        assert_eq!(
            (&made.config["rope_scaling"]["factor"], &made.config["rope_parameters"]["factor"]),
            (&json!(4.0), &json!(4.0))
        );
        assert_eq!(made.config["rope_parameters"]["original_max_position_embeddings"], 4096);
        // The base changes; the scaling is kept.
        let ntk = positions(&origin(&llama3), 16_384, Rope::Ntk, Some(1e6)).unwrap();
        assert_eq!((&ntk.config["rope_scaling"]["factor"], ntk.theta), (&json!(2.0), 1e6));
        let error = positions(&origin(&llama3), 16_384, Rope::Yarn, None).unwrap_err().to_string();
        assert!(error.contains("--rope yarn: the model's positions are scaled by llama3 already"), "{error}");
    }

    #[test]
    fn the_same_length_changes_nothing() {
        let made = positions(&origin(&json!({})), 8192, Rope::Yarn, None).unwrap();
        assert_eq!((made.theta, &made.config["rope_scaling"]), (1e5, &Value::Null));
        assert_eq!(read(&made.config)[0].rope_scaling, RopeScaling::None);
    }
}
