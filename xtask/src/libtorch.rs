//! Installs libtorch under `.libtorch/`, with the folder layout of a Python environment (`torch/`, `nvidia/`), so
//! that the libraries' own run-time search paths are valid.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};

use pinned::Wheel;

use crate::project;

const VERSION: &str = "2.11.0";

const TORCH: Wheel = Wheel {
    name: "torch",
    version: VERSION,
    file: "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    megabytes: 531,
};

/// Two small wheels against which the CPU library of the torch wheel was linked.
const CPU_NEEDS: [Wheel; 2] = [
    Wheel {
        name: "nvidia-cuda-runtime",
        version: "13.0.96",
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        megabytes: 2,
    },
    Wheel {
        name: "nvidia-cuda-cupti",
        version: "13.0.85",
        file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        megabytes: 11,
    },
];

/// The wheels against which the CUDA kernels were linked.
const CUDA_NEEDS: [Wheel; 12] = [
    Wheel {
        name: "nvidia-cublas",
        version: "13.1.0.3",
        file: "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
        megabytes: 423,
    },
    Wheel {
        name: "nvidia-cuda-nvrtc",
        version: "13.0.88",
        file: "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        megabytes: 90,
    },
    Wheel {
        name: "nvidia-cudnn-cu13",
        version: "9.19.0.56",
        file: "nvidia_cudnn_cu13-9.19.0.56-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf",
        megabytes: 366,
    },
    Wheel {
        name: "nvidia-cufft",
        version: "12.0.0.61",
        file: "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
        megabytes: 214,
    },
    Wheel {
        name: "nvidia-cufile",
        version: "1.15.1.6",
        file: "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
        megabytes: 1,
    },
    Wheel {
        name: "nvidia-curand",
        version: "10.4.0.35",
        file: "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
        megabytes: 60,
    },
    Wheel {
        name: "nvidia-cusolver",
        version: "12.0.4.66",
        file: "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
        megabytes: 201,
    },
    Wheel {
        name: "nvidia-cusparse",
        version: "12.6.3.3",
        file: "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
        megabytes: 146,
    },
    Wheel {
        name: "nvidia-cusparselt-cu13",
        version: "0.8.0",
        file: "nvidia_cusparselt_cu13-0.8.0-py3-none-manylinux2014_x86_64.whl",
        sha256: "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
        megabytes: 170,
    },
    Wheel {
        name: "nvidia-nccl-cu13",
        version: "2.28.9",
        file: "nvidia_nccl_cu13-2.28.9-py3-none-manylinux_2_18_x86_64.whl",
        sha256: "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
        megabytes: 196,
    },
    Wheel {
        name: "nvidia-nvjitlink",
        version: "13.0.88",
        file: "nvidia_nvjitlink-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        sha256: "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b",
        megabytes: 41,
    },
    Wheel {
        name: "nvidia-nvshmem-cu13",
        version: "3.4.5",
        file: "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
        megabytes: 60,
    },
];

/// Libraries of the torch wheel that hold CUDA kernels. They go to `torch/cuda/`, separate from the CPU libraries, so
/// that the build links the same libraries with and without them (they are opened at run time).
const CUDA_LIBRARIES: [&str; 4] =
    ["libtorch_cuda.so", "libc10_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so"];
const CPU_LIBRARIES: [&str; 3] = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"];

/// Installs libtorch, or checks the installation that the user's `LIBTORCH` names. It is idempotent: each wheel is recorded in
/// `.libtorch/placed` after it is unpacked, so an interrupted run continues there.
pub fn set_up(cuda: bool) -> anyhow::Result<()> {
    let home = project::root().join(".libtorch");
    if let Some(own) = users_own(&home) {
        return check_users_own(&own, cuda);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "set-up places libtorch for x86-64 Linux only; elsewhere, install libtorch {VERSION} and set LIBTORCH to it"
        );
    }
    let start = Instant::now();
    let mut wanted: Vec<(&Wheel, &str)> = vec![(&TORCH, "cpu")];
    wanted.extend(CPU_NEEDS.iter().map(|wheel| (wheel, "cpu")));
    if cuda {
        wanted.extend(CUDA_NEEDS.iter().map(|wheel| (wheel, "cuda")));
        wanted.push((&TORCH, "cuda"));
    }
    let ledger = home.join("placed");
    let mut placed = fs::read_to_string(&ledger).unwrap_or_default();
    let record = |wheel: &Wheel, part: &str| format!("{part} {} {}\n", wheel.file, wheel.sha256);
    wanted.retain(|(wheel, part)| !placed.contains(&record(wheel, part)));
    if wanted.is_empty() {
        println!("libtorch {VERSION} is in place ({})", home.display());
        return Ok(());
    }
    let mut files: Vec<&str> = wanted.iter().map(|(wheel, _)| wheel.file).collect();
    files.dedup();
    let megabytes: u32 = wanted.iter().map(|(wheel, _)| wheel.megabytes).sum();
    println!(
        "Setting up libtorch {VERSION} in {}: {} wheels, up to {megabytes} MB to download",
        home.display(),
        files.len()
    );
    let downloads = home.join("downloads");
    for (wheel, part) in wanted {
        let path = pinned::fetch(wheel, &downloads)?;
        let (count, bytes) = pinned::unpack(&path, |name| destination(&home, name, part))?;
        println!("    kept {count} files, {} MB", bytes / 1_000_000);
        placed.push_str(&record(wheel, part));
        if part == "cpu" && wheel.name == TORCH.name {
            // torch-sys asks the linker for `torch`, which in this wheel is an empty wrapper of the CPU library.
            fs::write(home.join("torch/lib/libtorch.so"), "INPUT(libtorch_cpu.so)\n")?;
            fs::write(home.join("torch/build-version"), format!("{VERSION}+cu130\n"))?;
        }
        fs::write(&ledger, &placed).with_context(|| format!("cannot write {}", ledger.display()))?;
    }
    fs::remove_dir_all(&downloads)?;
    println!("libtorch {VERSION} is in place after {}", project::since(start));
    Ok(())
}

/// Installs only NVRTC, into the cache folder (`nvrtc/VERSION`), where the tests that compile GPU kernels find it. Needs no
/// GPU. Keeps two of the wheel's libraries, 114 MB.
pub fn set_up_nvrtc() -> anyhow::Result<()> {
    let wheel =
        CUDA_NEEDS.iter().find(|wheel| wheel.name == "nvidia-cuda-nvrtc").context("no wheel of NVRTC is pinned")?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("NVRTC's wheel is for x86-64 Linux: the tests that compile kernels are skipped here");
        return Ok(());
    }
    let home = pinned::cache_dir()?.join("nvrtc").join(wheel.version);
    // Written last, so that an interrupted installation is not taken as complete.
    let placed = home.join("placed");
    if fs::read_to_string(&placed).is_ok_and(|digest| digest == wheel.sha256) {
        println!("NVRTC {} is in place ({})", wheel.version, home.display());
        return Ok(());
    }
    println!("Setting up NVRTC {} in {}", wheel.version, home.display());
    let downloads = home.join("downloads");
    let path = pinned::fetch(wheel, &downloads)?;
    let keep = |name: &str| {
        let library = name.strip_prefix("nvidia/cu13/lib/").filter(|library| !library.contains(".alt."))?;
        Some(home.join(library))
    };
    let (count, bytes) = pinned::unpack(&path, keep)?;
    println!("    kept {count} files, {} MB", bytes / 1_000_000);
    fs::remove_dir_all(&downloads)?;
    fs::write(&placed, wheel.sha256).with_context(|| format!("cannot write {}", placed.display()))?;
    Ok(())
}

/// The destination of a file of a wheel; `None` if the file is not installed. `part` selects the CPU or the CUDA part of the
/// wheel.
fn destination(home: &Path, name: &str, part: &str) -> Option<PathBuf> {
    let keep = |folder: &str| Some(home.join(folder));
    if let Some(library) = name.strip_prefix("torch/lib/") {
        return match part {
            "cpu" if CPU_LIBRARIES.contains(&library) => keep("torch/lib").map(|folder| folder.join(library)),
            "cuda" if CUDA_LIBRARIES.contains(&library) => keep("torch/cuda").map(|folder| folder.join(library)),
            _ => None,
        };
    }
    if part == "cpu" && name.starts_with("torch/include/") {
        return keep(name);
    }
    let (folder, library) = name.rsplit_once('/')?;
    let wanted = match part {
        "cpu" => ["libcudart.so.13", "libcupti.so.13"].contains(&library),
        _ => library.contains(".so") && !library.contains(".alt."),
    };
    (folder.starts_with("nvidia/") && folder.ends_with("/lib") && wanted).then(|| home.join(name))
}

/// The `LIBTORCH` that the user exported, if it is not the one that `.cargo/config.toml` sets.
fn users_own(home: &Path) -> Option<PathBuf> {
    let own = PathBuf::from(std::env::var_os("LIBTORCH")?);
    let ours = home.join("torch");
    let same =
        own == ours || own.canonicalize().ok().is_some_and(|own| ours.canonicalize().is_ok_and(|ours| ours == own));
    (!same).then_some(own)
}

fn check_users_own(own: &Path, cuda: bool) -> anyhow::Result<()> {
    for needed in ["include/ATen/ATen.h", "lib/libtorch_cpu.so"] {
        if !own.join(needed).exists() {
            bail!("LIBTORCH is {}, but it has no {needed}: unset it, or name a libtorch {VERSION}", own.display());
        }
    }
    let version = ["build-version", "version.py"].iter().find_map(|file| fs::read_to_string(own.join(file)).ok());
    if version.is_some_and(|text| !text.contains(VERSION)) {
        bail!("LIBTORCH is {}, which is not version {VERSION}: unset it, or name a libtorch {VERSION}", own.display());
    }
    println!("Using your LIBTORCH, {}", own.display());
    if cuda {
        println!("  --cuda places nothing there: a GPU is used if that folder's lib/ has libtorch_cuda.so");
    }
    Ok(())
}
