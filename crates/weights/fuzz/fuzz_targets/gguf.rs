//! Reads arbitrary bytes as a GGUF file: reading and importing return a value or an error, without a panic or a large
//! allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weights::DType;
use weights::gguf::{self, Gguf};

fuzz_target!(|data: &[u8]| {
    let gguf = match Gguf::from_bytes("fuzzed.gguf", data.to_vec()) {
        Ok(gguf) => gguf,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let fields = gguf.fields();
    for key in fields.keys() {
        let _ = (fields.str(key), fields.bool(key), fields.size(key), fields.number(key));
        let _ = (fields.strings(key), fields.sizes(key), fields.floats(key));
    }
    for (name, info) in gguf.tensors() {
        let elements: usize = info.shape.iter().product();
        assert_eq!(gguf.dequantize(name).map(|values| values.len()).ok(), Some(elements));
    }
    if let Ok(model) = gguf::to_hf(&gguf) {
        for tensor in &model.tensors {
            let _ = (tensor.bytes(DType::F32), tensor.bytes(DType::F16), tensor.bytes(model.natural_dtype()));
        }
    }
});
