//! `mathverify serve`: an HTTP service for answers and steps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use http_service::{BadRequest, Routes};
use serde_json::Value;

use super::{Policies, check, steps};

/// Flags of `mathverify serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    addr: SocketAddr,
    /// Number of items judged in parallel; 0 means one for each CPU
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Maximum number of waiting items; requests beyond it get status 429
    #[arg(long, default_value_t = 1024)]
    queue: usize,
    /// Environment variable that holds the token which clients must send; if it is not set, no token is needed
    #[arg(long, default_value = "HERD_WORKER_TOKEN", value_name = "VARIABLE")]
    token_env: String,
    #[command(flatten)]
    policies: Policies,
}

/// Reads a counter for `/metrics`.
#[allow(clippy::cast_precision_loss)]
fn read(counter: &Arc<AtomicU64>) -> impl Fn() -> f64 + Send + Sync + 'static {
    let counter = counter.clone();
    move || counter.load(Ordering::Relaxed) as f64
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = args.policies.options();
    let (equal, wrong) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let routes = Routes::new()
        .identity("mathverify", env!("CARGO_PKG_VERSION"))
        .gauge("mathverify_equal", "Pairs judged equal since the start.", read(&equal))
        .gauge("mathverify_solutions_with_wrong_step", "Solutions with a wrong step since the start.", read(&wrong))
        .post("/check", {
            let options = options.clone();
            move |item: Value| {
                let pair = serde_json::from_value(item).map_err(|e| BadRequest(e.to_string()))?;
                let verdict = check::judge(&pair, &options);
                equal.fetch_add(u64::from(verdict["verdict"] == "equal"), Ordering::Relaxed);
                Ok::<_, BadRequest>(verdict)
            }
        })
        .post("/steps", move |item: Value| {
            let solution = serde_json::from_value(item).map_err(|e| BadRequest(e.to_string()))?;
            let verdict = steps::judge(&solution, &options);
            wrong.fetch_add(u64::from(!verdict["first_wrong"].is_null()), Ordering::Relaxed);
            Ok::<_, BadRequest>(verdict)
        });
    let token = http_service::token_in(&args.token_env);
    let mut server =
        http_service::Options { addr: args.addr, queue: args.queue, token, ..http_service::Options::default() };
    if args.threads > 0 {
        server.threads = args.threads;
    }
    http_service::serve(server, routes)?;
    Ok(())
}
