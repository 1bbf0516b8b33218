//! Safetensors files that are written here and read by the `safetensors` crate, the reverse, shards, and refused
//! files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use weights::{Checkpoint, DType, SafetensorsWriter};

fn declared() -> Vec<(String, DType, Vec<usize>)> {
    vec![
        ("b".into(), DType::BF16, vec![3]),
        ("a".into(), DType::F32, vec![2, 2]),
        ("empty".into(), DType::F16, vec![0, 4]),
        ("scalar".into(), DType::I64, vec![]),
    ]
}

/// The bytes include NaNs and subnormals, so every bit pattern is checked.
fn bytes(name: &str, length: usize) -> Vec<u8> {
    (0..length).map(|i| 255 - (i as u8).wrapping_mul(name.len() as u8 * 7)).collect()
}

fn save(folder: &Path, shard_bytes: usize) -> Vec<PathBuf> {
    let mut writer = SafetensorsWriter::create_sharded(folder, declared(), shard_bytes).unwrap();
    for (name, length) in [("scalar", 8), ("a", 16), ("empty", 0), ("b", 6)] {
        writer.write(name, &bytes(name, length)).unwrap();
    }
    writer.finish().unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn check(folder: &Path) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "empty", "scalar"]);
    for (name, dtype, shape) in declared() {
        let view = checkpoint.tensor(&name).unwrap();
        assert_eq!((view.name, view.dtype, view.shape), (name.as_str(), dtype, &shape[..]));
        assert_eq!(view.data, bytes(&name, view.data.len()));
    }
}

#[test]
fn the_safetensors_crate_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/model");
    assert_eq!(save(&folder, usize::MAX), [folder.join("model.safetensors")]);
    assert_eq!(names_in(&folder), ["model.safetensors"]);
    check(&folder);
    let file = fs::read(folder.join("model.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let theirs = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(theirs.len(), 4);
    assert_eq!(theirs.tensor("a").unwrap().data(), bytes("a", 16));
    for (name, view) in theirs.iter() {
        let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
        assert_eq!(start % view.dtype().bitsize().div_ceil(8), 0, "{name} is not aligned");
    }
}

#[test]
fn the_safetensors_crate_writes_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("any.safetensors");
    let data = bytes("w", 24);
    let view = safetensors::tensor::TensorView::new(DType::F64, vec![3, 1], &data).unwrap();
    safetensors::serialize_to_file([("w", view)], None, &path).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.tensor("w").unwrap().data, data);
    assert_eq!(checkpoint.len(), 1);
}

#[test]
fn shards_are_greedy_and_replace_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 8);
    let shards =
        ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"];
    assert_eq!(names_in(dir.path())[..3], shards);
    check(dir.path());
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], 30);
    // 6 bytes; 16 more do not fit; the empty tensor fits; 8 more do not.
    assert_eq!(index["weight_map"]["b"], shards[0]);
    assert_eq!(index["weight_map"]["a"], shards[1]);
    assert_eq!(index["weight_map"]["scalar"], shards[2]);

    save(dir.path(), 24);
    assert_eq!(names_in(dir.path()).len(), 3);
    check(dir.path());
    save(dir.path(), usize::MAX);
    assert_eq!(names_in(dir.path()), ["model.safetensors"]);
    check(dir.path());
    save(dir.path(), 8);
    assert_eq!(names_in(dir.path()).len(), 4);
    check(dir.path());
}

#[test]
fn an_unfinished_writer_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), usize::MAX);
    let mut writer = SafetensorsWriter::create(dir.path(), declared()).unwrap();
    writer.write("b", &[0; 6]).unwrap();
    drop(writer);
    assert_eq!(names_in(dir.path()), ["model.safetensors"]);
    check(dir.path());
}

#[test]
fn writing_errors_name_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SafetensorsWriter::create(dir.path(), declared()).unwrap();
    let text = writer.write("b", &[0; 5]).unwrap_err().to_string();
    assert!(text.contains("tensor \"b\": 5 bytes were given, but BF16 of shape [3] needs 6"), "{text}");
    writer.write("b", &[0; 6]).unwrap();
    let text = writer.write("b", &[0; 6]).unwrap_err().to_string();
    assert!(text.contains("already written"), "{text}");
    let text = writer.write("c", &[]).unwrap_err().to_string();
    assert!(text.contains("there is no tensor \"c\"; the nearest names are \"a\""), "{text}");
    let text = writer.finish().unwrap_err().to_string();
    assert!(text.contains("tensor \"a\": it was declared but not written"), "{text}");
    assert!(names_in(dir.path()).is_empty());

    let twice = vec![("a".to_owned(), DType::U8, vec![1]), ("a".to_owned(), DType::U8, vec![1])];
    let text = SafetensorsWriter::create(dir.path(), twice).unwrap_err().to_string();
    assert!(text.contains("declared twice"), "{text}");
    let huge = vec![("a".to_owned(), DType::U8, vec![usize::MAX, 2])];
    assert!(SafetensorsWriter::create(dir.path(), huge).unwrap_err().to_string().contains("tensor \"a\": shape"));
    assert!(SafetensorsWriter::create(dir.path(), vec![]).unwrap_err().to_string().contains("no tensor to write"));
}

#[test]
fn what_changes_on_the_disk_before_the_end_is_noticed() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let mut writer = SafetensorsWriter::create(dir.path(), vec![("w".into(), DType::U8, vec![4])]).unwrap();
    writer.write("w", &[1, 2, 3, 4]).unwrap();
    let temporary = dir.path().join(&names_in(dir.path())[0]);
    let mut file = fs::File::options().write(true).open(temporary).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[5]).unwrap();
    let text = writer.finish().unwrap_err().to_string();
    assert!(text.contains("tensor \"w\": the file read back differs"), "{text}");
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn shards_and_index_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 8);
    let index_path = dir.path().join("model.safetensors.index.json");
    let good = fs::read_to_string(&index_path).unwrap();
    let error = |text: &str| {
        fs::write(&index_path, text).unwrap();
        Checkpoint::open(dir.path()).unwrap_err().to_string()
    };
    let cases = [
        (good.replace("\"b\"", "\"c\""), "tensor \"b\": it is not in the index"),
        (
            good.replacen("\"b\":", "\"c\": \"model-00001-of-00003.safetensors\", \"b\":", 1),
            "tensor \"c\": the index places it in",
        ),
        (
            good.replace("model-00001-of", "model-00009-of"),
            "the shard \"model-00009-of-00003.safetensors\" with 1 tensors is missing",
        ),
        (good.replace("model-00001-of", "../model-00001-of"), "must be a plain file name"),
        (good.replace("model-00002-of", "model-00001-of"), "tensor \"a\": the index places it in"),
        ("{}".into(), "missing field `weight_map`"),
    ];
    for (text, expected) in cases {
        let message = error(&text);
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
    fs::write(&index_path, &good).unwrap();
    let shard = dir.path().join("model-00002-of-00003.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    let message = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("model-00002-of-00003.safetensors: tensor \"a\": its bytes end at 16"), "{message}");
}

#[test]
fn folders_without_weights_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = || Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error().contains("is this the folder of a model?"));
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(error().contains("pytorch_model.bin is a pickle file"));
    fs::write(dir.path().join("m.gguf"), "").unwrap();
    assert!(error().contains("import m.gguf instead"));
    let text = Checkpoint::open(dir.path().join("none.safetensors")).unwrap_err().to_string();
    assert!(text.contains("none.safetensors: cannot open"), "{text}");
    fs::write(dir.path().join("model.safetensors"), "").unwrap();
    assert!(error().contains("model.safetensors: 0 bytes are too few"));
}

#[test]
fn a_checkpoint_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Checkpoint>();
}

#[test]
fn a_pointer_or_a_page_in_place_of_the_weights_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (text, what) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "this is a Git LFS pointer"),
        ("<!DOCTYPE html>\n<html lang=\"en\">", "this is a web page"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: ") && error.contains(what), "{error}");
        let error = weights::gguf::Gguf::open(&path).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn files_are_digested_once_while_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let declared = || ["a", "b", "c"].map(|name| (name.to_owned(), DType::U8, vec![100])).to_vec();
    let write = |order: [&str; 3]| {
        let mut writer = SafetensorsWriter::create_sharded(dir.path(), declared(), 200).unwrap();
        for name in order {
            writer.write(name, &bytes(name, 100)).unwrap();
        }
        writer.finish_with_digests().unwrap()
    };
    let digest = |path: &Path| {
        let hash: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(fs::read(path).unwrap()).into();
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let files = write(["a", "b", "c"]);
    assert_eq!(files.len(), 3);
    for (path, known) in &files[..2] {
        assert_eq!(known.as_ref(), Some(&digest(path)), "{}", path.display());
    }
    assert_eq!(files[2].1, None, "the index");
    // When the tensors are written from back to front, no digest of the whole file is known.
    let files = write(["b", "a", "c"]);
    assert_eq!((&files[0].1, files[1].1.as_ref()), (&None, Some(&digest(&files[1].0))));
}
