//! `herd doctor`: reports what this machine has, with advice for missing parts.

use std::path::Path;
use std::process::{Command, Stdio};

use tch::Cuda;
use torch_ext::CudaLibrary;

use llama::device;

/// Prints the report.
pub fn run() -> anyhow::Result<()> {
    line("herd", env!("CARGO_PKG_VERSION"));
    line("libtorch", &libtorch());
    line("GPU", &gpu());
    for index in 0..device::Gpus::here().count {
        line("kernels", &kernels(index));
    }
    line("processor", &processor());
    line("features", &features());
    line(
        "threads",
        &format!("{} for arithmetic, {} between operators", tch::get_num_threads(), tch::get_num_interop_threads()),
    );
    line("memory", &memory());
    line("cache", &cache());
    line("codeexec", &languages());
    line("packages", &packages());
    println!("\nOptional tools");
    for (tool, argument, purpose) in TOOLS {
        let found = version(tool, argument);
        let missing = format!("not found; needed for {purpose}");
        line(tool, &found.map_or(missing, |version| format!("{version} (for {purpose})")));
    }
    Ok(())
}

const TOOLS: [(&str, &str, &str); 5] = [
    ("python3", "--version", "pip, which fetches models and libtorch"),
    ("npm", "--version", "packages that only npm has, such as tokenizers for tests"),
    ("bwrap", "--version", "running programs natively in `codeexec --backend native`"),
    ("nvidia-smi", "--version", "reading a GPU's state"),
    ("tensorboard", "--version", "watching the event files of a run"),
];

fn line(name: &str, value: &str) {
    println!("{name:>12}  {value}");
}

fn libtorch() -> String {
    let Some(library) = torch_ext::cpu_library() else { return "not loaded".into() };
    let folder = library.parent().unwrap_or(Path::new("/"));
    let version_file = folder.parent().map(|home| home.join("build-version"));
    let version = version_file.and_then(|file| std::fs::read_to_string(file).ok());
    format!("{} in {}", version.as_deref().map_or("version not recorded", str::trim), folder.display())
}

fn gpu() -> String {
    match torch_ext::init() {
        CudaLibrary::NotFound => {
            "no CUDA kernels here, computing on the processor; for a GPU run `cargo xtask setup --cuda`, \
                                  or set LIBTORCH_CUDA to the torch/lib of a PyTorch 2.11.0 installation"
                .into()
        }
        CudaLibrary::OtherVersion(path, version) => format!(
            "{} is of libtorch {version}, this program of {}: not used; set LIBTORCH_CUDA to the torch/lib of that version",
            path.display(),
            device::LIBTORCH
        ),
        CudaLibrary::Failed(path, reason) => format!("{} could not be opened: {reason}", path.display()),
        CudaLibrary::Loaded(path) if Cuda::is_available() => {
            format!(
                "{} device(s), cuDNN {}, kernels from {}",
                Cuda::device_count(),
                Cuda::cudnn_is_available(),
                path.display()
            )
        }
        CudaLibrary::Loaded(path) => {
            format!("kernels from {}, but no GPU answers: is the NVIDIA driver installed?", path.display())
        }
    }
}

/// Own kernels of a GPU: compiled here on first use.
fn kernels(index: usize) -> String {
    match torch_ext::gpu_kernels(index as i64) {
        Ok(kernels) => format!("own ones for {}, {:?} on cuda:{index}", kernels.architecture, kernels.origin),
        Err(reason) => format!("libtorch's on cuda:{index}: {reason}"),
    }
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", model.unwrap_or("unknown"))
}

fn features() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let wanted = [("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX-BF16")];
    let found: Vec<&str> = wanted.iter().filter(|(flag, _)| has(flag)).map(|(_, name)| *name).collect();
    let note = if device::has_fast_bf16() {
        "bf16 is the default type"
    } else {
        "no AVX512-BF16: bf16 would be slower than f32 here, so f32 is the default type"
    };
    format!("{} ({note})", if found.is_empty() { "none of those that matter".into() } else { found.join(", ") })
}

fn memory() -> String {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1e6)
    };
    match (gigabytes("MemTotal"), gigabytes("MemAvailable")) {
        (Some(total), Some(free)) => format!("{total:.1} GB, {free:.1} GB of it available"),
        _ => "unknown".into(),
    }
}

fn cache() -> String {
    let folder = match pinned::cache_dir() {
        Ok(folder) => folder,
        Err(error) => return error.to_string(),
    };
    let models = llama::locate::names(&folder.join("models"));
    let models = if models.is_empty() {
        "no models yet; `herd model get smollm2-135m-instruct` fetches one".into()
    } else {
        format!("models: {}", models.join(", "))
    };
    format!("{} ({models})", folder.display())
}

/// The packages that Python programs can import in the sandbox.
fn packages() -> String {
    let names = codeexec::languages::python::PACKAGES.map(|(name, _)| name);
    format!("Python's in the sandbox: {}", names.join(", "))
}

/// The languages that `herd codeexec` runs here, and those that could be set up.
fn languages() -> String {
    let all = match codeexec::languages::installed() {
        Ok(all) => all,
        Err(error) => return format!("{error:#}"),
    };
    let name = |language: &dyn codeexec::languages::Language, is_here: bool| match is_here {
        true => format!("{} ({})", language.name(), language.interpreter()),
        false => language.name().to_owned(),
    };
    let list = |wanted: bool| {
        let chosen = all.iter().filter(|(_, is_here)| *is_here == wanted);
        chosen.map(|(language, is_here)| name(*language, *is_here)).collect::<Vec<_>>().join(", ")
    };
    match (list(true), list(false)) {
        (here, missing) if missing.is_empty() => here,
        (here, missing) => {
            let start = if here.is_empty() { "nothing is set up" } else { here.as_str() };
            format!("{start}; `herd codeexec setup --languages NAMES` adds {missing}")
        }
    }
}

/// The first line of a tool's version output.
fn version(tool: &str, argument: &str) -> Option<String> {
    let output = Command::new(tool).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next().unwrap_or("found").trim().to_owned())
}
