//! Any text: the parser ends, and an answer is never different from itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mathverify::{Options, Status, compare, readable};

fuzz_target!(|text: &str| {
    if readable(text).is_ok() {
        assert_ne!(compare(text, text, &Options::default()).status, Status::Different);
        // One space more must not matter.
        let spaced = format!(" {text} ");
        assert_ne!(compare(text, &spaced, &Options::default()).status, Status::Different);
    }
});
