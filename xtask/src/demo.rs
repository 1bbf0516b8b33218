//! The demo: a round of post-training, from its recipe.

use std::process::Command;
use std::time::Instant;

use crate::project;

const MODEL: &str = "smollm2-135m-instruct";

/// One round on a real model, which is fetched first; or with `quick` on a tiny one that has never been trained.
pub fn run(quick: bool) -> anyhow::Result<()> {
    let start = Instant::now();
    let herd = project::binary("herd");
    build()?;
    let recipe = if quick {
        "recipes/quick.toml"
    } else {
        fetch_model()?;
        set_up_sandbox()?;
        "recipes/demo.toml"
    };
    let ready = Instant::now();
    step(Command::new(&herd).args(["run", recipe]))?;
    println!("\nDemo done in {}, with the build; the round took {}.", project::since(start), project::since(ready));
    Ok(())
}

/// Lets `herd` fetch the model, if that is not in the cache.
pub fn fetch_model() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["model", "get", MODEL]))
}

/// Lets `herd` fetch the model for language identification, if that is not in the cache.
pub fn fetch_language_model() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["model", "get", "lid.176"]))
}

/// Lets `herd` set up Python in the sandbox; the other languages by `codeexec setup --languages`.
pub fn set_up_sandbox() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["codeexec", "setup"]))
}

/// Builds `herd`.
pub fn build() -> anyhow::Result<()> {
    let start = Instant::now();
    println!("\nBuilding herd (once; a few minutes on two cores)");
    // Of the whole workspace: for one package alone cargo takes fewer features of the dependencies, and the tests would compile
    // all of them again.
    project::run(&mut project::cargo(["build", "--workspace", "--bin", "herd"]))?;
    println!("Built in {}", project::since(start));
    Ok(())
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    println!("\n$ {}", project::show(command));
    project::run(command.current_dir(project::root()))
}
