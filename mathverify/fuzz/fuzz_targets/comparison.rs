//! Any two answers, split at the first line end: the comparison ends and does not depend on their order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mathverify::{Options, compare, verify};

fuzz_target!(|text: &str| {
    let (a, b) = text.split_once('\n').unwrap_or((text, ""));
    let options = Options::default();
    let (forward, backward) = (compare(a, b, &options), compare(b, a, &options));
    assert_eq!(forward.status, backward.status, "{forward:?} {backward:?}");
    let _ = verify(a, b, &options);
});
