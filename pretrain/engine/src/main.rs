//! `herd-engine`: the steps of `herd data run` over the whole corpus, as relational plans on DataFusion in this process.
//!
//! - [`step`]: runs one step, which reads rows from Parquet files and writes its result to Parquet files. `herd data run` starts it.
//! - [`plans`]: the SQL statements. They use no user-defined functions, so that other engines can run them.
//! - [`session`]: executes statements, and keeps their tables on disk.

mod plans;
mod session;
mod step;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "herd-engine", version, about = "The steps of `herd data run` over the whole corpus, on DataFusion")]
enum Cli {
    /// Run one step (`herd data run --engine datafusion` does so)
    Step(step::Args),
}

fn main() -> ExitCode {
    let Cli::Step(args) = Cli::parse();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(threads.max(1));
    }
    // Query plans recurse deeply.
    let runtime = builder.thread_stack_size(8 << 20).enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(step::run(&args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
