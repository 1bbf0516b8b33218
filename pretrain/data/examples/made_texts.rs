//! Writes seeded texts as JSON lines: `cargo run -p pretrain-data --example made_texts -- 7 10000 FILE`. The script
//! that makes the fixture of datatrove's verdicts (tests/make_verdicts.py) reads them.

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [seed, count, path] = &words[..] else { anyhow::bail!("give SEED COUNT FILE") };
    let (seed, count) = (seed.parse()?, count.parse::<u64>()?);
    let record = |n: u64| serde_json::json!({"id": n.to_string(), "text": pretrain_data::made::text(seed, n)});
    dataset::jsonl::write_all(path, (0..count).map(record))?;
    Ok(())
}
