//! The command `herd serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use axum::http::HeaderValue;
use llama::device::{self, Compute};
use llama::{EngineOptions, Kernels, ModelFolder, locate};

use crate::generator::{Generator, GeneratorOptions};
use crate::service::routes;

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
    /// The largest request body in bytes
    #[arg(long, default_value_t = 4 << 20)]
    pub max_body_bytes: usize,
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
}

/// Loads the model and serves it until SIGTERM or SIGINT.
///
/// # Errors
/// When the model cannot be loaded, the address is in use, or requests were still running when draining ended.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.max_num_seqs >= 1, "--max-num-seqs must be at least 1");
    let variables = chat::template_variables(&args.template_var).map_err(anyhow::Error::msg)?;
    let (device, kind) = args.compute.resolve()?;
    let mut folder = ModelFolder::load(&locate::locate(&args.model)?, Some(kind), device)?;
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
    let engine = EngineOptions { slots: args.max_num_seqs, cache_tokens: args.cache_tokens, kernels: Kernels::Auto };
    let name = args.served_model_name.clone().unwrap_or_else(|| args.model.clone());
    let generator = Arc::new(Generator::start(folder, GeneratorOptions { name, engine, queue: args.queue })?);
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
    http_service::serve(options, routes(&generator).cors(args.cors.clone()))?;
    Ok(())
}
