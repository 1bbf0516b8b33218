//! `longctx extend`.

use std::process::Stdio;
use std::time::Duration;

use crate::common::{Lcg, Place, bytes, json};

/// A short extension of a random model, whose gates only report.
const QUICK: &str = "extend --model model --to 256 --stages 2 --texts texts.jsonl --wording wording.toml --round-tokens 6000 --rounds 1 \
                     --batch-tokens 1024 --micro-batch-tokens 512 --gate report --gate-depths 2 --gate-haystacks 2 --short-items 4 \
                     --short-window 60 --dtype f32 --threads 1 --positions skip";

#[test]
fn a_run_that_is_killed_at_any_moment_ends_with_the_same_bytes() {
    let place = Place::new(64, 16);
    let line = |output: &str| format!("{QUICK} --output {output}");
    let said = place.good(&line("whole"));
    assert!(said.contains("a context of 256 tokens"), "{said}");
    let mut lcg = Lcg(77);
    let mut kills = 0;
    loop {
        let mut command = place.command(&line("killed"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300 + lcg.below(900) as u64));
        if child.try_wait().unwrap().is_some() || kills == 8 {
            assert!(child.wait().unwrap().success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    for name in [
        "model/model.safetensors",
        "model/config.json",
        "journal.jsonl",
        "stage-2/gate-1/needles.jsonl",
        "start/short.jsonl",
        "stage-1/gate-1/short.jsonl",
    ] {
        assert!(
            bytes(&place.path("whole").join(name)) == bytes(&place.path("killed").join(name)),
            "{name} after {kills} kills"
        );
    }
    let config = json(&place.path("whole/model/config.json"));
    assert_eq!(config["max_position_embeddings"], 256);
    // Weights and optimizer saw positions beyond the model's own context.
    assert!(place.good(&line("whole")).contains("is finished already"));
}

#[test]
fn mistakes_are_sentences() {
    let place = Place::new(64, 16);
    let extend = |more: &str| place.bad(&format!("extend --model model --texts texts.jsonl --output none {more}"));
    assert!(extend("--to 64 --short-window 60").contains("the model's context is 64 tokens already"));
    assert!(extend("--lengths 32,128 --short-window 60").contains("at least the model's context of 64"));
    assert!(extend("--to 256 --short-share 0.4").contains("--short-share 0.4: give --short"));
    assert!(extend("--to 256").contains("--short-window is 1024; it must be from 2 to the model's context of 64"));
    assert!(extend("--to 256 --short-items 1").contains("--short-items is 1; it must be at least 2"));
    let question = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n";
    std::fs::write(place.path("unanswered.jsonl"), question).unwrap();
    let error = extend("--to 256 --short-window 60 --short unanswered.jsonl");
    assert!(error.contains("unanswered.jsonl:1: messages: there is no assistant turn"), "{error}");
    let error = extend("--to 256 --stages 2 --theta 5e5 --short-window 60");
    assert!(error.contains("--theta has 1 bases for 2 stages"), "{error}");
    assert!(extend("--to 256 --stages 2 --row 32 --short-window 60").contains("--row is for --positions skip"));
}
