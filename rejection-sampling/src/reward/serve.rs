//! `herd rejection-sampling serve-rm`: a reward model behind HTTP, as a worker of `http-service`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http_service::{Failure, Routes};
use llama::device::{self, Compute};
use llama::locate;
use serde_json::Value;

use super::group::Group;
use super::model::RewardModel;
use super::score::Record;

/// Arguments of `herd rejection-sampling serve-rm`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// The reward model: a sequence-classification folder, or the folder of an adapter of `train-rm`
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub addr: SocketAddr,
    /// Maximum number of waiting records; further ones are answered with 429
    #[arg(long, default_value_t = 1024)]
    pub queue: usize,
    /// The environment variable with the token that clients must send; if it is not set, every client is answered
    #[arg(long, default_value = "HERD_WORKER_TOKEN", value_name = "VARIABLE")]
    pub token_env: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
}

/// Serves a reward model until SIGTERM or SIGINT.
///
/// # Errors
/// When the model cannot be loaded, or the address is in use.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (device, kind) = args.compute.resolve()?;
    let mut model = RewardModel::load(&locate::locate(&args.model.to_string_lossy())?, kind, device)?;
    model.set_gpu_kernels(args.compute.gpu_kernels()?);
    eprintln!("the reward model {} in {} on {device:?}", args.model.display(), device::name(kind));
    let options = http_service::Options {
        addr: args.addr,
        // One model, one pass at a time: libtorch uses the cores within a pass.
        threads: 1,
        queue: args.queue,
        token: http_service::token_in(&args.token_env),
        ..http_service::Options::default()
    };
    http_service::serve(options, routes(model))?;
    Ok(())
}

/// `POST /score`: a conversation or a preference, as the lines of `score --input`; the answer holds `reward`, or
/// `rewards` by name. The responses of one record share its prompt.
fn routes(model: RewardModel) -> Routes {
    let scored = Arc::new(AtomicU64::new(0));
    let seen = scored.clone();
    let model = Mutex::new(model);
    Routes::new()
        .identity("reward-model", env!("CARGO_PKG_VERSION"))
        .counter("herd_rewards_total", "Conversations scored since the start.", move || {
            seen.load(Ordering::Relaxed) as f64
        })
        .post("/score", move |item: Value| {
            let refused = |error: anyhow::Error| Failure::BadRequest(format!("{error:#}"));
            let record = Record::new(item, None).map_err(refused)?;
            let model = model.lock().unwrap_or_else(PoisonError::into_inner);
            let ids: anyhow::Result<Vec<Vec<i64>>> =
                record.conversations.iter().map(|(_, messages)| model.encode(messages, record.tools.clone())).collect();
            let group = Group::new(&ids.map_err(refused)?);
            let scores = model.score(&[&group]).map_err(|error| Failure::Internal(format!("{error:#}")))?.concat();
            scored.fetch_add(scores.len() as u64, Ordering::Relaxed);
            Ok::<_, Failure>(record.answer(&scores))
        })
}
