//! Speed of MinHash signatures on one core: `cargo run -p pretrain-data --example minhash_rate -- TEXTS.jsonl`.
//! tests/minhash_rate.py measures rensa on the same file.

use std::time::Instant;

use pretrain_data::dedup::minhash::{MinHash, Signer};
use pretrain_data::document::Document;

fn main() -> anyhow::Result<()> {
    let Some(path) = std::env::args().nth(1) else { anyhow::bail!("give a file of documents") };
    let documents: Vec<Document> = dataset::jsonl::read_all(path)?;
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    let mut signer = Signer::new(&MinHash::default());
    for _ in 0..3 {
        let start = Instant::now();
        let mut sum = 0_u64;
        for document in &documents {
            sum = signer.bands(&document.text, 0).iter().flatten().fold(sum, |sum, key| sum.wrapping_add(*key));
        }
        let seconds = start.elapsed().as_secs_f64();
        let count = documents.len();
        println!(
            "{count} documents, {bytes} bytes: {seconds:.3} s, {:.1} MB/s ({sum:x})",
            bytes as f64 / 1e6 / seconds
        );
    }
    Ok(())
}
