//! The flags that say who judges.

use std::path::PathBuf;

use sampler::{Sampler, SamplerArgs};
use serde::Serialize;

/// Who judges: a model in this process or behind an address, and with which prompts.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct JudgeArgs {
    /// The judge: a model's name in the cache or its folder
    #[arg(long, value_name = "MODEL", conflicts_with = "judge_endpoint", help_heading = "Judge")]
    pub judge_model: Option<String>,
    /// The judge: an OpenAI-compatible server
    #[arg(long, value_name = "URL", help_heading = "Judge")]
    pub judge_endpoint: Option<String>,
    /// That server's name of the model [default: the only one that the server lists]
    #[arg(long, value_name = "NAME", requires = "judge_endpoint", help_heading = "Judge")]
    pub judge_endpoint_model: Option<String>,
    /// A file with the judge's question about quality, instead of the built-in one
    #[arg(long, value_name = "FILE", help_heading = "Judge")]
    pub judge_prompt: Option<PathBuf>,
    /// A file with the judge's question about programs, instead of the built-in one
    #[arg(long, value_name = "FILE", help_heading = "Judge")]
    pub judge_code_prompt: Option<PathBuf>,
}

impl JudgeArgs {
    /// Whether there is a judge.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.judge_model.is_some() || self.judge_endpoint.is_some()
    }

    /// The flag that names the judge and what it names; empty where there is none.
    #[must_use]
    pub fn who(&self) -> (&'static str, String) {
        match (&self.judge_model, &self.judge_endpoint) {
            (Some(model), _) => ("judge_model", model.clone()),
            (None, Some(url)) => {
                ("judge_endpoint", format!("{url} {}", self.judge_endpoint_model.as_deref().unwrap_or_default()))
            }
            (None, None) => ("judge_model", String::new()),
        }
    }

    /// Opens the judge; what these flags leave open is as for the sampler.
    ///
    /// # Errors
    /// As [`SamplerArgs::open`].
    pub fn open(&self, like: &SamplerArgs) -> anyhow::Result<Sampler> {
        let args = SamplerArgs {
            model: self.judge_model.clone(),
            adapter: None,
            endpoint: self.judge_endpoint.clone(),
            endpoint_model: self.judge_endpoint_model.clone(),
            endpoint_logprobs: false,
            ..like.clone()
        };
        args.open()
    }
}
