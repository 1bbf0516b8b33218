//! One step: rows in, result out. The result's folder gets its name when it is complete.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::plans;
use crate::session::Session;

/// The version of the table format that is shared with `herd data run`.
const EXCHANGE: u32 = 1;
/// Maximum number of rounds of large star and small star. 2^32 documents need fewer.
const ROUNDS: usize = 200;

/// Arguments of `herd-engine step`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The step
    pub kind: Kind,
    /// A folder of Parquet files with the columns key, document (repeated, connected), key, age, document (older) or key (frequent)
    #[arg(long)]
    pub rows: PathBuf,
    /// The folder for the result, Parquet files with the columns document, keeper, or key (frequent). It must not exist
    #[arg(long)]
    pub result: PathBuf,
    /// A folder for intermediate tables and spilled rows
    #[arg(long)]
    pub work: PathBuf,
    /// Size of the memory pool in bytes; resident memory is larger (308 MB were measured with 64 MB, 582 with 512)
    #[arg(long, default_value_t = 1 << 30)]
    pub memory: u64,
    /// Frequent: keys that occur more often than this are in the result
    #[arg(long, default_value_t = 6)]
    pub times: u64,
    /// Threads [default: one for each CPU]
    #[arg(long)]
    pub threads: Option<usize>,
    /// End when standard input is closed, because the calling program has ended
    #[arg(long)]
    pub watch_stdin: bool,
    /// The version of the exchanged tables that the caller knows
    #[arg(long, default_value_t = EXCHANGE)]
    pub exchange: u32,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// All documents of an address except the newest
    Older,
    /// All documents of a key except the smallest
    Repeated,
    /// All documents of a connected component except the smallest
    Connected,
    /// Keys that occur often
    Frequent,
}

/// Runs a step.
///
/// # Errors
/// When the rows cannot be read, the pool is too small, or the disk is full.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.exchange == EXCHANGE,
        "herd-engine knows version {EXCHANGE} of the exchanged tables and herd version {}: build both from the same commit",
        args.exchange
    );
    ensure!(!args.result.exists(), "--result {} exists already", args.result.display());
    if args.watch_stdin {
        std::thread::spawn(|| {
            std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).ok();
            eprintln!("error: the program that started this one is gone");
            std::process::exit(3);
        });
    }
    let begin = Instant::now();
    let [rows, work] = [&args.rows, &args.work].map(std::path::absolute);
    let (rows, work) = (rows?, work?);
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut session = Session::new(args.memory, threads, &work)?;
    session.open("entries", &rows).await?;
    let part = args.result.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    let (count, rounds) = plan(args, &mut session, &part).await.map_err(|error| explain(error, args))?;
    std::fs::rename(&part, &args.result).with_context(|| format!("cannot name {}", args.result.display()))?;
    let kind = args.kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let rounds = rounds.map_or_else(String::new, |rounds| format!(", {rounds} rounds"));
    println!("{kind}: {count} rows in the result{rounds}, {:.1} s{}", begin.elapsed().as_secs_f64(), peak());
    Ok(())
}

/// Adds advice to an error about a pool that is too small.
fn explain(error: anyhow::Error, args: &Args) -> anyhow::Error {
    if !format!("{error:#}").contains("Resources exhausted") {
        return error;
    }
    error.context(format!("a pool of {} MB is too small for this step: raise the memory", args.memory >> 20))
}

/// Runs the statements of a step. Returns the number of rows of the result, and the number of rounds.
async fn plan(args: &Args, session: &mut Session, result: &Path) -> anyhow::Result<(u64, Option<usize>)> {
    match args.kind {
        Kind::Frequent => Ok((session.write(&plans::frequent(args.times), result).await?, None)),
        Kind::Older | Kind::Repeated => {
            let keepers = if args.kind == Kind::Older { plans::NEWEST } else { plans::SMALLEST };
            session.make("keepers", keepers).await?;
            Ok((session.write(plans::REPLACED, result).await?, None))
        }
        Kind::Connected => {
            session.make("keepers", plans::SMALLEST).await?;
            session.make("pairs", plans::REPLACED).await?;
            session.drop("keepers")?;
            session.make("edges", plans::EDGES).await?;
            session.drop("pairs")?;
            let mut rounds = 0;
            while !(session.is_empty(plans::SEVERAL).await? && session.is_empty(plans::CHAINED).await?) {
                ensure!(
                    rounds < ROUNDS,
                    "the components are not found after {ROUNDS} rounds: this is a fault of the program"
                );
                for (least, star) in [(plans::LARGE_LEAST, plans::LARGE_STAR), (plans::SMALL_LEAST, plans::SMALL_STAR)]
                {
                    session.make("least", least).await?;
                    session.make("pairs", star).await?;
                    session.drop("least")?;
                    session.make("next", plans::DISTINCT).await?;
                    session.drop("pairs")?;
                    session.rename("next", "edges").await?;
                }
                rounds += 1;
            }
            Ok((session.write(plans::STARS, result).await?, Some(rounds)))
        }
    }
}

/// The peak resident memory of this process as text; empty if the system does not report it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or_else(String::new, |kilobytes| format!(", resident peak {} MB", kilobytes >> 10))
}
