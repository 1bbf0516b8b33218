//! `herd data judge`: a model's judgements of documents, as labels for a classifier (the Llama 3 paper, section 3.1.1).

use std::path::PathBuf;
use std::time::Duration;

use ::run::{Class, Facts, Frame, Input, Progress, Session, Signals, from_flags};
use anyhow::{Context, bail, ensure};
use dataset::digest::Fingerprint;
use dataset::journal::Journal;
use dataset::jsonl;
use json_client::{Remote, RemoteOptions, RequestError, RetryPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::requirements::{self, HIGHEST, Kind};
use super::select::select;
use crate::document::Document;

/// The file of the judgements.
pub const VERDICTS: &str = "verdicts.jsonl";
/// The file of the documents without a judgement, with the reasons.
const UNJUDGED: &str = "unjudged.jsonl";
const JOURNAL: &str = "answers.journal";

/// Arguments of `herd data judge`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Files of documents
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The folder for verdicts.jsonl, unjudged.jsonl and run.json; the same command continues where it stopped
    #[arg(long)]
    pub output: PathBuf,
    /// The built-in requirements to use
    #[arg(long, value_enum, default_value_t = Kind::Quality)]
    pub kind: Kind,
    /// A file of requirements for 0 to 5 points, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    pub requirements: Option<PathBuf>,
    /// Number of documents to judge, drawn by --seed
    #[arg(long, default_value_t = 2000)]
    pub documents: usize,
    /// Number of characters of a document that the judge sees
    #[arg(long, default_value_t = 4000)]
    pub max_chars: usize,
    /// Seed of the draw
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The OpenAI-compatible server of the judge, such as http://localhost:8000/v1
    #[arg(long, value_name = "URL")]
    pub endpoint: String,
    /// The model's name on the server [default: the only one that the server lists]
    #[arg(long, value_name = "NAME")]
    pub endpoint_model: Option<String>,
    /// Maximum number of tokens of an answer
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Maximum number of open requests to the server
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
    /// Timeout of a request to the server, in seconds, for each attempt
    #[arg(long, default_value_t = 600)]
    pub endpoint_timeout: u64,
    /// Number of retries after a failed attempt
    #[arg(long, default_value_t = 6)]
    pub endpoint_retries: u32,
    /// The environment variable that holds the server's API key
    #[arg(long, value_name = "VARIABLE", default_value = "OPENAI_API_KEY")]
    pub api_key_env: String,
}

/// The judgement of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The document's id.
    pub id: String,
    /// Its source.
    #[serde(default)]
    pub source: String,
    /// The extract that was judged.
    pub text: String,
    /// The points, from 0 to 5.
    pub score: u64,
    /// The judge's reason.
    #[serde(default)]
    pub reason: String,
}

fn class(key: &str) -> Class {
    match key {
        "documents" | "max_chars" | "seed" | "kind" | "endpoint_model" | "max_new_tokens" => Class::Course,
        // The documents and the requirements are compared by digest.
        _ => Class::Free,
    }
}

/// Runs `herd data judge`.
///
/// # Errors
/// When an input or the server is at fault; the same command then asks for what is missing.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let requirements = requirements::load(args.requirements.as_deref(), args.kind)?;
    ensure!(args.documents > 0 && args.max_chars > 0, "--documents and --max-chars must be above 0");
    if args.frame.shows(&resolved)? {
        println!("\nQuestion\n{}", requirements::question(&requirements, "(the extract)"));
        return Ok(());
    }
    let mut inputs = args.input.iter().map(|path| Input::file("input", path)).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(path) = &args.requirements {
        inputs.push(Input::file("requirements", path)?);
    }
    let facts = Facts { seed: Some(args.seed), inputs, ..Facts::new("data judge", class) };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    let selected = select(&args.input, args.documents, args.seed)?;
    ensure!(!selected.documents.is_empty(), "the files hold no document with text");
    let remote = Remote::openai("--endpoint", &args.endpoint, options(args))?;
    let model = match &args.endpoint_model {
        Some(name) => name.clone(),
        None => only_model(&remote)?,
    };
    let answers = ask(args, &requirements, &model, &remote, &selected.documents)?;
    let (verdicts, unjudged) = judged(args, &selected.documents, &answers);
    ensure!(!verdicts.is_empty(), "no answer of {model} has a score; the first reason: {}", unjudged[0]["reason"]);
    jsonl::write_all(args.output.join(VERDICTS), &verdicts)?;
    jsonl::write_all(args.output.join(UNJUDGED), &unjudged)?;
    let mut counts = [0_u64; HIGHEST as usize + 1];
    verdicts.iter().for_each(|verdict| counts[verdict.score as usize] += 1);
    let scores: Vec<String> = counts.iter().enumerate().map(|(score, count)| format!("{score}: {count}")).collect();
    let summary = format!(
        "{}: {} of {} documents judged by {model}; points: {}\n{} without a judgement, in {UNJUDGED}; in the files {} without text, \
         {} places that could not be read",
        args.output.join(VERDICTS).display(),
        verdicts.len(),
        selected.seen,
        scores.join(", "),
        unjudged.len(),
        selected.empty,
        selected.problems
    );
    let figures = json!({"model": model, "documents": selected.seen, "judged": verdicts.len(), "unjudged": unjudged.len(),
        "counts": counts});
    session.finish(&[VERDICTS, UNJUDGED], &summary, figures)?;
    println!("{summary}");
    Ok(())
}

fn options(args: &Args) -> RemoteOptions {
    RemoteOptions {
        concurrency: args.concurrency,
        timeout: Duration::from_secs(args.endpoint_timeout),
        retry: RetryPolicy { retries: args.endpoint_retries, ..RetryPolicy::default() },
        bearer: std::env::var(&args.api_key_env).ok().filter(|key| !key.is_empty()),
    }
}

/// The name of the only model that the server lists.
fn only_model(remote: &Remote) -> anyhow::Result<String> {
    let list = remote.get("/models").map_err(|reason| {
        anyhow::anyhow!("{}/models: {reason}; is the server running? Or give --endpoint-model", remote.url())
    })?;
    let names: Vec<&str> =
        list["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str()).collect();
    match names[..] {
        [name] => Ok(name.to_owned()),
        _ => bail!("{} lists {} models: give --endpoint-model ({})", remote.url(), names.len(), names.join(", ")),
    }
}

/// An answer of the judge, or the server's reason for refusing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Answer(String),
    Refused(String),
}

/// The answers about all documents. Answers in the journal are not requested again.
fn ask(
    args: &Args,
    requirements: &str,
    model: &str,
    remote: &Remote,
    documents: &[Document],
) -> anyhow::Result<Journal<Said>> {
    let mut print = Fingerprint::new().text("requirements", requirements).text("model", model);
    print = print.text("answer", &args.max_new_tokens.to_string());
    for document in documents {
        print = print.text("extract", requirements::extract(&document.text, args.max_chars));
    }
    let mut journal = Journal::open(args.output.join(JOURNAL), &print.finish())?;
    let open: Vec<usize> = (0..documents.len()).filter(|at| !journal.contains(*at as u64)).collect();
    if open.len() < documents.len() {
        eprintln!("{} of {} answers are there already", documents.len() - open.len(), documents.len());
    }
    let questions = open.iter().map(|at| {
        let extract = requirements::extract(&documents[*at].text, args.max_chars);
        let question = requirements::question(requirements, extract);
        let length = if remote.is_at("openai.com") { "max_completion_tokens" } else { "max_tokens" };
        let body = json!({"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0,
            length: args.max_new_tokens});
        ("/chat/completions", body)
    });
    let signals = Signals::listen().context("cannot listen for signals")?;
    let progress = Progress::new("documents", Some(documents.len()), documents.len() - open.len());
    let (mut failed, mut reason) = (0_u64, String::new());
    remote.ask_all(questions, text, &mut |place, answer| {
        let said = match answer {
            Ok(text) => Said::Answer(text),
            Err(RequestError::Refused { reason, .. } | RequestError::Request(reason)) => Said::Refused(reason),
            Err(error @ RequestError::NoAnswer { .. }) => {
                failed += 1;
                reason = error.to_string();
                return Ok(());
            }
        };
        journal.insert(open[place] as u64, said)?;
        progress.add(1);
        ensure!(!signals.stop(), "stopped; the same command asks for what is missing");
        Ok(())
    })?;
    ensure!(failed == 0, "{failed} documents got no answer, at last: {reason}; the same command asks for them again");
    Ok(journal)
}

/// The text of an answer.
fn text(response: Value) -> Result<String, String> {
    match &response["choices"][0]["message"]["content"] {
        Value::String(text) => Ok(text.clone()),
        _ => Err("choices[0].message.content is not a text".into()),
    }
}

/// The verdicts, and records of the documents without one.
fn judged(args: &Args, documents: &[Document], answers: &Journal<Said>) -> (Vec<Verdict>, Vec<Value>) {
    let (mut verdicts, mut unjudged) = (Vec::new(), Vec::new());
    for (at, document) in documents.iter().enumerate() {
        let read = match answers.get(at as u64) {
            Some(Said::Answer(answer)) => requirements::read(answer),
            Some(Said::Refused(reason)) => Err(reason.clone()),
            None => Err("no answer".into()),
        };
        match read {
            Ok((score, reason)) => verdicts.push(Verdict {
                id: document.id.clone(),
                source: document.source.clone(),
                text: requirements::extract(&document.text, args.max_chars).to_owned(),
                score,
                reason,
            }),
            Err(reason) => unjudged.push(json!({"id": document.id, "source": document.source, "reason": reason})),
        }
    }
    (verdicts, unjudged)
}
