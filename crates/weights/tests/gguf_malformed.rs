//! Malformed GGUF files: each gives one error message, without a panic or a large allocation.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use weights::gguf::{self, Gguf};

/// The system allocator, which records the largest request.
struct Noting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes unchanged to the system allocator.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller guarantees the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// Writes the parts of a file.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn header(version: u32, tensors: u64, metadata: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(version).u64(tensors).u64(metadata)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    /// A key and the number of its value's type.
    fn key(self, key: &str, kind: u32) -> Self {
        self.text(key).u32(kind)
    }

    /// The description of a float32 tensor.
    fn tensor(self, name: &str, sizes: &[u64], offset: u64) -> Self {
        self.typed(name, sizes, 0, offset)
    }

    fn typed(self, name: &str, sizes: &[u64], kind: u32, offset: u64) -> Self {
        let described = self.text(name).u32(sizes.len() as u32);
        sizes.iter().fold(described, |bytes, size| bytes.u64(*size)).u32(kind).u64(offset)
    }

    /// Padding and `count` bytes of data.
    fn data(mut self, count: usize) -> Self {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + count, 1);
        self
    }
}

fn error(bytes: Bytes) -> String {
    let text = Gguf::from_bytes("f.gguf", bytes.0).unwrap_err().to_string();
    assert!(text.starts_with("f.gguf: ") && !text.contains('\n') && text.len() < 500, "{text}");
    text
}

fn valid() -> Bytes {
    Bytes::header(3, 2, 4)
        .key("general.architecture", 8)
        .text("llama")
        .key("a.list", 9)
        .u32(8)
        .u64(2)
        .text("x")
        .text("y")
        .key("a.flag", 7)
        .raw(&[1])
        .key("a.numbers", 9)
        .u32(5)
        .u64(1)
        .u32(7)
        .tensor("one", &[4, 2], 0)
        .tensor("two", &[3], 32)
        .data(44)
}

#[test]
fn every_truncation_is_named() {
    let whole = valid().0;
    let gguf = Gguf::from_bytes("f.gguf", whole.clone()).unwrap();
    assert_eq!(gguf.tensor("one").unwrap().shape, [2, 4]);
    assert_eq!(gguf.fields().strings("a.list").unwrap().unwrap(), ["x", "y"]);
    assert_eq!(gguf.fields().sizes("a.numbers").unwrap().unwrap(), [7]);
    for length in 0..whole.len() {
        let text = error(Bytes(whole[..length].to_vec()));
        assert!(text.contains("truncated"), "{length}: {text}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qwen3-llama-bpe.gguf");
    let whole = std::fs::read(path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        error(Bytes(whole[..length].to_vec()));
    }
}

#[test]
fn each_fault_has_its_sentence() {
    let string = |text: &[u8]| Bytes::header(3, 0, 1).key("k", 8).u64(text.len() as u64).raw(text);
    let array = |kind: u32, count: u64| Bytes::header(3, 0, 1).key("k", 9).u32(kind).u64(count);
    let one = |sizes: &[u64], offset: u64| Bytes::header(3, 1, 0).tensor("w", sizes, offset).data(64);
    let cases = [
        (Bytes(b"GGML\0\0\0\0".to_vec()), "this is not a GGUF file"),
        (Bytes::header(1, 0, 0), "GGUF version 1, versions 2 and 3 are supported"),
        (Bytes::header(3_u32.swap_bytes(), 0, 0), "big-endian"),
        (Bytes::header(3, 0, u64::MAX), "metadata 0 of 18446744073709551615"),
        (Bytes::header(3, u64::MAX, 0), "the name of tensor 0 of 18446744073709551615"),
        (Bytes::header(3, 0, 1).u64(u64::MAX), "18446744073709551615 bytes, but only 0 follow"),
        (Bytes::header(3, 0, 1).key("", 0), "1 to 65535 are allowed"),
        (Bytes::header(3, 0, 1).u64(70_000).raw(&[b'k'; 70_000]).u32(0), "1 to 65535 are allowed"),
        (Bytes::header(3, 0, 1).key("k", 13), "metadata \"k\" has type 13"),
        (Bytes::header(3, 0, 2).key("k", 0).raw(&[1]).key("k", 0).raw(&[1]), "metadata \"k\" occurs twice"),
        (Bytes::header(3, 0, 1).key("k", 7).raw(&[2]), "a truth value of 2"),
        (string(&[0xff, 0xfe]), "metadata \"k\" at byte 37 is not UTF-8"),
        (Bytes::header(3, 0, 1).u64(1).raw(&[0x80]), "is not UTF-8"),
        (array(8, u64::MAX), "claims more values than the 0 bytes after it can hold"),
        (array(6, 1 << 61).raw(&[0; 8]), "claims more values than the 8 bytes after it"),
        (array(9, 1).raw(&[0; 12]), "an array of arrays"),
        (array(77, 1), "metadata \"k\" has type 77"),
        (Bytes::header(3, 0, 1).key("general.alignment", 4).u32(24), "it is 24, a power of two"),
        (Bytes::header(3, 0, 1).key("general.alignment", 4).u32(0), "it is 0, a power of two"),
        (Bytes::header(3, 0, 1).key("general.alignment", 8).text("32"), "it is a text, a whole number is expected"),
        (Bytes::header(3, 1, 0).tensor("w", &[1; 5], 0), "tensor \"w\" has 5 dimensions"),
        (Bytes::header(3, 1, 0).typed("w", &[256], 10, 0).data(84), "type 10 (Q2_K) is not supported"),
        (Bytes::header(3, 1, 0).typed("w", &[33], 2, 0).data(64), "do not come to whole blocks"),
        (one(&[1 << 40, 1 << 40], 0), "do not come to whole blocks in a possible file"),
        (one(&[1 << 62], 0), "do not come to whole blocks in a possible file"),
        (one(&[17], 0), "end after the 64 bytes of data; the file is truncated"),
        (one(&[4], 8), "begin at 8 of the data, which is not a multiple of 32"),
        (one(&[4], u64::MAX - 31), "end after the 64 bytes of data"),
        (
            Bytes::header(3, 2, 0).tensor("v", &[16], 0).tensor("w", &[4], 32).data(64),
            "tensor \"w\": its bytes begin at 32, within the tensor before it, which ends at 64",
        ),
        (Bytes::header(3, 2, 0).tensor("w", &[4], 0).tensor("w", &[4], 32).data(64), "tensor \"w\": it occurs twice"),
    ];
    for (bytes, expected) in cases {
        let text = error(bytes);
        assert!(text.contains(expected), "{text} lacks {expected}");
    }
    // The files of the test are smaller than this; the claimed counts would need much more.
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < 1 << 20, "an allocation of {largest} bytes");
}

/// Found by fuzzing: a tensor without elements where even the padding before the data is missing.
#[test]
fn an_empty_tensor_needs_no_data() {
    let gguf = Gguf::from_bytes("f.gguf", Bytes::header(3, 1, 0).tensor("w", &[0], 0).0).unwrap();
    assert!(gguf.dequantize("w").unwrap().is_empty());
}

#[test]
fn what_cannot_be_imported_is_named() {
    let import = |bytes: Bytes| {
        let gguf = Gguf::from_bytes("f.gguf", bytes.0).unwrap();
        gguf::to_hf(&gguf).unwrap_err().to_string()
    };
    let text = import(Bytes::header(3, 0, 0));
    assert!(text.starts_with("f.gguf: metadata \"general.architecture\": it is missing"), "{text}");
    let text = import(Bytes::header(3, 0, 1).key("general.architecture", 8).text("gemma3"));
    assert!(text.contains("\"gemma3\" is not supported; llama, mistral, qwen2 and qwen3 are"), "{text}");
    let text = import(valid());
    assert!(text.contains("there is no tensor \"token_embd.weight\"; the nearest names are"), "{text}");
    let text = import(Bytes::header(3, 0, 1).key("general.architecture", 4).u32(1));
    assert!(text.contains("it is a whole number, a text is expected"), "{text}");
}

/// A valid file with one byte changed, at every place: whatever the result, it must not panic.
#[test]
fn flipped_bytes_never_panic() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qwen3-llama-bpe.gguf");
    let whole = std::fs::read(path).unwrap();
    let gguf = Gguf::from_bytes("f.gguf", whole.clone()).unwrap();
    // The bytes before the data contain all of the structure.
    let data: usize = gguf.tensors().map(|(_, t)| t.shape.iter().product::<usize>()).sum();
    let structure = whole.len() - data.min(whole.len() / 2);
    let mut refused = 0;
    for at in (0..structure).step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x81;
        let outcome = Gguf::from_bytes("f.gguf", bytes).map(|gguf| gguf::to_hf(&gguf).map(|model| model.tensors.len()));
        refused += usize::from(!matches!(outcome, Ok(Ok(_))));
    }
    assert!(refused > structure / 11 / 10, "{refused} refused");
}

#[test]
fn a_part_of_a_split_file_says_so() {
    let part = |count: u8| {
        Bytes::header(3, 0, 2).key("split.no", 2).raw(&[1, 0]).key("split.count", 2).raw(&[count, 0]).data(0)
    };
    let text = error(part(3));
    assert!(text.contains("this is part 2 of 3 of a split file; join the parts first"), "{text}");
    Gguf::from_bytes("f.gguf", part(1).0).unwrap();
}

#[test]
fn the_parts_of_a_split_file_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: usize| folder.path().join(format!("m-{number:05}-of-00003.gguf"));
    // The first part holds no tensor, as llama-gguf-split makes it with --no-tensor-first-split.
    let part = |number: u8, count: u8, tensors: u64| {
        Bytes::header(3, tensors, if number == 0 { 4 } else { 2 })
            .key("split.no", 2)
            .raw(&[number, 0])
            .key("split.count", 2)
            .raw(&[count, 0])
    };
    let first =
        |total: u32| part(0, 3, 0).key("a.flag", 7).raw(&[1]).key("split.tensors.count", 5).u32(total).data(0).0;
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let with = |bytes: Bytes, values: &[f32]| bytes.data(0).raw(&floats(values)).0;
    std::fs::write(path(1), first(2)).unwrap();
    std::fs::write(path(2), with(part(1, 3, 1).tensor("one", &[2], 0), &[1.0, 2.0])).unwrap();
    std::fs::write(path(3), with(part(2, 3, 1).tensor("two", &[3], 0), &[3.0, 4.0, 5.0])).unwrap();
    for number in 1..=3 {
        let whole = Gguf::open(path(number)).unwrap();
        assert_eq!(whole.path(), path(1));
        assert_eq!(whole.tensors().map(|(name, _)| name).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(whole.dequantize("one").unwrap(), [1.0, 2.0]);
        assert_eq!(whole.dequantize("two").unwrap(), [3.0, 4.0, 5.0]);
        assert!(whole.fields().size("split.count").unwrap() == Some(3));
    }
    let says = |why: &str| {
        let error = Gguf::open(path(1)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    std::fs::write(path(1), first(3)).unwrap();
    says("the 3 parts hold 2 tensors of 3");
    std::fs::write(path(1), first(2)).unwrap();
    std::fs::write(path(3), with(part(2, 3, 1).tensor("one", &[1], 0), &[3.0])).unwrap();
    says("it stands in an earlier part, too");
    std::fs::write(path(3), with(part(1, 3, 1).tensor("two", &[1], 0), &[3.0])).unwrap();
    says("it is part 2 of 3, its name says 3 of 3");
    std::fs::remove_file(path(3)).unwrap();
    says("part 3 of 3 is missing");
    std::fs::rename(path(1), folder.path().join("m.gguf")).unwrap();
    let error = Gguf::open(folder.path().join("m.gguf")).unwrap_err().to_string();
    assert!(error.contains("give it its name back"), "{error}");
}
