//! The demo: runs a round of post-training from its recipe.

use std::process::Command;
use std::time::Instant;

use crate::project;

const MODEL: &str = "smollm2-135m-instruct";

/// What the demo runs.
pub enum Round {
    /// One round on a real model, which is fetched first.
    Real,
    /// One round on a tiny untrained model.
    Quick,
    /// From pages to a base model, and one round on it.
    FromScratch,
}

/// Runs a recipe, after what it needs.
pub fn run(round: Round) -> anyhow::Result<()> {
    let start = Instant::now();
    let herd = project::binary("herd");
    build("dev")?;
    let recipe = match round {
        Round::Quick => "recipes/quick.toml",
        Round::FromScratch => "recipes/from-scratch.toml",
        Round::Real => {
            fetch_model()?;
            set_up_sandbox()?;
            "recipes/demo.toml"
        }
    };
    let ready = Instant::now();
    step(Command::new(&herd).args(["run", recipe]))?;
    println!("\nDemo done in {}, with the build; the round took {}.", project::since(start), project::since(ready));
    Ok(())
}

/// Fetches the model with `herd`, unless it is in the cache.
pub fn fetch_model() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["model", "get", MODEL]))
}

/// Fetches the model for language identification with `herd`, unless it is in the cache.
pub fn fetch_language_model() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["model", "get", "lid.176"]))
}

/// Sets up Python for the sandbox with `herd`; `codeexec setup --languages` sets up the other languages.
pub fn set_up_sandbox() -> anyhow::Result<()> {
    step(Command::new(project::binary("herd")).args(["codeexec", "setup"]))
}

/// Builds `herd` in a profile of cargo's, `dev` or `test`; both leave it at the same place.
pub fn build(profile: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    println!("\nBuilding herd (once; 20 to 25 minutes on two cores)");
    // Builds the whole workspace: for one package alone, cargo uses fewer features of the dependencies, and the tests
    // would compile all of them again.
    project::run(&mut project::cargo(["build", "--workspace", "--bin", "herd", "--profile", profile]))?;
    println!("Built in {}", project::since(start));
    Ok(())
}

fn step(command: &mut Command) -> anyhow::Result<()> {
    println!("\n$ {}", project::show(command));
    project::run(command.current_dir(project::root()))
}
