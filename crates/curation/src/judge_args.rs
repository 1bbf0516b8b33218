//! The flags of the judge.

use std::path::PathBuf;

use sampler::{Sampler, SamplerArgs};
use serde::Serialize;

/// The judge: a model in this process or on a server, and its prompts.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct JudgeArgs {
    /// The judge: a model's name in the cache or its folder
    #[arg(long, value_name = "MODEL", conflicts_with = "judge_endpoint", help_heading = "Judge")]
    pub judge_model: Option<String>,
    /// The judge: an OpenAI-compatible server
    #[arg(long, value_name = "URL", help_heading = "Judge")]
    pub judge_endpoint: Option<String>,
    /// The judge model's name on that server [default: the only one that the server lists]
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

    /// The flag that names the judge and its value; empty if there is no judge.
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

    /// Opens the judge; settings without a flag here are those of the sampler.
    ///
    /// # Errors
    /// See [`SamplerArgs::open`].
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
