//! Flags that every sampling command shares. They are also the fields of its configuration file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use llama::SamplingParams;
use llama::device::{self, Compute};
use llama::locate;
use run::{Class, Hardware, Input};
use serde::{Deserialize, Serialize};

use crate::{Endpoint, EndpointOptions, LocalOptions, RetryPolicy, Sampler};

const MAX_NUM_SEQS: usize = 16;
const CONCURRENCY: usize = 16;
const TIMEOUT: f64 = 600.0;
const RETRIES: u32 = 6;
const API_KEY_ENV: &str = "OPENAI_API_KEY";

/// The model to sample from: in this process (`--model`), or on a server (`--endpoint`).
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerArgs {
    /// A model's name in the cache or its folder
    #[arg(long, required_unless_present = "endpoint", conflicts_with = "endpoint")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The folder of a LoRA adapter to apply to the model
    #[arg(long, conflicts_with = "endpoint")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Number of sequences decoded together
    #[arg(long, alias = "batch-size", default_value_t = MAX_NUM_SEQS)]
    pub max_num_seqs: usize,
    /// Sample from this OpenAI-compatible server instead, such as http://localhost:8000/v1
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The model's name on the server [default: the only one that the server lists]
    #[arg(long, requires = "endpoint", conflicts_with = "model", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_model: Option<String>,
    /// Request log-probabilities from the server
    #[arg(long, requires = "endpoint", conflicts_with = "model")]
    pub endpoint_logprobs: bool,
    /// Send the maximum length as max_completion_tokens, for servers that refuse max_tokens
    #[arg(long, requires = "endpoint", conflicts_with = "model")]
    pub endpoint_max_completion_tokens: bool,
    /// Do not send the seed, for servers that refuse it; the answers then cannot be repeated
    #[arg(long, requires = "endpoint", conflicts_with = "model")]
    pub endpoint_no_seed: bool,
    /// Maximum number of open requests to the server
    #[arg(long, default_value_t = CONCURRENCY)]
    pub concurrency: usize,
    /// Timeout of a request to the server, in seconds, for each attempt
    #[arg(long, alias = "timeout", default_value_t = TIMEOUT)]
    pub endpoint_timeout: f64,
    /// Number of retries after a failed attempt (429, 5xx, no connection, timeout), with growing pauses
    #[arg(long, alias = "retries", default_value_t = RETRIES)]
    pub endpoint_retries: u32,
    /// The environment variable that holds the server's API key; the key is sent only if the variable is set
    #[arg(long, default_value = API_KEY_ENV, value_name = "VARIABLE")]
    pub api_key_env: String,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
}

impl Default for SamplerArgs {
    fn default() -> Self {
        Self {
            model: None,
            adapter: None,
            max_num_seqs: MAX_NUM_SEQS,
            endpoint: None,
            endpoint_model: None,
            endpoint_logprobs: false,
            endpoint_max_completion_tokens: false,
            endpoint_no_seed: false,
            concurrency: CONCURRENCY,
            endpoint_timeout: TIMEOUT,
            endpoint_retries: RETRIES,
            api_key_env: API_KEY_ENV.into(),
            compute: Compute::default(),
        }
    }
}

impl SamplerArgs {
    /// The inputs that answers depend on besides the other flags: the files of the model and its adapter, or the
    /// server's address and its model.
    ///
    /// # Errors
    /// When the model does not exist.
    pub fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        if let Some(url) = &self.endpoint {
            let name = self.endpoint_model.as_deref().unwrap_or_default();
            return Ok(vec![Input::other("endpoint", url, &format!("{url} {name}"))]);
        }
        let model = self.model.as_deref().context("give --model NAME or --endpoint URL")?;
        let mut inputs = vec![Input::model("model", &locate::locate(model)?)?];
        if let Some(adapter) = &self.adapter {
            inputs.push(Input::model("adapter", adapter)?);
        }
        Ok(inputs)
    }

    /// The machine, if it computes the answers.
    ///
    /// # Errors
    /// See [`Compute::resolve`].
    pub fn hardware(&self) -> anyhow::Result<Hardware> {
        if self.endpoint.is_some() {
            return Ok(Hardware::here());
        }
        let (device, kind) = self.compute.resolve()?;
        Ok(device::hardware(device, kind))
    }

    /// The reasons why the same flags may give other answers.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let from = |url: &String| {
            format!("answers came from the server {url}, which may give other answers to the same prompt")
        };
        self.endpoint.iter().map(from).collect()
    }

    /// The class of one of these flags; `None` for other keys.
    #[must_use]
    pub fn class(key: &str) -> Option<Class> {
        match key {
            // Compared by content: see `inputs`.
            "model" | "adapter" | "endpoint" | "endpoint_model" => Some(Class::Free),
            "endpoint_logprobs" => Some(Class::Course),
            "concurrency" | "endpoint_timeout" | "endpoint_retries" | "api_key_env" => Some(Class::Free),
            "max_num_seqs" | "dtype" | "device" | "threads" => Some(Class::Bits),
            _ => None,
        }
    }

    /// Loads the model, or finds the model of the server.
    ///
    /// # Errors
    /// When the flags contradict each other, the model cannot be loaded, or the server does not answer.
    pub fn open(&self) -> anyhow::Result<Sampler> {
        let Some(url) = &self.endpoint else {
            let model = self.model.as_deref().context("give --model NAME or --endpoint URL")?;
            ensure!(self.max_num_seqs >= 1, "--max-num-seqs must be at least 1");
            let (device, kind) = self.compute.resolve()?;
            let options = LocalOptions {
                adapter: self.adapter.clone(),
                max_num_seqs: self.max_num_seqs,
                kind,
                device,
                gpu_kernels: self.compute.gpu_kernels()?,
                graphs: self.compute.graphs()?,
            };
            return Sampler::open_local(model, options);
        };
        if self.model.is_some() || self.adapter.is_some() {
            bail!("--endpoint samples from a server: remove --model and --adapter, or remove --endpoint");
        }
        ensure!(self.concurrency >= 1, "--concurrency must be at least 1");
        ensure!(
            self.endpoint_timeout.is_finite() && self.endpoint_timeout > 0.0,
            "--endpoint-timeout must be above 0 seconds"
        );
        let options = EndpointOptions {
            model: self.endpoint_model.clone(),
            api_key: std::env::var(&self.api_key_env).ok().filter(|key| !key.is_empty()),
            concurrency: self.concurrency,
            timeout: Duration::try_from_secs_f64(self.endpoint_timeout).context("--endpoint-timeout")?,
            retry: RetryPolicy { retries: self.endpoint_retries, ..RetryPolicy::default() },
            logprobs: self.endpoint_logprobs,
            max_completion_tokens: self.endpoint_max_completion_tokens,
            no_seed: self.endpoint_no_seed,
        };
        Ok(Sampler::Endpoint(Box::new(Endpoint::open(url, options)?)))
    }
}

/// How tokens are sampled.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Temperature; 0 always takes the most likely token
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Sample from this many of the most likely tokens; 0 means all
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Sample from the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Drop tokens less likely than this times the most likely one
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f64,
    /// Repetition penalty; above 1, tokens already seen become less likely
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// The parameters for the engine.
    ///
    /// # Errors
    /// When a value is invalid.
    pub fn params(&self) -> anyhow::Result<SamplingParams> {
        let Self { temperature, top_k, top_p, min_p, repetition_penalty, .. } = *self;
        let params = SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty };
        params.check().map_err(anyhow::Error::msg)?;
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sampler: SamplerArgs,
        #[command(flatten)]
        sampling: Sampling,
    }

    #[test]
    fn flags_and_files_have_the_same_defaults() {
        let cli = Cli::try_parse_from(["x", "--model", "m"]).unwrap();
        assert_eq!(cli.sampler, SamplerArgs { model: Some("m".into()), ..SamplerArgs::default() });
        assert_eq!(cli.sampling, Sampling::default());
        let written = serde_json::to_string(&cli.sampler).unwrap();
        assert_eq!(serde_json::from_str::<SamplerArgs>(&written).unwrap(), cli.sampler);
        assert!(serde_json::from_str::<SamplerArgs>(r#"{"modle": "m"}"#).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(Cli::try_parse_from(["x"]).is_err());
        assert!(Cli::try_parse_from(["x", "--model", "m", "--endpoint", "http://h"]).is_err());
        assert!(Cli::try_parse_from(["x", "--model", "m", "--endpoint-model", "n"]).is_err());
        let both = SamplerArgs { model: Some("m".into()), endpoint: Some("http://h".into()), ..SamplerArgs::default() };
        assert!(both.open().err().unwrap().to_string().contains("remove --endpoint"));
    }
}
