//! Runs every command of `docs/own-data.md`, in order, in an empty folder, with a tiny model in place of the real one.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The model that the page names.
const MODEL: &str = "smollm2-135m-instruct";

#[test]
fn the_tutorial_runs_as_it_is_written() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/own-data.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split_once("```").expect("a block that ends").0).collect();
    assert!(blocks.len() >= 8, "{} blocks of commands", blocks.len());

    let dir = tempfile::tempdir().unwrap();
    let herd = Path::new(env!("CARGO_BIN_EXE_herd"));
    let path = format!("{}:{}", herd.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        // -e stops at the first failing command, -x shows which one it was.
        let output = Command::new("bash").args(["-ex", "-c", script]).current_dir(&dir).env("PATH", &path).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}");
        said
    };
    shell("herd model new --output tiny --hidden 64 --layers 2 --context 512");
    let mut said = String::new();
    for block in blocks.iter().filter(|block| !block.contains("herd model get")) {
        said += &shell(&block.replace(MODEL, "tiny"));
    }
    for file in ["runs/mine/model/config.json", "runs/mine/report.html", "runs/pipeline/report.html"] {
        assert!(dir.path().join(file).exists(), "{file} is missing");
    }
    assert!(said.contains("gained/lost"), "{said}");
    // Only two pairs and four conversations, but training ran on them.
    assert!(said.contains("runs/preferred"), "{said}");
}
