//! `herd safety eval` with a model or a server that answers the probes.

use std::path::Path;

use anyhow::{bail, ensure};
use llama::SamplingParams;
use run::progress::Progress;
use run::{Class, Frame, Hardware, Input, from_flags};
use safety_tuning::answers::Response;
use safety_tuning::eval::{self, Common, Source};
use safety_tuning::files::private_output;
use safety_tuning::probe::Probe;
use sampler::{SampleError, SampleRequest, SamplerArgs, sequence_seed};
use serde::Serialize;

/// Arguments of `herd safety eval`.
#[derive(clap::Args, Debug, Clone, Serialize)]
// Answers from files need no model.
#[command(mut_arg("model", |arg| arg.required_unless_present_any(["answers", "write_prompts"])))]
#[command(mut_arg("answers", |arg| arg.conflicts_with_all(["model", "endpoint"])))]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    sampler: SamplerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Number of answers to each probe
    #[arg(short = 'n', long, default_value_t = 1)]
    samples: usize,
    /// Temperature; 0 always takes the most likely token
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Sample from the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Maximum number of tokens of an answer
    #[arg(long, default_value_t = 256)]
    max_new_tokens: usize,
}

fn class(key: &str) -> Class {
    SamplerArgs::class(key).unwrap_or_else(|| eval::class(key))
}

/// Runs `herd safety eval`.
///
/// # Errors
/// See [`eval::evaluate`]; also when the model does not answer.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    ensure!(args.samples >= 1, "-n must be at least 1");
    ensure!(args.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
    ensure!(
        args.samples == 1 || args.temperature > 0.0,
        "-n {} at temperature 0 gives the same answer every time; set --temperature",
        args.samples
    );
    args.sampling().check().map_err(anyhow::Error::msg)?;
    eval::evaluate(&args.common, &resolved, &args.frame, class, Some(args), guard_model::open)
}

impl Args {
    fn sampling(&self) -> SamplingParams {
        SamplingParams { temperature: self.temperature, top_p: self.top_p, ..SamplingParams::default() }
    }
}

impl Source for Args {
    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.sampler.inputs()
    }

    fn hardware(&self) -> anyhow::Result<Hardware> {
        self.sampler.hardware()
    }

    fn libtorch(&self) -> Option<&'static str> {
        self.sampler.endpoint.is_none().then_some(llama::device::LIBTORCH)
    }

    fn notes(&self) -> Vec<String> {
        self.sampler.notes()
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn name(&self) -> String {
        let SamplerArgs { model, endpoint, endpoint_model, .. } = &self.sampler;
        model.as_ref().or(endpoint_model.as_ref()).or(endpoint.as_ref()).cloned().unwrap_or_default()
    }

    fn answer(&self, probes: &[Probe], path: &Path, fingerprint: &str) -> anyhow::Result<()> {
        let sampler = self.sampler.open()?;
        let mut output = private_output(path, fingerprint)?;
        let (total, done) = (probes.len() * self.samples, output.done());
        eprintln!("{total} answers of {}, {done} are there", sampler.describe());
        let request = |index: usize| {
            let (place, sample) = (index / self.samples, index % self.samples);
            SampleRequest {
                sampling: self.sampling(),
                seed: sequence_seed(self.seed, place, sample),
                ..SampleRequest::new(probes[place].messages.clone(), self.max_new_tokens)
            }
        };
        let requests: Vec<SampleRequest> = (done..total).map(request).collect();
        let progress = Progress::new("answers", Some(total), done);
        sampler.sample(&requests, &mut |index, answer| {
            let index = done + index;
            let mut response = Response {
                id: probes[index / self.samples].id.clone(),
                sample: index % self.samples,
                response: String::new(),
                finish_reason: "error".into(),
                tokens: 0,
                error: None,
            };
            match answer {
                Ok(answer) => {
                    response.finish_reason = match &answer.finish_reason {
                        dataset::FinishReason::Stop => "stop".into(),
                        dataset::FinishReason::Length => "length".into(),
                        dataset::FinishReason::Other(word) => word.clone(),
                    };
                    response.response = answer.text;
                    response.tokens = answer.tokens;
                }
                // The probe itself cannot be asked, for example because it is too long: this has its own outcome.
                Err(SampleError::Request(reason)) => response.error = Some(reason),
                Err(other) => bail!("{}: {other}; run the same command again to continue", response.id),
            }
            progress.add(1);
            Ok(output.push(index, &response)?)
        })?;
        Ok(output.finish(total)?)
    }
}
