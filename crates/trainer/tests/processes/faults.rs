//! Faults of single processes of a run: wrong bits in memory, numbers that a device got wrong, slow devices.

use crate::faulty::{Place, SETTINGS, Settings, ended};

#[test]
fn a_flipped_bit_is_found_and_named_and_the_run_ends_with_the_undisturbed_bytes() {
    let Some(launch) = test_support::program("launch") else { return };
    let place = Place::new();
    let expected = place.undisturbed(&SETTINGS);
    // The bit flips in a weight that rank 1 copies or owns, between two steps, with other ranks to compare with.
    place.plan("flipped", 1, 6, "flip");
    let words = [launch.to_str().unwrap(), "run", "--processes", "3", "--"];
    let (code, text) = ended(place.launched("flipped", &SETTINGS, &words).spawn().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let named = "bits changed in memory before step 6 although nobody wrote them: in model.layers.1.mlp.up_proj.weight of rank 1";
    assert!(text.contains(named), "{text}");
    let supervisor = "computed wrong values; the run returns to the checkpoint of step 4";
    assert!(text.contains(supervisor) && text.contains("[launch] rank 1 ("), "{text}");
    assert!(text.contains("going on after step"), "{text}");
    assert_eq!(place.bytes("flipped", SETTINGS.steps), expected);
}

#[test]
fn without_a_supervisor_all_ranks_end_with_the_exit_code_of_wrong_numbers() {
    let place = Place::new();
    // Only every third step is compared: bits differ between ranks, but there is no digest of the step before.
    let settings = Settings { check_weights: Some(3), ..SETTINGS };
    place.plan("apart", 0, 9, "flip");
    for (code, text) in place.ranks("apart", 2, &settings) {
        assert_eq!(code, Some(76), "{text}");
        assert!(text.contains("of rank 0; the run goes on from the checkpoint of step 8"), "{text}");
    }
    // The same command again.
    for (code, text) in place.ranks("apart", 2, &settings) {
        assert_eq!(code, Some(0), "{text}");
    }
    assert_eq!(place.bytes("apart", 12), place.undisturbed(&settings));
}

#[test]
fn a_step_that_looks_wrong_is_computed_again_and_no_byte_changes() {
    let place = Place::new();
    let settings = Settings { check_weights: None, ..SETTINGS };
    let expected = place.undisturbed(&settings);
    place.plan("again", 1, 3, "nan");
    place.plan("again", 0, 11, "far");
    let ranks = place.ranks("again", 2, &settings);
    assert!(ranks.iter().all(|(code, _)| *code == Some(0)), "{ranks:?}");
    let text = &ranks[0].1;
    assert!(text.contains("step 3: the loss is not finite; computed again: other numbers"), "{text}");
    assert!(text.contains("the losses of rank 1 differ"), "{text}");
    assert!(text.contains("step 11: the gradient norm is ") && text.contains("the losses of rank 0 differ"), "{text}");
    assert_eq!(place.bytes("again", settings.steps), expected);
}

#[test]
fn a_gradient_that_the_neighbour_does_not_repeat_stops_the_run() {
    let place = Place::new();
    let settings = Settings { check_weights: None, check_gradients: Some(5), ..SETTINGS };
    let expected = place.undisturbed(&settings);
    // This gradient does not look wrong.
    place.plan("replayed", 2, 10, "slightly");
    for (code, text) in place.ranks("replayed", 3, &settings) {
        assert_eq!(code, Some(76), "{text}");
        let sentence = "the gradient of a micro-batch of step 10 by rank 2 was another when rank 1 computed it again";
        assert!(text.contains(sentence), "{text}");
    }
    for (code, text) in place.ranks("replayed", 3, &settings) {
        assert_eq!(code, Some(0), "{text}");
    }
    assert_eq!(place.bytes("replayed", settings.steps), expected);
}

#[test]
fn a_slow_rank_is_named() {
    let place = Place::new();
    let settings = Settings { steps: 30, checkpoint_steps: 0, check_weights: None, ..SETTINGS };
    place.plan("slow", 1, 1, "slow");
    let ranks = place.ranks("slow", 2, &settings);
    assert!(ranks.iter().all(|(code, _)| *code == Some(0)), "{ranks:?}");
    let text = &ranks[0].1;
    assert!(text.contains("rank 1 (") && text.contains("is slow: its own work takes"), "{text}");
    let log = trainer::metrics::read(&place.path("slow").join("run/metrics.jsonl")).unwrap();
    let last = log.last().unwrap().ranks.unwrap();
    assert!(last.slowest == 1 && last.behind > 100.0 && last.waiting > 0.1, "{last:?}");
}
