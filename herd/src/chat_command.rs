//! `herd chat`: talk to a model in the terminal.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use dataset::Message;
use llama::{Completion, Engine, EngineOptions, Listener, ModelFolder, Next, Request, StopRules, complete, locate};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use llama::device::Compute;
use sampler::Sampling;
use vision::{Answering, Composed, View};

/// Arguments of `herd chat`.
#[derive(clap::Args)]
pub struct Args {
    /// A model's name in the cache or its folder
    #[arg(long)]
    pub model: String,
    /// A system message
    #[arg(long)]
    pub system: Option<String>,
    /// Ask this one question and exit
    #[arg(long)]
    pub ask: Option<String>,
    /// Maximum number of tokens of an answer
    #[arg(long, default_value_t = 512)]
    pub max_new_tokens: usize,
    /// A variable of the chat template, such as date_string="26 Jul 2024". A value that is JSON is parsed as JSON.
    /// strftime_now=2024-07-26 sets the date for templates that call it. Repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub template_var: Vec<String>,
    #[command(flatten)]
    pub sampling: ChatSampling,
    #[command(flatten)]
    pub compute: Compute,
}

/// How tokens are sampled in a chat.
#[derive(clap::Args)]
pub struct ChatSampling {
    /// 0 always takes the most likely token
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Sample from the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Repetition penalty; above 1, tokens already seen become less likely
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

const HELP: &str = "/image PATH attaches a picture to the next question, /image lists the attached ones, \
                    /reset forgets the conversation, /system TEXT sets the system message and forgets it too, \
                    /quit exits; Ctrl-C stops an answer, Ctrl-D exits";

/// Runs `herd chat`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let sampling = Sampling {
        temperature: args.sampling.temperature,
        top_k: 0,
        top_p: args.sampling.top_p,
        min_p: 0.0,
        repetition_penalty: args.sampling.repetition_penalty,
        seed: args.sampling.seed,
    };
    sampling.params()?;
    let (device, kind) = args.compute.resolve()?;
    let variables = chat::template_variables(&args.template_var).map_err(anyhow::Error::msg)?;
    let path = locate::locate(&args.model)?;
    let mut seeing = match vision::is_composed(&path) {
        true => Some(Composed::load(&path, None, Some(kind), device)?),
        false => None,
    };
    let mut alone = match seeing {
        Some(_) => None,
        None => Some(ModelFolder::load(&path, Some(kind), device)?),
    };
    let folder = seeing.as_mut().map(|seeing| &mut seeing.text).or(alone.as_mut()).context("no model is loaded")?;
    folder.model.set_gpu_kernels(args.compute.gpu_kernels()?);
    crate::generate::warn_of_unread(folder.template.as_ref(), &variables)?;
    if let Some(template) = &mut folder.template {
        template.set_variables(variables);
    }
    let folder = seeing.as_ref().map(|seeing| &seeing.text).or(alone.as_ref()).context("no model is loaded")?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let options = EngineOptions { slots: 1, graphs: args.compute.graphs()?, ..EngineOptions::default() };
    let engine = Engine::with_options(&folder.model, options)?;
    let mut chat = Chat {
        args,
        sampling,
        folder,
        seeing: seeing.as_ref(),
        attached: Vec::new(),
        engine,
        history: Vec::new(),
        interrupted: interrupted.clone(),
    };
    chat.reset(args.system.clone());
    if let Some(question) = &args.ask {
        return chat.answer(question);
    }

    ctrlc::set_handler(move || interrupted.store(true, Ordering::SeqCst)).context("cannot watch for Ctrl-C")?;
    println!("{HELP}");
    let mut editor = DefaultEditor::new()?;
    loop {
        match editor.readline("> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                editor.add_history_entry(&line).ok();
                if !chat.command(line.trim())? {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => println!("(Ctrl-D exits)"),
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("cannot read the terminal"),
        }
    }
}

/// A conversation in progress.
struct Chat<'a> {
    args: &'a Args,
    sampling: Sampling,
    folder: &'a ModelFolder,
    /// The same model with its image encoder and adapter, if it has them.
    seeing: Option<&'a Composed>,
    /// The paths of the pictures for the next question.
    attached: Vec<String>,
    /// Kept between answers: its cache holds the conversation so far.
    engine: Engine,
    history: Vec<Message>,
    interrupted: Arc<AtomicBool>,
}

impl Chat<'_> {
    fn reset(&mut self, system: Option<String>) {
        self.history = system.map(Message::system).into_iter().collect();
        self.attached.clear();
    }

    /// Handles a line; false ends the program.
    fn command(&mut self, line: &str) -> anyhow::Result<bool> {
        match line.split_once(char::is_whitespace).unwrap_or((line, "")) {
            ("/quit" | "/exit", _) => return Ok(false),
            ("/help", _) => println!("{HELP}"),
            ("/reset", _) => {
                self.reset(self.args.system.clone());
                println!("(forgotten)");
            }
            ("/image", "") if self.attached.is_empty() => {
                println!("(no picture is attached; /image PATH attaches one)")
            }
            ("/image", "") => println!("{}", self.attached.join("\n")),
            ("/image", _) if self.seeing.is_none() => println!("this model cannot see pictures; see herd vision train"),
            ("/image", path) => match View::of_file(path.trim()) {
                Ok(view) => {
                    println!("({} x {} pixels, attached to the next question)", view.size.0, view.size.1);
                    self.attached.push(path.trim().to_owned());
                }
                Err(error) => println!("error: {error}"),
            },
            ("/system", "") => println!("/system needs a text"),
            ("/system", text) => {
                self.reset(Some(text.trim().to_owned()));
                println!("(system message set, conversation forgotten)");
            }
            (word, _) if word.starts_with('/') => println!("unknown command {word}. {HELP}"),
            _ => {
                // A conversation that is too long is reported; the program does not end.
                if let Err(error) = self.answer(line) {
                    println!("error: {error:#}; /reset starts a new conversation");
                }
            }
        }
        Ok(true)
    }

    /// Streams the answer to a user message. The exchange is added to the history only if there was an answer.
    fn answer(&mut self, question: &str) -> anyhow::Result<()> {
        self.history.push(match &self.attached[..] {
            [] => Message::user(question),
            attached => vision::describe::question(attached, question),
        });
        match self.stream() {
            Ok(text) => {
                self.attached.clear();
                self.history.push(Message::assistant(text));
                Ok(())
            }
            Err(error) => {
                self.history.pop();
                Err(error)
            }
        }
    }

    fn stream(&mut self) -> anyhow::Result<String> {
        let start = Instant::now();
        self.interrupted.store(false, Ordering::SeqCst);
        let completion = match self.seeing.filter(|_| self.history.iter().any(has_picture)) {
            Some(model) => self.look(model)?,
            None => self.complete()?,
        };
        // Each answer uses a new seed.
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        let rate = completion.ids.len() as f64 / start.elapsed().as_secs_f64();
        let how = if self.interrupted.load(Ordering::SeqCst) {
            ", stopped"
        } else if completion.finish_reason == dataset::FinishReason::Length {
            ", cut at the maximum length"
        } else {
            ""
        };
        eprintln!("\n({} tokens, {rate:.0} tokens/s{how})", completion.ids.len());
        Ok(completion.text)
    }

    /// The answer to a conversation with pictures.
    fn look(&self, model: &Composed) -> anyhow::Result<Completion> {
        let answering = Answering {
            sampling: self.sampling.params()?,
            seed: self.sampling.seed,
            max_new_tokens: self.args.max_new_tokens,
            top_logprobs: 0,
            stops: StopRules { ids: self.folder.stop_ids.clone(), strings: Vec::new() },
        };
        vision::describe::ask(model, &self.history, Path::new(""), &answering, |text| {
            print!("{text}");
            std::io::stdout().flush().ok();
            !self.interrupted.load(Ordering::SeqCst)
        })
    }

    /// The answer to a conversation of text alone.
    fn complete(&mut self) -> anyhow::Result<Completion> {
        let request = Request {
            prompt: self.folder.encode_prompt(&self.history)?,
            sampling: self.sampling.params()?,
            seed: self.sampling.seed,
            max_new_tokens: self.args.max_new_tokens,
            top_logprobs: 0,
        };
        let stop = StopRules { ids: self.folder.stop_ids.clone(), strings: Vec::new() };
        let mut printer = Printer { interrupted: &self.interrupted, completion: None };
        complete(&mut self.engine, &self.folder.tokenizer, &[request], &[stop], &mut printer)?;
        printer.completion.context("the model gave no answer")
    }
}

/// Whether a turn has a picture.
fn has_picture(message: &Message) -> bool {
    message.content.as_ref().is_some_and(|content| content.first_other().is_some())
}

/// Prints tokens as they are generated.
struct Printer<'a> {
    interrupted: &'a AtomicBool,
    completion: Option<Completion>,
}

impl Listener for Printer<'_> {
    fn token(&mut self, _: usize, text: &str) -> Next {
        print!("{text}");
        std::io::stdout().flush().ok();
        if self.interrupted.load(Ordering::SeqCst) { Next::Stop } else { Next::Continue }
    }

    fn done(&mut self, _: usize, completion: Completion) {
        self.completion = Some(completion);
    }
}
