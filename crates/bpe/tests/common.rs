//! Texts for the tests: generated ones, and those of `../shared/data`.

use std::io::Read;
use std::path::Path;

use bpe::{LLAMA3, Vocabulary, WordCounts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

/// Texts of invented words in several scripts, with numbers, punctuation and white space. The same seed gives the
/// same texts.
pub fn made(seed: u64, texts: usize) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let syllables = [
        "an", "the", "er", "ing", "qu", "str", "eau", "ß", "é", "ñ", "да", "ов", "ск", "ли", "日", "本", "語", "中",
        "अ", "क्", "मा", "ا", "ل", "م", "한", "국", "어", "θ", "ού", "x", "_", "fn",
    ];
    let ends = [
        " ", " ", " ", " ", ", ", ". ", "\n", "\n\n", "  ", "'s ", " 12", "2345 ", " (", ") ", "—", " “", "” ", "🙂",
        "\t", "…\r\n",
    ];
    (0..texts)
        .map(|_| {
            let mut text = String::new();
            for _ in 0..rng.random_range(5..80) {
                // Neighbours in the list belong together, and low numbers are more frequent.
                let script = rng.random_range(0..6) * 5;
                for _ in 0..rng.random_range(1..5) {
                    let most = rng.random_range(1..8);
                    text += syllables[(script + rng.random_range(0..most)).min(syllables.len() - 1)];
                }
                text += ends[rng.random_range(0..ends.len())];
            }
            text
        })
        .collect()
}

/// Every text of a file of `../shared/data`: each string of records, else the whole file in pieces.
pub fn texts_of(path: &Path) -> Vec<String> {
    let name = path.to_string_lossy().into_owned();
    if name.contains(".jsonl") {
        let records: Vec<Map<String, Value>> = dataset::jsonl::read_all(path).unwrap();
        return records.into_iter().flat_map(strings).collect();
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    if name.ends_with(".gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    // In pieces, since the library is slow on a text of megabytes.
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(20_000).map(|piece| piece.iter().collect()).collect()
}

fn strings(record: Map<String, Value>) -> Vec<String> {
    record.into_iter().filter_map(|(_, value)| value.as_str().map(Into::into)).collect()
}

/// All texts below a folder of `../shared/data`.
pub fn shared(name: &str) -> Option<Vec<String>> {
    let folder = test_support::shared(&format!("data/{name}"))?;
    let mut files = files_below(&folder);
    files.sort();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "gz" || ending == "jsonl"));
    let texts: Vec<String> = files.iter().flat_map(|file| texts_of(file)).filter(|text| !text.is_empty()).collect();
    assert!(!texts.is_empty(), "{name} has no texts");
    Some(texts)
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Word counts of texts.
pub fn counts(texts: &[String]) -> WordCounts {
    WordCounts::of(texts.iter().cloned().map(Ok)).unwrap()
}

/// Hugging Face's tokenizer with Llama 3's split around a model.
pub fn library(model: BPE) -> Tokenizer {
    let split = Split::new(SplitPattern::Regex(LLAMA3.into()), SplitDelimiterBehavior::Isolated, false).unwrap();
    let bytes = ByteLevel::new(false, true, false);
    let mut tokenizer = Tokenizer::new(model);
    let parts = vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)];
    tokenizer.with_pre_tokenizer(Some(Sequence::new(parts)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer
}

/// The vocabulary that Hugging Face's trainer learns from texts, as one of ours.
pub fn trained_by_library(texts: &[String], tokens: usize) -> Vocabulary {
    let trainer = BpeTrainer::builder()
        .vocab_size(tokens)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut tokenizer = library(BPE::default());
    let mut trainer = TrainerWrapper::BpeTrainer(trainer);
    tokenizer.train(&mut trainer, texts.iter()).unwrap();
    Vocabulary::parse(serde_json::from_str(&tokenizer.to_string(false).unwrap()).unwrap()).unwrap()
}

/// Hugging Face's tokenizer for a vocabulary of ours, through `tokenizer.json`.
pub fn loaded_by_library(vocabulary: &Vocabulary) -> Tokenizer {
    let mut tokenizer = vocabulary.to_json().to_string().parse::<Tokenizer>().unwrap();
    tokenizer.set_encode_special_tokens(true);
    tokenizer
}

/// The first text that the two encode differently.
pub fn first_difference(vocabulary: &Vocabulary, texts: &[String]) -> Option<String> {
    let (encoder, library) = (bpe::Encoder::new(vocabulary.clone()), loaded_by_library(vocabulary));
    let pool = bpe::Pool::new(0).unwrap();
    let same = pool.map(texts, |text, scratch| {
        let mut ours = Vec::new();
        encoder.encode(text, scratch, &mut ours).unwrap();
        let theirs = library.encode_fast(text.as_str(), false).unwrap();
        ours == theirs.get_ids() && vocabulary.decode(&ours).unwrap() == text.as_bytes()
    });
    same.iter().position(|same| !same).map(|at| texts[at].chars().take(300).collect())
}
