//! `herd`: one command line for every stage.

mod again;
mod chat_command;
mod data;
mod doctor;
mod examples;
mod generate;
mod help;
mod import;
mod model;
mod pipeline;
mod reference;
mod registry;
mod serve_pictures;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "herd", version, about = "From a pretrained language model to an aligned assistant")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show what this machine has: libtorch, GPU, CPU, caches, tools
    Doctor,
    /// Fetch, import, inspect and export models
    Model(model::Args),
    /// Sample answers to the prompts of a file
    Generate(generate::Args),
    /// Serve a model over an OpenAI-compatible API
    Serve(openai_server::Args),
    /// Talk to a model in the terminal
    Chat(chat_command::Args),
    /// Train a base model on token shards
    Pretrain(Box<pretrain::command::Args>),
    /// Scaling laws: fit them to finished runs, predict size, tokens, loss, accuracy and the best mix
    Scaling(Box<scaling_laws::command::Args>),
    /// Fine-tune a model on conversations
    Sft(Box<sft::command::Args>),
    /// Train a model on preferences (direct preference optimisation)
    Dpo(Box<dpo::command::Args>),
    /// Average models, the checkpoints of a run, or LoRA adapters
    Average(average::command::Args),
    /// Merge a LoRA adapter into its base model
    Merge(average::merge::Args),
    /// Run a pipeline of stages from a file, or continue it
    Run(pipeline::Args),
    /// Repeat the run of a folder, and compare the files
    Again(again::Args),
    /// Plan a run on many GPUs: memory, step time, effective time
    Plan(Box<launch::plan::Args>),
    /// Start and supervise the ranks of a program on this machine
    Launch(launch::process::Args),
    /// Train reward models, sample and select answers, filter conversations
    RejectionSampling(rejection_sampling::cli::Args),
    /// Measure a model on benchmarks; compare runs; look for contamination
    Eval(Box<eval::command::Args>),
    /// Print every key of a command's configuration file: type, default, meaning
    Config(reference::Args),
    /// Make problems, fetch benchmark data, make pretraining data
    Data(data::Args),
    /// Policy file, filters, tuning data, guards; violations and false refusals of a model
    Safety(Box<safety::command::Args>),
    /// Make and mix long-context data; measure and extend a model's context
    Longctx(longctx_model::command::Args),
    /// Pictures in conversations: make and check them; train, measure and ask vision models
    Vision(Box<vision::command::Args>),
    /// Judge mathematical answers and step-by-step solutions
    Mathverify(mathverify::command::Args),
    /// Run untrusted programs with their tests in a sandbox
    Codeexec(codeexec::cli::Args),
    /// Print a script that completes herd's commands and flags in a shell
    Completions(help::Completions),
    /// Write man pages
    Man(help::Man),
}

/// The words before the hidden subcommand of the sandbox, which starts this program again as its child.
const SANDBOX: &[&str] = &["codeexec"];

/// The whole command line, with the flags of every command.
fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Checks that `herd` accepts these arguments. The error is the message that it would print, without the usage.
fn check(words: &[String]) -> anyhow::Result<()> {
    let words = std::iter::once("herd").chain(words.iter().map(String::as_str)).map(OsString::from);
    let words = run::expand(&Cli::command(), words.collect())?;
    let Err(error) = Cli::try_parse_from(words) else { return Ok(()) };
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default().replace("\n\n  tip: ", "; ");
    anyhow::bail!("{}", text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" "))
}

fn main() -> ExitCode {
    let words = match run::expand(&Cli::command(), std::env::args_os().collect()) {
        Ok(words) => words,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let matches = help::command::<Cli>().get_matches_from(words);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // `herd doctor | head` ends silently. This does not apply to commands that write to sockets or to other programs:
    // there, a closed pipe is an error to handle.
    use Command::{Completions, Config, Doctor, Longctx, Man, Model, Plan, Safety, Scaling, Vision};
    let is_local = match &cli.command {
        Safety(args) => !args.serves(),
        Vision(args) => !args.trains(),
        Longctx(args) => args.is_local(),
        other => matches!(other, Plan(_) | Scaling(_)),
    };
    if is_local || matches!(cli.command, Doctor | Model(_) | Config(_) | Completions(_) | Man(_)) {
        sigpipe::reset();
    }
    // This runs before any thread starts: the supervisor forks, and it needs no libtorch.
    if let Command::Launch(args) = &cli.command {
        return launch::process::run(args).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        });
    }
    if trains(&cli.command) {
        trainer::keep_memory();
    }
    torch_ext::init();
    // An error of libtorch anywhere below becomes one sentence, not a panic with its C++ stack.
    let result = torch_ext::catch(|| match cli.command {
        Command::Doctor => doctor::run(),
        Command::Model(args) => model::run(args),
        Command::Generate(args) => generate::run(&args),
        Command::Serve(args) => serve_pictures::run(&args),
        Command::Chat(args) => chat_command::run(&args),
        Command::Pretrain(args) => pretrain::command::run(&args),
        Command::Scaling(args) => scaling_laws::command::run(&args, Some(&pipeline::run_file)),
        Command::Sft(args) => sft::command::run(&args).map(drop),
        Command::Dpo(args) => dpo::command::run(&args).map(drop),
        Command::Average(args) => average::command::run(&args),
        Command::Merge(args) => average::merge::run(&args),
        Command::Run(args) => pipeline::run(&args),
        Command::Again(args) => again::run(&args),
        Command::Plan(args) => launch::plan::run(&args),
        Command::Launch(_) => Ok(()),
        Command::RejectionSampling(args) => rejection_sampling::cli::run(&args, SANDBOX),
        Command::Eval(args) => eval::command::run(&args, SANDBOX),
        Command::Config(args) => reference::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Safety(args) => safety::command::run(&args),
        Command::Longctx(args) => longctx_model::command::run(&args),
        Command::Vision(args) => vision::command::run(&args),
        Command::Mathverify(args) => mathverify::command::run(&args),
        Command::Codeexec(args) => codeexec::cli::run(args, SANDBOX),
        Command::Completions(args) => {
            help::completions(&args, help::command::<Cli>());
            Ok(())
        }
        Command::Man(args) => help::man(&args, help::command::<Cli>()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_finding =
                error.is::<safety_text::code::command::Found>() || error.is::<longctx_model::extend::Stopped>();
            match () {
                () if is_finding => ExitCode::from(3),
                () if error.is::<safety_tuning::gate::Failed>() => ExitCode::from(safety_tuning::gate::EXIT),
                () => ExitCode::from(trainer::Corrupt::exit_code(&error)),
            }
        }
    }
}

/// Whether the command trains a model in this process.
fn trains(command: &Command) -> bool {
    match command {
        Command::Pretrain(_) | Command::Sft(_) | Command::Dpo(_) => true,
        Command::RejectionSampling(args) => args.trains(),
        Command::Safety(args) => args.trains(),
        Command::Vision(args) => args.trains(),
        Command::Longctx(args) => args.trains(),
        _ => false,
    }
}
