//! The files in `recipes/`: every file is valid, and `herd` accepts every command line in them.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{herd_run, root, said};

fn run(recipe: &Path, output: &Path, more: &[&str]) -> Output {
    herd_run(recipe, output).args(more).output().unwrap()
}

#[test]
fn every_recipe_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let entries = std::fs::read_dir(root().join("recipes")).unwrap().map(|entry| entry.unwrap().path());
    let mut recipes: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    recipes.sort();
    let names: Vec<_> = recipes.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["base-10m", "demo", "from-scratch", "quick", "six-rounds", "smollm2-gsm8k", "vision", "whole"]);
    for (recipe, stages) in recipes.iter().zip([13, 10, 24, 11, 66, 8, 7, 43]) {
        let output = run(recipe, &folder.path().join("out"), &["--dry-run"]);
        let plan = said(&output);
        // A model that is not in the cache, and data that is not in the repository, are named; nothing else is wrong.
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines = error.trim_end().lines().filter(|line| !line.contains(", and no earlier stage of herd makes it"));
        assert_eq!(lines.collect::<Vec<_>>(), [""; 0], "{plan}");
        let is_whole = ["from-scratch", "quick", "whole"].iter().any(|name| recipe.file_stem().unwrap() == *name);
        assert!(output.status.success() || !is_whole, "{plan}");
        if recipe.ends_with("six-rounds.toml") {
            let told = "stage round6-sft-a: --data: data/sft/round-6.jsonl does not exist";
            assert!(!output.status.success() && error.contains(told), "{plan}");
        }
        assert_eq!(plan.matches("to do").count(), stages, "{}: {plan}", recipe.display());
    }
    // A plan leaves no files.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_command_line_that_herd_does_not_know_is_found_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    let text = "name = \"x\"\n[[stage]]\nname = \"first\"\ncommand = [\"touch\", \"{out}/done\"]\n[[stage]]\nname = \
                \"train\"\nherd = [\"sft\", \"--model\", \"m\", \"--lerning-rate\", \"1\"]\n";
    std::fs::write(&recipe, text).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let output = run(&recipe, &folder.path().join("out"), more);
        let text = said(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("stage train: `herd sft --model m --lerning-rate 1`: unexpected argument"), "{text}");
        assert!(!folder.path().join("out").exists(), "{text}");
    }
}
