//! Tiny Shakespeare as nanoGPT splits it, in token shards of bytes, beside a new model of nanoGPT's small size.

use std::io::Read;
use std::path::Path;

use token_shards::{ShardWriter, Tokenizer};

/// Writes `base`, `train` and `valid` into `dir` from the compressed text.
pub fn place(dir: &Path, compressed: &Path) -> anyhow::Result<()> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(compressed)?).read_to_end(&mut text)?;
    anyhow::ensure!(text.len() == 1_115_394, "{} is not tiny Shakespeare", compressed.display());
    let model = dir.join("base");
    llama::NewModel { hidden: 128, layers: 4, context: 64, seed: 0 }.write(&model)?;
    let (train, valid) = text.split_at(text.len() * 9 / 10);
    for (name, part) in [("train", train), ("valid", valid)] {
        std::fs::create_dir(dir.join(name))?;
        let sha256 = dataset::digest::file(model.join("tokenizer.json"))?;
        let tokenizer = Tokenizer { sha256, vocab_size: 256, ..Tokenizer::default() };
        let mut writer = ShardWriter::create(dir.join(name).join("0.ds"), tokenizer, name)?;
        let ids: Vec<u32> = part.iter().map(|byte| u32::from(*byte)).collect();
        writer.push(&ids, Some(part.len() as u64))?;
        writer.finish()?;
    }
    Ok(())
}
