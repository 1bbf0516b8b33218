//! Where to compute and in which type.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use run::Hardware;
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

use crate::threads;

/// Flags of every command that runs a model.
#[derive(Args, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Type to compute in [default: bf16 on a GPU and on processors with AVX512-BF16 or AMX, f32 on others]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Where to compute [default: the GPU if there is one that libtorch can use]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Place>,
    /// Threads for the processor's arithmetic; auto: as many as are fastest beside the other programs [default: one for each core]
    #[arg(long, value_name = "N|auto")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<Count>,
}

/// A number, or that the program is to choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Count {
    /// The program chooses.
    Auto,
    /// This many.
    Of(usize),
}

/// A [`Count`] in a configuration file: `4` or `"auto"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(usize),
    Text(String),
}

impl From<Count> for Written {
    fn from(count: Count) -> Self {
        match count {
            Count::Auto => Self::Text("auto".into()),
            Count::Of(number) => Self::Number(number),
        }
    }
}

impl TryFrom<Written> for Count {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(number) => Ok(Self::Of(number)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Of).map_err(|_| format!("{text:?} is neither a whole number nor auto"))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Of(number) => number.fmt(f),
        }
    }
}

/// A floating type.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// 32-bit
    F32,
    /// bfloat16
    Bf16,
    /// 16-bit IEEE
    F16,
}

impl Dtype {
    /// libtorch's name for it.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }
}

/// A kind of device.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The processor
    Cpu,
    /// The first GPU
    Cuda,
}

impl Compute {
    /// Settles device and type, and sets the number of threads.
    ///
    /// # Errors
    /// When there is no GPU to use, or no thread.
    pub fn resolve(&self) -> anyhow::Result<(Device, Kind)> {
        match self.threads {
            Some(Count::Of(threads)) => {
                anyhow::ensure!(threads >= 1, "--threads must be at least 1");
                tch::set_num_threads(i32::try_from(threads)?);
            }
            Some(Count::Auto) => eprintln!("{}", threads::choose()?),
            None => {}
        }
        let device = match self.device {
            Some(Place::Cpu) => Device::Cpu,
            Some(Place::Cuda) if !Cuda::is_available() => {
                anyhow::bail!("--device cuda: libtorch finds no GPU here; `herd doctor` says why")
            }
            None if !Cuda::is_available() => Device::Cpu,
            _ => Device::Cuda(0),
        };
        let kind = match self.dtype {
            Some(dtype) => dtype.kind(),
            None if device.is_cuda() || has_fast_bf16() => Kind::BFloat16,
            None => Kind::Float,
        };
        Ok((device, kind))
    }
}

/// Whether this processor multiplies bfloat16 matrices faster than float32.
#[must_use]
pub fn has_fast_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// The type's name as in `--dtype`.
#[must_use]
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        Kind::Half => "f16",
        _ => "f32",
    }
}

/// The version of libtorch that this program is built for.
pub const LIBTORCH: &str = "2.11.0";

/// This machine with the device, the type and the threads of the arithmetic, for a run's record.
#[must_use]
pub fn hardware(device: Device, kind: Kind) -> Hardware {
    let place = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    };
    Hardware {
        device: Some(place),
        dtype: Some(name(kind).into()),
        threads: usize::try_from(tch::get_num_threads()).ok(),
        ..Hardware::here()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_number_or_auto() {
        for (count, json) in [(Count::Of(12), "12"), (Count::Auto, "\"auto\"")] {
            assert_eq!(serde_json::to_string(&count).unwrap(), json);
            assert_eq!(serde_json::from_str::<Count>(json).unwrap(), count);
            assert_eq!(count.to_string().parse(), Ok(count));
        }
        for wrong in ["\"all\"", "\"-1\"", "\"\""] {
            let error = serde_json::from_str::<Count>(wrong).unwrap_err().to_string();
            assert!(error.contains("is neither a whole number nor auto"), "{error}");
        }
        assert!(serde_json::from_str::<Count>("-1").is_err() && serde_json::from_str::<Count>("1.5").is_err());
    }
}
