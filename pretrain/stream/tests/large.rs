//! A corpus of 10^12 tokens in sparse shards, and 10^7 windows without a repetition. One test, so that the memory of the process is
//! that of the loader.

// Helpers of tests stand outside of test functions.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use pretrain_stream::corpus::{Expected, Source, open};
use pretrain_stream::plan::{Course, Plan, Ramp, Reweight};
use pretrain_stream::reader::Reader;
use token_shards::{FORMAT, FileFacts, Header, Tokenizer, VERSION};

const SHARDS: u64 = 500;
const TOKENS: u64 = 1_000_000_000;
const DOCUMENTS: u64 = 1000;

/// A shard whose tokens are a hole in the file.
fn sparse(path: &Path) {
    File::create(path).unwrap().set_len(TOKENS * 4).unwrap();
    let ends: Vec<u8> = (1..=DOCUMENTS).flat_map(|i| (i * TOKENS / DOCUMENTS).to_le_bytes()).collect();
    std::fs::write(format!("{}.index", path.display()), ends).unwrap();
    let facts = |bytes| FileFacts { bytes, sha256: "0".repeat(64) };
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        documents: DOCUMENTS,
        tokens: TOKENS,
        text_bytes: None,
        tokenizer: Tokenizer { vocab_size: 128_000, ..Tokenizer::default() },
        source: "a hole".into(),
        token_file: facts(TOKENS * 4),
        index_file: facts(DOCUMENTS * 8),
    };
    std::fs::write(format!("{}.json", path.display()), serde_json::to_string(&header).unwrap()).unwrap();
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_to_the_twelve_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let folders = ["text", "code"].map(|name| dir.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
        (0..SHARDS).for_each(|number| sparse(&folder.join(format!("{number:05}.ds"))));
    }
    let before = peak_memory();
    // The paper's ramps: 4M tokens of 4,096, 8M of 8,192 from 252M on, 16M from 2.87T on, here a tenth of that.
    let course = Course {
        seed: 1,
        tokens: 1_000_000_000_000,
        ramps: vec![
            Ramp { at: 0, batch_tokens: 1 << 22, length: 4096 },
            Ramp { at: 252_000_000, batch_tokens: 1 << 23, length: 8192 },
            Ramp { at: 287_000_000_000, batch_tokens: 1 << 24, length: 8192 },
        ],
        weights: vec![
            Reweight { at: 0, weights: vec![0.83, 0.17] },
            Reweight { at: 500_000_000_000, weights: vec![0.6, 0.4] },
        ],
    };
    let sources = open(&folders, course.window()).unwrap();
    let tokens: u64 = sources.iter().map(Source::tokens).sum();
    assert_eq!(tokens, 1_000_000_000_000);
    for source in &sources {
        source.check(Expected { tokenizer: None, vocabulary: 128_000, digests: false }).unwrap();
    }
    let plan = Plan::new(course, sources.iter().map(Source::windows).collect()).unwrap();
    let reader = Reader::new(sources);
    // Rows of steps from everywhere, with the places of their tokens; the better of two times, since others use the machine.
    let mut times = Vec::new();
    for number in 0..200 {
        let step = number * (plan.steps() - 1) / 199;
        let mut best = f64::INFINITY;
        for _ in 0..2 {
            let start = Instant::now();
            let mut spans = 0;
            for row in plan.rows(step) {
                for (first, number) in plan.windows(row) {
                    spans += reader.sources()[row.source].spans(first, number).len();
                }
            }
            best = best.min(start.elapsed().as_secs_f64());
            assert!(spans >= plan.rows(step).len());
        }
        times.push(best);
    }
    times.sort_by(f64::total_cmp);
    // Tokens of 2,000 rows from 2,000 shards.
    let start = Instant::now();
    let mut read = 0;
    for number in 0..2000 {
        let row = plan.rows(number * (plan.steps() - 1) / 1999).next().unwrap();
        for (first, number) in plan.windows(row) {
            for span in reader.sources()[row.source].spans(first, number) {
                let tokens = reader.read(row.source, span).unwrap();
                assert_eq!(tokens.documents.iter().sum::<u64>(), span.tokens);
                read += tokens.ids.len();
            }
        }
    }
    let reading = start.elapsed().as_secs_f64();
    let memory = peak_memory();
    println!(
        "{} steps; rows of a step: median {:.3} ms, longest {:.3} ms; {read} tokens read in {reading:.2} s; memory {:.1} MB, {:.1} MB \
         of it before",
        plan.steps(),
        1e3 * times[100],
        1e3 * times[199],
        memory as f64 / 1e6,
        before as f64 / 1e6
    );
    assert!(memory < 200_000_000, "{memory} bytes");
    assert!(times[190] < 1e-3, "{times:?}");
    windows_once();
}

/// Two epochs of 10^7 windows, in rows of one and of four.
fn windows_once() {
    const WINDOWS: u64 = 10_000_000;
    let course = Course {
        seed: 2,
        tokens: 2 * WINDOWS * 8,
        ramps: vec![
            Ramp { at: 0, batch_tokens: 8000, length: 8 },
            Ramp { at: WINDOWS * 8 / 2, batch_tokens: 32_000, length: 32 },
        ],
        weights: vec![Reweight { at: 0, weights: vec![1.0] }],
    };
    let plan = Plan::new(course, vec![WINDOWS]).unwrap();
    let mut seen = vec![0_u8; WINDOWS as usize];
    let mut count = 0;
    for step in 0..plan.steps() {
        for row in plan.rows(step) {
            for (first, number) in plan.windows(row) {
                for window in first..first + number {
                    let epoch = (count / WINDOWS) as u8;
                    assert_eq!(seen[window as usize], epoch, "window {window} at position {count}");
                    seen[window as usize] += 1;
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 2 * WINDOWS);
    assert!(seen.iter().all(|times| *times == 2));
}
