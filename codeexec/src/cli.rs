//! The command line, for the binary `codeexec` and for `herd codeexec`.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, Subcommand};

use crate::limits::{Limits, backstop};
use crate::native::{Backend, Native};
use crate::pool::{Launcher, Pool};
use crate::{child, extract, languages, run, serve, suite};

/// Run untrusted programs with their tests in a sandbox.
#[derive(ClapArgs, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Fetch and prepare the interpreters (once; safe to repeat)
    Setup(SetupArgs),
    /// Run a file of programs with their tests
    Run(RunArgs),
    /// Run a benchmark's canonical solutions or a model's samples and compute pass@k
    BenchSuite(SuiteArgs),
    /// Run an HTTP service that answers `POST /run`
    Serve(ServeArgs),
    /// Print the program in a model's answer, which is read from standard input
    Extract(ExtractArgs),
    /// A worker process; the other commands start it
    #[command(hide = true)]
    Child,
}

/// Flags of `setup`.
#[derive(ClapArgs, Debug)]
struct SetupArgs {
    /// Languages to prepare: python, javascript, php, ruby, c, cpp
    #[arg(long, value_delimiter = ',', default_value = "python")]
    languages: Vec<String>,
}

/// Flags for running programs.
#[derive(ClapArgs, Debug)]
struct Sandbox {
    /// Worker processes [default: one for each core]
    #[arg(long)]
    workers: Option<usize>,
    /// Time limit of a program with its tests, such as 3s or 500ms: processor time plus sleep
    #[arg(long, default_value = "3s", value_parser = duration)]
    timeout: Duration,
    /// Wall-time limit, a backstop for a busy machine [default: ten times --timeout, and at least 30s]
    #[arg(long, value_parser = duration)]
    wall: Option<Duration>,
    /// Memory limit of a program, including its interpreter
    #[arg(long, default_value = "256MiB", value_parser = size)]
    memory: u64,
    /// Maximum number of bytes on standard output, and on standard error
    #[arg(long, default_value = "1MiB", value_parser = size)]
    output_limit: u64,
    /// Maximum number of bytes in the private in-memory scratch folder
    #[arg(long, default_value = "16MiB", value_parser = size)]
    disk: u64,
    /// The backend that runs the programs; every verdict names it
    #[arg(long, value_enum, default_value = "wasm")]
    backend: Backend,
    /// Add a linter's findings to each verdict (Python: pyflakes)
    #[arg(long)]
    lint: bool,
    /// Seed of the programs' randomness
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Sandbox {
    fn limits(&self) -> anyhow::Result<Limits> {
        if self.memory < 96 << 20 || self.memory > 4 << 30 {
            bail!("--memory must be from 96MiB, which the interpreter takes itself, to 4GiB");
        }
        if self.timeout < Duration::from_millis(10) {
            bail!("--timeout must be 10ms or more");
        }
        Ok(Limits {
            time: self.timeout,
            wall: self.wall.unwrap_or_else(|| backstop(self.timeout)),
            memory: usize::try_from(self.memory)?,
            output: usize::try_from(self.output_limit)?,
            disk: self.disk,
        })
    }

    /// All settings on which verdicts depend, as text for the fingerprint of a resumable run.
    fn described(&self) -> anyhow::Result<String> {
        let (limits, seed, backend, lint) = (self.limits()?, self.seed, self.backend, self.lint);
        Ok(format!("{limits:?} seed {seed} {backend:?} lint {lint}"))
    }

    fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }

    fn pool(&self, prefix: &[&str]) -> anyhow::Result<Pool> {
        if self.backend == Backend::Native {
            // Checks the native backend once here, so that not every worker reports the same error.
            Native::open()?;
        }
        let pool = Pool::new(Launcher::own(prefix)?, self.workers(), self.limits()?, self.seed);
        Ok(pool.with_backend(self.backend).with_lint(self.lint))
    }
}

/// Flags of `run`.
#[derive(ClapArgs, Debug)]
struct RunArgs {
    /// Programs with their tests: JSONL (also .gz, .zst, .parquet)
    #[arg(long)]
    input: PathBuf,
    /// Verdicts, in input order
    #[arg(long)]
    output: PathBuf,
    /// Write bad lines to rejected.jsonl instead of stopping
    #[arg(long, alias = "lenient")]
    skip_bad: bool,
    #[command(flatten)]
    sandbox: Sandbox,
}

/// Flags of `bench-suite`.
#[derive(ClapArgs, Debug)]
struct SuiteArgs {
    /// The benchmark
    suite: suite::Suite,
    /// The benchmark's file
    #[arg(long, alias = "data", value_name = "FILE")]
    benchmark: PathBuf,
    /// A model's answers: {"id" or "task_id", "completion" or "response"} [default: the canonical solutions]
    #[arg(long, alias = "samples", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Values of k
    #[arg(long, value_delimiter = ',', default_value = "1")]
    k: Vec<u64>,
    /// Write the verdicts here
    #[arg(long)]
    output: Option<PathBuf>,
    /// Only the first N tasks
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    sandbox: Sandbox,
}

/// Flags of `serve`.
#[derive(ClapArgs, Debug)]
struct ServeArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// Maximum number of waiting programs; further ones are answered with 429
    #[arg(long, default_value_t = 1024)]
    queue: usize,
    /// The environment variable with the token that clients must send; if it is not set, every client is answered
    #[arg(long, default_value = "HERD_WORKER_TOKEN", value_name = "VARIABLE")]
    token_env: String,
    #[command(flatten)]
    sandbox: Sandbox,
}

/// Flags of `extract`.
#[derive(ClapArgs, Debug)]
struct ExtractArgs {
    /// The language of the code fences
    #[arg(long, default_value = "python")]
    language: String,
    /// The function that the program must define
    #[arg(long)]
    entry_point: Option<String>,
}

/// Runs the command. `prefix` is the part of the command line before these subcommands: empty for `codeexec`,
/// `["codeexec"]` for `herd codeexec`. The command line of worker processes starts with it.
///
/// # Errors
/// When the command fails; the error is a message for the user.
pub fn run(args: Args, prefix: &[&str]) -> anyhow::Result<()> {
    match args.command {
        Command::Setup(args) => languages::set_up(&args.languages),
        Command::Run(args) => {
            let (start, pool) = (Instant::now(), args.sandbox.pool(prefix)?);
            let options = args.sandbox.described()?;
            let summary = run::run(&pool, args.sandbox.workers(), &args.input, &args.output, &options, args.skip_bad)?;
            eprintln!("{}", summary.text(&args.output, start));
            Ok(())
        }
        Command::BenchSuite(args) => {
            let pool = args.sandbox.pool(prefix)?;
            let options = suite::Options {
                suite: args.suite,
                data: args.benchmark,
                samples: args.input,
                k: args.k,
                output: args.output,
                limit: args.limit,
            };
            let report = suite::run(&pool, args.sandbox.workers(), &options)?;
            println!("{report}");
            Ok(())
        }
        Command::Serve(args) => {
            let workers = args.sandbox.workers();
            let pool = Arc::new(args.sandbox.pool(prefix)?);
            // One HTTP thread per worker process: each thread runs one program at a time.
            let token = http_service::token_in(&args.token_env);
            let options = http_service::Options {
                addr: args.addr,
                threads: workers,
                queue: args.queue,
                token,
                ..Default::default()
            };
            Ok(serve::serve(pool, options)?)
        }
        Command::Extract(args) => {
            // Restores the default action of SIGPIPE, so that `extract | head` ends silently. The commands that write
            // to worker processes keep ignoring SIGPIPE: there, a closed pipe means a lost worker.
            sigpipe::reset();
            let mut answer = String::new();
            std::io::stdin().read_to_string(&mut answer).context("cannot read the answer from standard input")?;
            print!("{}", extract::program(&answer, &args.language, args.entry_point.as_deref()));
            Ok(())
        }
        Command::Child => child::serve(),
    }
}

/// Parses `3s`, `500ms`, `2m`, or a number of seconds; up to one day.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        _ => return Err("use a number with ms, s or min, such as 3s".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n * seconds <= 86_400.0 => Ok(Duration::from_secs_f64(n * seconds)),
        _ => Err("use a number above 0 with ms, s or min, such as 3s".into()),
    }
}

/// Parses `256MiB`, `1GB`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let bytes = match unit.to_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err("use a number with KiB, MiB or GiB, such as 256MiB".into()),
    };
    match number.parse::<f64>() {
        Ok(n) if n >= 0.0 && n * bytes < 1e15 => Ok((n * bytes) as u64),
        _ => Err("use a number with KiB, MiB or GiB, such as 256MiB".into()),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    (text[..end].trim(), text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        for bad in ["", "s", "-1s", "0", "3h", "nan"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("2gb"), Ok(2_000_000_000));
        assert!(size("256TiBx").is_err() && size("-1").is_err());
    }
}
