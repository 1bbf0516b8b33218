//! `herd generate`: samples answers to the prompts of a file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use dataset::digest::Fingerprint;
use dataset::jsonl::{self, OnBadLine};
use dataset::resume::OrderedOutput;
use dataset::{FinishReason, Prompt, Sample, check};
use run::counted;
use run::progress::Progress;
use sampler::{Answer, SampleError, SampleRequest, Sampler, SamplerArgs, Sampling, StopTokens, Turn, sequence_seed};

/// Arguments of `herd generate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub sampler: SamplerArgs,
    /// Prompts, one per line: {"id", "prompt": [messages], "tools"?} (.jsonl, also .gz, .zst, .parquet)
    #[arg(long)]
    pub prompts: PathBuf,
    /// Answers, one per line, in the order of the prompts
    #[arg(long)]
    pub output: PathBuf,
    /// Number of answers to each prompt
    #[arg(short = 'n', long, default_value_t = 1)]
    pub samples: usize,
    #[command(flatten)]
    pub sampling: Sampling,
    /// Maximum number of tokens of an answer
    #[arg(long, default_value_t = 512)]
    pub max_new_tokens: usize,
    /// Ignore the end of the turn, and generate until --max-new-tokens
    #[arg(long)]
    pub ignore_eos: bool,
    /// A string that ends an answer. Repeatable
    #[arg(long)]
    pub stop: Vec<String>,
    /// A token id that ends an answer. Repeatable
    #[arg(long)]
    pub stop_token_id: Vec<i64>,
    /// Continue the last message of each prompt, which must be an assistant message (a prefilled answer); the answer
    /// is the text after it
    #[arg(long)]
    pub continue_final_message: bool,
    /// Variables of the chat template as a JSON object, such as {"enable_thinking": false}
    #[arg(long, value_name = "JSON")]
    pub chat_template_kwargs: Option<String>,
    /// A variable of the chat template, such as date_string="26 Jul 2024". A value that is JSON is parsed as JSON.
    /// strftime_now=2024-07-26 sets the date for templates that call it. Repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub template_var: Vec<String>,
    /// Write the log-probability of every token
    #[arg(long)]
    pub token_logprobs: bool,
}

/// Reads the prompts. A prompt without an id is named after its line. Ids must be unique, since the answers refer to
/// them.
fn read_prompts(path: &Path) -> anyhow::Result<Vec<Prompt>> {
    let mut reader = jsonl::read::<Prompt>(path, OnBadLine::Error)?;
    let (mut prompts, mut ids) = (Vec::new(), check::Ids::default());
    while let Some(prompt) = reader.next() {
        let mut prompt = prompt?;
        let place = reader.place();
        check::fill_id(&mut prompt.id, &place);
        ids.add(&prompt.id, &place).with_context(|| place.to_string())?;
        prompts.push(prompt);
    }
    Ok(prompts)
}

/// Warns about variables that the chat template does not read.
pub fn warn_of_unread(
    template: Option<&chat::ChatTemplate>,
    variables: &serde_json::Map<String, serde_json::Value>,
) -> anyhow::Result<()> {
    ensure!(template.is_some() || variables.is_empty(), "--template-var: the model has no chat template");
    for name in template.map(|template| template.unread(variables)).unwrap_or_default() {
        eprintln!("warning: --template-var {name}: the chat template does not read it");
    }
    Ok(())
}

/// Runs `herd generate`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.samples >= 1, "-n must be at least 1");
    ensure!(args.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
    ensure!(args.stop.iter().all(|stop| !stop.is_empty()), "--stop must not be empty");
    let params = args.sampling.params()?;
    let prompts = read_prompts(&args.prompts)?;
    let mut sampler = args.sampler.open()?;
    sampler.set_stop_tokens(StopTokens { ignore_eos: args.ignore_eos, ids: args.stop_token_id.clone() });
    let variables = args.chat_template_kwargs.as_deref().map(serde_json::from_str).transpose();
    let mut variables: serde_json::Map<String, serde_json::Value> =
        variables.context("--chat-template-kwargs must be a JSON object")?.unwrap_or_default();
    let given = chat::template_variables(&args.template_var).map_err(anyhow::Error::msg)?;
    match sampler.local() {
        Some(local) => warn_of_unread(local.folder().template.as_ref(), &given)?,
        None => ensure!(
            !given.contains_key(chat::NOW),
            "--template-var {}: a server's template is given its day where the server is started",
            chat::NOW
        ),
    }
    variables.extend(given);
    sampler.set_turn(Turn { continues: args.continue_final_message, variables });
    check_prompts(args, &sampler, &prompts)?;

    let mut requests = Vec::with_capacity(prompts.len() * args.samples);
    for (line, prompt) in prompts.iter().enumerate() {
        for sample in 0..args.samples {
            requests.push(SampleRequest {
                messages: prompt.prompt.clone(),
                tools: prompt.tools()?,
                sampling: params.clone(),
                seed: sequence_seed(args.sampling.seed, line, sample),
                max_new_tokens: args.max_new_tokens,
                stop: args.stop.clone(),
            });
        }
    }
    let mut output = OrderedOutput::open(&args.output, &fingerprint(args, &sampler)?)?;
    let done = output.done();
    if done > 0 {
        eprintln!("{done} of {} answers exist from an earlier run; continuing", requests.len());
    }
    let (answers, asked) = (counted(requests.len(), "answer"), counted(prompts.len(), "prompt"));
    eprintln!("{answers} to {asked} with {}", sampler.describe());
    let start = Instant::now();
    let mut writer = Writer {
        progress: Progress::new("answers", Some(requests.len()), done),
        output: &mut output,
        args,
        model: sampler.name(),
        prompts: &prompts,
        requests: &requests,
        counts: Counts::default(),
        start,
    };
    sampler.sample(&requests[done..], &mut |index, answer| writer.write(done + index, answer))?;
    let counts = std::mem::take(&mut writer.counts);
    drop(writer);
    output.finish(requests.len())?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{answers}, {} in {seconds:.1} s, {:.1} tokens/s; {} of {} were cut at {} -> {}",
        counted(counts.tokens, "token"),
        counts.tokens as f64 / seconds.max(1e-9),
        counts.cut,
        requests.len() - done,
        counted(args.max_new_tokens, "token"),
        args.output.display()
    );
    if counts.failed > 0 {
        bail!(
            "{} of {} requests got no answer: their lines in {} have finish_reason \"error\" and the reason in `error`; \
             the first: {}",
            counts.failed,
            requests.len() - done,
            args.output.display(),
            counts.first_failure
        );
    }
    Ok(())
}

/// Fails with the name of the first prompt that the model cannot take, before any generation. A server reports such
/// prompts itself.
fn check_prompts(args: &Args, sampler: &Sampler, prompts: &[Prompt]) -> anyhow::Result<()> {
    let Some(local) = sampler.local() else { return Ok(()) };
    let context = local.folder().model.config().max_position_embeddings;
    for (line, prompt) in prompts.iter().enumerate() {
        let place = || format!("{}, record {} (id {})", args.prompts.display(), line + 1, prompt.id);
        let length = local.encode_prompt(&prompt.prompt, &prompt.tools()?).with_context(place)?.len();
        ensure!(
            (length as i64) < context,
            "{}: the prompt has {length} tokens, the model's context is {context}",
            place()
        );
    }
    Ok(())
}

/// Everything that the answers depend on. A partial output with another value is not continued.
fn fingerprint(args: &Args, sampler: &Sampler) -> anyhow::Result<String> {
    let Args { samples, sampling, max_new_tokens, stop, token_logprobs, .. } = args;
    let settings = format!("{samples} {sampling:?} {max_new_tokens} {stop:?} {token_logprobs}");
    let fingerprint = Fingerprint::new().text("settings", &settings).file("prompts", &args.prompts)?;
    Ok(fingerprint.text("sampler", &sampler.identity()?).text("name", sampler.name()).finish())
}

#[derive(Default)]
struct Counts {
    tokens: u64,
    cut: usize,
    failed: usize,
    first_failure: String,
}

/// Writes answers as they complete, and shows the progress.
struct Writer<'a> {
    progress: Progress,
    output: &'a mut OrderedOutput,
    args: &'a Args,
    model: &'a str,
    prompts: &'a [Prompt],
    requests: &'a [SampleRequest],
    counts: Counts,
    start: Instant,
}

impl Writer<'_> {
    fn write(&mut self, index: usize, answer: Result<Answer, SampleError>) -> anyhow::Result<()> {
        let record = self.record(index, answer);
        self.output.push(index, &record)?;
        self.progress.add(1);
        let rate = self.counts.tokens as f64 / self.start.elapsed().as_secs_f64();
        self.progress.note(format!("{rate:.0} tokens/s"));
        Ok(())
    }

    fn record(&mut self, index: usize, answer: Result<Answer, SampleError>) -> Sample {
        let mut extra = serde_json::Map::new();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.counts.failed += 1;
                if self.counts.failed == 1 {
                    self.counts.first_failure = error.to_string();
                }
                extra.insert("error".into(), error.to_string().into());
                Answer {
                    text: String::new(),
                    finish_reason: FinishReason::Other("error".into()),
                    logprob: None,
                    tokens: 0,
                    token_ids: None,
                    token_logprobs: None,
                }
            }
        };
        self.counts.tokens += answer.tokens;
        self.counts.cut += usize::from(answer.finish_reason == FinishReason::Length);
        extra.insert("tokens".into(), answer.tokens.into());
        if self.args.token_logprobs {
            extra.insert("token_ids".into(), answer.token_ids.into());
            extra.insert("token_logprobs".into(), answer.token_logprobs.into());
        }
        let (prompt, sample) = (index / self.args.samples, index % self.args.samples);
        Sample {
            id: self.prompts[prompt].id.clone(),
            sample: Some(sample as u64),
            logprob: answer.logprob,
            response: answer.text,
            finish_reason: answer.finish_reason,
            reward: None,
            verdict: None,
            model: self.model.to_owned(),
            seed: Some(self.requests[index].seed),
            extra,
        }
    }
}
