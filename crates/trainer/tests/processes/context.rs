//! Processes that share out the tokens of each row train as one process does.

use crate::common::relative;
use crate::faulty::{Place, SETTINGS, Settings, ended};

#[test]
fn packed_documents_and_lengths_that_do_not_divide() {
    let place = Place::new();
    // Rows of three documents, the last of two: 51, 96 and 89 tokens.
    let one = Settings { steps: 4, checkpoint_steps: 0, check_weights: None, micro_batch: 3, ..SETTINGS };
    let (code, text) = ended(place.command("one", &one).spawn().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let log = |run: &str| trainer::metrics::read(&place.path(run).join("run/metrics.jsonl")).unwrap();
    let weights =
        |run: &str| trainer::state::read(&place.path(run).join("run/checkpoints/step-4/model.safetensors")).unwrap();
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-5;
    for (size, recompute) in [(2, false), (3, true)] {
        let run = format!("shared-{size}");
        for (code, text) in place.ranks(&run, size, &Settings { context_parallel: true, recompute, ..one.clone() }) {
            assert_eq!(code, Some(0), "{text}");
        }
        for (ours, theirs) in log(&run).iter().zip(&log("one")) {
            assert!(near(ours.loss, theirs.loss) && near(ours.grad_norm, theirs.grad_norm), "{ours:?} {theirs:?}");
            assert_eq!((ours.tokens, ours.trained_tokens), (theirs.tokens, theirs.trained_tokens));
        }
        for ((name, ours), (_, theirs)) in weights(&run).iter().zip(&weights("one")) {
            let error = relative(ours, theirs);
            assert!(error < 1e-5, "{name} is off by {error} with {size} processes");
        }
    }
}
