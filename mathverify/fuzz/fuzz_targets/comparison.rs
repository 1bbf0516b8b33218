//! Any two answers, split at the first newline: the comparison ends, and does not depend on their order. If the
//! budget runs out, the result may differ between the orders (`different` or `unknown`), but never `equal` in one
//! order and `different` in the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mathverify::{Options, Status, compare, verify};

fuzz_target!(|text: &str| {
    let (a, b) = text.split_once('\n').unwrap_or((text, ""));
    let options = Options::default();
    let (forward, backward) = (compare(a, b, &options), compare(b, a, &options));
    let outcomes = [&forward, &backward];
    let ran_out = outcomes.iter().any(|outcome| outcome.reason == "larger than the budget");
    let opposed = [Status::Equal, Status::Different].iter().all(|s| outcomes.iter().any(|outcome| outcome.status == *s));
    let alike = forward.status == backward.status || (ran_out && !opposed);
    assert!(alike, "{forward:?} {backward:?}");
    let _ = verify(a, b, &options);
});
