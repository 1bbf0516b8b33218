//! `gpu-kernels`: compiles the kernels, and compares them with float64 formulas on the CPU or on a GPU. Needs no libtorch.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cuda_kernels::check::{self, Case, Finding, Machine, Op};
use cuda_kernels::{Architecture, Driver, Element, Emulator, Gpu, KernelError, Kernels, Nvrtc, compiled, find_nvrtc};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

#[derive(Parser)]
#[command(name = "gpu-kernels", about = "Compiles herd's CUDA kernels, and checks them on the processor or on a GPU")]
struct Cli {
    /// NVRTC library file [default: `HERD_NVRTC`, or the file in the cache folder]
    #[arg(long, global = true)]
    nvrtc: Option<PathBuf>,
    /// Folder for compiled kernels [default: `kernels` in the cache folder]
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the kernels for GPU architectures; needs no GPU
    Compile {
        /// Compute capabilities without the dot: 90 for sm_90
        #[arg(long, value_delimiter = ',', default_value = "80,90,100")]
        architectures: Vec<u32>,
    },
    /// Compare every kernel with float64 formulas on random shapes
    Check {
        /// `cpu` (the emulation) or `cuda:N`
        #[arg(long, default_value = "cpu")]
        device: String,
        /// Number of random cases for each operation and element type
        #[arg(long, default_value_t = 24)]
        cases: u64,
        /// Seed of the random shapes and numbers
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Also measure memory throughput in GB/s, on tensors with this many rows of 4,096 elements; 0 measures nothing
        #[arg(long, default_value_t = 0)]
        rows: i64,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<bool, KernelError> {
    let nvrtc = || Nvrtc::open(&cli.nvrtc.clone().map_or_else(|| find_nvrtc(None), Ok)?);
    let cache = || {
        let own = cli.cache.clone().map(Ok);
        own.unwrap_or_else(|| pinned::cache_dir().map(|cache| cache.join("kernels")))
            .map_err(|error| KernelError::Cache { path: PathBuf::new(), reason: error.to_string() })
    };
    match cli.command {
        Command::Compile { architectures } => {
            let (nvrtc, cache) = (nvrtc()?, cache()?);
            println!("NVRTC {} of {}", nvrtc.version(), nvrtc.path().display());
            for number in architectures {
                let architecture = Architecture { major: number / 10, minor: number % 10 };
                let (image, origin, path) = compiled(&nvrtc, architecture, &cache)?;
                println!(
                    "{architecture}: {:?}, {} bytes, {origin:?}, {}",
                    image.form,
                    image.bytes.len(),
                    path.display()
                );
            }
            Ok(true)
        }
        Command::Check { device, cases, seed, rows } => {
            let machine: Box<dyn Machine> = match device.strip_prefix("cuda:").map(str::parse) {
                _ if device == "cpu" => Box::new(Emulator::new(0, 5)),
                Some(Ok(index)) => {
                    let driver = Driver::open()?;
                    let (name, architecture, multiprocessors) = driver.device(index)?;
                    println!("{device}: {name}, {architecture}, {multiprocessors} multiprocessors");
                    Box::new(Gpu::new(Kernels::load(driver, &nvrtc()?, index, &cache()?)?))
                }
                _ => return Err(KernelError::Device { given: device.clone() }),
            };
            let good = hold(machine.as_ref(), cases, seed)?;
            if rows > 0 {
                for rate in check::rates(machine.as_ref(), rows)? {
                    println!("{:<24} {:<5} {:>8.1} GB/s", rate.what, rate.element.name(), rate.gigabytes_per_second);
                }
            }
            Ok(good)
        }
    }
}

/// Runs random cases, and prints the largest errors of each result. Returns whether all errors are within the limits.
fn hold(machine: &dyn Machine, cases: u64, seed: u64) -> Result<bool, KernelError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut worst: Vec<(Finding, u64, u64)> = Vec::new();
    for op in Op::ALL {
        for element in Element::ALL {
            for number in 0..cases {
                for finding in check::run(machine, Case::random(op, element, &mut random), seed + number)? {
                    let fails = u64::from(!finding.holds());
                    let same = |(other, ..): &&mut (Finding, u64, u64)| {
                        other.result == finding.result && other.element == finding.element
                    };
                    match worst.iter_mut().find(same) {
                        Some((before, count, failed)) => {
                            before.worst = before.worst.max(finding.worst);
                            before.overall = before.overall.max(finding.overall);
                            *count += 1;
                            *failed += fails;
                        }
                        None => worst.push((finding, 1, fails)),
                    }
                }
            }
        }
    }
    println!("{:<36} {:<5} {:>6} {:>10} {:>10}", "result", "type", "cases", "worst", "overall");
    for (finding, count, failed) in &worst {
        let verdict = if *failed > 0 { format!("{failed} FAIL") } else { "ok".into() };
        let Finding { result, element, worst, overall } = finding;
        println!("{result:<36} {:<5} {count:>6} {worst:>10.1e} {overall:>10.1e} {verdict}", element.name());
    }
    Ok(worst.iter().all(|(_, _, failed)| *failed == 0))
}
