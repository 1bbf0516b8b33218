//! Device, data type and thread count of the computation.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use run::Hardware;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::{Cuda, Device, Kind};
use torch_ext::{CudaLibrary, GpuKernels};

pub use torch_ext::LIBTORCH;

use crate::fixed_step::Graphs;
use crate::threads;

/// Flags of every command that runs a model.
#[derive(Args, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Type to compute in [default: bf16 on a GPU and on processors with AVX512-BF16 or AMX, f32 on others]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Where to compute: cpu, cuda (the first GPU) or cuda:N [default: the first GPU if there is one that libtorch can use]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Place>,
    /// Threads for the processor's arithmetic; auto: as many as are fastest beside the other programs [default: one for each core]
    #[arg(long, value_name = "N|auto")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<Count>,
}

/// A number, or automatic choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Count {
    /// The program chooses the number.
    Auto,
    /// This number.
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
    /// The corresponding type of libtorch.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }
}

/// A device: `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The CPU
    Cpu,
    /// The GPU with this index among those visible to the process; `None` means the first
    Cuda(Option<u32>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match (text, text.strip_prefix("cuda:").and_then(number)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(None)),
            (_, Some(index)) => Ok(Self::Cuda(Some(index))),
            _ => Err(format!("{text:?} is no device: say cpu, cuda or cuda:N")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The GPUs that this process sees, and whether the libraries for them can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus {
    /// Result of loading libtorch's CUDA kernels.
    pub library: CudaLibrary,
    /// Number of GPUs that libtorch can use.
    pub count: usize,
    /// Why the driver cannot be used. Only checked if the kernels are loaded and there is no GPU.
    pub driver: Option<String>,
}

impl Gpus {
    /// Detects the GPUs of this process.
    #[must_use]
    pub fn here() -> Self {
        let library = torch_ext::init().clone();
        let loaded = matches!(library, CudaLibrary::Loaded(_));
        let count = if loaded && Cuda::is_available() { usize::try_from(Cuda::device_count()).unwrap_or(0) } else { 0 };
        let driver = if loaded && count == 0 { torch_ext::driver().err() } else { None };
        Self { library, count, driver }
    }

    /// A sentence that states why no GPU can be used, and what to do.
    #[must_use]
    pub fn why_none(&self) -> String {
        match (&self.library, &self.driver) {
            (CudaLibrary::NotFound, _) => format!(
                "there are no CUDA kernels of libtorch here: run `cargo xtask setup --cuda`, or set LIBTORCH_CUDA to the torch/lib \
                 of a PyTorch {LIBTORCH} installation"
            ),
            (CudaLibrary::OtherVersion(path, version), _) => format!(
                "{} is of libtorch {version}, this program of {LIBTORCH}: set LIBTORCH_CUDA to the torch/lib of a PyTorch \
                 {LIBTORCH} installation",
                path.display()
            ),
            (CudaLibrary::Failed(path, reason), _) => format!("{} could not be opened: {reason}", path.display()),
            (CudaLibrary::Loaded(_), Some(reason)) => {
                format!("libtorch's CUDA kernels are there, but {reason}: install the driver")
            }
            (CudaLibrary::Loaded(_), None) => {
                "the driver shows no GPU to this process: CUDA_VISIBLE_DEVICES may hide it".to_owned()
            }
        }
    }
}

/// The device for `--device`. Without the flag, it is the first GPU if there is one, otherwise the CPU.
///
/// # Errors
/// When the requested GPU cannot be used; the message states why and what to do.
pub fn choose(asked: Option<Place>, gpus: &Gpus) -> anyhow::Result<Device> {
    match asked {
        Some(Place::Cpu) => Ok(Device::Cpu),
        None => Ok(if gpus.count == 0 { Device::Cpu } else { Device::Cuda(0) }),
        Some(place) if gpus.count == 0 => anyhow::bail!("--device {place}: {}", gpus.why_none()),
        Some(Place::Cuda(index)) => {
            let index = index.unwrap_or(0) as usize;
            let names: Vec<String> = (0..gpus.count).map(|index| format!("cuda:{index}")).collect();
            anyhow::ensure!(
                index < gpus.count,
                "--device cuda:{index}: this process sees {} GPU{}, {}; CUDA_VISIBLE_DEVICES decides which",
                gpus.count,
                if gpus.count == 1 { "" } else { "s" },
                names.join(", ")
            );
            Ok(Device::Cuda(index))
        }
    }
}

/// Parses an environment variable with the values `on` and `off`. Unset and empty mean `on`.
fn is_on(variable: &str, value: Option<&str>) -> anyhow::Result<bool> {
    match value {
        None | Some("" | "on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => anyhow::bail!("{variable} is {other:?}: say on or off"),
    }
}

/// [`is_on`] with the variable's value in this process's environment.
fn is_on_here(variable: &str) -> anyhow::Result<bool> {
    is_on(variable, std::env::var(variable).ok().as_deref())
}

impl Compute {
    /// GPU kernels for a command's model ([`crate::Llama::set_gpu_kernels`]): herd's own, or libtorch's operators with
    /// `HERD_GPU_KERNELS=off`. Only commands read the variable; libraries get the value as an argument.
    ///
    /// # Errors
    /// When the variable is neither `on` nor `off`.
    pub fn gpu_kernels(&self) -> anyhow::Result<GpuKernels> {
        Ok(if is_on_here("HERD_GPU_KERNELS")? { GpuKernels::Own } else { GpuKernels::Libtorch })
    }

    /// How a command's engine runs decode steps on a GPU ([`crate::EngineOptions::graphs`]): as CUDA graphs, or one kernel
    /// launch at a time with `HERD_GPU_GRAPHS=off`.
    ///
    /// # Errors
    /// As [`Compute::gpu_kernels`].
    pub fn graphs(&self) -> anyhow::Result<Graphs> {
        Ok(if is_on_here("HERD_GPU_GRAPHS")? { Graphs::On } else { Graphs::Off })
    }

    /// Chooses the device and the data type, and sets libtorch's number of threads. Prints automatic choices to stderr.
    ///
    /// # Errors
    /// When the requested GPU cannot be used, or `--threads` is 0.
    pub fn resolve(&self) -> anyhow::Result<(Device, Kind)> {
        match self.threads {
            Some(Count::Of(threads)) => {
                anyhow::ensure!(threads >= 1, "--threads must be at least 1");
                tch::set_num_threads(i32::try_from(threads)?);
            }
            Some(Count::Auto) => eprintln!("{}", threads::choose()?),
            None => {}
        }
        // With `--device cpu`, libtorch need not look for a GPU.
        let device = if self.device == Some(Place::Cpu) {
            Device::Cpu
        } else {
            let gpus = Gpus::here();
            if self.device.is_none() && matches!(gpus.library, CudaLibrary::OtherVersion(..) | CudaLibrary::Failed(..))
            {
                eprintln!("Computing on the processor: {}", gpus.why_none());
            }
            choose(self.device, &gpus)?
        };
        let kind = match self.dtype {
            Some(dtype) => dtype.kind(),
            None if device.is_cuda() || has_fast_bf16() => Kind::BFloat16,
            None => Kind::Float,
        };
        Ok((device, kind))
    }
}

/// Whether this CPU multiplies bfloat16 matrices faster than float32 matrices: it has AVX512-BF16.
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

/// Name of a data type, as in `--dtype`.
#[must_use]
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        Kind::Half => "f16",
        _ => "f32",
    }
}

/// Description of this machine with device, data type and thread count, for a run's record.
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

    fn gpus(library: CudaLibrary, count: usize, driver: Option<&str>) -> Gpus {
        Gpus { library, count, driver: driver.map(str::to_owned) }
    }

    fn loaded(count: usize) -> Gpus {
        gpus(CudaLibrary::Loaded("/torch/lib/libtorch_cuda.so".into()), count, None)
    }

    fn refused(asked: &str, gpus: &Gpus) -> String {
        choose(Some(asked.parse().unwrap()), gpus).unwrap_err().to_string()
    }

    #[test]
    fn a_part_is_on_unless_it_is_switched_off() {
        for on in [None, Some(""), Some("on")] {
            assert!(is_on("HERD_GPU_KERNELS", on).unwrap());
        }
        assert!(!is_on("HERD_GPU_KERNELS", Some("off")).unwrap());
        let text = is_on("HERD_GPU_GRAPHS", Some("0")).unwrap_err().to_string();
        assert_eq!(text, "HERD_GPU_GRAPHS is \"0\": say on or off");
    }

    #[test]
    fn a_place_is_read_and_written_alike() {
        for text in ["cpu", "cuda", "cuda:0", "cuda:13"] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
            assert_eq!(serde_json::from_str::<Place>(&serde_json::to_string(&place).unwrap()).unwrap(), place);
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:1.0", "CPU"] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains("say cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn the_device_is_the_one_asked_for() {
        let two = loaded(2);
        let of = |asked: Option<&str>| choose(asked.map(|text| text.parse().unwrap()), &two).unwrap();
        assert_eq!(of(None), Device::Cuda(0));
        assert_eq!(of(Some("cuda")), Device::Cuda(0));
        assert_eq!(of(Some("cuda:1")), Device::Cuda(1));
        assert_eq!(of(Some("cpu")), Device::Cpu);
        assert_eq!(choose(None, &gpus(CudaLibrary::NotFound, 0, None)).unwrap(), Device::Cpu);
    }

    #[test]
    fn what_cannot_be_used_is_a_sentence_with_advice() {
        assert_eq!(
            refused("cuda:3", &loaded(1)),
            "--device cuda:3: this process sees 1 GPU, cuda:0; CUDA_VISIBLE_DEVICES decides which"
        );
        let text = refused("cuda:2", &loaded(2));
        assert!(text.contains("2 GPUs, cuda:0, cuda:1;"), "{text}");
        let other = CudaLibrary::OtherVersion("/torch/lib/libtorch_cuda.so".into(), "2.10.0+cu126".into());
        let text = refused("cuda", &gpus(other, 0, None));
        assert!(text.contains("is of libtorch 2.10.0+cu126, this program of 2.11.0"), "{text}");
        let library = CudaLibrary::Loaded("/torch/lib/libtorch_cuda.so".into());
        let text = refused("cuda:0", &gpus(library, 0, Some("no NVIDIA driver: libcuda.so.1: cannot open")));
        assert!(text.starts_with("--device cuda:0: ") && text.contains("no NVIDIA driver: libcuda.so.1"), "{text}");
        assert!(refused("cuda", &loaded(0)).contains("CUDA_VISIBLE_DEVICES"));
        assert!(refused("cuda", &gpus(CudaLibrary::NotFound, 0, None)).contains("cargo xtask setup --cuda"));
    }
}
