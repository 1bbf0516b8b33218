//! Tiny Shakespeare as nanoGPT splits it, in token shards of bytes, beside a new model of nanoGPT's small size.

use std::io::Read;
use std::path::Path;

use token_shards::{ShardWriter, Tokenizer};

/// Writes `base`, `train` and `valid` into `dir` from the compressed text.
pub fn place(dir: &Path, compressed: &Path) {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(compressed).unwrap()).read_to_end(&mut text).unwrap();
    assert_eq!(text.len(), 1_115_394, "{} is not tiny Shakespeare", compressed.display());
    let model = dir.join("base");
    llama::NewModel { hidden: 128, layers: 4, context: 64, seed: 0 }.write(&model).unwrap();
    let (train, valid) = text.split_at(text.len() * 9 / 10);
    for (name, part) in [("train", train), ("valid", valid)] {
        std::fs::create_dir(dir.join(name)).unwrap();
        let sha256 = dataset::digest::file(model.join("tokenizer.json")).unwrap();
        let tokenizer = Tokenizer { sha256, vocab_size: 256, ..Tokenizer::default() };
        let mut writer = ShardWriter::create(dir.join(name).join("0.ds"), tokenizer, name).unwrap();
        let ids: Vec<u32> = part.iter().map(|byte| u32::from(*byte)).collect();
        writer.push(&ids, Some(part.len() as u64)).unwrap();
        writer.finish().unwrap();
    }
}
