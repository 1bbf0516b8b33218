//! The command `herd serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use axum::http::HeaderValue;
use guard::card::Card;
use guard::command::{Waiting, Which};
use guard::worker::Worker;
use llama::device::{self, Compute};
use llama::{EngineOptions, Kernels, ModelFolder, locate};
use safety_text::policy::Applies;
use tch::{Device, Kind};

use crate::eyes::Eyes;
use crate::generator::{Generator, GeneratorOptions};
use crate::guarding::{Guarding, On, Reject};
use crate::service::guarded_routes;

/// Arguments of `herd serve`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model's name in the cache or its folder
    #[arg(long)]
    pub model: String,
    /// The folder of a LoRA adapter to apply to the model
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub addr: SocketAddr,
    /// The model name that clients see [default: as in --model]
    #[arg(long)]
    pub served_model_name: Option<String>,
    /// Number of sequences decoded together
    #[arg(long, alias = "batch-size", default_value_t = 16)]
    pub max_num_seqs: usize,
    /// Maximum number of waiting sequences; further ones are answered with 429
    #[arg(long, default_value_t = 256)]
    pub queue: usize,
    /// Capacity of the KV cache, in tokens [default: enough for --max-num-seqs whole contexts, or half of the free
    /// memory]
    #[arg(long)]
    pub cache_tokens: Option<usize>,
    /// Maximum size of a request body in bytes
    #[arg(long, default_value_t = 4 << 20)]
    pub max_body_bytes: usize,
    /// Fetch pictures from this host when a conversation names them: example.org, *.example.org (its subdomains) or * (every host), with
    /// :PORT for another port and http:// before it to allow unencrypted connections. Addresses that are not public are refused.
    /// Repeatable [default: nothing is fetched, pictures come as data: URIs]
    #[arg(long, value_name = "HOST")]
    pub allow_image_urls: Vec<String>,
    /// Allow requests from web pages in a browser: from all origins, or from this one (`--cors https://app.example`)
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, default_missing_value = "*")]
    pub cors: Option<HeaderValue>,
    /// A variable of the chat template, such as date_string="26 Jul 2024". A value that is JSON is parsed as JSON.
    /// strftime_now=2024-07-26 sets the date for templates that call it. A request's chat_template_kwargs override
    /// it. Repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub template_var: Vec<String>,
    /// Seconds that running requests have to finish after SIGTERM or SIGINT
    #[arg(long, default_value_t = 60)]
    pub drain_seconds: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub guarding: GuardArgs,
}

/// The flags of a guard before the model.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Guard")]
pub struct GuardArgs {
    #[command(flatten)]
    which: Which,
    /// The texts that the guard judges
    #[arg(long, value_enum, default_value_t = On::Both, requires = "guard")]
    guard_on: On,
    /// Reaction to a request with an unsafe prompt
    #[arg(long, value_enum, default_value_t = Reject::Refusal, requires = "guard")]
    guard_reject: Reject,
    /// Reaction if there is no verdict: 503, or the text passes and the response says so
    #[arg(long, value_enum, default_value_t = Fail::Closed, requires = "guard")]
    guard_fail: Fail,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether texts pass without a verdict.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Fail {
    /// 503
    Closed,
    /// The text passes, with the header `x-herd-guard: unavailable`
    Open,
}

impl GuardArgs {
    /// Starts the guard, if there is one.
    fn start(&self) -> anyhow::Result<Option<Guarding>> {
        let Some(folder) = &self.which.guard else { return Ok(None) };
        if let Ok((card, policy)) = Card::open(folder) {
            let sides = match self.guard_on {
                On::Input => vec![Applies::Prompt],
                On::Output => vec![Applies::Response],
                On::Both => vec![Applies::Prompt, Applies::Response],
            };
            for warning in sides.into_iter().flat_map(|side| card.warnings(&policy, side)) {
                eprintln!("warning: {}: {warning}", folder.display());
            }
        }
        let which = self.which.clone();
        let open = move || which.open(guard_model::open).map(|(guard, _)| guard);
        let worker = Worker::start(open, self.waiting.limits()?)?;
        eprintln!("guard {} by the policy {}", worker.name(), worker.policy().name);
        let fail_open = self.guard_fail == Fail::Open;
        Ok(Some(Guarding { worker, on: self.guard_on, reject: self.guard_reject, fail_open }))
    }
}

/// A loaded model: its text part and, if it has one, the part that answers conversations with pictures.
pub type Opened = (ModelFolder, Option<Eyes>);

/// Loads the model and serves it until SIGTERM or SIGINT.
///
/// # Errors
/// When the model cannot be loaded, the address is in use, or requests were still running when draining ended.
pub fn run(args: &Args) -> anyhow::Result<()> {
    run_with(args, |folder, kind, device| Ok((ModelFolder::load(folder, Some(kind), device)?, None)))
}

/// The same with a model that `open` loads from its folder.
///
/// # Errors
/// The same as [`run`].
pub fn run_with(args: &Args, open: impl FnOnce(&Path, Kind, Device) -> anyhow::Result<Opened>) -> anyhow::Result<()> {
    ensure!(args.max_num_seqs >= 1, "--max-num-seqs must be at least 1");
    let variables = chat::template_variables(&args.template_var).map_err(anyhow::Error::msg)?;
    let (device, kind) = args.compute.resolve()?;
    let (mut folder, eyes) = open(&locate::locate(&args.model)?, kind, device)?;
    folder.model.set_gpu_kernels(args.compute.gpu_kernels()?);
    ensure!(eyes.is_none() || args.adapter.is_none(), "--adapter: a model that sees is served as it was trained");
    ensure!(folder.template.is_some() || variables.is_empty(), "--template-var: {} has no chat template", args.model);
    if let Some(template) = &mut folder.template {
        for name in template.unread(&variables) {
            eprintln!("warning: --template-var {name}: the chat template does not read it");
        }
        template.set_variables(variables);
    }
    if let Some(adapter) = &args.adapter {
        folder.model.load_adapter(adapter)?;
        folder.model.merge_adapter();
    }
    let engine = EngineOptions {
        slots: args.max_num_seqs,
        cache_tokens: args.cache_tokens,
        kernels: Kernels::Auto,
        graphs: args.compute.graphs()?,
    };
    let name = args.served_model_name.clone().unwrap_or_else(|| args.model.clone());
    let mut generator = Generator::start(folder, GeneratorOptions { name, engine, queue: args.queue })?;
    ensure!(
        eyes.is_some() || args.allow_image_urls.is_empty(),
        "--allow-image-urls: {} does not see; leave it out",
        args.model
    );
    if let Some(eyes) = eyes {
        generator = generator.with_eyes(eyes)?;
        let fetched: Vec<String> = args.allow_image_urls.iter().map(|rule| format!(", addresses at {rule}")).collect();
        eprintln!("conversations may have pictures (data: URIs{}), which are answered one at a time", fetched.concat());
    }
    let generator = Arc::new(generator);
    eprintln!(
        "{} in {} on {device:?}, {} at a time, {} waiting at most, a cache of {} tokens",
        args.model,
        device::name(kind),
        args.max_num_seqs,
        args.queue,
        generator.cache_tokens()
    );
    let options = http_service::Options {
        addr: args.addr,
        threads: 1,
        max_body_bytes: args.max_body_bytes,
        drain_timeout: Duration::from_secs(args.drain_seconds),
        ..http_service::Options::default()
    };
    let guarding = args.guarding.start()?;
    http_service::serve(options, guarded_routes(&generator, guarding).cors(args.cors.clone()))?;
    Ok(())
}
