//! Any text: extraction and step checking end, and their results are inside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mathverify::{Options, check_solution, extract, extract_choice, split_steps};

fuzz_target!(|text: &str| {
    for found in [extract(text), extract_choice(text)].into_iter().flatten() {
        assert!(!found.text.trim().is_empty());
        assert!(text.get(found.span.clone()).is_some(), "{:?} of {}", found.span, text.len());
    }
    let steps = split_steps(text);
    let checked = check_solution(None, &steps, None, &Options::default());
    assert_eq!(checked.steps.len(), steps.len());
});
