//! Compares Megatron's format with files of megatron-core (fixtures/make_megatron.py).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use token_shards::megatron::{Megatron, TokenType, export, import};
use token_shards::{Shard, ShardWriter, Tokenizer};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// As in make_megatron.py.
fn documents(large: bool) -> Vec<Vec<u32>> {
    let mut documents = vec![vec![1, 2, 3, 60000], vec![7, 8, 9], vec![], (100..140).collect()];
    if large {
        documents.extend([vec![127_999, 128_255, 0], vec![65_536]]);
    }
    documents
}

fn tokenizer() -> Tokenizer {
    Tokenizer { vocab_size: 128_256, ..Tokenizer::default() }
}

#[test]
fn its_datasets_become_shards() {
    let dir = tempfile::tempdir().unwrap();
    for (name, kind, large) in
        [("uint16", TokenType::Uint16, false), ("int32", TokenType::Int32, true), ("plain", TokenType::Int32, true)]
    {
        assert_eq!(Megatron::open(&fixture(name)).unwrap().token_type(), kind);
        let path = dir.path().join(name);
        let header = import(&fixture(name), &path, tokenizer()).unwrap();
        assert_eq!(header.text_bytes, None);
        let shard = Shard::open(&path).unwrap();
        assert_eq!(shard.documents().map(<[u32]>::to_vec).collect::<Vec<_>>(), documents(large), "{name}");
    }
}

#[test]
fn shards_become_the_bytes_that_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    // Two shards, one dataset.
    let all = documents(true);
    let shards: Vec<Shard> = [&all[..3], &all[3..]]
        .iter()
        .enumerate()
        .map(|(i, part)| {
            let path = dir.path().join(format!("{i}.ds"));
            let mut writer = ShardWriter::create(&path, tokenizer(), "").unwrap();
            part.iter().for_each(|document| writer.push(document, Some(1)).unwrap());
            writer.finish().unwrap();
            Shard::open(&path).unwrap()
        })
        .collect();
    let prefix = dir.path().join("out.v1");
    assert_eq!(export(&shards, &prefix, TokenType::Int32).unwrap(), (6, 51));
    for ending in ["bin", "idx"] {
        let ours = fs::read(dir.path().join(format!("out.v1.{ending}"))).unwrap();
        assert_eq!(ours, fs::read(fixture(&format!("plain.{ending}"))).unwrap(), "{ending}");
    }
    let error = export(&shards, &prefix, TokenType::Uint16).unwrap_err().to_string();
    assert!(error.contains("token 127999 does not fit Uint16; export with int32"), "{error}");
    // The refused export left the first one unchanged.
    assert_eq!(Megatron::open(&prefix).unwrap().len(), 6);
    export(&shards[..1], &prefix, TokenType::Uint16).unwrap();
    let small = Megatron::open(&prefix).unwrap();
    assert_eq!(small.token_type(), TokenType::Uint16);
    assert_eq!((0..small.len()).map(|i| small.document(i).unwrap()).collect::<Vec<_>>(), all[..3]);
    assert_eq!(small.document(3).unwrap_err().to_string().split(": ").last(), Some("there is no document 3"));
}

#[test]
fn types_by_vocabulary() {
    let kinds = [65_499, 65_500, 128_256].map(TokenType::for_vocabulary);
    assert_eq!(kinds, [TokenType::Uint16, TokenType::Int32, TokenType::Int32]);
}

#[test]
fn damaged_datasets_are_sentences() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("d");
    let (bin, idx) = (fs::read(fixture("plain.bin")).unwrap(), fs::read(fixture("plain.idx")).unwrap());
    let changed = |at: usize, byte: u8| {
        let mut index = idx.clone();
        index[at] = byte;
        index
    };
    let cut = |n: usize| idx[..n].to_vec();
    let lengths = 34;
    for (bin, index, sentence) in [
        (&bin[..40], idx.clone(), "lies outside the 40 bytes"),
        (&bin[..], cut(20), "d.idx: the file does not begin as an index of Megatron"),
        (&bin[..], changed(0, b'X'), "does not begin as an index of Megatron"),
        (&bin[..], changed(9, 2), "the index has version 2"),
        (&bin[..], changed(17, 5), "type code 5; int32 (4) and uint16 (8)"),
        (&bin[..], cut(idx.len() - 1), "it is cut off or damaged"),
        (&bin[..], changed(25, 0xFF), "it is cut off or damaged"),
        (&bin[..], [&idx[..], &[0; 6]].concat(), "modes of sequences"),
        (&bin[..], changed(lengths + 3, 0x80), "sequence 0 lies outside"),
        (&bin[..], changed(lengths + 6 * 4 + 7, 0x7F), "sequence 0 lies outside"),
        (&bin[..], changed(lengths + 6 * 12, 1), "do not ascend from 0 to 6 sequences"),
        (&bin[..], changed(idx.len() - 8, 5), "do not ascend from 0 to 6 sequences"),
    ] {
        fs::write(dir.path().join("d.bin"), bin).unwrap();
        fs::write(dir.path().join("d.idx"), index).unwrap();
        let error = Megatron::open(&prefix).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(sentence), "{sentence}: {error}");
    }
    // A negative id, where it is read.
    let mut negative = bin.clone();
    negative[3] = 0x80;
    fs::write(dir.path().join("d.bin"), negative).unwrap();
    fs::write(dir.path().join("d.idx"), &idx).unwrap();
    let error = import(&prefix, &dir.path().join("s.ds"), tokenizer()).unwrap_err().to_string();
    assert!(error.contains("document 0 has the negative id"), "{error}");
    assert!(!dir.path().join("s.ds").exists());
}
