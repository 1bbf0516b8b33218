//! `cargo xtask`: the first command for a newcomer. Every subcommand sets the project up before it does its own work.

mod demo;
mod engine;
mod gpu_kit;
mod libtorch;
mod project;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo and tests of herd")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install libtorch, which the build needs, under .libtorch/, and Python for codeexec's sandbox in the cache
    /// folder. Safe to repeat; continues where it was interrupted
    Setup {
        /// Also install libtorch's CUDA kernels and the NVIDIA libraries that they need (about 2.3 GB of downloads)
        #[arg(long)]
        cuda: bool,
        /// Only libtorch: what `cargo build` and `cargo clippy` need
        #[arg(long)]
        libtorch_only: bool,
    },
    /// Set up, build, fetch a real model and run one round of post-training on it (recipes/demo.toml)
    Demo {
        /// Use a tiny model from scratch instead (recipes/quick.toml); takes about two minutes after set-up
        #[arg(long)]
        quick: bool,
        /// Train a tokenizer, a base model and a chat model from nothing instead (recipes/from-scratch.toml); about 40
        /// minutes after set-up
        #[arg(long, conflicts_with = "quick")]
        from_scratch: bool,
    },
    /// Build herd-engine, the program behind `herd data run --engine datafusion`, put it beside herd, and run its
    /// tests. The first build takes many minutes; libtorch is not needed
    Engine {
        /// Build it only
        #[arg(long)]
        no_tests: bool,
    },
    /// Set up, build, and write target/gpu-kit.tar.gz: programs, tiny models and a script that prove herd on a machine with a
    /// GPU and PyTorch 2.11, in parts of 8 minutes, with one table (docs/gpu.md)
    GpuKit,
    /// Set up, fetch the real model that tests use, run the tests of the whole workspace, and print how many passed,
    /// failed and were skipped, with the reason for each skip (HERD_TESTS=require makes a skip a failure)
    Test {
        /// Arguments for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Setup { cuda, libtorch_only } => {
            libtorch::set_up(cuda)?;
            if libtorch_only {
                return Ok(());
            }
            demo::build("dev")?;
            demo::set_up_sandbox()
        }
        Command::Demo { quick, from_scratch } => {
            libtorch::set_up(false)?;
            demo::run(if from_scratch {
                demo::Round::FromScratch
            } else if quick {
                demo::Round::Quick
            } else {
                demo::Round::Real
            })
        }
        Command::Engine { no_tests } => engine::run(no_tests),
        Command::GpuKit => {
            libtorch::set_up(false)?;
            gpu_kit::make()
        }
        Command::Test { arguments } => {
            libtorch::set_up(false)?;
            libtorch::set_up_nvrtc()?;
            // The tests' own profile: cargo compiles our crates once.
            demo::build("test")?;
            test::compile_beside(&arguments, || {
                demo::set_up_sandbox()?;
                demo::fetch_model()?;
                demo::fetch_language_model()
            })?;
            test::run(&arguments)
        }
    }
}
