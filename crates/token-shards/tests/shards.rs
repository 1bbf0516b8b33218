//! Shards on disk: round trips, and the errors for damaged or foreign files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use token_shards::{Header, Shard, ShardWriter, Tokenizer};

fn tokenizer() -> Tokenizer {
    Tokenizer { sha256: "ab".repeat(32), vocab_size: 128_256, begin_token: None, end_token: Some(128_001) }
}

fn write(path: &Path, documents: &[Vec<u32>]) -> Header {
    let mut writer = ShardWriter::create(path, tokenizer(), "a test").unwrap();
    for document in documents {
        writer.push(document, Some(10)).unwrap();
    }
    writer.finish().unwrap()
}

/// A folder with the shard `00000.ds` of three documents.
fn shard() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("00000.ds");
    write(&path, &[vec![1, 2, 3], vec![], vec![128_255, 0]]);
    (dir, path)
}

/// A change of the files, and the expected message.
type Case<'a> = (Box<dyn Fn() + 'a>, &'a str);

fn refusal(path: &Path) -> String {
    Shard::open(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_bytes_are_those_of_datatrove_with_four_bytes_a_token() {
    let (_dir, path) = shard();
    let tokens = [1u32, 2, 3, 128_255, 0].map(u32::to_le_bytes).concat();
    assert_eq!(fs::read(&path).unwrap(), tokens);
    let ends = [3u64, 3, 5].map(u64::to_le_bytes).concat();
    assert_eq!(fs::read(path.with_extension("ds.index")).unwrap(), ends);
    let header = Header::read(&path).unwrap();
    assert_eq!((header.documents, header.tokens, header.text_bytes), (3, 5, Some(30)));
    assert_eq!(header.tokenizer, tokenizer());
    assert_eq!(header.token_file.sha256, dataset::digest::bytes(&tokens));
}

#[test]
fn a_shard_without_documents_is_a_shard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.ds");
    write(&path, &[]);
    let shard = Shard::open(&path).unwrap();
    shard.verify().unwrap();
    assert_eq!((shard.documents().len(), shard.tokens().len(), shard.pieces(0..0).count()), (0, 0, 0));
}

#[test]
fn an_unfinished_shard_leaves_nothing() {
    let (dir, path) = shard();
    let before = fs::read(&path).unwrap();
    let mut writer = ShardWriter::create(&path, tokenizer(), "another").unwrap();
    writer.push(&[9; 100_000], None).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let header = {
        let mut writer = ShardWriter::create(&path, tokenizer(), "another").unwrap();
        writer.push(&[9], Some(1)).unwrap();
        writer.push(&[9], None).unwrap();
        writer.finish().unwrap()
    };
    assert_eq!((header.text_bytes, header.source.as_str()), (None, "another"));
    Shard::open(&path).unwrap().verify().unwrap();
}

#[test]
fn damaged_and_foreign_files_are_sentences() {
    let (_dir, path) = shard();
    let (index, header) = (path.with_extension("ds.index"), path.with_extension("ds.json"));
    let (tokens_were, index_was, header_was) =
        (fs::read(&path).unwrap(), fs::read(&index).unwrap(), fs::read_to_string(&header).unwrap());
    let restore = || {
        fs::write(&path, &tokens_were).unwrap();
        fs::write(&index, &index_was).unwrap();
        fs::write(&header, &header_was).unwrap();
    };
    let cases: Vec<Case> = vec![
        (
            Box::new(|| fs::write(&path, &tokens_were[..17]).unwrap()),
            "00000.ds: the file has 17 bytes, and the header says 20; it is cut off",
        ),
        (Box::new(|| fs::write(&path, [&tokens_were[..], &[0; 4]].concat()).unwrap()), "it is another shard's"),
        (Box::new(|| fs::write(&index, &index_was[..16]).unwrap()), "00000.ds.index: the file has 16 bytes"),
        (
            Box::new(|| fs::write(&index, [3u64, 2, 5].map(u64::to_le_bytes).concat()).unwrap()),
            "the end of document 2 does not fit",
        ),
        (
            Box::new(|| fs::write(&index, [3u64, 3, 4].map(u64::to_le_bytes).concat()).unwrap()),
            "the end of the last document does not fit 5 tokens",
        ),
        (
            Box::new(|| fs::write(&index, [3u64, u64::MAX, 5].map(u64::to_le_bytes).concat()).unwrap()),
            "the end of document 2 does not fit",
        ),
        (Box::new(|| fs::remove_file(&path).unwrap()), "00000.ds: cannot open"),
        (
            Box::new(|| fs::remove_file(&header).unwrap()),
            "00000.ds.json: there is no header; the shard was not finished",
        ),
        (Box::new(|| fs::write(&header, &header_was[..40]).unwrap()), "the header is not JSON"),
        (Box::new(|| fs::write(&header, "{\"shards\": []}").unwrap()), "another program's file"),
        (
            Box::new(|| fs::write(&header, header_was.replace("\"version\": 1", "\"version\": 2")).unwrap()),
            "format version 2, and this program reads version 1",
        ),
        (
            Box::new(|| fs::write(&header, header_was.replace("\"source\"", "\"sauce\"")).unwrap()),
            "missing field `source`",
        ),
        (
            Box::new(|| fs::write(&header, header_was.replace("\"tokens\": 5", "\"tokens\": 6")).unwrap()),
            "counts 6 numbers of 4 bytes in 20 bytes",
        ),
        (
            Box::new(|| {
                fs::write(&header, header_was.replace("\"tokens\": 5", "\"tokens\": 18446744073709551615")).unwrap()
            }),
            "it is damaged",
        ),
    ];
    for (damage, sentence) in cases {
        restore();
        damage();
        let error = refusal(&path);
        assert!(error.contains(sentence), "{sentence}: {error}");
    }
    restore();
    Shard::open(&path).unwrap().verify().unwrap();
    // Faults that only the digest, or the vocabulary, reveals.
    let mut other = tokens_were.clone();
    other[0] = 7;
    fs::write(&path, other).unwrap();
    let error = Shard::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("00000.ds: SHA-256 is") && error.contains("damaged"), "{error}");
    restore();
    fs::write(&header, header_was.replace("128256", "128255")).unwrap();
    let error = Shard::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("token 128255 at position 3 is not in the vocabulary of 128255"), "{error}");
}

#[test]
fn an_id_outside_the_vocabulary_is_refused_when_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::create(dir.path().join("a.ds"), tokenizer(), "").unwrap();
    writer.push(&[1], None).unwrap();
    let error = writer.push(&[5, 128_256], None).unwrap_err().to_string();
    assert!(error.contains("document 2: token 128256 is not in the vocabulary of 128256 tokens"), "{error}");
    let error = ShardWriter::create(dir.path().join("no/a.ds"), tokenizer(), "").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no/a.ds: cannot create a file in its folder"), "{error}");
}

proptest! {
    // Each case writes three files to the disk.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(documents in prop::collection::vec(prop::collection::vec(0u32..128_256, 0..20), 0..20),
                               window in (0usize..200, 0usize..60)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ds");
        write(&path, &documents);
        let shard = Shard::open(&path).unwrap();
        shard.verify().unwrap();
        prop_assert_eq!(shard.documents().map(<[u32]>::to_vec).collect::<Vec<_>>(), documents.clone());
        prop_assert_eq!(shard.document(documents.len()), None);
        // The pieces of a window cover its tokens, and none crosses a document boundary.
        let all = documents.concat();
        let window = window.0.min(all.len())..(window.0 + window.1).min(all.len());
        let pieces: Vec<_> = shard.pieces(window.clone()).collect();
        prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        prop_assert_eq!(pieces.iter().flat_map(Clone::clone).collect::<Vec<_>>(), window.collect::<Vec<_>>());
        for piece in pieces {
            prop_assert!(shard.ends().iter().all(|&end| end as usize <= piece.start || piece.end <= end as usize));
        }
    }
}
