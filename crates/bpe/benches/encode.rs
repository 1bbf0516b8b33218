//! Encoding and training, compared with Hugging Face's `tokenizers` in the same run on the same texts:
//!
//!     cargo bench --profile dev -p bpe -- FILE.jsonl [MEGABYTES [TOKENS]]
//!
//! FILE has records with `text`. A vocabulary is trained on it, or TOKENS names a `tokenizer.json`. Both encoders get
//! the same number of threads (RAYON_NUM_THREADS), run alternately, and must give the same ids.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use bpe::train::train;
use bpe::{Encoder, LLAMA3, Pool, Vocabulary, WordCounts, texts};
use rayon::prelude::*;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

/// Number of rounds; the fastest and slowest of each side are printed.
const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let Some(file) = args.first() else {
        println!("name a file of documents: cargo bench --profile dev -p bpe -- FILE.jsonl [MEGABYTES [TOKENS]]");
        return;
    };
    let most: usize = args.get(1).map_or(32, |text| text.parse().unwrap()) * 1_000_000;
    let tokens = args.get(2).map_or("32000", String::as_str);
    let mut bytes = 0;
    let corpus: Vec<String> = texts(&[file.into()])
        .map(Result::unwrap)
        .take_while(|text| {
            bytes += text.len();
            bytes < most
        })
        .collect();
    let megabytes = corpus.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    println!("{} texts, {megabytes:.1} MB, {} threads", corpus.len(), rayon::current_num_threads());
    let vocabulary = match tokens.parse() {
        Ok(tokens) => trained(&corpus, megabytes, tokens),
        Err(_) => Vocabulary::read(Path::new(tokens)).unwrap(),
    };
    encoded(&corpus, megabytes, vocabulary);
}

/// Runs both trainers; returns our vocabulary.
fn trained(corpus: &[String], megabytes: f64, tokens: usize) -> Vocabulary {
    let start = Instant::now();
    let counts = WordCounts::of(corpus.iter().cloned().map(Ok)).unwrap();
    let counted = start.elapsed().as_secs_f64();
    let ours = train(&counts, tokens, 2);
    let seconds = start.elapsed().as_secs_f64();
    let split = Split::new(SplitPattern::Regex(LLAMA3.into()), SplitDelimiterBehavior::Isolated, false).unwrap();
    let mut library = Tokenizer::new(BPE::default());
    let parts =
        vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false))];
    library.with_pre_tokenizer(Some(Sequence::new(parts)));
    let trainer = BpeTrainer::builder().vocab_size(tokens).min_frequency(2).show_progress(false);
    let trainer = trainer.initial_alphabet(ByteLevel::alphabet().into_iter().collect()).build();
    let start = Instant::now();
    library.train(&mut TrainerWrapper::BpeTrainer(trainer), corpus.iter()).unwrap();
    let theirs = start.elapsed().as_secs_f64();
    let json = serde_json::from_str(&library.to_string(false).unwrap()).unwrap();
    let same = Vocabulary::parse(json).unwrap().merges() == ours.merges();
    println!(
        "train {tokens}: ours {seconds:.2} s ({:.1} MB/s, {counted:.2} s of it to count words), tokenizers {theirs:.2} s, ratio \
         {:.2}; merges {}",
        megabytes / seconds,
        theirs / seconds,
        if same { "equal" } else { "DIFFER" }
    );
    ours
}

fn encoded(corpus: &[String], megabytes: f64, vocabulary: Vocabulary) {
    let mut library = vocabulary.to_json().to_string().parse::<Tokenizer>().unwrap();
    library.set_encode_special_tokens(true);
    let start = Instant::now();
    let encoder = Encoder::new(vocabulary);
    println!("encoder made in {:.2} s", start.elapsed().as_secs_f64());
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let expected: Vec<Vec<u32>> = corpus
            .par_iter()
            .map(|text| library.encode_fast(text.as_str(), false).unwrap().get_ids().to_vec())
            .collect();
        theirs.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        // A new pool each time: its caches are empty, as in a first run.
        let ids = Pool::new(0).unwrap().map(corpus, |text, scratch| {
            let mut ids = Vec::new();
            encoder.encode(text, scratch, &mut ids).unwrap();
            ids
        });
        ours.push(start.elapsed().as_secs_f64());
        ratios.push(theirs[theirs.len() - 1] / ours[ours.len() - 1]);
        assert_eq!(ids, expected, "other ids");
    }
    let range = |mut values: Vec<f64>, of: &dyn Fn(f64) -> f64| {
        values.iter_mut().for_each(|value| *value = of(*value));
        values.sort_by(f64::total_cmp);
        format!("{:.1} to {:.1}", values[0], values[values.len() - 1])
    };
    println!(
        "encode: ours {} MB/s, tokenizers {} MB/s, ratio {}; ids equal",
        range(ours, &|seconds| megabytes / seconds),
        range(theirs, &|seconds| megabytes / seconds),
        range(ratios, &|ratio| ratio)
    );
}
