//! The demo: a real model answers a question.

use std::process::Command;
use std::time::Instant;

use crate::project;

const MODEL: &str = "smollm2-135m-instruct";
const QUESTION: &str = "What is gravity? Answer in two sentences.";

/// Fetches the model and asks it one question.
pub fn run() -> anyhow::Result<()> {
    let start = Instant::now();
    fetch_model()?;
    let herd = project::binary("herd");
    step(Command::new(&herd).args(["chat", "--model", MODEL, "--ask", QUESTION]))?;
    println!("\nDemo done in {}. Talk to it yourself: {} chat --model {MODEL}", project::since(start), herd.display());
    Ok(())
}

/// Builds `herd` and lets it fetch the model, if that is not in the cache.
pub fn fetch_model() -> anyhow::Result<()> {
    let start = Instant::now();
    println!("\nBuilding herd (once; a few minutes on two cores)");
    project::cargo(["build", "--package", "herd"])?;
    println!("Built in {}", project::since(start));
    step(Command::new(project::binary("herd")).args(["model", "get", MODEL]))
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    println!("\n$ {}", project::show(command));
    project::run(command)
}
