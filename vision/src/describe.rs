//! `herd vision describe`: asks a question about a picture.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dataset::{Content, Message, Part, Role};
use llama::device::{Compute, Count, Dtype, Place};
use llama::{SamplingParams, StopRules};
use pictures::Limits;
use serde_json::json;

use crate::composed::Composed;
use crate::generate::Answering;

/// Arguments of `herd vision describe`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A model of `herd vision train`
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// The language model, if it is not the one that the adapter was trained on
    #[arg(long, value_name = "FOLDER")]
    language_model: Option<PathBuf>,
    /// The picture's file
    picture: PathBuf,
    /// The question
    #[arg(default_value = "Describe this picture.")]
    question: String,
    /// Maximum number of tokens of the answer
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Temperature; 0 always takes the most likely token
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    machine: Machine,
}

/// The device and the arithmetic.
#[derive(clap::Args, Debug, Clone, Default, serde::Serialize)]
pub struct Machine {
    /// Type to compute in [default: bf16 where it is fast, f32 elsewhere]
    #[arg(long, help_heading = "Machine")]
    pub dtype: Option<Dtype>,
    /// Where to compute: cpu, cuda or cuda:N [default: the first GPU if there is one that libtorch can use]
    #[arg(long, help_heading = "Machine")]
    pub device: Option<Place>,
    /// Threads for the processor's arithmetic; auto: as many as are fastest [default: one for each core]
    #[arg(long, value_name = "N|auto", help_heading = "Machine")]
    pub threads: Option<Count>,
}

impl Machine {
    /// The requested device and arithmetic, not resolved yet.
    #[must_use]
    pub fn compute(&self) -> Compute {
        Compute { dtype: self.dtype, device: self.device, threads: self.threads }
    }
}

/// Runs `herd vision describe`.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let sampling = SamplingParams { temperature: args.temperature, ..SamplingParams::default() };
    sampling.check().map_err(anyhow::Error::msg)?;
    let compute = args.machine.compute();
    let (device, kind) = compute.resolve()?;
    let mut model = Composed::load(&args.model, args.language_model.as_deref(), Some(kind), device)?;
    model.text.model.set_gpu_kernels(compute.gpu_kernels()?);
    let answering = Answering {
        sampling,
        seed: args.seed,
        max_new_tokens: args.max_new_tokens,
        top_logprobs: 0,
        stops: StopRules { ids: model.text.stop_ids.clone(), strings: Vec::new() },
    };
    let path = args.picture.to_str().context("the picture's path is not UTF-8")?;
    let message = question(&[path], &args.question);
    let mut out = std::io::stdout().lock();
    let completion = ask(&model, &[message], Path::new(""), &answering, |text| {
        // The text is complete at the end; a closed pipe ends the answer.
        write!(out, "{text}").and_then(|()| out.flush()).is_ok()
    })?;
    writeln!(out)?;
    if completion.finish_reason == dataset::FinishReason::Length {
        eprintln!("the answer was cut after {} tokens (--max-new-tokens)", completion.ids.len());
    }
    Ok(())
}

/// Makes a user message: the paths of pictures, followed by a text.
#[must_use]
pub fn question(paths: &[impl AsRef<str>], text: &str) -> Message {
    let picture = |path: &str| {
        let fields = json!({"image": path}).as_object().cloned().unwrap_or_default();
        Part::Other { kind: "image".into(), fields }
    };
    let mut parts: Vec<Part> = paths.iter().map(|path| picture(path.as_ref())).collect();
    parts.push(Part::Text(text.into()));
    Message::new(Role::User, Content::from_parts(parts))
}

/// The answer to a conversation with pictures, whose paths are relative to `folder`.
///
/// # Errors
/// When the conversation or a picture cannot be used.
pub fn ask(
    model: &Composed,
    messages: &[Message],
    folder: &Path,
    answering: &Answering,
    mut each: impl FnMut(&str) -> bool,
) -> anyhow::Result<llama::Completion> {
    let template = model.text.template.as_ref();
    let template = template.with_context(|| format!("{} has no chat template", model.text.path.display()))?;
    let (prompt, sources) = model.words.prompt(template, messages, folder)?;
    let features = model.look(&sources, &Limits::default())?;
    Ok(model.answer(&prompt, &features, answering, |_, text| each(text))?)
}
