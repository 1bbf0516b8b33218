//! `herd data get`: fetches benchmark data.

pub mod catalogue;
mod fetch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use catalogue::{Set, Source};

/// Arguments of `herd data get`.
#[derive(clap::Args, Debug, Clone)]
pub struct GetArgs {
    /// The benchmarks; without names, the known ones are listed
    pub names: Vec<String>,
    /// The folder for the data, which `herd eval` takes as --benchmarks [default: the cache]
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Fetch from this address instead: MIRROR/gsm8k/test.jsonl and so on, also with .gz
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// The folder for fetched sets.
///
/// # Errors
/// When no cache folder is known.
pub fn default_folder() -> anyhow::Result<PathBuf> {
    Ok(pinned::cache_dir()?.join("data"))
}

/// Runs `herd data get`: shows the licence, fetches the file, checks the digest. Existing files are not fetched
/// again.
///
/// # Errors
/// When a name is unknown, an address does not answer, or a file has another digest.
pub fn get(args: &GetArgs) -> anyhow::Result<()> {
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    if args.names.is_empty() {
        for set in catalogue::SETS {
            println!("{:<15} {} ({})", set.name, set.about, set.licence);
        }
        return Ok(());
    }
    let find = |name: &String| {
        let found = catalogue::SETS.iter().find(|set| set.name == name);
        let known = || catalogue::SETS.iter().map(|set| set.name).collect::<Vec<_>>().join(", ");
        found.with_context(|| format!("no set {name:?}; there are {}", known()))
    };
    let sets: Vec<&Set> = args.names.iter().map(find).collect::<anyhow::Result<_>>()?;
    let (runtime, client) = http()?;
    for set in sets {
        println!("{}: {}\n  licence: {}", set.name, set.about, set.licence);
        match set.source {
            Source::Place(how) => {
                bail!("{} is not fetched by herd. To place it: {how}\n  the folder is {}", set.name, folder.display())
            }
            Source::Files(files) => {
                for file in files {
                    let url = match &args.mirror {
                        Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), file.path),
                        None => file.url.to_owned(),
                    };
                    runtime.block_on(fetch::file(&client, &url, args.mirror.is_some(), file, &folder))?;
                }
            }
        }
    }
    Ok(())
}

/// An HTTP client and the runtime that it needs.
pub(crate) fn http() -> anyhow::Result<(Runtime, reqwest::Client)> {
    // Another part of the process may already have installed a provider; then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(20))
        .user_agent(concat!("herd/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok((runtime, client))
}
