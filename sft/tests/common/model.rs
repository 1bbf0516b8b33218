//! A tiny model with a byte-level tokenizer and ChatML.

use std::path::Path;

/// Writes a model folder: two layers of width 32, random weights, one token per byte, ChatML.
pub fn write_model(folder: &Path) {
    llama::NewModel { hidden: 32, layers: 2, context: 512, seed: 17 }.write(folder).unwrap();
}
