//! Shards have the same bytes for any number of threads and any interruption.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{counts, made};
use anyhow::bail;
use bpe::tokenise::{Counts, Options, shard_path, tokenise};
use bpe::train::train;
use bpe::{Encoder, llama3_special_tokens};
use token_shards::{Shard, Tokenizer};

fn encoder() -> Encoder {
    let mut vocabulary = train(&counts(&made(1, 100)), 500, 2);
    vocabulary.add_special(&llama3_special_tokens()[..2]);
    Encoder::new(vocabulary)
}

fn options(encoder: &Encoder, threads: usize) -> Options {
    let tokenizer = Tokenizer {
        sha256: "t".into(),
        vocab_size: encoder.size(),
        begin_token: encoder.special("<|begin_of_text|>"),
        end_token: encoder.special("<|end_of_text|>"),
    };
    Options { shard_tokens: 5000, threads, tokenizer, source: "made".into() }
}

/// Documents, some of them without text.
fn documents() -> Vec<String> {
    let mut texts = made(4, 300);
    (0..300).step_by(7).for_each(|at| texts[at].clear());
    texts
}

fn run(texts: &[String], folder: &Path, threads: usize) -> anyhow::Result<Counts> {
    let encoder = encoder();
    let texts = texts.iter().map(|text| if text == "FAIL" { bail!("docs.jsonl:9: no text") } else { Ok(text.clone()) });
    tokenise(texts, &encoder, folder, &options(&encoder, threads), &|_| {})
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn shards_hold_the_documents_for_any_number_of_threads() {
    let (dir, texts) = (tempfile::tempdir().unwrap(), documents());
    let made = run(&texts, dir.path(), 1).unwrap();
    assert_eq!((made.documents, made.empty, made.kept), (257, 43, 0));
    assert_eq!(made.text_bytes, texts.iter().map(|text| text.len() as u64).sum::<u64>());
    assert!(made.shards > 3, "{made:?}");
    let encoder = encoder();
    let vocabulary = encoder.vocabulary().unwrap();
    let mut read = Vec::new();
    for number in 0..made.shards {
        let shard = Shard::open(shard_path(dir.path(), number)).unwrap();
        shard.verify().unwrap();
        // Each shard is full with its last document, and not before.
        if number + 1 < made.shards {
            let last = shard.documents().last().unwrap().len() as u64;
            assert!(shard.header().tokens >= 5000 && shard.header().tokens - last < 5000);
        }
        for document in shard.documents() {
            let [begin, inner @ .., end] = document else { panic!("{document:?}") };
            assert_eq!((*begin, *end), (500, 501));
            read.push(String::from_utf8(vocabulary.decode(inner).unwrap()).unwrap());
        }
    }
    assert_eq!(read, texts.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>());
    for threads in [2, 5] {
        let other = tempfile::tempdir().unwrap();
        assert_eq!(run(&texts, other.path(), threads).unwrap(), made);
        assert_eq!(files(other.path()), files(dir.path()));
    }
}

#[test]
fn what_was_interrupted_goes_on_with_the_same_bytes() {
    let (whole, texts) = (tempfile::tempdir().unwrap(), documents());
    let made = run(&texts, whole.path(), 2).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for stop in [150, 30, 299] {
        let mut broken = texts.clone();
        broken[stop] = "FAIL".into();
        let error = run(&broken, dir.path(), 2).unwrap_err().to_string();
        assert_eq!(error, "docs.jsonl:9: no text");
    }
    // The state after a kill: a shard of which only the first file has its name, and one that has none yet.
    std::fs::write(dir.path().join(".00003.ds.index.k2Jx9a.tmp"), "half").unwrap();
    std::fs::write(shard_path(dir.path(), made.shards - 1), "half").unwrap();
    let again = run(&texts, dir.path(), 2).unwrap();
    assert!(again.kept > 0 && Counts { kept: 0, ..again } == made, "{again:?}");
    assert_eq!(files(dir.path()), files(whole.path()));
    // A finished folder is complete: only the last shard, which could take more, is made again.
    let third = run(&texts, dir.path(), 1).unwrap();
    assert_eq!((third.kept, third.shards), (made.shards - 1, made.shards));
    assert_eq!(files(dir.path()), files(whole.path()));
}

#[test]
fn no_documents_are_one_shard_without_any() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(&[String::new()], dir.path(), 1).unwrap();
    assert_eq!((made.documents, made.empty, made.shards), (0, 1, 1));
    assert_eq!(Shard::open(shard_path(dir.path(), 0)).unwrap().documents().len(), 0);
}

#[test]
fn another_source_is_refused() {
    let (dir, texts) = (tempfile::tempdir().unwrap(), documents());
    run(&texts, dir.path(), 1).unwrap();
    let encoder = encoder();
    let other = Options { source: "another".into(), ..options(&encoder, 1) };
    let refused = |options: &Options| {
        tokenise(std::iter::empty(), &encoder, dir.path(), options, &|_| {}).unwrap_err().to_string()
    };
    assert!(refused(&other).contains("00000.ds was made from another source or by another tokenizer"));
    let mut small = options(&encoder, 1);
    small.tokenizer.vocab_size = 10;
    assert!(refused(&small).contains("the tokenizer has 502 ids, and the shards are to have 10"));
    assert!(refused(&Options { shard_tokens: 0, ..small }).contains("--shard-tokens"));
}
