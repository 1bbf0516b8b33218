//! Reads arbitrary bytes as a safetensors file: the header is accepted, or refused with an error, without a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use weights::check_safetensors;

fuzz_target!(|data: &[u8]| {
    // The bytes as a file, and the same bytes as a header with a correct length, which passes the first check.
    let _ = check_safetensors(Path::new("fuzzed.safetensors"), data);
    let mut file = (data.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(data);
    file.resize(file.len() + 64, 0);
    if let Err(error) = check_safetensors(Path::new("fuzzed.safetensors"), &file) {
        assert!(error.to_string().starts_with("fuzzed.safetensors: "));
    }
});
