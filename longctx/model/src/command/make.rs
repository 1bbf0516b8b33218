//! `herd longctx make`: records without a model (see [`longctx::command::make`]), or questions and summaries that a model writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::run::{Class, Facts, Input, Progress, Session, from_flags, grouped};
use anyhow::{Context as _, ensure};
use dataset::Conversation;
use llama::device::{Compute, Count, Dtype, Place};
use longctx::command::make::{choose, counts, tokenizer_inputs};
use longctx::command::{make, tokens};
use longctx::counter::Counter;
use longctx::documents;
use longctx::stream::{BREAK, Stream};
use longctx::task::World;
use sampler::SamplerArgs;
use serde::Serialize;
use serde_json::{Value, json};

use crate::write::prompts::Prompts;
use crate::write::qa::{self, Dropped, Pair};
use crate::write::record::{self, Passage, SPLIT, Turn};
use crate::write::{Ask, Writer, summary};

/// Arguments of `herd longctx make`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub data: make::Args,
    /// For --tasks qa,summary: the model that writes, a name in the cache or a folder
    #[arg(long, conflicts_with = "endpoint", help_heading = "Writing model")]
    pub model: Option<String>,
    /// For --tasks qa,summary: an OpenAI-compatible server that writes, such as http://localhost:8000/v1
    #[arg(long, value_name = "URL", help_heading = "Writing model")]
    pub endpoint: Option<String>,
    /// The model's name on the server [default: the only one that the server lists]
    #[arg(long, requires = "endpoint", value_name = "NAME", help_heading = "Writing model")]
    pub endpoint_model: Option<String>,
    /// Maximum number of open requests to the server
    #[arg(long, default_value_t = 16, help_heading = "Writing model")]
    pub concurrency: usize,
    /// Number of sequences decoded together
    #[arg(long, default_value_t = 16, help_heading = "Writing model")]
    pub max_num_seqs: usize,
    /// Type to compute in
    #[arg(long, help_heading = "Writing model")]
    pub dtype: Option<Dtype>,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, help_heading = "Writing model")]
    pub device: Option<Place>,
    /// Tokens of a chunk that the model is shown
    #[arg(long, default_value = "8k", help_heading = "Writing model")]
    pub chunk: String,
    /// Questions that the model is asked to write about a chunk
    #[arg(long, default_value_t = 4, help_heading = "Writing model")]
    pub questions: usize,
    /// Number of sampled answers to each question; the model sees the question with its chunk
    #[arg(long, default_value_t = 3, help_heading = "Writing model")]
    pub samples: u64,
    /// Number of these answers that must agree
    #[arg(long, default_value_t = 2, help_heading = "Writing model")]
    pub agree: usize,
    /// A folder of prompts that replace the embedded ones: questions.txt, answer.txt, closed.txt, summary.txt, combine.txt
    #[arg(long, value_name = "DIR", help_heading = "Writing model")]
    pub prompt_dir: Option<PathBuf>,
}

/// The tasks that a model writes.
const WRITTEN: [&str; 2] = ["qa", "summary"];
/// Number of passages whose questions are asked in one batch.
const TOGETHER: u64 = 8;
/// Maximum tokens of the questions about a chunk (for each question), and of an answer.
const TOKENS: (usize, usize) = (160, 64);

impl Args {
    /// Whether the command needs a model or a server.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.data.tasks.iter().any(|task| WRITTEN.contains(&task.as_str()))
    }

    fn sampler(&self) -> SamplerArgs {
        SamplerArgs {
            model: self.model.clone(),
            endpoint: self.endpoint.clone(),
            endpoint_model: self.endpoint_model.clone(),
            concurrency: self.concurrency,
            max_num_seqs: self.max_num_seqs,
            compute: Compute { dtype: self.dtype, device: self.device, threads: self.data.threads.map(Count::Of) },
            ..SamplerArgs::default()
        }
    }
}

fn class(key: &str) -> Class {
    match key {
        // These keys are compared by the content of their files.
        "output" | "texts" | "repositories" | "decontaminate" | "tokenizer" | "prompt_dir" => Class::Free,
        _ => SamplerArgs::class(key).unwrap_or(Class::Course),
    }
}

/// Runs `herd longctx make`, or resumes it.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if !args.asks() {
        ensure!(
            args.model.is_none() && args.endpoint.is_none(),
            "--model and --endpoint are for --tasks qa,summary; the other tasks are computed without a model"
        );
        return make::run(&args.data);
    }
    let data = &args.data;
    let foreign = data.tasks.iter().find(|task| !WRITTEN.contains(&task.as_str()));
    ensure!(
        foreign.is_none(),
        "--tasks {}: qa and summary are written by a model; make the computed tasks in a run of their own",
        foreign.map_or("", |task| task.as_str())
    );
    ensure!(
        args.model.is_some() || args.endpoint.is_some(),
        "--tasks qa,summary: give the model that writes, --model NAME or --endpoint URL"
    );
    ensure!(data.split.is_none_or(|split| split == SPLIT), "--tasks qa,summary: they are made to train on");
    ensure!(!data.texts.is_empty(), "--tasks qa,summary: give --texts");
    ensure!(data.count > 0, "--count 0: nothing to make");
    ensure!(args.questions > 0, "--questions must be at least 1");
    ensure!(
        args.agree >= 1 && args.agree as u64 <= args.samples,
        "--agree is {}; it must be from 1 to --samples, {}",
        args.agree,
        args.samples
    );
    let buckets: Vec<usize> =
        data.buckets.iter().map(|text| tokens(text)).collect::<anyhow::Result<_>>().context("--buckets")?;
    let chunk = tokens(&args.chunk).context("--chunk")?;
    let prompts = Prompts::load(args.prompt_dir.as_deref())?;
    let folder = chat::locate_tokenizer(&data.tokenizer)?;
    let read = documents::load(&data.texts, &data.licence)?;
    let sampler_args = args.sampler();
    let mut inputs = sampler_args.inputs()?;
    inputs.extend(tokenizer_inputs(&folder)?);
    for (key, files) in [("texts", &read.files), ("decontaminate", &data.decontaminate)] {
        for file in files {
            inputs.push(Input::file(key, file)?);
        }
    }
    inputs.push(Input::other("prompts", "prompts", &prompts.identity()));
    let resolved = from_flags(args, data.frame.config.as_deref())?;
    if data.frame.shows(&resolved)? {
        return Ok(());
    }
    let facts = Facts {
        seed: Some(data.seed),
        inputs,
        hardware: sampler_args.hardware()?,
        libtorch: args.endpoint.is_none().then_some(llama::device::LIBTORCH),
        notes: sampler_args.notes(),
        ..Facts::new("longctx make", class)
    };
    let Some(mut session) = Session::open(&data.output, &resolved, facts)? else { return Ok(()) };
    let counter = Counter::open(&folder)?;
    let mut left_out = read.left_out.clone();
    let kept = choose(read.documents, &data.decontaminate, SPLIT, &counter, &mut left_out)?;
    ensure!(!kept.is_empty(), "no text is left to train on: {}", counts(&left_out));
    let stream = Stream::new(kept, data.seed, &counter, BREAK)?;
    let world = World::new(Some(stream), None, counter, SPLIT)?;
    let sampler = sampler_args.open()?;
    eprintln!("written by {}", sampler.describe());
    session.start(Value::Null)?;
    let by = format!("{} ({})", sampler.name(), &sampler.identity()?[..12]);
    let journal = data.output.join("answers.journal");
    let writer = Writer::open(&sampler, &journal, session.fingerprint(), data.seed)?;
    let mut making = Making { args, world: &world, prompts: &prompts, writer, chunk, by, tally: Tally::default() };
    let progress = Progress::new("answers", None, 0);
    let mut records = Vec::new();
    let mut number = 0;
    while number < data.count {
        let until = (number + TOGETHER).min(data.count);
        let mut passages = Vec::new();
        for number in number..until {
            let bucket = buckets[(number / data.tasks.len() as u64 % buckets.len() as u64) as usize];
            let passage = record::passage(&world, number, bucket, chunk, data.seed).with_context(|| {
                format!(
                    "a passage of {bucket} tokens, but the texts have {}",
                    world.stream.as_ref().map_or(0, Stream::total)
                )
            })?;
            let task = data.tasks[(number % data.tasks.len() as u64) as usize].as_str();
            passages.push((task, passage));
        }
        let questions: Vec<&Passage> = passages.iter().filter(|(task, _)| *task == "qa").map(|(_, p)| p).collect();
        records.extend(making.questions(&questions, &progress)?);
        for (_, passage) in passages.iter().filter(|(task, _)| *task == "summary") {
            records.extend(making.summary(passage, &progress)?);
        }
        number = until;
    }
    let tally = &making.tally;
    ensure!(
        !records.is_empty(),
        "the model wrote nothing that could be kept: {}; a stronger model, or other prompts (--prompt-dir), are needed",
        tally.text()
    );
    records.sort_by(|a, b| a.id.cmp(&b.id));
    let path = data.output.join("train.jsonl");
    dataset::jsonl::write_all(&path, records.iter())?;
    let summary = format!(
        "{}: {} records about {} passages, written by {}\n{}",
        path.display(),
        records.len(),
        grouped(data.count),
        making.by,
        tally.text()
    );
    session.finish(&["train.jsonl"], &summary, json!({"records": records.len(), "counts": tally.counts()}))?;
    println!("{summary}");
    Ok(())
}

/// Counts of passages and questions, by outcome.
#[derive(Debug, Default)]
struct Tally {
    written: u64,
    kept: u64,
    unreadable: u64,
    dropped: BTreeMap<Dropped, u64>,
    summaries: u64,
    cut_summaries: u64,
    too_long: u64,
}

impl Tally {
    fn counts(&self) -> Value {
        let dropped: serde_json::Map<String, Value> =
            self.dropped.iter().map(|(why, count)| (why.text().to_owned(), (*count).into())).collect();
        json!({
            "questions_written": self.written,
            "questions_kept": self.kept,
            "passages_without_a_question": self.unreadable,
            "dropped": dropped,
            "summaries": self.summaries,
            "summaries_cut": self.cut_summaries,
            "longer_than_the_bucket": self.too_long,
        })
    }

    fn text(&self) -> String {
        let dropped: Vec<String> = self.dropped.iter().map(|(why, count)| format!("{count} {}", why.text())).collect();
        let Self { written, kept, unreadable, summaries, cut_summaries, too_long, .. } = self;
        let dropped =
            if dropped.is_empty() { "none dropped".to_owned() } else { format!("dropped: {}", dropped.join(", ")) };
        format!(
            "questions: {written} written, {kept} kept; {dropped}; {unreadable} passages for which none could be read\n\
             summaries: {summaries} kept, {cut_summaries} left out since a part was cut or empty\n\
             {too_long} records longer than their bucket left out"
        )
    }
}

struct Making<'a> {
    args: &'a Args,
    world: &'a World,
    prompts: &'a Prompts,
    writer: Writer<'a>,
    chunk: usize,
    by: String,
    tally: Tally,
}

/// A question-answer pair of a passage, with the place of its quote.
struct Candidate {
    passage: usize,
    pair: Pair,
    at: usize,
}

impl Making<'_> {
    fn text(&self, range: &std::ops::Range<usize>) -> &str {
        self.world.stream.as_ref().map_or("", |stream| &stream.text[range.clone()])
    }

    /// Writes questions about passages and gives the records. A passage without a kept question gives no record.
    fn questions(&mut self, passages: &[&Passage], progress: &Progress) -> anyhow::Result<Vec<Conversation>> {
        let count = self.args.questions;
        let chunks: Vec<String> =
            passages.iter().map(|passage| self.text(&passage.chunks[passage.chosen]).to_owned()).collect();
        let prompt = self.prompts.questions.replace("{count}", &count.to_string());
        let asks: Vec<Ask> = chunks
            .iter()
            .map(|chunk| Ask {
                prompt: prompt.replace("{text}", chunk),
                sample: 0,
                temperature: 0.0,
                max_new_tokens: TOKENS.0 * count,
            })
            .collect();
        let replies = self.writer.ask(&asks, progress)?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (number, (passage, reply)) in passages.iter().zip(&replies).enumerate() {
            let pairs = qa::parse(&reply.text);
            self.tally.written += pairs.len() as u64;
            self.tally.unreadable += u64::from(pairs.is_empty());
            for pair in pairs {
                let is_known =
                    candidates.iter().any(|known| known.passage == number && known.pair.question == pair.question);
                let place = match is_known {
                    true => Err(Dropped::Repeated),
                    false => qa::place(&pair, self.text(&passage.bytes), &chunks[number]),
                };
                match place {
                    Ok(at) => candidates.push(Candidate { passage: number, pair, at }),
                    Err(why) => *self.tally.dropped.entry(why).or_default() += 1,
                }
            }
        }
        let kept = self.verified(candidates, &chunks, progress)?;
        let verified_by = format!(
            "written by {}: the quote stands once in the text; asked again with the chunk, at least {} of {} answers are alike, and \
             without it none is",
            self.by, self.args.agree, self.args.samples
        );
        let mut records = Vec::new();
        for (number, passage) in passages.iter().enumerate() {
            let of = kept.iter().filter(|candidate| candidate.passage == number);
            let turns: Vec<Turn> = of
                .map(|Candidate { pair, at, .. }| Turn {
                    question: pair.question.clone(),
                    answer: pair.answer.clone(),
                    evidence: Some(*at..*at + pair.quote.len()),
                })
                .collect();
            if turns.is_empty() {
                continue;
            }
            match record::conversation(self.world, passage, "qa", &turns, &verified_by)? {
                Some(record) => {
                    self.tally.kept += turns.len() as u64;
                    records.push(record);
                }
                None => self.tally.too_long += 1,
            }
        }
        Ok(records)
    }

    /// Keeps the questions that the model answers consistently with the chunk and fails without it.
    fn verified(
        &mut self,
        candidates: Vec<Candidate>,
        chunks: &[String],
        progress: &Progress,
    ) -> anyhow::Result<Vec<Candidate>> {
        let Args { samples, agree, .. } = *self.args;
        let mut asks = Vec::new();
        for Candidate { passage, pair, .. } in &candidates {
            let with = self.prompts.answer.replace("{question}", &pair.question).replace("{text}", &chunks[*passage]);
            // The first answer is the most likely one; the others are sampled.
            asks.extend((0..samples).map(|sample| Ask {
                prompt: with.clone(),
                sample,
                temperature: if sample == 0 { 0.0 } else { 0.7 },
                max_new_tokens: TOKENS.1,
            }));
            let closed = self.prompts.closed.replace("{question}", &pair.question);
            asks.push(Ask { prompt: closed, sample: 0, temperature: 0.0, max_new_tokens: TOKENS.1 });
        }
        let replies = self.writer.ask(&asks, progress)?;
        let mut kept = Vec::new();
        for (candidate, replies) in candidates.into_iter().zip(replies.chunks(samples as usize + 1)) {
            let Some((without, with)) = replies.split_last() else { continue };
            let with: Vec<&str> = with.iter().map(|reply| reply.text.as_str()).collect();
            match qa::judge(&candidate.pair, &with, &without.text, agree) {
                Ok(()) => kept.push(candidate),
                Err(why) => *self.tally.dropped.entry(why).or_default() += 1,
            }
        }
        Ok(kept)
    }

    fn summary(&mut self, passage: &Passage, progress: &Progress) -> anyhow::Result<Option<Conversation>> {
        let chunks: Vec<String> = passage.chunks.iter().map(|chunk| self.text(chunk).to_owned()).collect();
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let prompts = (self.prompts.summary.as_str(), self.prompts.combine.as_str());
        let counter = &self.world.counter;
        let count = |text: &str| counter.count(text);
        let Some(text) = summary::of(&mut self.writer, prompts, &chunks, self.chunk, &count, progress)? else {
            self.tally.cut_summaries += 1;
            return Ok(None);
        };
        let turn = Turn { question: "Summarise the text.".to_owned(), answer: text, evidence: None };
        let verified_by = format!("written by {} from summaries of {} chunks; not verified", self.by, chunks.len());
        let record = record::conversation(self.world, passage, "summary", &[turn], &verified_by)?;
        match &record {
            Some(_) => self.tally.summaries += 1,
            None => self.tally.too_long += 1,
        }
        Ok(record)
    }
}
