//! `herd run` on the recipes of the checkout.

use std::path::Path;
use std::process::{Command, Output};

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `herd run` in the root of the checkout, with a separate output folder.
pub fn herd_run(recipe: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command.arg("run").arg(recipe).arg("--output").arg(output).current_dir(root());
    command
}

/// The whole output of a command.
pub fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}
