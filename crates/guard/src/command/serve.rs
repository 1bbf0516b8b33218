//! `herd safety guard serve`: a guard as a service.

use std::net::SocketAddr;
use std::time::Duration;

use super::{OpenModel, Which};
use crate::moderation;
use crate::worker::{Limits, Worker};

/// Arguments of `herd safety guard serve`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8001")]
    addr: SocketAddr,
    #[command(flatten)]
    waiting: Waiting,
}

/// Flags for waiting times and queue lengths.
#[derive(clap::Args, Debug, Clone)]
pub struct Waiting {
    /// Seconds to wait for a verdict before the answer is 503
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub guard_timeout: f64,
    /// Maximum number of questions that wait for the guard; further ones are answered with 429
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub guard_queue: usize,
}

impl Waiting {
    /// The limits of a worker.
    ///
    /// # Errors
    /// When the time is invalid.
    pub fn limits(&self) -> anyhow::Result<Limits> {
        let time = Duration::try_from_secs_f64(self.guard_timeout).ok().filter(|time| !time.is_zero());
        let time =
            time.ok_or_else(|| anyhow::anyhow!("--guard-timeout is {}; it must be more than 0", self.guard_timeout))?;
        Ok(Limits { time, queue: self.guard_queue })
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the guard cannot be opened or the address is in use.
pub fn run(args: &Args, open: OpenModel) -> anyhow::Result<()> {
    let which = args.which.clone();
    let guard = Worker::start(move || which.open(open).map(|(guard, _)| guard), args.waiting.limits()?)?;
    eprintln!("{} by the policy {} on {}", guard.name(), guard.policy().name, args.addr);
    let options = http_service::Options { addr: args.addr, threads: 1, ..http_service::Options::default() };
    http_service::serve(options, moderation::routes(&guard))?;
    Ok(())
}
