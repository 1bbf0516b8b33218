//! `cargo xtask engine`: builds `pretrain/engine`, which is not in the workspace, and runs its tests and those of `herd data run` with it.

use std::time::Instant;

use anyhow::Context;

use crate::project;

const PROGRAM: &str = "herd-engine";

/// Builds the program, copies it beside herd, and tests it.
pub fn run(no_tests: bool) -> anyhow::Result<()> {
    let folder = project::root().join("pretrain/engine");
    let target = folder.join("target");
    // A target folder of its own: its dependencies have other profiles than the workspace's.
    let cargo = |word: &str| {
        let mut cargo = project::cargo([word, "--locked"]);
        cargo.current_dir(&folder).arg("--target-dir").arg(&target);
        cargo
    };
    let begin = Instant::now();
    project::run(&mut cargo("build"))?;
    let built = target.join("debug").join(PROGRAM);
    let place = project::binary(PROGRAM);
    std::fs::create_dir_all(project::target().join("debug"))?;
    // Another name first: a running program cannot be written to.
    let part = place.with_extension("part");
    std::fs::copy(&built, &part).with_context(|| format!("cannot copy {}", built.display()))?;
    std::fs::rename(&part, &place).with_context(|| format!("cannot write {}", place.display()))?;
    println!("{} after {}", place.display(), project::since(begin));
    if no_tests {
        return Ok(());
    }
    project::run(&mut cargo("test"))?;
    let mut with_data = project::cargo(["test", "-p", "pretrain-data", "--test", "main", "engine::"]);
    with_data.args(["--", "--include-ignored", "--skip", "twenty_million"]).env("HERD_ENGINE", &place);
    project::run(&mut with_data)
}
