//! `herd generate`: sample answers to a file of prompts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dataset::digest::Fingerprint;
use dataset::resume::OrderedOutput;
use dataset::{Message, Sample};
use indicatif::{ProgressBar, ProgressStyle};
use llama::{Completion, Engine, Listener, ModelFolder, Next, Request, SamplingParams, StopRules, complete, locate};
use serde::Deserialize;
use serde_json::Value;

use trainer::device::{self, Compute};

/// Arguments of `herd generate`.
#[derive(clap::Args)]
pub struct Args {
    /// A model's name in the cache or its folder
    #[arg(long)]
    pub model: String,
    /// A LoRA adapter's folder to put on the model
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// Prompts, one a line: {"id", "prompt": [messages]} (.jsonl, also .gz, .zst, .parquet)
    #[arg(long)]
    pub prompts: PathBuf,
    /// Answers, one a line, in the order of the prompts
    #[arg(long)]
    pub output: PathBuf,
    /// Answers to each prompt
    #[arg(short = 'n', long, default_value_t = 1)]
    pub samples: usize,
    #[command(flatten)]
    pub sampling: Sampling,
    /// The most tokens of an answer
    #[arg(long, default_value_t = 512)]
    pub max_new_tokens: usize,
    /// Go on past the end of the turn until --max-new-tokens
    #[arg(long)]
    pub ignore_eos: bool,
    /// A string that ends an answer; may be given several times
    #[arg(long)]
    pub stop: Vec<String>,
    /// A token id that ends an answer; may be given several times
    #[arg(long)]
    pub stop_token_id: Vec<i64>,
    /// Sequences decoded together
    #[arg(long, default_value_t = 16)]
    pub batch_size: usize,
    /// Keep the log-probability of every token
    #[arg(long)]
    pub token_logprobs: bool,
    #[command(flatten)]
    pub compute: Compute,
}

/// How tokens are chosen.
#[derive(clap::Args, Debug, Clone)]
pub struct Sampling {
    /// 0 takes the most likely token
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Keep this many of the most likely tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Keep the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Drop tokens less likely than this times the most likely one
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f64,
    /// Above 1, tokens already seen become less likely
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Sampling {
    /// The engine's parameters.
    pub fn params(&self) -> anyhow::Result<SamplingParams> {
        let Self { temperature, top_k, top_p, min_p, repetition_penalty, .. } = *self;
        let params = SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty };
        params.check().map_err(anyhow::Error::msg)?;
        Ok(params)
    }
}

/// A line of the prompts file.
#[derive(Deserialize)]
struct Prompt {
    id: Value,
    prompt: PromptText,
}

/// A conversation, or the text of one user message.
#[derive(Deserialize)]
#[serde(untagged)]
enum PromptText {
    Messages(Vec<Message>),
    Text(String),
}

/// Runs `herd generate`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.samples >= 1, "-n must be at least 1");
    ensure!(args.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
    ensure!(args.stop.iter().all(|stop| !stop.is_empty()), "--stop must not be empty");
    let params = args.sampling.params()?;
    let (device, kind) = args.compute.resolve()?;
    let path = locate::locate(&args.model)?;
    let prompts: Vec<Prompt> = dataset::jsonl::read_all(&args.prompts)?;

    let mut folder = ModelFolder::load(&path, Some(kind), device)?;
    if let Some(adapter) = &args.adapter {
        folder.model.load_adapter(adapter)?;
        folder.model.merge_adapter();
    }
    let mut requests = Vec::with_capacity(prompts.len() * args.samples);
    for (line, prompt) in prompts.iter().enumerate() {
        let messages = match &prompt.prompt {
            PromptText::Messages(messages) => messages.clone(),
            PromptText::Text(text) => vec![Message::user(text.clone())],
        };
        let place = || format!("{}, record {} (id {})", args.prompts.display(), line + 1, prompt.id);
        let ids = folder.encode_prompt(&messages).with_context(place)?;
        let context = folder.model.config().max_position_embeddings;
        ensure!(
            (ids.len() as i64) < context,
            "{}: the prompt has {} tokens, the model's context is {context}",
            place(),
            ids.len()
        );
        for sample in 0..args.samples {
            requests.push(Request {
                prompt: ids.clone(),
                sampling: params.clone(),
                seed: sequence_seed(args.sampling.seed, line, sample),
                max_new_tokens: args.max_new_tokens,
            });
        }
    }

    let mut output = OrderedOutput::open(&args.output, &fingerprint(args, &path, kind)?)?;
    let done = output.done();
    if done > 0 {
        eprintln!("{done} of {} answers are there from an earlier run; going on", requests.len());
    }
    let stop = StopRules {
        ids: if args.ignore_eos {
            args.stop_token_id.clone()
        } else {
            [&folder.stop_ids[..], &args.stop_token_id].concat()
        },
        strings: args.stop.clone(),
    };
    eprintln!(
        "{} answers to {} prompts with {} in {} on {device:?}, {} at a time",
        requests.len(),
        prompts.len(),
        path.display(),
        device::name(kind),
        args.batch_size
    );
    let start = Instant::now();
    let mut progress = Progress {
        bar: bar(requests.len(), done),
        output: &mut output,
        offset: done,
        args,
        prompts: &prompts,
        seeds: requests.iter().map(|request| request.seed).collect(),
        tokens: 0,
        cut: 0,
        failure: None,
        start,
    };
    let engine = Engine::new(&folder.model, args.batch_size);
    complete(&engine, &folder.tokenizer, &requests[done..], &stop, &mut progress)?;
    let Progress { bar, tokens, cut, failure, .. } = progress;
    bar.finish_and_clear();
    if let Some(failure) = failure {
        return Err(failure);
    }
    output.finish(requests.len())?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} answers, {tokens} tokens in {seconds:.1} s, {:.1} tokens/s; {cut} of {} were cut at {} tokens -> {}",
        requests.len(),
        tokens as f64 / seconds.max(1e-9),
        requests.len() - done,
        args.max_new_tokens,
        args.output.display()
    );
    Ok(())
}

/// A seed for each sequence, from the run's seed, the prompt's place and the sample's number (SplitMix64's mixer).
fn sequence_seed(seed: u64, prompt: usize, sample: usize) -> u64 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    // Seeds stand in JSON, where numbers above 2^53 are not safe in every reader.
    mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ mix(((prompt as u64) << 20) + sample as u64 + 1)) >> 11
}

/// What the answers depend on: a partial output of anything else is not continued.
fn fingerprint(args: &Args, model: &std::path::Path, kind: tch::Kind) -> anyhow::Result<String> {
    let Args { samples, sampling, max_new_tokens, ignore_eos, stop, stop_token_id, batch_size, token_logprobs, .. } =
        args;
    let settings = format!(
        "{samples} {sampling:?} {max_new_tokens} {ignore_eos} {stop:?} {stop_token_id:?} {batch_size} {token_logprobs} {kind:?} {:?}",
        args.adapter
    );
    let fingerprint = Fingerprint::new().text("settings", &settings).file("prompts", &args.prompts)?;
    Ok(fingerprint.text("model", &model.display().to_string()).file("config", model.join("config.json"))?.finish())
}

fn bar(total: usize, done: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} answers, {msg}, {eta} left");
    let bar = ProgressBar::new(total as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_position(done as u64);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Writes answers as they come and shows how far it is.
struct Progress<'a> {
    bar: ProgressBar,
    output: &'a mut OrderedOutput,
    /// Answers that were there before: the engine's request 0 is this one.
    offset: usize,
    args: &'a Args,
    prompts: &'a [Prompt],
    seeds: Vec<u64>,
    tokens: usize,
    cut: usize,
    failure: Option<anyhow::Error>,
    start: Instant,
}

impl Listener for Progress<'_> {
    fn token(&mut self, _: usize, _: &str) -> Next {
        self.tokens += 1;
        if self.tokens.is_multiple_of(64) {
            let rate = self.tokens as f64 / self.start.elapsed().as_secs_f64();
            self.bar.set_message(format!("{rate:.0} tokens/s"));
        }
        if self.failure.is_some() { Next::Stop } else { Next::Continue }
    }

    fn done(&mut self, index: usize, completion: Completion) {
        let index = self.offset + index;
        let sample = self.record(index, completion);
        if let Err(error) = self.output.push(index, &sample) {
            self.failure.get_or_insert(error.into());
        }
        self.bar.inc(1);
    }
}

impl Progress<'_> {
    fn record(&mut self, index: usize, completion: Completion) -> Sample {
        let (prompt, sample) = (index / self.args.samples, index % self.args.samples);
        let id = match &self.prompts[prompt].id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        };
        let mut extra = serde_json::Map::new();
        extra.insert("tokens".into(), completion.ids.len().into());
        if self.args.token_logprobs {
            extra.insert("token_ids".into(), completion.ids.clone().into());
            extra.insert("token_logprobs".into(), completion.logprobs.clone().into());
        }
        if completion.finish_reason == dataset::FinishReason::Length {
            self.cut += 1;
        }
        Sample {
            id,
            sample: Some(sample as u64),
            logprob: Some(completion.logprob()),
            response: completion.text,
            finish_reason: completion.finish_reason,
            reward: None,
            verdict: None,
            model: self.args.model.clone(),
            seed: Some(self.seeds[index]),
            extra,
        }
    }
}
